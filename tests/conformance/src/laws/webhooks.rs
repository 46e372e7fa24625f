//! Webhooks: genuine, in any order, and whatever is in them.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use patchbay_core::{IncomingEvent, PostId, Provider, ProviderError, SignedPart, WebhookRequest};
use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use uuid::Uuid;

use super::trial;
use crate::{
    Case, Sample,
    built::component,
    driver::{Driver, Habits},
    law::{Breach, Found, Held, Law, hold, law},
    signature::verify,
    world::{CLIENT_ID, CLIENT_SECRET, Received, World, guarded},
};

pub(super) const LAWS: &[Law] = &[
    law!("webhooks::genuine", genuine,
        why: "a scheme that the platform does not sign by refuses all of its webhooks",
        change: "src/webhook.rs, WebhookSource::auth"),
    law!("webhooks::forged", forged,
        why: "a signature that does not cover the whole body lets anyone write events",
        change: "src/webhook.rs, auth: `signed` holds the body"),
    law!("webhooks::stale", stale,
        why: "a webhook that was overheard must not work for ever",
        change: "src/webhook.rs, auth: `signed` holds the timestamp where the platform sends one; `tolerance` is minutes"),
    law!("webhooks::understood", understood,
        why: "what cannot be read becomes a dead letter that somebody has to look at",
        change: "src/webhook.rs, WebhookSource::parse"),
    law!("webhooks::same_event_same_key", same_event_same_key,
        why: "webhooks come at least once: the key is what makes the second one harmless",
        change: "src/webhook.rs, parse: dedupe_key from the event's own ids, and from nothing else"),
    law!("webhooks::other_event_other_key", other_event_other_key,
        why: "a second event under a key that is known is taken for the first one, and is lost",
        change: "src/webhook.rs, parse: dedupe_key from all that tells two events apart: what it is, of which post, and when"),
    law!("webhooks::any_order", any_order,
        why: "webhooks come in any order, and each is parsed alone, by any host",
        change: "src/webhook.rs, parse: pure, without memory"),
    law!("webhooks::arbitrary_bytes", arbitrary_bytes,
        why: "a body that makes parse panic takes a worker with it",
        change: "src/webhook.rs, parse: no unwrap, no indexing on what came"),
];

const NONE: Held = Held::NotApplicable("there is no WebhookSource");
/// A scheme with a timestamp must not take a webhook that is older.
const STALE_AFTER: TimeDelta = TimeDelta::hours(1);

/// Reads a body with a provider, as a worker would.
pub(crate) async fn parse(
    provider: &dyn Provider,
    body: Vec<u8>,
    received_at: DateTime<Utc>,
) -> Result<Result<Vec<IncomingEvent>, ProviderError>, Breach> {
    let Some(source) = provider.webhooks() else {
        return Ok(Ok(Vec::new()));
    };
    let raw = WebhookRequest {
        scheme: source
            .auth()
            .schemes
            .first()
            .map(|scheme| scheme.name.to_string())
            .unwrap_or_default(),
        body,
        received_at,
        client_id: CLIENT_ID.to_owned(),
    };
    guarded(source.parse(&raw)).await
}

/// What the simulator sends while it takes the samples.
async fn deliveries(case: &Case) -> Result<Vec<Received>, Breach> {
    let mut all = Vec::new();
    for sample in trial::small(case) {
        all.extend(
            trial::run(case, sample, Habits::default(), None)
                .await?
                .world
                .received(),
        );
    }
    hold!(
        !all.is_empty(),
        "there is a WebhookSource, and the simulator sends no webhook for any sample"
    );
    Ok(all)
}

/// Bodies of all webhooks that are at hand.
async fn bodies(case: &Case) -> Result<Vec<(Vec<u8>, DateTime<Utc>)>, Breach> {
    let sent = deliveries(case).await?;
    let at = sent.first().map_or(DateTime::UNIX_EPOCH, |first| first.at);
    let mut all: Vec<_> = sent.into_iter().map(|webhook| (webhook.body, webhook.at)).collect();
    all.extend(case.webhooks.iter().map(|body| (body.clone(), at)));
    all.sort();
    all.dedup();
    Ok(all)
}

async fn genuine(case: &Case) -> Found {
    let provider = (case.provider)();
    let Some(source) = provider.webhooks() else {
        return Ok(NONE);
    };
    let sent = deliveries(case).await?;
    for webhook in &sent {
        let names: Vec<_> = webhook.headers.iter().map(|(name, _)| name).collect();
        hold!(
            verify(&source.auth(), webhook, CLIENT_SECRET, webhook.at).is_some(),
            "a webhook of the simulator does not verify; it has the headers {names:?}, the schemes are {:?}",
            source.auth().schemes
        );
    }
    Ok(Held::Tried(sent.len()))
}

