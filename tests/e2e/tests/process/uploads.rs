//! Uploads to a host that dies, and to one whose memory is watched.
//!
//! Files have 256 MiB, or 4 GiB with `PATCHBAY_FAULTS=full`.

use std::{
    env, io,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use patchbay_rig::{Api, Database, World, on_postgres, until, world::video_bytes};
use patchbay_server::demo::sample::{self, Filler, SampleSpec};
use patchbay_simulator_tiktok::simkit::outbound;
use reqwest::{Method, RequestBuilder};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

const STEP: usize = patchbay_app::files::STEP as usize;
const UPLOADS: &str = "/api/media/uploads";

fn tus(api: &Api, method: Method, path: &str) -> RequestBuilder {
    api.request(method, path).header("tus-resumable", "1.0.0")
}

async fn begun(api: &Api, size: u64) -> String {
    let begin = tus(api, Method::POST, UPLOADS).header("upload-length", size);
    api.send(begin).await.unwrap().header("location")
}

async fn offset(api: &Api, path: &str) -> usize {
    let answer = api.send(tus(api, Method::HEAD, path)).await.unwrap();
    assert_eq!(answer.status, 200);
    answer.header("upload-offset").parse().unwrap()
}

fn patch(api: &Api, path: &str, offset: usize, body: impl Into<reqwest::Body>) -> RequestBuilder {
    tus(api, Method::PATCH, path)
        .header("content-type", "application/offset+octet-stream")
        .header("upload-offset", offset)
        .body(body)
}

async fn a_host_killed_in_an_upload_keeps_all_but_the_last_step(world: World) {
    let (host, api) = world.start().await;
    let video = video_bytes(5 * STEP as u64 + 17, 3);
    let path = begun(&api, video.len() as u64).await;
    // Three and a half steps come, and then nothing: the request is still open when the host dies.
    let sent = 3 * STEP + STEP / 2;
    let first = Bytes::copy_from_slice(&video[..sent]);
    let open = stream::iter([Ok::<_, io::Error>(first)]).chain(stream::pending());
    let request = patch(&api, &path, 0, reqwest::Body::wrap_stream(open));
    let cut = tokio::spawn(request.send());
    until("three steps are durable", async || {
        (offset(&api, &path).await == 3 * STEP).then_some(())
    })
    .await;
    host.kill().await;
    assert!(cut.await.unwrap().is_err());

    let _host = world.program.serve().await;
    let at = offset(&api, &path).await;
    assert_eq!(at, 3 * STEP);
    // The right to write is the dead host's for some seconds, as long as nobody can know that it is dead.
    let began = Instant::now();
    let last = until("the upload goes on", async || {
        let rest = Bytes::copy_from_slice(&video[at..]);
        // A refusal comes before the bytes are read, and some clients hear of it only that the line is closed.
        let answer = api.send(patch(&api, &path, at, rest)).await.ok()?;
        (answer.status != 423).then_some(answer)
    })
    .await;
    assert_eq!(last.status, 204, "{last:?}");
    let media = api
        .get(&format!("/api/media/{}", last.header("patchbay-media-id")))
        .await
        .ok();
    assert_eq!(media["sha256"], hex::encode(Sha256::digest(&video)));
    println!("{} bytes sent twice, {:?} until it went on", sent - at, began.elapsed());
}

#[tokio::test]
async fn r06_a_host_killed_in_an_upload_keeps_all_but_the_last_step_on_sqlite() {
    a_host_killed_in_an_upload_keeps_all_but_the_last_step(World::on_sqlite().await).await;
}

#[tokio::test]
async fn r06_a_host_killed_in_an_upload_keeps_all_but_the_last_step_on_postgres() {
    on_postgres(async |database: Database| {
        a_host_killed_in_an_upload_keeps_all_but_the_last_step(World::on(database).await).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_flat_however_large_an_upload_is() {
    let size: u64 = if env::var("PATCHBAY_FAULTS").as_deref() == Ok("full") {
        4 << 30
    } else {
        256 << 20
    };
    let world = World::on_sqlite().await;
    let (host, api) = world.start().await;
    // What a first upload needs anyhow.
    api.upload(video_bytes(STEP as u64, 1)).await;
    let before = peak_memory(host.pid());
    let path = begun(&api, size).await;
    let (video, sum) = video_of(size);
    let began = Instant::now();
    // The answer comes when all bytes have gone.
    let client = outbound::client(Duration::from_hours(1)).unwrap();
    let request = patch(&api, &path, 0, reqwest::Body::wrap_stream(video));
    let answer = client.execute(request.build().unwrap()).await.unwrap();
    assert_eq!(answer.status(), 204, "{answer:?}");
    let took = began.elapsed();
    let id = path.rsplit('/').next().unwrap();
    let media = api.get(&format!("/api/media/{id}")).await.ok();
    assert_eq!(media["sha256"], sum.await.unwrap());
    let after = peak_memory(host.pid());
    println!(
        "{size} bytes in {took:?}: peak memory from {} to {} MiB",
        before >> 20,
        after >> 20
    );
    assert!(after < before + (64 << 20), "{before} before, {after} after");
}

/// Most memory that a process has had, in bytes.
fn peak_memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// A video of any size as it is made, and its SHA-256 at the end.
fn video_of(
    size: u64,
) -> (
    impl futures_util::Stream<Item = io::Result<Bytes>>,
    tokio::task::JoinHandle<String>,
) {
    let (sender, receiver) = mpsc::channel(8);
    let sum = tokio::task::spawn_blocking(move || {
        let spec = SampleSpec {
            seconds: 1,
            ..SampleSpec::default()
        };
        let mut out = io::BufWriter::with_capacity(256 * 1024, Pipe(sender, Sha256::new()));
        sample::write_padded(&spec, Filler::Seeded(5), size, &mut out).unwrap();
        let Pipe(_, sum) = out.into_inner().unwrap();
        hex::encode(sum.finalize())
    });
    let video = stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|bytes| (Ok(bytes), receiver))
    });
    (video, sum)
}

#[derive(Debug)]
struct Pipe(mpsc::Sender<Bytes>, Sha256);

impl io::Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.1.update(bytes);
        self.0
            .blocking_send(Bytes::copy_from_slice(bytes))
            .map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
