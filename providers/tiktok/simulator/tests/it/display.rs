//! User info and video metrics.

use patchbay_simulator_tiktok::MissingFieldScope;
use serde_json::{Value, json};

use crate::support::{World, answer, code, world};

impl World {
    async fn user(&self, token: &str, fields: &str) -> (u16, Value) {
        let request = self
            .client
            .get(self.api_url(&format!("/v2/user/info/?fields={fields}")));
        answer(request.bearer_auth(token).send().await.unwrap()).await
    }
}

#[tokio::test]
async fn only_asked_fields_come_back() {
    let world = world().await;
    let token = world.token("ada_public");
    let (_, body) = world
        .user(&token, "display_name,username,follower_count,avatar_url_200")
        .await;
    let expected = json!({ "display_name": "Ada Public", "username": "ada_public", "follower_count": 12345 });
    assert_eq!(body["data"]["user"], expected);
    let (status, body) = world.user(&token, "").await;
    assert_eq!((status, code(&body)), (400, "invalid_params"));
}

#[tokio::test]
async fn a_field_needs_its_scope() {
    let world = world().await;
    let token = world
        .tiktok
        .grant("ada_public", &["user.info.basic"])
        .unwrap()
        .access_token;
    assert_eq!(world.user(&token, "open_id,union_id").await.0, 200);
    let (status, body) = world.user(&token, "open_id,username").await;
    assert_eq!((status, code(&body)), (401, "scope_not_authorized"));
    world
        .tiktok
        .change_switches(|switches| switches.missing_field_scope = MissingFieldScope::ScopePermissionMissed);
    let (status, body) = world.user(&token, "follower_count").await;
    assert_eq!((status, code(&body)), (400, "scope_permission_missed"));
}

#[tokio::test]
async fn public_videos_are_listed_newest_first_in_pages() {
    let world = world().await;
    let mut ids = Vec::new();
    for privacy in [
        "PUBLIC_TO_EVERYONE",
        "SELF_ONLY",
        "PUBLIC_TO_EVERYONE",
        "PUBLIC_TO_EVERYONE",
    ] {
        let id = world.post_video(&world.token("ada_public"), privacy).await;
        let post = world.tiktok.oracle().post(&id).unwrap().published.remove(0);
        if post.public_at.is_some() {
            ids.insert(0, post.post_id.to_string());
        }
    }
    let token = world.token("ada_public");
    let list = "/v2/video/list/?fields=id,create_time,title,view_count,share_url,nonsense";
    let (_, first) = world.call(list, &token, json!({ "max_count": "2" })).await;
    let seen: Vec<&str> = first["data"]["videos"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v["id"].as_str().unwrap())
        .collect();
    assert_eq!(seen, ids[..2]);
    assert_eq!(first["data"]["has_more"], true);
    assert_eq!(first["data"]["videos"][0]["title"], "hello");
    assert!(first["data"]["videos"][0].get("nonsense").is_none());
    let cursor = first["data"]["cursor"].to_string();
    let (_, second) = world
        .call(list, &token, json!({ "cursor": cursor, "max_count": 2 }))
        .await;
    assert_eq!(second["data"]["videos"][0]["id"], ids[2]);
    assert_eq!(second["data"]["has_more"], false);
    assert_eq!(world.call(list, &token, json!({ "max_count": 21 })).await.0, 400);

    let number: u64 = ids[0].parse().unwrap();
    let query = "/v2/video/query/?fields=id,duration";
    let (_, found) = world
        .call(
            query,
            &token,
            json!({ "filters": { "video_ids": [number, ids[1], "123"] } }),
        )
        .await;
    assert_eq!(found["data"]["videos"].as_array().unwrap().len(), 2);
    let foreign = world.token("quinn_quiet");
    let (_, none) = world
        .call(query, &foreign, json!({ "filters": { "video_ids": [ids[1]] } }))
        .await;
    assert_eq!(none["data"]["videos"], json!([]));
}
