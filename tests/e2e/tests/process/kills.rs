//! Kills at any time (R04): whenever a host dies, every post is published once, or its end is told with a reason.

use std::time::Duration;

use patchbay_rig::{
    Api, World, seed, until,
    world::{CHUNK, file_post, pull_post, video_bytes},
};
use patchbay_simulator_tiktok::simkit::Random;

const KILLS: u64 = 20;
const POSTS: usize = 10;

#[tokio::test]
async fn r04_twenty_kills_at_random_times_double_no_post() {
    let seed = seed();
    let random = Random::seeded(seed);
    let world = World::on_sqlite().await;
    let (mut host, api) = world.start().await;
    let mut accounts = Vec::new();
    for user in ["ada_public", "quinn_quiet", "more_1", "more_2", "more_3"] {
        accounts.push(world.connect(&api, user).await.id);
    }
    let media = api.upload(video_bytes(3 * CHUNK, seed)).await;
    // So that many kills come between an effect and its answer.
    for tap in [&world.api_tap, &world.upload_tap] {
        tap.answers_take(Duration::from_millis(150));
    }
    let mut posts: Vec<(String, String)> = Vec::new();
    for round in 0..KILLS {
        if round % 2 == 0 {
            let title = format!("post {}", posts.len());
            let account = &accounts[posts.len() % accounts.len()];
            let wanted = if posts.len() % 3 == 2 {
                pull_post(account, &title)
            } else {
                file_post(account, &title, &media)
            };
            posts.push((api.publish(&wanted).await, title));
        }
        tokio::time::sleep(Duration::from_millis(random.between(10, 1_000))).await;
        host.kill().await;
        host = world.program.serve().await;
    }
    assert_eq!(posts.len(), POSTS);
    let mut ends = Vec::new();
    for (id, title) in &posts {
        ends.push(ended(&world, &api, id, title).await);
    }
    println!(
        "{ends:?}, {} inits, {} chunks",
        world.calls("video_init"),
        world.calls("upload")
    );
    let published = ends.iter().filter(|end| *end == "published").count();
    assert!(
        published >= POSTS / 2,
        "too few posts were published to mean anything: {ends:?}"
    );
}

/// Waits for the end of a post, and holds it against what the platform knows.
async fn ended(world: &World, api: &Api, id: &str, title: &str) -> String {
    let post = until(&format!("{title} has an end"), async || {
        let post = api.post_state(id).await;
        matches!(post["status"].as_str(), Some("published" | "failed" | "unconfirmed")).then_some(post)
    })
    .await;
    let status = post["status"].as_str().unwrap().to_owned();
    // A start that asks for an upload has no effect by itself, and may come again; one that names a URL may not.
    let pulls = world
        .posts_titled(title)
        .iter()
        .filter(|post| !post.urls.is_empty())
        .count();
    let visible = world.published(title);
    match &*status {
        "published" => assert_eq!(visible, 1, "{title}: {post}"),
        "unconfirmed" => {
            assert!(
                visible <= 1 && pulls <= 1,
                "{title} was told to be fetched {pulls} times and is there {visible} times"
            );
            let journal = api.journal(id).await;
            assert!(
                journal.iter().any(|call| call["answered_at"].is_null()),
                "{title}: {journal:?}"
            );
        }
        _ => {
            assert_eq!(visible, 0, "{title} is there, and yet: {post}");
            let reason = &post["failure"];
            assert!(
                reason["code"].is_string() && reason["advice"].is_string(),
                "{title} failed without a reason: {post}"
            );
        }
    }
    status
}
