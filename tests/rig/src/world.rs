//! A simulated TikTok, taps on the lines to it, a media host, and the programs that are to use them.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
};

use axum::{Router, http::header, routing::get};
use patchbay_server::demo::sample::{self, Filler, SampleSpec};
use patchbay_simulator_tiktok::{
    Account, PostRecord, Redirects, Running, Simulator, SimulatorConfig,
    simkit::{Random, serve},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;

use crate::{Answer, Api, Database, Host, Program, Tap, api::http};

/// The app's own media host.
pub const MEDIA_HOST: &str = "media.patchbay.example";
/// The host itself, as the platform knows it.
const HOST_NAME: &str = "host.patchbay.example";
/// The smallest chunk that TikTok takes. So files of several chunks stay small.
pub const CHUNK: u64 = 5_242_880;
/// A file of four chunks, the last one larger than the others.
pub const FOUR_CHUNKS: u64 = 4 * CHUNK + 1_234;

/// Everything around the hosts of one test.
pub struct World {
    pub tiktok: Running,
    pub api_tap: Tap,
    pub upload_tap: Tap,
    pub dir: TempDir,
    pub database: Database,
    pub secrets: Secrets,
    /// The first host. Others are made of it.
    pub program: Program,
    _media: watch::Sender<bool>,
}

/// Secrets that the test chose itself.
pub struct Secrets {
    pub client_secret: String,
    pub webhook_secret: String,
    pub worker_secret: String,
    pub master_key: String,
}

/// An account that was connected, and what its connecting showed to the browser.
pub struct Connected {
    pub id: String,
    pub cookie: String,
    pub authorize_url: String,
    pub callback: String,
}

impl World {
    /// On a fresh SQLite file.
    pub async fn on_sqlite() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let database = Database::Sqlite(dir.path().join("patchbay.db"));
        Self::new(dir, database).await
    }

    /// On a database that is there.
    pub async fn on(database: Database) -> Self {
        Self::new(tempfile::tempdir().unwrap(), database).await
    }

    async fn new(dir: TempDir, database: Database) -> Self {
        let (media_stop, media) = serve_media().await;
        let random = Random::from_entropy();
        let secrets = Secrets {
            client_secret: random.alphanumeric(40),
            webhook_secret: random.alphanumeric(40),
            worker_secret: random.alphanumeric(48),
            master_key: random.upper_hex(64).to_lowercase(),
        };
        let program = Program::bare(dir.path());
        let port = program.port;
        let mut config = SimulatorConfig {
            client_secret: secrets.client_secret.clone(),
            redirects: Redirects {
                desktop: vec!["http://127.0.0.1:*/api/platforms/tiktok/callback".to_owned()],
                ..Redirects::default()
            },
            webhook_url: Some(format!("http://127.0.0.1:{port}/api/platforms/tiktok/webhooks")),
            ..SimulatorConfig::default()
        };
        config
            .accounts
            .extend((1..=4).map(|n| Account::named(&format!("more_{n}"), &format!("More {n}"))));
        config.switches.processing_seconds = 0;
        config.switches.post_id_seconds = 1;
        config.switches.owned_domains.push(MEDIA_HOST.to_owned());
        config.switches.pull_map.insert(MEDIA_HOST.to_owned(), media);
        config.switches.owned_domains.push(HOST_NAME.to_owned());
        let here = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        config.switches.pull_map.insert(HOST_NAME.to_owned(), here);
        let client_key = config.client_key.clone();
        let tiktok = Simulator::start(config).await.unwrap();
        let api_tap = Tap::hearing(tiktok.api);
        let upload_tap = Tap::counting(tiktok.upload);
        let program = program
            .with("PATCHBAY__SERVER__PUBLIC_URL", format!("http://127.0.0.1:{port}"))
            .with("PATCHBAY__STORAGE__DIR", dir.path().join("data").display().to_string())
            .with("DATABASE_URL", database.url())
            .with("PATCHBAY__DATABASE__ALLOW_UNSAFE_DURABILITY", "true")
            .with("PATCHBAY__LOG__FILTER", "trace")
            .with("PATCHBAY__LOG__FORMAT", "json")
            .with("TOKEN_ENCRYPTION_KEY", &secrets.master_key)
            .with("WORKER_SECRET", &secrets.worker_secret)
            .with("TIKTOK_CLIENT_KEY", client_key)
            .with("TIKTOK_CLIENT_SECRET", &secrets.client_secret)
            .with(
                "PATCHBAY__PROVIDERS__TIKTOK__WEBHOOK_SECRETS",
                format!("{},{}", secrets.client_secret, secrets.webhook_secret),
            )
            .with("PATCHBAY__PROVIDERS__TIKTOK__ENVIRONMENT", "simulator")
            .with(
                "PATCHBAY__PROVIDERS__TIKTOK__SETTINGS__CHUNK_SIZE_BYTES",
                CHUNK.to_string(),
            )
            .with("PATCHBAY__PROVIDERS__TIKTOK__SETTINGS__POLL_MIN_SECONDS", "2");
        let mut world = Self {
            tiktok,
            api_tap,
            upload_tap,
            dir,
            database,
            secrets,
            program,
            _media: media_stop,
        };
        world.program = world.reaching(world.api_tap.address);
        world
    }

    /// The program with TikTok's API at another address.
    pub fn reaching(&self, api: SocketAddr) -> Program {
        let mut hosts: BTreeMap<String, SocketAddr> = self.tiktok.hosts().into_iter().collect();
        for address in hosts.values_mut() {
            if *address == self.tiktok.api {
                *address = api;
            } else if *address == self.tiktok.upload {
                *address = self.upload_tap.address;
            }
        }
        let pairs: Vec<_> = hosts
            .iter()
            .map(|(host, address)| format!("{host}={address}"))
            .collect();
        self.program
            .clone()
            .with("PATCHBAY__PROVIDERS__TIKTOK__SIMULATOR_HOSTS", pairs.join(","))
    }

    /// The program under an address that the platform can fetch from.
    #[must_use]
    pub fn reachable(&self) -> Program {
        let callback = format!("http://127.0.0.1:{}/api/platforms/tiktok/callback", self.program.port);
        self.program
            .clone()
            .with("PATCHBAY__SERVER__PUBLIC_URL", format!("https://{HOST_NAME}"))
            // Browsers come back as ever.
            .with("TIKTOK_REDIRECT_URI", callback)
    }

    /// Another host on the same database and for the same browser address.
    pub fn replica(&self) -> Program {
        let port = crate::host::free_port();
        Program {
            port,
            ..self.program.clone()
        }
        .with("PATCHBAY__SERVER__LISTEN", format!("127.0.0.1:{port}"))
    }

    /// Makes an API key.
    pub async fn key(&self) -> String {
        self.key_of("default").await
    }

    /// Makes an API key of a tenant, who is made too if there is none of the name.
    pub async fn key_of(&self, tenant: &str) -> String {
        let make = ["keys", "create", "--name", "test", "--tenant", tenant];
        let made = self.program.run(&make).await.succeeded();
        made.stdout().trim().to_owned()
    }

    /// A key, a host, and a client of it.
    pub async fn start(&self) -> (Host, Api) {
        let key = self.key().await;
        let host = self.program.serve().await;
        let api = Api::new(&host.url, Some(&key));
        (host, api)
    }

    /// Goes through the connect as a browser would, up to the callback, which is not called.
    pub async fn consent(&self, api: &Api, username: &str) -> Connected {
        self.consent_by(api, "/api/platforms/tiktok/authorize", username).await
    }

    async fn consent_by(&self, api: &Api, start: &str, username: &str) -> Connected {
        let started = api.get(start).await;
        assert_eq!(started.status.as_u16(), 303, "{}", started.text);
        let authorize_url = started.header("location");
        let cookie = started.header("set-cookie").split(';').next().unwrap().to_owned();
        let page = http().get(&authorize_url).send().await.unwrap();
        assert!(
            page.status().is_success(),
            "the consent page answered {}",
            page.status()
        );
        let url = url::Url::parse(&authorize_url).unwrap();
        let mut form: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        let scopes = form.iter().find(|(name, _)| name == "scope").unwrap().1.clone();
        form.extend(scopes.split(',').map(|scope| ("granted".to_owned(), scope.to_owned())));
        form.push(("account".to_owned(), username.to_owned()));
        form.push(("decision".to_owned(), "allow".to_owned()));
        let answer = http()
            .post(url.join("/v2/auth/authorize/").unwrap())
            .form(&form)
            .send()
            .await
            .unwrap();
        let callback = answer.headers()["location"].to_str().unwrap().to_owned();
        let callback = callback
            .split_once("/api/")
            .map(|(_, rest)| format!("/api/{rest}"))
            .unwrap();
        Connected {
            id: String::new(),
            cookie,
            authorize_url,
            callback,
        }
    }

    /// Connects an account.
    pub async fn connect(&self, api: &Api, username: &str) -> Connected {
        self.connect_by(api, "/api/platforms/tiktok/authorize", username).await
    }

    /// Connects an account by the link of a connect session, or another path that starts it.
    pub async fn connect_by(&self, api: &Api, start: &str, username: &str) -> Connected {
        let begun = self.consent_by(api, start, username).await;
        let landed = call_back(api, &begun).await;
        assert_eq!(landed.status.as_u16(), 303, "{}", landed.text);
        let page = landed.header("location");
        let id = page
            .split("account=")
            .nth(1)
            .unwrap_or_else(|| panic!("landed on {page}"));
        Connected {
            id: id.split('&').next().unwrap().to_owned(),
            ..begun
        }
    }

    /// Posts of this title that were accepted, as the platform has them.
    pub fn posts_titled(&self, title: &str) -> Vec<PostRecord> {
        let mut posts = self.tiktok.oracle().posts();
        posts.retain(|post| post.wishes.title.as_deref() == Some(title));
        posts
    }

    /// How often a post of this title became visible.
    pub fn published(&self, title: &str) -> usize {
        self.posts_titled(title)
            .iter()
            .filter(|post| post.status == "PUBLISH_COMPLETE")
            .count()
    }

    /// Calls of an operation that reached the platform.
    pub fn calls(&self, op: &str) -> usize {
        self.tiktok.journal().count(|call| call.op == op)
    }
}

