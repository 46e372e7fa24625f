//! Stored files that the platform fetches from here (T66), and what their URLs tell of an attempt whose answer was lost.

use patchbay_simkit::{Action, Fault, When};
use patchbay_simulator_tiktok::{Oracle, SimulatorConfig};
use reqwest::Method;
use serde_json::{Value, json};
use url::Url;

use crate::harness::{
    ADA, Api, POSTS, Reply, Setup, World, media, on_postgres, photo_post, pull_post, send, video_post,
};

const HERE: &str = "patchbay.example.com";

/// A host that the platform can reach under an address of its own.
async fn reachable() -> World {
    set_up().build().await
}

fn set_up() -> Setup {
    let setup = Setup {
        platform: |config: &mut SimulatorConfig| {
            let here = Url::parse(config.webhook_url.as_ref().unwrap()).unwrap();
            let address = here.socket_addrs(|| None).unwrap()[0];
            config.switches.owned_domains.push(HERE.to_owned());
            config.switches.pull_map.insert(HERE.to_owned(), address);
        },
        ..Setup::default()
    };
    setup.set("PATCHBAY__SERVER__PUBLIC_URL", format!("https://{HERE}"))
}

/// A public post of a stored video that the platform fetches.
fn hosted_post(account: &str, media: &str) -> Value {
    let mut post = video_post(account, media);
    post["media"][0]["transfer"] = "pull".into();
    post
}

/// The platform takes its time before it fetches anything.
fn hang(world: &World) {
    let hang = Action::Set {
        name: "hang".to_owned(),
        value: Value::Null,
    };
    world.sim.faults().put("hang", Fault::new("pull", hang));
}

/// The URLs that the platform was told, attempt after attempt.
fn told(world: &World) -> Vec<String> {
    world
        .sim
        .oracle()
        .posts()
        .into_iter()
        .flat_map(|post| post.urls)
        .collect()
}

/// Asks for a URL of this host as the platform would.
async fn fetch(api: &Api, method: Method, url: &str, range: Option<&str>) -> Reply {
    let url = Url::parse(url).unwrap();
    assert_eq!((url.scheme(), url.host_str()), ("https", Some(HERE)));
    let request = api.with_key(None).request(method, url.path());
    send(match range {
        Some(range) => request.header("range", range),
        None => request,
    })
    .await
}

async fn journal(world: &World, post: &str) -> Value {
    world.api.get(&format!("{POSTS}/{post}/journal")).await.ok()
}

fn outcomes(journal: &Value) -> Vec<(&str, &str)> {
    let seen = journal["observations"].as_array().unwrap().iter();
    seen.map(|one| (one["source"].as_str().unwrap(), one["outcome"].as_str().unwrap()))
        .collect()
}

#[tokio::test]
async fn stored_photos_are_fetched_from_here_once_each_has_a_url_of_its_own() {
    let world = reachable().await;
    let account = world.connect().await;
    let (first, second) = (world.upload(media::jpeg()).await, world.upload(media::jpeg()).await);
    for mode in ["direct", "draft"] {
        let mut wanted = photo_post(&account, mode);
        wanted["media"] = json!([{ "id": first }, { "id": second }]);
        let id = world.post(&wanted).await;
        let post = world.settled(&id).await;
        let status = if mode == "direct" {
            "published"
        } else {
            "inbox_delivered"
        };
        assert_eq!(post["status"], status, "{post}");
        assert_eq!(
            journal(&world, &id).await["observations"],
            json!([]),
            "nothing was in doubt"
        );
    }
    let posts = world.sim.oracle().posts();
    let stored = world.api.get(&format!("/api/media/{first}")).await.ok();
    assert_eq!(posts[0].sha256, [stored["sha256"].clone(), stored["sha256"].clone()]);
    let mut urls = told(&world);
    assert_eq!(urls.len(), 4);
    for url in &urls {
        fetch(&world.api, Method::GET, url, None)
            .await
            .problem(410, "pull_url_closed");
    }
    urls.sort();
    urls.dedup();
    assert_eq!(urls.len(), 4, "no URL serves two attempts or two files");
    for dump in [world.api.get(POSTS).await.text, world.api.get("/api/events").await.text] {
        assert!(urls.iter().all(|url| !dump.contains(url.rsplit('/').next().unwrap())));
    }
}

