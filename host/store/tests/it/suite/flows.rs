use patchbay_app::{
    model::{
        Account, AccountStatus, Flow, JobKind, NewAccount, NewAudit, NewEvent, NewJob, Session, SessionGrant, SessionStatus,
    },
    store::{AccountFilter, Completion, Constraint, EventFilter, NewGrant, PageRequest, StoreError, StoreResult},
};
use patchbay_core::{AccountId, FlowId, Identity, JobId, SessionId};

use crate::harness::{MINUTE, NOTE, SECOND, TENANT, World, at_once, provider};

pub async fn t03_of_fifty_callbacks_one_takes_the_flow(w: World) {
    let flow = flow(&w, 1);
    w.store.start_flow(&flow, None).await.unwrap();
    assert_eq!(w.store.take_flow([9; 32]).await.unwrap(), None);
    let taken = at_once(50, |_| {
        let w = w.clone();
        async move { w.store.take_flow([1; 32]).await.unwrap() }
    })
    .await;
    let taken: Vec<_> = taken.into_iter().flatten().collect();
    assert_eq!(taken, [flow]);
}

pub async fn t05_an_expired_flow_is_taken_out_but_not_given(w: World) {
    w.store.start_flow(&flow(&w, 1), None).await.unwrap();
    w.store.start_flow(&flow(&w, 2), None).await.unwrap();
    w.advance(10 * MINUTE);
    assert!(w.store.take_flow([1; 32]).await.unwrap().is_some(), "its last moment");
    w.advance(SECOND);
    assert_eq!(w.store.take_flow([2; 32]).await.unwrap(), None);
    assert_eq!(w.store.purge_flows(10).await.unwrap(), 0, "the row is gone");
}

pub async fn a_session_is_found_while_it_lives(w: World) {
    let session = session(&w, 1);
    w.store.create_session(&session).await.unwrap();
    assert_eq!(w.store.session([2; 32]).await.unwrap(), None);
    assert_eq!(w.store.session([1; 32]).await.unwrap(), Some(session.clone()));
    w.advance(10 * MINUTE);
    assert_eq!(w.store.session([1; 32]).await.unwrap(), Some(session));
    w.advance(SECOND);
    assert_eq!(w.store.session([1; 32]).await.unwrap(), None);
}

pub async fn expired_flows_and_sessions_are_purged_in_bounded_steps(w: World) {
    for number in 0..3 {
        w.store.start_flow(&flow(&w, number), None).await.unwrap();
        w.store.create_session(&session(&w, number)).await.unwrap();
    }
    w.advance(MINUTE);
    w.store.start_flow(&flow(&w, 9), None).await.unwrap();
    w.store.create_session(&session(&w, 9)).await.unwrap();
    assert_eq!(w.store.purge_flows(10).await.unwrap(), 0);
    w.advance(9 * MINUTE + SECOND);
    for left in [2, 1, 0] {
        assert_eq!(w.store.purge_flows(2).await.unwrap(), left, "flows go at once");
    }
    assert!(w.store.take_flow([9; 32]).await.unwrap().is_some());
    // Sessions can be asked about for a day more.
    w.advance(24 * 60 * MINUTE - SECOND);
    assert_eq!(w.store.purge_flows(2).await.unwrap(), 0);
    w.advance(SECOND);
    for left in [2, 1, 0] {
        assert_eq!(w.store.purge_flows(2).await.unwrap(), left);
    }
}

