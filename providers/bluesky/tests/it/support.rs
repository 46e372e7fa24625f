//! A transport that answers from a script, and that does what the host would: it checks every request against the op
//! table and swaps secret fields for handles.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use patchbay_core::{
    AccountId, AccountView, AppCredentials, Body, Checkpoint, Credentials, Ctx, Effect, HttpRequest, HttpResponse,
    HttpTransport, Manifest, MediaId, MediaInfo, MediaKind, MediaOrigin, Post, PostId, PostKind, PostMedia, PostMode,
    Progress, Provider, ProviderError, Reconciled, SecretRef, Settings, Target, TransportError,
};
use serde_json::{Value, json};
use url::Url;
use uuid::Uuid;

pub const DID: &str = "did:plc:jlmfuexhcin4qnwlshbnhxlp";
pub const SERVER: &str = "https://pds.example.com/";

/// What the script holds for one call.
pub enum Reply {
    Answer(&'static str, u16, Value),
    Lost(&'static str),
}

pub fn ok(op: &'static str, body: Value) -> Reply {
    Reply::Answer(op, 200, body)
}

/// A refused one, as servers of the network write it.
pub fn refused(op: &'static str, status: u16, name: &str) -> Reply {
    Reply::Answer(op, status, json!({ "error": name, "message": "m" }))
}

pub fn bluesky() -> Arc<dyn Provider> {
    patchbay_provider_bluesky::build(&Settings::default()).unwrap()
}

pub fn start() -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000, 0).unwrap()
}

pub fn app() -> AppCredentials {
    AppCredentials {
        client_id: "bluesky".to_owned(),
        client_secret: SecretRef::app("client_secret"),
    }
}

pub fn account() -> AccountView {
    AccountView {
        id: AccountId::from_uuid(Uuid::from_u128(1)),
        remote_id: DID.to_owned(),
        scopes: Vec::new(),
        credentials: Credentials {
            secrets: ["access_token", "refresh_token"]
                .map(|name| (name.to_owned(), SecretRef::account(name)))
                .into(),
            server: Url::parse(SERVER).ok(),
            ..Credentials::default()
        },
    }
}

/// Plays replies in order.
pub struct Script {
    manifest: Manifest,
    replies: Mutex<VecDeque<Reply>>,
    sent: Mutex<Vec<HttpRequest>>,
}

impl Script {
    pub fn new(replies: Vec<Reply>) -> Self {
        Self {
            manifest: bluesky().manifest().clone(),
            replies: Mutex::new(replies.into()),
            sent: Mutex::default(),
        }
    }

    /// What was sent; every reply must have been used, and at most one call may have been a commit.
    pub fn finish(self) -> Vec<HttpRequest> {
        assert!(self.replies.into_inner().unwrap().is_empty(), "replies are left over");
        let sent = self.sent.into_inner().unwrap();
        let effect = |request: &&HttpRequest| self.manifest.op(&request.op).unwrap().effect == Effect::Commit;
        assert!(sent.iter().filter(effect).count() <= 1, "two commits in one step");
        sent
    }
}

#[async_trait]
impl HttpTransport for Script {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, TransportError> {
        let row = self
            .manifest
            .op(&request.op)
            .unwrap_or_else(|| panic!("undeclared op {}", request.op));
        let Target::Url(url) = &request.target else {
            panic!("{request:?}")
        };
        assert!(row.account_server || row.allows_host(url.host_str().unwrap()), "{url}");
        assert_eq!(url.scheme(), "https");
        let reply = self.replies.lock().unwrap().pop_front();
        let reply = reply.unwrap_or_else(|| panic!("no reply for {}", request.op));
        let op = match &reply {
            Reply::Answer(op, ..) | Reply::Lost(op) => *op,
        };
        assert_eq!(request.op, op, "another call was expected");
        self.sent.lock().unwrap().push(request);
        match reply {
            Reply::Answer(_, status, mut body) => {
                for field in &row.secrets {
                    if let Some(place) = body.pointer_mut(field.pointer) {
                        *place = SecretRef::captured(op, field.name).as_str().into();
                    }
                }
                Ok(HttpResponse {
                    status,
                    headers: Vec::new(),
                    body: body.to_string().into_bytes().into(),
                    received_at: start(),
                })
            }
            Reply::Lost(_) => Err(TransportError::Lost {
                effect: row.effect,
                reason: "cut".to_owned(),
            }),
        }
    }
}

