//! Webhooks: proved and stored in the request, understood later.
//!
//! The request does four things: take the signature apart, compare it over the raw bytes, check its age, commit. What
//! the webhook means is read in a worker, where a crash or a poisonous body costs nobody a 200.

mod apply;
pub(crate) mod commit;
mod signature;

use patchbay_core::{InboxId, TenantId};
use sha2::{Digest, Sha256};

pub(crate) use apply::run;

use crate::{
    App, failpoint,
    model::NewWebhook,
    problem::{Problem, ProblemKind},
    registry::Registered,
    store::StoredInbox,
};

/// A webhook as it came in.
pub struct Incoming<'a> {
    /// Platform and app, by the path.
    pub registered: &'a Registered,
    /// All headers, names in lower case, in order.
    pub headers: &'a [(&'a str, &'a str)],
    /// The raw body.
    pub body: &'a [u8],
    /// Follows the work.
    pub correlation_id: &'a str,
}

/// Proves a webhook genuine and stores it. Returns after the commit.
///
/// # Errors
/// `SignatureInvalid` for every reason alike, and then nothing is stored; `Unavailable` if it cannot be committed in
/// time: the platform comes again.
pub async fn receive(app: &App, incoming: Incoming<'_>) -> Result<StoredInbox, Problem> {
    let provider = incoming.registered.id();
    if incoming.registered.webhook_schemes.is_empty() {
        return Err(Problem::new(ProblemKind::NotFound, "This provider sends no webhooks."));
    }
    let count = |outcome: &'static str| {
        metrics::counter!("patchbay_webhooks_received_total", "provider" => provider.to_string(), "outcome" => outcome)
            .increment(1);
    };
    let Some(scheme) = signature::verify(&incoming, app.env.now()) else {
        count("refused");
        return Err(Problem::new(
            ProblemKind::SignatureInvalid,
            "Sign the raw body with the webhook secret of this app, and send it within the time window.",
        ));
    };
    failpoint::hit("wh.verified");
    let client_id = &incoming.registered.app.client_id;
    let digest = Sha256::new()
        .chain_update(client_id.as_bytes())
        .chain_update([0])
        .chain_update(incoming.body);
    let webhook = NewWebhook {
        id: InboxId::from_uuid(app.env.ids.next()),
        tenant: TenantId::DEFAULT,
        provider: provider.clone(),
        client_id: client_id.clone(),
        scheme,
        digest: digest.finalize().into(),
        body: incoming.body.to_vec(),
        correlation_id: incoming.correlation_id.to_owned(),
    };
    let stored = app.commits.store(webhook).await?;
    count(match stored {
        StoredInbox::New => "stored",
        StoredInbox::Duplicate => "duplicate",
    });
    Ok(stored)
}
