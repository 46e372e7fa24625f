//! Media files in a bucket of an S3-compatible store, which all hosts share.
//!
//! A file comes in as a multipart upload whose parts have [`STEP`] bytes: what is in a part stays there, for every host. Bytes
//! behind the last whole part, where a piece broke off, are an object of their own, the tail, until the next piece fills them
//! up; stores take no small part but the last. The multipart upload and its parts are named in the upload's `place`.

use std::{
    io::{self, Read, Seek, SeekFrom},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use bytes::{Buf, Bytes, BytesMut};
use chrono::{DateTime, Utc};
use futures_util::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use object_store::{
    ClientOptions, Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder},
    multipart::{MultipartStore, PartId},
    path::Path,
};
use patchbay_app::files::{ByteStream, MediaFiles, Piece, STEP};
use patchbay_core::{ByteRange, MediaId, MediaInfo};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::runtime::Handle;
use tracing::warn;

use super::probe;
use crate::config::S3Config;

/// Files in a page of a list.
const PAGE: usize = 1_000;
/// Bytes that are read at once to see what a file is.
const LOOK: u64 = 1024 * 1024;
/// A store that says nothing for so long is not there.
const SILENCE: Duration = Duration::from_secs(30);
/// Calls that fail in passing are made again for so long. Then whoever waits is told, who can wait better.
const RETRIES: Duration = Duration::from_secs(10);

/// A bucket, or a folder of it.
#[derive(Clone)]
pub struct MediaBucket {
    store: Arc<AmazonS3>,
    prefix: String,
}

/// What is there of an unfinished file.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
struct Place {
    /// The multipart upload; none before the first whole part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    multipart: Option<String>,
    /// Its parts, by their tags.
    #[serde(default)]
    parts: Vec<String>,
    /// The object with the bytes behind the last part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tail: Option<String>,
    /// The tail before: it can go when this place is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    old_tail: Option<String>,
}

impl MediaBucket {
    /// A client of the bucket. Nothing is called yet.
    ///
    /// # Errors
    /// The settings are no such thing.
    pub fn open(config: &S3Config) -> anyhow::Result<Self> {
        // Fails if a provider is installed already, which is then the one to use.
        rustls::crypto::ring::default_provider().install_default().ok();
        let client = ClientOptions::new()
            .with_allow_http(true)
            // A large file may take its time, as long as it moves.
            .with_timeout_disabled()
            .with_read_timeout(SILENCE)
            .with_connect_timeout(Duration::from_secs(5));
        let retry = RetryConfig {
            retry_timeout: RETRIES,
            ..RetryConfig::default()
        };
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&config.bucket)
            .with_region(&config.region)
            .with_access_key_id(config.access_key_id.expose())
            .with_secret_access_key(config.secret_access_key.expose())
            .with_virtual_hosted_style_request(!config.path_style)
            .with_client_options(client)
            .with_retry(retry);
        if let Some(endpoint) = &config.endpoint {
            builder = builder.with_endpoint(endpoint.as_str().trim_end_matches('/'));
        }
        Ok(Self {
            store: Arc::new(builder.build()?),
            prefix: config.prefix.clone(),
        })
    }

    fn path(&self, id: MediaId) -> Path {
        Path::from(format!("{}{id}", self.prefix))
    }

    fn tails(&self, id: MediaId) -> Path {
        Path::from(format!("{}incoming/{id}", self.prefix))
    }

    async fn read(&self, path: &Path) -> Result<Bytes, Error> {
        self.store.get(path).await?.bytes().await
    }

    /// Puts parts and tail together.
    async fn assemble(&self, id: MediaId, place: &Place) -> Result<(), Error> {
        let tail = match &place.tail {
            Some(name) => Some(self.read(&Path::from(name.as_str())).await?),
            None => None,
        };
        let path = self.path(id);
        let Some(multipart) = &place.multipart else {
            self.store.put(&path, tail.unwrap_or_default().into()).await?;
            return Ok(());
        };
        let mut parts: Vec<_> = place.parts.iter().cloned().map(part_id).collect();
        if let Some(tail) = tail {
            parts.push(self.store.put_part(&path, multipart, parts.len(), tail.into()).await?);
        }
        self.store.complete_multipart(&path, multipart, parts).await?;
        Ok(())
    }

    async fn delete_tails(&self, id: MediaId) -> Result<(), Error> {
        let mut tails = self.store.list(Some(&self.tails(id)));
        while let Some(tail) = tails.try_next().await? {
            self.remove(&tail.location).await?;
        }
        Ok(())
    }

    async fn remove(&self, path: &Path) -> Result<(), Error> {
        match self.store.delete(path).await {
            Err(Error::NotFound { .. }) => Ok(()),
            end => end,
        }
    }

    /// Whose an object is.
    fn owner(&self, path: &Path) -> Option<MediaId> {
        let name = path.as_ref().strip_prefix(&self.prefix)?;
        let name = name.strip_prefix("incoming/").unwrap_or(name);
        name.split('/').next()?.parse().ok()
    }
}

