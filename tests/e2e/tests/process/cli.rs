//! The command line.

use patchbay_rig::{
    Api, Program, World,
    ports::free_ports,
    until,
    world::{MEDIA_HOST, pull_post},
};
use serde_json::{Value, json};

fn bare() -> (tempfile::TempDir, Program) {
    let dir = tempfile::tempdir().unwrap();
    let program = Program::bare(dir.path());
    (dir, program)
}

#[tokio::test]
async fn a_good_configuration_is_shown_with_its_sources_and_without_its_secrets() {
    let (dir, program) = bare();
    std::fs::write(dir.path().join("patchbay.toml"), "[workers]\nconcurrency = 3\n").unwrap();
    let program = program
        .with("TIKTOK_CLIENT_KEY", "public-client-key")
        .with("TIKTOK_CLIENT_SECRET", "secret-of-the-client")
        .with("TOKEN_ENCRYPTION_KEY", "ab".repeat(32))
        .with("WORKER_SECRET", "worker-secret-worker-secret-worker")
        .with("DATABASE_URL", "postgres://user:database-password@db.example/patchbay");
    let shown = program.run(&["config", "check"]).await.succeeded().stdout();
    for expected in [
        "concurrency = 3  # patchbay.toml",
        "client_id = \"public-client-key\"  # TIKTOK_CLIENT_KEY",
        "client_secret = [set]  # TIKTOK_CLIENT_SECRET",
        "environment = \"live\"  # from providers.tiktok.client_id",
        "max_sockets = 2000  # default",
    ] {
        assert!(shown.contains(expected), "{expected} is missing in\n{shown}");
    }
    for secret in [
        "secret-of-the-client",
        &"ab".repeat(32),
        "worker-secret",
        "database-password",
    ] {
        assert!(!shown.contains(secret), "{secret} is shown in\n{shown}");
    }
    assert!(
        !dir.path().join("data").exists(),
        "looking at the configuration makes nothing"
    );
}

#[tokio::test]
async fn a_bad_configuration_is_refused_with_all_its_problems() {
    let (dir, program) = bare();
    std::fs::write(dir.path().join("patchbay.toml"), "[workers]\nconcurency = 3\n").unwrap();
    let program = program
        .with("PATCHBAY__SERVER__LISTEN", "nowhere")
        .with("DATABASE_URL", "mysql://user:database-password@db.example/patchbay")
        .with("TOKEN_ENCRYPTION_KEY", "short-and-secret")
        .with("WORKER_SECRET", "also-short")
        .with("PATCHBAY__LOG__FORMAT", "pink");
    for command in [
        &["config", "check"][..],
        &["serve"][..],
        &["migrate"][..],
        &["keys", "list"][..],
    ] {
        let ran = program.run(command).await;
        assert_eq!(ran.code(), Some(78), "{command:?}: {}", ran.stderr());
        for key in [
            "concurency",
            "server.listen",
            "database.url",
            "encryption.key",
            "workers.secrets",
            "log.format",
        ] {
            assert!(ran.stderr().contains(key), "{key} is missing in\n{}", ran.stderr());
        }
        for secret in ["database-password", "short-and-secret", "also-short"] {
            assert!(!ran.stderr().contains(secret), "{secret} is shown in\n{}", ran.stderr());
        }
    }
}

#[tokio::test]
async fn settings_that_a_provider_does_not_take_are_a_configuration_problem() {
    let (_dir, program) = bare();
    let program = program.with("PATCHBAY__PROVIDERS__TIKTOK__SETTINGS__POLL_MIN_SECONDS", "1");
    for command in [&["config", "check"][..], &["serve"][..]] {
        let ran = program.run(command).await;
        assert_eq!(ran.code(), Some(78), "{command:?}: {}", ran.stderr());
        assert!(ran.stderr().contains("poll_min_seconds is 1"), "{}", ran.stderr());
    }
}

