//! A started simulator, a client, and the few steps every story needs.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::HeaderMap;
use axum::response::Response;
use chrono::{DateTime, Utc};
use patchbay_simulator_tiktok::simkit::{Clock, lock, outbound, serve};
use patchbay_simulator_tiktok::{Redirects, Running, Simulator, SimulatorConfig, Switches};
use serde_json::{Value, json};
use tokio::sync::watch;
use url::Url;

pub const WEB: &str = "https://app.test/callback";
pub const DESKTOP: &str = "http://localhost:3456/callback";
pub const KEY: &str = "ck_test";
pub const SECRET: &str = "cs_test";
pub const ALL_SCOPES: &str = "user.info.basic,user.info.profile,user.info.stats,video.list,video.publish,video.upload";
pub const MEDIA_HOST: &str = "media.test";

pub struct World {
    pub tiktok: Running,
    pub client: reqwest::Client,
    _helpers: Vec<watch::Sender<bool>>,
}

pub fn start_time() -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000, 0).unwrap()
}

pub fn config() -> SimulatorConfig {
    SimulatorConfig {
        client_key: KEY.to_owned(),
        client_secret: SECRET.to_owned(),
        redirects: Redirects {
            web: vec![WEB.to_owned()],
            desktop: vec!["http://localhost:*/callback".to_owned()],
        },
        clock: Clock::frozen_at(start_time()),
        seed: Some(1),
        switches: Switches {
            owned_domains: vec![MEDIA_HOST.to_owned()],
            ..Switches::default()
        },
        ..SimulatorConfig::default()
    }
}

pub async fn world() -> World {
    world_with(config()).await
}

pub async fn world_with(config: SimulatorConfig) -> World {
    World {
        tiktok: Simulator::start(config).await.unwrap(),
        client: outbound::client(Duration::from_secs(20)).unwrap(),
        _helpers: Vec::new(),
    }
}

/// An answer of the API: status and body.
pub type Answer = (u16, Value);

impl World {
    pub fn token(&self, account: &str) -> String {
        let scopes: Vec<&str> = ALL_SCOPES.split(',').collect();
        self.tiktok.grant(account, &scopes).unwrap().access_token
    }

    pub fn api_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.tiktok.api)
    }

    pub async fn call(&self, path: &str, token: &str, body: Value) -> Answer {
        let request = self.client.post(self.api_url(path)).bearer_auth(token);
        answer(request.json(&body).send().await.unwrap()).await
    }

    pub async fn form(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let mut all = vec![("client_key", KEY), ("client_secret", SECRET)];
        all.extend_from_slice(fields);
        let request = self.client.post(self.api_url(path)).form(&all);
        answer(request.send().await.unwrap()).await
    }

    pub async fn refresh(&self, token: &str) -> Answer {
        self.form(
            "/v2/oauth/token/",
            &[("grant_type", "refresh_token"), ("refresh_token", token)],
        )
        .await
    }

    pub async fn status(&self, token: &str, publish_id: &str) -> Value {
        let (_, body) = self
            .call(
                "/v2/post/publish/status/fetch/",
                token,
                json!({ "publish_id": publish_id }),
            )
            .await;
        body["data"].clone()
    }

    /// A direct post of a file as one chunk; the publish id and the local upload URL.
    pub async fn begin_upload(&self, token: &str, size: usize, privacy: &str) -> (String, String) {
        let (status, body) = self.call(VIDEO_INIT, token, file_post(size, privacy)).await;
        assert_eq!(status, 200, "{body}");
        let url = body["data"]["upload_url"].as_str().unwrap();
        (text(&body["data"]["publish_id"]), self.local_upload(url))
    }

    /// The URL that a client would reach through the host map.
    pub fn local_upload(&self, url: &str) -> String {
        let url = Url::parse(url).unwrap();
        let host = url.host_str().unwrap();
        let hosts = self.tiktok.hosts();
        let (_, address) = hosts.iter().find(|(known, _)| known == host).unwrap();
        format!("http://{address}{}?{}", url.path(), url.query().unwrap())
    }

    pub async fn put(&self, url: &str, bytes: &[u8], first: usize, total: usize) -> reqwest::Response {
        let last = first + bytes.len() - 1;
        self.client
            .put(url)
            .header("content-type", "video/mp4")
            .header("content-range", format!("bytes {first}-{last}/{total}"))
            .body(bytes.to_vec())
            .send()
            .await
            .unwrap()
    }

    /// A small video posted and fully processed; its publish id.
    pub async fn post_video(&self, token: &str, privacy: &str) -> String {
        let video = video(1000);
        let (id, url) = self.begin_upload(token, video.len(), privacy).await;
        assert_eq!(self.put(&url, &video, 0, video.len()).await.status(), 201);
        self.advance(10);
        self.tiktok.settle().await;
        id
    }

    pub fn advance(&self, seconds: u64) {
        self.tiktok.clock().advance(Duration::from_secs(seconds));
    }

    /// Serves files as the media host and puts it on the pull map.
    pub async fn media(&mut self, files: &[(&str, Vec<u8>)]) -> SocketAddr {
        let files: HashMap<String, Vec<u8>> = files
            .iter()
            .map(|(path, bytes)| ((*path).to_owned(), bytes.clone()))
            .collect();
        let router = Router::new().fallback(move |uri: axum::http::Uri| {
            let found = files.get(uri.path()).cloned();
            async move {
                match found {
                    Some(bytes) => Response::new(axum::body::Body::from(bytes)),
                    None if uri.path() == "/moved" => Response::builder()
                        .status(302)
                        .header("location", "/v.mp4")
                        .body(axum::body::Body::empty())
                        .unwrap(),
                    None => Response::builder().status(404).body(axum::body::Body::empty()).unwrap(),
                }
            }
        });
        let address = self.serve(router).await;
        self.tiktok.change_switches(|switches| {
            switches.pull_map.insert(MEDIA_HOST.to_owned(), address);
        });
        address
    }

    /// Receives webhooks; what came is in the returned list.
    pub async fn receiver(&mut self) -> Inbox {
        let inbox = Inbox::default();
        let kept = inbox.clone();
        let router = Router::new().fallback(move |headers: HeaderMap, body: String| {
            lock(&kept.got).push((headers, body));
            async {}
        });
        let address = self.serve(router).await;
        self.tiktok
            .webhooks()
            .change(|settings| settings.target = Some(format!("http://{address}/hook")));
        inbox
    }

    async fn serve(&mut self, router: Router) -> SocketAddr {
        let (stop, stopped) = watch::channel(false);
        let (listener, address) = serve::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        serve::spawn(listener, router, stopped);
        self._helpers.push(stop);
        address
    }
}

