//! A large file from the client through the host to the platform.

use std::{fs::File, io::Read, path::Path, time::Duration};

use anyhow::{Context, ensure};
use patchbay_server::demo::sample::{self, Filler, SampleSpec};
use patchbay_simulator_tiktok::{ChunkBand, PostRecord, Redirects, Running, Simulator, SimulatorConfig, UploadRecord};
use serde_json::Value;
use sha2::{Digest, Sha256};

pub use crate::plain::Client;
use crate::{
    Effort,
    host::Host,
    hostile,
    measurement::{Measurement, Wanted},
    plain,
    ports::free_port,
    table::mib,
};

/// What to publish.
#[derive(Clone, Copy)]
pub struct Options {
    /// Size of the file in bytes.
    pub bytes: u64,
    /// How often.
    pub rounds: usize,
    /// What the host is held against.
    pub reference: Client,
}

/// What was measured.
#[derive(Debug)]
pub struct Figures {
    /// Of the file.
    pub bytes: u64,
    /// Digest of the file that was made.
    pub sha256: String,
    /// Digests of what arrived: at the host, and at the platform in each round.
    pub arrived: Vec<String>,
    /// Chunks of one upload.
    pub chunks: u64,
    /// Size of all but the last.
    pub chunk_bytes: u64,
    /// Resident memory of the host before the first byte.
    pub idle: u64,
    /// Its greatest resident memory.
    pub peak: u64,
    /// From the first byte to the last chunk's end, host to platform.
    pub host: Vec<Duration>,
    /// The same for a plain client.
    pub plain: Vec<Duration>,
}

impl Figures {
    /// Whether every byte arrived as it was, everywhere.
    pub fn is_intact(&self) -> bool {
        self.arrived.iter().all(|digest| *digest == self.sha256)
    }

    /// Memory that the work took.
    pub fn above_idle(&self) -> u64 {
        self.peak.saturating_sub(self.idle)
    }
}

/// Size of the file, unless scaled.
const BYTES: f64 = 256.0 * 1024.0 * 1024.0;
/// The host reads and checks the file, and writes down every step, beside sending it.
const WANTED: Wanted = Wanted::AtLeast(0.8);

/// `upload_relay_vs_reqwest`: a stored file from the host to the platform, beside reqwest.
pub async fn vs_reqwest(effort: Effort) -> anyhow::Result<Measurement> {
    measure("upload_relay_vs_reqwest", Client::Reqwest, effort).await
}

/// `upload_relay_vs_curl`: the same, beside curl.
pub async fn vs_curl(effort: Effort) -> anyhow::Result<Measurement> {
    measure("upload_relay_vs_curl", Client::Curl, effort).await
}

async fn measure(name: &'static str, reference: Client, effort: Effort) -> anyhow::Result<Measurement> {
    let options = Options {
        bytes: (BYTES * effort.scale).ceil() as u64,
        rounds: effort.pairs,
        reference,
    };
    let figures = run(&options).await?;
    ensure!(figures.is_intact(), "other bytes arrived than were sent: {figures:?}");
    let rates = |times: &[Duration]| {
        let rate = |time: &Duration| figures.bytes as f64 / (1024.0 * 1024.0) / time.as_secs_f64();
        times.iter().map(rate).collect()
    };
    let found = Measurement {
        name,
        wanted: WANTED,
        unit: "MiB/s",
        ours: rates(&figures.host),
        reference: rates(&figures.plain),
        notes: Vec::new(),
    };
    Ok(found
        .note("file", format!("{}, SHA-256 equal everywhere", mib(figures.bytes)))
        .note(
            "chunks accepted in the strict band",
            format!("{} of {}", figures.chunks, mib(figures.chunk_bytes)),
        )
        .note("host's memory, idle", mib(figures.idle))
        .note("host's memory, peak above idle", mib(figures.above_idle())))
}

/// Size of the file that a component sends, unless scaled.
const COMPONENT_BYTES: f64 = 1024.0 * 1024.0 * 1024.0;

/// `wasm_upload_1gib_vs_native`: a stored file from the host to the platform by TikTok's provider as a component, beside the
/// same provider compiled in. One host, in which the component comes and goes.
pub async fn component_vs_native(effort: Effort) -> anyhow::Result<Measurement> {
    let bytes = (COMPONENT_BYTES * effort.scale).ceil() as u64;
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("video.mp4");
    let path = file.clone();
    let sha256 = tokio::task::spawn_blocking(move || make(&path, bytes)).await??;
    let (port, mut config) = (free_port(), SimulatorConfig::default());
    config.switches.processing_seconds = 0;
    config.redirects = Redirects {
        desktop: vec![format!("http://127.0.0.1:{port}/api/platforms/tiktok/callback")],
        ..Redirects::default()
    };
    let client = (config.client_key.clone(), config.client_secret.clone());
    let tiktok = Simulator::start(config).await?;
    let folder = dir.path().join("components");
    let more = vec![
        ("PATCHBAY__WASM__DIR", folder.display().to_string()),
        ("PATCHBAY__WASM__POLL_SECONDS", "1".to_owned()),
        ("PATCHBAY__WASM__COMPILE_SECONDS", "300".to_owned()),
    ];
    let host = Host::with_simulator(port, dir.path(), &tiktok, (&client.0, &client.1), more).await?;
    let account = host.connect("ada_public").await?;
    let media = host.upload(&file).await?;
    std::fs::remove_file(&file)?;
    let send = async |title: &str| {
        host.publish(&account, title, &text(&media, "id")?).await?;
        let (post, upload) = find(&tiktok, |post| post.wishes.title.as_deref() == Some(title))?;
        ensure!(
            post.sha256.first() == Some(&sha256),
            "other bytes arrived than were sent"
        );
        anyhow::Ok((time_of(&post, &upload)?, upload.chunks.len()))
    };
    let mut found = Measurement::none("wasm_upload_1gib_vs_native", Wanted::AtLeast(0.9), "MiB/s");
    let rate = |time: Duration| bytes as f64 / (1024.0 * 1024.0) / time.as_secs_f64();
    let mut chunks = 0;
    for pair in 0..effort.pairs {
        hostile::pin(&folder, &[]).await?;
        host.serves_components(0).await?;
        found.reference.push(rate(send(&format!("native {pair}")).await?.0));
        hostile::pin(&folder, &["tiktok"]).await?;
        host.serves_components(1).await?;
        let (time, sent) = send(&format!("component {pair}")).await?;
        found.ours.push(rate(time));
        chunks = sent;
    }
    host.stop().await?;
    tiktok.shutdown().await;
    Ok(found
        .note("file", format!("{}, SHA-256 equal everywhere", mib(bytes)))
        .note("chunks", chunks))
}

