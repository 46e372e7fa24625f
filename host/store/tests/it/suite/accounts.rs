use std::collections::BTreeSet;

use patchbay_app::{
    model::{AccountStatus, JobKind, PostStatus},
    store::{AccountFilter, Connected, Constraint, EventFilter, PageRequest, StoreError},
};
use patchbay_core::AccountId;

use crate::harness::{NOTE, LEASE, MINUTE, SECOND, TENANT, World, assert_stale, at_once, other_provider, provider};

const ALL: PageRequest = PageRequest { after: None, limit: 100 };

pub async fn a_grant_is_stored_with_all_that_follows_from_it(w: World) {
    let wanted = w.new_account(TENANT, "remote-1");
    let to = w.store.place_grant(&wanted).await.unwrap();
    assert_eq!(to, Connected { id: wanted.id, next_version: 1, accepted: false });

    let account = w.connect_at(to, &wanted).await.unwrap();
    assert_eq!(account.id, wanted.id);
    assert_eq!(account.owner, wanted.owner);
    assert_eq!(account.avatar_url, wanted.avatar_url);
    assert_eq!(account.scopes, wanted.scopes);
    assert_eq!(account.status, AccountStatus::Active);
    assert_eq!(account.token_version, 1);
    assert_eq!(account.tokens, Some(w.tokens(1).tokens));
    assert_eq!(account.access_expires_at, w.tokens(1).access_expires_at);
    assert_eq!((account.created_at, account.updated_at), (w.now(), w.now()));
    assert_eq!(w.reload(&account).await, account);

    let events = w.store.events(TENANT, &EventFilter::default(), ALL).await.unwrap().items;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].name, "account.connected");
    assert_eq!(events[0].provider, provider());

    // The refresh job is for the account, and due when the tokens say.
    assert_eq!(w.claim(JobKind::Refresh).await, None);
    let due = w.tokens(1).refresh_due_at;
    assert_eq!(w.store.next_due(&JobKind::ALL).await.unwrap(), due);
    w.clock.advance_to(due.unwrap());
    assert_eq!(w.claimed(JobKind::Refresh).await.target, account.id.as_uuid());

    // The next grant of the same platform account renews it.
    let mut again = w.new_account(TENANT, "remote-1");
    again.display_name = None;
    let to = w.store.place_grant(&again).await.unwrap();
    assert_eq!(to, Connected { id: account.id, next_version: 2, accepted: true });
    let renewed = w.connect_at(to, &again).await.unwrap();
    assert_eq!((renewed.id, renewed.token_version), (account.id, 2));
    assert_eq!(renewed.display_name, None);
    assert_eq!(renewed.created_at, account.created_at);
    assert_eq!(renewed.connected_at, w.now());
}

pub async fn a_grant_of_an_account_that_moved_on_is_stale(w: World) {
    let wanted = w.new_account(TENANT, "remote-1");
    let to = w.store.place_grant(&wanted).await.unwrap();
    w.connect_at(to, &wanted).await.unwrap();
    // Somebody stored first: the version, and for a second new account the id, are not the ones that were sealed for.
    assert_stale(w.connect_at(to, &wanted).await);
    let other = w.new_account(TENANT, "remote-1");
    assert_stale(w.connect_at(Connected { id: other.id, next_version: 1, accepted: false }, &other).await);
    // Tokens that were sealed for another version would never open.
    let to = w.store.place_grant(&wanted).await.unwrap();
    assert_stale(w.grant(to, &wanted, &w.tokens(9), None).await);
    let events = w.store.events(TENANT, &EventFilter::default(), ALL).await.unwrap();
    assert_eq!(events.items.len(), 1);
}

pub async fn t15_an_account_of_another_tenant_is_refused_until_its_grant_has_ended(w: World) {
    let refused = |result: &Result<_, StoreError>| {
        matches!(result, Err(StoreError::Conflict(Constraint::AccountOfOtherTenant)))
    };
    let other = w.other_tenant().await;
    let mine = w.account("remote-1").await;
    let theirs = w.new_account(other, "remote-1");
    assert!(refused(&w.store.place_grant(&theirs).await.map(|_| ())));
    let placed = Connected { id: theirs.id, next_version: 1, accepted: false };
    assert!(refused(&w.connect_at(placed, &theirs).await.map(|_| ())));
    assert_eq!(w.reload(&mine).await, mine);

    // Another app is another matter.
    let mut elsewhere = w.new_account(other, "remote-1");
    elsewhere.client_id = "other-app".into();
    w.connect_as(&elsewhere).await.unwrap();

    // While the tokens are there, the grant may still be ended at the platform, and the new one with it.
    let event = w.event("account.disconnected");
    w.store.begin_disconnect(TENANT, mine.id, "user", None, &event, &NOTE).await.unwrap();
    assert!(refused(&w.store.place_grant(&theirs).await.map(|_| ())));
    w.store.erase_tokens(TENANT, mine.id).await.unwrap();
    w.connect_as(&theirs).await.unwrap();
    // Now it is the first tenant's turn to be refused.
    assert!(refused(&w.connect_as(&w.new_account(TENANT, "remote-1")).await.map(|_| ())));
}