#[tokio::test]
async fn migrate_tells_what_is_missing_and_brings_it() {
    let (_dir, program) = bare();
    let missing = program.run(&["migrate", "--check"]).await;
    assert_eq!(missing.code(), Some(1));
    assert!(missing.stdout().contains("missing: 0001_init"), "{}", missing.stdout());
    let applied = program.run(&["migrate"]).await.succeeded();
    assert!(applied.stdout().contains("applying: 0001_init"), "{}", applied.stdout());
    let checked = program.run(&["migrate", "--check"]).await.succeeded();
    assert!(checked.stdout().contains("up to date"), "{}", checked.stdout());
}

#[tokio::test]
async fn dead_letters_are_listed_and_replayed_beside_a_running_host() {
    let world = World::on_sqlite().await;
    let (_host, api) = world.start().await;
    world.connect(&api, "ada_public").await;
    let program = &world.program;
    assert_eq!(program.run(&["dead-letters", "list"]).await.succeeded().stdout(), "");
    let give_up =
        "UPDATE jobs SET status = 'dead', last_error = 'given_up', finished_at = created_at WHERE kind = 'refresh'";
    world.database.execute(give_up).await;
    let listed = program.run(&["dead-letters", "list"]).await.succeeded().stdout();
    assert!(listed.contains("refresh") && listed.contains("given_up"), "{listed}");
    let id = listed.split_whitespace().next().unwrap();
    let replayed = program.run(&["dead-letters", "replay", id]).await.succeeded().stdout();
    assert!(replayed.contains("due again"), "{replayed}");
    let again = program.run(&["dead-letters", "replay", id]).await;
    assert_eq!(again.code(), Some(1));
    assert!(again.stderr().contains("no dead letter"), "{}", again.stderr());
    let none = program
        .run(&["dead-letters", "replay", "--kind", "publish"])
        .await
        .succeeded();
    assert_eq!(none.stdout(), "0 due again.\n");
    let vague = program.run(&["dead-letters", "replay"]).await;
    assert_eq!(vague.code(), Some(2), "all is said, not guessed: {}", vague.stderr());
}

#[tokio::test]
async fn a_key_is_shown_once_and_opens_what_it_is_for() {
    let (_dir, program) = bare();
    let made = program
        .run(&["keys", "create", "--name", "reader", "--scope", "read"])
        .await
        .succeeded();
    let key = made.stdout().trim().to_owned();
    assert!(
        key.starts_with("pb_live_") && !made.stderr().contains(&key),
        "{}",
        made.stderr()
    );
    let listed = program.run(&["keys", "list"]).await.succeeded().stdout();
    assert!(
        listed.contains("reader") && listed.contains("live") && !listed.contains(&key),
        "{listed}"
    );
    let host = program.serve().await;
    let api = Api::new(&host.url, Some(&key));
    api.get("/api/platforms/tiktok/posts").await.ok();
    assert_eq!(
        api.post("/api/platforms/tiktok/disconnect", &json!({}))
            .await
            .status
            .as_u16(),
        403
    );
    assert_eq!(
        api.with_key(None)
            .get("/api/platforms/tiktok/posts")
            .await
            .status
            .as_u16(),
        401
    );
}

#[tokio::test]
async fn the_api_description_is_printed_without_a_database() {
    let (dir, program) = bare();
    let printed = program.run(&["openapi"]).await.succeeded().stdout();
    let document: Value = serde_json::from_str(&printed).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3."));
    assert!(document["paths"]["/api/platforms/{provider}/posts"]["post"].is_object());
    assert!(!dir.path().join("data").exists());
}

#[tokio::test]
async fn every_command_has_help() {
    let (_dir, program) = bare();
    for command in [
        &[][..],
        &["serve"],
        &["worker"],
        &["demo"],
        &["simulate"],
        &["migrate"],
        &["keys"],
        &["keys", "create"],
        &["keys", "list"],
        &["keys", "revoke"],
        &["openapi"],
        &["config"],
        &["config", "check"],
    ] {
        let help = program.run(&[command, &["--help"]].concat()).await.succeeded().stdout();
        assert!(help.contains("Usage: patchbay"), "{command:?}: {help}");
        assert!(
            !help.starts_with("Usage"),
            "{command:?} does not say what it does: {help}"
        );
    }
    let unknown = program.run(&["no-such-command"]).await;
    assert_eq!(unknown.code(), Some(2));
}