pub async fn the_first_browser_that_opens_a_link_has_it(w: World) {
    let session = session(&w, 1);
    w.store.create_session(&session).await.unwrap();
    let attempt = |number: u8, cookie: u8| Flow {
        session: Some(session.id),
        cookie_hash: [cookie; 32],
        ..flow(&w, number)
    };
    let started = at_once(20, |index| {
        let number = u8::try_from(index).unwrap();
        let (w, flow) = (w.clone(), attempt(number, number));
        async move { w.store.start_flow(&flow, None).await.unwrap() }
    })
    .await;
    let first = started.iter().position(|started| *started).unwrap();
    assert_eq!(started.iter().filter(|started| **started).count(), 1);
    let mut flows = 0;
    for number in 0..20 {
        flows += usize::from(w.store.take_flow([number; 32]).await.unwrap().is_some());
    }
    assert_eq!(flows, 1, "nothing is stored for the others");
    // The same browser may come again, with the newest cookie alone.
    let first = u8::try_from(first).unwrap();
    assert!(!w.store.start_flow(&attempt(30, 30), Some([99; 32])).await.unwrap());
    assert!(w.store.start_flow(&attempt(31, 31), Some([first; 32])).await.unwrap());
    assert!(!w.store.start_flow(&attempt(32, 32), Some([first; 32])).await.unwrap());
    assert_eq!(w.store.session_by_id(TENANT, session.id).await.unwrap().unwrap().status, SessionStatus::Started);
    w.advance(10 * MINUTE + SECOND);
    assert!(!w.store.start_flow(&attempt(33, 33), Some([31; 32])).await.unwrap(), "the link has ended");
}

pub async fn a_session_is_ended_once(w: World) {
    let s = &w.store;
    let (first, second) = (session(&w, 1), session(&w, 2));
    s.create_session(&first).await.unwrap();
    s.create_session(&second).await.unwrap();
    let other = w.other_tenant().await;
    assert_eq!(s.session_by_id(other, first.id).await.unwrap(), None);
    assert_eq!(s.end_session(other, first.id, SessionStatus::Cancelled, None).await.unwrap(), None);
    let refused = s.end_session(TENANT, first.id, SessionStatus::Refused, Some("why")).await.unwrap().unwrap();
    assert_eq!((refused.status, refused.code.as_deref()), (SessionStatus::Refused, Some("why")));
    let again = s.end_session(TENANT, first.id, SessionStatus::Cancelled, None).await.unwrap().unwrap();
    assert_eq!(again, refused);
    let cancelled = s.end_session(TENANT, second.id, SessionStatus::Cancelled, None).await.unwrap().unwrap();
    assert_eq!(cancelled.status, SessionStatus::Cancelled);
    let of_cancelled = Flow { session: Some(second.id), ..flow(&w, 1) };
    assert!(!s.start_flow(&of_cancelled, None).await.unwrap());
}

/// A pending account that came by a session, with the code `[5; 32]`.
async fn pending(w: &World) -> (SessionId, StoreResult<Account>) {
    let session = session(w, 1);
    w.store.create_session(&session).await.unwrap();
    let flow = Flow { session: Some(session.id), ..flow(w, 1) };
    assert!(w.store.start_flow(&flow, None).await.unwrap());
    (session.id, granted(w, session.id).await)
}

async fn granted(w: &World, session: SessionId) -> StoreResult<Account> {
    let mut account = w.new_account(TENANT, "remote-1");
    account.status = AccountStatus::Pending;
    let grant = SessionGrant {
        id: session,
        status: SessionStatus::Pending,
        missing_scopes: vec!["video.upload".into()],
        code_hash: [5; 32],
        code_until: w.later(MINUTE),
    };
    let to = w.store.place_grant(&account).await?;
    w.grant(to, &account, &w.tokens(to.next_version), Some(&grant)).await
}

/// What the completion of a session appends for each account.
fn taken(w: &World, accounts: &[AccountId]) -> Vec<(NewEvent, NewAudit)> {
    let of = |id: &AccountId| {
        let event = NewEvent { account: Some(*id), ..w.event("account.connected") };
        (event, NOTE.clone().to(id))
    };
    accounts.iter().map(of).collect()
}

