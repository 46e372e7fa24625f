//! The host of people's pictures, where links name the person and the size.

use axum::{extract::Path, http::header, response::IntoResponse};

/// The host that the platform names.
pub(crate) const HOST: &str = "p16-sign.tiktokcdn-us.com";

/// The one picture: 16 x 16 pixels. Its name says JPEG, and it is a PNG, as content networks convert what they have.
const PICTURE: &[u8] = b"\x89\x50\x4e\x47\x0d\x0a\x1a\x0a\x00\x00\x00\x0d\x49\x48\x44\x52\x00\x00\x00\x10\x00\x00\
      \x00\x10\x08\x02\x00\x00\x00\x90\x91\x68\x36\x00\x00\x00\x16\x49\x44\x41\x54\x78\xda\x63\
      \xf8\xa7\x13\x4a\x12\x62\x18\xd5\x30\xaa\x61\xf8\x6a\x00\x00\x46\x75\x7f\x10\xef\xe5\xe4\
      \xda\x00\x00\x00\x00\x49\x45\x4e\x44\xae\x42\x60\x82";

pub(crate) async fn show(Path(_name): Path<String>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "image/png")], PICTURE)
}
