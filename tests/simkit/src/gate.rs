//! The door of a simulated host: each call is written to the journal and meets the fault switches before and
//! after the platform's own handler.
//!
//! Order: journal, delays, drops and refusals *before* the effect, the handler, then drops and spoiled answers
//! *after* the effect. The handler finds all hits in the request extension [`Hits`].

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{Html, IntoResponse, Response};
use bytes::Bytes;
use futures_util::{StreamExt, stream};

use crate::fault::{Action, Faults, Hit, Subject, When};
use crate::journal::{Call, Journal};
use crate::serve::{Cut, cut};
use crate::{Clock, text};

/// The longest that [`Action::Delay`] or [`Action::Hold`] may keep a call.
const MAX_DELAY: Duration = Duration::from_secs(600);
/// Answers larger than this are not spoiled; the simulators' own are far smaller.
const MAX_SPOILED: usize = 8 << 20;
/// A refused request body is read this far; the largest upload chunk fits.
const MAX_DRAINED: usize = 256 << 20;

/// What the gate must know about a platform.
pub trait Platform: Send + Sync + 'static {
    /// The operation of a call on this host; unknown paths get a name too.
    fn op(&self, host: &str, method: &Method, path: &str) -> &'static str;
    /// The names of the account a bearer token belongs to.
    fn accounts(&self, token: &str) -> Vec<String>;
    /// The platform's refusal at that operation. Without a status, the documented one for the code.
    fn refusal(&self, op: &str, request: &Request, code: &str, status: Option<u16>, message: Option<&str>) -> Response;
}

/// The fault rules that struck this call.
#[derive(Clone, Debug, Default)]
pub struct Hits(pub Arc<Vec<Hit>>);

/// The platform's own code of an answer, for the journal. A handler puts it into the response's extensions.
#[derive(Clone, Debug)]
pub struct AnswerCode(pub String);

/// One host's door.
#[derive(Clone)]
pub struct Gate {
    pub host: &'static str,
    pub platform: Arc<dyn Platform>,
    pub clock: Clock,
    pub faults: Faults,
    pub journal: Journal,
}

/// Puts the gate before every route of the router, its fallback included.
pub fn gated(router: Router, gate: Gate) -> Router {
    let gate = Arc::new(gate);
    router.layer(from_fn(move |request: Request, next: Next| {
        let gate = Arc::clone(&gate);
        async move { pass(&gate, request, next).await }
    }))
}

