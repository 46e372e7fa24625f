//! Where the bytes of media files are. A port: the host implements it on a folder and on an object store.
//!
//! A file comes in pieces, in order. What a piece leaves is told as a `place`: words of the keeper, that are stored beside
//! the number of durable bytes and given back when the next piece comes, maybe to another process.

use std::io;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::stream::BoxStream;
use patchbay_core::{ByteRange, MediaId, MediaInfo};

/// Bytes as they come.
pub type ByteStream = BoxStream<'static, io::Result<Bytes>>;

/// Bytes are made durable at multiples of this, and where a piece ends. So much is sent again after a kill, and so much is
/// in memory at most.
pub const STEP: u64 = 8 * 1024 * 1024;

/// Keeps the bytes of media files, named by id.
#[async_trait]
pub trait MediaFiles: Send + Sync + 'static {
    /// Goes on with a file after `offset` durable bytes. What lies behind them, from a writer that was killed, is gone.
    ///
    /// # Errors
    /// `NotFound`: bytes are missing.
    async fn append(&self, id: MediaId, offset: u64, place: Option<&str>) -> io::Result<Box<dyn Piece>>;

    /// Makes a file of `size` durable bytes. Doing it again is no error.
    async fn complete(&self, id: MediaId, size: u64, place: Option<&str>) -> io::Result<()>;

    /// What a file is, by its content; `None`: no media file that Patchbay knows.
    async fn probe(&self, id: MediaId, size: u64) -> io::Result<Option<MediaInfo>>;

    /// Reads a part of a file. May be called again for the same part.
    ///
    /// # Errors
    /// `NetworkUnreachable`: it cannot be reached just now, as with all the other methods.
    async fn open(&self, id: MediaId, range: ByteRange) -> io::Result<ByteStream>;

    /// Deletes a file, complete or not. One that is not there is no error.
    async fn delete(&self, id: MediaId, place: Option<&str>) -> io::Result<()>;

    /// Files of which something is there, and when it was last written, in pages.
    async fn list(&self) -> io::Result<BoxStream<'static, io::Result<Vec<(MediaId, DateTime<Utc>)>>>>;
}

/// A piece of a file that comes in. One that is dropped, and not synced to its end, is to be given up first.
#[async_trait]
pub trait Piece: Send {
    /// Takes bytes, at most up to the next multiple of [`STEP`].
    async fn write(&mut self, bytes: Bytes) -> io::Result<()>;

    /// Makes all bytes durable that were taken. Gives the place to go on from.
    async fn sync(&mut self) -> io::Result<Option<String>>;

    /// Deletes what no place names: what was taken since the last sync, as far as it can be told apart. Without effect where it
    /// cannot be reached.
    async fn give_up(&mut self);
}
