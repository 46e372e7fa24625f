//! A large file from the client through the host to the platform.

use std::{fs::File, io::Read, path::Path, time::Duration};

use anyhow::{Context, ensure};
use clap::Args;
use patchbay_server::demo::sample::{self, Filler, SampleSpec};
use patchbay_simulator_tiktok::{ChunkBand, PostRecord, Redirects, Running, Simulator, SimulatorConfig, UploadRecord};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    host::{self, Host},
    plain,
    table::{Table, mib},
};

/// What to publish.
#[derive(Args, Clone, Copy)]
pub struct Options {
    /// Size of the file in bytes.
    #[arg(long, default_value_t = 256 * 1024 * 1024)]
    pub bytes: u64,
    /// How often; the figures are those of the middle round.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=5))]
    pub rounds: u8,
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
    pub host: Duration,
    /// The same for a plain client.
    pub plain: Duration,
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

    /// Throughput of the host, where a plain client's is 1.
    pub fn ratio(&self) -> f64 {
        self.plain.as_secs_f64() / self.host.as_secs_f64()
    }

    /// For people.
    pub fn table(&self) -> Table {
        let rate = |time: Duration| format!("{:.0} MiB/s", self.bytes as f64 / 1_048_576.0 / time.as_secs_f64());
        let mut table = Table::default();
        table.row("file", mib(self.bytes));
        table.row(
            "SHA-256 at host and platform",
            if self.is_intact() { "equal" } else { "NOT EQUAL" },
        );
        table.row(
            "chunks accepted in the strict band",
            format!("{} of {}", self.chunks, mib(self.chunk_bytes)),
        );
        table.row("host's memory, idle", mib(self.idle));
        table.row("host's memory, peak above idle", mib(self.above_idle()));
        table.row("throughput, plain client", rate(self.plain));
        table.row("throughput, host", rate(self.host));
        table.row("throughput, ratio", format!("{:.2}", self.ratio()));
        table
    }
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

    let port = host::free_port()?;
    let mut config = SimulatorConfig::default();
    config.switches.chunk_band = ChunkBand::Narrow;
    config.switches.processing_seconds = 0;
    config.redirects = Redirects {
        desktop: vec![format!("http://127.0.0.1:{port}/api/platforms/tiktok/callback")],
        ..Redirects::default()
    };
    let client = (config.client_key.clone(), config.client_secret.clone());
    let tiktok = Simulator::start(config).await?;
    let host = Host::with_simulator(port, dir.path(), &tiktok, (&client.0, &client.1)).await?;
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

        let id = plain::upload(&tiktok, &file, chunk_bytes, &format!("by hand {round}")).await?;
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
        host: middle(by_host),
        plain: middle(by_hand),
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

fn middle(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