/// Measures.
///
/// # Errors
/// Something did not work at all. Wrong bytes are a figure, not an error.
pub async fn run(options: &Options) -> anyhow::Result<Figures> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("video.mp4");
    let (path, bytes) = (file.clone(), options.bytes);
    let sha256 = tokio::task::spawn_blocking(move || make(&path, bytes)).await??;

    let port = free_port();
    let mut config = SimulatorConfig::default();
    config.switches.chunk_band = ChunkBand::Narrow;
    config.switches.processing_seconds = 0;
    config.redirects = Redirects {
        desktop: vec![format!("http://127.0.0.1:{port}/api/platforms/tiktok/callback")],
        ..Redirects::default()
    };
    let client = (config.client_key.clone(), config.client_secret.clone());
    let tiktok = Simulator::start(config).await?;
    let host = Host::with_simulator(port, dir.path(), &tiktok, (&client.0, &client.1), Vec::new()).await?;
    let account = host.connect("ada_public").await?;
    let idle = host.memory("VmRSS")?;

    let media = host.upload(&file).await?;
    let mut arrived = vec![text(&media, "sha256")?];
    let (mut by_host, mut by_hand) = (Vec::new(), Vec::new());
    let (mut chunks, mut chunk_bytes) = (0, 0);
    for round in 0..options.rounds {
        let title = format!("round {round}");
        host.publish(&account, &title, &text(&media, "id")?).await?;
        let (post, upload) = find(&tiktok, |post| post.wishes.title.as_deref() == Some(&title))?;
        arrived.extend(post.sha256.first().cloned());
        (chunks, chunk_bytes) = (upload.total_chunk_count, upload.chunk_size);
        ensure!(
            upload.chunks.len() as u64 == chunks,
            "chunks were sent twice: {upload:?}"
        );
        by_host.push(time_of(&post, &upload)?);

        let id = plain::upload(
            options.reference,
            &tiktok,
            &file,
            chunk_bytes,
            &format!("by hand {round}"),
        )
        .await?;
        let (post, upload) = find(&tiktok, |post| post.publish_id == id)?;
        arrived.extend(post.sha256.first().cloned());
        by_hand.push(time_of(&post, &upload)?);
    }
    let peak = host.memory("VmHWM")?;
    drop(host);
    tiktok.shutdown().await;
    Ok(Figures {
        bytes,
        sha256,
        arrived,
        chunks,
        chunk_bytes,
        idle,
        peak,
        host: by_host,
        plain: by_hand,
    })
}

fn make(path: &Path, bytes: u64) -> anyhow::Result<String> {
    let mut file = std::io::BufWriter::new(File::create(path)?);
    sample::write_padded(&SampleSpec::default(), Filler::Seeded(1), bytes, &mut file)?;
    drop(file.into_inner()?);
    let mut digest = Sha256::new();
    let mut file = File::open(path)?;
    let mut piece = vec![0; 1 << 20];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hex::encode(digest.finalize())),
            length => digest.update(&piece[..length]),
        }
    }
}

fn text(value: &Value, name: &str) -> anyhow::Result<String> {
    Ok(value[name]
        .as_str()
        .with_context(|| format!("no {name} in {value}"))?
        .to_owned())
}

fn find(tiktok: &Running, is_it: impl Fn(&PostRecord) -> bool) -> anyhow::Result<(PostRecord, UploadRecord)> {
    let post = tiktok
        .oracle()
        .posts()
        .into_iter()
        .find(is_it)
        .context("the platform knows no such post")?;
    let uploads = tiktok.oracle().uploads();
    let upload = uploads.into_iter().find(|upload| upload.publish_id == post.publish_id);
    Ok((post, upload.context("the post has no upload")?))
}

/// From the accepted init to the end of the last chunk, by the simulator's clock: the same for every client.
fn time_of(post: &PostRecord, upload: &UploadRecord) -> anyhow::Result<Duration> {
    let last = upload.chunks.last().context("no chunk arrived")?;
    Ok((last.at - post.created_at).to_std()?)
}
