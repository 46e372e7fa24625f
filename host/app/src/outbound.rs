//! The transport that a provider gets for one call. Everything that must hold for *every* request to a platform is
//! here, in this order: op row, scope, rate slot, URLs of media, *about to*, host, secrets, send, receipt, secret fields
//! of the answer. Whatever stops a call before it is sent takes the mark back. A provider, native or guest, has no other
//! way out.

mod places;
mod pull;

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use patchbay_core::{
    Auth, Body, Effect, HttpRequest, HttpResponse, HttpTransport, MediaOrigin, Op, Post, PostId, SecretRef, Target,
    TenantId, TransportError, Value,
};
use places::Held;
pub(crate) use pull::token_hash as pull_token_hash;
use serde::{Deserialize, Serialize};
use tracing::warn;
use url::Url;

use crate::{
    App, echo, failpoint,
    model::{Account, Lease},
    registry::Registered,
    secret::Secret,
    store::{Mark, StoreError},
    strict_json,
    vault::Place,
    wire::{WireBody, WireError, WireRequest, WireResponse},
};

/// Values by handle, and the account's own server if the platform has many. Lives as long as one call into a provider.
#[derive(Default, Clone)]
pub struct SecretBag {
    values: HashMap<SecretRef, Secret<String>>,
    server: Option<Url>,
}

impl SecretBag {
    /// Those of an account whose own server this is.
    #[must_use]
    pub fn of_server(server: Option<Url>) -> Self {
        Self {
            values: HashMap::new(),
            server,
        }
    }

    /// Puts a value in.
    pub fn insert(&mut self, handle: SecretRef, value: Secret<String>) {
        self.values.insert(handle, value);
    }

    /// The value of a handle.
    #[must_use]
    pub fn get(&self, handle: &SecretRef) -> Option<&Secret<String>> {
        self.values.get(handle)
    }

    /// Those that were cut out of answers.
    pub fn captured(&self) -> impl Iterator<Item = (&SecretRef, &Secret<String>)> {
        self.values.iter().filter(|(handle, _)| handle.is_captured())
    }
}

/// The post that a call works for, and the right to write its journal.
pub struct CommitScope<'a> {
    /// The job's lease.
    pub lease: Lease,
    /// The post as the provider sees it; its media may be sent.
    pub post: &'a Post,
    /// The step that runs.
    pub step: i64,
}

/// What happened on the wire during one call into a provider.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Observed {
    /// A commit was sent, or answered from its receipt, in this call.
    pub committed: bool,
    /// HTTP status of that commit's answer.
    pub commit_status: Option<u16>,
    /// A 2xx to an `Observe`, or to a commit: something that proves a claim.
    pub evidence: bool,
}

struct State {
    secrets: SecretBag,
    observed: Observed,
}

/// HTTP for one call into a provider.
pub struct Outbound<'a> {
    app: &'a App,
    registered: &'a Registered,
    account: Option<&'a Account>,
    commit: Option<CommitScope<'a>>,
    post: Option<PostId>,
    correlation_id: &'a str,
    state: Mutex<State>,
}

/// Largest part of a commit's answer that is kept and shown: a receipt must fit an envelope.
const MAX_RECEIPT_BODY: usize = 8 * 1024;
/// Answer headers kept in a receipt.
const RECEIPT_HEADERS: [&str; 6] = [
    "content-type",
    "retry-after",
    "ratelimit-reset",
    "content-range",
    "location",
    "date",
];

#[derive(Serialize, Deserialize)]
struct Receipt {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl<'a> Outbound<'a> {
    /// A transport for one call. `secrets` holds what the call may use: app, account and call secrets, and what
    /// earlier steps captured.
    #[must_use]
    pub fn new(
        app: &'a App,
        registered: &'a Registered,
        account: Option<&'a Account>,
        mut secrets: SecretBag,
        correlation_id: &'a str,
    ) -> Self {
        secrets.insert(registered.app.client_secret.clone(), registered.client_secret.clone());
        let state = Mutex::new(State {
            secrets,
            observed: Observed::default(),
        });
        Self {
            app,
            registered,
            account,
            commit: None,
            post: None,
            correlation_id,
            state,
        }
    }

