//! The host process under measurement, and a client of it.

use std::{
    fs::File,
    net::SocketAddr,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use patchbay_simkit::outbound;
use patchbay_simulator_tiktok::Running;
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use tokio_util::io::ReaderStream;

use crate::binary;

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(300);

/// A running host.
pub struct Host {
    child: Child,
    /// Ends with it.
    _workers: Option<Child>,
    http: reqwest::Client,
    url: String,
    address: SocketAddr,
}

/// What a host is started with, besides what is the same for all.
pub struct Settings<'a> {
    /// Where it listens on the loopback interface.
    pub port: u16,
    /// A folder for its files and its log.
    pub dir: &'a Path,
    /// URL of its database.
    pub database: String,
    /// Id and secret of its app.
    pub client: (&'a str, &'a str),
    /// Whether a process beside it does the work.
    pub workers_apart: bool,
    /// More variables.
    pub more: Vec<(&'static str, String)>,
}

impl Settings<'_> {
    fn spawn(&self, arguments: &[&str]) -> anyhow::Result<Child> {
        let log = self.dir.join("host.log");
        Command::new(binary::patchbay())
            .args(arguments)
            .current_dir(self.dir)
            .env_clear()
            .env("PATCHBAY__SERVER__LISTEN", format!("127.0.0.1:{}", self.port))
            .env("PATCHBAY__STORAGE__DIR", self.dir.join("data"))
            .env("DATABASE_URL", &self.database)
            .env("PATCHBAY__LOG__FILTER", "error")
            .env("TIKTOK_CLIENT_KEY", self.client.0)
            .env("TIKTOK_CLIENT_SECRET", self.client.1)
            .envs(self.more.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stderr(File::options().create(true).append(true).open(log)?)
            .kill_on_drop(true)
            .spawn()
            .context("starting patchbay")
    }
}

impl Host {
    /// Starts one that reaches TikTok at the simulator.
    pub async fn with_simulator(
        port: u16,
        dir: &Path,
        tiktok: &Running,
        client: (&str, &str),
        mut more: Vec<(&'static str, String)>,
    ) -> anyhow::Result<Self> {
        let hosts: Vec<_> = tiktok
            .hosts()
            .iter()
            .map(|(host, address)| format!("{host}={address}"))
            .collect();
        more.extend([
            ("PATCHBAY__SERVER__FIRST_PARTY", "open".to_owned()),
            ("PATCHBAY__PROVIDERS__TIKTOK__ENVIRONMENT", "simulator".to_owned()),
            ("PATCHBAY__PROVIDERS__TIKTOK__SIMULATOR_HOSTS", hosts.join(",")),
        ]);
        Self::start(Settings {
            port,
            dir,
            database: format!("sqlite:{}", dir.join("patchbay.db").display()),
            client,
            workers_apart: false,
            more,
        })
        .await
    }

    /// Starts one, and waits until it is ready.
    pub async fn start(settings: Settings<'_>) -> anyhow::Result<Self> {
        let Settings { port, dir, .. } = settings;
        let log = dir.join("host.log");
        let mut child = settings.spawn(if settings.workers_apart {
            &["serve", "--api-only"]
        } else {
            &["serve"]
        })?;
        let http = outbound::client(PATIENCE)?;
        let url = format!("http://127.0.0.1:{port}");
        let started = Instant::now();
        while !http
            .get(format!("{url}/readyz"))
            .send()
            .await
            .is_ok_and(|answer| answer.status().is_success())
        {
            if let Some(status) = child.try_wait()? {
                let told = std::fs::read_to_string(&log).unwrap_or_default();
                bail!("the host ended with {status}: {told}");
            }
            ensure!(started.elapsed() < PATIENCE, "the host does not become ready");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let address = ([127, 0, 0, 1], port).into();
        // After the host, which makes the tables.
        let workers = settings
            .workers_apart
            .then(|| settings.spawn(&["worker"]))
            .transpose()?;
        Ok(Self {
            child,
            _workers: workers,
            http,
            url,
            address,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address for clients.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Waits until so many components serve.
    pub async fn serves_components(&self, number: usize) -> anyhow::Result<()> {
        let line = format!("patchbay_components{{state=\"serving\"}} {number}");
        let started = Instant::now();
        loop {
            let metrics = self
                .http
                .get(format!("{}/metrics", self.url))
                .send()
                .await?
                .text()
                .await?;
            if metrics.lines().any(|told| told == line) {
                return Ok(());
            }
            ensure!(started.elapsed() < PATIENCE, "the components are not taken up");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Its process.
    pub fn pid(&self) -> anyhow::Result<u32> {
        self.child.id().context("the host has ended")
    }

    /// Ends it, and waits until it is gone.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.child.kill().await?;
        Ok(())
    }

    /// Bytes of resident memory: now (`VmRSS`), or at most so far (`VmHWM`).
    pub fn memory(&self, field: &str) -> anyhow::Result<u64> {
        let pid = self.pid()?;
        let status =
            std::fs::read_to_string(format!("/proc/{pid}/status")).context("reading /proc: this needs Linux")?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        let kib: u64 = line
            .and_then(|line| line.split_whitespace().next()?.parse().ok())
            .context("no such field")?;
        Ok(kib * 1024)
    }

    /// Connects the account of this name. Gives its id.
    pub async fn connect(&self, username: &str) -> anyhow::Result<String> {
        let started = self
            .http
            .get(format!("{}/api/platforms/tiktok/authorize", self.url))
            .send()
            .await?;
        let (page, cookie) = (header(&started, "location")?, header(&started, "set-cookie")?);
        let url = reqwest::Url::parse(&page)?;
        let mut form: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        let scopes = form
            .iter()
            .find(|(name, _)| name == "scope")
            .map(|(_, value)| value.clone())
            .unwrap_or_default();
        form.extend(scopes.split(',').map(|scope| ("granted".to_owned(), scope.to_owned())));
        form.push(("account".to_owned(), username.to_owned()));
        form.push(("decision".to_owned(), "allow".to_owned()));
        let decided = self
            .http
            .post(url.join("/v2/auth/authorize/")?)
            .form(&form)
            .send()
            .await?;
        let callback = self
            .http
            .get(header(&decided, "location")?)
            .header("cookie", cookie)
            .send()
            .await?;
        ensure!(
            header(&callback, "location")?.contains("success="),
            "the account was not connected"
        );
        let status = self.get("/api/platforms/tiktok/status").await?;
        Ok(status["accountId"].as_str().context("no account id")?.to_owned())
    }

    /// Uploads a file to the host. Gives what the host says of it.
    pub async fn upload(&self, file: &Path) -> anyhow::Result<Value> {
        let file = tokio::fs::File::open(file).await?;
        let length = file.metadata().await?.len();
        let request = self
            .http
            .post(format!("{}/api/media", self.url))
            .header("content-type", "video/mp4")
            .header("content-length", length)
            .body(reqwest::Body::wrap_stream(ReaderStream::with_capacity(
                file,
                256 * 1024,
            )));
        answer(request.send().await?).await
    }

    /// Publishes a stored file, and waits until it is published.
    pub async fn publish(&self, account: &str, title: &str, media: &str) -> anyhow::Result<Value> {
        let wanted = json!({
            "account_id": account,
            "kind": "video",
            "title": title,
            "media": [{ "id": media }],
            "allow_duplicate": true,
            "options": { "privacy_level": "PUBLIC_TO_EVERYONE" },
        });
        let request = self
            .http
            .post(format!("{}/api/platforms/tiktok/posts", self.url))
            .json(&wanted);
        let post = answer(request.send().await?).await?;
        let id = post["id"].as_str().context("no post id")?;
        let started = Instant::now();
        loop {
            let post = self.get(&format!("/api/platforms/tiktok/posts/{id}")).await?;
            match post["status"].as_str() {
                Some("published") => return Ok(post),
                Some("failed" | "unconfirmed" | "cancelled") => bail!("the post has ended otherwise: {post}"),
                _ => ensure!(
                    started.elapsed() < PATIENCE,
                    "the post is not published in time: {post}"
                ),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Sends a request of the API, with a key or as a browser of this machine. Gives the answer.
    pub async fn post(&self, path: &str, key: Option<&str>, body: &Value) -> anyhow::Result<Value> {
        let mut request = self.http.post(format!("{}{path}", self.url));
        if !body.is_null() {
            request = request.json(body);
        }
        if let Some(key) = key {
            request = request.bearer_auth(key);
        }
        answer(request.send().await?).await
    }

    async fn get(&self, path: &str) -> anyhow::Result<Value> {
        answer(self.http.get(format!("{}{path}", self.url)).send().await?).await
    }
}

/// A header of an answer, which must be there.
pub fn header(answer: &reqwest::Response, name: &str) -> anyhow::Result<String> {
    let value = answer
        .headers()
        .get(name)
        .with_context(|| format!("{} without {name}", answer.status()))?;
    Ok(value.to_str()?.to_owned())
}

/// The body of an answer, which must be a success.
pub async fn answer(response: reqwest::Response) -> anyhow::Result<Value> {
    let status = response.status();
    let text = response.text().await?;
    ensure!(status.is_success(), "{status}: {text}");
    Ok(serde_json::from_str(&text)?)
}
