//! The server in `node/`: Fastify and pg on two processes.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use sha2::{Digest, Sha256};
use tokio::{net::TcpStream, process::Child};

use crate::{
    debian::{self, Missing},
    ports::free_port,
    webhooks::{CLIENT_KEY, CLIENT_SECRET, PATH},
};

const FILES: [(&str, &str); 3] = [
    ("package.json", include_str!("../node/package.json")),
    ("package-lock.json", include_str!("../node/package-lock.json")),
    ("server.js", include_str!("../node/server.js")),
];

/// Longest wait for the server.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server. Gone when dropped: its processes end with the first of them.
pub struct Node {
    primary: Child,
    address: SocketAddr,
    version: String,
}

impl Node {
    /// Installs it if need be, and starts it on a database that has the tables.
    ///
    /// # Errors
    /// It cannot be installed or started.
    pub async fn start(database: &str) -> anyhow::Result<Self> {
        let (node, folder) = tokio::task::spawn_blocking(install).await??;
        let version = Command::new(&node).arg("--version").output()?;
        let port = free_port();
        let mut primary = tokio::process::Command::new(&node)
            .arg("server.js")
            .current_dir(folder)
            .env("NODE_ENV", "production")
            .env("PORT", port.to_string())
            .env("DATABASE_URL", database)
            .env("CLIENT_KEY", CLIENT_KEY)
            .env("CLIENT_SECRET", CLIENT_SECRET)
            .env("WEBHOOK_PATH", PATH)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("starting node")?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let started = Instant::now();
        while TcpStream::connect(address).await.is_err() {
            ensure!(primary.try_wait()?.is_none(), "the Node server has ended");
            ensure!(started.elapsed() < PATIENCE, "the Node server does not listen");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(Self {
            primary,
            address,
            version: String::from_utf8_lossy(&version.stdout).trim().to_owned(),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its first process.
    pub fn pid(&self) -> anyhow::Result<u32> {
        self.primary.id().context("the Node server has ended")
    }

    /// What it is.
    pub fn describe(&self) -> String {
        format!("Node {}, Fastify and pg as pinned, two processes", self.version)
    }
}

/// Where the program is, and a folder with the server and what it needs, outside the tree.
fn install() -> anyhow::Result<(PathBuf, PathBuf)> {
    let node = debian::program("node", &["nodejs", "npm"])?;
    let npm = debian::program("npm", &["nodejs", "npm"])?;
    let name = FILES
        .iter()
        .fold(Sha256::new(), |digest, (_, text)| digest.chain_update(text))
        .finalize();
    let cache = debian::cache()?;
    let folder = cache.join(format!("node-{}", hex::encode(&name[..8])));
    if !folder.is_dir() {
        // Whole under another name first: a folder of this name is complete.
        let building = tempfile::tempdir_in(&cache)?;
        for (name, text) in FILES {
            std::fs::write(building.path().join(name), text)?;
        }
        fetch(&npm, building.path())?;
        match std::fs::rename(building.path(), &folder) {
            Err(_) if folder.is_dir() => {}
            moved => moved?,
        }
    }
    Ok((node, folder))
}

fn fetch(npm: &Path, folder: &Path) -> anyhow::Result<()> {
    let output = Command::new(npm)
        .args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"])
        .current_dir(folder)
        .output()?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        Missing::new(&["fastify", "pg"], format!("npm ci: {told}"))
    );
    Ok(())
}