#[tokio::test]
async fn t66_a_pull_url_is_a_secret_that_ends() {
    let world = reachable().await;
    let account = world.connect().await;
    let bytes = media::video();
    let id = world
        .post(&hosted_post(&account, &world.upload(bytes.clone()).await))
        .await;
    hang(&world);
    world.follow(&id, |post| post["phase"] == "processing").await;
    let url = told(&world).pop().unwrap();
    let get = async |range| fetch(&world.api, Method::GET, &url, range).await;

    let head = fetch(&world.api, Method::HEAD, &url, None).await;
    assert_eq!((head.status, head.text.len()), (200, 0));
    assert_eq!(head.header("content-length").unwrap(), bytes.len().to_string());
    let whole = get(None).await;
    assert_eq!(whole.status, 200);
    for (name, value) in [
        ("content-type", "video/mp4"),
        ("content-disposition", "attachment"),
        ("x-content-type-options", "nosniff"),
        ("accept-ranges", "bytes"),
        ("cache-control", "no-store"),
    ] {
        assert_eq!(whole.header(name), Some(value), "{name}");
    }
    let part = get(Some("bytes=4-7")).await;
    assert_eq!((part.status, &*part.text), (206, "ftyp"));
    assert_eq!(
        part.header("content-range").unwrap(),
        format!("bytes 4-7/{}", bytes.len())
    );
    let end = get(Some("bytes=-5")).await;
    assert_eq!((end.status, end.header("content-length")), (206, Some("5")));
    get(Some("bytes=9999999-")).await.problem(416, "range_not_satisfiable");
    assert_eq!(
        get(Some("bytes=0-1,4-7")).await.status,
        200,
        "several parts are not given apart"
    );

    let (start, token) = url.rsplit_once('/').unwrap();
    assert_eq!(token.len(), 43, "256 bits");
    for guess in [
        token[..42].to_owned(),
        format!("{token}A"),
        token.chars().rev().collect(),
        "%00".to_owned(),
        "..%2f..%2fetc%2fpasswd".to_owned(),
    ] {
        fetch(&world.api, Method::GET, &format!("{start}/{guess}"), None)
            .await
            .problem(404, "not_found");
    }
    assert_eq!(fetch(&world.api, Method::POST, &url, None).await.status, 405);

    world.api.delete(&format!("{POSTS}/{id}")).await.with(202);
    assert_eq!(world.settled(&id).await["status"], "cancelled");
    for method in [Method::GET, Method::HEAD] {
        assert_eq!(
            fetch(&world.api, method, &url, None).await.status,
            410,
            "its post has ended"
        );
    }
}

#[tokio::test]
async fn an_attempt_that_never_fetched_is_closed_and_begun_again_on_sqlite() {
    never_fetched(reachable().await).await;
}

#[tokio::test]
async fn an_attempt_that_never_fetched_is_closed_and_begun_again_on_postgres() {
    on_postgres(async |database| {
        let setup = Setup { database, ..set_up() };
        never_fetched(setup.build().await).await;
    })
    .await;
}

async fn never_fetched(world: World) {
    let account = world.connect().await;
    hang(&world);
    let lost = Fault::new("video_init", Action::Drop { when: When::After });
    world.sim.faults().put("init", lost.once());
    let id = world.post(&hosted_post(&account, &world.video().await)).await;
    world.follow(&id, |post| post["phase"] == "processing").await;
    let urls = told(&world);
    assert_eq!(urls.len(), 2, "two attempts");
    fetch(&world.api, Method::GET, &urls[0], None)
        .await
        .problem(410, "pull_url_closed");
    assert_eq!(fetch(&world.api, Method::HEAD, &urls[1], None).await.status, 200);
    let seen = journal(&world, &id).await;
    assert_eq!(outcomes(&seen), [("pull_url", "did_not_happen")], "{seen}");
    assert_eq!(seen["observations"][0]["step"], seen["data"][0]["step"]);
    assert_eq!(seen["data"][0]["answered_at"], Value::Null);

    world.sim.faults().clear("hang");
    let post = world.settled(&id).await;
    assert_eq!(post["status"], "published", "{post}");
    let effects = world.sim.oracle().effects(ADA);
    assert_eq!(
        (effects.posted, effects.failed),
        (1, 1),
        "the first attempt found its URL closed"
    );
    assert_eq!(world.calls("video_init"), 2);
}

#[tokio::test]
async fn attempts_that_are_never_answered_come_later_each_time_and_end() {
    let world = reachable().await;
    let account = world.connect().await;
    hang(&world);
    let lost = Fault::new("video_init", Action::Drop { when: When::After });
    world.sim.faults().put("init", lost);
    let id = world.post(&hosted_post(&account, &world.video().await)).await;
    let asked = world.now();
    while world.now() - asked < chrono::TimeDelta::hours(1) {
        world.drain().await;
        world.advance(std::time::Duration::from_secs(30));
    }
    let in_an_hour = world.calls("video_init");
    assert!((5..=15).contains(&in_an_hour), "{in_an_hour} attempts in an hour");
    let post = world.settled(&id).await;
    assert_eq!(
        (&post["status"], &post["failure"]["code"]),
        (&json!("failed"), &json!("answer_lost")),
        "{post}"
    );
    assert!(world.now() - asked >= chrono::TimeDelta::hours(24));
}

