//! Where the bytes of media files are. A port: the host implements it on a folder.

use std::io;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use patchbay_core::{ByteRange, MediaId};

/// Bytes as they come.
pub type ByteStream = BoxStream<'static, io::Result<Bytes>>;

/// Keeps the bytes of media files, named by id.
#[async_trait]
pub trait MediaFiles: Send + Sync + 'static {
    /// Reads a part of a file. May be called again for the same part.
    async fn open(&self, id: MediaId, range: ByteRange) -> io::Result<ByteStream>;

    /// Deletes a file. One that is not there is no error.
    async fn delete(&self, id: MediaId) -> io::Result<()>;
}
