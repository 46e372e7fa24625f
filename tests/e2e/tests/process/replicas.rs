//! Several hosts on one PostgreSQL: they race, and the platform sees one of them (T03, T31, T59, T74, R15).

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{StreamExt, future::join_all, stream};
use patchbay_core::TenantId;
use patchbay_rig::{
    Api, Host, World, holds, on_postgres, until,
    world::{CHUNK, FOUR_CHUNKS, call_back, file_post, pull_post, video_bytes},
};
use patchbay_simulator_tiktok::simkit::{Action, Fault};
use reqwest::Method;
use serde_json::json;

/// Hosts on one database, and a client of each.
struct Fleet {
    hosts: Vec<Host>,
    apis: Vec<Api>,
}

impl Fleet {
    async fn start(world: &World, size: usize) -> Self {
        let (host, api) = world.start().await;
        let mut fleet = Self {
            hosts: vec![host],
            apis: vec![api],
        };
        for _ in 1..size {
            let host = world.replica().serve().await;
            fleet.apis.push(fleet.apis[0].at(&host.url));
            fleet.hosts.push(host);
        }
        fleet
    }

    /// The clients in turn.
    fn in_turn(&self, count: usize) -> impl Iterator<Item = &Api> {
        self.apis.iter().cycle().take(count)
    }
}

#[tokio::test]
async fn t59_one_key_at_three_hosts_at_once_is_one_post() {
    on_postgres(async |database| {
        let world = World::on(database).await;
        let fleet = Fleet::start(&world, 3).await;
        for user in ["ada_public", "quinn_quiet", "more_1"] {
            let account = world.connect(&fleet.apis[0], user).await.id;
            let title = format!("of {user}");
            let wanted = pull_post(&account, &title);
            // Every request asks the platform first, which takes 20 questions a minute about an account.
            let asked = fleet.in_turn(18).map(|api| api.try_post(user, &wanted));
            let answers = join_all(asked).await;
            let ids: BTreeSet<_> = answers
                .into_iter()
                .map(|answer| answer.unwrap().ok()["id"].to_string())
                .collect();
            assert_eq!(ids.len(), 1, "{ids:?}");
            let id = ids.first().unwrap().trim_matches('"');
            fleet.apis[2].post_becomes(id, "published").await;
            assert_eq!((world.posts_titled(&title).len(), world.published(&title)), (1, 1));
        }
    })
    .await;
}

#[tokio::test]
async fn t31_tokens_that_all_hosts_want_to_renew_are_renewed_once() {
    on_postgres(async |database| {
        let world = World::on(database).await;
        let fleet = Fleet::start(&world, 3).await;
        let account = world.connect(&fleet.apis[0], "ada_public").await.id;
        let first = fleet.apis[0].publish(&pull_post(&account, "first")).await;
        until("the post has its public id", async || {
            let post = fleet.apis[0].post_becomes(&first, "published").await;
            post["remote_ids"]
                .as_array()
                .is_some_and(|ids| !ids.is_empty())
                .then_some(())
        })
        .await;
        let metrics = format!("/api/platforms/tiktok/posts/{first}/metrics");
        let mut posts = Vec::new();
        for round in 1..=3 {
            // Slow enough that everybody comes while the renewal is under way.
            world
                .tiktok
                .faults()
                .put("slow", Fault::new("token", Action::Delay { ms: 300 }).once());
            world.database.age_tokens().await;
            let title = format!("round {round}");
            let wanted = pull_post(&account, &title);
            let (post, answers) = tokio::join!(
                fleet.apis[1].publish(&wanted),
                join_all(
                    fleet
                        .in_turn(60)
                        .map(|api| api.when_free(|| api.request(Method::GET, &metrics)))
                ),
            );
            for answer in answers {
                answer.ok();
            }
            posts.push((post, title));
            assert_eq!(world.calls("token"), 1 + round, "one exchange, and one renewal a round");
        }
        for use_ in world.tiktok.oracle().refresh_tokens() {
            assert!(use_.accepted <= 1 && use_.refused == 0, "{use_:?}");
        }
        for (post, title) in posts {
            fleet.apis[0].post_becomes(&post, "published").await;
            assert_eq!(world.published(&title), 1);
        }
    })
    .await;
}

