//! Each code that TikTok documents, at each endpoint where it is documented, and each `fail_reason`: what becomes of the post, who has to act, and what people are told.
//!
//! Every case has an account of its own, so that no limit or dead token of one case reaches the next.

mod creator;
mod inits;
mod looks;
mod reasons;

use std::time::Duration;

use patchbay_simkit::Fault;
use patchbay_simulator_tiktok::Account;
use serde_json::{Value, json};

use crate::harness::{World, error};

/// What a refusal makes of a post.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// It failed for good: kind, who acts, part of the advice.
    Failed(&'static str, &'static str, &'static str),
    /// It waits and goes on by itself: kind, who may help.
    GoesOn(&'static str, &'static str),
    /// It waits for its account to be connected again, and goes on then.
    Reconnect,
    /// Nobody can tell whether it is there, so it is not sent again.
    Unsure,
}
use End::{Failed, GoesOn, Reconnect, Unsure};

/// The codes of a post's way, in the order of the reference.
const COMMON: [(&str, End); 4] = [
    ("access_token_invalid", Reconnect),
    ("scope_not_authorized", Reconnect),
    ("rate_limit_exceeded", GoesOn("rate_limited", "nobody")),
    ("internal_error", GoesOn("retryable", "nobody")),
];
const PARAMS: (&str, End) = (
    "invalid_params",
    Failed("invalid_request", "caller", "does not accept this post"),
);
const TOO_MANY: (&str, End) = (
    "spam_risk_too_many_posts",
    Failed("permanent", "account_owner", "daily limit"),
);
const BANNED: (&str, End) = (
    "spam_risk_user_banned_from_posting",
    Failed("permanent", "account_owner", "barred this account"),
);
const CAP: (&str, End) = (
    "reached_active_user_cap",
    Failed("permanent", "operator", "number of people"),
);
const DRAFTS: (&str, End) = (
    "spam_risk_too_many_pending_share",
    GoesOn("rate_limited", "account_owner"),
);
const UNAUDITED: (&str, End) = (
    "unaudited_client_can_only_post_to_private_accounts",
    Failed("permanent", "account_owner", "has not audited this app"),
);
const OWNERSHIP: (&str, End) = (
    "url_ownership_unverified",
    Failed("invalid_request", "operator", "proved to own"),
);
const PRIVACY: (&str, End) = (
    "privacy_level_option_mismatch",
    Failed("invalid_request", "caller", "does not offer that privacy level"),
);

/// A world, and a post of the wanted form on a fresh account for every case.
struct Cases {
    world: World,
    video: String,
    count: usize,
}

impl Cases {
    async fn new() -> Self {
        let world = World::new().await;
        let video = world.video().await;
        Self { world, video, count: 0 }
    }

    /// A fresh account: its id here and its name there.
    async fn account(&mut self) -> (String, String) {
        self.count += 1;
        let name = format!("case_{}", self.count);
        self.world.sim.put_account(Account::named(&name, "A case"));
        let id = self.world.connect_as(&self.world.api, &name).await;
        (id, name)
    }

    /// The platform refuses `op` for one account: `skip` calls later, and for good or once.
    fn refuse(&self, op: &str, code: &str, name: &str, skip: u32) {
        self.world
            .sim
            .faults()
            .put("case", Fault::new(op, error(code)).for_account(name).skip(skip));
    }

    /// Follows a refused post to its end, and checks what it says.
    async fn check(&self, post: &str, name: &str, code: &str, end: End) {
        let world = &self.world;
        match end {
            Failed(kind, who, advice) => {
                let post = world.settled(post).await;
                assert_eq!(post["status"], "failed", "{code}: {post}");
                says(&post["failure"], code, kind, who);
                assert!(
                    post["failure"]["advice"].as_str().unwrap().contains(advice),
                    "{code}: {post}"
                );
                assert_eq!(post["failure"]["retry"], false);
                world.sim.faults().clear("case");
            }
            GoesOn(kind, who) => {
                let waiting = world.follow(post, |post| post["failure"]["code"] == code).await;
                assert_eq!(waiting["status"], "publishing", "{code}: {waiting}");
                says(&waiting["failure"], code, kind, who);
                assert_eq!(waiting["failure"]["retry"], true);
                self.goes_on(post).await;
            }
            Unsure => {
                let post = world.settled(post).await;
                assert_eq!(post["status"], "unconfirmed", "{code}: {post}");
                says(&post["failure"], code, "outcome_unknown", "account_owner");
                assert!(
                    post["failure"]["advice"]
                        .as_str()
                        .unwrap()
                        .contains("before posting again"),
                    "{post}"
                );
                assert_eq!(post["failure"]["retry"], false);
                world.sim.faults().clear("case");
                world.advance(Duration::from_secs(3600));
                world.drain().await;
            }
            Reconnect => {
                let waiting = world
                    .follow(post, |post| post["failure"]["code"] == "account_not_active")
                    .await;
                assert_eq!(waiting["status"], "publishing", "{code}: {waiting}");
                says(
                    &waiting["failure"],
                    "account_not_active",
                    "reauth_required",
                    "account_owner",
                );
                let account = format!(
                    "/api/platforms/tiktok/accounts/{}",
                    waiting["account_id"].as_str().unwrap()
                );
                let shown = world.api.get(&account).await.ok();
                assert_eq!(
                    (&shown["status"], &shown["status_code"]),
                    (&json!("reauth_required"), &json!(code))
                );
                world.sim.faults().clear("case");
                world.connect_as(&world.api, name).await;
                self.goes_on(post).await;
            }
        }
    }

    async fn goes_on(&self, post: &str) {
        self.world.sim.faults().clear("case");
        let post = self.world.settled(post).await;
        assert!(
            post["status"] == "published" || post["status"] == "inbox_delivered",
            "{post}"
        );
        assert_eq!(
            post["failure"],
            Value::Null,
            "a post that is there says nothing of past faults: {post}"
        );
    }
}

#[track_caller]
fn says(failure: &Value, code: &str, kind: &str, who: &str) {
    let said = (
        failure["code"].as_str(),
        failure["kind"].as_str(),
        failure["who_acts"].as_str(),
    );
    assert_eq!(said, (Some(code), Some(kind), Some(who)));
}
