use patchbay_app::{
    model::{
        BegunUpload, ImportFailure, JobKind, LeasedUpload, NewImport, NewJob, NewUpload, Progress, Seen, Upload,
        UploadLease,
    },
    store::{EventFilter, PageRequest},
};
use patchbay_core::{JobId, MediaId, TenantId};

use super::media::{file, keep};
use crate::harness::{LEASE, MINUTE, SECOND, TENANT, World, assert_stale, at_once};

const MOST: u32 = 10;
const QUOTA: u64 = 1_000;

pub fn new(w: &World, tenant: TenantId, size: u64) -> NewUpload {
    NewUpload {
        id: MediaId::from_uuid(w.id()),
        tenant,
        label: Some("../clip\0.mp4".into()),
        metadata: Some("filename Y2xpcA==".into()),
        size,
        digest: vec![1, 2, 3],
        import: None,
        expires_at: w.later(10 * MINUTE),
    }
}

/// One that is fetched.
fn import(w: &World, tenant: TenantId, key: &str, hash: u8) -> NewUpload {
    let upload = new(w, tenant, 0);
    let id = upload.id;
    NewUpload {
        import: Some(NewImport {
            source: "https://media.example.com/clip.mp4".into(),
            request_key: key.into(),
            request_hash: [hash; 32],
            job: NewJob {
                id: JobId::from_uuid(w.id()),
                tenant,
                kind: JobKind::Import,
                target: id.as_uuid(),
                concurrency_key: Some(id.to_string()),
                run_at: None,
                correlation_id: "request".into(),
            },
        }),
        ..upload
    }
}

async fn event_names(w: &World) -> Vec<String> {
    let page = PageRequest { after: None, limit: 10 };
    let events = w.store.events(TENANT, &EventFilter::default(), page).await.unwrap();
    events.items.into_iter().map(|event| event.name).collect()
}

pub async fn begun(w: &World, new: &NewUpload) -> Upload {
    match w.store.begin_upload(new, QUOTA, MOST).await.unwrap() {
        BegunUpload::Begun(upload) => *upload,
        refused => panic!("{refused:?}"),
    }
}

pub async fn leased(w: &World, tenant: TenantId, id: MediaId) -> UploadLease {
    match w.store.lease_upload(tenant, id, LEASE).await.unwrap() {
        LeasedUpload::Leased(_, lease) => lease,
        refused => panic!("{refused:?}"),
    }
}

fn at(offset: u64) -> Progress {
    Progress {
        offset,
        digest: vec![9; 50],
        place: Some(format!("place {offset}")),
    }
}

pub async fn an_upload_is_begun_within_the_tenants_room(w: World) {
    let wanted = new(&w, TENANT, 600);
    let upload = begun(&w, &wanted).await;
    assert_eq!(upload.label.as_deref(), Some("../clip\u{fffd}.mp4"));
    assert_eq!(upload.progress, Progress { offset: 0, digest: vec![1, 2, 3], place: None });
    assert_eq!((upload.created_at, upload.expires_at), (w.now(), wanted.expires_at));
    assert_eq!(w.store.upload(TENANT, upload.id).await.unwrap(), Some(upload));

    // What is expected counts as what is there.
    assert_eq!(w.store.media_bytes(TENANT).await.unwrap(), 600);
    keep(&w, &file(&w, TENANT, 100)).await;
    let more = w.store.begin_upload(&new(&w, TENANT, 301), QUOTA, MOST).await.unwrap();
    assert_eq!(more, BegunUpload::Full(300));
    begun(&w, &new(&w, TENANT, 300)).await;
    let third = w.store.begin_upload(&new(&w, TENANT, 0), QUOTA, 2).await.unwrap();
    assert_eq!(third, BegunUpload::TooMany);
    // Another tenant has room of its own.
    let other = w.other_tenant().await;
    begun(&w, &new(&w, other, QUOTA)).await;
}

