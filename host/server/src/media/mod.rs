//! Media files in a folder. A file's name on disk is its id; what the client called it is only a label.

mod probe;

use std::{
    io::{self, SeekFrom},
    path::{Path, PathBuf},
    time::Duration,
};

use async_trait::async_trait;
use axum::body::Body;
use futures_util::{StreamExt, TryStreamExt};
use patchbay_app::{
    files::{ByteStream, MediaFiles},
    problem::{Problem, ProblemKind},
};
use patchbay_core::{ByteRange, FieldIssue, MediaId, MediaInfo};
use sha2::{Digest, Sha256};
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt},
};
use tokio_util::io::ReaderStream;

/// Read and write in pieces of this size: large enough for the disk, small enough for flat memory.
const PIECE: usize = 256 * 1024;
/// No upload takes longer: the listener's least rate moves 4 GiB in three days.
const STALE: Duration = Duration::from_hours(96);

/// A folder of media files.
#[derive(Clone, Debug)]
pub struct MediaFolder {
    dir: PathBuf,
    /// Uploads are refused: the folder is gone when this process ends.
    pub takes_none: bool,
}

/// A file that was received.
pub struct Received {
    /// What it is.
    pub info: MediaInfo,
    /// SHA-256 of its bytes.
    pub sha256: [u8; 32],
}

impl MediaFolder {
    /// Makes the folder and clears away what an interrupted upload left.
    ///
    /// # Errors
    /// The folder cannot be made or read.
    pub fn open(dir: &Path) -> io::Result<Self> {
        let this = Self {
            dir: dir.to_owned(),
            takes_none: false,
        };
        std::fs::create_dir_all(dir)?;
        let incoming = dir.join("incoming");
        std::fs::create_dir_all(&incoming)?;
        for left in std::fs::read_dir(incoming)? {
            let left = left?;
            // A younger one may be an upload that another host on this folder is receiving.
            if left.metadata()?.modified()?.elapsed().is_ok_and(|age| age > STALE) {
                std::fs::remove_file(left.path())?;
            }
        }
        Ok(this)
    }

    fn path(&self, id: MediaId) -> PathBuf {
        self.dir.join(id.to_string())
    }

    /// Writes a body to disk as it comes, at most `cap` bytes of it, and finds out what it is. Nothing stays behind
    /// if it fails or is dropped.
    ///
    /// # Errors
    /// The body is too large, breaks off, or is no media file; or the disk failed.
    pub async fn receive(&self, id: MediaId, body: Body, cap: u64) -> Result<Received, Problem> {
        if self.takes_none {
            let detail = "This host has no folder that lasts. Post media by URL, or let the operator set storage.dir.";
            return Err(Problem::new(ProblemKind::StorageFull, detail));
        }
        let incoming = Incoming {
            path: self.dir.join("incoming").join(id.to_string()),
        };
        let mut file = File::create_new(&incoming.path).await.map_err(disk)?;
        let mut digest = Sha256::new();
        let mut size = 0_u64;
        let mut pieces = body.into_data_stream();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|error| {
                Problem::new(ProblemKind::BadRequest, "The upload broke off. Send the file again.").because(error)
            })?;
            size += piece.len() as u64;
            if size > cap {
                return Err(too_large(cap));
            }
            digest.update(&piece);
            file.write_all(&piece).await.map_err(disk)?;
        }
        if size == 0 {
            return Err(Problem::invalid(vec![FieldIssue::new(
                "",
                "empty",
                "The file is empty.",
            )]));
        }
        file.sync_all().await.map_err(disk)?;
        drop(file);
        let path = incoming.path.clone();
        let info = tokio::task::spawn_blocking(move || probe::probe(&path, size))
            .await
            .map_err(|error| Problem::new(ProblemKind::Internal, "Tell the operator the request id.").because(error))?
            .map_err(disk)?
            .ok_or_else(|| {
                let message = "The file is no MP4, MOV, WebM, JPEG, PNG, WebP or GIF by its content.";
                Problem::invalid(vec![FieldIssue::new("", "format", message)])
            })?;
        tokio::fs::rename(&incoming.path, self.path(id)).await.map_err(disk)?;
        Ok(Received {
            info,
            sha256: digest.finalize().into(),
        })
    }
}

/// The problem of a file over the cap.
#[must_use]
pub fn too_large(cap: u64) -> Problem {
    Problem::new(
        ProblemKind::TooLarge,
        format!("A media file has at most {cap} bytes here."),
    )
}

fn disk(error: io::Error) -> Problem {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Problem::new(
            ProblemKind::StorageFull,
            "The disk for media is full. Tell the operator.",
        ),
        _ => Problem::new(
            ProblemKind::Internal,
            "The file could not be written. Tell the operator the request id.",
        ),
    }
    .because(error)
}

/// Removes an unfinished file, also when the request is dropped.
struct Incoming {
    path: PathBuf,
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // Gone already when the upload succeeded.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[async_trait]
impl MediaFiles for MediaFolder {
    async fn open(&self, id: MediaId, range: ByteRange) -> io::Result<ByteStream> {
        let mut file = File::open(self.path(id)).await?;
        file.seek(SeekFrom::Start(range.start)).await?;
        let part = file.take(range.len());
        Ok(ReaderStream::with_capacity(part, PIECE).into_stream().boxed())
    }

    async fn delete(&self, id: MediaId) -> io::Result<()> {
        match tokio::fs::remove_file(self.path(id)).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}