async fn forged(case: &Case) -> Found {
    let provider = (case.provider)();
    let Some(source) = provider.webhooks() else {
        return Ok(NONE);
    };
    let (auth, mut tried) = (source.auth(), 0);
    for webhook in deliveries(case).await?.into_iter().take(3) {
        let holds = |webhook: &Received, secret: &str| verify(&auth, webhook, secret, webhook.at).is_some();
        hold!(
            !holds(&webhook, "another-secret"),
            "a webhook verifies under another secret"
        );
        for bit in (0..webhook.body.len() * 8).step_by(7) {
            let mut changed = webhook.clone();
            changed.body[bit / 8] ^= 1 << (bit % 8);
            hold!(
                !holds(&changed, CLIENT_SECRET),
                "a webhook verifies with bit {bit} of its body flipped"
            );
            tried += 1;
        }
        let mut longer = webhook.clone();
        longer.body.push(b' ');
        hold!(!holds(&longer, CLIENT_SECRET), "a webhook verifies with a byte more");
        let mut bare = webhook.clone();
        bare.headers
            .retain(|(name, _)| auth.schemes.iter().all(|scheme| scheme.header != *name));
        hold!(!holds(&bare, CLIENT_SECRET), "a webhook verifies without a signature");
        tried += 3;
    }
    Ok(Held::Tried(tried))
}

async fn stale(case: &Case) -> Found {
    let provider = (case.provider)();
    let Some(source) = provider.webhooks() else {
        return Ok(NONE);
    };
    let auth = source.auth();
    if !auth
        .schemes
        .iter()
        .any(|scheme| scheme.signed.contains(&SignedPart::Timestamp))
    {
        let named = auth
            .schemes
            .iter()
            .any(|scheme| matches!(scheme.format, patchbay_core::SignatureFormat::TimestampAndMac { .. }));
        hold!(
            !named,
            "the header has a timestamp, and the signature does not cover it"
        );
        return Ok(Held::NotApplicable("no scheme has a timestamp"));
    }
    let sent = deliveries(case).await?;
    for webhook in &sent {
        for shift in [STALE_AFTER, -STALE_AFTER] {
            let hours = shift.num_hours();
            hold!(
                verify(&auth, webhook, CLIENT_SECRET, webhook.at + shift).is_none(),
                "a webhook verifies {hours} h from its time"
            );
        }
    }
    Ok(Held::Tried(sent.len() * 2))
}

async fn understood(case: &Case) -> Found {
    let provider = (case.provider)();
    if provider.webhooks().is_none() {
        return Ok(NONE);
    }
    let bodies = bodies(case).await?;
    for (body, at) in &bodies {
        let text = String::from_utf8_lossy(body).into_owned();
        let events = parse(&*provider, body.clone(), *at).await?;
        let events = events.map_err(|error| Breach(format!("parse refuses {text}: {error}")))?;
        hold!(!events.is_empty(), "parse finds no event in {text}");
        for event in events {
            hold!(
                !event.name.is_empty() && !event.dedupe_key.is_empty(),
                "an event of {text} has no name or key"
            );
        }
    }
    Ok(Held::Tried(bodies.len()))
}

async fn same_event_same_key(case: &Case) -> Found {
    let provider = (case.provider)();
    if provider.webhooks().is_none() {
        return Ok(NONE);
    }
    let bodies = bodies(case).await?;
    for (body, at) in &bodies {
        let keys = async |at: DateTime<Utc>| -> Result<Vec<String>, Breach> {
            let fresh = (case.provider)();
            let events = parse(&*fresh, body.clone(), at).await?.unwrap_or_default();
            Ok(events.into_iter().map(|event| event.dedupe_key).collect())
        };
        let (first, later) = (keys(*at).await?, keys(*at + TimeDelta::hours(3)).await?);
        hold!(
            first == later,
            "the same body has the keys {first:?} and, three hours later, {later:?}"
        );
    }
    Ok(Held::Tried(bodies.len()))
}

async fn other_event_other_key(case: &Case) -> Found {
    let provider = (case.provider)();
    if provider.webhooks().is_none() {
        return Ok(NONE);
    }
    let mut tried = 0;
    for sample in trial::small(case) {
        let sent = deliveries_of_two(case, sample).await?;
        let documented = case.webhooks.iter().map(|body| (body.clone(), DateTime::UNIX_EPOCH));
        // The same body is the same event.
        let bodies: BTreeMap<_, _> = documented.chain(sent).collect();
        let mut owners: BTreeMap<String, &[u8]> = BTreeMap::new();
        for (body, at) in &bodies {
            let events = parse(&*provider, body.clone(), *at).await?.unwrap_or_default();
            for key in events.into_iter().map(|event| event.dedupe_key) {
                if let Some(other) = owners.insert(key.clone(), body) {
                    let (a, b) = (String::from_utf8_lossy(other), String::from_utf8_lossy(body));
                    return Err(Breach(format!("two events have the key {key:?}: {a} and {b}")));
                }
            }
        }
        tried += bodies.len();
    }
    Ok(Held::Tried(tried))
}

/// What the simulator sends about two posts that are alike, made one after the other.
async fn deliveries_of_two(case: &Case, sample: &Sample) -> Result<Vec<(Vec<u8>, DateTime<Utc>)>, Breach> {
    let world = World::connected(case).await?;
    for id in [3, 4] {
        let mut sample = sample.clone();
        sample.post.id = PostId::from_uuid(Uuid::from_u128(id));
        let ran = Driver::new(&world, &sample, Habits::default()).run().await;
        ran.map_err(|breach| Breach(format!("{}: {breach}", sample.name)))?;
    }
    // What the platform still works on comes to its end.
    world.advance(Duration::from_hours(2)).await;
    Ok(world
        .received()
        .into_iter()
        .map(|webhook| (webhook.body, webhook.at))
        .collect())
}

