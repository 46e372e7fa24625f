//! A stand-in for Lambda's runtime API, over real HTTP: a function polls it for its next event, and posts the answer to
//! it. After <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use patchbay_app::env::Env;
use patchbay_simulator_tiktok::simkit::serve;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};

/// Invocations that wait for a function.
const WAITING: usize = 100;

/// What came of an invocation.
#[derive(Debug)]
pub enum Outcome {
    /// The function's answer.
    Answered(Value),
    /// The function says that it failed.
    Failed(Value),
}

impl Outcome {
    #[track_caller]
    pub fn answer(self) -> Value {
        match self {
            Self::Answered(value) => value,
            Self::Failed(value) => panic!("the function failed: {value}"),
        }
    }

    #[track_caller]
    pub fn failure(self) -> Value {
        match self {
            Self::Answered(value) => panic!("the function answered: {value}"),
            Self::Failed(value) => value,
        }
    }
}

/// The stand-in. One function at a time polls it.
pub struct RuntimeApi {
    pub address: SocketAddr,
    events: mpsc::Sender<Invocation>,
    polls: watch::Receiver<u64>,
    env: Env,
    _stop: watch::Sender<bool>,
}

struct Invocation {
    id: String,
    deadline_ms: i64,
    event: Vec<u8>,
    outcome: oneshot::Sender<Outcome>,
}

struct Shared {
    events: tokio::sync::Mutex<mpsc::Receiver<Invocation>>,
    /// Which poll is the last one: a function that was killed while it polled must not get an event.
    polls: watch::Sender<u64>,
    open: Mutex<HashMap<String, oneshot::Sender<Outcome>>>,
}

impl RuntimeApi {
    pub async fn start() -> Self {
        let (events, receiver) = mpsc::channel(WAITING);
        let polls = watch::Sender::new(0);
        let seen = polls.subscribe();
        let shared = Arc::new(Shared {
            events: receiver.into(),
            polls,
            open: Mutex::default(),
        });
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(answered))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(failed))
            .with_state(shared);
        let (listener, address) = serve::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let (stop, stopped) = watch::channel(false);
        drop(serve::spawn(listener, router, stopped));
        Self {
            address,
            events,
            polls: seen,
            env: Env::system(),
            _stop: stop,
        }
    }

    /// Hands over an event. The function must answer within `timeout`; this does not end it if it does not.
    pub async fn send(&self, event: &Value, timeout: Duration) -> oneshot::Receiver<Outcome> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let (outcome, receiver) = oneshot::channel();
        let timeout = i64::try_from(timeout.as_millis()).unwrap();
        let invocation = Invocation {
            id: format!("8476a536-e9f4-11e8-9739-{:012x}", NEXT.fetch_add(1, Ordering::Relaxed)),
            deadline_ms: self.env.now().timestamp_millis() + timeout,
            event: event.to_string().into_bytes(),
            outcome,
        };
        self.events.send(invocation).await.ok().unwrap();
        receiver
    }

    /// How often a function has asked for an event.
    pub fn polls(&self) -> u64 {
        *self.polls.borrow()
    }

    /// Invokes the function as a client that waits for the answer.
    pub async fn invoke(&self, event: &Value) -> Outcome {
        let outcome = self.send(event, Duration::from_secs(60)).await;
        tokio::time::timeout(patchbay_rig::PATIENCE, outcome)
            .await
            .expect("the function answers")
            .expect("the stand-in is there")
    }
}

async fn next(State(shared): State<Arc<Shared>>) -> Response {
    let mut number = 0;
    shared.polls.send_modify(|polls| {
        *polls += 1;
        number = *polls;
    });
    let mut polls = shared.polls.subscribe();
    let overtaken = async { polls.wait_for(|last| *last != number).await.is_ok() };
    let invocation = async { shared.events.lock().await.recv().await };
    let invocation = tokio::select! {
        biased;
        _ = overtaken => return StatusCode::GONE.into_response(),
        invocation = invocation => invocation,
    };
    let Some(invocation) = invocation else {
        return StatusCode::GONE.into_response();
    };
    let Invocation {
        id,
        deadline_ms,
        event,
        outcome,
    } = invocation;
    let headers = [
        ("lambda-runtime-aws-request-id", id.clone()),
        ("lambda-runtime-deadline-ms", deadline_ms.to_string()),
        (
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:eu-central-1:123456789012:function:patchbay".to_owned(),
        ),
        (
            "lambda-runtime-trace-id",
            "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=1".to_owned(),
        ),
        ("content-type", "application/json".to_owned()),
    ];
    shared.open.lock().unwrap().insert(id, outcome);
    let mut response = event.into_response();
    for (name, value) in headers {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}

async fn answered(State(shared): State<Arc<Shared>>, Path(id): Path<String>, body: Bytes) -> StatusCode {
    close(&shared, &id, Outcome::Answered(read(&body)))
}

async fn failed(State(shared): State<Arc<Shared>>, Path(id): Path<String>, body: Bytes) -> StatusCode {
    close(&shared, &id, Outcome::Failed(read(&body)))
}

fn read(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(body)))
}

fn close(shared: &Shared, id: &str, outcome: Outcome) -> StatusCode {
    match shared.open.lock().unwrap().remove(id) {
        // Whoever invoked it may have gone.
        Some(waiting) => {
            drop(waiting.send(outcome));
            StatusCode::ACCEPTED
        }
        None => StatusCode::BAD_REQUEST,
    }
}
