//! A small TikTok that takes chunks and fails at random, and a small host that obeys the contract: whatever goes wrong
//! on the way, at most one upload ever becomes complete, and the provider comes to an end.

use std::sync::Mutex;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use patchbay_core::{
    Body, Checkpoint, Ctx, Effect, ErrorKind, HttpRequest, HttpResponse, HttpTransport, Manifest, PostMode, Progress,
    Provider, ProviderError, Reconciled, TransportError,
};
use proptest::prelude::*;
use serde_json::json;

use crate::support::{account, app, check_against_manifest, file_post, start, swap_secrets, tiktok};

const SIZE: u64 = 50_000_123;

/// What happens to one call.
#[derive(Debug, Clone, Copy)]
enum Fault {
    None,
    /// It never arrives.
    NotSent,
    /// It arrives, and the answer is lost.
    LostAnswer,
    /// It is lost on the way.
    LostRequest,
    /// It is refused with this status, and has no effect.
    Status(u16),
    /// It takes effect, and answers with a fault.
    TakenBut(u16),
    /// Much time passes before it.
    Hours(i64),
    /// A status counts what was there before the newest chunk, if that came just now.
    Stale,
}

struct Uploaded {
    held: u64,
    held_before: u64,
    changed_at: DateTime<Utc>,
    issued_at: DateTime<Utc>,
}

struct World {
    manifest: Manifest,
    state: Mutex<State>,
}

struct State {
    now: DateTime<Utc>,
    uploads: Vec<Uploaded>,
    faults: Vec<Fault>,
}

#[async_trait]
impl HttpTransport for World {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, TransportError> {
        check_against_manifest(&self.manifest, &request);
        let effect = self.manifest.op(&request.op).unwrap().effect;
        let mut state = self.state.lock().unwrap();
        let fault = state.faults.pop().unwrap_or(Fault::None);
        let lost = || {
            Err(TransportError::Lost {
                effect,
                reason: "cut".to_owned(),
            })
        };
        let (status, body) = match fault {
            Fault::NotSent => return Err(TransportError::NotSent("refused".to_owned())),
            Fault::LostRequest => return lost(),
            Fault::Status(status) => (status, String::new()),
            Fault::None | Fault::Hours(_) | Fault::LostAnswer | Fault::TakenBut(_) | Fault::Stale => {
                if let Fault::Hours(hours) = fault {
                    state.now += TimeDelta::hours(hours);
                }
                let (status, body) = serve(&mut state, &request, matches!(fault, Fault::Stale));
                match fault {
                    Fault::LostAnswer => return lost(),
                    Fault::TakenBut(status) => (status, String::new()),
                    _ => (status, body),
                }
            }
        };
        Ok(HttpResponse {
            status,
            headers: Vec::new(),
            body: swap_secrets(&self.manifest, &request.op, &body).into_bytes().into(),
            received_at: state.now,
        })
    }
}

fn serve(state: &mut State, request: &HttpRequest, stale: bool) -> (u16, String) {
    let now = state.now;
    let ok = |data: serde_json::Value| (200, json!({ "data": data, "error": { "code": "ok" } }).to_string());
    match request.op.as_ref() {
        "inbox.init" => {
            state.uploads.push(Uploaded {
                held: 0,
                held_before: 0,
                changed_at: now,
                issued_at: now,
            });
            let id = state.uploads.len() - 1;
            ok(json!({ "publish_id": id.to_string(), "upload_url": "https://upload.us.tiktokapis.com/video/?x=1" }))
        }
        "video.chunk" | "video.chunk_last" => {
            let Body::Media { range, .. } = &request.body else {
                panic!("not a chunk")
            };
            // The handle of the newest init is the one that the host expands.
            let upload = state.uploads.last_mut().unwrap();
            if now - upload.issued_at >= TimeDelta::hours(1) {
                return (403, String::new());
            }
            if upload.held == SIZE {
                return (404, String::new());
            }
            if range.start != upload.held {
                return (416, String::new());
            }
            upload.held_before = upload.held;
            upload.held = range.end;
            upload.changed_at = now;
            (if upload.held == SIZE { 201 } else { 206 }, String::new())
        }
        "post.status" => {
            let Body::Json(body) = &request.body else {
                panic!("not JSON")
            };
            let id: usize = body["publish_id"].as_str().unwrap().parse().unwrap();
            let upload = &state.uploads[id];
            let lags = stale && now - upload.changed_at < TimeDelta::seconds(30);
            match if lags { upload.held_before } else { upload.held } {
                SIZE => ok(json!({ "status": "SEND_TO_USER_INBOX" })),
                0 => ok(json!({ "status": "PROCESSING_UPLOAD" })),
                held => ok(json!({ "status": "PROCESSING_UPLOAD", "uploaded_bytes": held })),
            }
        }
        other => panic!("{other}"),
    }
}

