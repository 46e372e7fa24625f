//! Media to publish: a small real video, one of any size, pictures, and the host that platforms fetch from.

use std::{net::SocketAddr, sync::OnceLock};

use axum::{
    Router,
    http::{StatusCode, header},
    routing::get,
};
use bytes::Bytes;
use patchbay_server::demo::sample::{self, Filler, SampleSpec};
use tokio::net::TcpListener;

/// The host name of the caller's own media.
pub const MEDIA_HOST: &str = "media.patchbay.example";

/// A video that TikTok takes: 1 s, 360 x 640, 30 frames a second.
pub fn video() -> Bytes {
    static VIDEO: OnceLock<Bytes> = OnceLock::new();
    VIDEO.get_or_init(|| sample::mp4(&spec()).into()).clone()
}

/// The same video, padded to `size` bytes.
pub fn padded(size: u64) -> Bytes {
    let mut bytes = Vec::new();
    sample::write_padded(&spec(), Filler::Seeded(7), size, &mut bytes).unwrap();
    bytes.into()
}

fn spec() -> SampleSpec {
    SampleSpec {
        seconds: 1,
        ..SampleSpec::default()
    }
}

/// The head of a PNG: enough to be known as one.
pub fn png() -> Bytes {
    Bytes::from_static(b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR\x00\x00\x00\x10\x00\x00\x00\x10\x08\x02\x00\x00\x00")
}

/// The head of a JPEG of 16 x 16 pixels: marker, JFIF, frame header, end.
pub fn jpeg() -> Bytes {
    let mut bytes = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00".to_vec();
    bytes.extend_from_slice(b"\xff\xc0\x00\x11\x08\x00\x10\x00\x10\x03\x01\x22\x00\x02\x11\x01\x03\x11\x01\xff\xd9");
    bytes.into()
}

/// URL of a file on the media host.
pub fn url(name: &str) -> String {
    format!("https://{MEDIA_HOST}/{name}")
}

/// Serves `video.mp4` and `photo.jpg` on loopback, until the runtime ends.
pub async fn serve() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new()
        .route(
            "/video.mp4",
            get(async || ([(header::CONTENT_TYPE, "video/mp4")], video())),
        )
        .route(
            "/photo.jpg",
            get(async || ([(header::CONTENT_TYPE, "image/jpeg")], jpeg())),
        )
        .fallback(async || StatusCode::NOT_FOUND);
    drop(tokio::spawn(async move { axum::serve(listener, router).await }));
    address
}
