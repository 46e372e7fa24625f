use std::time::Duration;

use patchbay_app::{
    model::{EndpointChange, JobKind, LeasedUpload, NextDelivery, UploadLease},
    store::{AccountFilter, DeliveryFilter, EventFilter, PageRequest, PostFilter, RefreshLease},
};

use super::{
    deliveries::{end, endpoint, pushed},
    keys::api_key, media::{file, keep}, posts::publishing, slots::request, uploads::{begun, leased, new}};
use crate::harness::{NOTE, LEASE, MINUTE, TENANT, World, assert_stale, provider};

/// Every method that takes a tenant, with another tenant's name and our ids: nothing is seen, nothing is changed.
pub async fn t16_another_tenant_sees_and_changes_nothing(w: World) {
    let page = PageRequest { after: None, limit: 100 };
    let account = w.account("remote-1").await;
    let post = publishing(&w, &account, "key", "publish-1").await;
    let claim = w.claimed(JobKind::Publish).await;
    w.store.mark_about_to(claim.lease(), TENANT, post.id, 1, "op").await.unwrap();
    let media = file(&w, TENANT, 10);
    keep(&w, &media).await;
    let slot = request(&w, TENANT, "init");
    w.store.take_slot(&slot).await.unwrap();
    let key = api_key(&w, TENANT, "public");
    w.store.create_api_key(&key, &NOTE).await.unwrap();

    let hooks = endpoint(&w, TENANT, &[]).await;
    let delivery = pushed(&w, &hooks).await;
    let sending = w.claimed(JobKind::Deliver).await;

    let upload = begun(&w, &new(&w, TENANT, 10)).await;
    let writing = leased(&w, TENANT, upload.id).await;

    let other = w.other_tenant().await;
    let s = &w.store;
    let event = w.event("x");
    assert_eq!(s.account(other, account.id).await.unwrap(), None);
    assert!(s.accounts(other, &AccountFilter::default(), page).await.unwrap().items.is_empty());
    let lease = s.lease_refresh(other, account.id, 1, "host", LEASE).await.unwrap();
    assert_eq!(lease, RefreshLease::Moved);
    assert!(!s.swap_tokens(other, account.id, 1, &w.tokens(2)).await.unwrap());
    assert!(!s.require_reauth(other, account.id, 1, "x", &event, &NOTE).await.unwrap());
    assert_eq!(s.begin_disconnect(other, account.id, "x", None, &event, &NOTE).await.unwrap(), None);
    s.erase_tokens(other, account.id).await.unwrap();

    assert_eq!(s.post(other, post.id).await.unwrap(), None);
    assert_eq!(s.post_by_ref(other, &provider(), "publish-1").await.unwrap(), None);
    assert!(s.posts(other, &PostFilter::default(), page).await.unwrap().items.is_empty());
    assert_eq!(s.cancel_post(other, post.id, None, &event).await.unwrap(), None);
    assert_stale(s.mark_about_to(claim.lease(), other, post.id, 1, "op2").await);
    assert!(s.keep_receipt(other, post.id, 1, "op", 200, b"x").await.is_err());
    s.clear_mark(other, post.id, 1, "op").await.unwrap();
    assert!(s.commits(other, post.id).await.unwrap().is_empty());
    assert!(s.events(other, &EventFilter::default(), page).await.unwrap().items.is_empty());

    assert_eq!(s.media(other, media.id).await.unwrap(), None);
    assert_eq!(s.media_bytes(other).await.unwrap(), 0);
    s.keep_media(other, media.id, w.later(60 * MINUTE)).await.unwrap();
    assert_eq!(s.media_list(other, page).await.unwrap().items, []);
    assert_eq!(s.upload(other, upload.id).await.unwrap(), None);
    assert_eq!(s.lease_upload(other, upload.id, LEASE).await.unwrap(), LeasedUpload::Unknown);
    let theirs = UploadLease { tenant: other, ..writing };
    assert_stale(s.note_upload(theirs, &upload.progress, LEASE, w.now()).await);
    assert_stale(s.finish_upload(theirs, &media, None).await);
    s.release_upload(theirs).await.unwrap();
    assert_eq!(s.lease_upload(TENANT, upload.id, LEASE).await.unwrap(), LeasedUpload::Busy);
    assert_eq!(s.delete_upload(other, upload.id).await.unwrap(), None);
    s.settle_slot(other, slot.id, Duration::ZERO).await.unwrap();
    assert_eq!(s.windows(&[request(&w, other, "init").window]).await.unwrap()[0].used, 0);
    assert_eq!(s.next_steps(other, &[post.id]).await.unwrap(), []);
    assert_eq!(s.api_keys(other, page).await.unwrap().items, []);
    assert!(!s.revoke_api_key(other, key.id, &NOTE).await.unwrap());

    assert_eq!(s.endpoint(other, hooks.id).await.unwrap(), None);
    assert_eq!(s.endpoints(other, page).await.unwrap().items, []);
    let off = EndpointChange {
        enabled: Some(false),
        ..EndpointChange::default()
    };
    assert_eq!(s.change_endpoint(other, hooks.id, &off, &NOTE).await.unwrap(), None);
    assert_eq!(s.rotate_secret(other, hooks.id, &hooks.secret, w.now(), &NOTE).await.unwrap(), None);
    assert!(!s.delete_endpoint(other, hooks.id, &NOTE).await.unwrap());
    let all = DeliveryFilter::default();
    assert_eq!(s.deliveries(other, hooks.id, all, page).await.unwrap().items, []);
    assert_eq!(s.outgoing(other, delivery.id).await.unwrap(), None);
    assert_stale(s.end_delivery(sending.lease(), other, delivery.id, &end(&hooks, None, NextDelivery::Held)).await);
    assert_eq!(s.redeliver(other, hooks.id, delivery.id, &NOTE).await.unwrap(), None);
    assert_eq!(s.redeliver_window(other, hooks.id, all, 10, &NOTE).await.unwrap(), 0);
    assert_eq!(s.push_to(other, hooks.id, &event).await.unwrap(), None);

    // A right to renew that is held by a name is not given back by the same name elsewhere.
    let lease = s.lease_refresh(TENANT, account.id, 1, "host", LEASE).await.unwrap();
    assert_eq!(lease, RefreshLease::Granted(Box::new(account.clone())));
    s.release_refresh(other, account.id, "host").await.unwrap();
    let lease = s.lease_refresh(TENANT, account.id, 1, "host", LEASE).await.unwrap();
    assert!(matches!(lease, RefreshLease::Busy { .. }));

    assert_eq!(w.reload(&account).await, account);
    assert_eq!(w.reload_post(&post).await, post);
    let journal = s.commits(TENANT, post.id).await.unwrap();
    assert_eq!((journal.len(), journal[0].answered_at), (1, None));
    assert_eq!(s.media(TENANT, media.id).await.unwrap(), Some(media));
    assert_eq!(s.upload(TENANT, upload.id).await.unwrap(), Some(upload));
    assert_eq!(s.windows(&[slot.window]).await.unwrap()[0].used, 1);
    assert_eq!(s.api_keys(TENANT, page).await.unwrap().items, [key]);
    assert_eq!(s.endpoints(TENANT, page).await.unwrap().items, std::slice::from_ref(&hooks));
    assert_eq!(s.deliveries(TENANT, hooks.id, all, page).await.unwrap().items, [delivery]);
    let events = s.events(TENANT, &EventFilter::default(), page).await.unwrap().items;
    assert_eq!(events.len(), 2, "the connect and the test alone");
}
