//! Calls through the gate: what the caller sees, and what the journal keeps.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use patchbay_simkit::gate::{Gate, Platform, gated};
use patchbay_simkit::{Action, Clock, Fault, Faults, Journal, When, outbound, serve};
use tokio::sync::watch;

struct Toy;

impl Platform for Toy {
    fn op(&self, _: &str, _: &Method, path: &str) -> &'static str {
        if path == "/thing" { "thing" } else { "unknown" }
    }

    fn accounts(&self, token: &str) -> Vec<String> {
        vec![format!("owner of {token}")]
    }

    fn refusal(&self, _: &str, _: &Request, code: &str, status: Option<u16>, _: Option<&str>) -> Response {
        let status = StatusCode::from_u16(status.unwrap_or(418)).unwrap();
        (status, code.to_owned()).into_response()
    }
}

struct World {
    address: SocketAddr,
    faults: Faults,
    journal: Journal,
    effects: Arc<AtomicU32>,
    client: reqwest::Client,
    _stop: watch::Sender<bool>,
}

async fn world() -> World {
    let (faults, journal) = (Faults::default(), Journal::default());
    let effects = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&effects);
    let router = Router::new().route(
        "/thing",
        get(move || async move {
            counted.fetch_add(1, Ordering::SeqCst);
            r#"{"answer":"whole and well"}"#
        }),
    );
    let router = gated(
        router,
        Gate {
            host: "api",
            platform: Arc::new(Toy),
            clock: Clock::running(),
            faults: faults.clone(),
            journal: journal.clone(),
        },
    );
    let (stop, stopped) = watch::channel(false);
    let (listener, address) = serve::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    serve::spawn(listener, router, stopped);
    World {
        address,
        faults,
        journal,
        effects,
        client: outbound::client(std::time::Duration::from_secs(10)).unwrap(),
        _stop: stop,
    }
}

impl World {
    async fn ask(&self) -> reqwest::Result<(u16, String)> {
        let answer = self
            .client
            .get(format!("http://{}/thing", self.address))
            .bearer_auth("act.secret")
            .send()
            .await?;
        let status = answer.status().as_u16();
        Ok((status, answer.text().await?))
    }

    async fn with(&self, action: Action) -> reqwest::Result<(u16, String)> {
        self.faults.put("f", Fault::new("thing", action).once());
        self.ask().await
    }

    fn effects(&self) -> u32 {
        self.effects.swap(0, Ordering::SeqCst)
    }
}

#[tokio::test]
async fn a_connection_can_be_dropped_before_and_after_the_effect() {
    let world = world().await;
    world.with(Action::Drop { when: When::Before }).await.unwrap_err();
    assert_eq!(world.effects(), 0);
    world.with(Action::Drop { when: When::After }).await.unwrap_err();
    assert_eq!(world.effects(), 1);
    assert_eq!(world.ask().await.unwrap().0, 200);
    let calls = world.journal.calls();
    assert_eq!(
        calls.iter().map(|call| call.cut).collect::<Vec<_>>(),
        [true, true, false]
    );
    assert_eq!(calls[0].faults, ["f"]);
}

#[tokio::test]
async fn answers_can_be_replaced_and_spoiled() {
    let world = world().await;
    let refusal = Action::Error {
        code: "teapot".to_owned(),
        status: None,
        message: None,
    };
    assert_eq!(world.with(refusal).await.unwrap(), (418, "teapot".to_owned()));
    assert_eq!(world.effects(), 0);

    let (status, page) = world
        .with(Action::Html {
            status: 503,
            when: When::After,
        })
        .await
        .unwrap();
    assert!(status == 503 && page.starts_with("<html>"));
    assert_eq!(world.effects(), 1);

    let (status, half) = world.with(Action::TruncateBody).await.unwrap();
    assert_eq!((status, half.as_str()), (200, r#"{"answer":"wh"#));
    world.with(Action::CutBody).await.unwrap_err();
}

#[tokio::test]
async fn the_journal_keeps_fingerprints_and_no_tokens() {
    let world = world().await;
    world.ask().await.unwrap();
    let call = world.journal.calls().remove(0);
    assert_eq!((call.op.as_str(), call.status), ("thing", Some(200)));
    let kept = call.token.unwrap();
    assert_eq!(kept, patchbay_simkit::text::fingerprint("act.secret"));
    assert!(!kept.contains("secret"));
}
