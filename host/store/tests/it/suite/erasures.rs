use std::collections::BTreeMap;

use patchbay_app::{
    model::{DataKey, DataKeyState, ErasedGrant, Erasure, GrantEnd, JobKind, JobStatus, NewErasure, Subject},
    store::{Constraint, EventFilter, JobEnd, PageRequest, StoreError},
};
use patchbay_core::{AccountId, ErasureId, TenantId};

use super::{keys::api_key, media::{file, keep}};
use crate::harness::{NOTE, SECOND, TENANT, World, assert_stale, at_once};

async fn begin(w: &World, tenant: TenantId, subject: Subject) -> Option<Erasure> {
    let id = ErasureId::from_uuid(w.id());
    let job = w.job(tenant, JobKind::Erase, id.as_uuid());
    let wanted = NewErasure { id, tenant, subject };
    w.store.begin_erasure(&wanted, &job, &NOTE).await.unwrap()
}

fn counts<const N: usize>(counts: [(&str, u64); N]) -> BTreeMap<String, u64> {
    counts.map(|(kind, count)| (kind.to_owned(), count)).into()
}

pub async fn an_account_is_erased_step_by_step_and_counted(w: World) {
    let account = w.account("remote").await;
    let other = w.account("other").await;
    let endpoint = w.new_endpoint(TENANT, &["*"]);
    w.store.create_endpoint(&endpoint, 9, &NOTE).await.unwrap().unwrap();
    for key in ["a", "b", "c"] {
        w.post(&account, key).await;
    }
    let kept = w.post(&other, "d").await;
    let event = w.event("account.disconnected");
    let event = patchbay_app::model::NewEvent {
        account: Some(account.id),
        ..event
    };
    w.store
        .begin_disconnect(TENANT, account.id, "erased", None, &event, &NOTE)
        .await
        .unwrap();

    let nobody = Subject::Account(AccountId::from_uuid(w.id()));
    assert_eq!(begin(&w, TENANT, nobody).await, None);
    let foreign = w.other_tenant().await;
    assert_eq!(begin(&w, foreign, Subject::Account(account.id)).await, None);
    let begun = at_once(4, |_| {
        let w = w.clone();
        async move { begin(&w, TENANT, Subject::Account(account.id)).await.unwrap() }
    })
    .await;
    assert!(begun.iter().all(|erasure| *erasure == begun[0]), "many wishes are one");
    let erasure = begun[0].clone();
    assert_eq!((erasure.requested_at, erasure.finished_at), (w.now(), None));

    let job = w.claimed(JobKind::Erase).await;
    assert!(w.claim(JobKind::Erase).await.is_none());
    let grant = ErasedGrant {
        account: account.id,
        provider: account.provider.clone(),
        end: GrantEnd::NotTold,
        code: Some("500".into()),
        at: w.now(),
    };
    w.store.erase_grant(job.lease(), &erasure, &grant).await.unwrap();
    assert_eq!(w.reload(&account).await.tokens, None);
    let mut steps = 0;
    while w.store.erase_account(job.lease(), &erasure, account.id, 2).await.unwrap() > 0 {
        steps += 1;
    }
    assert!(steps >= 3, "three posts go in two steps, and the account in one: {steps}");
    assert_eq!(w.store.account(TENANT, account.id).await.unwrap(), None);
    w.advance(SECOND);
    w.store.finish_erasure(job.lease(), &erasure, None, &NOTE).await.unwrap();
    let receipt = w.store.erasure(erasure.id).await.unwrap().unwrap();
    assert_eq!(receipt.finished_at, Some(w.now()));
    assert_eq!(receipt.grants, std::slice::from_ref(&grant));
    let deliveries = receipt.counts["deliveries"];
    let events = receipt.counts["events"];
    assert!(deliveries >= 1 && events >= deliveries, "{receipt:?}");
    let expected = counts([("accounts", 1), ("deliveries", deliveries), ("events", events), ("posts", 3)]);
    assert_eq!(receipt.counts, expected);
    assert_eq!(begin(&w, TENANT, Subject::Account(account.id)).await, Some(receipt));
    assert!(w.claim(JobKind::Erase).await.is_none(), "nothing is left to do");

    // What is another's stays, and without the lease nothing goes.
    assert_eq!(w.reload_post(&kept).await.id, kept.id);
    let lease = job.lease();
    assert_stale(w.store.erase_account(lease, &erasure, other.id, 9).await);
    assert_stale(w.store.erase_grant(lease, &erasure, &grant).await);
    assert_stale(w.store.erase_media(lease, &erasure, &[]).await);
    assert_stale(w.store.erase_uploads(lease, &erasure, &[]).await);
    assert_stale(w.store.erase_tenant(lease, &erasure, 9).await);
    assert_stale(w.store.destroy_data_keys(lease, &erasure).await);
    assert_stale(w.store.finish_erasure(lease, &erasure, None, &NOTE).await);
}

