use patchbay_app::model::{Flow, Session};
use patchbay_core::FlowId;

use crate::harness::{MINUTE, SECOND, TENANT, World, at_once, provider};

pub async fn t03_of_fifty_callbacks_one_takes_the_flow(w: World) {
    let flow = flow(&w, 1);
    w.store.start_flow(&flow).await.unwrap();
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
    w.store.start_flow(&flow(&w, 1)).await.unwrap();
    w.store.start_flow(&flow(&w, 2)).await.unwrap();
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
        w.store.start_flow(&flow(&w, number)).await.unwrap();
        w.store.create_session(&session(&w, number)).await.unwrap();
    }
    w.advance(MINUTE);
    w.store.start_flow(&flow(&w, 9)).await.unwrap();
    w.store.create_session(&session(&w, 9)).await.unwrap();
    assert_eq!(w.store.purge_flows(10).await.unwrap(), 0);
    w.advance(9 * MINUTE + SECOND);
    for left in [4, 2, 0] {
        assert_eq!(w.store.purge_flows(4).await.unwrap(), left);
    }
    assert!(w.store.take_flow([9; 32]).await.unwrap().is_some());
    assert!(w.store.session([9; 32]).await.unwrap().is_some());
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
        scopes: vec!["video.publish".into()],
        redirect_uri: "https://host.example/callback".into(),
        return_to: "/done".into(),
        activate: true,
        expires_at: w.later(10 * MINUTE),
    }
}

pub fn session(w: &World, number: u8) -> Session {
    Session {
        id: w.id(),
        tenant: TENANT,
        owner: "owner-1".into(),
        provider: provider(),
        token_hash: [number; 32],
        expires_at: w.later(10 * MINUTE),
    }
}
