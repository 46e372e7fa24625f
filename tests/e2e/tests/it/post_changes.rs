//! Posts that are checked, changed, stopped, retried, and asked for together.

use std::{collections::BTreeSet, time::Duration};

use chrono::TimeDelta;
use patchbay_simkit::{Action, Fault, When};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{
    ADA, Api, POSTS, Reply, World, at_once, draft_pull, id_of, media, on_both, pull_post, send, video_post,
};

const VALIDATE: &str = "/api/platforms/tiktok/posts:validate";
const ALL_POSTS: &str = "/api/posts";

async fn patch(api: &Api, id: &str, seen: Option<&str>, body: &Value) -> Reply {
    let request = api.request(Method::PATCH, &format!("{POSTS}/{id}")).json(body);
    send(match seen {
        Some(seen) => request.header("if-match", seen),
        None => request,
    })
    .await
}

fn etag(reply: &Reply) -> String {
    reply.header("etag").unwrap().to_owned()
}

/// A post for tomorrow, and its version.
async fn scheduled(world: &World, account: &str) -> (String, String) {
    let mut wanted = pull_post(account);
    wanted["title"] = json!("Kites");
    wanted["scheduled_at"] = json!((world.now() + TimeDelta::days(1)).to_rfc3339());
    let reply = world.api.post(POSTS, &wanted).await;
    (id_of(&reply.with(202)), etag(&reply))
}

/// A post that the platform refused.
async fn failed(world: &World, account: &str) -> String {
    let refusal = Action::Error {
        code: "invalid_params".to_owned(),
        status: Some(400),
        message: None,
    };
    world.sim.faults().put("refused", Fault::new("video_init", refusal));
    let id = world.post(&pull_post(account)).await;
    assert_eq!(world.settled(&id).await["status"], "failed");
    world.sim.faults().clear("refused");
    id
}

#[tokio::test]
async fn a_post_is_checked_in_the_same_words_and_without_effect() {
    let world = World::new().await;
    let account = world.connect().await;
    let stored = world.video().await;
    let checked = world.api.post(VALIDATE, &video_post(&account, &stored)).await;
    let body = checked.with(200);
    assert_eq!(
        (&body["account_id"], &body["provider"], &body["simulated"]),
        (&json!(account), &json!("tiktok"), &json!(true))
    );
    assert_eq!(body["quotas"][0]["name"], "direct_posts");
    assert!(checked.header("ratelimit").is_some());

    let other = world.tenant("other").await;
    let theirs = world.connect_as(&other, "pia_private").await;
    let with = |change: &dyn Fn(&mut Value)| {
        let mut wanted = pull_post(&account);
        change(&mut wanted);
        wanted
    };
    let never = "acc_0199f0a2b3c47d8e9f00112233445566";
    for bad in [
        with(&|post| post["options"] = json!({})),
        with(&|post| post["options"]["privacy_level"] = json!("FOLLOWER_OF_CREATOR")),
        with(&|post| post["title"] = json!("x".repeat(2_201))),
        with(&|post| post["media"] = json!([])),
        with(&|post| post["media"] = json!([{ "url": "http://127.0.0.1/a.mp4" }])),
        with(&|post| post["media"] = json!([{ "id": "med_0199f0a2b3c47d8e9f00112233445566" }])),
        with(&|post| post["unknown"] = json!(1)),
        with(&|post| post["account_id"] = json!(theirs)),
        with(&|post| post["account_id"] = json!(never)),
        with(&|post| {
            post["scheduled_local"] = json!({ "date_time": "2027-03-28T02:30:00", "time_zone": "Europe/Berlin" });
        }),
    ] {
        let (checked, real) = (world.api.post(VALIDATE, &bad).await, world.api.post(POSTS, &bad).await);
        assert!(real.status >= 400, "{}", real.text);
        assert_eq!(anonymous(&checked), anonymous(&real), "{bad}");
    }
    assert_eq!(world.api.get(ALL_POSTS).await.ok()["data"], json!([]));
    assert_eq!((world.inits(), world.calls("inbox_init")), (0, 0));
}

/// A problem without what differs between any two answers.
fn anonymous(reply: &Reply) -> (u16, Value) {
    let mut body = reply.json();
    body.as_object_mut().unwrap().remove("instance");
    body.as_object_mut().unwrap().remove("request_id");
    (reply.status, body)
}

