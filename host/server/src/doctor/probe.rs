//! Calls as others would send them: to this host under its public address, and to platforms. They go through the same
//! guarded client as all of the product's calls, so an address that a platform cannot reach is none here either.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use patchbay_app::{
    secret::Secret,
    wire::{Wire, WireBody, WireError, WireRequest, WireResponse},
};
use patchbay_core::ProviderId;
use patchbay_egress::Egress;
use url::Url;

use super::report::Report;
use crate::config::{Config, Environment};

/// Time for one call.
const TIMEOUT: Duration = Duration::from_secs(15);
/// As much of an answer is looked at.
const MAX_ANSWER: usize = 64 * 1024;

/// The guarded client.
pub(super) struct Probe {
    pub(super) wire: Arc<Egress>,
}

impl Probe {
    /// `None`: this machine cannot call anybody, which is reported.
    pub(super) fn new(config: &Config, report: &mut Report) -> Option<Self> {
        let mut simulators: HashMap<_, _> = config
            .providers
            .iter()
            .filter(|(_, settings)| settings.environment == Environment::Simulator)
            .map(|(id, settings)| (id.clone(), settings.simulator_hosts.clone()))
            .collect();
        simulators.insert(ProviderId::patchbay(), config.egress.simulated_receivers.clone());
        let egress = patchbay_egress::Config {
            open_cidrs: config.egress.open_cidrs.clone(),
            simulators,
            ..patchbay_egress::Config::default()
        };
        match Egress::new(egress) {
            Ok(wire) => Some(Self { wire: Arc::new(wire) }),
            Err(error) => {
                report.error(
                    "network.client",
                    format!("{:#}", anyhow::Error::from(error)),
                    "Install the system's CA certificates (Debian: the package ca-certificates).",
                );
                None
            }
        }
    }

    /// Reads an address.
    pub(super) async fn get(&self, whose: ProviderId, url: &Url) -> Result<WireResponse, WireError> {
        self.send(whose, "GET", url, WireBody::Empty).await
    }

    /// Posts an empty JSON document.
    pub(super) async fn post(&self, whose: ProviderId, url: &Url) -> Result<WireResponse, WireError> {
        self.send(whose, "POST", url, WireBody::Bytes(Bytes::from_static(b"{}")))
            .await
    }

    async fn send(
        &self,
        provider: ProviderId,
        method: &str,
        url: &Url,
        body: WireBody,
    ) -> Result<WireResponse, WireError> {
        let request = WireRequest {
            provider,
            op: "doctor".to_owned(),
            correlation_id: "doctor".to_owned(),
            method: method.to_owned(),
            url: Secret::new(url.to_string()),
            headers: vec![("content-type".to_owned(), Secret::new("application/json".to_owned()))],
            body,
            timeout: TIMEOUT,
            max_answer_bytes: MAX_ANSWER,
        };
        self.wire.send(request).await
    }
}

/// What to do about a call that had no answer.
pub(super) fn advice(error: &WireError) -> &'static str {
    match error {
        WireError::Blocked(_) => {
            "Platforms reach public addresses alone: give the name a public address in DNS, or look from a machine that \
             resolves names as the public does."
        }
        WireError::NotSent(_) => {
            "Check that the name is in DNS, that its certificate is valid for it, and that the port is open."
        }
        WireError::Lost(_) => "Check that whatever answers there is up, and passes requests to server.listen.",
    }
}
