//! A made-up platform over HTTP: accounts, posts of text or one video, and signed webhooks. It is as strict as the laws
//! need: refresh tokens die with their use, parts come in order, and nothing is idempotent.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use axum::{
    Form, Json, Router,
    body::Bytes,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode},
    routing::{get, post},
};
use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit, Mac};
use patchbay_conformance::Platform;
use patchbay_simkit::{
    Clock, Outgoing, Signer, Signing, WebhookSender, WebhookSettings, lock, outbound, serve, stand::StandConfig,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use url::Url;

pub const MAX_PART: usize = 1_000;
pub const POSTS_A_MINUTE: u32 = 30;
pub const LOOKS_A_MINUTE: u32 = 20;
const PROCESSING: TimeDelta = TimeDelta::seconds(5);

struct World {
    clock: Clock,
    config: StandConfig,
    webhooks: WebhookSender,
    flaw: &'static str,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    serial: u32,
    access: Vec<String>,
    refresh: Vec<String>,
    posts: Vec<Post>,
    uploads: BTreeMap<String, Upload>,
    files: Vec<String>,
    stalled: bool,
    /// Times of calls that are counted, by what they are.
    counted: BTreeMap<&'static str, Vec<DateTime<Utc>>>,
}

impl Inner {
    fn admit(&mut self, what: &'static str, most: u32, now: DateTime<Utc>) -> Result<(), Answer> {
        let times = self.counted.entry(what).or_default();
        times.retain(|at| *at + TimeDelta::minutes(1) > now);
        if times.len() >= most as usize {
            return Err(refuse(StatusCode::TOO_MANY_REQUESTS, "too_many"));
        }
        times.push(now);
        Ok(())
    }
}

struct Post {
    id: String,
    client_ref: String,
    due: DateTime<Utc>,
    published: bool,
}

struct Upload {
    size: usize,
    held: Vec<u8>,
}

type Answer = (StatusCode, Json<Value>);
type Shared = State<Arc<World>>;

fn refuse(status: StatusCode, code: &str) -> Answer {
    (status, Json(json!({ "error": { "code": code } })))
}

pub async fn start(config: StandConfig, flaw: &'static str) -> Result<Box<dyn Platform>, String> {
    let clock = Clock::frozen_at(DateTime::from_timestamp(1_790_000_000, 0).ok_or("no time")?);
    let (stop, stopped) = watch::channel(false);
    let webhooks = WebhookSender::new(
        clock.clone(),
        ToySigner {
            secret: config.client_secret.clone(),
            flaw,
        },
        outbound::loopback_client(Duration::from_secs(10)).map_err(|error| error.to_string())?,
        WebhookSettings {
            target: config.webhook_url.clone(),
            ..WebhookSettings::default()
        },
    );
    drop(tokio::spawn(webhooks.clone().run(stopped.clone())));
    let world = Arc::new(World {
        clock,
        config,
        webhooks,
        flaw,
        inner: Mutex::default(),
    });
    let router = Router::new()
        .route("/token", post(token))
        .route("/revoke", post(revoke))
        .route("/me", get(me))
        .route("/posts", post(create).get(list))
        .route("/posts/{id}", get(show))
        .route("/uploads", post(begin))
        .route("/uploads/{id}", get(held).put(part))
        .with_state(Arc::clone(&world));
    let (listener, address) = serve::bind(([127, 0, 0, 1], 0).into())
        .await
        .map_err(|error| error.to_string())?;
    serve::spawn(listener, router, stopped);
    Ok(Box::new(Toy { world, address, stop }))
}

async fn token(State(world): Shared, Form(form): Form<HashMap<String, String>>) -> Answer {
    let mut inner = lock(&world.inner);
    let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    if field("client_secret") != world.config.client_secret {
        return refuse(StatusCode::BAD_REQUEST, "invalid_client");
    }
    let good = match field("grant_type") {
        "authorization_code" => field("code") == "code-0123456789" && !field("code_verifier").is_empty(),
        "refresh_token" => {
            let known = inner.refresh.iter().position(|token| token == field("refresh_token"));
            known.map(|place| inner.refresh.remove(place)).is_some()
        }
        _ => false,
    };
    if !good {
        return refuse(StatusCode::BAD_REQUEST, "invalid_grant");
    }
    inner.serial += 1;
    let (access, refresh) = (
        format!("access-token-{:08}", inner.serial),
        format!("refresh-token-{:08}", inner.serial),
    );
    inner.access.push(access.clone());
    inner.refresh.push(refresh.clone());
    let mut answer = json!({
        "access_token": access, "refresh_token": refresh, "expires_in": 7200, "user_id": "user-1", "scope": "post read",
    });
    if world.flaw == "secrets::not_in_requests" {
        answer["session"] = access.into();
    }
    if world.flaw == "secrets::fields_declared" {
        answer["id_token"] = "id-token-of-user-1".into();
    }
    (StatusCode::OK, Json(answer))
}

async fn revoke(State(world): Shared, Form(form): Form<HashMap<String, String>>) -> Answer {
    let mut inner = lock(&world.inner);
    let known = inner.access.iter().position(|token| Some(token) == form.get("token"));
    match known {
        Some(place) => {
            inner.access.remove(place);
            (StatusCode::OK, Json(json!({})))
        }
        None => refuse(StatusCode::BAD_REQUEST, "invalid_token"),
    }
}

impl World {
    fn authorized(&self, headers: &HeaderMap) -> Result<String, Answer> {
        let header = headers.get("authorization").and_then(|value| value.to_str().ok());
        let token = header
            .and_then(|value| value.strip_prefix("Bearer "))
            .unwrap_or_default();
        match lock(&self.inner).access.iter().any(|known| known == token) {
            true => Ok(token.to_owned()),
            false => Err(refuse(StatusCode::UNAUTHORIZED, "token_invalid")),
        }
    }

    fn tick(&self) {
        let now = self.clock.now();
        let mut inner = lock(&self.inner);
        let stalled = inner.stalled;
        for post in inner
            .posts
            .iter_mut()
            .filter(|post| !post.published && post.due <= now && !stalled)
        {
            post.published = true;
            self.webhooks.send(&Outgoing {
                event: "post.published".to_owned(),
                body: json!({
                    "id": post.id.len() + 40, "event": "post.published", "post": post.id, "at": post.due.timestamp(),
                })
                .to_string(),
                signing: Signing::Valid,
            });
        }
    }
}

async fn me(State(world): Shared, headers: HeaderMap) -> Answer {
    match world.authorized(&headers) {
        Ok(_) => (StatusCode::OK, Json(json!({ "id": "user-1", "name": "Ada" }))),
        Err(refusal) => refusal,
    }
}

async fn create(State(world): Shared, headers: HeaderMap, Json(body): Json<Value>) -> Answer {
    let token = match world.authorized(&headers) {
        Ok(token) => token,
        Err(refusal) => return refusal,
    };
    let now = world.clock.now();
    let mut inner = lock(&world.inner);
    if let Err(refusal) = inner.admit("posts", POSTS_A_MINUTE, now) {
        return refusal;
    }
    if let Some(upload) = body["upload"].as_str() {
        let Some(upload) = inner
            .uploads
            .get(upload)
            .filter(|upload| upload.held.len() == upload.size)
        else {
            return refuse(StatusCode::BAD_REQUEST, "upload_incomplete");
        };
        let digest = hex::encode(Sha256::digest(&upload.held));
        inner.files.push(digest);
    }
    let id = format!("post-{}", inner.posts.len() + 1);
    inner.posts.push(Post {
        id: id.clone(),
        client_ref: body["client_ref"].as_str().unwrap_or_default().to_owned(),
        due: now + PROCESSING,
        published: false,
    });
    let mut answer = json!({ "id": id });
    if world.flaw == "secrets::not_in_checkpoints" {
        answer["session"] = token.into();
    }
    (StatusCode::CREATED, Json(answer))
}

fn shown(post: &Post) -> Value {
    json!({ "id": post.id, "state": if post.published { "published" } else { "processing" } })
}

async fn list(State(world): Shared, headers: HeaderMap, Query(query): Query<HashMap<String, String>>) -> Answer {
    world.tick();
    if let Err(refusal) = world.authorized(&headers) {
        return refusal;
    }
    let inner = lock(&world.inner);
    let wanted = query.get("client_ref").cloned().unwrap_or_default();
    let posts: Vec<_> = inner
        .posts
        .iter()
        .filter(|post| post.client_ref == wanted)
        .map(shown)
        .collect();
    let next = (!query.contains_key("after")).then_some("1");
    (StatusCode::OK, Json(json!({ "posts": posts, "next": next })))
}

async fn show(State(world): Shared, headers: HeaderMap, Path(id): Path<String>) -> Answer {
    world.tick();
    if let Err(refusal) = world.authorized(&headers) {
        return refusal;
    }
    let mut inner = lock(&world.inner);
    if let Err(refusal) = inner.admit("looks", LOOKS_A_MINUTE, world.clock.now()) {
        return refusal;
    }
    match inner.posts.iter().find(|post| post.id == id) {
        Some(post) => (StatusCode::OK, Json(shown(post))),
        None => refuse(StatusCode::NOT_FOUND, "no_such_post"),
    }
}

async fn begin(State(world): Shared, headers: HeaderMap, Json(body): Json<Value>) -> Answer {
    if let Err(refusal) = world.authorized(&headers) {
        return refusal;
    }
    let mut inner = lock(&world.inner);
    let id = format!("upload-{}", inner.uploads.len() + 1);
    let size = body["size"]
        .as_u64()
        .and_then(|size| usize::try_from(size).ok())
        .unwrap_or_default();
    inner.uploads.insert(id.clone(), Upload { size, held: Vec::new() });
    (StatusCode::CREATED, Json(json!({ "upload": id })))
}

async fn held(State(world): Shared, Path(id): Path<String>) -> Answer {
    match lock(&world.inner).uploads.get(&id) {
        Some(upload) => (StatusCode::OK, Json(json!({ "held": upload.held.len() }))),
        None => refuse(StatusCode::NOT_FOUND, "no_such_upload"),
    }
}

async fn part(State(world): Shared, Path(id): Path<String>, headers: HeaderMap, body: Bytes) -> Answer {
    let offset = headers
        .get("x-offset")
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    let mut inner = lock(&world.inner);
    let Some(upload) = inner.uploads.get_mut(&id) else {
        return refuse(StatusCode::NOT_FOUND, "no_such_upload");
    };
    if body.len() > MAX_PART {
        return refuse(StatusCode::PAYLOAD_TOO_LARGE, "part_too_large");
    }
    match offset {
        // The same part again does no harm.
        Some(offset) if offset + body.len() == upload.held.len() => {}
        Some(offset) if offset == upload.held.len() => upload.held.extend_from_slice(&body),
        _ => return refuse(StatusCode::RANGE_NOT_SATISFIABLE, "out_of_order"),
    }
    (StatusCode::OK, Json(json!({ "held": upload.held.len() })))
}

struct ToySigner {
    secret: String,
    flaw: &'static str,
}

impl Signer for ToySigner {
    fn headers(&self, body: &str, at: DateTime<Utc>, _: &Signing) -> Vec<(String, String)> {
        let t = at.timestamp();
        let text = match self.flaw {
            "webhooks::forged" => format!("{t}."),
            _ => format!("{t}.{body}"),
        };
        let mut mac = Hmac::<Sha256>::new_from_slice(self.secret.as_bytes()).expect("any key");
        mac.update(text.as_bytes());
        vec![(
            "Toy-Signature".to_owned(),
            format!("t={t},s={}", hex::encode(mac.finalize().into_bytes())),
        )]
    }
}

struct Toy {
    world: Arc<World>,
    address: SocketAddr,
    stop: watch::Sender<bool>,
}

impl Drop for Toy {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

#[async_trait]
impl Platform for Toy {
    fn hosts(&self) -> Vec<(String, SocketAddr)> {
        ["toy.example", "api.toy.example"]
            .map(|host| (host.to_owned(), self.address))
            .to_vec()
    }

    fn clock(&self) -> Clock {
        self.world.clock.clone()
    }

    async fn consent(&self, authorize_url: &str) -> Result<String, String> {
        let url = Url::parse(authorize_url).map_err(|error| error.to_string())?;
        let state = url
            .query_pairs()
            .find(|(name, _)| name == "state")
            .map(|(_, value)| value.into_owned());
        let state = state.ok_or("no state")?;
        Ok(format!(
            "{}?code=code-0123456789&state={state}",
            self.world.config.redirect_uri
        ))
    }

    fn effects(&self) -> usize {
        self.world.tick();
        lock(&self.world.inner)
            .posts
            .iter()
            .filter(|post| post.published)
            .count()
    }

    fn files(&self) -> Vec<String> {
        lock(&self.world.inner).files.clone()
    }

    fn stall(&self) {
        lock(&self.world.inner).stalled = true;
    }

    async fn settle(&self) {
        self.world.tick();
        self.world.webhooks.idle().await;
    }
}