/// Runs one step. The checkpoint goes through its stored form, as it would in the host.
pub async fn step(
    post: &Post,
    at: Option<&Checkpoint>,
    replies: Vec<Reply>,
) -> (Result<Progress, ProviderError>, Vec<HttpRequest>) {
    let script = Script::new(replies);
    let (app, account) = (app(), account());
    let ctx = Ctx::new(&script, start(), &app, Some(&account));
    let at = at.map(stored);
    let result = bluesky().publisher().unwrap().advance(&ctx, post, at.as_ref()).await;
    (result, script.finish())
}

pub async fn reconcile(post: &Post, at: &Checkpoint, replies: Vec<Reply>) -> Result<Reconciled, ProviderError> {
    let script = Script::new(replies);
    let (app, account) = (app(), account());
    let ctx = Ctx::new(&script, start(), &app, Some(&account));
    let result = bluesky()
        .publisher()
        .unwrap()
        .reconcile(&ctx, post, Some(&stored(at)), None)
        .await;
    script.finish();
    result
}

fn stored(checkpoint: &Checkpoint) -> Checkpoint {
    let text = serde_json::to_string(checkpoint).unwrap();
    assert!(text.len() < Checkpoint::MAX_BYTES);
    serde_json::from_str(&text).unwrap()
}

/// The step must go on.
#[track_caller]
pub fn continues(result: Result<Progress, ProviderError>) -> Checkpoint {
    match result.unwrap() {
        Progress::Continue { checkpoint, wake_after } if wake_after.is_zero() => checkpoint,
        other => panic!("{other:?}"),
    }
}

pub fn json_body(request: &HttpRequest) -> &Value {
    match &request.body {
        Body::Json(value) => value,
        other => panic!("{other:?}"),
    }
}

pub fn address(request: &HttpRequest) -> &str {
    match &request.target {
        Target::Url(url) => url.as_str(),
        Target::Secret(_) => panic!("{request:?}"),
    }
}

pub fn text_post(text: &str) -> Post {
    post(PostKind::Text, text, Vec::new())
}

pub fn image_post(count: usize) -> Post {
    let image = |index| file(index, MediaKind::Image, "image/png", 1_000 + index);
    post(PostKind::Images, "Two pictures", (0..count as u64).map(image).collect())
}

pub fn video_post() -> Post {
    post(
        PostKind::Video,
        "",
        vec![file(0, MediaKind::Video, "video/mp4", 4_000_000)],
    )
}

pub fn with_option(mut post: Post, name: &str, value: &str) -> Post {
    post.options.insert(name.to_owned(), value.into());
    post
}

fn post(kind: PostKind, text: &str, media: Vec<PostMedia>) -> Post {
    Post {
        id: PostId::from_uuid(Uuid::from_u128(3)),
        kind,
        mode: PostMode::Direct,
        title: None,
        text: Some(text.to_owned()),
        media,
        options: serde_json::Map::new(),
    }
}

fn file(index: u64, kind: MediaKind, mime: &str, size: u64) -> PostMedia {
    PostMedia {
        id: MediaId::from_uuid(Uuid::from_u128(100 + u128::from(index))),
        origin: MediaOrigin::Stored,
        info: MediaInfo {
            size_bytes: Some(size),
            width: Some(800),
            height: Some(600),
            ..MediaInfo::of(kind, mime)
        },
    }
}
