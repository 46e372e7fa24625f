use patchbay_app::{
    model::{AccountStatus, JobKind},
    store::{AccountTraces, JobEnd, RefreshLease, StoreError},
};

use patchbay_core::EventKind;

use crate::harness::{NOTE, LEASE, MINUTE, SECOND, TENANT, World, at_once};

pub async fn one_of_eight_gets_the_right_to_renew(w: World) {
    let account = w.account("remote-1").await;
    let until = w.later(LEASE);
    let leases = at_once(8, |index| {
        let (w, id) = (w.clone(), account.id);
        // Two of each process: the name does not matter.
        async move {
            let holder = format!("host-{}", index / 2);
            w.store.lease_refresh(TENANT, id, 1, &holder, LEASE).await.unwrap()
        }
    })
    .await;
    let granted: Vec<_> = leases
        .iter()
        .filter(|lease| matches!(lease, RefreshLease::Granted(_)))
        .collect();
    assert_eq!(granted, [&RefreshLease::Granted(Box::new(account))]);
    let busy = leases.iter().filter(|lease| **lease == RefreshLease::Busy { until }).count();
    assert_eq!(busy, 7);
}

pub async fn the_right_to_renew_ends_by_itself_and_is_given_back_by_its_holder_only(w: World) {
    let account = w.account("remote-1").await;
    let lease = async |version, holder: &str| {
        w.store
            .lease_refresh(TENANT, account.id, version, holder, LEASE)
            .await
            .unwrap()
    };
    assert!(matches!(lease(1, "a").await, RefreshLease::Granted(_)));
    w.store.release_refresh(TENANT, account.id, "b").await.unwrap();
    assert!(matches!(lease(1, "b").await, RefreshLease::Busy { .. }));
    w.store.release_refresh(TENANT, account.id, "a").await.unwrap();
    assert!(matches!(lease(1, "b").await, RefreshLease::Granted(_)));
    w.advance(LEASE - SECOND);
    assert!(matches!(lease(1, "a").await, RefreshLease::Busy { .. }));
    w.advance(SECOND);
    assert!(matches!(lease(1, "a").await, RefreshLease::Granted(_)));

    // Another version, an unknown account, an account that needs its owner: there is nothing to renew here.
    assert_eq!(lease(2, "c").await, RefreshLease::Moved);
    w.store
        .require_reauth(TENANT, account.id, 1, "invalid_grant", &w.event("account.reauth_required"), &NOTE)
        .await
        .unwrap();
    w.store.release_refresh(TENANT, account.id, "a").await.unwrap();
    assert_eq!(lease(1, "c").await, RefreshLease::Moved);
    let unknown = patchbay_core::AccountId::from_uuid(w.id());
    let moved = w.store.lease_refresh(TENANT, unknown, 1, "c", LEASE).await.unwrap();
    assert_eq!(moved, RefreshLease::Moved);
}

pub async fn renewed_tokens_are_stored_once_per_version_whoever_brings_them(w: World) {
    let account = w.account("remote-1").await;
    let lease = w.store.lease_refresh(TENANT, account.id, 1, "a", LEASE).await.unwrap();
    assert!(matches!(lease, RefreshLease::Granted(_)));
    // The holder was stopped, its lease has passed to another, and it comes back with a good token: that is stored.
    w.advance(LEASE);
    let lease = w.store.lease_refresh(TENANT, account.id, 1, "b", LEASE).await.unwrap();
    assert!(matches!(lease, RefreshLease::Granted(_)));
    let stored = at_once(8, |_| {
        let (w, id, tokens) = (w.clone(), account.id, w.tokens(2));
        async move { w.store.swap_tokens(TENANT, id, 1, &tokens).await.unwrap() }
    })
    .await;
    assert_eq!(stored.iter().filter(|stored| **stored).count(), 1);
    let renewed = w.reload(&account).await;
    assert_eq!(renewed.token_version, 2);
    assert_eq!(renewed.tokens, Some(w.tokens(2).tokens));
    assert_eq!(renewed.access_expires_at, w.tokens(2).access_expires_at);
    // The lease went with it.
    let lease = w.store.lease_refresh(TENANT, account.id, 2, "c", LEASE).await.unwrap();
    assert_eq!(lease, RefreshLease::Granted(Box::new(renewed)));
    // Tokens that were sealed for another version would never open.
    let wrong = w.store.swap_tokens(TENANT, account.id, 2, &w.tokens(2)).await;
    assert!(matches!(wrong, Err(StoreError::Other(_))));
}