/// Opens the callback in the browser that began.
pub async fn call_back(api: &Api, begun: &Connected) -> Answer {
    let request = api
        .request(reqwest::Method::GET, &begun.callback)
        .header(header::COOKIE, &begun.cookie);
    api.send(request).await.unwrap()
}

/// A public video post of an uploaded file.
pub fn file_post(account: &str, title: &str, media: &str) -> Value {
    video(account, title, &json!({ "id": media }))
}

/// A public video post that TikTok fetches itself.
pub fn pull_post(account: &str, title: &str) -> Value {
    video(
        account,
        title,
        &json!({ "url": format!("https://{MEDIA_HOST}/sample.mp4") }),
    )
}

/// A public video post of an uploaded file that TikTok fetches from the host. See [`World::reachable`].
pub fn hosted_post(account: &str, title: &str, media: &str) -> Value {
    video(account, title, &json!({ "id": media, "transfer": "pull" }))
}

fn video(account: &str, title: &str, media: &Value) -> Value {
    json!({
        "account_id": account,
        "kind": "video",
        "title": title,
        "media": [media],
        "allow_duplicate": true,
        "options": { "privacy_level": "PUBLIC_TO_EVERYONE" },
    })
}

/// A playable video of exactly this many bytes.
pub fn video_bytes(length: u64, seed: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    sample::write_padded(&SampleSpec::default(), Filler::Seeded(seed), length, &mut bytes).unwrap();
    bytes
}

async fn serve_media() -> (watch::Sender<bool>, SocketAddr) {
    let clip = sample::mp4(&SampleSpec::default());
    let handler = move || {
        let clip = clip.clone();
        async move { ([(header::CONTENT_TYPE, "video/mp4")], clip) }
    };
    let router = Router::new().route("/sample.mp4", get(handler));
    let (listener, address) = serve::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let (stop, stopped) = watch::channel(false);
    drop(serve::spawn(listener, router, stopped));
    (stop, address)
}