pub async fn t15_an_account_of_another_end_user_is_refused_until_it_is_disconnected(w: World) {
    let mine = w.account("remote-1").await;
    let mut theirs = w.new_account(TENANT, "remote-1");
    theirs.owner = "owner-2".into();
    for place in [None, Some(Connected { id: mine.id, next_version: 2, accepted: true })] {
        let refused = match place {
            None => w.store.place_grant(&theirs).await.map(|_| ()),
            Some(place) => w.connect_at(place, &theirs).await.map(|_| ()),
        };
        assert!(matches!(refused, Err(StoreError::Conflict(Constraint::AccountOfOtherOwner))), "{refused:?}");
    }
    assert_eq!(w.reload(&mine).await, mine);
    w.store.begin_disconnect(TENANT, mine.id, "user", None, &w.event("account.disconnected"), &NOTE).await.unwrap();
    let to = w.store.place_grant(&theirs).await.unwrap();
    assert_eq!(to, Connected { id: mine.id, next_version: 2, accepted: false });
    assert_eq!(w.connect_at(to, &theirs).await.unwrap().owner, "owner-2");
}

pub async fn a_pending_account_is_given_up_only_at_its_version(w: World) {
    let mut wanted = w.new_account(TENANT, "remote-1");
    wanted.status = AccountStatus::Pending;
    let pending = w.connect_as(&wanted).await.unwrap();
    let refuse = async |version| {
        let event = w.event("account.disconnected");
        w.store.refuse_pending(TENANT, pending.id, version, &event, &NOTE).await.unwrap()
    };
    assert!(!refuse(2).await);
    assert_eq!(w.reload(&pending).await, pending);
    // The job that ends the grant stands already, and is due in its time.
    assert_eq!(w.claim(JobKind::Revoke).await, None);
    w.advance(15 * MINUTE);
    assert_eq!(w.claimed(JobKind::Revoke).await.target, pending.id.as_uuid());
    let source = pending.avatar_url.as_ref().unwrap().as_str();
    assert!(w.store.claim_avatar(TENANT, pending.id, source, None).await.unwrap());
    assert!(refuse(1).await);
    assert_eq!(w.store.avatar(TENANT, pending.id).await.unwrap(), None);
    let refused = w.reload(&pending).await;
    assert_eq!((refused.status, refused.status_code.as_deref()), (AccountStatus::Revoked, Some("not_completed")));
    assert_eq!((refused.display_name, refused.username, refused.avatar_url), (None, None, None));
    assert!(refused.tokens.is_some(), "the platform is told with them");
    assert!(!refuse(1).await);
    let events = w.store.events(TENANT, &EventFilter::default(), ALL).await.unwrap().items;
    assert_eq!(events.len(), 2);
    w.advance(60 * MINUTE);
    assert_eq!(w.claim(JobKind::Refresh).await, None, "nothing is renewed any more");
}

