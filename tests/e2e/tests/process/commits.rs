//! The commit journal (R04 to R06, T61): whatever happens around an irreversible call, there is one post, or an open
//! question that is shown and not answered by a second call.

use patchbay_rig::{
    Api, Host, Tap, World, holds, until,
    world::{CHUNK, FOUR_CHUNKS, file_post, pull_post, video_bytes},
};
use patchbay_simulator_tiktok::{
    Running,
    simkit::{Action, Fault, When},
};
use serde_json::{Value, json};

/// Bytes that HTTP itself may add to an upload of a few chunks.
const HEADS: u64 = 16 * 1024;

#[tokio::test]
async fn a_host_killed_in_the_middle_of_a_chunk_goes_on_and_sends_no_more_than_that_chunk_again() {
    let world = World::on_sqlite().await;
    let (host, api) = world.start().await;
    let account = world.connect(&api, "ada_public").await.id;
    let bytes = video_bytes(FOUR_CHUNKS, 1);
    let digest = sha256(&bytes);
    let media = api.upload(bytes).await;
    world.upload_tap.stall_after(CHUNK + CHUNK / 2);
    let post = api.publish(&file_post(&account, "killed in a chunk", &media)).await;
    holds("half of the second chunk has left", || world.upload_tap.is_stalled()).await;
    host.kill().await;
    world.upload_tap.release();
    let received: Vec<_> = world
        .tiktok
        .oracle()
        .uploads()
        .iter()
        .map(|upload| upload.received)
        .collect();
    assert_eq!(received, [CHUNK], "the platform has the first chunk");

    let _host = world.program.serve().await;
    api.post_becomes(&post, "published").await;
    assert_eq!(world.published("killed in a chunk"), 1);
    let posts = world.tiktok.oracle().posts();
    assert_eq!(posts.len(), 1, "the upload went on, no other was begun");
    assert_eq!(posts[0].sha256, [digest]);
    let upload = &world.tiktok.oracle().uploads()[0];
    assert_eq!((upload.total_chunk_count, upload.chunks.len()), (4, 4));
    let again = world.upload_tap.sent().saturating_sub(FOUR_CHUNKS + HEADS);
    assert!(again <= CHUNK, "{again} bytes were sent again");
    assert_eq!(world.calls("upload"), 5);
    answered_once(&api.journal(&post).await, "video.chunk_last");
}

#[tokio::test]
async fn a_host_killed_after_the_last_chunk_and_before_its_answer_makes_one_post() {
    let world = World::on_sqlite().await;
    let (host, api) = world.start().await;
    let account = world.connect(&api, "ada_public").await.id;
    let media = api.upload(video_bytes(FOUR_CHUNKS, 2)).await;
    world.upload_tap.hold_answers_after(FOUR_CHUNKS);
    let post = api.publish(&file_post(&account, "killed at the end", &media)).await;
    holds("the platform has all of the file", || upload_is_complete(&world.tiktok)).await;
    assert_eq!(world.published("killed at the end"), 1, "it is a post already");
    host.kill().await;
    world.upload_tap.release();

    let _host = world.program.serve().await;
    api.post_becomes(&post, "published").await;
    assert_eq!(
        (
            world.published("killed at the end"),
            world.calls("video_init"),
            world.calls("upload")
        ),
        (1, 1, 4)
    );
    let journal = api.journal(&post).await;
    assert_eq!(journal.len(), 1, "{journal:?}");
    assert_eq!(
        journal[0]["answered_at"],
        Value::Null,
        "nobody has seen that answer: {journal:?}"
    );
}

#[tokio::test]
async fn a_last_chunk_that_was_taken_although_its_answer_says_otherwise_makes_one_post() {
    let world = World::on_sqlite().await;
    let (_host, api) = world.start().await;
    let status = |when| Action::Status {
        status: 500,
        body: String::new(),
        content_type: "text/plain".to_owned(),
        when,
    };
    for (user, title, action) in [
        ("ada_public", "answered 500", status(When::After)),
        ("quinn_quiet", "answer lost", Action::Drop { when: When::After }),
    ] {
        let account = world.connect(&api, user).await.id;
        let media = api.upload(video_bytes(2 * CHUNK + 5, 3)).await;
        world
            .tiktok
            .faults()
            .put("last chunk", Fault::new("upload", action).skip(1).once());
        let post = api.publish(&file_post(&account, title, &media)).await;
        api.post_becomes(&post, "published").await;
        assert_eq!(world.tiktok.faults().hits("last chunk"), 1);
        assert_eq!(
            (world.posts_titled(title).len(), world.published(title)),
            (1, 1),
            "{title}"
        );
    }
}