    /// Works for a post: where a limit is reached, its job is told when its turn comes.
    #[must_use]
    pub fn for_post(mut self, post: PostId) -> Self {
        self.post = Some(post);
        self
    }

    /// Allows one commit, journalled for this post.
    #[must_use]
    pub fn with_commit(mut self, scope: CommitScope<'a>) -> Self {
        self.post = Some(scope.post.id);
        self.commit = Some(scope);
        self
    }

    /// What happened, and every secret that this call knows.
    #[must_use]
    pub fn finish(self) -> (Observed, SecretBag) {
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        (state.observed, state.secrets)
    }

    /// What has happened so far.
    #[must_use]
    pub fn observed(&self) -> Observed {
        self.lock().observed
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tenant(&self) -> TenantId {
        self.account.map_or(TenantId::DEFAULT, |account| account.tenant)
    }

    fn op(&self, name: &str) -> Result<&'a Op, TransportError> {
        self.registered
            .manifest()
            .op(name)
            .ok_or_else(|| TransportError::Blocked(format!("the op {name} is not in the manifest")))
    }

    fn check_scope(&self, op: &Op) -> Result<(), TransportError> {
        let Some(account) = self.account else { return Ok(()) };
        let granted = op.scopes.is_empty()
            || op
                .scopes
                .iter()
                .any(|need| account.scopes.iter().any(|have| have == need));
        if granted {
            Ok(())
        } else {
            Err(TransportError::MissingScope(op.scopes.join(" or ")))
        }
    }

    fn secret(&self, handle: &SecretRef) -> Result<Secret<String>, TransportError> {
        self.lock()
            .secrets
            .get(handle)
            .cloned()
            .ok_or_else(|| TransportError::Blocked(format!("the handle {handle:?} names nothing in this call")))
    }

    fn value(&self, value: &Value) -> Result<Secret<String>, TransportError> {
        match value {
            Value::Text(text) => Ok(Secret::new(text.clone())),
            Value::Secret(handle) => self.secret(handle),
        }
    }

    fn url(&self, op: &Op, request: &HttpRequest) -> Result<Secret<String>, TransportError> {
        let mut url = match &request.target {
            Target::Url(url) => url.clone(),
            Target::Secret(handle) => Url::parse(self.secret(handle)?.expose())
                .map_err(|_| TransportError::Blocked("a secret target is no URL".to_owned()))?,
        };
        let host = url.host_str().unwrap_or_default();
        if url.scheme() != "https" || !(op.allows_host(host) || self.is_account_server(op, &url)) {
            // A secret URL's host is not secret: it is needed to mend the op table.
            return Err(TransportError::Blocked(format!(
                "{host} is not a host of the op {}",
                op.name
            )));
        }
        for (name, value) in &request.query {
            url.query_pairs_mut().append_pair(name, self.value(value)?.expose());
        }
        if let Auth::AccountQuery(name) = &request.auth {
            let token = self.secret(&SecretRef::account("access_token"))?;
            url.query_pairs_mut().append_pair(name, token.expose());
        }
        Ok(Secret::new(url.into()))
    }

    /// Whether a row may go to `url` as to the account's own server. Until an account is connected, no server is its own,
    /// and any may be asked. Which addresses may be dialled is for the wire to say in either case.
    fn is_account_server(&self, op: &Op, url: &Url) -> bool {
        op.account_server
            && match (self.account, &self.lock().secrets.server) {
                (None, _) => true,
                (Some(_), Some(server)) => server.origin() == url.origin(),
                (Some(_), None) => false,
            }
    }

