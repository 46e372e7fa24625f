//! Media files on their way in, whichever door they take: in pieces that can be resumed, in one request, or fetched.
//!
//! A file begins as a row of `uploads`, which reserves its bytes. Pieces are written by one at a time, under a lease with a
//! fence; the row says how many bytes are durable, and never more. When all are there, the row becomes one of `media`, under
//! the same id. So bytes without a row belong to nobody, and [`sweep`] deletes them.

mod checksum;
pub mod import;
mod piece;

use std::{io, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{StreamExt, TryStreamExt};
use patchbay_core::{FieldIssue, MediaId, TenantId};
use sha2::{Digest, Sha256, digest::common::hazmat::SerializableState};
use tracing::warn;

pub use checksum::{Algorithm, Checksum};
pub use piece::{append, put};

use crate::{
    App,
    files::ByteStream,
    model::{BegunUpload, Media, NewUpload, Progress, Upload},
    problem::{Problem, ProblemKind},
    store::StoreError,
};

/// An upload is given up when nothing came for so long.
pub const PATIENCE: TimeDelta = TimeDelta::hours(24);
/// As [`PATIENCE`], where nobody can resume.
const NO_PATIENCE: TimeDelta = TimeDelta::minutes(1);
/// Unfinished uploads of a tenant.
pub const MOST_UNFINISHED: u32 = 1_000;
/// Bytes without a row that were written since may be of a host of an earlier version.
const ORPHAN_AGE: TimeDelta = TimeDelta::hours(1);
/// When to ask again for a store that does not answer.
pub const AWAY: Duration = Duration::from_secs(5);
/// Longest label.
const MAX_LABEL: usize = 255;

/// How much may come in.
#[derive(Debug, Clone)]
pub struct MediaLimits {
    /// Largest file.
    pub max_bytes: u64,
    /// Bytes that a tenant may keep.
    pub quota_bytes: u64,
    /// How long a file is kept.
    pub life: TimeDelta,
    /// Why nothing is taken here, if so.
    pub closed: Option<&'static str>,
}

/// What a client wants to send.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// A label for people.
    pub label: Option<String>,
    /// What else it says of the file.
    pub metadata: Option<String>,
}

/// Where an upload stands.
#[derive(Debug)]
pub struct Standing {
    /// Durable bytes.
    pub offset: u64,
    /// Bytes of the whole file.
    pub size: u64,
    /// What the client said of it.
    pub metadata: Option<String>,
    /// It is deleted after this time.
    pub expires_at: DateTime<Utc>,
    /// The file, when all of it is there.
    pub media: Option<Media>,
}

impl From<Upload> for Standing {
    fn from(upload: Upload) -> Self {
        Self {
            offset: upload.progress.offset,
            size: upload.size,
            metadata: upload.metadata,
            expires_at: upload.expires_at,
            media: None,
        }
    }
}

impl From<Media> for Standing {
    fn from(media: Media) -> Self {
        let size = media.info.size_bytes.unwrap_or_default();
        Self {
            offset: size,
            size,
            metadata: None,
            expires_at: media.expires_at,
            media: Some(media),
        }
    }
}

/// Begins an upload of `size` bytes, that comes in pieces.
///
/// # Errors
/// It is too large, or the tenant's room is used up.
pub async fn begin(app: &App, tenant: TenantId, wanted: Wanted, size: u64) -> Result<Upload, Problem> {
    begin_for(app, tenant, wanted, size, PATIENCE).await
}

async fn begin_for(
    app: &App,
    tenant: TenantId,
    wanted: Wanted,
    size: u64,
    patience: TimeDelta,
) -> Result<Upload, Problem> {
    let limits = &app.media_limits;
    check_open(app)?;
    check_label(wanted.label.as_deref())?;
    if size == 0 {
        return Err(empty());
    }
    if size > limits.max_bytes {
        return Err(too_large(limits.max_bytes));
    }
    let upload = NewUpload {
        id: MediaId::from_uuid(app.env.ids.next()),
        tenant,
        label: wanted.label,
        metadata: wanted.metadata,
        size,
        digest: nothing_yet().digest,
        import: None,
        expires_at: app.env.now() + patience,
    };
    match app
        .store
        .begin_upload(&upload, limits.quota_bytes, MOST_UNFINISHED)
        .await?
    {
        BegunUpload::Begun(upload) => Ok(*upload),
        BegunUpload::Known(..) | BegunUpload::Full(_) => Err(full()),
        BegunUpload::TooMany => Err(too_many()),
    }
}

/// How far a file is of which nothing has come.
fn nothing_yet() -> Progress {
    Progress {
        offset: 0,
        digest: Sha256::new().serialize().to_vec(),
        place: None,
    }
}

/// Where an upload stands. One of which all bytes are there is finished first, if its last writer was killed before that.
///
/// # Errors
/// There is none, or somebody else finishes it just now.
pub async fn standing(app: &Arc<App>, tenant: TenantId, id: MediaId) -> Result<Standing, Problem> {
    match app.store.upload(tenant, id).await? {
        // Nobody sends it.
        Some(upload) if upload.source.is_some() => Err(unknown()),
        Some(upload) if upload.progress.offset < upload.size => Ok(upload.into()),
        Some(upload) => append(app, tenant, id, upload.size, nothing(), None).await,
        None => match app.store.media(tenant, id).await? {
            Some(media) => Ok(media.into()),
            None => Err(unknown()),
        },
    }
}