#[tokio::test]
async fn a_repeated_request_is_answered_whatever_became_of_the_account() {
    let world = World::new().await;
    let account = world.connect().await;
    let ask = || {
        let request = world
            .api
            .request(Method::POST, POSTS)
            .header("idempotency-key", "order-1");
        send(request.json(&pull_post(&account)))
    };
    let first = id_of(&ask().await.with(202));
    world.published(&first).await;
    let gone = json!({ "account_id": account });
    world.api.post("/api/platforms/tiktok/disconnect", &gone).await.ok();
    world.drain().await;
    let again = ask().await;
    assert_eq!(id_of(&again.with(202)), first);
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    world
        .api
        .post(POSTS, &pull_post(&account))
        .await
        .problem(409, "account_not_active");
}

#[tokio::test]
async fn a_post_that_has_not_begun_is_changed() {
    on_both(async |world| {
        let account = world.connect().await;
        let (id, first) = scheduled(&world, &account).await;
        let shown = world.api.get(&format!("{POSTS}/{id}")).await;
        assert_eq!(etag(&shown), first);

        world.advance(Duration::from_secs(1));
        let at = world.now() + TimeDelta::hours(2);
        let change = json!({
            "title": null,
            "text": "At the bay",
            "options": { "disable_comment": true },
            "scheduled_at": at.to_rfc3339(),
        });
        let reply = patch(&world.api, &id, Some(&first), &change).await;
        let post = reply.with(200);
        assert_eq!((&post["title"], &post["text"]), (&json!(null), &json!("At the bay")));
        assert_eq!(
            post["options"],
            json!({ "privacy_level": "PUBLIC_TO_EVERYONE", "disable_comment": true })
        );
        let second = etag(&reply);
        assert_ne!(second, first);
        assert_eq!(post["id"], json!(id));
        let next: chrono::DateTime<chrono::Utc> = post["next_attempt_at"].as_str().unwrap().parse().unwrap();
        assert_eq!(next, at, "it is begun at its new time");

        // Who has seen an older version changes nothing, and neither does a change that is wrong.
        for late in [
            Some(first.as_str()),
            Some("\"other\""),
            Some("W/\"1\""),
            Some("no quotes"),
        ] {
            patch(&world.api, &id, late, &json!({ "title": "Late" }))
                .await
                .problem(412, "precondition_failed");
        }
        for wrong in [
            json!({ "options": { "privacy_level": null } }),
            json!({ "title": "x".repeat(2_201) }),
            json!({ "media": [] }),
            json!({ "account_id": account }),
            json!({ "scheduled_local": { "date_time": "2027-03-28T02:30:00", "time_zone": "Europe/Berlin" } }),
            json!({ "scheduled_at": at.to_rfc3339(),
                "scheduled_local": { "date_time": "2027-03-29T02:30:00", "time_zone": "Europe/Berlin" } }),
        ] {
            patch(&world.api, &id, Some(&second), &wrong)
                .await
                .problem(422, "invalid");
        }
        let other = world.tenant("other").await;
        patch(&other, &id, None, &json!({ "title": "Theirs" }))
            .await
            .problem(404, "not_found");
        assert_eq!(etag(&world.api.get(&format!("{POSTS}/{id}")).await), second);

        // Without a version, and with any, the last word counts.
        patch(&world.api, &id, None, &json!({ "text": null })).await.ok();
        let post = patch(
            &world.api,
            &id,
            Some("*"),
            &json!({ "scheduled_at": null, "title": "Now" }),
        )
        .await
        .ok();
        assert_eq!((&post["scheduled_at"], &post["text"]), (&json!(null), &json!(null)));
        let post = world.published(&id).await;
        assert_eq!(
            world.sim.oracle().posts()[0].wishes.title.as_deref(),
            Some("Now"),
            "{post}"
        );
        assert_eq!((world.inits(), world.sim.oracle().effects(ADA).posted), (1, 1));
        patch(&world.api, &id, None, &json!({ "title": "Too late" }))
            .await
            .problem(409, "post_not_editable");
        let events = world.events(&format!("post_id={id}")).await;
        assert_eq!(
            events.iter().filter(|event| *event == "post.edited").count(),
            3,
            "{events:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn of_two_who_change_the_same_version_one_is_told() {
    on_both(async |world| {
        let account = world.connect().await;
        let (id, seen) = scheduled(&world, &account).await;
        let (api, seen) = (&world.api, &seen);
        let replies = at_once(20, |number| {
            let (api, id, seen) = (api.clone(), id.clone(), seen.clone());
            async move { patch(&api, &id, Some(&seen), &json!({ "title": format!("Title {number}") })).await }
        })
        .await;
        let mut statuses: Vec<_> = replies.iter().map(|reply| reply.status).collect();
        statuses.sort_unstable();
        assert_eq!(statuses[..2], [200, 412], "{statuses:?}");
        let won = replies.iter().find(|reply| reply.status == 200).unwrap().json();
        assert_eq!(world.show(&id).await["title"], won["title"]);
    })
    .await;
}

#[tokio::test]
async fn a_stop_is_for_the_version_that_was_seen() {
    let world = World::new().await;
    let account = world.connect().await;
    let (id, first) = scheduled(&world, &account).await;
    world.advance(Duration::from_secs(1));
    patch(&world.api, &id, None, &json!({ "title": "Changed" })).await.ok();
    let stop = |seen: String| {
        let request = world.api.request(Method::DELETE, &format!("{POSTS}/{id}"));
        send(request.header("if-match", seen))
    };
    stop(first).await.problem(412, "precondition_failed");
    let seen = etag(&world.api.get(&format!("{POSTS}/{id}")).await);
    assert_eq!(stop(seen).await.with(202)["status"], "cancelled");
}

#[tokio::test]
async fn a_failed_post_is_retried_once_as_a_new_post() {
    on_both(async |world| {
        let account = world.connect().await;
        let id = failed(&world, &account).await;
        let alone = async || {
            let mut post = world.show(&id).await;
            post.as_object_mut().unwrap().remove("quotas");
            post
        };
        let before = alone().await;
        let path = format!("{POSTS}/{id}/retry");
        let replies = at_once(100, |_| {
            let (api, path) = (world.api.clone(), path.clone());
            async move { api.poke(&path).await }
        })
        .await;
        let ids: BTreeSet<_> = replies.iter().map(|reply| id_of(&reply.with(202))).collect();
        assert_eq!(ids.len(), 1);
        let fresh = replies
            .iter()
            .filter(|reply| reply.header("idempotency-replayed") == Some("false"));
        assert_eq!(fresh.count(), 1);
        let retry = ids.first().unwrap();
        assert_eq!(replies[0].header("location"), Some(format!("{POSTS}/{retry}").as_str()));
        let post = world.published(retry).await;
        assert_eq!(post["retry_of"], json!(id));
        assert_eq!(world.sim.oracle().effects(ADA).posted, 1);
        assert_eq!(alone().await, before, "what failed stays as it is");
        assert_eq!(id_of(&world.api.poke(&path).await.with(202)), *retry);
        world
            .api
            .poke(&format!("{POSTS}/{retry}/retry"))
            .await
            .problem(409, "post_not_retryable");
    })
    .await;
}

#[tokio::test]
async fn what_may_be_visible_is_never_retried() {
    let world = World::new().await;
    let account = world.connect().await;
    // Not even a webhook tells.
    let hang = Action::Set {
        name: "hang".to_owned(),
        value: Value::Null,
    };
    world.sim.faults().put("hang", Fault::new("pull", hang));
    let lost = Fault::new("video_init", Action::Drop { when: When::After });
    world.sim.faults().put("lost", lost);
    let id = world.post(&pull_post(&account)).await;
    world.follow(&id, |post| post["status"] == "unconfirmed").await;
    world.sim.faults().clear("lost");
    world.sim.faults().clear("hang");
    let retry = async |id: &str| world.api.poke(&format!("{POSTS}/{id}/retry")).await;
    let problem = retry(&id).await.problem(409, "post_not_retryable");
    assert!(
        problem["detail"].as_str().unwrap().contains("Look at the profile"),
        "{problem}"
    );

    let (queued, _) = scheduled(&world, &account).await;
    retry(&queued).await.problem(409, "post_not_retryable");
    world.api.delete(&format!("{POSTS}/{queued}")).await.ok();
    let again = id_of(&retry(&queued).await.with(202));
    let post = world.published(&again).await;
    assert_eq!((&post["title"], &post["retry_of"]), (&json!("Kites"), &json!(queued)));
    assert_eq!(post["scheduled_at"], json!(null), "at once");
}

#[tokio::test]
async fn a_retry_needs_its_files() {
    let world = World::new().await;
    let account = world.connect().await;
    let stored = world.video().await;
    let mut wanted = video_post(&account, &stored);
    wanted["scheduled_at"] = json!((world.now() + TimeDelta::days(1)).to_rfc3339());
    let id = world.post(&wanted).await;
    world.api.delete(&format!("{POSTS}/{id}")).await.ok();
    world.execute("DELETE FROM media").await;
    let problem = world
        .api
        .poke(&format!("{POSTS}/{id}/retry"))
        .await
        .problem(422, "invalid");
    assert_eq!(problem["errors"][0]["code"], "unknown_media", "{problem}");
}

#[tokio::test]
async fn one_request_posts_to_several_accounts() {
    on_both(async |world| {
        let ada = world.connect().await;
        let pia = world.connect_as(&world.api, "pia_private").await;
        let at = world.now() + TimeDelta::hours(1);
        let options = |level: &str| json!({ "privacy_level": level });
        let wanted = json!({
            "kind": "video",
            "title": "Kites",
            "media": [{ "url": media::url("video.mp4") }],
            "scheduled_at": at.to_rfc3339(),
            "targets": [
                { "account_id": ada, "options": options("PUBLIC_TO_EVERYONE") },
                { "account_id": pia, "options": options("SELF_ONLY"), "title": null, "text": "Only for me",
                  "scheduled_at": null },
            ],
        });
        let ask = |key: &str, body: &Value| {
            let request = world
                .api
                .request(Method::POST, ALL_POSTS)
                .header("idempotency-key", key);
            send(request.json(body))
        };
        let reply = ask("both", &wanted).await;
        let group = reply.with(202);
        let posts = group["data"].as_array().unwrap();
        assert_eq!(posts.len(), 2);
        let told = |post: &Value| json!([post["account_id"], post["title"], post["text"], post["group_id"]]);
        assert_eq!(told(&posts[0]), json!([ada, "Kites", null, group["id"]]));
        assert_eq!(told(&posts[1]), json!([pia, null, "Only for me", group["id"]]));
        assert_eq!(posts[1]["scheduled_at"], json!(null));

        // The same request again, also many times at once, is the same posts.
        let again = ask("both", &wanted).await;
        assert_eq!(again.header("idempotency-replayed"), Some("true"));
        let ids = |group: &Value| [id_of(&group["data"][0]), id_of(&group["data"][1])];
        assert_eq!(ids(&again.with(202)), ids(&group));
        let mut changed = wanted.clone();
        changed["title"] = json!("Other");
        ask("both", &changed).await.problem(422, "idempotency_key_reused");

        // What only its owner sees gets no public id.
        assert_eq!(world.settled(&id_of(&posts[1])).await["status"], "published");
        assert_eq!(world.show(&id_of(&posts[0])).await["status"], "queued");
        world.advance(Duration::from_secs(3600));
        world.published(&id_of(&posts[0])).await;
        let found = world.api.get(reply.header("location").unwrap()).await.ok();
        let found: Vec<_> = found["data"].as_array().unwrap().iter().map(id_of).rev().collect();
        assert_eq!(found, ids(&group));
        assert_eq!(world.sim.oracle().posts().len(), 2);

        // One of them is retried like any other, and once.
        let mut bad = wanted.clone();
        bad["title"] = json!("Refused");
        bad["targets"].as_array_mut().unwrap().pop();
        let group = ask("alone", &bad).await.with(202);
        let id = id_of(&group["data"][0]);
        world.api.delete(&format!("{POSTS}/{id}")).await.ok();
        let path = format!("{POSTS}/{id}/retry");
        let first = world.api.poke(&path).await.with(202);
        assert_eq!((&first["retry_of"], &first["group_id"]), (&json!(id), &group["id"]));
        assert_eq!(id_of(&world.api.poke(&path).await.with(202)), id_of(&first));
    })
    .await;
}

#[tokio::test]
async fn of_several_targets_all_are_taken_or_none() {
    let world = World::new().await;
    let ada = world.connect().await;
    let other = world.tenant("other").await;
    let theirs = world.connect_as(&other, "pia_private").await;
    let good = json!({ "account_id": ada, "options": { "privacy_level": "PUBLIC_TO_EVERYONE" } });
    let ask = |targets: Value| {
        let body = json!({ "kind": "video", "media": [{ "url": media::url("video.mp4") }], "targets": targets });
        let api = world.api.clone();
        async move { api.post(ALL_POSTS, &body).await }
    };
    let bad = ask(json!([good, { "account_id": ada }])).await.problem(422, "invalid");
    assert_eq!(bad["errors"][0]["pointer"], "/targets/1/options/privacy_level", "{bad}");
    let bad = ask(json!([good, { "account_id": ada, "media": [{}] }]))
        .await
        .problem(422, "invalid");
    assert_eq!(bad["errors"][0]["pointer"], "/targets/1/media/0", "{bad}");
    let bad = ask(json!([good, { "account_id": theirs }]))
        .await
        .problem(404, "not_found");
    assert_eq!(bad["errors"][0]["pointer"], "/targets/1", "{bad}");
    ask(json!([])).await.problem(422, "invalid");
    ask(Value::Array(vec![good.clone(); 21])).await.problem(422, "invalid");
    assert_eq!(world.api.get(ALL_POSTS).await.ok()["data"], json!([]));

    // Twenty times the same to one account is nothing that anybody means.
    let same = ask(Value::Array(vec![good.clone(); 20]))
        .await
        .problem(409, "duplicate_content");
    assert_eq!(same["errors"][0]["pointer"], "/targets/1", "{same}");
    assert_eq!(world.api.get(ALL_POSTS).await.ok()["data"], json!([]));
    let several: Vec<_> = (0..20)
        .map(|number| {
            let mut target = good.clone();
            target["title"] = json!(format!("Title {number}"));
            target
        })
        .collect();
    ask(Value::Array(several)).await.with(202);
    let drafts = world.api.post(POSTS, &draft_pull(&ada)).await;
    drafts.with(202);
    let all = world.api.get(&format!("{ALL_POSTS}?limit=100")).await.ok();
    assert_eq!(
        all["data"].as_array().unwrap().len(),
        21,
        "lists of all platforms have all posts"
    );
    assert_eq!(other.get(ALL_POSTS).await.ok()["data"], json!([]));
}

#[tokio::test]
async fn the_same_is_not_posted_twice_to_an_account_unless_it_is_meant() {
    on_both(async |world| {
        let account = world.connect().await;
        let alone = |mut wanted: Value| {
            wanted["allow_duplicate"] = json!(false);
            wanted
        };
        let first = world.video().await;
        let id = world.post(&alone(video_post(&account, &first))).await;
        world.published(&id).await;
        // The same bytes, uploaded again; options are no content.
        let mut again = alone(video_post(&account, &world.video().await));
        again["options"]["disable_comment"] = json!(true);
        for path in [POSTS, VALIDATE] {
            let problem = world.api.post(path, &again).await.problem(409, "duplicate_content");
            assert!(problem["detail"].as_str().unwrap().contains(&id), "{problem}");
        }
        let mut other = again.clone();
        other["title"] = json!("Another title");
        world.api.post(VALIDATE, &other).await.with(200);
        let other = world.post(&other).await;
        let mut edit = again.clone();
        edit["scheduled_at"] = json!((world.now() + TimeDelta::hours(1)).to_rfc3339());
        edit["title"] = json!("A third title");
        let later = world.post(&edit).await;
        patch(&world.api, &later, None, &json!({ "title": "Kites over the bay" }))
            .await
            .problem(409, "duplicate_content");
        // Meant, or a day later.
        again["allow_duplicate"] = json!(true);
        let meant = world.post(&again).await;
        again["allow_duplicate"] = json!(false);
        for id in [&other, &meant] {
            world.published(id).await;
        }
        world.advance(Duration::from_secs(24 * 3600));
        let again = world.post(&again).await;
        world.published(&again).await;
    })
    .await;
}

#[tokio::test]
async fn a_request_that_is_overtaken_by_its_repeat_doubles_nothing() {
    let world = World::new().await;
    let account = world.connect().await;
    let mut wanted = pull_post(&account);
    wanted["allow_duplicate"] = json!(false);
    let late = Fault::new("creator_info", Action::Delay { ms: 3_000 }).once();
    world.sim.faults().put("late", late);
    let ask = || {
        let request = world
            .api
            .request(Method::POST, POSTS)
            .header("idempotency-key", "order-1");
        send(request.json(&wanted))
    };
    let asked = world.calls("creator_info");
    let first = async {
        let first = ask().await;
        (
            first.header("idempotency-replayed").map(str::to_owned),
            id_of(&first.with(202)),
        )
    };
    let repeat = async {
        while world.calls("creator_info") == asked {
            tokio::task::yield_now().await;
        }
        id_of(&ask().await.with(202))
    };
    let (first, repeat) = tokio::join!(first, repeat);
    assert_eq!(first, (Some("true".to_owned()), repeat));
}

#[tokio::test]
async fn a_post_is_begun_when_the_clocks_of_its_zone_say_so() {
    let world = World::new().await;
    let account = world.connect().await;
    let mut wanted = pull_post(&account);
    wanted["scheduled_local"] = json!({ "date_time": "2027-10-31T02:30:00", "time_zone": "Europe/Berlin" });
    let post = world.api.post(POSTS, &wanted).await.with(202);
    assert_eq!(post["scheduled_at"], "2027-10-31T00:30:00Z", "the first of the two");
    for (wrong, pointer) in [
        (
            json!({ "date_time": "2027-03-28T02:30:00", "time_zone": "Europe/Berlin" }),
            "/scheduled_local/date_time",
        ),
        (
            json!({ "date_time": "2027-03-28T12:30:00", "time_zone": "Berlin" }),
            "/scheduled_local/time_zone",
        ),
    ] {
        wanted["scheduled_local"] = wrong;
        let problem = world.api.post(POSTS, &wanted).await.problem(422, "invalid");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    }
}

#[tokio::test]
async fn what_a_person_agreed_to_is_kept_with_the_post() {
    on_both(async |world| {
        let account = world.connect().await;
        let video = world.video().await;
        let agreeing = |text: &str| {
            let mut post = video_post(&account, &video);
            post["consent"] = json!({ "text": text, "by": "user-17" });
            post
        };
        let plain = "By posting, you agree to TikTok's Music Usage Confirmation.";
        let id = world.post(&agreeing(plain)).await;
        let asked = world.now();
        let post = world.published(&id).await;
        assert_eq!(
            (&post["consent"]["text"], &post["consent"]["by"]),
            (&json!(plain), &json!("user-17"))
        );
        let at: chrono::DateTime<chrono::Utc> = post["consent"]["at"].as_str().unwrap().parse().unwrap();
        assert!((asked - at).abs() < chrono::TimeDelta::minutes(1), "{at} of {asked}");

        // The owner of the account, unless somebody is named; and in each language of the platform.
        let mut french = agreeing("En publiant, vous acceptez la Confirmation d’utilisation de la musique de TikTok.");
        french["consent"].as_object_mut().unwrap().remove("by");
        let id = world.post(&french).await;
        assert_eq!(
            world.published(&id).await["consent"]["by"],
            post_owner(&world.api, &account).await
        );

        // Another text than the post needs is no agreement to it.
        let mut branded = agreeing(plain);
        branded["options"]["brand_content_toggle"] = json!(true);
        for (wrong, pointer) in [
            (branded, "/consent/text"),
            (agreeing("I agree."), "/consent/text"),
            (agreeing(""), "/consent/text"),
            (agreeing("a\u{7}b"), "/consent/text"),
        ] {
            let problem = world.api.post(POSTS, &wrong).await.problem(422, "invalid");
            let pointers: Vec<_> = problem["errors"]
                .as_array()
                .unwrap()
                .iter()
                .map(|one| &one["pointer"])
                .collect();
            assert_eq!(pointers, [&json!(pointer)], "{problem}");
        }
    })
    .await;
}

async fn post_owner(api: &Api, account: &str) -> Value {
    api.get(&format!("/api/platforms/tiktok/accounts/{account}"))
        .await
        .with(200)["owner"]
        .clone()
}
