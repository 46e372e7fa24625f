use patchbay_app::{
    model::Media,
    store::{EventFilter, PageRequest},
};
use patchbay_core::{MediaId, MediaInfo, MediaKind, TenantId};
use serde_json::json;

use crate::harness::{MINUTE, SECOND, TENANT, World};

pub async fn a_file_is_kept_until_it_expires(w: World) {
    let media = file(&w, TENANT, 10);
    keep(&w, &media).await;
    assert_eq!(w.store.media(TENANT, media.id).await.unwrap().as_ref(), Some(&media));
    w.advance(10 * MINUTE);
    assert!(w.store.media(TENANT, media.id).await.unwrap().is_some());
    w.advance(SECOND);
    assert_eq!(w.store.media(TENANT, media.id).await.unwrap(), None);
    // Its bytes are still on disk.
    assert_eq!(w.store.media_bytes(TENANT).await.unwrap(), 10);
    assert_eq!(w.store.purge_media(10).await.unwrap(), [media.id]);
    assert_eq!(w.store.media_bytes(TENANT).await.unwrap(), 0);
    // Its tenant is told, once.
    assert!(w.store.purge_media(10).await.unwrap().is_empty());
    let told = w.store.events(TENANT, &EventFilter::default(), PageRequest { after: None, limit: 9 }).await.unwrap();
    let [event] = &told.items[..] else { panic!("{told:?}") };
    assert_eq!((&*event.name, &event.payload["media_id"]), ("media.expired", &json!(media.id)));
}

pub async fn keeping_a_file_never_shortens_its_life(w: World) {
    let media = file(&w, TENANT, 10);
    keep(&w, &media).await;
    let expiry = async || {
        let found = w.store.media(TENANT, media.id).await.unwrap();
        found.map(|media| media.expires_at)
    };
    let until = w.later(20 * MINUTE);
    for wish in [until, w.later(5 * MINUTE)] {
        w.store.keep_media(TENANT, media.id, wish).await.unwrap();
        assert_eq!(expiry().await, Some(until));
    }
    // What has expired may be gone from the disk already.
    w.advance(21 * MINUTE);
    w.store.keep_media(TENANT, media.id, w.later(MINUTE)).await.unwrap();
    assert_eq!(expiry().await, None);
}

pub async fn expired_files_are_taken_out_in_bounded_steps(w: World) {
    for _ in 0..5 {
        keep(&w, &file(&w, TENANT, 1)).await;
    }
    let other = w.other_tenant().await;
    let theirs = file(&w, other, 1);
    keep(&w, &theirs).await;
    w.store.keep_media(other, theirs.id, w.later(60 * MINUTE)).await.unwrap();
    w.advance(11 * MINUTE);
    for left in [3, 2, 0] {
        assert_eq!(w.store.purge_media(3).await.unwrap().len(), left);
    }
    assert_eq!(w.store.media_bytes(other).await.unwrap(), 1);
}

/// Stores a file, by the one way that there is.
pub async fn keep(w: &World, media: &Media) {
    let size = media.info.size_bytes.unwrap();
    let mut upload = super::uploads::new(w, media.tenant, size);
    upload.id = media.id;
    super::uploads::begun(w, &upload).await;
    let lease = super::uploads::leased(w, media.tenant, media.id).await;
    w.store.finish_upload(lease, media, None).await.unwrap();
}

pub fn file(w: &World, tenant: TenantId, size: u64) -> Media {
    Media {
        id: MediaId::from_uuid(w.id()),
        tenant,
        label: Some("../clip.mp4".into()),
        info: MediaInfo {
            kind: MediaKind::Video,
            mime: "video/mp4".into(),
            size_bytes: Some(size),
            duration_ms: Some(1500),
            width: Some(720),
            height: Some(1280),
            frame_rate: Some(29.97),
            codec: None,
        },
        sha256: [3; 32],
        created_at: w.now(),
        expires_at: w.later(10 * MINUTE),
    }
}