    fn headers(&self, request: &HttpRequest) -> Result<Vec<(String, Secret<String>)>, TransportError> {
        let mut headers = Vec::new();
        for (name, value) in &request.headers {
            headers.push((name.to_string(), self.value(value)?));
        }
        let bearer = match &request.auth {
            Auth::AccountBearer => Some(SecretRef::account("access_token")),
            Auth::Bearer(handle) => Some(handle.clone()),
            Auth::None | Auth::AccountQuery(_) => None,
        };
        if let Some(handle) = bearer {
            let token = self.secret(&handle)?;
            headers.push((
                "authorization".to_owned(),
                Secret::new(format!("Bearer {}", token.expose())),
            ));
        }
        let content_type = match &request.body {
            Body::Empty => None,
            Body::Json(_) => Some("application/json; charset=UTF-8"),
            Body::Form(_) => Some("application/x-www-form-urlencoded"),
            Body::Bytes { content_type, .. } | Body::Media { content_type, .. } => Some(&**content_type),
        };
        if let Some(content_type) = content_type {
            headers.push(("content-type".to_owned(), content_type.into()));
        }
        Ok(headers)
    }

    async fn body(&self, request: &HttpRequest, urls: &[Secret<String>]) -> Result<WireBody, TransportError> {
        Ok(match &request.body {
            Body::Json(json) => {
                let secrets = request.body_secrets.iter().map(|place| {
                    let value = self.secret(&place.secret)?;
                    Ok((place.pointer.as_str(), value))
                });
                let urls = request.media_urls.iter().zip(urls);
                let urls = urls.map(|(place, url)| Ok((place.pointer.as_str(), url.clone())));
                WireBody::Bytes(fill_in(json, secrets.chain(urls))?.into())
            }
            _ if !(request.media_urls.is_empty() && request.body_secrets.is_empty()) => {
                return Err(TransportError::Blocked(
                    "only a JSON body has places for secrets and for URLs of media".to_owned(),
                ));
            }
            Body::Empty => WireBody::Empty,
            Body::Form(fields) => {
                let mut form = url::form_urlencoded::Serializer::new(String::new());
                for (name, value) in fields {
                    form.append_pair(name, self.value(value)?.expose());
                }
                WireBody::Bytes(form.finish().into())
            }
            Body::Bytes { bytes, .. } => WireBody::Bytes(bytes.clone()),
            Body::Media { media, range, .. } => {
                let known = self.commit.as_ref().is_some_and(|scope| {
                    scope
                        .post
                        .media
                        .iter()
                        .any(|m| m.id == *media && m.origin == MediaOrigin::Stored)
                });
                if !known {
                    return Err(TransportError::Blocked(format!(
                        "{media} is no stored file of this post"
                    )));
                }
                let stream = self
                    .app
                    .media
                    .open(*media, *range)
                    .await
                    .map_err(|error| TransportError::NotSent(format!("{media} cannot be read: {error}")))?;
                WireBody::Stream {
                    len: range.len(),
                    stream,
                }
            }
        })
    }

    async fn mark(&self, op: &Op) -> Result<Option<HttpResponse>, TransportError> {
        let scope = self.commit_scope(op)?;
        if std::mem::replace(&mut self.lock().observed.committed, true) {
            return Err(TransportError::Blocked(format!(
                "{} is a second commit in one step",
                op.name
            )));
        }
        let tenant = self.tenant();
        let marked = self
            .app
            .store
            .mark_about_to(scope.lease, tenant, scope.post.id, scope.step, op.name)
            .await;
        match marked {
            Ok(Mark::Marked) => Ok(None),
            Ok(Mark::Open) => Err(TransportError::EarlierUnknown),
            Ok(Mark::Answered(receipt)) => {
                let place = receipt_place(tenant, scope.post.id, scope.step);
                let opened = self.app.vault.unseal(place, &receipt).await;
                let receipt: Receipt = opened
                    .ok()
                    .and_then(|bytes| serde_json::from_slice(bytes.expose()).ok())
                    .ok_or(TransportError::EarlierUnknown)?;
                Ok(Some(HttpResponse {
                    status: receipt.status,
                    headers: receipt.headers,
                    body: receipt.body.into(),
                    received_at: self.app.env.now(),
                }))
            }
            Err(StoreError::Stale) => Err(TransportError::NotSent(
                "another worker has taken this job over".to_owned(),
            )),
            Err(error) => Err(TransportError::NotSent(format!(
                "the journal could not be written: {error}"
            ))),
        }
    }