pub async fn renewed_tokens_make_an_account_usable_again_but_not_a_revoked_or_pending_one(w: World) {
    let account = w.account("remote-1").await;
    w.store
        .require_reauth(TENANT, account.id, 1, "invalid_grant", &w.event("account.reauth_required"), &NOTE)
        .await
        .unwrap();
    assert!(w.store.swap_tokens(TENANT, account.id, 1, &w.tokens(2)).await.unwrap());
    let usable = w.reload(&account).await;
    assert_eq!((usable.status, usable.status_code), (AccountStatus::Active, None));

    w.store
        .begin_disconnect(TENANT, account.id, "user", None, &w.event("account.disconnected"), &NOTE)
        .await
        .unwrap();
    assert!(w.store.swap_tokens(TENANT, account.id, 2, &w.tokens(3)).await.unwrap());
    let revoked = w.reload(&account).await;
    assert_eq!((revoked.status, revoked.token_version), (AccountStatus::Revoked, 3));
    w.advance(24 * 60 * MINUTE);
    assert_eq!(w.claim(JobKind::Refresh).await, None, "nothing renews a revoked account");

    let mut pending = w.new_account(TENANT, "remote-2");
    pending.status = AccountStatus::Pending;
    let pending = w.connect_as(&pending).await.unwrap();
    let lease = w.store.lease_refresh(TENANT, pending.id, 1, "a", LEASE).await.unwrap();
    assert!(matches!(lease, RefreshLease::Granted(_)));
    assert!(w.store.swap_tokens(TENANT, pending.id, 1, &w.tokens(2)).await.unwrap());
    assert_eq!(w.reload(&pending).await.status, AccountStatus::Pending);
}

pub async fn what_is_known_of_a_renewal_is_told(w: World) {
    let account = w.account("remote-1").await;
    let traces = async || w.store.account_traces(TENANT, account.id).await.unwrap();
    let due = w.tokens(1).refresh_due_at;
    assert_eq!(traces().await, AccountTraces { next_refresh_at: due, ..AccountTraces::default() });
    assert_eq!(w.reload(&account).await.refreshed_at, None);
    w.clock.advance_to(due.unwrap());
    let job = w.claimed(JobKind::Refresh).await;
    assert_eq!(traces().await.refresh_attempts, 0, "the one under way has not failed");
    let again = JobEnd::Again { run_at: w.later(MINUTE), code: "down".into() };
    w.store.end_job(job.lease(), &again).await.unwrap();
    let failed = traces().await;
    assert_eq!((failed.refresh_attempts, failed.refresh_error.as_deref()), (1, Some("down")));
    assert_eq!(failed.next_refresh_at, Some(w.later(MINUTE)));
    w.advance(MINUTE);
    let job = w.claimed(JobKind::Refresh).await;
    assert!(w.store.swap_tokens(TENANT, account.id, 1, &w.tokens(2)).await.unwrap());
    w.store.end_job(job.lease(), &JobEnd::Done).await.unwrap();
    assert_eq!(traces().await.refresh_attempts, 0);
    assert_eq!(w.reload(&account).await.refreshed_at, Some(w.now()));
    w.receive(&[w.incoming(EventKind::PostProgress, "remote-1")]).await;
    assert_eq!(traces().await.last_webhook_at, Some(w.now()));
    let other = w.other_tenant().await;
    assert_eq!(w.store.account_traces(other, account.id).await.unwrap(), AccountTraces::default());
}

pub async fn renewed_tokens_move_the_refresh_job(w: World) {
    let account = w.account("remote-1").await;
    let next = async || w.store.next_due(&[JobKind::Refresh]).await.unwrap();
    let swap = async |version, due| {
        let mut tokens = w.tokens(version + 1);
        tokens.refresh_due_at = due;
        assert!(w.store.swap_tokens(TENANT, account.id, version, &tokens).await.unwrap());
    };
    // Later than before, and sooner.
    for (version, by) in [(1, 120 * MINUTE), (2, MINUTE)] {
        let due = Some(w.later(by));
        swap(version, due).await;
        assert_eq!(next().await, due);
    }
    // While the job runs, its end leads there.
    w.advance(MINUTE);
    let job = w.claimed(JobKind::Refresh).await;
    let due = Some(w.later(30 * MINUTE));
    swap(3, due).await;
    assert!(w.store.end_job(job.lease(), &JobEnd::Done).await.unwrap());
    assert_eq!(next().await, due);
    // Never again.
    swap(4, None).await;
    assert_eq!(next().await, None);
    // And then again: a new job.
    let due = Some(w.later(MINUTE));
    swap(5, due).await;
    assert_eq!(next().await, due);
    w.advance(MINUTE);
    assert_eq!(w.claimed(JobKind::Refresh).await.target, account.id.as_uuid());
}

pub async fn only_an_active_account_of_that_version_needs_to_connect_again(w: World) {
    let account = w.account("remote-1").await;
    let event = w.event("account.reauth_required");
    let require = async |version| {
        w.store
            .require_reauth(TENANT, account.id, version, "invalid_grant", &event, &NOTE)
            .await
            .unwrap()
    };
    assert!(!require(0).await, "the code came for an older token");
    assert!(!require(2).await);
    assert_eq!(w.reload(&account).await, account);
    assert!(require(1).await);
    assert!(!require(1).await);
    let dead = w.reload(&account).await;
    assert_eq!(dead.status, AccountStatus::ReauthRequired);
    assert_eq!(dead.status_code.as_deref(), Some("invalid_grant"));
    assert!(dead.tokens.is_some());
    let filter = patchbay_app::store::EventFilter::default();
    let page = patchbay_app::store::PageRequest { after: None, limit: 10 };
    let events = w.store.events(TENANT, &filter, page).await.unwrap().items;
    assert_eq!(events.iter().filter(|e| e.id == event.id).count(), 1);
}
