//! Webhooks: what they say, and how they are signed.

use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit, Mac};
use patchbay_simkit::{Outgoing, Signer, Signing};
use serde_json::json;
use sha2::Sha256;

use crate::world::{ADA, Post};

// CHANGE: the events that the platform sends, as its documentation shows them.
pub(crate) fn published(post: &Post) -> Outgoing {
    let name = "post.live";
    let body = json!({
        "id": format!("evt_{}_published", post.id),
        "type": name,
        "at": post.due.timestamp(),
        "account": ADA[0],
        "post": post.id,
    });
    Outgoing {
        event: name.to_owned(),
        body: body.to_string(),
        signing: Signing::Valid,
    }
}

/// Signs with the app's secret.
pub(crate) struct AppSigner {
    pub(crate) client_secret: String,
}

impl Signer for AppSigner {
    // CHANGE: the header and what is signed.
    fn headers(&self, body: &str, at: DateTime<Utc>, signing: &Signing) -> Vec<(String, String)> {
        let (secret, at) = match signing {
            Signing::Valid | Signing::Tampered | Signing::Alternative => (&*self.client_secret, at),
            Signing::Forged => ("another-secret", at),
            Signing::Stale { seconds } => {
                let shift = TimeDelta::try_seconds(*seconds).unwrap_or_default();
                (&*self.client_secret, at.checked_sub_signed(shift).unwrap_or(at))
            }
            Signing::Unsigned => return Vec::new(),
        };
        let t = at.timestamp();
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
        mac.update(format!("{t}.{body}").as_bytes());
        let s = hex::encode(mac.finalize().into_bytes());
        vec![("quill-signature".to_owned(), format!("t={t},s={s}"))]
    }
}
