//! TikTok before the conformance kit: its provider, its simulator and posts that it takes.
#![expect(clippy::unwrap_used, reason = "a failed test is what an unwrap says here")]

use std::{net::SocketAddr, process::ExitCode, sync::Arc};

use async_trait::async_trait;
use chrono::DateTime;
use patchbay_conformance::{Case, File, Platform, Refusal, Sample, built};
use patchbay_core::{MediaKind, PostKind, Settings};
use patchbay_simulator_tiktok::{
    Running, Simulator, consent, for_product,
    simkit::{Action, Clock, Fault},
};
use serde_json::{Value, json};

fn main() -> ExitCode {
    // The smallest parts that TikTok takes, so that a file of two is small.
    let settings = json!({ "chunk_size_bytes": 5 * 1024 * 1024 });
    patchbay_conformance::main(Case {
        provider: built(patchbay_provider_tiktok::build, as_settings(&settings)),
        simulator: Arc::new(|config| {
            let mut config = for_product(config);
            config.clock = Clock::frozen_at(DateTime::from_timestamp(1_790_000_000, 0).unwrap());
            config.seed = Some(1);
            Box::pin(async {
                let running = Simulator::start(config).await.map_err(|error| error.to_string())?;
                Ok(Box::new(TikTok(running)) as Box<dyn Platform>)
            })
        }),
        form: [].into(),
        posts: posts(),
        webhooks: ["webhook_complete", "webhook_publicly_available"].map(fixture).to_vec(),
        refusals: vec![
            Refusal {
                ops: vec![
                    "creator.info",
                    "video.init",
                    "video.init_pull",
                    "photo.init",
                    "post.status",
                    "user.info",
                ],
                body: r#"{"data":{},"error":{"code":"spam_risk_too_many_posts","message":"","log_id":"x"}}"#,
            },
            Refusal {
                ops: vec!["token.exchange", "token.refresh"],
                body: r#"{"error":"invalid_request","error_description":"Code is expired.","log_id":"x"}"#,
            },
        ],
    })
}

fn posts() -> Vec<Sample> {
    let video = |name| Sample::new(name, PostKind::Video).titled("Hello #world");
    let photos = |name| Sample::new(name, PostKind::Images).titled("Hello").public();
    vec![
        video("video").public().uploading(mp4(2_000)),
        video("draft of a video").as_draft().uploading(mp4(2_000)),
        video("video by URL").public().pulling(mp4(2_000)),
        video("draft of a hosted video").as_draft().hosting(mp4(2_000)),
        photos("photos by URL").pulling(jpeg()).pulling(jpeg()),
        Sample::new("draft of hosted photos", PostKind::Images)
            .titled("Hello")
            .as_draft()
            .hosting(jpeg()),
        video("video in two parts").public().uploading(mp4(11_000_000)),
    ]
}

trait Public {
    fn public(self) -> Self;
}

impl Public for Sample {
    fn public(self) -> Self {
        self.with_option("privacy_level", "PUBLIC_TO_EVERYONE")
    }
}

/// Bytes that open as an MP4 does.
fn mp4(size: usize) -> File {
    let mut bytes = b"\0\0\0\x18ftypisom\0\0\x02\0isomiso2\0\0\0\0mdat".to_vec();
    bytes.extend((0..size - bytes.len()).map(|n| (n / 7) as u8));
    File::of(MediaKind::Video, "video/mp4", bytes)
}

/// The frame header of a JPEG of 1024 x 1024 pixels.
fn jpeg() -> File {
    let bytes = b"\xff\xd8\xff\xe0\0\x04\x01\x02\xff\xc0\0\x0b\x08\x04\0\x04\0\x01\x01\x11\0".to_vec();
    File::of(MediaKind::Image, "image/jpeg", bytes)
}

fn fixture(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/fixtures/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    text.replace("ck_test", "conformance-client").into_bytes()
}

fn as_settings(settings: &Value) -> Settings {
    Settings(settings.as_object().unwrap().clone())
}

struct TikTok(Running);

#[async_trait]
impl Platform for TikTok {
    fn hosts(&self) -> Vec<(String, SocketAddr)> {
        self.0.hosts()
    }

    fn clock(&self) -> Clock {
        self.0.clock().clone()
    }

    async fn consent(&self, authorize_url: &str) -> Result<String, String> {
        consent(authorize_url).await.map_err(|error| error.to_string())
    }

    fn effects(&self) -> usize {
        let effects = self.0.oracle().effects("ada_public");
        effects.posted + effects.drafts
    }

    fn files(&self) -> Vec<String> {
        self.0
            .oracle()
            .posts()
            .into_iter()
            .flat_map(|post| post.sha256)
            .collect()
    }

    fn stall(&self) {
        let (name, value) = ("hang".to_owned(), Value::Null);
        self.0
            .faults()
            .put("stall", Fault::new("processing", Action::Set { name, value }));
    }

    async fn settle(&self) {
        self.0.settle().await;
    }
}