pub async fn of_a_hundred_completions_one_makes_the_account_active(w: World) {
    let (session, account) = pending(&w).await;
    let account = account.unwrap();
    let stored = w.store.session_by_id(TENANT, session).await.unwrap().unwrap();
    assert_eq!((stored.status, stored.connected), (SessionStatus::Pending, vec![account.id]));
    assert_eq!(stored.missing_scopes, ["video.upload"]);
    let ends = at_once(100, |_| {
        let (w, taken) = (w.clone(), taken(&w, &[account.id]));
        async move { w.store.complete_session(TENANT, session, [5; 32], &taken).await.unwrap() }
    })
    .await;
    let mut firsts = 0;
    for end in ends {
        let Completion::Active { account: taken, first } = end else { panic!("{end:?}") };
        assert_eq!((taken.id, taken.status), (account.id, AccountStatus::Active));
        firsts += usize::from(first);
    }
    assert_eq!(firsts, 1);
    let all = PageRequest { after: None, limit: 100 };
    let events = w.store.events(TENANT, &EventFilter::default(), all).await.unwrap().items;
    assert_eq!(events.len(), 2, "of the grant, and of one completion");
    assert_eq!(events[0].account, Some(account.id));
    w.advance(20 * MINUTE);
    assert_eq!(w.claim(JobKind::Revoke).await, None, "nobody ends it any more");
    let done = w.store.session_by_id(TENANT, session).await.unwrap().unwrap();
    assert_eq!(done.status, SessionStatus::Completed);
}

pub async fn a_completion_code_is_good_for_its_session_and_time(w: World) {
    let (session, account) = pending(&w).await;
    let account = account.unwrap();
    let other = w.other_tenant().await;
    let complete = async |tenant, code: u8| {
        let taken = taken(&w, &[account.id]);
        w.store.complete_session(tenant, session, [code; 32], &taken).await.unwrap()
    };
    assert_eq!(complete(TENANT, 6).await, Completion::Wrong);
    assert_eq!(complete(other, 5).await, Completion::NotPending);
    w.advance(MINUTE + SECOND);
    assert_eq!(complete(TENANT, 5).await, Completion::Late);
    assert_eq!(w.reload(&account).await, account);
    w.store.end_session(TENANT, session, SessionStatus::Cancelled, None).await.unwrap();
    assert_eq!(complete(TENANT, 5).await, Completion::NotPending);
}

pub async fn a_grant_of_a_session_that_was_called_off_is_not_stored(w: World) {
    let (session, account) = pending(&w).await;
    let before = account.unwrap();
    // A session has one outcome.
    let refused = granted(&w, session).await;
    assert!(matches!(refused, Err(StoreError::Conflict(Constraint::SessionOver))), "{refused:?}");
    assert_eq!(w.reload(&before).await, before);
}

pub async fn a_flow_goes_on_with_a_choice_that_is_looked_at_often_and_taken_once(w: World) {
    let named = |id: &str| Identity {
        remote_id: id.into(),
        display_name: Some("A page".into()),
        username: None,
        avatar_url: None,
        profile_url: None,
    };
    let before = flow(&w, 1);
    w.store.start_flow(&before, None).await.unwrap();
    assert_eq!(w.store.flow([1; 32]).await.unwrap(), w.store.take_flow([1; 32]).await.unwrap());
    let choice = Flow {
        state_hash: [2; 32],
        sealed: b"tokens".to_vec(),
        identities: Some(vec![named("a"), named("b")]),
        ..before
    };
    assert!(w.store.continue_flow(&choice).await.unwrap());
    for _ in 0..2 {
        assert_eq!(w.store.flow([2; 32]).await.unwrap(), Some(choice.clone()));
    }
    assert_eq!(w.store.take_flow([2; 32]).await.unwrap(), Some(choice.clone()));
    assert_eq!(w.store.flow([2; 32]).await.unwrap(), None);
    assert_eq!(w.store.take_flow([2; 32]).await.unwrap(), None);
    w.store.continue_flow(&choice).await.unwrap();
    w.advance(10 * MINUTE + SECOND);
    assert_eq!(w.store.flow([2; 32]).await.unwrap(), None, "it lives as long as its flow");
}

/// Pending accounts `a` and `b` of one choice, by a session that both wait for.
async fn two_pending(w: &World) -> (SessionId, Vec<Account>) {
    let session = session(w, 1);
    w.store.create_session(&session).await.unwrap();
    let flow = Flow { session: Some(session.id), ..flow(w, 1) };
    assert!(w.store.start_flow(&flow, None).await.unwrap());
    let accounts = ["a", "b"].map(|remote_id| {
        let mut account = w.new_account(TENANT, remote_id);
        account.status = AccountStatus::Pending;
        account
    });
    let stored = two(w, &accounts, session.id, flow.id).await.unwrap();
    (session.id, stored)
}

