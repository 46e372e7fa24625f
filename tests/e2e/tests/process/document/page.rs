//! `/docs` in a browser that reaches nothing but this host: every operation and schema is shown, and nothing is refused by
//! the page's policy.
//!
//! `PATCHBAY_TEST_CHROMIUM` is a Chromium.

use std::process::Stdio;

use patchbay_rig::{Api, World};
use serde_json::Value;
use tokio::process::Command;

use super::tool;

#[tokio::test]
async fn the_page_shows_the_whole_document() {
    let Some(chromium) = tool("PATCHBAY_TEST_CHROMIUM") else {
        return;
    };
    let world = World::on_sqlite().await;
    let host = world.program.serve().await;
    let browser = Command::new(chromium)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"])
        // A container may have little of it.
        .arg("--disable-dev-shm-usage")
        .args([
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ])
        .arg(format!(
            "--user-data-dir={}",
            world.dir.path().join("browser").display()
        ))
        .arg("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
        // What a page's console says goes to standard error.
        .arg("--enable-logging=stderr")
        // Time runs on when the page has nothing more to do.
        .arg("--virtual-time-budget=20000")
        .arg("--dump-dom")
        .arg(format!("{}/docs", host.url))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(patchbay_rig::PATIENCE, browser)
        .await
        .expect("the browser ends")
        .unwrap();
    let (page, said) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{said}");
    let console: Vec<_> = said.lines().filter(|line| line.contains(":CONSOLE")).collect();
    assert!(console.is_empty(), "{}", console.join("\n"));

    let document: Value = serde_json::from_str(&Api::new(&host.url, None).get("/api/openapi.json").await.text).unwrap();
    let operations = ["paths", "webhooks"]
        .into_iter()
        .flat_map(|section| document[section].as_object().unwrap().values())
        .flat_map(|path| path.as_object().unwrap().values());
    let operations = operations.map(|operation| operation["operationId"].as_str().unwrap().to_owned());
    let schemas = document["components"]["schemas"].as_object().unwrap().keys();
    for id in operations.chain(schemas.map(|name| format!("schema-{name}"))) {
        assert!(page.contains(&format!("id=\"{id}\"")), "{id} is not shown:\n{page}");
    }
    for slip in ["[object ", "undefined"] {
        assert!(!page.contains(slip), "{slip} is shown:\n{page}");
    }
}