/// Deletes an unfinished upload with its bytes.
///
/// # Errors
/// There is none.
pub async fn terminate(app: &App, tenant: TenantId, id: MediaId) -> Result<(), Problem> {
    let upload = app.store.delete_upload(tenant, id).await?.ok_or_else(unknown)?;
    delete_bytes(app, &upload).await;
    Ok(())
}

/// Takes a file in one request. `size`: its bytes, if they are announced. Nothing stays of one that breaks off.
///
/// # Errors
/// It is too large, breaks off, is no media file, or the tenant's room is used up.
pub async fn receive(
    app: &Arc<App>,
    tenant: TenantId,
    wanted: Wanted,
    size: Option<u64>,
    body: ByteStream,
) -> Result<Media, Problem> {
    let size = match size {
        Some(size) => size,
        None => {
            let limits = &app.media_limits;
            let room = limits.quota_bytes.saturating_sub(app.store.media_bytes(tenant).await?);
            if room == 0 {
                return Err(full());
            }
            room.min(limits.max_bytes)
        }
    };
    let upload = begin_for(app, tenant, wanted, size, NO_PATIENCE).await?;
    piece::whole(app, upload, body).await
}

/// Deletes what has expired: at most `limit` uploads and files.
///
/// # Errors
/// The store failed.
pub async fn purge(app: &App, limit: u32) -> Result<(), StoreError> {
    for upload in app.store.purge_uploads(limit).await? {
        delete_bytes(app, &upload).await;
    }
    for id in app.store.purge_media(limit).await? {
        if let Err(error) = app.media.delete(id, None).await {
            warn!(%error, media.id = %id, "An expired media file could not be deleted; the sweep comes to it");
        }
    }
    Ok(())
}

/// Deletes bytes that belong to nothing: those of a process that was killed between a row and its file. Gives their number.
///
/// # Errors
/// The store or the place of the files failed.
pub async fn sweep(app: &App) -> Result<u64, Problem> {
    let mut pages = app.media.list().await.map_err(disk)?;
    let mut gone = 0;
    while let Some(page) = pages.try_next().await.map_err(disk)? {
        let before = app.env.now() - ORPHAN_AGE;
        let old = page.into_iter().filter(|(_, written)| *written < before);
        let ids: Vec<_> = old.map(|(id, _)| id).collect();
        let known = app.store.known_media(&ids).await?;
        for id in ids.into_iter().filter(|id| !known.contains(id)) {
            app.media.delete(id, None).await.map_err(disk)?;
            gone += 1;
        }
    }
    Ok(gone)
}

async fn delete_bytes(app: &App, upload: &Upload) {
    if let Err(error) = app.media.delete(upload.id, upload.progress.place.as_deref()).await {
        warn!(%error, media.id = %upload.id, "The bytes of an upload could not be deleted; the sweep comes to them");
    }
}

fn nothing() -> ByteStream {
    futures_util::stream::empty().boxed()
}

fn check_open(app: &App) -> Result<(), Problem> {
    match app.media_limits.closed {
        Some(why) => Err(Problem::new(ProblemKind::StorageFull, why)),
        None => Ok(()),
    }
}

fn check_label(label: Option<&str>) -> Result<(), Problem> {
    if label.is_some_and(|label| label.len() > MAX_LABEL || label.chars().any(char::is_control)) {
        let message = "A name has at most 255 bytes and no control characters.";
        return Err(Problem::invalid(vec![FieldIssue::new("/name", "name", message)]));
    }
    Ok(())
}

fn unknown() -> Problem {
    Problem::not_found("upload")
}

fn empty() -> Problem {
    Problem::invalid(vec![FieldIssue::new("", "empty", "The file is empty.")])
}

fn too_large(cap: u64) -> Problem {
    Problem::new(
        ProblemKind::TooLarge,
        format!("A media file has at most {cap} bytes here."),
    )
}

fn too_many() -> Problem {
    let detail = format!("{MOST_UNFINISHED} uploads are unfinished. Finish or delete some first.");
    Problem::new(ProblemKind::UploadsFull, detail)
}

fn full() -> Problem {
    let detail = "This tenant's room for media is used up. Old files free it as they expire.";
    Problem::new(ProblemKind::StorageFull, detail)
}

/// Whether the keeper of the bytes could not be reached, or had a fault that passes.
#[must_use]
pub fn is_away(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::NetworkUnreachable | io::ErrorKind::TimedOut)
}

fn disk(error: io::Error) -> Problem {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Problem::new(
            ProblemKind::StorageFull,
            "The disk for media is full. Tell the operator.",
        ),
        kind if is_away(kind) => {
            let detail = "The store of media files does not answer just now. What it has kept stays: ask where the upload is, \
                          and go on from there.";
            Problem::new(ProblemKind::StorageUnavailable, detail).after(AWAY)
        }
        _ => Problem::new(
            ProblemKind::Internal,
            "The file could not be written. Tell the operator the request id.",
        ),
    }
    .because(error)
}