async fn two(w: &World, accounts: &[NewAccount; 2], session: SessionId, flow: FlowId) -> StoreResult<Vec<Account>> {
    let (refresh, mut revoke) = (w.job(TENANT, JobKind::Refresh, TENANT.as_uuid()), w.job(TENANT, JobKind::Revoke, TENANT.as_uuid()));
    revoke.run_at = Some(w.later(15 * MINUTE));
    let mut places = Vec::new();
    for account in accounts {
        let to = w.store.place_grant(account).await?;
        let of_account = |mut job: NewJob| {
            job.id = JobId::from_uuid(w.id());
            job
        };
        places.push((to, w.tokens(to.next_version), of_account(refresh.clone()), of_account(revoke.clone()), [w.event("account.pending")]));
    }
    let grants: Vec<_> = accounts
        .iter()
        .zip(&places)
        .map(|(account, (to, tokens, refresh, revoke, events))| {
            let together = Some(flow);
            (*to, NewGrant { account, tokens, refresh, revoke: Some(revoke), together, events, audit: &NOTE })
        })
        .collect();
    let grant = SessionGrant {
        id: session,
        status: SessionStatus::Pending,
        missing_scopes: Vec::new(),
        code_hash: [5; 32],
        code_until: w.later(MINUTE),
    };
    w.store.finish_connect(&grants, Some(&grant)).await
}

pub async fn of_several_accounts_all_are_stored_and_all_are_taken(w: World) {
    let (session, accounts) = two_pending(&w).await;
    let ids: Vec<_> = accounts.iter().map(|account| account.id).collect();
    let stored = w.store.session_by_id(TENANT, session).await.unwrap().unwrap();
    assert_eq!((stored.status, &stored.connected), (SessionStatus::Pending, &ids));
    let end = w.store.complete_session(TENANT, session, [5; 32], &taken(&w, &ids)).await.unwrap();
    let Completion::Active { account, first: true } = end else { panic!("{end:?}") };
    assert_eq!(account.id, ids[0]);
    for account in &accounts {
        assert_eq!(w.reload(account).await.status, AccountStatus::Active);
    }
    let all = PageRequest { after: None, limit: 100 };
    let events = w.store.events(TENANT, &EventFilter::default(), all).await.unwrap().items;
    assert_eq!(events.iter().filter(|event| event.name == "account.connected").count(), 2);
    w.advance(20 * MINUTE);
    assert_eq!(w.claim(JobKind::Revoke).await, None, "nobody ends one of them");
}

pub async fn of_several_accounts_those_are_taken_that_are_still_there(w: World) {
    let (session, accounts) = two_pending(&w).await;
    let ids: Vec<_> = accounts.iter().map(|account| account.id).collect();
    let event = w.event("account.disconnected");
    w.store.begin_disconnect(TENANT, ids[0], "user", None, &event, &NOTE).await.unwrap();
    for first in [true, false] {
        let end = w.store.complete_session(TENANT, session, [5; 32], &taken(&w, &ids)).await.unwrap();
        let Completion::Active { account, first: is_first } = end else { panic!("{end:?}") };
        assert_eq!((account.id, account.status, is_first), (ids[1], AccountStatus::Active, first));
    }
    let stored = w.store.session_by_id(TENANT, session).await.unwrap().unwrap();
    assert_eq!(stored.status, SessionStatus::Completed);
}