/// Webhooks as they arrived.
#[derive(Clone, Default)]
pub struct Inbox {
    got: Arc<Mutex<Vec<(HeaderMap, String)>>>,
}

impl Inbox {
    pub fn raw(&self) -> Vec<(HeaderMap, String)> {
        lock(&self.got).clone()
    }

    /// Event names, in order of arrival.
    pub fn events(&self) -> Vec<String> {
        self.raw()
            .iter()
            .map(|(_, body)| text(&serde_json::from_str::<Value>(body).unwrap()["event"]))
            .collect()
    }

    /// The parsed inside of the message at that place.
    pub fn content(&self, index: usize) -> Value {
        let body: Value = serde_json::from_str(&self.raw()[index].1).unwrap();
        serde_json::from_str(body["content"].as_str().unwrap()).unwrap()
    }
}

pub const VIDEO_INIT: &str = "/v2/post/publish/video/init/";
pub const INBOX_INIT: &str = "/v2/post/publish/inbox/video/init/";
pub const CONTENT_INIT: &str = "/v2/post/publish/content/init/";
pub const CREATOR_INFO: &str = "/v2/post/publish/creator_info/query/";

pub fn file_source(size: usize, chunk: usize, count: usize) -> Value {
    json!({ "source": "FILE_UPLOAD", "video_size": size, "chunk_size": chunk, "total_chunk_count": count })
}

pub fn file_post(size: usize, privacy: &str) -> Value {
    json!({
        "post_info": { "privacy_level": privacy, "title": "hello" },
        "source_info": file_source(size, size, 1),
    })
}

pub fn url_post(url: &str, privacy: &str) -> Value {
    json!({
        "post_info": { "privacy_level": privacy, "title": "hello" },
        "source_info": { "source": "PULL_FROM_URL", "video_url": url },
    })
}

/// Bytes that open as an MP4 does.
pub fn video(size: usize) -> Vec<u8> {
    let mut bytes = b"\0\0\0\x18ftypisom\0\0\x02\0isomiso2\0\0\0\0mdat".to_vec();
    let mut next = 7u8;
    while bytes.len() < size {
        bytes.push(next);
        next = next.wrapping_mul(31).wrapping_add(11);
    }
    bytes.truncate(size);
    bytes
}

pub fn jpeg() -> Vec<u8> {
    vec![
        0xFF, 0xD8, 0xFF, 0xE0, 0, 4, 1, 2, 0xFF, 0xC0, 0, 11, 8, 4, 0, 4, 0, 1, 1, 0x11, 0,
    ]
}

pub fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("not a text: {value}"))
        .to_owned()
}

pub fn code(body: &Value) -> &str {
    body["error"]["code"].as_str().unwrap_or_default()
}

pub async fn answer(response: reqwest::Response) -> Answer {
    let status = response.status().as_u16();
    (status, response.json().await.unwrap())
}
