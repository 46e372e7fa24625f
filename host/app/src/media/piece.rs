//! One piece of an upload, from the right to write it to the bytes on disk.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use futures_util::StreamExt;
use patchbay_core::{FieldIssue, MediaId, TenantId};
use sha2::{Digest, Sha256, digest::common::hazmat::SerializableState};
use tokio::time::{Instant, sleep_until};
use tracing::{Instrument, warn};

use super::{
    Checksum, NO_PATIENCE, PATIENCE, Standing, checksum::Summing, disk, empty, full, nothing_yet, too_large, unknown,
};
use crate::{
    App, failpoint,
    files::{ByteStream, Piece, STEP},
    model::{LeasedUpload, Media, NewEvent, Progress, Seen, Upload, UploadLease},
    problem::{Problem, ProblemKind},
    store::StoreError,
};

/// How long the right to write lasts without a sign of life. After a kill the next piece is refused for so long.
pub(super) const LEASE: Duration = Duration::from_secs(8);
/// How often a writer shows that it lives.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// Takes a piece that begins at `offset`, and finishes the file if it was the last one. Of a piece that breaks off, what came
/// is kept; with a checksum, nothing. It goes on to its end when the caller is dropped.
///
/// # Errors
/// The upload is not at `offset`, or somebody else writes it; the piece is too long, does not add up, or broke off; the file
/// is no media file, and then it is deleted.
pub async fn append(
    app: &Arc<App>,
    tenant: TenantId,
    id: MediaId,
    offset: u64,
    body: ByteStream,
    checksum: Option<Checksum>,
) -> Result<Standing, Problem> {
    let app = app.clone();
    detached(async move {
        let mut held = match Held::take(&app, tenant, id, PATIENCE).await? {
            Ok(held) => held,
            Err(media) if offset == media.info.size_bytes.unwrap_or_default() => return Ok(media.into()),
            Err(media) => return Err(wrong_offset(media.info.size_bytes.unwrap_or_default())),
        };
        let at = held.upload.progress.offset;
        let end = if held.upload.source.is_some() {
            // Nobody sends it.
            Err(unknown())
        } else if at == offset {
            held.piece(body, checksum).await
        } else {
            Err(wrong_offset(at))
        };
        held.end(end).await
    })
    .await
}

/// Takes all bytes of an upload that has none yet.
///
/// # Errors
/// As [`append`]; and the bytes are not as many as were announced.
pub async fn put(app: &Arc<App>, tenant: TenantId, id: MediaId, body: ByteStream) -> Result<Media, Problem> {
    let standing = append(app, tenant, id, 0, body, None).await?;
    standing.media.ok_or_else(|| {
        let detail = format!(
            "{} of {} bytes came. Send the rest with PATCH.",
            standing.offset, standing.size
        );
        Problem::new(ProblemKind::BadRequest, detail)
    })
}

/// Takes all bytes of a new upload, which may be fewer than were reserved. Nothing stays of one that fails.
pub(super) async fn whole(app: &Arc<App>, upload: Upload, body: ByteStream) -> Result<Media, Problem> {
    let app = app.clone();
    detached(async move {
        let taken = async {
            let Ok(mut held) = Held::take(&app, upload.tenant, upload.id, NO_PATIENCE).await? else {
                return Err(unknown());
            };
            held.piece(body, None).await?;
            if held.upload.progress.offset == 0 {
                return Err(empty());
            }
            held.finish().await
        };
        let end = taken.await;
        if end.is_err()
            && let Err(error) = super::terminate(&app, upload.tenant, upload.id).await
            && error.kind != ProblemKind::NotFound
        {
            warn!(%error, media.id = %upload.id, "What an upload left is deleted when it expires");
        }
        end
    })
    .await
}

/// Runs in a task of its own, so that a client that goes away does not stop it in the middle.
async fn detached<T: Send + 'static>(
    work: impl Future<Output = Result<T, Problem>> + Send + 'static,
) -> Result<T, Problem> {
    tokio::spawn(work.in_current_span()).await.unwrap_or_else(|error| {
        Err(Problem::new(ProblemKind::Internal, "Tell the operator the request id.").because(error))
    })
}

/// The right to write an upload.
pub(super) struct Held<'a> {
    app: &'a App,
    pub(super) lease: UploadLease,
    /// As it is stored.
    pub(super) upload: Upload,
    /// How long it is kept when nothing comes.
    patience: TimeDelta,
    /// Last sign of life.
    shown: Instant,
}

impl<'a> Held<'a> {
    /// Takes the right. `Err`: the file is complete.
    pub(super) async fn take(
        app: &'a App,
        tenant: TenantId,
        id: MediaId,
        patience: TimeDelta,
    ) -> Result<Result<Self, Media>, Problem> {
        match app.store.lease_upload(tenant, id, LEASE).await? {
            LeasedUpload::Leased(upload, lease) => Ok(Ok(Self {
                app,
                lease,
                upload: *upload,
                patience,
                shown: Instant::now(),
            })),
            LeasedUpload::Busy => {
                let detail =
                    "Another request is sending to this upload. Ask for its offset with HEAD, and go on from there.";
                Err(Problem::new(ProblemKind::UploadLocked, detail).after(HEARTBEAT))
            }
            LeasedUpload::Unknown => match app.store.media(tenant, id).await? {
                Some(media) => Ok(Err(media)),
                None => Err(unknown()),
            },
        }
    }