pub async fn of_many_that_begin_at_once_none_exceeds_the_room(w: World) {
    let wanted: Vec<_> = (0..12).map(|_| new(&w, TENANT, 250)).collect();
    let ends = at_once(wanted.len(), |index| {
        let (store, new) = (w.store.clone(), wanted[index].clone());
        async move { store.begin_upload(&new, QUOTA, u32::MAX).await }
    })
    .await;
    let begun = ends.iter().filter(|end| matches!(end, Ok(BegunUpload::Begun(_)))).count();
    assert_eq!(begun, 4, "{ends:?}");
    assert_eq!(w.store.media_bytes(TENANT).await.unwrap(), QUOTA);
}

pub async fn one_at_a_time_writes_an_upload(w: World) {
    let upload = begun(&w, &new(&w, TENANT, 10)).await;
    let asked = at_once(8, |_| {
        let (store, id) = (w.store.clone(), upload.id);
        async move { store.lease_upload(TENANT, id, LEASE).await }
    })
    .await;
    let mut granted = asked.into_iter().filter_map(|end| match end.unwrap() {
        LeasedUpload::Leased(upload, lease) => Some((upload, lease)),
        LeasedUpload::Busy => None,
        LeasedUpload::Unknown => panic!("it is there"),
    });
    let (seen, lease) = granted.next().unwrap();
    assert!(granted.next().is_none());
    assert_eq!(*seen, upload);

    let until = w.later(20 * MINUTE);
    w.store.note_upload(lease, &at(4), LEASE, until).await.unwrap();
    let noted = w.store.upload(TENANT, upload.id).await.unwrap().unwrap();
    assert_eq!((noted.progress, noted.expires_at), (at(4), until));

    // Each note keeps the right, and it ends by itself.
    w.advance(LEASE - SECOND);
    w.store.note_upload(lease, &at(5), LEASE, until).await.unwrap();
    w.advance(LEASE - SECOND);
    assert_eq!(w.store.lease_upload(TENANT, upload.id, LEASE).await.unwrap(), LeasedUpload::Busy);
    w.advance(SECOND);
    // Nobody else has taken it yet.
    w.store.note_upload(lease, &at(6), LEASE, until).await.unwrap();
    w.advance(LEASE);
    let next = leased(&w, TENANT, upload.id).await;
    assert_stale(w.store.note_upload(lease, &at(7), LEASE, until).await);
    assert_stale(w.store.finish_upload(lease, &file(&w, TENANT, 7), None).await);
    w.store.release_upload(lease).await.unwrap();
    assert_eq!(w.store.lease_upload(TENANT, upload.id, LEASE).await.unwrap(), LeasedUpload::Busy);
    w.store.release_upload(next).await.unwrap();
    leased(&w, TENANT, upload.id).await;
    assert_eq!(w.store.upload(TENANT, upload.id).await.unwrap().unwrap().progress, at(6));
}

pub async fn a_finished_upload_is_a_file_of_the_same_id(w: World) {
    let upload = begun(&w, &new(&w, TENANT, 500)).await;
    let lease = leased(&w, TENANT, upload.id).await;
    let mut media = file(&w, TENANT, 20);
    media.id = upload.id;
    w.store.finish_upload(lease, &media, None).await.unwrap();
    assert_eq!(w.store.upload(TENANT, upload.id).await.unwrap(), None);
    assert_eq!(w.store.media(TENANT, upload.id).await.unwrap(), Some(media.clone()));
    // What it did not need is free again.
    assert_eq!(w.store.media_bytes(TENANT).await.unwrap(), 20);
    assert_stale(w.store.finish_upload(lease, &media, None).await);
    let asked = w.store.lease_upload(TENANT, upload.id, LEASE).await.unwrap();
    assert_eq!(asked, LeasedUpload::Unknown);
}

pub async fn a_deleted_upload_is_written_no_more(w: World) {
    let upload = begun(&w, &new(&w, TENANT, 500)).await;
    let lease = leased(&w, TENANT, upload.id).await;
    let gone = w.store.delete_upload(TENANT, upload.id).await.unwrap();
    assert_eq!(gone, Some(upload.clone()));
    assert_eq!(w.store.delete_upload(TENANT, upload.id).await.unwrap(), None);
    assert_stale(w.store.note_upload(lease, &at(1), LEASE, w.now()).await);
    assert_eq!(w.store.media_bytes(TENANT).await.unwrap(), 0);
}