#[async_trait]
impl MediaFiles for MediaBucket {
    async fn append(&self, id: MediaId, offset: u64, place: Option<&str>) -> io::Result<Box<dyn Piece>> {
        let place = parse(place)?;
        if let Some(old) = &place.old_tail {
            self.remove(&Path::from(old.as_str())).await.map_err(failed)?;
        }
        let mut buffer = BytesMut::new();
        if let Some(tail) = &place.tail {
            buffer.extend_from_slice(&self.read(&Path::from(tail.as_str())).await.map_err(failed)?);
        }
        if place.parts.len() as u64 * STEP + buffer.len() as u64 != offset {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "bytes of the upload are missing",
            ));
        }
        Ok(Box::new(BucketPiece {
            bucket: self.clone(),
            id,
            place,
            buffer,
            unnamed: None,
        }))
    }

    async fn complete(&self, id: MediaId, size: u64, place: Option<&str>) -> io::Result<()> {
        match self.assemble(id, &parse(place)?).await {
            // Done before, by one that was killed then.
            Err(Error::NotFound { .. })
                if self
                    .store
                    .head(&self.path(id))
                    .await
                    .is_ok_and(|object| object.size == size) => {}
            end => end.map_err(failed)?,
        }
        self.delete_tails(id).await.map_err(failed)
    }

    async fn probe(&self, id: MediaId, size: u64) -> io::Result<Option<MediaInfo>> {
        let mut reader = Reader {
            bucket: self.clone(),
            path: self.path(id),
            size,
            at: 0,
            seen: (0, Bytes::new()),
            runtime: Handle::current(),
        };
        tokio::task::spawn_blocking(move || probe::probe(&mut reader, size))
            .await
            .map_err(io::Error::other)?
    }

    async fn open(&self, id: MediaId, range: ByteRange) -> io::Result<ByteStream> {
        if range.is_empty() {
            return Ok(stream::empty().boxed());
        }
        let options = GetOptions {
            range: Some(GetRange::Bounded(range.start..range.end)),
            ..GetOptions::default()
        };
        let got = self.store.get_opts(&self.path(id), options).await.map_err(failed)?;
        Ok(got.into_stream().map_err(failed).boxed())
    }

    async fn delete(&self, id: MediaId, place: Option<&str>) -> io::Result<()> {
        let path = self.path(id);
        self.remove(&path).await.map_err(failed)?;
        self.delete_tails(id).await.map_err(failed)?;
        let Some(multipart) = parse(place)?.multipart else {
            return Ok(());
        };
        match self.store.abort_multipart(&path, &multipart).await {
            Err(Error::NotFound { .. }) => Ok(()),
            Err(error) if is_unknown_there(&error) => {
                warn!(%error, media.id = %id, "This store cannot abort a multipart upload; the bucket's own rule must");
                Ok(())
            }
            end => end.map_err(failed),
        }
    }

    async fn list(&self) -> io::Result<BoxStream<'static, io::Result<Vec<(MediaId, DateTime<Utc>)>>>> {
        let this = self.clone();
        let within = Path::from(self.prefix.as_str());
        let prefix = (!self.prefix.is_empty()).then_some(&within);
        let files = self.store.list(prefix).try_filter_map(move |object| {
            let owner = this.owner(&object.location);
            async move { Ok(owner.map(|id| (id, object.last_modified))) }
        });
        Ok(files.try_chunks(PAGE).map_err(|error| failed(error.1)).boxed())
    }
}