    /// Writes what comes.
    pub(super) async fn piece(&mut self, body: ByteStream, checksum: Option<Checksum>) -> Result<(), Problem> {
        let Progress { offset, place, .. } = self.upload.progress.clone();
        let opening = self.app.media.append(self.upload.id, offset, place.as_deref());
        let mut piece = self.beating(opening).await?.map_err(disk)?;
        let end = self.write(piece.as_mut(), body, checksum).await;
        // What is noted is not touched, and of a piece that ended well all is.
        piece.give_up().await;
        end
    }

    async fn write(
        &mut self,
        piece: &mut dyn Piece,
        mut body: ByteStream,
        checksum: Option<Checksum>,
    ) -> Result<(), Problem> {
        let mut offset = self.upload.progress.offset;
        let mut digest = read_state(&self.upload.progress.digest)?;
        let mut summing = checksum.map(Checksum::begin);
        let broken = loop {
            let mut bytes = match self.beating(body.next()).await? {
                Some(Ok(bytes)) => bytes,
                Some(Err(error)) => break Some(error),
                None => break None,
            };
            if bytes.len() as u64 > self.upload.size - offset {
                self.make_room(offset + bytes.len() as u64).await?;
            }
            while !bytes.is_empty() {
                let to_step = usize::try_from(STEP - offset % STEP).unwrap_or(usize::MAX);
                let part = bytes.split_to(bytes.len().min(to_step));
                digest.update(&part);
                if let Some(summing) = &mut summing {
                    summing.update(&part);
                }
                offset += part.len() as u64;
                self.beating(piece.write(part)).await?.map_err(disk)?;
                // With a checksum nothing counts before all of it is right.
                if offset.is_multiple_of(STEP) && summing.is_none() && offset < self.upload.size {
                    let place = self.beating(piece.sync()).await?.map_err(disk)?;
                    self.note(offset, &digest, place).await?;
                }
            }
        };
        let broke_off = || Problem::new(ProblemKind::BadRequest, "The upload broke off. Send the file again.");
        match (summing.map(Summing::holds), &broken) {
            // What is not all there cannot be checked.
            (Some(_), Some(_)) => {}
            (Some(false), None) => {
                let detail = "The bytes do not add up to `Upload-Checksum`. None of them was kept: send them again.";
                return Err(Problem::new(ProblemKind::ChecksumMismatch, detail));
            }
            (Some(true), None) | (None, _) if offset > self.upload.progress.offset => {
                let place = self.beating(piece.sync()).await?.map_err(disk)?;
                self.note(offset, &digest, place).await?;
            }
            (Some(true), None) | (None, _) => {}
        }
        if let Some(error) = broken {
            return Err(broke_off().because(error));
        }
        Ok(())
    }

    /// Keeps more bytes free for a file that is fetched, and whose length nobody has told.
    async fn make_room(&mut self, needed: u64) -> Result<(), Problem> {
        let most = self.app.media_limits.max_bytes;
        if self.upload.source.is_none() || self.upload.seen.total.is_some() {
            return Err(too_long(self.upload.size, most));
        }
        if needed > most {
            return Err(too_large(most));
        }
        let seen = self.upload.seen.clone();
        self.see(seen, needed.next_multiple_of(STEP).min(most)).await
    }

    /// Notes what is known of a file that is fetched, and keeps so many bytes free for it.
    pub(super) async fn see(&mut self, seen: Seen, size: u64) -> Result<(), Problem> {
        let quota = self.app.media_limits.quota_bytes;
        let noted = self.app.store.note_source(self.lease, &seen, size, quota).await;
        if !self.held(noted).await? {
            return Err(full());
        }
        self.upload.seen = seen;
        self.upload.size = size;
        Ok(())
    }

    /// Begins a file again.
    pub(super) async fn start_over(&mut self) -> Result<(), Problem> {
        let place = self.upload.progress.place.take();
        let deleting = self.app.media.delete(self.upload.id, place.as_deref());
        self.beating(deleting).await?.map_err(disk)?;
        self.upload.progress = nothing_yet();
        self.show().await
    }

    /// Notes durable bytes.
    async fn note(&mut self, offset: u64, digest: &Sha256, place: Option<String>) -> Result<(), Problem> {
        self.upload.progress = Progress {
            offset,
            digest: digest.serialize().to_vec(),
            place,
        };
        self.show().await?;
        failpoint::hit("upl.noted");
        Ok(())
    }