pub async fn an_owners_name_is_forgotten_at_the_end(w: World) {
    let account = w.account("remote").await;
    let owner = Subject::Owner(Some("owner-1".into()));
    assert_eq!(begin(&w, TENANT, Subject::Owner(Some("nobody".into()))).await, None);
    let erasure = begin(&w, TENANT, owner.clone()).await.unwrap();
    assert_eq!(erasure.subject, owner);
    let job = w.claimed(JobKind::Erase).await;
    while w.store.erase_account(job.lease(), &erasure, account.id, 9).await.unwrap() > 0 {}
    let finished = w.event("erasure.finished");
    w.store.finish_erasure(job.lease(), &erasure, Some(&finished), &NOTE).await.unwrap();
    let told = w.store.events(TENANT, &EventFilter::default(), PageRequest { after: None, limit: 9 }).await.unwrap();
    assert_eq!(told.items.iter().filter(|event| event.name == "erasure.finished").count(), 1);
    assert_stale(w.store.finish_erasure(job.lease(), &erasure, Some(&finished), &NOTE).await);
    let receipt = w.store.erasure(erasure.id).await.unwrap().unwrap();
    assert_eq!(receipt.subject, Subject::Owner(None));
    assert_eq!(begin(&w, TENANT, owner.clone()).await, Some(receipt));
    // One who comes back is somebody new to erase.
    w.account("remote").await;
    let again = begin(&w, TENANT, owner).await.unwrap();
    assert_ne!(again.id, erasure.id);
}