#[tokio::test]
async fn a_last_chunk_that_was_not_taken_is_sent_again_and_makes_one_post() {
    let world = World::on_sqlite().await;
    let (_host, api) = world.start().await;
    let account = world.connect(&api, "ada_public").await.id;
    let media = api.upload(video_bytes(2 * CHUNK + 5, 4)).await;
    let action = Action::Drop { when: When::Before };
    world
        .tiktok
        .faults()
        .put("last chunk", Fault::new("upload", action).skip(1).once());
    let post = api.publish(&file_post(&account, "lost on the way", &media)).await;
    api.post_becomes(&post, "published").await;
    assert_eq!(
        (
            world.posts_titled("lost on the way").len(),
            world.published("lost on the way")
        ),
        (1, 1)
    );
    assert_eq!(world.calls("upload"), 3);
}

#[tokio::test]
async fn a_pull_whose_answer_is_lost_is_unconfirmed_and_never_sent_again() {
    let world = World::on_sqlite().await;
    // Nobody tells the host afterwards.
    world.tiktok.webhooks().change(|settings| settings.target = None);
    let (host, api) = world.start().await;
    let account = world.connect(&api, "ada_public").await.id;
    world.tiktok.faults().put(
        "init",
        Fault::new("video_init", Action::Drop { when: When::After }).once(),
    );
    let post = api.publish(&pull_post(&account, "answer lost")).await;
    let state = api.post_becomes(&post, "unconfirmed").await;
    assert_eq!(state["failure"]["kind"], "outcome_unknown");
    assert_eq!(state["failure"]["retry"], false);
    holds("the platform has made the post", || world.published("answer lost") == 1).await;

    let mut host = host;
    for round in ["a kill", "an orderly stop"] {
        if round == "a kill" {
            host.kill().await;
        } else {
            host.stop().await;
        }
        host = world.program.serve().await;
        // A later post of the same account passes through the same queue, so the earlier one has had its turn.
        let title = format!("after {round}");
        let later = api.publish(&pull_post(&account, &title)).await;
        api.post_becomes(&later, "published").await;
        assert_eq!(world.published(&title), 1);
        assert_eq!(api.post_state(&post).await["status"], "unconfirmed");
        assert_eq!(
            (world.posts_titled("answer lost").len(), world.published("answer lost")),
            (1, 1),
            "after {round}"
        );
    }
    let journal = api.journal(&post).await;
    assert_eq!(journal.len(), 1, "{journal:?}");
    assert_eq!(journal[0]["op"], "video.init_pull");
    assert!(journal[0]["about_to_at"].is_string());
    assert_eq!(journal[0]["answered_at"], Value::Null);
    assert_eq!(world.calls("video_init"), 3, "one for each of the three posts");
}

#[tokio::test]
async fn a_pull_whose_host_was_killed_while_it_waited_for_the_answer_is_unconfirmed() {
    let (world, api, post) = killed_before_the_answer("nobody waited").await;
    let _host = world.program.serve().await;
    api.post_becomes(&post, "unconfirmed").await;
    assert_eq!(world.calls("video_init"), 1);
    assert_eq!(
        world.posts_titled("nobody waited").len(),
        0,
        "this one never reached the platform's handler"
    );
}

/// While nobody could ask what became of the call, it must not be forgotten: a step that only waits would begin a new one.
#[tokio::test]
async fn a_pull_whose_account_was_lost_before_its_answer_was_read_is_unconfirmed_after_the_reconnect() {
    let (world, api, post) = killed_before_the_answer("nobody asked").await;
    world
        .database
        .execute("UPDATE accounts SET status = 'reauth_required', status_code = 'invalid_grant'")
        .await;
    let _host = world.program.serve().await;
    until("the step was tried without a token", async || {
        let jobs = "jobs WHERE kind = 'publish' AND status = 'ready' AND last_error = 'no_token'";
        (world.database.count(jobs).await == 1).then_some(())
    })
    .await;
    assert_eq!(api.post_state(&post).await["status"], "publishing");
    world.connect(&api, "ada_public").await;
    api.post_becomes(&post, "unconfirmed").await;
    assert_eq!(world.calls("video_init"), 1);
    let seen = api.observations(&post).await;
    assert_eq!(seen[0]["outcome"], "unknown", "{seen:?}");
}

