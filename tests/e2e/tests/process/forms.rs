//! The forms that a host has as processes: one that does everything, one for the API alone, workers alone.

use patchbay_rig::{
    Api, Host, PATIENCE, Program, World, holds,
    host::free_port,
    on_postgres, until,
    world::{CHUNK, FOUR_CHUNKS, file_post, pull_post, video_bytes},
};
use patchbay_simulator_tiktok::simkit::{Action, Fault};
use serde_json::{Value, json};

/// A host without workers, and a client of it.
async fn api_only(world: &World) -> (Host, Api) {
    let key = world.key().await;
    // The flag wins over the configuration.
    let program = world.program.clone().with("PATCHBAY__WORKERS__ENABLED", "true");
    let host = program.start(&["serve", "--api-only"], program.port).await;
    let api = Api::new(&host.url, Some(&key));
    (host, api)
}

/// A worker that tells its health at a port of its own.
async fn worker(world: &World, arguments: &[&str]) -> Host {
    let port = free_port();
    let program = world
        .replica()
        .with("PATCHBAY__SERVER__METRICS_LISTEN", format!("127.0.0.1:{port}"));
    program.start(&[&["worker"], arguments].concat(), port).await
}

/// What one run of a worker says of itself.
async fn once(program: &Program, arguments: &[&str]) -> Value {
    let ran = program
        .run(&[&["worker", "--once"], arguments].concat())
        .await
        .succeeded();
    let said = ran.stdout();
    assert_eq!(said.lines().count(), 1, "{said}");
    serde_json::from_str(&said).unwrap()
}

