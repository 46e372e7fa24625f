use std::time::Duration;

use patchbay_app::{
    model::{ApiKey, DataKey, DataKeyState, KeyScope, OperatorSession},
    store::{Constraint, Cursor, PageRequest, StoreError},
};
use patchbay_core::{ApiKeyId, TenantId};

use super::{deliveries::endpoint, flows::flow};
use crate::harness::{NOTE, MINUTE, SECOND, TENANT, World, assert_stale, at_once};

pub async fn a_tenant_is_made_once(w: World) {
    let default = w.store.tenant(TENANT).await.unwrap().unwrap();
    assert_eq!((default.id, default.name.as_str()), (TenantId::DEFAULT, "default"));
    let made = at_once(8, |_| {
        let w = w.clone();
        async move { w.store.ensure_tenant(TenantId::from_uuid(w.id()), "team").await.unwrap() }
    })
    .await;
    assert!(made.iter().all(|tenant| *tenant == made[0]));
    assert_eq!(w.store.tenant(made[0].id).await.unwrap().as_ref(), Some(&made[0]));
    assert_eq!(w.store.tenant(TenantId::from_uuid(w.id())).await.unwrap(), None);
    let clash = w.store.ensure_tenant(TENANT, "another name").await;
    assert!(matches!(clash, Err(StoreError::Conflict(Constraint::Name))), "{clash:?}");
}

pub async fn tenants_are_made_by_name_and_listed_newest_first(w: World) {
    let mut made = Vec::new();
    for name in ["a", "b", "c"] {
        w.advance(SECOND);
        let tenant = w.store.create_tenant(TenantId::from_uuid(w.id()), name, &NOTE).await.unwrap();
        assert_eq!((tenant.name.as_str(), tenant.created_at), (name, w.now()));
        made.insert(0, tenant);
    }
    let twin = w.store.create_tenant(TenantId::from_uuid(w.id()), "b", &NOTE).await;
    assert!(matches!(twin, Err(StoreError::Conflict(Constraint::Name))), "{twin:?}");
    let mut listed = Vec::new();
    let mut page = PageRequest { after: None, limit: 1 };
    loop {
        let found = w.store.tenants(page).await.unwrap();
        listed.extend(found.items);
        page.after = found.next;
        if page.after.is_none() {
            break;
        }
    }
    // Made by the migration, at a time that is none of the test's.
    listed.retain(|tenant| tenant.id != TENANT);
    assert_eq!(listed, made);
}

pub async fn keys_that_were_used_last_are_listed_first(w: World) {
    let mut keys = Vec::new();
    for index in 0..4 {
        let key = api_key(&w, TENANT, &format!("public-{index}"));
        w.store.create_api_key(&key, &NOTE).await.unwrap();
        keys.push(key);
        w.advance(60 * MINUTE);
    }
    w.store.touch_api_key(keys[1].id).await.unwrap();
    let first = w.store.api_keys(TENANT, PageRequest { after: None, limit: 2 }).await.unwrap();
    let rest = w.store.api_keys(TENANT, page(first.next)).await.unwrap();
    assert_eq!(rest.next, None);
    let order: Vec<_> = first.items.iter().chain(&rest.items).map(|key| key.id).collect();
    assert_eq!(order, [1, 3, 2, 0].map(|index| keys[index].id));
}

pub async fn a_tenant_has_one_active_data_key(w: World) {
    let other = w.other_tenant().await;
    let first = data_key(1, TENANT, 1);
    assert_eq!(w.store.add_data_key(first.clone()).await.unwrap(), first);
    assert_eq!(w.store.add_data_key(data_key(2, TENANT, 2)).await.unwrap(), first);
    assert_stale(w.store.add_data_key(data_key(1, other, 3)).await);
    let second = data_key(2, other, 4);
    w.store.add_data_key(second.clone()).await.unwrap();
    assert_eq!(w.store.key_state().await.unwrap().keys, [first, second]);
}

pub async fn of_many_hosts_one_makes_the_data_key(w: World) {
    let other = w.other_tenant().await;
    let keys = at_once(12, |index| {
        let w = w.clone();
        let tenant = if index % 2 == 0 { TENANT } else { other };
        async move {
            let mut id = 1;
            loop {
                let key = data_key(id, tenant, u8::try_from(index).unwrap());
                match w.store.add_data_key(key).await {
                    Ok(key) => return key,
                    Err(StoreError::Stale) => id += 1,
                    Err(error) => panic!("{error:?}"),
                }
            }
        }
    })
    .await;
    let stored = w.store.key_state().await.unwrap().keys;
    assert_eq!(stored.len(), 2);
    assert!(keys.iter().all(|key| stored.contains(key)));
}

pub async fn sealed_rows_are_noticed(w: World) {
    let sealed = async || w.store.key_state().await.unwrap().sealed_rows;
    assert!(!sealed().await);
    w.store.start_flow(&flow(&w, 1), None).await.unwrap();
    assert!(sealed().await);
    w.store.take_flow([1; 32]).await.unwrap();
    assert!(!sealed().await);
    let hooks = endpoint(&w, TENANT, &[]).await;
    assert!(sealed().await);
    w.store.delete_endpoint(TENANT, hooks.id, &NOTE).await.unwrap();
    assert!(!sealed().await);
    w.account("remote-1").await;
    assert!(sealed().await);
}