pub async fn of_many_grants_for_one_account_each_version_is_stored_once(w: World) {
    let other = w.other_tenant().await;
    let results = at_once(12, |index| {
        let w = w.clone();
        let tenant = if index % 3 == 0 { other } else { TENANT };
        async move { w.connect_as(&w.new_account(tenant, "remote-1")).await }
    })
    .await;
    let mut versions = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for result in results {
        match result {
            Ok(account) => {
                assert!(versions.insert(account.token_version), "a version was stored twice");
                ids.insert((account.tenant, account.id));
            }
            Err(StoreError::Stale | StoreError::Conflict(Constraint::AccountOfOtherTenant)) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(ids.len(), 1, "one tenant has it, once");
    let last = i64::try_from(versions.len()).unwrap();
    assert_eq!(versions, (1..=last).collect());
}

pub async fn connecting_again_wakes_the_posts_that_are_due_and_stops_a_disconnect(w: World) {
    let account = w.account("remote-1").await;
    let waiting = w.post(&account, "waiting").await;
    let job = w.claimed(JobKind::Publish).await;
    let end = patchbay_app::store::JobEnd::Again {
        run_at: w.later(60 * MINUTE),
        code: "reauth".into(),
    };
    assert!(w.store.end_job(job.lease(), &end).await.unwrap());
    let mut scheduled = w.new_post(&account, "scheduled");
    scheduled.scheduled_at = Some(w.later(10 * MINUTE));
    w.enqueue(&scheduled).await.unwrap();
    assert_eq!(w.claim(JobKind::Publish).await, None);

    let revoke = w.job(TENANT, JobKind::Revoke, account.id.as_uuid());
    w.store
        .begin_disconnect(TENANT, account.id, "user", Some(&revoke), &w.event("account.disconnected"), &NOTE)
        .await
        .unwrap();
    // Both posts had not begun; the account's next posts are what waits for it.
    assert_eq!(w.reload_post(&waiting).await.status, PostStatus::Cancelled);
    let account = w.account("remote-1").await;
    assert_eq!(account.status, AccountStatus::Active);
    assert_eq!(account.status_code, None);
    assert_eq!(w.claim(JobKind::Revoke).await, None, "the new grant must not be revoked");

    let due = w.post(&account, "due").await;
    let job = w.claimed(JobKind::Publish).await;
    let end = patchbay_app::store::JobEnd::Again {
        run_at: w.later(60 * MINUTE),
        code: "reauth".into(),
    };
    assert!(w.store.end_job(job.lease(), &end).await.unwrap());
    let mut later = w.new_post(&account, "later");
    later.scheduled_at = Some(w.later(10 * MINUTE));
    w.enqueue(&later).await.unwrap();
    w.account("remote-1").await;
    assert_eq!(w.claimed(JobKind::Publish).await.target, due.id.as_uuid());
    assert_eq!(w.claim(JobKind::Publish).await, None, "a scheduled post waits for its time");
}

pub async fn accounts_are_listed_newest_first_page_by_page(w: World) {
    let other = w.other_tenant().await;
    let mut made = Vec::new();
    for index in 0..7 {
        let mut account = w.new_account(TENANT, &format!("remote-{index}"));
        account.owner = format!("owner-{}", index % 2);
        if index == 6 {
            account.provider = other_provider();
        }
        made.push(w.connect_as(&account).await.unwrap().id);
        // Some share their time: the id then decides.
        if index % 3 == 0 {
            w.advance(SECOND);
        }
    }
    w.connect_as(&w.new_account(other, "theirs")).await.unwrap();
    made.reverse();
    let listed = async |filter: &AccountFilter, limit| {
        let mut ids: Vec<AccountId> = Vec::new();
        let mut page = PageRequest { after: None, limit };
        loop {
            let found = w.store.accounts(TENANT, filter, page).await.unwrap();
            assert!(found.items.len() <= limit as usize);
            ids.extend(found.items.iter().map(|account| account.id));
            match found.next {
                Some(next) => page.after = Some(next),
                None => return ids,
            }
        }
    };
    for limit in [1, 2, 3, 7, 100] {
        assert_eq!(listed(&AccountFilter::default(), limit).await, made);
    }
    // Every filter finds what it says, alone and with the others.
    let event = w.event("account.disconnected");
    w.store.begin_disconnect(TENANT, made[2], "user", None, &event, &NOTE).await.unwrap();
    let everything = w.store.accounts(TENANT, &AccountFilter::default(), ALL).await.unwrap().items;
    for provider in [None, Some(provider()), Some(other_provider())] {
        for owner in [None, Some("owner-0".to_owned()), Some("owner-1".to_owned())] {
            for status in [None, Some(AccountStatus::Active), Some(AccountStatus::Revoked)] {
                let filter = AccountFilter {
                    provider: provider.clone(),
                    owner: owner.clone(),
                    status,
                };
                let expected: Vec<_> = everything
                    .iter()
                    .filter(|account| provider.as_ref().is_none_or(|provider| account.provider == *provider))
                    .filter(|account| owner.as_ref().is_none_or(|owner| account.owner == *owner))
                    .filter(|account| status.is_none_or(|status| account.status == status))
                    .map(|account| account.id)
                    .collect();
                assert_eq!(listed(&filter, 2).await, expected, "{filter:?}");
            }
        }
    }
}

pub async fn a_disconnect_cancels_what_has_not_begun_and_is_done_once(w: World) {
    let account = w.account("remote-1").await;
    let begun = w.post(&account, "begun").await;
    let claim = w.claimed(JobKind::Publish).await;
    let queued = w.post(&account, "queued").await;
    let lease = w
        .store
        .lease_refresh(TENANT, account.id, 1, "host", LEASE)
        .await
        .unwrap();
    assert!(matches!(lease, patchbay_app::store::RefreshLease::Granted(_)));

    let revoke = w.job(TENANT, JobKind::Revoke, account.id.as_uuid());
    let event = w.event("account.disconnected");
    let gone = w
        .store
        .begin_disconnect(TENANT, account.id, "user_request", Some(&revoke), &event, &NOTE)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(gone.status, AccountStatus::Revoked);
    assert_eq!(gone.status_code.as_deref(), Some("user_request"));
    assert!(gone.tokens.is_some(), "the platform is told with them");

    let queued = w.reload_post(&queued).await;
    assert_eq!((queued.status, queued.finished_at), (PostStatus::Cancelled, Some(w.now())));
    let begun = w.reload_post(&begun).await;
    assert_eq!((begun.status, begun.cancel_requested), (PostStatus::Queued, true));
    assert!(!w.store.renew_leases(&[claim.lease()], LEASE).await.unwrap().is_empty(), "its step goes on");
    assert_eq!(w.claim(JobKind::Publish).await, None);
    w.advance(2 * 60 * MINUTE);
    assert_eq!(w.claim(JobKind::Refresh).await, None);
    let revoke = w.claimed(JobKind::Revoke).await;
    assert_eq!(revoke.target, account.id.as_uuid());

    // Once more, with another code: nothing changes.
    let job = w.job(TENANT, JobKind::Revoke, account.id.as_uuid());
    let again = w
        .store
        .begin_disconnect(TENANT, account.id, "again", Some(&job), &w.event("account.disconnected"), &NOTE)
        .await
        .unwrap();
    assert_eq!(again, Some(gone));
    let events = w.store.events(TENANT, &EventFilter::default(), ALL).await.unwrap().items;
    assert_eq!(events.iter().filter(|e| e.name == "account.disconnected").count(), 1);
    let unknown = AccountId::from_uuid(w.id());
    let none = w.store.begin_disconnect(TENANT, unknown, "x", None, &event, &NOTE).await.unwrap();
    assert_eq!(none, None);
}

pub async fn tokens_are_erased_only_while_the_account_is_revoked(w: World) {
    let account = w.account("remote-1").await;
    w.store.erase_tokens(TENANT, account.id).await.unwrap();
    assert_eq!(w.reload(&account).await, account, "it is connected");

    let revoke = w.job(TENANT, JobKind::Revoke, account.id.as_uuid());
    w.store
        .begin_disconnect(TENANT, account.id, "user", Some(&revoke), &w.event("account.disconnected"), &NOTE)
        .await
        .unwrap();
    let claim = w.claimed(JobKind::Revoke).await;
    w.store.erase_tokens(TENANT, account.id).await.unwrap();
    let erased = w.reload(&account).await;
    assert_eq!(erased.tokens, None);
    assert_eq!(erased.access_expires_at, None);
    assert!(w.store.renew_leases(&[claim.lease()], LEASE).await.unwrap().is_empty(), "the job is finished");
    // A renewal that was under way comes too late: the version has risen.
    assert!(!w.store.swap_tokens(TENANT, account.id, 1, &w.tokens(2)).await.unwrap());
    w.store.erase_tokens(TENANT, account.id).await.unwrap();
    assert_eq!(w.reload(&account).await, erased);
}

pub async fn a_nul_from_a_platform_is_replaced(w: World) {
    let mut wanted = w.new_account(TENANT, "remote-1");
    wanted.display_name = Some("A\0da".into());
    let account = w.connect_as(&wanted).await.unwrap();
    assert_eq!(account.display_name.as_deref(), Some("A\u{fffd}da"));
    let mut event = w.incoming(patchbay_core::EventKind::Other, "remote-1");
    event.payload = serde_json::json!({"text": "\0"});
    event.dedupe_key = "k\0".into();
    assert!(w.receive(&[event]).await[0].is_new);
}
