//! List cursors: a place in a list, authenticated and bound to the tenant and the query, so that a cursor tells
//! nothing and works nowhere else.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::DateTime;
use hmac::{Hmac, KeyInit, Mac};
use patchbay_app::{
    problem::{Problem, ProblemKind},
    store::Cursor,
};
use sha2::Sha256;
use uuid::Uuid;

use crate::host::Host;

/// A cursor as text.
#[must_use]
pub fn write(host: &Host, bound_to: &str, cursor: Cursor) -> String {
    let mut bytes = cursor.at.timestamp_micros().to_be_bytes().to_vec();
    bytes.extend_from_slice(cursor.id.as_bytes());
    let tag = mac(host, bound_to, &bytes).finalize().into_bytes();
    bytes.extend_from_slice(&tag[..16]);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads a cursor.
///
/// # Errors
/// It was not made here, for this tenant and list.
pub fn read(host: &Host, bound_to: &str, text: &str) -> Result<Cursor, Problem> {
    let invalid = || Problem::new(ProblemKind::CursorInvalid, "Start the list again without a cursor.");
    let bytes: [u8; 40] = URL_SAFE_NO_PAD
        .decode(text)
        .ok()
        .and_then(|b| b.try_into().ok())
        .ok_or_else(invalid)?;
    let (body, tag) = bytes.split_at(24);
    mac(host, bound_to, body)
        .verify_truncated_left(tag)
        .map_err(|_| invalid())?;
    let (at, id) = body.split_at(8);
    let at = at
        .try_into()
        .ok()
        .map(i64::from_be_bytes)
        .and_then(DateTime::from_timestamp_micros)
        .ok_or_else(invalid)?;
    Ok(Cursor {
        at,
        id: Uuid::from_slice(id).map_err(|_| invalid())?,
    })
}

fn mac(host: &Host, bound_to: &str, body: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(host.cursor_key.expose()).expect("HMAC takes keys of any length");
    mac.update(bound_to.as_bytes());
    mac.update(&[0]);
    mac.update(body);
    mac
}
