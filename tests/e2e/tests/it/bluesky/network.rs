//! Bluesky's own server software on loopback, which `tests/run bluesky` has started, with a proxy before the server that
//! counts calls and loses some.

use std::{
    collections::{HashSet, VecDeque},
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::stream;
use hmac::{Hmac, KeyInit, Mac};
use patchbay_app::env::Env;
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::net::TcpListener;
use url::form_urlencoded;

use crate::harness::{Api, Reply, send};

/// The name that the server calls itself by; its accounts' documents say so.
pub const NAME: &str = "pds.test";
/// Signs its access tokens (tests/e2e/bluesky/server.mjs).
const JWT_SECRET: &[u8] = b"jwt-secret-of-a-test";

/// The server, its directory, and the proxy before the server.
pub struct Network {
    pub proxy: Arc<Proxy>,
    pub proxy_at: SocketAddr,
    pub plc_at: SocketAddr,
    server: Api,
}

impl Network {
    /// `PATCHBAY_TEST_BLUESKY` is the line that the server printed. Without it the test is skipped, but under `CI` it fails.
    pub async fn find() -> Option<Self> {
        let Ok(line) = std::env::var("PATCHBAY_TEST_BLUESKY") else {
            assert!(
                std::env::var_os("CI").is_none(),
                "PATCHBAY_TEST_BLUESKY is not set: use `tests/run bluesky`"
            );
            eprintln!("skipped: PATCHBAY_TEST_BLUESKY is not set");
            return None;
        };
        let at: Value = serde_json::from_str(&line).unwrap();
        let address = |name: &str| -> SocketAddr { at[name].as_str().unwrap().parse().unwrap() };
        let server = Api::new(format!("http://{}", address("pds")), None);
        let proxy = Arc::new(Proxy {
            server: server.clone(),
            secrets: Mutex::default(),
            seen: Mutex::default(),
            faults: Mutex::default(),
            likes: AtomicU64::default(),
        });
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let proxy_at = listener.local_addr().unwrap();
        let router = Router::new()
            .fallback(pass)
            .layer(axum::extract::DefaultBodyLimit::max(16 << 20))
            .with_state(proxy.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Some(Self {
            proxy,
            proxy_at,
            plc_at: address("plc"),
            server,
        })
    }

    /// What the host is told in the place of the public hosts.
    pub fn hosts(&self) -> String {
        let (proxy, plc) = (self.proxy_at, self.plc_at);
        format!("{NAME}={proxy},public.api.bsky.app={proxy},plc.directory={plc}")
    }

    /// Somebody new on the server, with an app password.
    pub async fn person(&self) -> Person {
        let name = Env::system().ids.next().simple().to_string();
        let handle = format!("p{}.test", &name[12..28]);
        let account = json!({ "handle": handle, "email": format!("{name}@example.com"), "password": "main-password" });
        let account = self.call("com.atproto.server.createAccount", None, &account).await.ok();
        let text = |field: &str| account[field].as_str().unwrap().to_owned();
        let mut person = Person {
            did: text("did"),
            token: text("accessJwt"),
            handle,
            app_password: String::new(),
        };
        self.new_app_password(&mut person).await;
        person
    }

    /// A new app password. The one before works no longer, and neither do the sessions that it began.
    pub async fn new_app_password(&self, person: &mut Person) {
        let token = Some(person.token.as_str());
        let (make, revoke) = (
            "com.atproto.server.createAppPassword",
            "com.atproto.server.revokeAppPassword",
        );
        if !person.app_password.is_empty() {
            let gone = self.call(revoke, token, &json!({ "name": "Patchbay" })).await;
            assert_eq!(gone.status, 200, "{}", gone.text);
        }
        let made = self.call(make, token, &json!({ "name": "Patchbay" })).await.ok();
        person.app_password = made["password"].as_str().unwrap().to_owned();
    }

    /// Posts of somebody, as the server has them.
    pub async fn posts(&self, person: &Person) -> Vec<Value> {
        let path = format!(
            "/xrpc/com.atproto.repo.listRecords?repo={}&collection=app.bsky.feed.post&limit=100",
            person.did
        );
        let listed = self.at(self.server.request(Method::GET, &path)).await.ok();
        listed["records"].as_array().unwrap().clone()
    }

    /// Somebody deletes all of their posts.
    pub async fn forget_posts(&self, person: &Person) {
        for post in self.posts(person).await {
            let rkey = post["uri"].as_str().unwrap().rsplit('/').next().unwrap();
            let record = json!({ "repo": person.did, "collection": "app.bsky.feed.post", "rkey": rkey });
            let gone = self
                .call("com.atproto.repo.deleteRecord", Some(&person.token), &record)
                .await;
            assert_eq!(gone.status, 200, "{}", gone.text);
        }
    }

    /// A file that a record names.
    pub async fn blob(&self, person: &Person, blob: &Value) -> Bytes {
        let cid = blob["ref"]["$link"].as_str().unwrap();
        let path = format!("/xrpc/com.atproto.sync.getBlob?did={}&cid={cid}", person.did);
        let request = self.server.request(Method::GET, &path).header(header::HOST, NAME);
        request.send().await.unwrap().bytes().await.unwrap()
    }

    /// What the server itself says to the token that the last call of a method brought, when it is to renew.
    pub async fn renewal_with_the_token_of(&self, method: &str) -> Reply {
        let token = self.proxy.token_of(method);
        let request = self
            .server
            .request(Method::POST, "/xrpc/com.atproto.server.refreshSession");
        self.at(request.bearer_auth(token)).await
    }

    async fn call(&self, method: &str, token: Option<&str>, body: &Value) -> Reply {
        let mut request = self.server.request(Method::POST, &format!("/xrpc/{method}")).json(body);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        self.at(request).await
    }

    async fn at(&self, request: reqwest::RequestBuilder) -> Reply {
        send(request.header(header::HOST, NAME)).await
    }
}

/// An account on the server.
pub struct Person {
    pub did: String,
    pub handle: String,
    pub app_password: String,
    token: String,
}

/// What happens to one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The server gets it, and its answer is lost.
    LoseAnswer,
    /// The server never gets it.
    LoseRequest,
    /// It brings a token whose time is over.
    Expired,
}

/// Stands before the server.
pub struct Proxy {
    server: Api,
    /// All that nobody but host and server may know: passwords and tokens that either has sent.
    secrets: Mutex<HashSet<String>>,
    /// Methods, and the tokens that they were called with.
    seen: Mutex<Vec<(String, Option<String>)>>,
    faults: Mutex<VecDeque<(&'static str, Fault)>>,
    likes: AtomicU64,
}

impl Proxy {
    /// The next call of this method meets a fault.
    pub fn next(&self, method: &'static str, fault: Fault) {
        self.faults.lock().unwrap().push_back((method, fault));
    }

    /// How often a method was called.
    pub fn calls(&self, method: &str) -> usize {
        self.seen
            .lock()
            .unwrap()
            .iter()
            .filter(|(seen, _)| seen == method)
            .count()
    }

    pub fn secrets(&self) -> HashSet<String> {
        self.secrets.lock().unwrap().clone()
    }

    /// Keeps what is secret in a body.
    fn overhear(&self, body: &[u8]) {
        let Ok(body) = serde_json::from_slice::<Value>(body) else {
            return;
        };
        let secrets = ["password", "accessJwt", "refreshJwt"].map(|name| body[name].as_str().map(str::to_owned));
        self.secrets.lock().unwrap().extend(secrets.into_iter().flatten());
    }

    fn token_of(&self, method: &str) -> String {
        let seen = self.seen.lock().unwrap();
        let last = seen.iter().rfind(|(seen, _)| seen == method);
        last.and_then(|(_, token)| token.clone()).expect("a call with a token")
    }

    /// From now on, everybody sees that so many like each post.
    pub fn like(&self, count: u64) {
        self.likes.store(count, Ordering::Relaxed);
    }

    /// What the part of the network that counts would answer, which is no part of this server: posts that are there.
    async fn posts(&self, query: &str) -> Response {
        let mut posts = Vec::new();
        let uris = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == "uris");
        let uris: Vec<_> = uris.map(|(_, uri)| uri.into_owned()).collect();
        if uris.is_empty() || uris.len() > 25 {
            return (
                StatusCode::BAD_REQUEST,
                axum::Json(json!({ "error": "InvalidRequest" })),
            )
                .into_response();
        }
        for uri in uris {
            let parts: Vec<_> = uri.trim_start_matches("at://").split('/').collect();
            let path = format!(
                "/xrpc/com.atproto.repo.getRecord?repo={}&collection={}&rkey={}",
                parts[0], parts[1], parts[2]
            );
            let found = send(self.server.request(Method::GET, &path).header(header::HOST, NAME)).await;
            if found.status == 200 {
                let likes = self.likes.load(Ordering::Relaxed);
                posts.push(json!({
                    "uri": uri, "cid": "bafy", "likeCount": likes, "replyCount": 1, "repostCount": 2, "quoteCount": 0,
                }));
            }
        }
        axum::Json(json!({ "posts": posts })).into_response()
    }

    fn fault_of(&self, method: &str) -> Option<Fault> {
        let mut faults = self.faults.lock().unwrap();
        let index = faults.iter().position(|(of, _)| *of == method)?;
        faults.remove(index).map(|(_, fault)| fault)
    }
}

async fn pass(
    State(proxy): State<Arc<Proxy>>,
    method: Method,
    uri: Uri,
    mut headers: HeaderMap,
    body: Bytes,
) -> Response {
    let name = uri.path().rsplit('/').next().unwrap_or_default().to_owned();
    let fault = proxy.fault_of(&name);
    let token = headers.get(header::AUTHORIZATION);
    let token = token.map(|token| token.to_str().unwrap().trim_start_matches("Bearer ").to_owned());
    proxy.seen.lock().unwrap().push((name.clone(), token.clone()));
    if name == "app.bsky.feed.getPosts" {
        return proxy.posts(uri.query().unwrap_or_default()).await;
    }
    if fault == Some(Fault::LoseRequest) {
        return cut();
    }
    if fault == Some(Fault::Expired) {
        let token = HeaderValue::from_str(&format!("Bearer {}", expired(&token.unwrap()))).unwrap();
        headers.insert(header::AUTHORIZATION, token);
    }
    proxy.overhear(&body);
    let path = uri.path_and_query().unwrap().as_str();
    // The proxy writes them anew.
    headers.remove(header::CONTENT_LENGTH);
    headers.remove(header::CONNECTION);
    // What the host calls the server by, whichever of its names it used here.
    headers.insert(header::HOST, HeaderValue::from_static(NAME));
    let answer = proxy
        .server
        .request(method, path)
        .headers(headers)
        .body(body)
        .send()
        .await
        .unwrap();
    let (status, mut headers) = (answer.status(), answer.headers().clone());
    let body = answer.bytes().await.unwrap();
    if fault == Some(Fault::LoseAnswer) {
        return cut();
    }
    proxy.overhear(&body);
    headers.remove(header::TRANSFER_ENCODING);
    headers.remove(header::CONNECTION);
    headers.remove(header::CONTENT_LENGTH);
    (status, headers, body).into_response()
}

/// An answer that ends in its middle.
fn cut() -> Response {
    let nothing = stream::iter([Err::<Bytes, _>(std::io::Error::other("cut"))]);
    (
        StatusCode::OK,
        [(header::CONTENT_LENGTH, "100")],
        Body::from_stream(nothing),
    )
        .into_response()
}

/// The same token, over since yesterday, under the server's own signature.
fn expired(token: &str) -> String {
    let parts: Vec<_> = token.split('.').collect();
    let mut claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
    let [begun, over] = ["iat", "exp"].map(|time| claims[time].as_i64().unwrap());
    let earlier = over - begun + 24 * 3600;
    (claims["iat"], claims["exp"]) = ((begun - earlier).into(), (over - earlier).into());
    let signed = format!("{}.{}", parts[0], URL_SAFE_NO_PAD.encode(claims.to_string()));
    let mut mac = Hmac::<Sha256>::new_from_slice(JWT_SECRET).unwrap();
    mac.update(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}
