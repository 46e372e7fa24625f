//! Real components in a real engine. They are built by `providers/sdk/build`, and lane `wasm` of `tests/run` says where
//! they are.
#![expect(
    clippy::unwrap_used,
    reason = "a helper of a test fails the test as the test itself would"
)]

mod hostile;
mod made;
mod refused;
mod serves;
mod versions;

use std::{
    path::PathBuf,
    sync::{Mutex, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use chrono::DateTime;
use patchbay_core::{
    AccountId, AccountView, AppCredentials, Credentials, Ctx, HttpRequest, HttpResponse, HttpTransport, Post, PostId,
    PostKind, PostMode, Progress, Provider, ProviderError, SecretRef, Settings, TransportError,
};
use patchbay_wasm::{Cache, Engine, Guest, Limits};

/// A component that was built for these tests.
fn component(name: &str) -> Vec<u8> {
    let Some(dir) = std::env::var_os("PATCHBAY_TEST_COMPONENTS") else {
        panic!("PATCHBAY_TEST_COMPONENTS is not set: run this by 'tests/run wasm'")
    };
    let path = PathBuf::from(dir).join(format!("{name}.wasm"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// One engine for all tests of a process.
fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    // Each test is a process; one of them compiles.
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("component-code");
    ENGINE.get_or_init(|| Engine::new(patient(), Some(Cache::new(dir, [7; 32]))).unwrap())
}

/// The limits of a host, but for those by the clock: this program is not optimised, and its machine has other work.
fn patient() -> Limits {
    Limits {
        compile: Duration::from_mins(10),
        wall: Duration::from_mins(10),
        ..Limits::default()
    }
}

fn settings(pairs: &[(&str, &str)]) -> Settings {
    Settings(
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).into()))
            .collect(),
    )
}

async fn hostile() -> Guest {
    let component = engine().load(component("patchbay-hostile")).await.unwrap();
    component.build(&Settings::default()).await.unwrap()
}

/// A platform that answers everything with an empty object, and remembers what it was asked.
#[derive(Default)]
struct Platform {
    asked: Mutex<Vec<HttpRequest>>,
}

#[async_trait]
impl HttpTransport for Platform {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, TransportError> {
        self.asked.lock().unwrap().push(request);
        Ok(HttpResponse {
            status: 200,
            headers: Vec::new(),
            body: "{}".into(),
            received_at: DateTime::UNIX_EPOCH,
        })
    }
}

impl Platform {
    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

fn text(text: &str) -> Post {
    Post {
        id: PostId::from_uuid(uuid::Uuid::from_u128(1)),
        kind: PostKind::Text,
        mode: PostMode::Direct,
        title: None,
        text: Some(text.to_owned()),
        media: Vec::new(),
        options: serde_json::Map::new(),
    }
}

/// Lets a provider post a text.
async fn advance(provider: &dyn Provider, platform: &Platform, how: &str) -> Result<Progress, ProviderError> {
    let app = AppCredentials {
        client_id: "client".to_owned(),
        client_secret: SecretRef::app("client_secret"),
    };
    let account = AccountView {
        id: AccountId::from_uuid(uuid::Uuid::from_u128(2)),
        remote_id: "remote".to_owned(),
        scopes: vec!["notes.write".to_owned()],
        credentials: Credentials::default(),
    };
    let ctx = Ctx::new(platform, DateTime::UNIX_EPOCH, &app, Some(&account));
    provider.publisher().unwrap().advance(&ctx, &text(how), None).await
}

/// What a hostile component says when it does as it is asked.
async fn said(provider: &dyn Provider, how: &str) -> String {
    match advance(provider, &Platform::default(), how).await.unwrap() {
        Progress::Published { publication, .. } => publication.remote_ids.concat(),
        other => panic!("{other:?}"),
    }
}
