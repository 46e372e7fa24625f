//! Media files in a folder. A file's name on disk is its id; what the client called it is only a label. Those that are not
//! complete are in a folder below it.
//!
//! Several hosts share uploads only if they share the folder.

use std::{
    fs::{File, OpenOptions},
    io::{self, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use patchbay_app::files::{ByteStream, MediaFiles, Piece};
use patchbay_core::{ByteRange, MediaId, MediaInfo};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use tokio_util::io::ReaderStream;

use super::probe;

/// Read in pieces of this size: large enough for the disk, small enough for flat memory.
const PIECE: usize = 256 * 1024;
/// Files in a page of a list.
const PAGE: usize = 1_000;

/// A folder of media files.
#[derive(Clone, Debug)]
pub struct MediaFolder {
    dir: PathBuf,
}

impl MediaFolder {
    /// Makes the folder.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn open(dir: &Path) -> io::Result<Self> {
        let this = Self { dir: dir.to_owned() };
        std::fs::create_dir_all(this.incoming())?;
        Ok(this)
    }

    fn path(&self, id: MediaId) -> PathBuf {
        self.dir.join(id.to_string())
    }

    fn incoming(&self) -> PathBuf {
        self.dir.join("incoming")
    }
}

#[async_trait]
impl MediaFiles for MediaFolder {
    async fn append(&self, id: MediaId, offset: u64, _: Option<&str>) -> io::Result<Box<dyn Piece>> {
        let path = self.incoming().join(id.to_string());
        let file = blocking(move || {
            let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
            if file.metadata()?.len() < offset {
                let message = "bytes of the upload are missing: do all hosts share the folder?";
                return Err(io::Error::new(io::ErrorKind::NotFound, message));
            }
            file.set_len(offset)?;
            file.seek(SeekFrom::Start(offset))?;
            Ok(file)
        })
        .await?;
        Ok(Box::new(FilePiece(file.into())))
    }

    async fn complete(&self, id: MediaId, _: u64, _: Option<&str>) -> io::Result<()> {
        let (dir, from, to) = (self.dir.clone(), self.incoming().join(id.to_string()), self.path(id));
        blocking(move || {
            match std::fs::rename(from, &to) {
                // Done before, by one that was killed then.
                Err(error) if error.kind() == io::ErrorKind::NotFound && to.exists() => {}
                end => end?,
            }
            // So that the name outlives a power cut.
            File::open(dir)?.sync_all()
        })
        .await
    }

    async fn probe(&self, id: MediaId, size: u64) -> io::Result<Option<MediaInfo>> {
        let path = self.path(id);
        blocking(move || probe::probe(&mut File::open(path)?, size)).await
    }

    async fn open(&self, id: MediaId, range: ByteRange) -> io::Result<ByteStream> {
        let mut file = tokio::fs::File::open(self.path(id)).await?;
        file.seek(SeekFrom::Start(range.start)).await?;
        let part = file.take(range.len());
        Ok(ReaderStream::with_capacity(part, PIECE).into_stream().boxed())
    }

    async fn delete(&self, id: MediaId, _: Option<&str>) -> io::Result<()> {
        for path in [self.incoming().join(id.to_string()), self.path(id)] {
            match tokio::fs::remove_file(path).await {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    async fn list(&self) -> io::Result<BoxStream<'static, io::Result<Vec<(MediaId, DateTime<Utc>)>>>> {
        let dirs = [self.incoming(), self.dir.clone()];
        let found = blocking(move || {
            let mut found = Vec::new();
            for dir in dirs {
                for entry in std::fs::read_dir(dir)? {
                    let entry = entry?;
                    let id = entry.file_name().to_str().and_then(|name| name.parse().ok());
                    // One that is gone by now needs no sweep.
                    if let (Some(id), Ok(metadata)) = (id, entry.metadata()) {
                        found.push((id, metadata.modified()?.into()));
                    }
                }
            }
            Ok(found)
        })
        .await?;
        let pages: Vec<_> = found.chunks(PAGE).map(|page| Ok(page.to_vec())).collect();
        Ok(stream::iter(pages).boxed())
    }
}

/// The end of a file that is not complete.
struct FilePiece(tokio::fs::File);

#[async_trait]
impl Piece for FilePiece {
    async fn write(&mut self, bytes: Bytes) -> io::Result<()> {
        self.0.write_all(&bytes).await
    }

    async fn sync(&mut self) -> io::Result<Option<String>> {
        self.0.flush().await?;
        self.0.sync_data().await?;
        Ok(None)
    }

    // The next piece begins where the last sync was.
    async fn give_up(&mut self) {}
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
