//! Pictures of accounts. Platforms keep them on hosts of their own, where the links expire and nothing of ours may be loaded
//! from; so the host fetches each one when somebody first looks at it, by the rules for URLs that come from outside, and keeps
//! it with its account.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use patchbay_core::ProviderId;
use sha2::{Digest, Sha256};
use tracing::{Instrument, debug};
use url::Url;

use crate::{
    App,
    model::{Account, Avatar, Picture},
    problem::{Problem, ProblemKind},
    store::StoreError,
    wire::{WireBody, WireRequest},
};

/// A picture is looked for again after this, or as soon as the platform has told another URL.
const FRESH: TimeDelta = TimeDelta::days(7);
/// As [`FRESH`], where there was none.
const AGAIN: TimeDelta = TimeDelta::hours(1);
/// Larger ones are none.
pub const MOST_BYTES: usize = 1024 * 1024;
/// Somebody looks at initials meanwhile.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The picture of an account, fetched now if that is due.
///
/// # Errors
/// The store failed.
pub async fn of(app: &Arc<App>, account: Account) -> Result<Option<Picture>, Problem> {
    let Some(source) = &account.avatar_url else {
        return Ok(None);
    };
    let known = app.store.avatar(account.tenant, account.id).await?;
    if !is_due(app.env.now(), known.as_ref(), source) {
        return Ok(known.and_then(|known| known.picture));
    }
    let (app, source) = (app.clone(), source.clone());
    let looking = async move { look(&app, &account, &source, known).await };
    // To its end, also when whoever asked has gone: the right to look was taken.
    let looked = tokio::spawn(looking.in_current_span()).await;
    let looked = looked
        .map_err(|error| Problem::new(ProblemKind::Internal, "Tell the operator the request id.").because(error))?;
    Ok(looked?)
}

fn is_due(now: DateTime<Utc>, known: Option<&Avatar>, source: &Url) -> bool {
    known.is_none_or(|known| {
        let life = if known.picture.is_some() { FRESH } else { AGAIN };
        known.source != source.as_str() || now - known.looked_at >= life
    })
}

async fn look(
    app: &App,
    account: &Account,
    source: &Url,
    known: Option<Avatar>,
) -> Result<Option<Picture>, StoreError> {
    let seen = known.as_ref().map(|known| known.looked_at);
    let (tenant, id) = (account.tenant, account.id);
    if app.store.claim_avatar(tenant, id, source.as_str(), seen).await?
        && let Some(picture) = fetch(app, account, source).await
    {
        app.store.keep_avatar(tenant, id, source.as_str(), &picture).await?;
        return Ok(Some(picture));
    }
    Ok(known.and_then(|known| known.picture))
}

async fn fetch(app: &App, account: &Account, source: &Url) -> Option<Picture> {
    // Of a simulated account there is nothing in the real world.
    let provider = if app.wire.browser_url(&account.provider, source) != *source {
        account.provider.clone()
    } else if account.simulated {
        return None;
    } else {
        ProviderId::patchbay()
    };
    let url = app.wire.user_url(source.as_str()).ok()?;
    let request = WireRequest {
        provider,
        op: "avatar".to_owned(),
        correlation_id: account.id.to_string(),
        method: "GET".to_owned(),
        url: url.as_str().into(),
        headers: vec![("accept".to_owned(), "image/*".to_owned().into())],
        body: WireBody::Empty,
        timeout: TIMEOUT,
        max_answer_bytes: MOST_BYTES,
    };
    let answer = match app.wire.send(request).await {
        Ok(answer) if answer.status == 200 => answer,
        Ok(answer) => {
            debug!(account.id = %account.id, answer.status, "There is no picture of an account");
            return None;
        }
        Err(error) => {
            debug!(account.id = %account.id, %error, "The picture of an account could not be fetched");
            return None;
        }
    };
    Some(Picture {
        mime: kind(&answer.body)?.to_owned(),
        sha256: Sha256::digest(&answer.body).into(),
        bytes: answer.body.to_vec(),
    })
}

/// What kind of picture it is by its first bytes. Kinds that can hold a script are none.
fn kind(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some("image/png"),
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some("image/gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_known_by_their_first_bytes() {
        for (bytes, mime) in [
            (&b"\x89PNG\r\n\x1a\n\0\0"[..], Some("image/png")),
            (b"\xff\xd8\xff\xe0", Some("image/jpeg")),
            (b"GIF89a..", Some("image/gif")),
            (b"GIF88a..", None),
            (b"RIFF\x01\x02\x03\x04WEBPVP8 ", Some("image/webp")),
            (b"RIFF\x01\x02\x03\x04WAVEfmt ", None),
            (b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>", None),
            (b"<?xml version=\"1.0\"?><svg/>", None),
            (b"<!doctype html>", None),
            (b"", None),
        ] {
            assert_eq!(kind(bytes), mime, "{bytes:?}");
        }
    }
}
