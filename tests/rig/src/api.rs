//! A small client of the REST API that remembers every answer.

use std::{
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use patchbay_simulator_tiktok::simkit::outbound;
use reqwest::{Method, StatusCode, header};
use serde_json::Value;

/// One HTTP client for all tests of this process would keep connections of dead hosts, so each call asks for a new
/// connection.
pub fn http() -> &'static reqwest::Client {
    static CLIENT: OnceLock<reqwest::Client> = OnceLock::new();
    CLIENT.get_or_init(|| outbound::client(Duration::from_secs(60)).unwrap())
}

/// Talks to one host.
#[derive(Clone)]
pub struct Api {
    base: String,
    key: Option<String>,
    heard: Arc<Mutex<Vec<u8>>>,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: header::HeaderMap,
    pub text: String,
}

impl Answer {
    /// The body as JSON; `null` if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    pub fn header(&self, name: &str) -> String {
        let value = self.headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default().to_owned()
    }

    #[track_caller]
    pub fn ok(self) -> Value {
        assert!(self.status.is_success(), "{} {}", self.status, self.text);
        self.json()
    }
}

impl Api {
    pub fn new(base: &str, key: Option<&str>) -> Self {
        Self {
            base: base.to_owned(),
            key: key.map(str::to_owned),
            heard: Arc::default(),
        }
    }

    /// The same caller at another host. Both remember together.
    #[must_use]
    pub fn at(&self, base: &str) -> Self {
        Self {
            base: base.to_owned(),
            ..self.clone()
        }
    }

    /// The same host with another key, or none.
    #[must_use]
    pub fn with_key(&self, key: Option<&str>) -> Self {
        Self {
            key: key.map(str::to_owned),
            ..self.clone()
        }
    }

    /// Every answer so far: heads and bodies.
    pub fn heard(&self) -> Vec<u8> {
        self.heard.lock().unwrap().clone()
    }

    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = http()
            .request(method, format!("{}{path}", self.base))
            .header(header::CONNECTION, "close");
        match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    /// Sends a request, and remembers the answer.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> Result<Answer, reqwest::Error> {
        let response = request.send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await?;
        let mut heard = self.heard.lock().unwrap();
        heard.extend_from_slice(format!("{status} {headers:?}\n{text}\n").as_bytes());
        Ok(Answer { status, headers, text })
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await.unwrap()
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path).json(body)).await.unwrap()
    }

    /// Sends a request again for as long as a busy host says that it cannot just now, as a client does.
    pub async fn when_free(&self, request: impl Fn() -> reqwest::RequestBuilder) -> Answer {
        crate::until("the host takes the request", async || {
            let answer = self.send(request()).await.unwrap();
            (answer.status != StatusCode::SERVICE_UNAVAILABLE).then_some(answer)
        })
        .await
    }

    /// Uploads a file's bytes; the id.
    pub async fn upload(&self, bytes: Vec<u8>) -> String {
        let request = self
            .request(Method::POST, "/api/media")
            .header("content-type", "video/mp4")
            .body(bytes);
        let media = self.send(request).await.unwrap().ok();
        media["id"].as_str().unwrap().to_owned()
    }

    /// Asks for a post under an idempotency key.
    pub async fn try_post(&self, key: &str, wanted: &Value) -> Result<Answer, reqwest::Error> {
        let request = self
            .request(Method::POST, "/api/platforms/tiktok/posts")
            .header("idempotency-key", key);
        self.send(request.json(wanted)).await
    }

    /// Asks for a post; its id. The title is the idempotency key too.
    pub async fn publish(&self, wanted: &Value) -> String {
        let key = wanted["title"].as_str().unwrap().replace(' ', "-");
        // A busy host may say that it cannot just now, or hang up. A client asks again, under the same key.
        let post = crate::until("the host takes the post", async || {
            let post = self.try_post(&key, wanted).await.ok()?;
            (post.status != StatusCode::SERVICE_UNAVAILABLE).then_some(post)
        })
        .await;
        assert_eq!(post.status, StatusCode::ACCEPTED, "{}", post.text);
        post.json()["id"].as_str().unwrap().to_owned()
    }

    pub async fn post_state(&self, id: &str) -> Value {
        self.get(&format!("/api/platforms/tiktok/posts/{id}")).await.ok()
    }

    /// The post once it has this status. Fails at once if it has ended otherwise.
    pub async fn post_becomes(&self, id: &str, status: &str) -> Value {
        crate::until(&format!("{id} is {status}"), async || {
            let post = self.post_state(id).await;
            let now = post["status"].as_str().unwrap().to_owned();
            let ended = matches!(&*now, "published" | "failed" | "unconfirmed" | "cancelled");
            assert!(now == status || !ended, "{id} is to be {status}: {post}");
            (now == status).then_some(post)
        })
        .await
    }

    /// The journal of irreversible calls.
    pub async fn journal(&self, id: &str) -> Vec<Value> {
        self.whole_journal(id).await["data"].as_array().unwrap().clone()
    }

    /// What was observed of irreversible calls whose answer is missing.
    pub async fn observations(&self, id: &str) -> Vec<Value> {
        self.whole_journal(id).await["observations"].as_array().unwrap().clone()
    }

    async fn whole_journal(&self, id: &str) -> Value {
        let path = format!("/api/platforms/tiktok/posts/{id}/journal");
        self.get(&path).await.json()
    }
}