    /// Shows that it lives, and how far it is.
    async fn show(&mut self) -> Result<(), Problem> {
        self.shown = Instant::now();
        self.upload.expires_at = self.app.env.now() + self.patience;
        let Upload {
            progress, expires_at, ..
        } = &self.upload;
        let noted = self
            .app
            .store
            .note_upload(self.lease, progress, LEASE, *expires_at)
            .await;
        self.held(noted).await
    }

    /// What became of a write under this right.
    pub(super) async fn held<T>(&self, write: Result<T, StoreError>) -> Result<T, Problem> {
        match write {
            // Deleted meanwhile: what was written since lies there for nobody.
            Err(StoreError::Stale) if self.is_gone().await => {
                super::delete_bytes(self.app, &self.upload).await;
                Err(unknown())
            }
            Err(StoreError::Stale) => {
                let detail = "Another request has taken this upload over. Ask for its offset with HEAD.";
                Err(Problem::new(ProblemKind::UploadLocked, detail).after(HEARTBEAT))
            }
            end => Ok(end?),
        }
    }

    async fn is_gone(&self) -> bool {
        matches!(self.app.store.known_media(&[self.upload.id]).await, Ok(known) if known.is_empty())
    }

    /// Waits for something, and shows meanwhile that it lives.
    pub(super) async fn beating<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Problem> {
        tokio::pin!(work);
        loop {
            let beat = sleep_until(self.shown + HEARTBEAT);
            tokio::select! {
                biased;
                end = &mut work => return Ok(end),
                () = beat => match self.show().await {
                    // The fence decides when it is back.
                    Err(problem) if problem.kind == ProblemKind::Unavailable => {
                        warn!(error = %problem, "A sign of life of an upload could not be stored just now");
                    }
                    end => end?,
                },
            }
        }
    }

    /// Makes a media file of what is there.
    async fn finish(&mut self) -> Result<Media, Problem> {
        let Some(media) = self.made().await? else {
            super::terminate(self.app, self.upload.tenant, self.upload.id).await?;
            let message = "The file is no MP4, MOV, WebM, JPEG, PNG, WebP or GIF by its content.";
            return Err(Problem::invalid(vec![FieldIssue::new("", "format", message)]));
        };
        self.keep(media, None).await
    }

    /// Puts together what is there, and looks what it is; `None`: no media file that Patchbay knows.
    pub(super) async fn made(&mut self) -> Result<Option<Media>, Problem> {
        let (app, id, size) = (self.app, self.upload.id, self.upload.progress.offset);
        let place = self.upload.progress.place.clone();
        let completing = app.media.complete(id, size, place.as_deref());
        self.beating(completing).await?.map_err(disk)?;
        failpoint::hit("upl.completed");
        let Some(info) = self.beating(app.media.probe(id, size)).await?.map_err(disk)? else {
            return Ok(None);
        };
        let now = app.env.now();
        Ok(Some(Media {
            id,
            tenant: self.upload.tenant,
            label: self.upload.label.clone(),
            info,
            sha256: read_state(&self.upload.progress.digest)?.finalize().into(),
            created_at: now,
            expires_at: now + app.media_limits.life,
        }))
    }

    /// Puts the file in the upload's place.
    pub(super) async fn keep(&self, media: Media, event: Option<&NewEvent>) -> Result<Media, Problem> {
        match self.app.store.finish_upload(self.lease, &media, event).await {
            Err(StoreError::Stale) => Err(unknown()),
            end => {
                end?;
                Ok(media)
            }
        }
    }

    /// Gives the right back.
    pub(super) async fn release(&self) {
        if let Err(error) = self.app.store.release_upload(self.lease).await {
            warn!(%error, "The right to write an upload could not be given back; it runs out");
        }
    }

    /// Finishes a file of which all bytes are there, and gives the right back.
    async fn end(mut self, piece: Result<(), Problem>) -> Result<Standing, Problem> {
        let all = self.upload.progress.offset == self.upload.size;
        let end = match piece {
            Ok(()) if all => self.finish().await.map(Standing::from),
            Ok(()) => Ok(Standing::from(self.upload.clone())),
            Err(problem) => Err(problem),
        };
        let finished = end.as_ref().is_ok_and(|standing| standing.media.is_some());
        if !finished {
            self.release().await;
        }
        end
    }
}

fn read_state(state: &[u8]) -> Result<Sha256, Problem> {
    state
        .try_into()
        .ok()
        .and_then(|state| Sha256::deserialize(state).ok())
        .ok_or_else(|| Problem::new(ProblemKind::Internal, "Tell the operator the request id.").because("no digest"))
}

fn wrong_offset(at: u64) -> Problem {
    let detail = format!("The upload is at byte {at}. Go on from there.");
    Problem::new(ProblemKind::UploadOffset, detail)
}

fn too_long(size: u64, cap: u64) -> Problem {
    if size == cap {
        return too_large(cap);
    }
    Problem::new(
        ProblemKind::TooLarge,
        format!("More bytes came than the {size} that there is room for."),
    )
}
