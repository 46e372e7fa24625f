//! Clients of others upload through a line that is cut ten times, and the file is the same, byte for byte.
//!
//! `PATCHBAY_TEST_TUS_NODE` is a folder `node_modules` that has tus-js-client, `PATCHBAY_TEST_TUS_PYTHON` a Python that has tuspy
//! (`tests/run contract` installs both, and the store of [`S3`]); what is not set is skipped. Files have 64 MiB, or 1 GiB with `PATCHBAY_FAULTS=full`.

use std::{
    env,
    net::SocketAddr,
    path::Path,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use futures_util::StreamExt;
use patchbay_server::demo::sample::{self, Filler, SampleSpec};
use reqwest::Method;
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    process::Command,
};

use crate::harness::{Setup, World, s3::S3};

const CUTS: u64 = 10;

#[tokio::test]
async fn tus_js_client_ends_with_the_same_bytes_after_ten_cuts() {
    let Some(modules) = env::var_os("PATCHBAY_TEST_TUS_NODE") else {
        eprintln!("skipped: PATCHBAY_TEST_TUS_NODE is not set");
        return;
    };
    let mut tool = Command::new("node");
    tool.arg(script("upload.js")).env("NODE_PATH", modules);
    uploads_through_cuts("tus-js-client", Setup::default(), tool, |_| Vec::new()).await;
}

#[tokio::test]
async fn tus_js_client_ends_with_the_same_bytes_in_a_bucket() {
    let (Some(modules), Some(s3)) = (env::var_os("PATCHBAY_TEST_TUS_NODE"), S3::start().await) else {
        eprintln!("skipped: PATCHBAY_TEST_TUS_NODE or PATCHBAY_TEST_S3RVER is not set");
        return;
    };
    let mut tool = Command::new("node");
    tool.arg(script("upload.js")).env("NODE_PATH", modules);
    uploads_through_cuts("tus-js-client, S3", s3.keeps(Setup::default()), tool, |_| Vec::new()).await;
}

#[tokio::test]
async fn tuspy_ends_with_the_same_bytes_in_a_bucket() {
    let (Some(python), Some(s3)) = (env::var_os("PATCHBAY_TEST_TUS_PYTHON"), S3::start().await) else {
        eprintln!("skipped: PATCHBAY_TEST_TUS_PYTHON or PATCHBAY_TEST_S3RVER is not set");
        return;
    };
    let mut tool = Command::new(python);
    tool.arg(script("upload.py"));
    let more = |size: u64| vec![(size / 40).to_string()];
    uploads_through_cuts("tuspy, S3", s3.keeps(Setup::default()), tool, more).await;
}

#[tokio::test]
async fn tuspy_ends_with_the_same_bytes_after_ten_cuts() {
    for checksum in [false, true] {
        let Some(python) = env::var_os("PATCHBAY_TEST_TUS_PYTHON") else {
            eprintln!("skipped: PATCHBAY_TEST_TUS_PYTHON is not set");
            return;
        };
        let mut tool = Command::new(python);
        tool.arg(script("upload.py"));
        let name = if checksum { "tuspy with checksums" } else { "tuspy" };
        uploads_through_cuts(name, Setup::default(), tool, |size| {
            // Smaller than what passes between two cuts: with checksums, pieces count whole.
            let mut more = vec![(size / 40).to_string()];
            more.extend(checksum.then(|| "checksum".to_owned()));
            more
        })
        .await;
    }
}

async fn uploads_through_cuts(name: &str, setup: Setup, mut tool: Command, more: impl Fn(u64) -> Vec<String>) {
    let size: u64 = if env::var("PATCHBAY_FAULTS").as_deref() == Ok("full") {
        1 << 30
    } else {
        64 << 20
    };
    let setup = Setup {
        // The clients go by the real time.
        running: true,
        ..setup
    };
    let world = setup.build().await;
    let file = world.folder.path().join("clip.mp4");
    let sum = write_video(&file, size);
    let line = CutLine::start(world.serving.address, size / (CUTS + 1)).await;
    let output = tool
        .arg(format!("http://{}/api/media/uploads", line.address))
        .arg(world.api.key.as_deref().unwrap())
        .arg(&file)
        .args(more(size))
        .stderr(Stdio::inherit())
        .output()
        .await
        .unwrap();
    let url = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{name} gave up: {url}");
    let id = url.trim().rsplit('/').next().unwrap();
    let media = world.api.get(&format!("/api/media/{id}")).await.ok();
    assert_eq!(
        (media["sha256"].as_str(), media["size_bytes"].as_u64()),
        (Some(&*sum), Some(size))
    );
    assert_eq!(downloaded(&world, id).await, sum);
    assert_eq!(line.cuts.load(Ordering::Relaxed), CUTS);
    let passed = line.passed.load(Ordering::Relaxed);
    println!(
        "{name}: {size} bytes, {CUTS} cuts, {} bytes sent twice, sha256 {sum}",
        passed.saturating_sub(size)
    );
}

fn script(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tus").join(name)
}

/// Writes a video of any size. Gives its SHA-256.
fn write_video(path: &Path, size: u64) -> String {
    let spec = SampleSpec {
        seconds: 1,
        ..SampleSpec::default()
    };
    let mut file = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
    sample::write_padded(&spec, Filler::Seeded(7), size, &mut file).unwrap();
    drop(file);
    let mut sum = Sha256::new();
    let mut file = std::fs::File::open(path).unwrap();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match std::io::Read::read(&mut file, &mut buffer).unwrap() {
            0 => return hex::encode(sum.finalize()),
            read => sum.update(&buffer[..read]),
        }
    }
}

async fn downloaded(world: &World, id: &str) -> String {
    let request = world.api.request(Method::GET, &format!("/api/media/{id}/content"));
    let answer = request
        .timeout(std::time::Duration::from_mins(10))
        .send()
        .await
        .unwrap();
    let mut stream = answer.bytes_stream();
    let mut sum = Sha256::new();
    while let Some(piece) = stream.next().await {
        let piece: Bytes = piece.unwrap();
        sum.update(&piece);
    }
    hex::encode(sum.finalize())
}

/// A line that is cut each time that so many bytes have passed, [`CUTS`] times.
struct CutLine {
    address: SocketAddr,
    cuts: Arc<AtomicU64>,
    passed: Arc<AtomicU64>,
}

impl CutLine {
    async fn start(target: SocketAddr, every: u64) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let this = Self {
            address: listener.local_addr().unwrap(),
            cuts: Arc::default(),
            passed: Arc::default(),
        };
        let (cuts, passed) = (this.cuts.clone(), this.passed.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let host = TcpStream::connect(target).await.unwrap();
                tokio::spawn(carry(client, host, every, cuts.clone(), passed.clone()));
            }
        });
        this
    }
}

async fn carry(client: TcpStream, host: TcpStream, every: u64, cuts: Arc<AtomicU64>, passed: Arc<AtomicU64>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_host, mut to_host) = host.into_split();
    let up = async {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let Ok(read @ 1..) = from_client.read(&mut buffer).await else {
                return;
            };
            let before = passed.fetch_add(read as u64, Ordering::Relaxed);
            if to_host.write_all(&buffer[..read]).await.is_err() {
                return;
            }
            let cut = cuts.load(Ordering::Relaxed);
            if cut < CUTS && before + read as u64 >= (cut + 1) * every {
                cuts.fetch_add(1, Ordering::Relaxed);
                return;
            }
        }
    };
    let down = tokio::io::copy(&mut from_host, &mut to_client);
    // Whoever ends first closes both.
    tokio::select! {
        () = up => {}
        _ = down => {}
    }
}
