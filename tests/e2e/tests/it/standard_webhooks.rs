//! T56: what is sent is verified by libraries of others, as consumers use them.
//!
//! `PATCHBAY_TEST_STANDARDWEBHOOKS_PYTHON` is a Python that has `standardwebhooks`, `PATCHBAY_TEST_STANDARDWEBHOOKS_NODE` a
//! folder `node_modules` that has it (`tests/run contract` installs both); what is not set is skipped.

use std::{env, path::Path, process::Stdio};

use serde_json::json;
use tokio::{io::AsyncWriteExt, process::Command};

use crate::harness::{ADA, Setup, id_of, receiver::Receiver, webhook::body};

const ENDPOINTS: usize = 20;
const EVENTS: usize = 50;

#[tokio::test]
async fn t56_a_thousand_deliveries_are_verified_by_libraries_of_others() {
    let tools = tools();
    if tools.is_empty() {
        return;
    }
    let receiver = Receiver::start().await;
    let setup = Setup {
        // The libraries go by the real time.
        running: true,
        ..Setup::default()
    };
    let hosts = receiver.hosts(&["hooks.example.com"]);
    let world = setup.set("PATCHBAY__EGRESS__SIMULATED_RECEIVERS", hosts).build().await;
    let mut secrets = Vec::new();
    for place in 0..ENDPOINTS {
        let endpoint = json!({ "url": format!("https://hooks.example.com/{place}"), "events": ["*"] });
        let made = world.api.post("/api/webhook-endpoints", &endpoint).await.with(201);
        secrets.push(made["secret"].as_str().unwrap().to_owned());
        if place % 2 == 1 {
            let path = format!("/api/webhook-endpoints/{}/rotate-secret", id_of(&made));
            let rotated = world.api.poke(&path).await.ok();
            // The old one is as good for a day, and the new one at once.
            if place % 4 == 1 {
                secrets[place] = rotated["secret"].as_str().unwrap().to_owned();
            }
        }
    }
    for event in 0..EVENTS {
        let content = json!({ "publish_id": format!("v_{event}"), "text": "kites \u{1f6a9} über\n\u{2028} \"the\" bay".repeat(event) });
        let webhook = body("post.publish.complete", &world.open_id(ADA), world.now(), &content);
        assert_eq!(world.deliver(webhook).await.status, 200);
    }
    receiver.until(ENDPOINTS * EVENTS).await;

    let mut lines = String::new();
    for got in receiver.got() {
        let place: usize = got.path.trim_start_matches('/').parse().unwrap();
        let line = json!({
            "secret": secrets[place],
            "id": got.id(),
            "timestamp": got.header("webhook-timestamp"),
            "signature": got.header("webhook-signature"),
            "body": String::from_utf8(got.body.to_vec()).unwrap(),
        });
        lines.push_str(&format!("{line}\n"));
    }
    for mut tool in tools {
        let mut running = tool.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut input = running.stdin.take().unwrap();
        input.write_all(lines.as_bytes()).await.unwrap();
        drop(input);
        let output = running.wait_with_output().await.unwrap();
        let told = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{told}");
        let count = ENDPOINTS * EVENTS;
        assert_eq!(told.trim(), format!("{count} {count}"));
    }
}

fn tools() -> Vec<Command> {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("standard_webhooks");
    let mut tools = Vec::new();
    match env::var_os("PATCHBAY_TEST_STANDARDWEBHOOKS_PYTHON") {
        Some(python) => {
            let mut tool = Command::new(python);
            tool.arg(scripts.join("verify.py"));
            tools.push(tool);
        }
        None => eprintln!("skipped: PATCHBAY_TEST_STANDARDWEBHOOKS_PYTHON is not set"),
    }
    match env::var_os("PATCHBAY_TEST_STANDARDWEBHOOKS_NODE") {
        Some(modules) => {
            let mut tool = Command::new("node");
            tool.arg(scripts.join("verify.js")).env("NODE_PATH", modules);
            tools.push(tool);
        }
        None => eprintln!("skipped: PATCHBAY_TEST_STANDARDWEBHOOKS_NODE is not set"),
    }
    tools
}