#[tokio::test]
async fn an_api_alone_leaves_the_work_to_workers() {
    on_postgres(async |database| {
        let world = World::on(database).await;
        let (host, api) = api_only(&world).await;
        let account = world.connect(&api, "ada_public").await.id;
        let post = api.publish(&pull_post(&account, "for a worker")).await;

        let other = world.replica();
        let read = once(&other, &["--only", "webhooks"]).await;
        assert_eq!((&read["publish"], world.calls("video_init")), (&json!(0), 0));
        assert_eq!(api.post_state(&post).await["status"], "queued");

        let worker = worker(&world, &[]).await;
        api.post_becomes(&post, "published").await;
        assert_eq!(world.published("for a worker"), 1);
        let health = Api::new(&worker.url, None);
        assert_eq!(health.get("/healthz").await.ok(), json!({ "status": "ok" }));
        assert_eq!(health.get("/readyz").await.ok()["status"], "ready");
        let metrics = health.get("/metrics").await.text;
        assert!(
            metrics.contains("patchbay_publishes_total{") && metrics.contains("patchbay_jobs_due"),
            "{metrics}"
        );
        for path in ["/api/platforms", "/api/openapi.json", "/", "/api/workers/webhooks"] {
            assert_eq!(health.get(path).await.status.as_u16(), 404, "{path}: it has no API");
        }
        let listens = tokio::net::TcpStream::connect(("127.0.0.1", worker.program.port)).await;
        assert!(listens.is_err(), "a worker leaves server.listen alone");
        worker.stop().await;
        host.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_worker_that_runs_once_says_what_it_did_and_leaves_nothing_due() {
    on_postgres(async |database| {
        let world = World::on(database).await;
        let (host, api) = api_only(&world).await;
        let account = world.connect(&api, "ada_public").await.id;
        api.publish(&pull_post(&account, "once")).await;
        let program = world.replica();

        let published = once(&program, &["--only", "publish", "--for", "5m"]).await;
        assert!(published["publish"].as_u64() >= Some(1), "{published}");
        assert_eq!(published["publish"], published["processed"]);
        holds("the platform tells that the post is out", || {
            world.published("once") == 1
        })
        .await;
        until("its webhook is stored", async || {
            (world.database.count("jobs WHERE kind = 'ingest'").await > 0).then_some(())
        })
        .await;
        let read = once(&program, &["--only=webhooks"]).await;
        assert!(read["webhooks"].as_u64() >= Some(1), "{read}");
        assert_eq!((&read["refresh"], &read["publish"]), (&json!(0), &json!(0)));
        let refreshed = once(&program, &["--only", "refresh"]).await;
        assert_eq!(refreshed["processed"], 0, "nothing is due: {refreshed}");

        // Everything, again and again, as a cron service does.
        until("the post is published", async || {
            let said = once(&program, &[]).await;
            assert_eq!(said["more"], false);
            let post = api.get("/api/platforms/tiktok/posts").await.ok();
            (post["data"][0]["status"] == "published").then_some(())
        })
        .await;
        assert_eq!(world.database.count("jobs WHERE status = 'running'").await, 0);
        host.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_worker_that_is_asked_to_stop_ends_its_step_first() {
    on_postgres(async |database| {
        let world = World::on(database).await;
        let (host, api) = api_only(&world).await;
        let account = world.connect(&api, "ada_public").await.id;
        let media = api.upload(video_bytes(FOUR_CHUNKS, 1)).await;
        world
            .tiktok
            .faults()
            .put("slow", Fault::new("upload", Action::Delay { ms: 1_000 }).skip(1).once());
        let post = api.publish(&file_post(&account, "handed over", &media)).await;
        let mut first = worker(&world, &["--only", "publish"]).await;
        holds("the second chunk is on its way", || {
            world.tiktok.faults().hits("slow") == 1
        })
        .await;
        first.ask_to_stop().await;
        let status = first.ended().await;
        assert_eq!(status.code(), Some(0), "{}", first.program.log_tail());
        assert_eq!(world.database.count("jobs WHERE status = 'running'").await, 0);
        let part = world.tiktok.oracle().uploads()[0].clone();
        assert!((2 * CHUNK..FOUR_CHUNKS).contains(&part.received), "{part:?}");

        // The next one is asked to stop while it runs once.
        world
            .tiktok
            .faults()
            .put("slow", Fault::new("upload", Action::Delay { ms: 1_000 }).once());
        let program = world.replica();
        let mut child = program.spawn(&["worker", "--once"]);
        holds("the third chunk is on its way", || {
            world.tiktok.faults().hits("slow") == 1
        })
        .await;
        patchbay_rig::host::signal("TERM", child.id().unwrap()).await;
        let status = tokio::time::timeout(PATIENCE, child.wait()).await.unwrap();
        assert_eq!(status.unwrap().code(), Some(0), "{}", program.log_tail());
        assert!(program.log_tail().contains(r#""more":true"#), "{}", program.log_tail());
        assert_eq!(world.database.count("jobs WHERE status = 'running'").await, 0);

        let second = worker(&world, &[]).await;
        api.post_becomes(&post, "published").await;
        assert_eq!(world.calls("upload"), 4, "no chunk was sent twice");
        second.stop().await;
        host.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_worker_has_a_sqlite_file_for_itself_or_not_at_all() {
    let world = World::on_sqlite().await;
    let (host, api) = api_only(&world).await;
    let account = world.connect(&api, "ada_public").await.id;
    let post = api.publish(&pull_post(&account, "one after the other")).await;
    let program = world.replica();
    for arguments in [&["worker"][..], &["worker", "--once"][..]] {
        let refused = program.run(arguments).await;
        assert_eq!(refused.code(), Some(78), "{}", refused.stderr());
        for advice in ["patchbay.db is in use", "--api-only", "PostgreSQL"] {
            assert!(refused.stderr().contains(advice), "{}", refused.stderr());
        }
        assert_eq!(refused.stdout(), "");
    }
    assert_eq!(api.post_state(&post).await["status"], "queued");
    host.stop().await;

    // Alone it may work.
    let done = once(&program, &["--only", "publish,refresh"]).await;
    assert!(done["publish"].as_u64() >= Some(1), "{done}");
    assert_eq!(world.calls("video_init"), 1);
    let (host, api) = (world.program.serve().await, api);
    api.post_becomes(&post, "published").await;
    host.stop().await;
}

#[tokio::test]
async fn a_worker_ends_when_its_time_is_over() {
    let world = World::on_sqlite().await;
    let program = world.replica();
    let ran = program.run(&["worker", "--for", "1s"]).await.succeeded();
    assert_eq!(ran.stdout(), "");
    for wrong in [
        &["worker", "--for", "soon"][..],
        &["worker", "--only", "posts"][..],
        &["worker", "--only", ""][..],
        &["worker", "now"][..],
    ] {
        let refused = program.run(wrong).await;
        assert_eq!(refused.code(), Some(2), "{wrong:?}: {}", refused.stderr());
    }
    let help = program.run(&["worker", "--help"]).await.succeeded().stdout();
    for word in ["webhooks", "refresh", "publish", "--once", "--for", "PostgreSQL"] {
        assert!(help.contains(word), "{word} is missing in\n{help}");
    }
}

#[tokio::test]
async fn a_worker_without_a_database_fails() {
    let world = World::on_sqlite().await;
    let nowhere = format!("postgres://nobody@127.0.0.1:{}/patchbay", free_port());
    let program = world.replica().with("DATABASE_URL", nowhere);
    for arguments in [&["worker"][..], &["worker", "--once"][..]] {
        let failed = program.run(arguments).await;
        assert_eq!(failed.code(), Some(1), "{}", failed.stderr());
        assert!(failed.stderr().contains("database"), "{}", failed.stderr());
        assert_eq!(failed.stdout(), "");
    }
}
