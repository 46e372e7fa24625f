//! A transport that answers from a script, and that does what the host would: it checks every request against the op
//! table and swaps secret fields for handles.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use patchbay_core::{
    AccountId, AccountView, AppCredentials, Body, Cancelled, Checkpoint, Credentials, Ctx, Effect, HttpRequest,
    HttpResponse, HttpTransport, Manifest, MediaId, MediaInfo, MediaKind, MediaOrigin, Post, PostId, PostKind,
    PostMedia, PostMode, Progress, Provider, ProviderError, Publication, Reconciled, SecretRef, Settings, Target,
    TransportError,
};
use serde_json::{Value, json};
use url::Url;
use uuid::Uuid;

pub const OPEN_ID: &str = "-000canaryopenid";

/// What the script holds for one call.
pub enum Reply {
    Answer(&'static str, u16, String),
    Lost(&'static str),
    NotSent(&'static str),
    EarlierUnknown(&'static str),
}

pub fn answer(op: &'static str, status: u16, body: impl Into<String>) -> Reply {
    Reply::Answer(op, status, body.into())
}

/// A successful enveloped answer.
#[expect(
    clippy::needless_pass_by_value,
    reason = "`json!` reads better at the call without a borrow"
)]
pub fn ok(op: &'static str, data: Value) -> Reply {
    answer(
        op,
        200,
        json!({ "data": data, "error": { "code": "ok", "message": "", "log_id": "x" } }).to_string(),
    )
}

/// A refused one.
pub fn refused(op: &'static str, status: u16, code: &str) -> Reply {
    answer(
        op,
        status,
        json!({ "error": { "code": code, "message": "m", "log_id": "x" } }).to_string(),
    )
}

pub fn status(data: Value) -> Reply {
    ok("post.status", data)
}

pub fn fixture(name: &str) -> String {
    let path = format!("{}/tests/fixtures/{name}.json", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

pub fn tiktok() -> Arc<dyn Provider> {
    tiktok_with(json!({}))
}

pub fn tiktok_with(settings: Value) -> Arc<dyn Provider> {
    let Value::Object(settings) = settings else {
        panic!("settings are an object")
    };
    patchbay_provider_tiktok::build(&Settings(settings)).unwrap()
}

pub fn start() -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000, 0).unwrap()
}

pub fn app() -> AppCredentials {
    AppCredentials {
        client_id: "ck_test".to_owned(),
        client_secret: SecretRef::app("client_secret"),
    }
}

pub fn account() -> AccountView {
    let scopes = [
        "user.info.basic",
        "user.info.profile",
        "video.publish",
        "video.upload",
        "video.list",
    ];
    AccountView {
        id: AccountId::from_uuid(Uuid::from_u128(1)),
        remote_id: OPEN_ID.to_owned(),
        scopes: scopes.map(str::to_owned).to_vec(),
        credentials: Credentials {
            secrets: ["access_token", "refresh_token"]
                .map(|name| (name.to_owned(), SecretRef::account(name)))
                .into(),
            ..Credentials::default()
        },
    }
}

/// Plays replies in order.
pub struct Script {
    manifest: Manifest,
    now: DateTime<Utc>,
    replies: Mutex<VecDeque<Reply>>,
    pub sent: Mutex<Vec<HttpRequest>>,
}

impl Script {
    pub fn new(provider: &dyn Provider, now: DateTime<Utc>, replies: Vec<Reply>) -> Self {
        Self {
            manifest: provider.manifest().clone(),
            now,
            replies: Mutex::new(replies.into()),
            sent: Mutex::new(Vec::new()),
        }
    }

    /// What was sent; every reply must have been used, and at most one call may have been a commit.
    pub fn finish(self) -> Vec<HttpRequest> {
        assert!(self.replies.into_inner().unwrap().is_empty(), "replies are left over");
        let sent = self.sent.into_inner().unwrap();
        let commits = sent
            .iter()
            .filter(|request| self.manifest.op(&request.op).unwrap().effect == Effect::Commit);
        assert!(commits.count() <= 1, "two commits in one step");
        sent
    }
}

#[async_trait]
impl HttpTransport for Script {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, TransportError> {
        check_against_manifest(&self.manifest, &request);
        let reply = self.replies.lock().unwrap().pop_front();
        let reply = reply.unwrap_or_else(|| panic!("no reply for {}", request.op));
        let effect = self.manifest.op(&request.op).unwrap().effect;
        let op = match &reply {
            Reply::Answer(op, ..) | Reply::Lost(op) | Reply::NotSent(op) | Reply::EarlierUnknown(op) => *op,
        };
        assert_eq!(request.op, op, "another call was expected");
        self.sent.lock().unwrap().push(request);
        match reply {
            Reply::Answer(op, status, body) => Ok(HttpResponse {
                status,
                headers: Vec::new(),
                body: swap_secrets(&self.manifest, op, &body).into_bytes().into(),
                received_at: self.now,
            }),
            Reply::Lost(_) => Err(TransportError::Lost {
                effect,
                reason: "cut".to_owned(),
            }),
            Reply::NotSent(_) => Err(TransportError::NotSent("refused".to_owned())),
            Reply::EarlierUnknown(_) => Err(TransportError::EarlierUnknown),
        }
    }
}

/// The op is declared, and the host is one of its hosts.
pub fn check_against_manifest(manifest: &Manifest, request: &HttpRequest) {
    let row = manifest
        .op(&request.op)
        .unwrap_or_else(|| panic!("undeclared op {}", request.op));
    match &request.target {
        Target::Url(url) => assert!(row.allows_host(url.host_str().unwrap()), "{url}"),
        Target::Secret(secret) => assert!(secret.is_captured()),
    }
    assert_eq!(
        matches!(request.body, Body::Empty),
        row.method == "GET",
        "{}",
        request.op
    );
}

/// Puts handles in the places that the op row names, as the host does.
pub fn swap_secrets(manifest: &Manifest, op: &str, body: &str) -> String {
    let Ok(mut value) = serde_json::from_str::<Value>(body) else {
        return body.to_owned();
    };
    for field in &manifest.op(op).unwrap().secrets {
        if let Some(place) = value.pointer_mut(field.pointer)
            && place.as_str().is_some_and(|text| !text.is_empty())
        {
            *place = SecretRef::captured(op, field.name).as_str().into();
        }
    }
    value.to_string()
}

/// Runs one step. The checkpoint goes through its stored form, as it would in the host.
pub async fn step(
    post: &Post,
    at: Option<&Checkpoint>,
    now: DateTime<Utc>,
    replies: Vec<Reply>,
) -> (Result<Progress, ProviderError>, Vec<HttpRequest>) {
    let provider = tiktok();
    let script = Script::new(&*provider, now, replies);
    let (app, account) = (app(), account());
    let ctx = Ctx::new(&script, now, &app, Some(&account));
    let at = at.map(stored);
    let result = provider.publisher().unwrap().advance(&ctx, post, at.as_ref()).await;
    (result, script.finish())
}

pub async fn reconcile(post: &Post, at: &Checkpoint, now: DateTime<Utc>, replies: Vec<Reply>) -> Reconciled {
    reconcile_as(post, at, None, now, replies).await
}

/// The same where a webhook has told the attempt's id.
pub async fn reconcile_as(
    post: &Post,
    at: &Checkpoint,
    known_as: Option<&str>,
    now: DateTime<Utc>,
    replies: Vec<Reply>,
) -> Reconciled {
    let provider = tiktok();
    let script = Script::new(&*provider, now, replies);
    let (app, account) = (app(), account());
    let ctx = Ctx::new(&script, now, &app, Some(&account));
    let result = provider
        .publisher()
        .unwrap()
        .reconcile(&ctx, post, Some(&stored(at)), known_as)
        .await;
    script.finish();
    result.unwrap()
}

pub async fn cancel(post: &Post, at: Option<&Checkpoint>, replies: Vec<Reply>) -> Result<Cancelled, ProviderError> {
    let provider = tiktok();
    let script = Script::new(&*provider, start(), replies);
    let (app, account) = (app(), account());
    let ctx = Ctx::new(&script, start(), &app, Some(&account));
    let result = provider.publisher().unwrap().cancel(&ctx, post, at).await;
    script.finish();
    result
}

fn stored(checkpoint: &Checkpoint) -> Checkpoint {
    let text = serde_json::to_string(checkpoint).unwrap();
    assert!(text.len() < Checkpoint::MAX_BYTES);
    assert!(!text.contains("canary"), "a secret in the checkpoint: {text}");
    serde_json::from_str(&text).unwrap()
}

/// The step must go on: where, and when.
#[track_caller]
pub fn continues(result: Result<Progress, ProviderError>) -> (Checkpoint, Duration) {
    match result.unwrap() {
        Progress::Continue { checkpoint, wake_after } => (checkpoint, wake_after),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
pub fn publishes(result: Result<Progress, ProviderError>) -> (Publication, Option<(Checkpoint, Duration)>) {
    match result.unwrap() {
        Progress::Published { publication, follow_up } => {
            (publication, follow_up.map(|more| (more.checkpoint, more.wake_after)))
        }
        other => panic!("{other:?}"),
    }
}

pub fn json_body(request: &HttpRequest) -> &Value {
    match &request.body {
        Body::Json(value) => value,
        other => panic!("{other:?}"),
    }
}

pub fn later(from: DateTime<Utc>, seconds: i64) -> DateTime<Utc> {
    from + TimeDelta::seconds(seconds)
}

pub fn video_post(mode: PostMode, origin: MediaOrigin, size_bytes: Option<u64>) -> Post {
    let media = PostMedia {
        id: MediaId::from_uuid(Uuid::from_u128(7)),
        origin,
        info: info(MediaKind::Video, "video/mp4", size_bytes),
    };
    let options = match mode {
        PostMode::Direct => json!({ "privacy_level": "PUBLIC_TO_EVERYONE" }),
        PostMode::Draft => json!({}),
    };
    post(PostKind::Video, mode, vec![media], options)
}

/// A stored video of 50,000,123 bytes: with the default chunk size four chunks, the last of 18,542,843.
pub fn file_post(mode: PostMode) -> Post {
    video_post(mode, MediaOrigin::Stored, Some(50_000_123))
}

pub fn pull_post(mode: PostMode) -> Post {
    video_post(
        mode,
        MediaOrigin::Url(url("https://media.example.com/v.mp4")),
        Some(8_000_000),
    )
}

pub fn photo_post(mode: PostMode, count: usize) -> Post {
    let media = (0..count)
        .map(|index| PostMedia {
            id: MediaId::from_uuid(Uuid::from_u128(100 + index as u128)),
            origin: MediaOrigin::Url(url(&format!("https://media.example.com/{index}.jpg"))),
            info: info(MediaKind::Image, "image/jpeg", None),
        })
        .collect();
    let options = match mode {
        PostMode::Direct => json!({ "privacy_level": "PUBLIC_TO_EVERYONE" }),
        PostMode::Draft => json!({}),
    };
    post(PostKind::Images, mode, media, options)
}

pub fn with_option(mut post: Post, name: &str, value: Value) -> Post {
    post.options.insert(name.to_owned(), value);
    post
}

pub fn url(text: &str) -> Url {
    Url::parse(text).unwrap()
}

pub fn query(url: &Url) -> BTreeMap<String, String> {
    url.query_pairs().into_owned().collect()
}

fn post(kind: PostKind, mode: PostMode, media: Vec<PostMedia>, options: Value) -> Post {
    let Value::Object(options) = options else {
        panic!("options are an object")
    };
    Post {
        id: PostId::from_uuid(Uuid::from_u128(3)),
        kind,
        mode,
        title: Some("Hello #world".to_owned()),
        text: None,
        media,
        options,
    }
}

fn info(kind: MediaKind, mime: &str, size_bytes: Option<u64>) -> MediaInfo {
    MediaInfo {
        size_bytes,
        ..MediaInfo::of(kind, mime)
    }
}
