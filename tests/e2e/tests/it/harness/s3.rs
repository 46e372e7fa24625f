//! An S3-compatible store of others, s3rver, on loopback.

use std::{env, path::Path};

use patchbay_rig::{host::free_port, until};
use tempfile::TempDir;
use tokio::{
    net::TcpStream,
    process::{Child, Command},
};

use super::Setup;

const BUCKET: &str = "patchbay";
/// Ports to try. Somebody else may take one before it listens.
const TRIES: usize = 5;

pub struct S3 {
    pub endpoint: String,
    _running: Child,
    _folder: TempDir,
}

impl S3 {
    /// Starts one. `PATCHBAY_TEST_S3RVER` is a folder `node_modules` that has it; without it tests are skipped.
    pub async fn start() -> Option<Self> {
        let Some(modules) = env::var_os("PATCHBAY_TEST_S3RVER") else {
            eprintln!("skipped: PATCHBAY_TEST_S3RVER is not set");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let server = Path::new(&modules).join("s3rver/bin/s3rver.js");
        for _ in 0..TRIES {
            let port = free_port();
            let mut running = Command::new("node")
                .arg(&server)
                .args(["--silent", "--address", "127.0.0.1", "--configure-bucket", BUCKET])
                .arg("--port")
                .arg(port.to_string())
                .arg("--directory")
                .arg(folder.path())
                .kill_on_drop(true)
                .spawn()
                .unwrap();
            let listens = until("s3rver listens, or has ended", async || {
                let ended = running.try_wait().unwrap().is_some();
                (ended || TcpStream::connect(("127.0.0.1", port)).await.is_ok()).then_some(!ended)
            });
            if listens.await {
                return Some(Self {
                    endpoint: format!("http://127.0.0.1:{port}"),
                    _running: running,
                    _folder: folder,
                });
            }
        }
        panic!("s3rver does not listen");
    }

    /// Lets a host keep its media there.
    pub fn keeps(&self, setup: Setup) -> Setup {
        kept_at(&self.endpoint, setup)
    }
}

/// Lets a host keep its media at an address.
pub fn kept_at(endpoint: &str, setup: Setup) -> Setup {
    setup
        .set("PATCHBAY__STORAGE__KIND", "s3")
        .set("PATCHBAY__STORAGE__S3_ENDPOINT", endpoint)
        .set("PATCHBAY__STORAGE__S3_BUCKET", BUCKET)
        .set("PATCHBAY__STORAGE__S3_PREFIX", "media")
        .set("PATCHBAY__STORAGE__S3_ACCESS_KEY_ID", "S3RVER")
        .set("PATCHBAY__STORAGE__S3_SECRET_ACCESS_KEY", "S3RVER")
}
