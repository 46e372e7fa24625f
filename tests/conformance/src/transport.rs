//! The kit as the host's transport: op table, secrets, commit journal, faults, and then loopback.

use std::{
    collections::BTreeMap,
    future::{Future, pending},
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use patchbay_core::{
    AccountView, Auth, Body, Effect, HttpRequest, HttpResponse, HttpTransport, Manifest, MediaOrigin, Op, Post,
    Provider, SecretRef, Target, TransportError, Value,
};
use patchbay_simkit::lock;
use tokio::sync::Notify;
use url::Url;

use crate::{
    case::media_url,
    law::Breach,
    world::{World, guarded},
};

/// Calls that one method of a provider may make before the kit takes it for a loop.
pub const MAX_CALLS: usize = 100;

/// What goes wrong with a call.
#[derive(Clone)]
pub enum Fault {
    /// Nothing leaves.
    NotSent,
    /// It is lost on the way there.
    RequestLost,
    /// It arrives; the answer is lost.
    AnswerLost,
    /// The host dies after it has written down that it is about to send.
    KilledUnsent,
    /// The host dies after it has sent, and before it has kept the answer.
    KilledSent,
    /// This comes instead of an answer; the platform never sees the call.
    Instead(Arc<dyn Fn(&Op) -> Raw + Send + Sync>),
    /// The answer is changed on its way back.
    Changed(Arc<dyn Fn(Raw) -> Raw + Send + Sync>),
    /// The first answer to this op comes again and again.
    Repeated,
}

/// Faults that are set, by the number of the call from which on they strike.
#[derive(Default)]
pub struct Faults {
    rules: Mutex<Vec<Rule>>,
    first: Mutex<BTreeMap<String, Raw>>,
    quiet: AtomicBool,
}

struct Rule {
    from: usize,
    only: bool,
    fault: Fault,
}

impl Faults {
    /// Strikes one call, counted from 0 since the account was connected.
    pub fn at(&self, call: usize, fault: Fault) {
        let only = true;
        lock(&self.rules).push(Rule {
            from: call,
            only,
            fault,
        });
    }

    /// Strikes that call and all after it.
    pub fn from(&self, call: usize, fault: Fault) {
        let only = false;
        lock(&self.rules).push(Rule {
            from: call,
            only,
            fault,
        });
    }

    /// Whether all is well for now: what a host does beside steps is no part of a trial of steps.
    pub fn be_quiet(&self, quiet: bool) {
        self.quiet.store(quiet, Ordering::Relaxed);
    }

    fn strike(&self, call: usize) -> Option<Fault> {
        if self.quiet.load(Ordering::Relaxed) {
            return None;
        }
        let rules = lock(&self.rules);
        let rule = rules
            .iter()
            .find(|rule| call == rule.from || (!rule.only && call > rule.from));
        rule.map(|rule| rule.fault.clone())
    }
}

/// An answer as it stands on the wire.
#[derive(Debug, Clone)]
pub struct Raw {
    /// HTTP status.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

impl Raw {
    /// An answer of JSON.
    pub fn new(status: u16, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: body.into(),
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

/// A rule of the transport that a request breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Offence {
    /// It is not what its op row says.
    Row(String),
    /// It is the second commit of a step.
    SecondCommit(String),
    /// It does more than look, in a call that may only look.
    NotALook(String),
    /// It holds a secret as text.
    Secret(String),
    /// It names a part of a file that is not there.
    Range(String),
}

/// A call as it was made.
#[derive(Debug, Clone)]
pub struct Sent {
    /// The request.
    pub request: HttpRequest,
    /// When it was made.
    pub at: DateTime<Utc>,
    /// Whether it belongs to a step of a post, and not to a connect or a renewal.
    pub of_post: bool,
    /// What its row says, if it has one.
    pub effect: Option<Effect>,
    /// Status of the answer that the provider got.
    pub status: Option<u16>,
    /// What it breaks.
    pub offence: Option<Offence>,
    /// The body of the answer, as the provider got it.
    pub answer: Option<Bytes>,
}

/// What is known of the one commit of a step.
#[derive(Debug, Clone)]
pub struct Mark {
    /// Its op.
    pub op: String,
    /// Its answer, if one was kept.
    pub receipt: Option<HttpResponse>,
}

/// Commits by step.
pub type Journal = Mutex<BTreeMap<u64, Mark>>;

/// What a call may do.
enum Licence<'w> {
    /// Connect and renew: anything but a commit.
    Plain,
    /// Look at a post.
    Look(&'w Post),
    /// A step of a post.
    Step(&'w Post, &'w Journal, u64),
}

/// The transport of one call into a provider.
pub struct Transport<'w> {
    world: &'w World,
    manifest: Manifest,
    licence: Licence<'w>,
    seen: Mutex<Seen>,
    stop: Notify,
}

#[derive(Default)]
struct Seen {
    calls: usize,
    committed: bool,
    evidence: bool,
    runaway: bool,
}

/// Why a call into a provider did not come back.
#[derive(Debug)]
pub enum Stop {
    /// The host was killed.
    Killed,
    /// The provider breaks something.
    Broken(Breach),
}

impl<'w> Transport<'w> {
    /// For everything but steps of a post.
    pub fn looking(world: &'w World, provider: &dyn Provider) -> Self {
        Self::new(world, provider, Licence::Plain)
    }

    /// For a look at a post.
    pub fn reconciling(world: &'w World, provider: &dyn Provider, post: &'w Post) -> Self {
        Self::new(world, provider, Licence::Look(post))
    }

    /// For one step of a post.
    pub fn stepping(
        world: &'w World,
        provider: &dyn Provider,
        post: &'w Post,
        journal: &'w Journal,
        step: u64,
    ) -> Self {
        Self::new(world, provider, Licence::Step(post, journal, step))
    }

    fn new(world: &'w World, provider: &dyn Provider, licence: Licence<'w>) -> Self {
        Self {
            world,
            manifest: provider.manifest().clone(),
            licence,
            seen: Mutex::default(),
            stop: Notify::new(),
        }
    }

    /// Whether the platform has said in this call that something is there.
    pub fn has_evidence(&self) -> bool {
        lock(&self.seen).evidence
    }

    /// Runs a call until it comes back, its host is killed, or it is taken for a loop.
    pub async fn play<T>(&self, call: impl Future<Output = T>) -> Result<T, Stop> {
        tokio::select! {
            done = guarded(call) => done.map_err(Stop::Broken),
            () = self.stop.notified() => Err(if lock(&self.seen).runaway {
                Stop::Broken(Breach(format!("one call into the provider makes more than {MAX_CALLS} requests")))
            } else {
                Stop::Killed
            }),
        }
    }

    /// Brings a request to the platform as it stands, past all rules and faults. Gives the answer.
    ///
    /// # Errors
    /// There is none.
    pub async fn replay(&self, request: &HttpRequest) -> Result<Raw, Breach> {
        let op = self.manifest.op(&request.op).cloned();
        let op = op.ok_or_else(|| Breach(format!("no row of the op table is named {:?}", request.op)))?;
        let answer = self.deliver(&op, request).await;
        answer.map_err(|error| Breach(format!("{}: {error}", op.name)))
    }

    fn check(&self, op: &Op, request: &HttpRequest) -> Result<(), Offence> {
        let row = |what: String| Err(Offence::Row(format!("{}: {what}", op.name)));
        let url = self.url(request).map_err(Offence::Row)?;
        let host = url.host_str().unwrap_or_default();
        if url.scheme() != "https" || !op.allows_host(host) {
            return row(format!(
                "goes to {}://{host}, its row names {:?}",
                url.scheme(),
                op.hosts
            ));
        }
        if matches!(op.method, "GET" | "HEAD") && request.body != Body::Empty {
            return row(format!("is a {} with a body", op.method));
        }
        let reserved = ["host", "content-length", "content-type", "authorization"];
        if let Some((name, _)) = request
            .headers
            .iter()
            .find(|(name, _)| reserved.contains(&name.to_ascii_lowercase().as_str()))
        {
            return row(format!("sets the header {name}, which is the host's"));
        }
        if !request.media_urls.is_empty() && op.effect != Effect::Commit {
            return row("names URLs of files, and is no commit".to_owned());
        }
        match (&self.licence, op.effect) {
            (Licence::Look(_), Effect::Prepare | Effect::Commit) | (Licence::Plain, Effect::Commit) => {
                return Err(Offence::NotALook(format!("{} in a call that may only look", op.name)));
            }
            _ => {}
        }
        if let Body::Media { media, range, .. } = &request.body {
            let size = self
                .post()
                .and_then(|post| {
                    post.media
                        .iter()
                        .find(|m| m.id == *media && m.origin == MediaOrigin::Stored)
                })
                .and_then(|media| media.info.size_bytes);
            match size {
                None => {
                    return Err(Offence::Range(format!(
                        "{}: {media} is no stored file of the post",
                        op.name
                    )));
                }
                Some(size) if range.is_empty() || range.end > size => {
                    let (start, end) = (range.start, range.end);
                    return Err(Offence::Range(format!("{}: bytes {start}..{end} of {size}", op.name)));
                }
                Some(_) => {}
            }
        }
        if let Some(handle) = self.world.secret_in(&text_of(request)) {
            return Err(Offence::Secret(format!(
                "{} sends the value of {handle:?} as text",
                op.name
            )));
        }
        Ok(())
    }

    fn post(&self) -> Option<&Post> {
        match &self.licence {
            Licence::Plain => None,
            Licence::Look(post) | Licence::Step(post, ..) => Some(post),
        }
    }

    fn url(&self, request: &HttpRequest) -> Result<Url, String> {
        match &request.target {
            Target::Url(url) => Ok(url.clone()),
            Target::Secret(handle) => {
                let value = self
                    .secret(handle)
                    .map_err(|error| format!("{}: {error}", request.op))?;
                Url::parse(&value).map_err(|_| format!("{}: the secret target is no URL", request.op))
            }
        }
    }

    fn secret(&self, handle: &SecretRef) -> Result<String, TransportError> {
        let value = lock(&self.world.secrets).get(handle).cloned();
        value.ok_or_else(|| TransportError::Blocked(format!("{handle:?} names nothing")))
    }

    fn value(&self, value: &Value) -> Result<String, TransportError> {
        match value {
            Value::Text(text) => Ok(text.clone()),
            Value::Secret(handle) => self.secret(handle),
        }
    }

    /// Brings a call to the simulator.
    async fn deliver(&self, op: &Op, request: &HttpRequest) -> Result<Raw, TransportError> {
        let blocked = |what: &str| TransportError::Blocked(format!("{}: {what}", op.name));
        let mut url = self.url(request).map_err(TransportError::Blocked)?;
        for (name, value) in &request.query {
            let value = self.value(value)?;
            url.query_pairs_mut().append_pair(name, &value);
        }
        if let Auth::AccountQuery(name) = &request.auth {
            let token = self.secret(&SecretRef::account("access_token"))?;
            url.query_pairs_mut().append_pair(name, &token);
        }
        let host = url.host_str().unwrap_or_default().to_owned();
        let address: &SocketAddr = self
            .world
            .hosts
            .get(&host)
            .ok_or_else(|| blocked(&format!("the simulator plays no host {host}")))?;
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        let local = format!("http://{address}{}{query}", url.path());
        let method = op
            .method
            .parse()
            .map_err(|_| blocked("its row has no method of HTTP"))?;
        let mut call = self.world.client.request(method, local).header("host", host);
        for (name, value) in &request.headers {
            call = call.header(name.as_ref(), self.value(value)?);
        }
        let bearer = match &request.auth {
            Auth::AccountBearer => Some(SecretRef::account("access_token")),
            Auth::Bearer(handle) => Some(handle.clone()),
            Auth::None | Auth::AccountQuery(_) => None,
        };
        if let Some(handle) = bearer {
            call = call.bearer_auth(self.secret(&handle)?);
        }
        call = match &request.body {
            Body::Empty => call,
            Body::Json(json) => {
                let mut json = json.clone();
                for place in &request.media_urls {
                    let found = json.pointer_mut(&place.pointer);
                    *found.ok_or_else(|| blocked("there is no place for a URL of a file"))? =
                        media_url(place.media).as_str().into();
                }
                call.header("content-type", "application/json; charset=UTF-8")
                    .body(json.to_string())
            }
            Body::Form(fields) => {
                let mut form = url::form_urlencoded::Serializer::new(String::new());
                for (name, value) in fields {
                    form.append_pair(name, &self.value(value)?);
                }
                call.header("content-type", "application/x-www-form-urlencoded")
                    .body(form.finish())
            }
            Body::Bytes { content_type, bytes } => call.header("content-type", &**content_type).body(bytes.clone()),
            Body::Media {
                media,
                range,
                content_type,
            } => {
                let bytes = lock(&self.world.files).get(&media.to_string()).cloned();
                let bytes = bytes.ok_or_else(|| blocked("the sample has no bytes for this file"))?;
                let (start, end) = (usize::try_from(range.start), usize::try_from(range.end));
                let (Ok(start), Ok(end)) = (start, end) else {
                    return Err(blocked("a range beyond this machine"));
                };
                call.header("content-type", &**content_type)
                    .body(bytes.slice(start..end))
            }
        };
        let lost = |error: reqwest::Error| TransportError::Lost {
            effect: op.effect,
            reason: error.without_url().to_string(),
        };
        let answer = call.send().await.map_err(lost)?;
        let status = answer.status().as_u16();
        let headers = answer
            .headers()
            .iter()
            .filter(|(name, _)| *name != "set-cookie")
            .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
            .collect();
        let body = answer.bytes().await.map_err(lost)?;
        Ok(Raw { status, headers, body })
    }

    async fn exchange(&self, call: usize, op: &Op, request: &HttpRequest) -> Result<Raw, TransportError> {
        let lost = |reason: &str| TransportError::Lost {
            effect: op.effect,
            reason: reason.to_owned(),
        };
        match self.world.faults.strike(call) {
            None => self.deliver(op, request).await,
            Some(Fault::NotSent) => Err(TransportError::NotSent("connection refused".to_owned())),
            Some(Fault::RequestLost) => Err(lost("connection cut")),
            Some(Fault::AnswerLost) => {
                self.deliver(op, request).await?;
                Err(lost("connection cut"))
            }
            Some(Fault::KilledUnsent) => self.die().await,
            Some(Fault::KilledSent) => {
                self.deliver(op, request).await?;
                self.die().await
            }
            Some(Fault::Instead(make)) => Ok(make(op)),
            Some(Fault::Changed(change)) => Ok(change(self.deliver(op, request).await?)),
            Some(Fault::Repeated) => {
                let known = lock(&self.world.faults.first).get(op.name).cloned();
                if let Some(known) = known {
                    return Ok(known);
                }
                let answer = self.deliver(op, request).await?;
                lock(&self.world.faults.first).insert(op.name.to_owned(), answer.clone());
                Ok(answer)
            }
        }
    }

    async fn die<T>(&self) -> T {
        self.stop.notify_one();
        pending().await
    }

    /// Swaps the secret fields of an answer for handles, as the host does.
    fn hide_secrets(&self, op: &Op, raw: Raw) -> HttpResponse {
        let mut answer = HttpResponse {
            status: raw.status,
            headers: raw.headers,
            body: raw.body,
            received_at: self.world.clock.now(),
        };
        if op.secrets.is_empty() {
            return answer;
        }
        let Ok(mut json) = serde_json::from_slice::<serde_json::Value>(&answer.body) else {
            answer.body = Bytes::new();
            return answer;
        };
        for field in &op.secrets {
            let Some(place) = json.pointer_mut(field.pointer) else {
                continue;
            };
            let Some(value) = place.as_str().filter(|value| !value.is_empty()) else {
                continue;
            };
            let handle = SecretRef::captured(op.name, field.name);
            lock(&self.world.secrets).insert(handle.clone(), value.to_owned());
            *place = handle.as_str().into();
        }
        answer.body = json.to_string().into();
        answer
    }

    /// Writes down that a commit is about to be sent. A receipt that is there already is its answer.
    fn mark(&self, op: &Op) -> Result<Option<HttpResponse>, TransportError> {
        let Licence::Step(_, journal, step) = &self.licence else {
            return Ok(None);
        };
        match lock(journal).entry(*step) {
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert(Mark {
                    op: op.name.to_owned(),
                    receipt: None,
                });
                Ok(None)
            }
            std::collections::btree_map::Entry::Occupied(mark) => match &mark.get().receipt {
                Some(receipt) => Ok(Some(receipt.clone())),
                None => Err(TransportError::EarlierUnknown),
            },
        }
    }

    fn settle_mark(&self, answer: &Result<HttpResponse, TransportError>) {
        let Licence::Step(_, journal, step) = &self.licence else {
            return;
        };
        match answer {
            Ok(answer) => {
                if let Some(mark) = lock(journal).get_mut(step) {
                    mark.receipt = Some(answer.clone());
                }
            }
            Err(TransportError::NotSent(_) | TransportError::Blocked(_)) => {
                lock(journal).remove(step);
            }
            Err(_) => {}
        }
    }

    fn has_scope(&self, op: &Op) -> bool {
        let account: Option<AccountView> = self.world.account().ok();
        op.scopes.is_empty()
            || account.is_none_or(|account| op.scopes.iter().any(|scope| account.scopes.iter().any(|s| s == scope)))
    }
}

#[async_trait]
impl HttpTransport for Transport<'_> {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, TransportError> {
        let runaway = {
            let mut seen = lock(&self.seen);
            seen.calls += 1;
            seen.runaway = seen.calls > MAX_CALLS;
            seen.runaway
        };
        if runaway {
            return self.die().await;
        }
        let row = self.manifest.op(&request.op).cloned();
        let call = {
            let mut log = lock(&self.world.log);
            log.push(Sent {
                request: request.clone(),
                at: self.world.clock.now(),
                of_post: !matches!(self.licence, Licence::Plain),
                effect: row.as_ref().map(|row| row.effect),
                status: None,
                offence: None,
                answer: None,
            });
            log.len() - 1
        };
        let offend = |offence: Offence| {
            let text = format!("{offence:?}");
            if let Some(sent) = lock(&self.world.log).get_mut(call) {
                sent.offence = Some(offence);
            }
            Err(TransportError::Blocked(text))
        };
        let Some(op) = row else {
            return offend(Offence::Row(format!(
                "no row of the op table is named {:?}",
                request.op
            )));
        };
        if let Err(offence) = self.check(&op, &request) {
            return offend(offence);
        }
        if !self.has_scope(&op) {
            return Err(TransportError::MissingScope(op.scopes.join(" or ")));
        }
        if op.effect == Effect::Commit {
            if std::mem::replace(&mut lock(&self.seen).committed, true) {
                return offend(Offence::SecondCommit(format!(
                    "{} is a second commit in one step",
                    op.name
                )));
            }
            if let Some(receipt) = self.mark(&op)? {
                lock(&self.seen).evidence |= receipt.is_success();
                return Ok(receipt);
            }
        }
        let answer = self.exchange(call, &op, &request).await;
        let answer = answer.map(|raw| self.hide_secrets(&op, raw));
        if op.effect == Effect::Commit {
            self.settle_mark(&answer);
        }
        if let Ok(answer) = &answer {
            if op.effect != Effect::Prepare {
                lock(&self.seen).evidence |= answer.is_success();
            }
            if let Some(sent) = lock(&self.world.log).get_mut(call) {
                sent.status = Some(answer.status);
                sent.answer = Some(answer.body.clone());
            }
        }
        answer
    }
}

/// All that a provider has written into a request itself.
fn text_of(request: &HttpRequest) -> String {
    let mut text = format!("{request:?}");
    if let Body::Bytes { bytes, .. } = &request.body {
        text.push_str(&String::from_utf8_lossy(bytes));
    }
    text
}