async fn pass(gate: &Gate, mut request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let op = gate.platform.op(gate.host, request.method(), &path);
    let token = bearer(&request);
    let accounts = token
        .as_deref()
        .map(|token| gate.platform.accounts(token))
        .unwrap_or_default();
    let target = request
        .uri()
        .path_and_query()
        .map_or(path.as_str(), |target| target.as_str());
    let hits = gate.faults.strike(Subject {
        op,
        path: target,
        accounts: &accounts,
    });
    let entry = Entry {
        journal: gate.journal.clone(),
        seq: gate.journal.begin(Call {
            seq: 0,
            at: gate.clock.now(),
            host: gate.host.to_owned(),
            method: request.method().to_string(),
            path,
            op: op.to_owned(),
            token: token.as_deref().map(text::fingerprint),
            account: accounts.first().cloned(),
            status: None,
            code: None,
            faults: hits.iter().map(|hit| hit.name.clone()).collect(),
            cut: false,
        }),
        done: false,
    };
    for hit in &hits {
        if let Action::Delay { ms } = hit.action {
            tokio::time::sleep(Duration::from_millis(ms).min(MAX_DELAY)).await;
        }
    }
    let instead = hits.iter().find_map(|hit| before(gate, op, &request, &hit.action));
    let mut response = match instead {
        Some(response) if response.extensions().get::<Cut>().is_some() => response,
        Some(response) => {
            drain(request.into_body()).await;
            response
        }
        None => {
            request.extensions_mut().insert(Hits(Arc::new(hits.clone())));
            let mut response = next.run(request).await;
            for hit in &hits {
                if matches!(hit.action, Action::Hold) {
                    let cleared = gate.faults.until_cleared(&hit.name);
                    tokio::time::timeout(MAX_DELAY, cleared).await.ok();
                }
            }
            for hit in &hits {
                response = after(response, &hit.action).await;
            }
            response
        }
    };
    for hit in &hits {
        if let Action::RetryAfter { seconds } = hit.action {
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
    }
    entry.finish(&response);
    response
}

/// A journal entry that is closed even when the caller hangs up and this future is dropped.
struct Entry {
    journal: Journal,
    seq: u64,
    done: bool,
}

impl Entry {
    fn finish(mut self, response: &Response) {
        self.done = true;
        let cut = response.extensions().get::<Cut>().is_some();
        let code = response.extensions().get::<AnswerCode>().map(|code| code.0.clone());
        self.journal
            .finish(self.seq, (!cut).then(|| response.status().as_u16()), code);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if !self.done {
            self.journal.finish(self.seq, None, None);
        }
    }
}

fn before(gate: &Gate, op: &str, request: &Request, action: &Action) -> Option<Response> {
    match action {
        Action::Error { code, status, message } => {
            Some(gate.platform.refusal(op, request, code, *status, message.as_deref()))
        }
        Action::Status { when: When::Before, .. } | Action::Html { when: When::Before, .. } => {
            Some(replacement(action))
        }
        Action::Drop { when: When::Before } => Some(cut()),
        Action::Status { .. }
        | Action::Html { .. }
        | Action::Drop { .. }
        | Action::TruncateBody
        | Action::CutBody
        | Action::Delay { .. }
        | Action::Hold
        | Action::RetryAfter { .. }
        | Action::Set { .. } => None,
    }
}

async fn after(response: Response, action: &Action) -> Response {
    match action {
        Action::Status { when: When::After, .. } | Action::Html { when: When::After, .. } => replacement(action),
        Action::Drop { when: When::After } => cut(),
        Action::TruncateBody => spoil(response, false).await,
        Action::CutBody => spoil(response, true).await,
        Action::Status { .. }
        | Action::Html { .. }
        | Action::Drop { .. }
        | Action::Error { .. }
        | Action::Delay { .. }
        | Action::Hold
        | Action::RetryAfter { .. }
        | Action::Set { .. } => response,
    }
}

/// Reads an unwanted body to its end. Answering early would close the connection under a caller that is still
/// sending, and the refusal would be lost with it.
pub async fn drain(body: Body) {
    let reading = async {
        let mut left = MAX_DRAINED;
        let mut frames = body.into_data_stream();
        while let Some(Ok(frame)) = frames.next().await {
            left = left.saturating_sub(frame.len());
            if left == 0 {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), reading).await.ok();
}

fn replacement(action: &Action) -> Response {
    match action {
        Action::Status {
            status,
            body,
            content_type,
            ..
        } => {
            let kind = HeaderValue::from_str(content_type).unwrap_or_else(|_| HeaderValue::from_static("text/plain"));
            (status_of(*status), [(header::CONTENT_TYPE, kind)], body.clone()).into_response()
        }
        Action::Html { status, .. } => (
            status_of(*status),
            Html("<html><head><title>Service</title></head><body><h1>Service unavailable</h1></body></html>"),
        )
            .into_response(),
        Action::Error { .. }
        | Action::TruncateBody
        | Action::CutBody
        | Action::Drop { .. }
        | Action::Delay { .. }
        | Action::Hold
        | Action::RetryAfter { .. }
        | Action::Set { .. } => cut(),
    }
}

async fn spoil(response: Response, cut_connection: bool) -> Response {
    let (mut head, body) = response.into_parts();
    let Ok(whole) = to_bytes(body, MAX_SPOILED).await else {
        return cut();
    };
    let half = whole.slice(..whole.len() / 2);
    head.headers.remove(header::CONTENT_LENGTH);
    if !cut_connection {
        return Response::from_parts(head, Body::from(half));
    }
    head.headers
        .insert(header::CONTENT_LENGTH, HeaderValue::from(whole.len()));
    let parts: [Result<Bytes, std::io::Error>; 2] = [Ok(half), Err(std::io::Error::other("connection cut on purpose"))];
    Response::from_parts(head, Body::from_stream(stream::iter(parts)))
}

fn status_of(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn bearer(request: &Request) -> Option<String> {
    let value = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
    value.strip_prefix("Bearer ").map(str::to_owned)
}