    fn commit_scope(&self, op: &Op) -> Result<&CommitScope<'a>, TransportError> {
        self.commit
            .as_ref()
            .ok_or_else(|| TransportError::Blocked(format!("{} is a commit, and this call may only look", op.name)))
    }

    async fn unmark(&self, op: &Op) {
        let Some(scope) = &self.commit else { return };
        let Some(account) = self.account else { return };
        if let Err(error) = self
            .app
            .store
            .clear_mark(account.tenant, scope.post.id, scope.step, op.name)
            .await
        {
            warn!(%error, post.id = %scope.post.id, "A mark could not be taken back; the post will be looked at first");
        }
    }

    /// Keeps the answer to a commit. The answer is a fact that must not be lost to a short outage.
    async fn keep_receipt(&self, op: &Op, answer: &HttpResponse) -> Result<(), TransportError> {
        let scope = self.commit_scope(op)?;
        let tenant = self.tenant();
        let receipt = Receipt {
            status: answer.status,
            headers: answer
                .headers
                .iter()
                .filter(|(n, _)| RECEIPT_HEADERS.contains(&n.as_str()))
                .cloned()
                .collect(),
            body: String::from_utf8_lossy(&answer.body).into_owned(),
        };
        let lost = |reason: String| TransportError::Lost {
            effect: Effect::Commit,
            reason,
        };
        let bytes = serde_json::to_vec(&receipt).map_err(|error| lost(error.to_string()))?;
        let place = receipt_place(tenant, scope.post.id, scope.step);
        let mut failure = String::new();
        for wait in [0_u64, 50, 200, 800, 2_000] {
            tokio::time::sleep(Duration::from_millis(wait)).await;
            let kept = async {
                let sealed = self
                    .app
                    .vault
                    .seal(place, &bytes)
                    .await
                    .map_err(|error| error.to_string())?;
                let (post, step) = (scope.post.id, scope.step);
                let store = &self.app.store;
                store
                    .keep_receipt(tenant, post, step, op.name, answer.status, &sealed)
                    .await
                    .map_err(|error| error.to_string())
            };
            match kept.await {
                Ok(()) => return Ok(()),
                Err(error) => failure = error,
            }
        }
        Err(lost(format!(
            "the answer came, but its receipt could not be kept: {failure}"
        )))
    }

    async fn exchange(
        &self,
        op: &Op,
        request: &HttpRequest,
        urls: &[Secret<String>],
        places: &[Held],
    ) -> Result<HttpResponse, TransportError> {
        let failpoint = failpoint::Call::of(
            self.commit.as_ref().map(|scope| scope.post.id),
            op.effect,
            &request.body,
        );
        let wire_request = WireRequest {
            provider: self.registered.id().clone(),
            op: op.name.to_owned(),
            correlation_id: self.correlation_id.to_owned(),
            method: op.method.to_owned(),
            url: self.url(op, request)?,
            headers: self.headers(request)?,
            body: self.body(request, urls).await?,
            timeout: op.timeout,
            max_answer_bytes: op.max_answer_bytes,
        };
        failpoint.marked();
        places::check_fresh(places)?;
        let sent = self.app.wire.send(wire_request);
        let WireResponse {
            status,
            mut headers,
            mut body,
        } = failpoint.under_way(sent).await.map_err(|error| match error {
            WireError::NotSent(reason) => TransportError::NotSent(reason),
            WireError::Blocked(reason) => TransportError::Blocked(reason),
            WireError::Lost(reason) => TransportError::Lost {
                effect: op.effect,
                reason,
            },
        })?;
        failpoint.received()?;
        headers.retain(|(name, _)| name != "set-cookie");
        if op.effect == Effect::Commit {
            body.truncate(MAX_RECEIPT_BODY);
        }
        Ok(HttpResponse {
            status,
            headers,
            body,
            received_at: self.app.env.now(),
        })
    }

