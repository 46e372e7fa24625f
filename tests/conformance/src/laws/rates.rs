//! The rates of the manifest are the platform's, and a post keeps to them.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use patchbay_core::{Bucket, BucketScope, HttpRequest, Manifest, Op};

use super::trial::{self, Ran, small};
use crate::{
    Case, Sample,
    driver::{Driver, Habits},
    law::{Breach, Found, Held, Law, hold, law},
    transport::{Sent, Transport},
    world::World,
};

pub(super) const LAWS: &[Law] = &[
    law!("rates::as_the_platform_counts", as_the_platform_counts,
        why: "the host lets through as many calls as the manifest says: more are refused by the platform, fewer make people wait",
        change: "src/manifest.rs, buckets and Op::bucket; or the simulator, which must refuse what the platform refuses"),
    law!("rates::kept_by_a_post", kept_by_a_post,
        why: "a post that asks more often than its bucket allows waits in the host's line, and makes the account's others wait",
        change: "src/publish.rs, advance: a longer wake_after"),
];

/// Calls of an op without a bucket, of which the platform must take all.
const FREE: u32 = 60;
/// Beyond this many calls a limit is not tried.
const MOST: u32 = 1_000;

/// The bucket that is full first when an op is called again and again.
fn tightest<'m>(manifest: &'m Manifest, op: &Op) -> Option<&'m Bucket> {
    let buckets = op.buckets.iter().filter_map(|name| manifest.bucket(name));
    buckets.min_by_key(|bucket| bucket.limit)
}

async fn as_the_platform_counts(case: &Case) -> Found {
    let provider = (case.provider)();
    let manifest = provider.manifest();
    let (mut tried, mut seen) = (0, BTreeMap::new());
    for sample in small(case) {
        let clean = trial::run(case, sample, Habits::default(), None).await?;
        for (call, sent) in clean.sent.iter().enumerate().filter(|(_, sent)| sent.of_post) {
            let Some(op) = manifest.op(&sent.request.op) else {
                continue;
            };
            if seen.insert(op.name, ()).is_some() {
                continue;
            }
            let (world, request) = reach(case, sample, call).await?;
            tried += usize::from(op_is_counted(&world, manifest, op, &request).await?);
        }
    }
    Ok(match tried {
        0 => Held::NotApplicable("no call of a sample can be repeated"),
        tried => Held::Tried(tried),
    })
}

/// Runs a sample until it has made this call. Gives the world and the call.
async fn reach(case: &Case, sample: &Sample, call: usize) -> Result<(World, HttpRequest), Breach> {
    let world = World::connected(case).await?;
    Driver::new(&world, sample, Habits::default()).run_to(call).await?;
    let sent = world.sent();
    let sent = sent.get(call).ok_or_else(|| Breach::new("the call is gone"))?;
    Ok((world, sent.request.clone()))
}

/// As many calls as the bucket holds are taken, and one more is refused. Without a bucket, many are taken.
async fn op_is_counted(world: &World, manifest: &Manifest, op: &Op, request: &HttpRequest) -> Result<bool, Breach> {
    let provider = world.provider();
    let transport = Transport::looking(world, &*provider);
    let (name, bucket) = (op.name, tightest(manifest, op));
    if bucket.is_some_and(|bucket| bucket.limit > MOST) {
        return Ok(false);
    }
    // What the run has taken is free again by then.
    world
        .advance(bucket.map_or(std::time::Duration::from_hours(1), |bucket| bucket.window))
        .await;
    world.keep_fresh().await?;
    for number in 1..=bucket.map_or(FREE, |bucket| bucket.limit) {
        let raw = transport.replay(request).await?;
        let is_taken = !world.platform.is_too_many(raw.status, &raw.body);
        match bucket {
            None => hold!(
                is_taken,
                "{name} has no bucket, and the platform says of call {number} at once that it is too many"
            ),
            Some(Bucket {
                name: bucket,
                limit,
                window,
                ..
            }) => hold!(
                is_taken,
                "the bucket {bucket} of {name} allows {limit} calls in {} s, and the platform says of call {number} that it \
                 is too many",
                window.as_secs()
            ),
        }
    }
    let Some(Bucket {
        name: bucket,
        limit,
        window,
        ..
    }) = bucket
    else {
        return Ok(true);
    };
    let raw = transport.replay(request).await?;
    hold!(
        world.platform.is_too_many(raw.status, &raw.body),
        "the bucket {bucket} of {name} allows {limit} calls in {} s, and the platform takes one more",
        window.as_secs()
    );
    world.advance(*window).await;
    world.keep_fresh().await?;
    let raw = transport.replay(request).await?;
    hold!(
        !world.platform.is_too_many(raw.status, &raw.body),
        "the bucket {bucket} of {name} is empty again after {} s, and to the platform that is too soon",
        window.as_secs()
    );
    Ok(true)
}

async fn kept_by_a_post(case: &Case) -> Found {
    let provider = (case.provider)();
    let manifest = provider.manifest();
    if manifest.buckets.is_empty() {
        return Ok(Held::NotApplicable("the manifest has no buckets"));
    }
    let mut tried = 0;
    for sample in small(case) {
        let ran = trial::run(case, sample, Habits::default(), None).await?;
        keeps_to(manifest, sample, &ran)?;
        // It looks most often where nothing happens.
        let world = World::connected(case).await?;
        world.platform.stall();
        let ran = trial::run_in(world, sample, Habits::default()).await?;
        keeps_to(manifest, sample, &ran)?;
        tried += 2;
    }
    Ok(Held::Tried(tried))
}

fn keeps_to(manifest: &Manifest, sample: &Sample, ran: &Ran) -> Result<(), Breach> {
    for bucket in &manifest.buckets {
        let takes = |sent: &&Sent| {
            manifest
                .op(&sent.request.op)
                .is_some_and(|op| op.buckets.contains(&bucket.name))
        };
        let times: Vec<_> = ran.sent.iter().filter(takes).map(|sent| sent.at).collect();
        let window = TimeDelta::from_std(bucket.window).unwrap_or(TimeDelta::MAX);
        // A call and the one that is `limit` calls later are never in one window.
        let limit = usize::try_from(bucket.limit).unwrap_or(usize::MAX);
        let first = times
            .iter()
            .zip(times.iter().skip(limit))
            .find(|(first, later)| **later - **first < window);
        let whose = match bucket.scope {
            BucketScope::Account => "an account",
            BucketScope::App => "the app",
        };
        hold!(
            first.is_none(),
            "{}: more than {limit} calls in {} s, which is what the bucket {} allows {whose}",
            sample.name,
            bucket.window.as_secs(),
            bucket.name
        );
    }
    Ok(())
}