pub async fn an_api_key_is_found_listed_and_killed(w: World) {
    let mut keys = Vec::new();
    for index in 0..3 {
        let key = api_key(&w, TENANT, &format!("public-{index}"));
        w.store.create_api_key(&key, &NOTE).await.unwrap();
        keys.insert(0, key);
        w.advance(SECOND);
    }
    let twin = api_key(&w, TENANT, "public-1");
    let taken = w.store.create_api_key(&twin, &NOTE).await;
    assert!(matches!(taken, Err(StoreError::Conflict(Constraint::Name))), "{taken:?}");
    let lost = api_key(&w, TenantId::from_uuid(w.id()), "public-9");
    let missing = w.store.create_api_key(&lost, &NOTE).await;
    assert!(matches!(missing, Err(StoreError::Conflict(Constraint::Missing))), "{missing:?}");

    assert_eq!(w.store.api_keys(TENANT, page(None)).await.unwrap().items, keys);
    assert_eq!(w.store.api_key("public-1").await.unwrap().as_ref(), Some(&keys[1]));
    assert_eq!(w.store.api_key("public-9").await.unwrap(), None);

    assert!(w.store.revoke_api_key(TENANT, keys[1].id, &NOTE).await.unwrap());
    let killed_at = Some(w.now());
    w.advance(MINUTE);
    assert!(w.store.revoke_api_key(TENANT, keys[1].id, &NOTE).await.unwrap());
    let killed = w.store.api_key("public-1").await.unwrap().unwrap();
    assert_eq!(killed.revoked_at, killed_at, "it died the first time");
    assert!(!w.store.revoke_api_key(TENANT, ApiKeyId::from_uuid(w.id()), &NOTE).await.unwrap());
}

pub async fn a_use_of_an_api_key_is_noted_to_the_hour(w: World) {
    let key = api_key(&w, TENANT, "public-1");
    w.store.create_api_key(&key, &NOTE).await.unwrap();
    let used = async || w.store.api_key("public-1").await.unwrap().unwrap().last_used_at.unwrap();
    w.store.touch_api_key(key.id).await.unwrap();
    let first = used().await;
    assert_eq!(first.timestamp() % 3600, 0);
    assert_eq!(first.timestamp_subsec_micros(), 0);
    assert!(first <= w.now() && first > w.now() - chrono::TimeDelta::hours(1));
    w.clock.advance_to(first + chrono::TimeDelta::minutes(59));
    w.store.touch_api_key(key.id).await.unwrap();
    assert_eq!(used().await, first);
    w.advance(MINUTE);
    w.store.touch_api_key(key.id).await.unwrap();
    assert_eq!(used().await, w.now());
    w.store.touch_api_key(ApiKeyId::from_uuid(w.id())).await.unwrap();
}

pub async fn an_operators_session_ends_unused_or_old_or_on_request(w: World) {
    let found = async |token: u8| w.store.operator_session([token; 32]).await.unwrap();
    let begun = w.now();
    let started = w.store.start_operator_session([1; 32], "public-1", &NOTE).await.unwrap();
    assert_eq!((started.public_id.as_str(), started.started_at, started.seen_at), ("public-1", begun, begun));
    assert_eq!(found(1).await, Some(started));
    assert_eq!(found(2).await, None);

    // Used again and again, it lasts; a use is noted when the last note is a minute old.
    w.advance(MINUTE - SECOND);
    assert_eq!(found(1).await.unwrap().seen_at, begun);
    for _ in 0..3 {
        w.advance(29 * MINUTE);
        assert_eq!(found(1).await.unwrap().seen_at, w.now());
    }
    w.advance(30 * MINUTE);
    assert_eq!(found(1).await, None, "unused for half an hour");

    w.store.start_operator_session([2; 32], "public-1", &NOTE).await.unwrap();
    let begun = w.now();
    while w.now() < begun + OperatorSession::LIFE - OperatorSession::NOTED {
        w.advance(20 * MINUTE);
        if found(2).await.is_none() {
            break;
        }
    }
    assert_eq!(w.now(), begun + OperatorSession::LIFE, "used without a pause, it ends all the same");

    // The next start takes out what has ended.
    w.store.start_operator_session([3; 32], "public-1", &NOTE).await.unwrap();
    assert!(found(3).await.is_some());
    w.store.end_operator_session([3; 32], &NOTE).await.unwrap();
    assert_eq!(found(3).await, None);
    w.store.end_operator_session([3; 32], &NOTE).await.unwrap();
    w.store.start_operator_session([1; 32], "public-2", &NOTE).await.expect("the first of this token is gone");
}

pub async fn the_store_tells_the_time_and_proves_that_it_writes(w: World) {
    assert_eq!(w.store.now().await.unwrap(), w.now());
    w.advance(Duration::from_micros(1));
    assert_eq!(w.store.now().await.unwrap(), w.now());
    w.store.probe_write().await.unwrap();
    assert!(["sqlite", "postgres"].contains(&w.store.backend()));
}

fn page(after: Option<Cursor>) -> PageRequest {
    PageRequest { after, limit: 100 }
}

fn data_key(id: u32, tenant: TenantId, byte: u8) -> DataKey {
    DataKey {
        id,
        tenant,
        wrapped: vec![byte; 3],
        canary: vec![byte; 4],
        state: DataKeyState::Active,
    }
}

pub fn api_key(w: &World, tenant: TenantId, public_id: &str) -> ApiKey {
    ApiKey {
        id: ApiKeyId::from_uuid(w.id()),
        tenant,
        name: "backend".into(),
        public_id: public_id.into(),
        secret_hash: [5; 32],
        scopes: vec![KeyScope::Read, KeyScope::Publish],
        created_at: w.now(),
        expires_at: Some(w.later(MINUTE)),
        revoked_at: None,
        last_used_at: None,
    }
}