pub async fn expired_uploads_are_taken_out_in_bounded_steps(w: World) {
    let mut begun_first = Vec::new();
    for _ in 0..3 {
        begun_first.push(begun(&w, &new(&w, TENANT, 1)).await);
        w.advance(SECOND);
    }
    let kept = begun(&w, &new(&w, TENANT, 1)).await;
    w.advance(10 * MINUTE);
    assert_eq!(w.store.upload(TENANT, begun_first[0].id).await.unwrap(), None);
    let asked = w.store.lease_upload(TENANT, begun_first[0].id, LEASE).await.unwrap();
    assert_eq!(asked, LeasedUpload::Unknown);
    assert_eq!(w.store.purge_uploads(2).await.unwrap().len(), 2);
    assert_eq!(w.store.purge_uploads(2).await.unwrap(), begun_first[2..]);
    assert_eq!(w.store.purge_uploads(2).await.unwrap(), []);
    assert!(w.store.upload(TENANT, kept.id).await.unwrap().is_some());
}

pub async fn ids_of_files_and_uploads_are_known(w: World) {
    let upload = begun(&w, &new(&w, TENANT, 1)).await;
    let other = w.other_tenant().await;
    let media = file(&w, other, 1);
    keep(&w, &media).await;
    // Their bytes are still there.
    w.advance(20 * MINUTE);
    let stranger = MediaId::from_uuid(w.id());
    let mut known = w.store.known_media(&[stranger, upload.id, media.id]).await.unwrap();
    known.sort();
    let mut all = vec![upload.id, media.id];
    all.sort();
    assert_eq!(known, all);
    assert_eq!(w.store.known_media(&[]).await.unwrap(), []);
}

pub async fn files_are_listed_newest_first_page_by_page(w: World) {
    let mut all = Vec::new();
    for size in 1..=5 {
        let media = file(&w, TENANT, size);
        keep(&w, &media).await;
        all.insert(0, media);
        w.advance(SECOND);
    }
    let other = w.other_tenant().await;
    keep(&w, &file(&w, other, 1)).await;
    let mut page = PageRequest { after: None, limit: 2 };
    let mut seen = Vec::new();
    loop {
        let got = w.store.media_list(TENANT, page).await.unwrap();
        seen.extend(got.items);
        match got.next {
            Some(next) => page.after = Some(next),
            None => break,
        }
    }
    assert_eq!(seen, all);
    w.advance(10 * MINUTE - 3 * SECOND);
    let page = PageRequest { after: None, limit: 10 };
    assert_eq!(w.store.media_list(TENANT, page).await.unwrap().items, all[..3]);
}

pub async fn an_import_is_stored_once_for_each_key(w: World) {
    let first = import(&w, TENANT, "key", 1);
    let upload = begun(&w, &first).await;
    assert_eq!(upload.source.as_deref(), Some("https://media.example.com/clip.mp4"));
    assert_eq!((upload.seen.clone(), upload.failure), (Seen::default(), None));
    let asked = at_once(6, |_| {
        let (store, again) = (w.store.clone(), import(&w, TENANT, "key", 2));
        async move { store.begin_upload(&again, QUOTA, MOST).await }
    })
    .await;
    for end in asked {
        assert_eq!(end.unwrap(), BegunUpload::Known(upload.id, [1; 32]));
    }
    // One job came of it, and it is the one that fetches it.
    let job = w.claim(JobKind::Import).await.unwrap();
    assert_eq!(job.target, upload.id.as_uuid());
    assert!(w.claim(JobKind::Import).await.is_none());

    // Another tenant's keys are its own, and a file keeps the key that it was asked for under.
    let other = w.other_tenant().await;
    begun(&w, &import(&w, other, "key", 3)).await;
    let lease = leased(&w, TENANT, upload.id).await;
    let mut media = file(&w, TENANT, 20);
    media.id = upload.id;
    let told = w.event("media.imported");
    w.store.finish_upload(lease, &media, Some(&told)).await.unwrap();
    let again = w.store.begin_upload(&import(&w, TENANT, "key", 1), QUOTA, MOST).await.unwrap();
    assert_eq!(again, BegunUpload::Known(upload.id, [1; 32]));
    assert_eq!(event_names(&w).await, ["media.imported"]);
    assert_stale(w.store.finish_upload(lease, &media, Some(&told)).await);
    assert_eq!(event_names(&w).await, ["media.imported"]);
}

