//! Quill before the conformance kit: its provider, its simulator, and posts that it takes.

use std::{net::SocketAddr, process::ExitCode, sync::Arc};

use async_trait::async_trait;
use patchbay_conformance::{Case, Platform, Sample, built};
use patchbay_core::Settings;
use patchbay_simulator_quill::{
    Running, consent,
    simkit::{Clock, Random},
    start,
};

fn main() -> ExitCode {
    patchbay_conformance::main(Case {
        // Of its source; or its component, with `patchbay conformance X.wasm`.
        provider: built(patchbay_provider_quill::build, Settings::default()),
        simulator: Arc::new(|config| {
            Box::pin(async {
                let clock = Clock::frozen_at("2026-09-21T14:13:20Z".parse().expect("a fixed time"));
                let running = start(config, clock, Random::seeded(1)).await?;
                Ok(Box::new(Simulated(running)) as Box<dyn Platform>)
            })
        }),
        form: [].into(),
        // CHANGE: posts that the platform takes, at least one of each kind, mode and transfer of the manifest.
        posts: vec![Sample::text("text", "Hello, Quill")],
        // CHANGE: bodies from the platform's documentation that its simulator does not send.
        webhooks: vec![
            br#"{"id":"evt_1","type":"access.revoked","at":1790000000,"account":"user_1"}"#.to_vec(),
            br#"{"id":"evt_2","type":"profile.renamed","at":1790000000,"account":"user_1"}"#.to_vec(),
        ],
        // CHANGE: bodies that refuse with status 200, where the platform does so.
        refusals: Vec::new(),
    })
}

// CHANGE: `files` where posts have files; no `stall` where nothing is processed.
struct Simulated(Running);

#[async_trait]
impl Platform for Simulated {
    fn hosts(&self) -> Vec<(String, SocketAddr)> {
        self.0.hosts()
    }

    fn clock(&self) -> Clock {
        self.0.clock()
    }

    async fn consent(&self, authorize_url: &str) -> Result<String, String> {
        consent(authorize_url).await
    }

    fn effects(&self) -> usize {
        self.0.published()
    }

    fn stall(&self) {
        self.0.stall();
    }

    async fn settle(&self) {
        self.0.settle().await;
    }
}