#[tokio::test]
async fn a_simulator_of_its_own_prints_a_configuration_that_works() {
    let world = World::on_sqlite().await;
    let (dir, program) = bare();
    let port = free_ports(4);
    let host_url = format!("http://127.0.0.1:{}", program.port);
    let redirect = format!("{host_url}/api/platforms/tiktok/callback");
    let simulator = Program {
        dir: dir.path().join("simulator"),
        ..program.clone()
    };
    std::fs::create_dir(&simulator.dir).unwrap();
    let mut simulating = simulator.spawn(&[
        "simulate",
        "tiktok",
        "--port",
        &port.to_string(),
        "--client-secret",
        "a-simulated-secret",
        "--redirect-uri",
        &redirect,
    ]);
    let printed = until("the simulator prints its hosts", async || {
        let text = std::fs::read_to_string(simulator.log_path()).unwrap_or_default();
        text.contains("\"www.tiktok.com\"").then_some(text)
    })
    .await;
    assert!(
        printed.contains(&format!("Controls: http://127.0.0.1:{port}/_admin/")),
        "{printed}"
    );
    let (_, snippet) = printed.split_once("[providers.tiktok]").unwrap();
    let file = format!("[providers.tiktok]{snippet}")
        .replace("client_secret = \"…\"", "client_secret = \"a-simulated-secret\"");
    std::fs::write(dir.path().join("patchbay.toml"), &file).unwrap();

    let key = program.run(&["keys", "create"]).await.succeeded().stdout();
    let host = program.serve().await;
    let api = Api::new(&host.url, Some(key.trim()));
    let account = world.connect(&api, "ada_public").await.id;
    let options = api
        .get(&format!("/api/platforms/tiktok/accounts/{account}/publish-options"))
        .await
        .ok();
    assert_eq!(options["live"]["can_post"]["state"], "yes");
    let refused = api.try_post("k", &pull_post(&account, "foreign")).await.unwrap();
    assert_eq!(
        refused.status.as_u16(),
        202,
        "{}: {MEDIA_HOST} is only known at the post's first step",
        refused.text
    );
    host.stop().await;
    simulating.kill().await.unwrap();
}

#[tokio::test]
async fn the_demo_ends_with_both_posts_published() {
    let (dir, program) = bare();
    let temporary = dir.path().join("temporary");
    std::fs::create_dir(&temporary).unwrap();
    let program = program.with("TMPDIR", temporary.display().to_string());
    let program = program.with(
        "TOKEN_ENCRYPTION_KEY",
        "is ignored: the demo is the same wherever it is started",
    );
    let port = program.port.to_string();
    let told = program
        .run(&["demo", "--exit", "--json", "--file-bytes", "300000000", "--port", &port])
        .await
        .succeeded();
    let told: Vec<Value> = told
        .stdout()
        .lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect();
    let mut posts: Vec<_> = told.iter().filter_map(|step| step["post"].as_str()).collect();
    posts.sort_unstable();
    posts.dedup();
    assert_eq!(posts.len(), 2, "{told:?}");
    for post in posts {
        let last = told.iter().rfind(|step| step["post"] == post).unwrap();
        assert_eq!(last["state"], "published", "{last}");
        assert!(!last["remote_ids"].as_array().unwrap().is_empty(), "{last}");
    }
    let parts: Vec<_> = told
        .iter()
        .filter(|step| step["step"] == "upload to the platform")
        .collect();
    assert!(!parts.is_empty(), "the file went up in one piece: {told:?}");
    let stayed = std::net::TcpStream::connect(("127.0.0.1", program.port));
    assert!(stayed.is_err(), "the demo is over, and still listens");
    let left: Vec<_> = std::fs::read_dir(&temporary).unwrap().collect();
    assert!(left.is_empty(), "the demo cleans up after itself: {left:?}");
}