#[tokio::test]
async fn t03_one_callback_at_three_hosts_at_once_is_one_exchange() {
    on_postgres(async |database| {
        let world = World::on(database).await;
        let fleet = Fleet::start(&world, 3).await;
        let begun = world.consent(&fleet.apis[0], "ada_public").await;
        let landed = join_all(fleet.in_turn(50).map(|api| call_back(api, &begun))).await;
        let connected = landed
            .iter()
            .filter(|answer| answer.header("location").contains("success="))
            .count();
        let refused = landed.iter().filter(|answer| answer.status.as_u16() == 400).count();
        assert_eq!((connected, refused), (1, 49));
        assert_eq!(world.calls("token"), 1);
        assert_eq!(world.database.count("accounts").await, 1);
    })
    .await;
}

#[tokio::test]
async fn a_host_that_is_asked_to_stop_ends_what_it_does_and_another_goes_on() {
    on_postgres(async |database| {
        let world = World::on(database).await;
        let mut fleet = Fleet::start(&world, 1).await;
        let api = fleet.apis[0].clone();
        let account = world.connect(&api, "ada_public").await.id;
        let media = api.upload(video_bytes(FOUR_CHUNKS, 1)).await;
        // In flight: one slow chunk to the platform, and one upload from a client that takes its time.
        world
            .tiktok
            .faults()
            .put("slow", Fault::new("upload", Action::Delay { ms: 1_000 }).skip(1).once());
        let post = api.publish(&file_post(&account, "handed over", &media)).await;
        let (more, parts) = tokio::sync::mpsc::channel::<Bytes>(1);
        let parts = stream::unfold(parts, |mut parts| async { Some((parts.recv().await?, parts)) });
        let body = reqwest::Body::wrap_stream(parts.map(Ok::<_, std::io::Error>));
        let request = api
            .request(Method::POST, "/api/media")
            .header("content-type", "video/mp4")
            .body(body);
        let upload = tokio::spawn({
            let api = api.clone();
            async move { api.send(request).await }
        });
        let bytes = Bytes::from(video_bytes(3_000_000, 2));
        more.send(bytes.slice(..1_000_000)).await.unwrap();
        holds("the second chunk is on its way", || {
            world.tiktok.faults().hits("slow") == 1
        })
        .await;
        let incoming = world.dir.path().join("data/media/incoming");
        holds("the client's upload has begun", || {
            std::fs::read_dir(&incoming).unwrap().next().is_some()
        })
        .await;

        let asked = Instant::now();
        fleet.hosts[0].ask_to_stop().await;
        until("new connections are refused", async || {
            tokio::net::TcpStream::connect(fleet.hosts[0].url.trim_start_matches("http://"))
                .await
                .is_err()
                .then_some(())
        })
        .await;
        more.send(bytes.slice(1_000_000..)).await.unwrap();
        drop(more);
        let stored = upload.await.unwrap().unwrap();
        assert_eq!(stored.status.as_u16(), 201, "{}", stored.text);
        let status = fleet.hosts[0].ended().await;
        assert_eq!(status.code(), Some(0), "{}", fleet.hosts[0].program.log_tail());
        assert!(
            asked.elapsed() < Duration::from_secs(30),
            "it took {:?}",
            asked.elapsed()
        );
        assert_eq!(
            world.database.count("jobs WHERE status = 'running'").await,
            0,
            "a lease was left behind"
        );
        assert_eq!(
            world.database.count("accounts WHERE refresh_holder IS NOT NULL").await,
            0
        );
        let part = world.tiktok.oracle().uploads()[0].clone();
        assert!((2 * CHUNK..FOUR_CHUNKS).contains(&part.received), "{part:?}");

        // Another host, on the same folder of media.
        let other = world.replica().serve().await;
        let api = api.at(&other.url);
        api.post_becomes(&post, "published").await;
        assert_eq!(
            (world.posts_titled("handed over").len(), world.published("handed over")),
            (1, 1)
        );
        assert_eq!(world.calls("upload"), 4, "no chunk was sent twice");
    })
    .await;
}