pub async fn a_tenant_is_erased_with_its_keys_and_its_name(w: World) {
    let tenant = w.other_tenant().await;
    let key = DataKey {
        id: 7,
        tenant,
        wrapped: vec![1; 40],
        canary: vec![2; 40],
        state: DataKeyState::Active,
    };
    w.store.add_data_key(key.clone()).await.unwrap();
    for name in ["one", "two"] {
        w.store.create_api_key(&api_key(&w, tenant, name), &NOTE).await.unwrap();
    }
    let account = w.connect_as(&w.new_account(tenant, "remote")).await.unwrap();
    w.post(&account, "a").await;
    let endpoint = w.new_endpoint(tenant, &["*"]);
    w.store.create_endpoint(&endpoint, 9, &NOTE).await.unwrap().unwrap();
    let file = file(&w, tenant, 3);
    keep(&w, &file).await;
    let upload = super::uploads::begun(&w, &super::uploads::new(&w, tenant, 5)).await;
    w.receive_item(&w.new_webhook(tenant, "app")).await;
    let dead = w.claimed(JobKind::Ingest).await;
    let end = JobEnd::Dead { code: "bad".into() };
    w.store.end_job(dead.lease(), &end).await.unwrap();

    let late = w.new_account(tenant, "late");
    let to = w.store.place_grant(&late).await.unwrap();
    let erasure = begin(&w, tenant, Subject::Tenant).await.unwrap();
    // Nothing new comes to it from now on: no account, no upload.
    let connected = w.connect_at(to, &late).await;
    assert!(matches!(connected, Err(StoreError::Conflict(Constraint::Missing))), "{connected:?}");
    let late_upload = super::uploads::new(&w, tenant, 5);
    let begun = w.store.begin_upload(&late_upload, 1 << 20, 9).await;
    assert!(matches!(begun, Err(StoreError::Conflict(Constraint::Missing))), "{begun:?}");
    let found = w.store.api_key("one").await.unwrap().unwrap();
    assert_eq!(found.revoked_at, Some(w.now()), "its keys are dead at once");
    let job = w.claimed(JobKind::Erase).await;
    let lease = job.lease();
    w.store.destroy_data_keys(lease, &erasure).await.unwrap();
    w.store.destroy_data_keys(lease, &erasure).await.unwrap();
    let keys = w.store.key_state().await.unwrap().keys;
    let gone = keys.iter().find(|key| key.id == 7).unwrap();
    assert_eq!(
        (gone.state, gone.wrapped.len(), gone.canary.len()),
        (DataKeyState::Destroyed, 0, 0)
    );
    let another = w.store.add_data_key(DataKey { id: 8, ..key }).await;
    assert!(matches!(another, Err(StoreError::Conflict(Constraint::Missing))), "{another:?}");
    while w.store.erase_account(lease, &erasure, account.id, 9).await.unwrap() > 0 {}
    let media = w.store.tenant_media(tenant, None, 9).await.unwrap();
    assert_eq!(media, [file.id]);
    assert_eq!(w.store.tenant_media(tenant, Some(file.id), 9).await.unwrap(), []);
    w.store.erase_media(lease, &erasure, &media).await.unwrap();
    assert_eq!(w.store.tenant_media(tenant, None, 9).await.unwrap(), []);
    assert_eq!(w.store.tenant_uploads(tenant, 0).await.unwrap(), []);
    assert_eq!(w.store.tenant_uploads(tenant, 9).await.unwrap(), std::slice::from_ref(&upload));
    w.store.erase_uploads(lease, &erasure, &[upload.id]).await.unwrap();
    assert_eq!(w.store.tenant_uploads(tenant, 9).await.unwrap(), []);
    while w.store.erase_tenant(lease, &erasure, 1).await.unwrap() > 0 {}
    w.store.finish_erasure(lease, &erasure, None, &NOTE).await.unwrap();

    let receipt = w.store.erasure(erasure.id).await.unwrap().unwrap();
    let events = receipt.counts["events"];
    let expected = [
        ("accounts", 1),
        ("api_keys", 2),
        ("data_keys", 1),
        ("dead_letters", 1),
        ("events", events),
        ("media", 1),
        ("posts", 1),
        ("uploads", 1),
        ("webhook_endpoints", 1),
        ("webhooks", 1),
    ];
    assert_eq!(receipt.counts, counts(expected));
    assert_eq!(w.store.tenant(tenant).await.unwrap(), None);
    let page = PageRequest { after: None, limit: 9 };
    let listed = w.store.tenants(page).await.unwrap().items;
    assert!(listed.iter().all(|listed| listed.id != tenant));
    assert_eq!(w.store.api_key("one").await.unwrap(), None);
    assert_eq!(begin(&w, tenant, Subject::Tenant).await, Some(receipt));
    assert_eq!(w.store.rename_tenant(tenant, "back", &NOTE).await.unwrap(), None);
    let connected = w.connect_at(to, &late).await;
    assert!(matches!(connected, Err(StoreError::Conflict(Constraint::Missing))), "{connected:?}");
    // Its name is free.
    let next = TenantId::from_uuid(w.id());
    w.store.create_tenant(next, "other", &NOTE).await.unwrap();
    assert_eq!(job.status, JobStatus::Running);
}

pub async fn a_tenant_is_given_another_name_that_nobody_has(w: World) {
    let tenant = w.other_tenant().await;
    let renamed = w.store.rename_tenant(tenant, "team", &NOTE).await.unwrap().unwrap();
    assert_eq!((renamed.id, renamed.name.as_str()), (tenant, "team"));
    assert_eq!(w.store.tenant(tenant).await.unwrap(), Some(renamed));
    let taken = w.store.rename_tenant(tenant, "default", &NOTE).await;
    assert!(matches!(taken, Err(StoreError::Conflict(Constraint::Name))), "{taken:?}");
    let nobody = TenantId::from_uuid(w.id());
    assert_eq!(w.store.rename_tenant(nobody, "x", &NOTE).await.unwrap(), None);
}