/// A piece on its way into parts.
struct BucketPiece {
    bucket: MediaBucket,
    id: MediaId,
    place: Place,
    /// Bytes behind the last part.
    buffer: BytesMut,
    /// The multipart upload that was made since the last sync, and that nobody knows yet.
    unnamed: Option<String>,
}

impl BucketPiece {
    async fn send_part(&mut self) -> Result<(), Error> {
        let path = self.bucket.path(self.id);
        let multipart = match &self.place.multipart {
            Some(multipart) => multipart.clone(),
            None => {
                let made = self.bucket.store.create_multipart(&path).await?;
                self.unnamed.insert(made).clone()
            }
        };
        self.place.multipart = Some(multipart.clone());
        let part = self.buffer.split().freeze();
        let number = self.place.parts.len();
        let sent = self
            .bucket
            .store
            .put_part(&path, &multipart, number, part.into())
            .await?;
        self.place.parts.push(sent.content_id);
        Ok(())
    }
}

#[async_trait]
impl Piece for BucketPiece {
    async fn write(&mut self, bytes: Bytes) -> io::Result<()> {
        self.buffer.extend_from_slice(&bytes);
        if self.buffer.len() as u64 >= STEP {
            self.send_part().await.map_err(failed)?;
        }
        Ok(())
    }

    async fn sync(&mut self) -> io::Result<Option<String>> {
        let tail = if self.buffer.is_empty() {
            None
        } else {
            // By its content, so that nobody writes another one over it.
            let sum = hex::encode(&Sha256::digest(&self.buffer)[..8]);
            let tails = self.bucket.tails(self.id);
            let name = format!("{tails}/{}-{sum}", self.place.parts.len());
            let bytes = self.buffer.clone().freeze();
            let path = Path::from(name.as_str());
            self.bucket.store.put(&path, bytes.into()).await.map_err(failed)?;
            Some(name)
        };
        let old = std::mem::replace(&mut self.place.tail, tail);
        self.place.old_tail = old.filter(|old| self.place.tail.as_ref() != Some(old));
        let place = serde_json::to_string(&self.place).map_err(io::Error::other)?;
        self.unnamed = None;
        Ok(Some(place))
    }

    async fn give_up(&mut self) {
        let Some(multipart) = self.unnamed.take() else { return };
        let path = self.bucket.path(self.id);
        if let Err(error) = self.bucket.store.abort_multipart(&path, &multipart).await {
            warn!(%error, media.id = %self.id, "An unfinished multipart upload could not be aborted; the bucket's own rule does so");
        }
    }
}

/// Reads an object here and there, for code that knows files. To be used where blocking is allowed.
struct Reader {
    bucket: MediaBucket,
    path: Path,
    size: u64,
    at: u64,
    /// What was read last, and from where.
    seen: (u64, Bytes),
    runtime: Handle,
}

impl Read for Reader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.size || into.is_empty() {
            return Ok(0);
        }
        let (start, bytes) = &self.seen;
        if !(*start..*start + bytes.len() as u64).contains(&self.at) {
            let range = self.at..(self.at + LOOK).min(self.size);
            let bytes = self.runtime.block_on(self.bucket.store.get_range(&self.path, range));
            self.seen = (self.at, bytes.map_err(failed)?);
        }
        let (start, bytes) = &self.seen;
        let skipped = usize::try_from(self.at - start).map_err(io::Error::other)?;
        let mut rest = bytes.slice(skipped..);
        let count = rest.len().min(into.len());
        rest.copy_to_slice(&mut into[..count]);
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for Reader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = target.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

fn part_id(content_id: String) -> PartId {
    PartId { content_id }
}

fn parse(place: Option<&str>) -> io::Result<Place> {
    match place {
        Some(text) => serde_json::from_str(text).map_err(io::Error::other),
        None => Ok(Place::default()),
    }
}

/// Whether the store has no such operation. The library tells the status in words alone.
fn is_unknown_there(error: &Error) -> bool {
    let text = error.to_string();
    ["405", "501"]
        .iter()
        .any(|status| text.contains(&format!("status code: {status}")))
}

fn failed(error: Error) -> io::Error {
    let kind = match &error {
        Error::NotFound { .. } => io::ErrorKind::NotFound,
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => io::ErrorKind::PermissionDenied,
        // No answer, or one that says so, again and again for a while.
        Error::Generic { .. } => io::ErrorKind::NetworkUnreachable,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}