#[tokio::test]
async fn r15_a_host_that_dies_is_followed_by_the_other_one() {
    on_postgres(async |database| {
        let world = World::on(database).await;
        let mut fleet = Fleet::start(&world, 1).await;
        let api = fleet.apis[0].clone();
        let account = world.connect(&api, "ada_public").await.id;
        let media = api.upload(video_bytes(FOUR_CHUNKS, 3)).await;
        world.upload_tap.stall_after(CHUNK + CHUNK / 2);
        let post = api.publish(&file_post(&account, "taken over", &media)).await;
        holds("half of the second chunk has left", || world.upload_tap.is_stalled()).await;
        let other = world.replica().serve().await;
        fleet.hosts.remove(0).kill().await;
        let held = "jobs WHERE status = 'running' AND kind = 'publish'";
        let soon = format!("{held} AND due_at <= clock_timestamp() + interval '30 seconds'");
        let leases = (world.database.count(held).await, world.database.count(&soon).await);
        assert_eq!(leases, (1, 1), "it is held for half a minute more at the most");
        world.upload_tap.release();
        let api = api.at(&other.url);
        holds("the other host goes on", || world.calls("upload") > 2).await;
        api.post_becomes(&post, "published").await;
        assert_eq!(
            (world.posts_titled("taken over").len(), world.published("taken over")),
            (1, 1)
        );
        assert_eq!(world.calls("upload"), 5, "one chunk was sent again");
    })
    .await;
}

/// Asks until a dead key is refused. No request that came later than five seconds after the key's death was let in; how long an
/// answer takes is another question.
async fn is_refused_in_time(doomed: &Api, since: Instant) {
    let mut late = Duration::ZERO;
    until("the key is refused", async || {
        let asked = since.elapsed();
        let refused = doomed.get("/api/platforms").await.status.as_u16() == 401;
        if !refused {
            late = asked;
        }
        refused.then_some(())
    })
    .await;
    assert!(late <= Duration::from_secs(5), "it was let in after {late:?}");
}

#[tokio::test]
async fn t74_a_revoked_key_is_dead_at_every_host_within_five_seconds() {
    on_postgres(async |database| {
        let world = World::on(database).await;
        let fleet = Fleet::start(&world, 2).await;
        let doomed = world.key().await;
        for api in &fleet.apis {
            api.with_key(Some(&doomed)).get("/api/platforms").await.ok();
        }
        let listed = world.program.run(&["keys", "list"]).await.succeeded().stdout();
        let ids: Vec<_> = listed
            .lines()
            .map(|line| line.split_whitespace().next().unwrap().to_owned())
            .collect();
        assert_eq!(ids.len(), 2, "{listed}");
        assert!(!listed.contains(&doomed), "a list shows no key");
        // The newer one of the two.
        let id = ids.iter().max().unwrap();
        let revoked = world.program.run(&["keys", "revoke", id]).await.succeeded();
        assert!(revoked.stdout().contains("is dead"));
        let since = Instant::now();
        for api in &fleet.apis {
            is_refused_in_time(&api.with_key(Some(&doomed)), since).await;
            api.get("/api/platforms").await.ok();
        }
        // Killed by a request to one host, which forgets it at once.
        let make = ["keys", "create", "--name", "operator", "--scope", "operator"];
        let operator = world.program.run(&make).await.succeeded().stdout();
        let [asked, told] = &fleet.apis[..] else { panic!() };
        let operator = asked.with_key(Some(operator.trim()));
        let keys = format!("/api/tenants/{}/keys", TenantId::DEFAULT);
        let made = operator.post(&keys, &json!({ "name": "second" })).await.ok();
        let doomed = made["text"].as_str().unwrap();
        for api in &fleet.apis {
            api.with_key(Some(doomed)).get("/api/platforms").await.ok();
        }
        let kill = operator.request(Method::DELETE, &format!("{keys}/{}", made["id"].as_str().unwrap()));
        assert_eq!(operator.send(kill).await.unwrap().status.as_u16(), 204);
        let since = Instant::now();
        let at_once = asked.with_key(Some(doomed)).get("/api/platforms").await;
        assert_eq!(at_once.status.as_u16(), 401);
        is_refused_in_time(&told.with_key(Some(doomed)), since).await;
        let listed = world.program.run(&["keys", "list"]).await.succeeded().stdout();
        assert!(
            listed.lines().any(|line| line.contains(id) && line.contains("revoked")),
            "{listed}"
        );
        let unknown = world
            .program
            .run(&["keys", "revoke", "key_00000000000070008000000000000001"])
            .await;
        assert_eq!(unknown.code(), Some(1));
    })
    .await;
}
