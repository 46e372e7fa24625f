//! A Rust client whose types are made of the committed document by typify (`build.rs`), up to a published post. It does not
//! compile when the document lacks a field that is used here.

use patchbay_rig::{Api, World, api::http, until};
use reqwest::{Method, RequestBuilder};
use serde::de::DeserializeOwned;

use self::api::{
    AccountList, EventList, MediaBody, MediaItem, NewPost, NewPostOptions, NewSession, PostAnswer, PostOptionsTiktok,
    Problem, SessionBody, WhoActs, WhoCanSeeThisPost,
};

mod api {
    #![allow(
        clippy::all,
        clippy::pedantic,
        clippy::unwrap_used,
        dead_code,
        reason = "it is generated"
    )]
    include!(concat!(env!("OUT_DIR"), "/api.rs"));
}

#[tokio::test]
async fn typed_requests_and_answers_go_from_nothing_to_a_published_post() {
    let world = World::on_sqlite().await;
    let key = world.key().await;
    let program = world.program.clone().with("PATCHBAY__SERVER__ACTIVATE_AT_ONCE", "true");
    let host = program.serve().await;
    let client = Client {
        url: &host.url,
        key: &key,
    };

    let wanted = NewSession {
        account_id: None,
        activate: None,
        allowed_origins: None,
        owner: "rust".parse().unwrap(),
        return_to: None,
        scopes: Vec::new(),
    };
    let connect = client.post("/api/platforms/tiktok/connect-sessions").json(&wanted);
    let session: SessionBody = answer(connect).await.unwrap();
    let link = session.connect_url.strip_prefix(&host.url).unwrap();
    world.connect_by(&Api::new(&host.url, None), link, "ada_public").await;
    let accounts: AccountList = answer(client.get("/api/platforms/tiktok/accounts?owner=rust"))
        .await
        .unwrap();
    let account = &accounts.data[0];
    assert_eq!((account.status.as_str(), account.simulated), ("active", true));

    let clip = include_bytes!("../../../../../examples/quickstart/sample.mp4");
    let upload = client
        .post("/api/media?name=rust")
        .header("content-type", "video/mp4")
        .body(&clip[..]);
    let media: MediaBody = answer(upload).await.unwrap();
    assert_eq!(media.size_bytes, i64::try_from(clip.len()).ok());

    let mut wanted = NewPost {
        account_id: account.id.clone(),
        allow_duplicate: None,
        consent: None,
        draft: None,
        kind: "video".to_owned(),
        media: vec![MediaItem {
            id: Some(media.id),
            transfer: None,
            url: None,
        }],
        mode: "direct".to_owned(),
        options: None,
        scheduled_at: None,
        scheduled_local: None,
        text: None,
        title: Some("Hello from Rust".to_owned()),
    };
    let posts = "/api/platforms/tiktok/posts";
    let problem = answer::<PostAnswer>(client.post(posts).json(&wanted))
        .await
        .unwrap_err();
    assert_eq!(
        (problem.status, problem.code.as_str(), problem.who_acts),
        (422, "invalid", WhoActs::Caller)
    );
    assert_eq!(problem.errors[0].pointer, "/options/privacy_level");

    let options = PostOptionsTiktok {
        privacy_level: Some(WhoCanSeeThisPost::SelfOnly),
        ..PostOptionsTiktok::default()
    };
    // typify counts the alternatives of a schema: platforms stand in the order of their names.
    wanted.options = Some(NewPostOptions {
        subtype_1: Some(options),
        ..NewPostOptions::default()
    });
    let post: PostAnswer = answer(client.post(posts).json(&wanted)).await.unwrap();
    let path = format!("{posts}/{}", post.id);
    let done = until("the post has an end", async || {
        let now: PostAnswer = answer(client.get(&path)).await.unwrap();
        now.finished_at.is_some().then_some(now)
    })
    .await;
    assert_eq!((done.status.as_str(), done.failure.is_none()), ("published", true));
    let events: EventList = answer(client.get(&format!("/api/events?post_id={}", post.id)))
        .await
        .unwrap();
    assert!(events.data.iter().any(|event| event.name == "post.published"));
    assert_eq!(world.published("Hello from Rust"), 1);
}

struct Client<'a> {
    url: &'a str,
    key: &'a str,
}

impl Client<'_> {
    fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    fn post(&self, path: &str) -> RequestBuilder {
        self.request(Method::POST, path)
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        http()
            .request(method, format!("{}{path}", self.url))
            .bearer_auth(self.key)
    }
}

/// The answer as what the document says that it is.
async fn answer<T: DeserializeOwned>(request: RequestBuilder) -> Result<T, Problem> {
    let answer = request.send().await.unwrap();
    if answer.status().is_success() {
        Ok(answer.json().await.unwrap())
    } else {
        Err(answer.json().await.unwrap())
    }
}