#[tokio::test]
async fn a_pull_whose_account_was_disconnected_before_its_answer_was_read_is_unconfirmed() {
    let (world, api, post) = killed_before_the_answer("disconnected").await;
    world
        .database
        .execute("UPDATE accounts SET status = 'revoked', status_code = 'user'")
        .await;
    let _host = world.program.serve().await;
    api.post_becomes(&post, "unconfirmed").await;
    let seen = api.observations(&post).await;
    assert_eq!(seen[0]["source"], "host", "{seen:?}");
    assert_eq!(world.calls("video_init"), 1);
}

#[tokio::test]
async fn a_pull_that_never_left_is_sent_later_and_makes_one_post() {
    let world = World::on_sqlite().await;
    let (mut host, api) = world.start().await;
    let account = world.connect(&api, "ada_public").await.id;
    // The host is asked to stop while it asks the creator. So the next thing that a host does is the init.
    let first_call = world.calls("creator_info");
    world.tiktok.faults().put(
        "creator",
        Fault::new("creator_info", Action::Delay { ms: 1_500 }).skip(1).once(),
    );
    let post = api.publish(&pull_post(&account, "sent later")).await;
    holds("the first step asks the creator", || {
        world.calls("creator_info") == first_call + 2
    })
    .await;
    host.ask_to_stop().await;
    assert!(host.ended().await.success());
    assert_eq!(world.calls("video_init"), 0);

    // A port that refuses connections.
    let mut tap = Tap::closed(world.tiktok.api);
    let program = world.reaching(tap.address);
    let _host: Host = program.serve().await;
    let refused = until("the init was refused", async || {
        let post = api.post_state(&post).await;
        (!post["failure"].is_null()).then_some(post)
    })
    .await;
    assert_eq!(
        (&refused["status"], &refused["failure"]["retry"]),
        (&json!("publishing"), &json!(true)),
        "{refused}"
    );
    assert_eq!(
        api.journal(&post).await,
        Vec::<Value>::new(),
        "what surely was not sent is not in the journal"
    );
    tap.open();
    api.post_becomes(&post, "published").await;
    assert_eq!(
        (world.posts_titled("sent later").len(), world.published("sent later")),
        (1, 1)
    );
    answered_once(&api.journal(&post).await, "video.init_pull");
}

/// A pull whose init was sent by a host that was killed before the answer came. Nobody tells the next one.
async fn killed_before_the_answer(title: &str) -> (World, Api, String) {
    let world = World::on_sqlite().await;
    world.tiktok.webhooks().change(|settings| settings.target = None);
    let (host, api) = world.start().await;
    let account = world.connect(&api, "ada_public").await.id;
    world
        .tiktok
        .faults()
        .put("init", Fault::new("video_init", Action::Delay { ms: 600_000 }).once());
    let post = api.publish(&pull_post(&account, title)).await;
    holds("the init is on its way", || world.calls("video_init") == 1).await;
    host.kill().await;
    (world, api, post)
}

#[track_caller]
fn answered_once(journal: &[Value], op: &str) {
    assert_eq!(journal.len(), 1, "{journal:?}");
    assert_eq!(journal[0]["op"], op);
    assert!(journal[0]["answered_at"].is_string(), "{journal:?}");
    assert!(
        journal[0]["answer_status"]
            .as_u64()
            .is_some_and(|status| (200..300).contains(&status)),
        "{journal:?}"
    );
}

fn upload_is_complete(tiktok: &Running) -> bool {
    tiktok
        .oracle()
        .uploads()
        .iter()
        .any(|upload| upload.received == upload.video_size)
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::{Digest, Sha256};

    hex::encode(Sha256::digest(bytes))
}