#[derive(Debug)]
enum End {
    Delivered,
    Failed(ErrorKind),
}

/// Runs a post as the host would, with the clock going along.
async fn run(provider: &dyn Provider, world: &World) -> End {
    let post = file_post(PostMode::Draft);
    let publisher = provider.publisher().unwrap();
    let (app, account) = (app(), account());
    let mut at: Option<Checkpoint> = None;
    for _ in 0..400 {
        let now = world.state.lock().unwrap().now;
        let ctx = Ctx::new(world, now, &app, Some(&account));
        let outcome = match publisher.advance(&ctx, &post, at.as_ref()).await {
            Err(error) if error.kind == ErrorKind::OutcomeUnknown => {
                match publisher.reconcile(&ctx, &post, at.as_ref(), None).await {
                    Ok(Reconciled::Happened { progress }) => Ok(progress),
                    Ok(Reconciled::DidNotHappen { checkpoint }) => {
                        at = checkpoint;
                        continue;
                    }
                    Ok(Reconciled::Unknown) => return End::Failed(ErrorKind::OutcomeUnknown),
                    // The mark of the commit stays: what is unknown is looked at again, not sent again.
                    Err(error) if error.kind.retry_helps() => settle_later(world, &post, publisher, &mut at).await,
                    Err(error) => Err(error),
                }
            }
            other => other,
        };
        let wait = match outcome {
            Ok(Progress::Continue { checkpoint, wake_after }) => {
                at = Some(checkpoint);
                TimeDelta::from_std(wake_after).unwrap()
            }
            Ok(_) => return End::Delivered,
            Err(error) if error.kind.retry_helps() => TimeDelta::seconds(10),
            Err(error) => return End::Failed(error.kind),
        };
        world.state.lock().unwrap().now += wait;
    }
    panic!("no end");
}

async fn settle_later(
    world: &World,
    post: &patchbay_core::Post,
    publisher: &dyn patchbay_core::Publisher,
    at: &mut Option<Checkpoint>,
) -> Result<Progress, ProviderError> {
    let (app, account) = (app(), account());
    loop {
        world.state.lock().unwrap().now += TimeDelta::seconds(10);
        let now = world.state.lock().unwrap().now;
        let ctx = Ctx::new(world, now, &app, Some(&account));
        match publisher.reconcile(&ctx, post, at.as_ref(), None).await {
            Ok(Reconciled::Happened { progress }) => return Ok(progress),
            Ok(Reconciled::DidNotHappen { checkpoint }) => {
                return Ok(Progress::Continue {
                    checkpoint: checkpoint.unwrap(),
                    wake_after: std::time::Duration::ZERO,
                });
            }
            Ok(Reconciled::Unknown) => {
                return Err(ProviderError::new(ErrorKind::OutcomeUnknown, "unknown", ""));
            }
            Err(error) if error.kind.retry_helps() => {}
            Err(error) => return Err(error),
        }
    }
}

fn faults() -> impl Strategy<Value = Vec<Fault>> {
    let fault = prop_oneof![
        8 => Just(Fault::None),
        1 => Just(Fault::NotSent),
        2 => Just(Fault::LostAnswer),
        2 => Just(Fault::LostRequest),
        2 => prop_oneof![Just(500), Just(502), Just(503)].prop_map(Fault::Status),
        2 => prop_oneof![Just(500), Just(502), Just(503)].prop_map(Fault::TakenBut),
        1 => (1i64..3).prop_map(Fault::Hours),
        3 => Just(Fault::Stale),
    ];
    prop::collection::vec(fault, 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn at_most_one_upload_is_ever_completed(faults in faults()) {
        let provider = tiktok();
        let world = World {
            manifest: provider.manifest().clone(),
            state: Mutex::new(State { now: start(), uploads: Vec::new(), faults }),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let end = runtime.block_on(run(&*provider, &world));
        let state = world.state.into_inner().unwrap();
        let complete = state.uploads.iter().filter(|upload| upload.held == SIZE).count();
        match end {
            End::Delivered => prop_assert_eq!(complete, 1),
            // Given up: nothing may be there, or somebody was told to look.
            End::Failed(kind) => prop_assert!(complete == 0 || kind == ErrorKind::OutcomeUnknown, "{:?} {}", kind, complete),
        }
    }
}

#[test]
fn the_model_tells_a_commit_from_a_rehearsal() {
    let provider = tiktok();
    let effect = |op: &str| provider.manifest().op(op).unwrap().effect;
    assert_eq!(effect("video.chunk"), Effect::Prepare);
    assert_eq!(effect("video.chunk_last"), Effect::Commit);
}
