//! `patchbay demo`: the whole main job, against simulated platforms, through the same REST API that everybody uses.
//! It connects an account, publishes one file in chunks and one by URL, receives the webhooks, and then keeps serving
//! for the visitor.

mod client;
mod report;
pub mod sample;
mod story;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context;
use axum::{Router, body::Bytes, http::header, routing::get};
use clap::Args;
use tokio::net::TcpListener;

use crate::{
    config::Config,
    host::{self, Start},
    listen::{self, Limits},
    providers, serve, telemetry,
};
use report::Report;

/// The media host that simulated platforms pull from.
const MEDIA_HOST: &str = "media.patchbay.example";

/// How to show it.
#[derive(Args, Clone)]
pub struct Options {
    /// End after the story, with an error code if any step is not as expected.
    #[arg(long)]
    exit: bool,
    /// Print one JSON object a step instead of text.
    #[arg(long)]
    json: bool,
    /// Port to serve on; the next free one if it is taken.
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Folder for database, key and media. Default: a fresh one, deleted at the end.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Size in bytes of the file that is published in chunks.
    #[arg(long, default_value_t = 70_000_001)]
    file_bytes: u64,
    /// Log filter; the log goes to standard error.
    #[arg(long, default_value = "warn")]
    log: String,
}

/// Runs the demo.
///
/// # Errors
/// It cannot start, or with `--exit` a step of the story was not as expected.
pub async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let folder = Folder::open(options.dir.clone())?;
    let listener = bind(options.port).await?;
    let address = listener.local_addr()?;
    let config = config(address, &folder.path, &options.log)?;
    telemetry::init(&config.log)?;
    let metrics = telemetry::metrics::install()?;

    let video: Bytes = tokio::task::spawn_blocking(|| sample::mp4(&sample::SampleSpec::default()))
        .await?
        .into();
    let media = serve_media(video).await?;
    let start = Start {
        metrics: Some(metrics),
        media_hosts: [(MEDIA_HOST.to_owned(), media)].into(),
        ..Start::default()
    };
    let serving = serve::start(host::build(config, start).await?, listener).await?;

    let report = Arc::new(Report::new(options.json));
    report.opening(address, &serving, &folder.path);
    let told = story::tell(&serving, address, &folder.path, &options, &report).await;
    let code = match &told {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report.failed(error);
            ExitCode::FAILURE
        }
    };
    if !options.exit {
        report.inviting(address);
        serve::asked_to_stop().await;
    }
    serving.stop().await;
    Ok(if options.exit { code } else { ExitCode::SUCCESS })
}

/// A folder that is deleted at the end, unless the visitor named it.
struct Folder {
    path: PathBuf,
    fresh: bool,
}

impl Folder {
    fn open(named: Option<PathBuf>) -> anyhow::Result<Self> {
        let fresh = named.is_none();
        let path = named.unwrap_or_else(|| {
            let id = patchbay_app::env::Env::system().ids.next().simple();
            std::env::temp_dir().join(format!("patchbay-demo-{id}"))
        });
        std::fs::create_dir_all(&path).with_context(|| format!("making the folder {}", path.display()))?;
        Ok(Self { path, fresh })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.fresh {
            // A leftover in the temporary folder does no harm.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

async fn bind(port: u16) -> anyhow::Result<TcpListener> {
    if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)).await {
        return Ok(listener);
    }
    TcpListener::bind(("127.0.0.1", 0))
        .await
        .context("listening on a loopback address")
}

/// The defaults, on this address and in this folder: SQLite, simulated platforms, pages open to this machine.
fn config(address: SocketAddr, folder: &Path, log: &str) -> anyhow::Result<Config> {
    let settings = [
        ("PATCHBAY__SERVER__LISTEN", address.to_string()),
        ("PATCHBAY__SERVER__FIRST_PARTY", "open".to_owned()),
        ("PATCHBAY__SERVER__ACTIVATE_AT_ONCE", "true".to_owned()),
        ("PATCHBAY__STORAGE__DIR", folder.display().to_string()),
        (
            "PATCHBAY__DATABASE__URL",
            format!("sqlite:{}", folder.join("patchbay.db").display()),
        ),
        ("PATCHBAY__LOG__FILTER", log.to_owned()),
    ];
    let environment = settings.into_iter().map(|(name, value)| (name.to_owned(), value));
    // No file: the demo is the same wherever it is started.
    Config::from_environment(environment, &providers::known()).map_err(|problems| anyhow::anyhow!("{problems}"))
}

/// The product team's own media host, in small.
async fn serve_media(video: Bytes) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0))
        .await
        .context("listening for media")?;
    let address = listener.local_addr()?;
    let handler = move || {
        let video = video.clone();
        async move { ([(header::CONTENT_TYPE, "video/mp4")], video) }
    };
    let router = Router::new().route("/sample.mp4", get(handler));
    let stop = tokio_util::sync::CancellationToken::new();
    // It lives as long as the process.
    drop(tokio::spawn(listen::serve(
        listener,
        router,
        None,
        Limits::default(),
        stop,
    )));
    Ok(address)
}