pub async fn room_is_kept_for_an_import_as_it_becomes_known(w: World) {
    let upload = begun(&w, &import(&w, TENANT, "key", 1)).await;
    keep(&w, &file(&w, TENANT, 300)).await;
    let lease = leased(&w, TENANT, upload.id).await;
    let seen = Seen { total: Some(700), version: Some("\"v1\"".into()) };
    assert!(w.store.note_source(lease, &seen, 700, QUOTA).await.unwrap());
    assert_eq!(w.store.media_bytes(TENANT).await.unwrap(), 1_000);
    let noted = w.store.upload(TENANT, upload.id).await.unwrap().unwrap();
    assert_eq!((noted.seen, noted.size), (seen.clone(), 700));
    // What is too much changes nothing, and less is less.
    let other = Seen::default();
    assert!(!w.store.note_source(lease, &other, 701, QUOTA).await.unwrap());
    assert_eq!(w.store.upload(TENANT, upload.id).await.unwrap().unwrap().seen, seen);
    assert!(w.store.note_source(lease, &other, 1, QUOTA).await.unwrap());
    assert_eq!(w.store.media_bytes(TENANT).await.unwrap(), 301);
    w.advance(LEASE);
    leased(&w, TENANT, upload.id).await;
    assert_stale(w.store.note_source(lease, &seen, 1, QUOTA).await);
}

pub async fn of_many_that_grow_at_once_none_exceeds_the_room(w: World) {
    let mut leases = Vec::new();
    for index in 0..6 {
        let upload = begun(&w, &import(&w, TENANT, &index.to_string(), 1)).await;
        leases.push(leased(&w, TENANT, upload.id).await);
    }
    let ends = at_once(leases.len(), |index| {
        let (store, lease) = (w.store.clone(), leases[index]);
        async move { store.note_source(lease, &Seen::default(), 400, QUOTA).await }
    })
    .await;
    assert_eq!(ends.iter().filter(|end| matches!(end, Ok(true))).count(), 2, "{ends:?}");
    assert_eq!(w.store.media_bytes(TENANT).await.unwrap(), 800);
}

pub async fn a_failed_import_keeps_its_reason_and_no_room(w: World) {
    let upload = begun(&w, &import(&w, TENANT, "key", 1)).await;
    let lease = leased(&w, TENANT, upload.id).await;
    assert!(w.store.note_source(lease, &Seen::default(), 900, QUOTA).await.unwrap());
    let until = w.later(20 * MINUTE);
    let told = w.event("media.import_failed");
    let failure = ImportFailure::Status(503);
    w.store.fail_import(lease, failure, until, &told).await.unwrap();
    let seen = w.store.upload(TENANT, upload.id).await.unwrap().unwrap();
    assert_eq!((seen.failure, seen.expires_at, seen.size), (Some(failure), until, 0));
    assert_eq!(w.store.media_bytes(TENANT).await.unwrap(), 0);
    assert_eq!(event_names(&w).await, ["media.import_failed"]);
    let again = w.store.begin_upload(&import(&w, TENANT, "key", 1), QUOTA, MOST).await.unwrap();
    assert_eq!(again, BegunUpload::Known(upload.id, [1; 32]));
    // It is no unfinished one any more.
    begun_within(&w, 1).await;

    let gone = w.store.delete_upload(TENANT, upload.id).await.unwrap().unwrap();
    assert_stale(w.store.fail_import(lease, failure, until, &told).await);
    assert_eq!(gone.failure, Some(failure));
    begun(&w, &import(&w, TENANT, "key", 2)).await;
}

async fn begun_within(w: &World, most: u32) {
    let begun = w.store.begin_upload(&new(w, TENANT, 1), QUOTA, most).await.unwrap();
    assert!(matches!(begun, BegunUpload::Begun(_)), "{begun:?}");
}
