//! PULL_FROM_URL: fetches media from the host that the pull map names, over plain HTTP.
//!
//! No redirects, one hour on the simulator's clock, and a body that must arrive whole
//! (developers.tiktok.com/doc/content-posting-api-media-transfer-guide).

use std::sync::Arc;

use axum::http::header;
use chrono::TimeDelta;
use futures_util::StreamExt;
use patchbay_simkit::fault::{Subject, setting};
use sha2::{Digest, Sha256};
use tokio::sync::Notify;
use url::Url;

use crate::media::{PhotoScan, VideoScan};
use crate::post::{FailReason, Phase, Source};
use crate::world::World;

/// 4 GB for a video; the whole of a photo post stays under it too.
const MAX_BYTES: u64 = 4 << 30;

/// Starts the download of a post in the background; it ends with the simulator.
pub(crate) fn start(world: &Arc<World>, publish_id: String) {
    let world = Arc::clone(world);
    tokio::spawn(async move {
        let mut stop = world.stop.clone();
        tokio::select! {
            _ = stop.wait_for(|stopped| *stopped) => {}
            () = run(&world, &publish_id) => {}
        }
    });
}

struct Order {
    urls: Vec<String>,
    source: Source,
    names: Vec<String>,
    max_duration_sec: u32,
    abort: Arc<Notify>,
    failure: FailReason,
}

async fn run(world: &Arc<World>, publish_id: &str) {
    let Some(order) = order(world, publish_id) else {
        return;
    };
    let deadline = world.clock.now() + TimeDelta::hours(1);
    let work = async {
        hang(world, publish_id, &order.names).await;
        let _place = world.pulls.acquire().await.ok();
        fetch_all(world, publish_id, &order).await
    };
    let outcome = tokio::select! {
        // The one who aborts has set the new phase.
        () = order.abort.notified() => return,
        () = world.clock.sleep_until(deadline) => Err(order.failure),
        outcome = work => outcome,
    };
    let mut state = world.state();
    if state
        .post(publish_id)
        .is_some_and(|post| post.phase == Phase::Downloading)
    {
        match outcome {
            Ok(verdict) => world.begin_processing(&mut state, publish_id, verdict),
            Err(reason) => {
                if let Some(post) = state.post_mut(publish_id) {
                    world.fail_post(post, reason, world.clock.now());
                }
            }
        }
    }
    drop(state);
    world.progressed();
}

fn order(world: &World, publish_id: &str) -> Option<Order> {
    let state = world.state();
    let post = state.post(publish_id)?;
    let account = state.account(&post.open_id);
    let mut names = vec![post.open_id.clone()];
    names.extend(account.map(|account| account.username.clone()));
    Some(Order {
        urls: post.urls.clone(),
        source: post.source,
        names,
        max_duration_sec: account.map_or(u32::MAX, |account| account.max_video_post_duration_sec),
        abort: Arc::clone(&post.abort),
        failure: post.pull_failure(),
    })
}

/// A fault rule may keep the download from starting, until it is cleared.
async fn hang(world: &World, publish_id: &str, names: &[String]) {
    let hits = world.faults.strike(Subject {
        op: "pull",
        path: publish_id,
        accounts: names,
    });
    if let Some((rule, _)) = setting(&hits, "hang") {
        world.faults.until_cleared(rule).await;
    }
}

/// The verdict of the media checks, or why nothing could be fetched.
async fn fetch_all(world: &World, publish_id: &str, order: &Order) -> Result<Option<FailReason>, FailReason> {
    let mut verdict = None;
    let mut digests = Vec::new();
    let mut duration = 0;
    for url in &order.urls {
        let mut digest = Sha256::new();
        let mut video = VideoScan::default();
        let mut photo = PhotoScan::default();
        let fetched = fetch(world, publish_id, url, |bytes| {
            digest.update(bytes);
            match order.source {
                Source::Photos => photo.feed(bytes),
                Source::VideoFile | Source::VideoUrl => video.feed(bytes),
            }
        });
        if let Err(trouble) = fetched.await {
            tracing::debug!(trouble, "A simulated pull failed");
            return Err(order.failure);
        }
        digests.push(hex::encode(digest.finalize()));
        verdict = verdict.or(match order.source {
            Source::Photos => photo.verdict(),
            Source::VideoFile | Source::VideoUrl => video.verdict(order.max_duration_sec),
        });
        duration = video.duration_sec().unwrap_or(0);
    }
    if let Some(post) = world.state().post_mut(publish_id) {
        post.sha256 = digests;
        post.duration_sec = duration;
    }
    Ok(verdict)
}

async fn fetch(world: &World, publish_id: &str, url: &str, mut feed: impl FnMut(&[u8])) -> Result<(), &'static str> {
    let url = Url::parse(url).map_err(|_| "not a URL")?;
    let host = url.host_str().ok_or("no host")?;
    let address = world
        .switches()
        .pull_map
        .get(host)
        .copied()
        .ok_or("no such host in the pull map")?;
    let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
    let answer = world
        .client
        .get(format!("http://{address}{}{query}", url.path()))
        .header(header::HOST, host)
        .send()
        .await
        .map_err(|_| "no answer")?;
    if answer.status() != reqwest::StatusCode::OK {
        return Err("not 200");
    }
    let mut stream = answer.bytes_stream();
    let mut total = 0u64;
    while let Some(part) = stream.next().await {
        let part = part.map_err(|_| "ended early")?;
        total += part.len() as u64;
        if total > MAX_BYTES {
            return Err("too large");
        }
        feed(&part);
        if let Some(post) = world.state().post_mut(publish_id) {
            post.bytes += part.len() as u64;
        }
    }
    if total == 0 { Err("empty") } else { Ok(()) }
}