async fn any_order(case: &Case) -> Found {
    let provider = (case.provider)();
    if provider.webhooks().is_none() {
        return Ok(NONE);
    }
    let bodies = bodies(case).await?;
    let mut reference: Option<BTreeMap<Vec<u8>, String>> = None;
    let mut orders = vec![bodies.clone(), bodies.iter().rev().cloned().collect()];
    for turn in 1..bodies.len().min(6) {
        let mut order = bodies.clone();
        order.rotate_left(turn);
        orders.push(order);
    }
    let tried = orders.len();
    for order in orders {
        // One instance for the whole order: what it remembers would show.
        let provider = (case.provider)();
        let mut meaning = BTreeMap::new();
        for (body, at) in order {
            let events = parse(&*provider, body.clone(), at).await?;
            meaning.insert(body, format!("{:?}", events.map_err(|error| error.to_string())));
        }
        match &reference {
            None => reference = Some(meaning),
            Some(first) => {
                let differs = meaning.iter().find(|(body, events)| first.get(*body) != Some(events));
                if let Some((body, _)) = differs {
                    let text = String::from_utf8_lossy(body);
                    return Err(Breach(format!("in another order parse reads otherwise: {text}")));
                }
            }
        }
    }
    Ok(Held::Tried(tried))
}

async fn arbitrary_bytes(case: &Case) -> Found {
    const CASES: u32 = 400;
    let provider = (case.provider)();
    if provider.webhooks().is_none() {
        return Ok(NONE);
    }
    let bodies: Vec<Vec<u8>> = bodies(case).await?.into_iter().map(|(body, _)| body).collect();
    let seed = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let config = Config {
        failure_persistence: None,
        ..Config::with_cases(CASES)
    };
    let mut runner = TestRunner::new_with_rng(config, seed);
    let noise = proptest::collection::vec(any::<u8>(), 0..200);
    let damage = (
        0..bodies.len().max(1),
        any::<proptest::sample::Index>(),
        any::<proptest::sample::Index>(),
        0..5_u8,
    );
    let inputs = (noise, damage, any::<bool>());
    let outcome = runner.run(&inputs, |(noise, (which, at, to, how), plain)| {
        let body = match bodies.get(which) {
            Some(body) if !plain && !body.is_empty() => {
                damaged(body, at.index(body.len()), to.index(body.len()), how, &noise)
            }
            _ => noise,
        };
        let text = String::from_utf8_lossy(&body).into_owned();
        let parsed = at_once(parse(&*provider, body, DateTime::UNIX_EPOCH));
        match parsed {
            Some(Ok(_)) => Ok(()),
            Some(Err(breach)) => Err(TestCaseError::fail(format!("{breach}, on {text:?}"))),
            None => Err(TestCaseError::fail("parse waits for something: it must be pure")),
        }
    });
    match outcome {
        Ok(()) => Ok(Held::Tried(CASES as usize)),
        Err(error) => Err(Breach(error.to_string())),
    }
}

/// Runs what may wait for nothing. The runtime's share for one task is not asked for, since thousands of bodies are one. A
/// component lets go of its thread at ticks of a clock, and may go on in another one: that takes time, and is no waiting.
fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    const PATIENCE: Duration = Duration::from_secs(10);
    let mut future = std::pin::pin!(tokio::task::unconstrained(future));
    let began = Instant::now();
    loop {
        let done = futures_util::FutureExt::now_or_never(future.as_mut());
        if done.is_some() || component().is_none() || began.elapsed() > PATIENCE {
            return done;
        }
        std::thread::yield_now();
    }
}

/// A real body, damaged in one of the ways in which bodies are.
fn damaged(body: &[u8], at: usize, to: usize, how: u8, noise: &[u8]) -> Vec<u8> {
    let (start, end) = (at.min(to), at.max(to));
    match how {
        0 => body[..at].to_vec(),
        1 => [&body[..start], &body[end..]].concat(),
        2 => [&body[..at], noise, &body[at..]].concat(),
        3 => {
            // Another type in the place of a value.
            let text = String::from_utf8_lossy(body).into_owned();
            let values = ["null", "[]", "{}", "-1", "1e400", "\"\""];
            let value = values[to % values.len()];
            match serde_json::from_str(&text) {
                Ok(serde_json::Value::Object(mut fields)) if !fields.is_empty() => {
                    let name = fields.keys().nth(at % fields.len()).cloned().unwrap_or_default();
                    fields.insert(name, serde_json::from_str(value).unwrap_or(serde_json::Value::Null));
                    serde_json::Value::Object(fields).to_string().into_bytes()
                }
                _ => text.into_bytes(),
            }
        }
        _ => {
            let mut body = body.to_vec();
            body[at] ^= 1 << (to % 8);
            body
        }
    }
}
