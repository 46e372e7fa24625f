//! Secrets of endpoints, and what they sign (Standard Webhooks, symmetric).

use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use patchbay_core::{EndpointId, EventId, TenantId};
use sha2::Sha256;

use crate::{
    App,
    model::{Endpoint, SealedSecret},
    secret::Secret,
    vault::{Place, VaultError},
};

/// Before the text form of a secret.
const PREFIX: &str = "whsec_";

/// A new secret, sealed for its endpoint, and its text for the one who verifies.
pub(super) async fn make(
    app: &App,
    tenant: TenantId,
    endpoint: EndpointId,
    version: i64,
) -> Result<(SealedSecret, Secret<String>), VaultError> {
    let bytes = Secret::new(app.env.random::<32>());
    let envelope = app.vault.seal(place(tenant, endpoint, version), bytes.expose()).await?;
    let text = Secret::new(format!("{PREFIX}{}", STANDARD.encode(bytes.expose())));
    Ok((SealedSecret { envelope, version }, text))
}

/// The value of `webhook-signature`: by the secret, and by the old one for as long as that counts.
pub(super) async fn sign(
    app: &App,
    endpoint: &Endpoint,
    id: EventId,
    now: DateTime<Utc>,
    body: &[u8],
) -> Result<String, VaultError> {
    let old = endpoint.old_secret.as_ref().filter(|(_, until)| now < *until);
    let mut signatures = Vec::with_capacity(2);
    for secret in std::iter::once(&endpoint.secret).chain(old.map(|(secret, _)| secret)) {
        let place = place(endpoint.tenant, endpoint.id, secret.version);
        let key = app.vault.unseal(place, &secret.envelope).await?;
        signatures.push(signature(key.expose(), id, now, body));
    }
    Ok(signatures.join(" "))
}

fn signature(key: &[u8], id: EventId, now: DateTime<Utc>, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(format!("{id}.{}.", now.timestamp()).as_bytes());
    mac.update(body);
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

fn place(tenant: TenantId, endpoint: EndpointId, version: i64) -> Place {
    Place {
        tenant,
        table: "webhook_endpoints",
        row: endpoint.as_uuid(),
        column: "secret",
        version,
    }
}