#[tokio::test]
async fn an_attempt_that_has_fetched_is_settled_by_its_webhook_and_never_begun_again() {
    let world = reachable().await;
    let account = world.connect().await;
    // The answer waits until the platform has the file, and then it is lost.
    world.sim.faults().put("held", Fault::new("video_init", Action::Hold));
    let lost = Fault::new("video_init", Action::Drop { when: When::After });
    world.sim.faults().put("lost", lost.once());
    let id = world.post(&hosted_post(&account, &world.video().await)).await;
    let fetched = async {
        let has_it = |oracle: &Oracle| oracle.posts().iter().any(|post| !post.sha256.is_empty());
        assert!(world.sim.until(has_it).await, "the platform has the file");
        world.sim.faults().clear("held");
    };
    let (post, ()) = tokio::join!(world.follow(&id, |post| post["status"] == "published"), fetched);
    assert_eq!(world.calls("video_init"), 1, "{post}");
    assert_eq!(world.sim.oracle().effects(ADA).posted, 1);
    let seen = journal(&world, &id).await;
    assert_eq!(
        outcomes(&seen),
        [("platform", "unknown"), ("webhook", "happened")],
        "{seen}"
    );
    let attempt = &world.sim.oracle().posts()[0].publish_id;
    assert_eq!(post["remote_ref"], **attempt);
    let events = world.events(&format!("post_id={id}")).await;
    assert!(events.contains(&"post.publish.complete".to_owned()), "{events:?}");
}

#[tokio::test]
async fn a_foreign_url_is_never_begun_again_and_settled_by_the_one_webhook_that_fits_on_sqlite() {
    settled_by_webhook(World::new().await).await;
}

#[tokio::test]
async fn a_foreign_url_is_never_begun_again_and_settled_by_the_one_webhook_that_fits_on_postgres() {
    on_postgres(async |database| {
        let setup = Setup {
            database,
            ..Setup::default()
        };
        settled_by_webhook(setup.build().await).await;
    })
    .await;
}

async fn settled_by_webhook(world: World) {
    let account = world.connect().await;
    let lose = || {
        let lost = Fault::new("video_init", Action::Drop { when: When::After });
        world.sim.faults().put("lost", lost.once());
    };
    lose();
    let id = world.post(&pull_post(&account)).await;
    let post = world.follow(&id, |post| post["status"] == "published").await;
    assert_eq!(world.calls("video_init"), 1, "{post}");
    let seen = journal(&world, &id).await;
    assert_eq!(
        outcomes(&seen),
        [("platform", "unknown"), ("webhook", "happened")],
        "{seen}"
    );

    // A failure is settled as well, and says why.
    lose();
    let mut gone = pull_post(&account);
    gone["media"][0]["url"] = media::url("nothing-here.mp4").into();
    let id = world.post(&gone).await;
    let post = world.follow(&id, |post| post["status"] == "failed").await;
    assert_eq!(post["failure"]["code"], "video_pull_failed", "{post}");
}

#[tokio::test]
async fn two_open_attempts_of_an_account_are_left_open() {
    let world = World::new().await;
    let account = world.connect().await;
    hang(&world);
    let lost = Fault::new("video_init", Action::Drop { when: When::After });
    world.sim.faults().put("lost", lost.times(2));
    let posts = [
        world.post(&pull_post(&account)).await,
        world.post(&pull_post(&account)).await,
    ];
    for id in &posts {
        world.follow(id, |post| post["status"] == "unconfirmed").await;
    }
    world.sim.faults().clear("hang");
    world.drain().await;
    world.advance(std::time::Duration::from_secs(120));
    world.drain().await;
    assert_eq!(world.sim.oracle().effects(ADA).posted, 2);
    for id in &posts {
        assert_eq!(world.show(id).await["status"], "unconfirmed", "either could be either");
    }
    assert_eq!(world.calls("video_init"), 2);
}

#[tokio::test]
async fn without_a_public_address_a_file_to_fetch_is_refused_at_once() {
    let world = World::new().await;
    let account = world.connect().await;
    let video = world.video().await;
    let mut photos = photo_post(&account, "direct");
    photos["media"] = json!([{ "id": world.upload(media::jpeg()).await }]);
    for wanted in [hosted_post(&account, &video), photos] {
        let problem = world.api.post(POSTS, &wanted).await.problem(422, "invalid");
        assert_eq!(problem["errors"][0]["code"], "no_public_address", "{problem}");
    }
    let mut url = pull_post(&account);
    url["media"][0]["transfer"] = "pull".into();
    let problem = world.api.post(POSTS, &url).await.problem(422, "invalid");
    assert_eq!(problem["errors"][0]["pointer"], "/media/0/transfer", "{problem}");
    assert_eq!(world.inits(), 0);
}