pub async fn of_several_accounts_none_is_stored_if_one_is_in_the_way(w: World) {
    let other = w.other_tenant().await;
    let theirs = w.connect_as(&w.new_account(other, "b")).await.unwrap();
    let session = session(&w, 1);
    w.store.create_session(&session).await.unwrap();
    let flow = Flow { session: Some(session.id), ..flow(&w, 1) };
    assert!(w.store.start_flow(&flow, None).await.unwrap());
    let accounts = ["a", "c"].map(|remote_id| w.new_account(TENANT, remote_id));
    let refused = two(&w, &accounts, SessionId::from_uuid(w.id()), flow.id).await;
    assert!(matches!(refused, Err(StoreError::Conflict(Constraint::SessionOver))), "{refused:?}");
    let accounts = ["a", "b"].map(|remote_id| w.new_account(TENANT, remote_id));
    let refused = two(&w, &accounts, session.id, flow.id).await;
    assert!(matches!(refused, Err(StoreError::Conflict(Constraint::AccountOfOtherTenant))), "{refused:?}");
    let all = PageRequest { after: None, limit: 100 };
    assert!(w.store.accounts(TENANT, &AccountFilter::default(), all).await.unwrap().items.is_empty());
    assert_eq!(w.reload(&theirs).await, theirs);
    let started = w.store.session_by_id(TENANT, session.id).await.unwrap().unwrap();
    assert_eq!((started.status, started.connected.len()), (SessionStatus::Started, 0));
}

pub async fn a_grant_is_shared_until_the_last_of_those_that_were_chosen_together(w: World) {
    let (_, accounts) = two_pending(&w).await;
    let [a, b] = [accounts[0].id, accounts[1].id];
    let shares = async |id| w.store.shares_grant(TENANT, id).await.unwrap();
    let lone = w.account("lone").await;
    assert_eq!((shares(a).await, shares(b).await, shares(lone.id).await), (true, true, false));
    assert!(!w.store.shares_grant(w.other_tenant().await, a).await.unwrap());
    let event = w.event("account.disconnected");
    w.store.begin_disconnect(TENANT, a, "user", None, &event, &NOTE).await.unwrap();
    assert_eq!((shares(a).await, shares(b).await), (true, false));
    // Connected again by itself, it stands on a grant of its own.
    w.connect_as(&w.new_account(TENANT, "a")).await.unwrap();
    assert_eq!((shares(a).await, shares(b).await), (false, false));
}

pub async fn origins_are_a_tenants_own(w: World) {
    let other = w.other_tenant().await;
    let origins = ["https://app.example.com".to_owned(), "http://localhost:3000".to_owned()];
    assert!(w.store.set_connect_origins(TENANT, &origins, &NOTE).await.unwrap());
    assert_eq!(w.store.connect_origins(TENANT).await.unwrap(), origins);
    assert!(w.store.connect_origins(other).await.unwrap().is_empty());
    assert!(w.store.set_connect_origins(TENANT, &[], &NOTE).await.unwrap());
    assert!(w.store.connect_origins(TENANT).await.unwrap().is_empty());
    let nobody = patchbay_core::TenantId::from_uuid(w.id());
    assert!(!w.store.set_connect_origins(nobody, &origins, &NOTE).await.unwrap());
    assert!(w.store.connect_origins(nobody).await.unwrap().is_empty());
}

pub fn flow(w: &World, number: u8) -> Flow {
    Flow {
        id: FlowId::from_uuid(w.id()),
        tenant: TENANT,
        owner: "owner-1".into(),
        provider: provider(),
        state_hash: [number; 32],
        cookie_hash: [7; 32],
        sealed: b"sealed".to_vec(),
        identities: None,
        scopes: vec!["video.publish".into()],
        redirect_uri: "https://host.example/callback".into(),
        return_to: "/done".into(),
        activate: true,
        session: None,
        expires_at: w.later(10 * MINUTE),
    }
}

pub fn session(w: &World, number: u8) -> Session {
    Session {
        id: SessionId::from_uuid(w.id()),
        tenant: TENANT,
        owner: "owner-1".into(),
        provider: provider(),
        token_hash: [number; 32],
        scopes: vec!["video.publish".into()],
        account: None,
        return_to: Some("https://app.example.com/done".into()),
        origins: vec!["https://app.example.com".into()],
        activate: false,
        status: SessionStatus::Open,
        connected: Vec::new(),
        missing_scopes: Vec::new(),
        code: None,
        expires_at: w.later(10 * MINUTE),
    }
}