    /// Swaps the secret fields of an answer for handles.
    fn hide_secrets(&self, op: &Op, mut answer: HttpResponse) -> HttpResponse {
        if op.secrets.is_empty() {
            return answer;
        }
        let Ok(mut json) = strict_json::parse(&answer.body) else {
            // Not JSON, or not in one reading alone, so no field can be told apart. A body that might hold a token is not shown at all.
            answer.body = Bytes::new();
            return answer;
        };
        let mut state = self.lock();
        for field in &op.secrets {
            let Some(place) = json.pointer_mut(field.pointer) else {
                continue;
            };
            let Some(value) = place.as_str().filter(|value| !value.is_empty()) else {
                continue;
            };
            if !is_visible(value) {
                // It could not stand in a header or a URL later. To the provider it is missing.
                *place = serde_json::Value::Null;
                continue;
            }
            let handle = SecretRef::captured(op.name, field.name);
            state.secrets.insert(handle.clone(), Secret::from(value));
            *place = handle.as_str().into();
        }
        answer.body = json.to_string().into();
        answer
    }

    fn mask_echoes(&self, mut answer: HttpResponse) -> HttpResponse {
        echo::mask(&mut answer, self.lock().secrets.values.values());
        answer
    }

    fn note(&self, op: &Op, answer: &HttpResponse) {
        let observed = &mut self.lock().observed;
        match op.effect {
            Effect::Observe => observed.evidence |= answer.is_success(),
            Effect::Commit => {
                observed.evidence |= answer.is_success();
                observed.commit_status = Some(answer.status);
            }
            Effect::Prepare => {}
        }
    }
}

#[async_trait]
impl HttpTransport for Outbound<'_> {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, TransportError> {
        let op = self.op(&request.op)?;
        self.check_scope(op)?;
        let places = self.take_places(op).await?;
        let urls = match self.open_pull_urls(op, &request.media_urls).await {
            Ok(urls) => urls,
            Err(error) => {
                self.give_back(&places).await;
                return Err(error);
            }
        };
        if op.effect == Effect::Commit {
            // The last thing before it is sent: whatever fails until here leaves no open question.
            match self.mark(op).await {
                Ok(None) => {}
                Ok(Some(receipt)) => {
                    self.give_back(&places).await;
                    self.note(op, &receipt);
                    return Ok(self.mask_echoes(self.hide_secrets(op, receipt)));
                }
                Err(error) => {
                    self.give_back(&places).await;
                    return Err(error);
                }
            }
        }
        let answer = self.exchange(op, &request, &urls, &places).await;
        match &answer {
            Err(TransportError::NotSent(_) | TransportError::Blocked(_)) => self.give_back(&places).await,
            Ok(answer) => {
                self.obey(op, answer).await;
                self.let_go(&places).await;
            }
            Err(_) => self.let_go(&places).await,
        }
        match answer {
            Ok(answer) => {
                if op.effect == Effect::Commit {
                    self.keep_receipt(op, &answer).await?;
                }
                self.note(op, &answer);
                Ok(self.mask_echoes(self.hide_secrets(op, answer)))
            }
            Err(error) => {
                if matches!(error, TransportError::NotSent(_) | TransportError::Blocked(_)) {
                    self.unmark(op).await;
                }
                Err(error)
            }
        }
    }
}

/// The JSON with values in their places.
fn fill_in<'a>(
    json: &serde_json::Value,
    values: impl Iterator<Item = Result<(&'a str, Secret<String>), TransportError>>,
) -> Result<String, TransportError> {
    let mut json = json.clone();
    for value in values {
        let (pointer, value) = value?;
        let place = json
            .pointer_mut(pointer)
            .ok_or_else(|| TransportError::Blocked(format!("the body has no place {pointer}")))?;
        *place = value.expose().as_str().into();
    }
    Ok(json.to_string())
}

/// The characters of a token (RFC 6749, appendix A) and of a URL.
fn is_visible(value: &str) -> bool {
    value.bytes().all(|b| (0x20..=0x7e).contains(&b))
}

fn receipt_place(tenant: TenantId, post: PostId, step: i64) -> Place {
    Place {
        tenant,
        table: "commits",
        row: post.as_uuid(),
        column: "receipt",
        version: step,
    }
}
