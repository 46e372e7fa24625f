//! The OpenAPI document against running hosts, by a tool of others: it sends what the document allows and what it forbids,
//! goes from answers to further requests, and holds every answer to the document.
//!
//! `PATCHBAY_TEST_SCHEMATHESIS` is its executable.

use std::{fmt::Write as _, path::Path, process::Stdio};

use patchbay_core::TenantId;
use patchbay_rig::{
    Api, Database, World, on_postgres,
    world::{FOUR_CHUNKS, file_post, pull_post, video_bytes},
};
use serde_json::{Value, json};
use tokio::process::Command;

use super::tool;

/// What a request may be answered that its schema allows. A schema does not say which cursors, links and codes were made
/// here (400), what is taken (409), which version is the last one (412), how large a file may be (413), which type its pieces
/// have (415), what they add up to (460), whether the piece before still holds its upload (423), nor what the platform and the
/// calendar allow (422).
const ALLOWED: &str =
    "['2xx', '303', '400', '401', '404', '409', '410', '412', '413', '415', '422', '423', '460', '502', '503']";

/// A host may say that it cannot just now, for its database or the platform: that is no fault of it, where others are.
const NO_FAULT: &str = "['2xx', '3xx', '4xx', '502', '503']";

/// Pieces of uploads are bytes, though their type has a name of its own.
const HOOKS: &str = "\
import schemathesis

schemathesis.serializer.alias('application/offset+octet-stream', 'application/octet-stream')
";

#[tokio::test]
async fn the_document_holds_on_sqlite() {
    if let Some(tool) = tool(TOOL) {
        holds(&tool, World::on_sqlite().await).await;
    }
}

#[tokio::test]
async fn the_document_holds_on_postgres() {
    if let Some(tool) = tool(TOOL) {
        on_postgres(async |database: Database| holds(&tool, World::on(database).await).await).await;
    }
}

const TOOL: &str = "PATCHBAY_TEST_SCHEMATHESIS";

async fn holds(tool: &std::ffi::OsStr, world: World) {
    let program = world
        .program
        .clone()
        .with("PATCHBAY__LIMITS__REQUESTS_PER_SECOND", "0")
        .with("PATCHBAY__LOG__FILTER", "warn");
    let make = ["keys", "create", "--scope", "read,connect,publish,operator"];
    let key = program.run(&make).await.succeeded().stdout().trim().to_owned();
    let host = program.serve().await;
    let api = Api::new(&host.url, Some(&key));
    let config = world.dir.path().join("schemathesis.toml");
    std::fs::write(&config, configuration(&world, &api, &key).await).unwrap();
    std::fs::write(world.dir.path().join("hooks.py"), HOOKS).unwrap();
    let document = world.dir.path().join("openapi.json");
    std::fs::write(&document, api.get("/api/openapi.json").await.text).unwrap();

    // Requests without a good key come apart, since an address that sends many of them is shut for a minute.
    let all = [
        "--phases",
        "examples,coverage,fuzzing,stateful",
        "--checks",
        "all",
        "--exclude-checks",
        "ignored_auth",
    ];
    run(tool, &world, &host.url, &[&config, &document], &all).await;
    let open = api.get("/api/platforms").await;
    assert_eq!(open.status.as_u16(), 200, "the requests were heard to the end");
    let unproved = ["--phases", "examples,coverage", "--checks", "ignored_auth"];
    run(tool, &world, &host.url, &[&config, &document], &unproved).await;
    let log = std::fs::read_to_string(program.log_path()).unwrap();
    assert!(!log.contains("panicked"), "{log}");
}

async fn run(tool: &std::ffi::OsStr, world: &World, url: &str, files: &[&Path; 2], more: &[&str]) {
    let [config, document] = files;
    let seed = patchbay_rig::seed().to_string();
    let output = Command::new(tool)
        .current_dir(world.dir.path())
        .arg("--no-color")
        .arg("--config-file")
        .arg(config)
        .arg("run")
        .arg(document)
        .args([
            "--url",
            url,
            "--seed",
            &seed,
            "--max-examples",
            "20",
            "--continue-on-failure",
            // How long it takes to think of a request says nothing of the host.
            "--suppress-health-check",
            "too_slow",
        ])
        .args(more)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    println!("{told}");
    assert!(
        output.status.success(),
        "{told}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Things that are there to be found.
async fn configuration(world: &World, api: &Api, key: &str) -> String {
    let account = world.connect(api, "ada_public").await.id;
    let media = api.upload(video_bytes(FOUR_CHUNKS, 1)).await;
    let post = api.publish(&file_post(&account, "uploaded", &media)).await;
    let publish_id = api.post_becomes(&post, "published").await["remote_ref"].clone();
    // Not yet done, so that it can be cancelled.
    let mut later = pull_post(&account, "later");
    later["scheduled_at"] = json!("2030-01-01T00:00:00Z");
    let later = api.publish(&later).await;
    let tenant = api.post("/api/tenants", &json!({ "name": "elsewhere" })).await.ok();
    let keys = api
        .post(
            &format!("/api/tenants/{}/keys", text(&tenant["id"])),
            &json!({ "name": "its" }),
        )
        .await
        .ok();

    let mut config = format!(
        "hooks = 'hooks.py'\n\
         headers = {{ Authorization = 'Bearer {key}' }}\n\
         parameters = {{ provider = 'tiktok', tenant = '{}' }}\n\
         checks.positive_data_acceptance.expected-statuses = {ALLOWED}\n\
         checks.not_a_server_error.expected-statuses = {NO_FAULT}\n",
        TenantId::DEFAULT
    );
    let mut of = |paths: &str, settings: &str| {
        write!(
            config,
            "\n[[operations]]\ninclude-path-regex = '{paths}'\n\
             checks.positive_data_acceptance.expected-statuses = {ALLOWED}\n{settings}\n"
        )
        .unwrap();
    };
    of(r"/accounts/\{id\}", &format!("parameters = {{ id = '{account}' }}"));
    // The stream of a post that waits goes on for minutes; the one of a post that has ended does not.
    of(
        r"/posts/\{id\}/updates$",
        &format!("parameters = {{ id = '{post}' }}\nphases.stateful.enabled = false"),
    );
    of(r"/posts/\{id\}/", &format!("parameters = {{ id = '{post}' }}"));
    of(r"/posts/\{id\}$", &format!("parameters = {{ id = '{later}' }}"));
    of(r"/api/media/\{id\}", &format!("parameters = {{ id = '{media}' }}"));
    // Whatever else is wrong, another version of tus is told first, and it is named by a header.
    of(
        r"/api/media/uploads",
        "checks.missing_required_header.expected-statuses = ['400', '401', '412']\n\
         checks.negative_data_rejection.expected-statuses = ['400', '401', '404', '412', '413', '415', '422', '423', '503']",
    );
    of(
        r"/status/\{publish_id\}",
        &format!("parameters = {{ publish_id = '{}' }}", text(&publish_id)),
    );
    // What follows from lists would end the key that all of this is done with.
    of(
        r"/keys/\{key\}",
        &format!(
            "parameters = {{ id = '{}', key = '{}' }}\nphases.stateful.enabled = false",
            text(&tenant["id"]),
            text(&keys["id"])
        ),
    );
    of(
        r"/api/tenants/\{id\}",
        &format!("parameters = {{ id = '{}' }}", text(&tenant["id"])),
    );
    // Wrong keys there are counted like others.
    of("^/api/operator/session$", "enabled = false");
    let worker = &world.secrets.worker_secret;
    of(
        "/api/workers/",
        &format!("headers = {{ Authorization = 'Bearer {worker}' }}"),
    );
    config
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}
