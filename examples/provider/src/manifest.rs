//! Quill as data: what the host checks and counts before any code here runs.

use std::time::Duration;

use patchbay_core::{
    Bucket, BucketScope, Capability, Effect, KindRule, Manifest, Need, Op, PostForm, PostKind, PostMode, ProviderId,
    Scope, TextCount, TextRule,
};

use crate::ID;

/// Where people agree.
// CHANGE: the platform's hosts.
pub(crate) const SITE: &str = "quill.example";
/// Where its API is.
pub(crate) const API: &str = "api.quill.example";

/// Names of the op table, as used by the request builders.
pub(crate) mod op {
    pub(crate) const TOKEN_EXCHANGE: &str = "token.exchange";
    pub(crate) const TOKEN_REFRESH: &str = "token.refresh";
    pub(crate) const TOKEN_REVOKE: &str = "token.revoke";
    pub(crate) const ME: &str = "me";
    pub(crate) const POST_CREATE: &str = "post.create";
    pub(crate) const POST_FIND: &str = "post.find";
    pub(crate) const POST_GET: &str = "post.get";
}

pub(crate) fn manifest() -> Manifest {
    Manifest {
        id: ProviderId::parse(ID).expect("a fixed and well-formed name"),
        display_name: "Quill",
        version: env!("CARGO_PKG_VERSION"),
        docs_url: "https://quill.example/developers",
        scopes: scopes(),
        needs: vec![Need {
            capability: Capability::PublishDirect,
            scopes: vec!["write"],
        }],
        ops: ops(),
        buckets: vec![Bucket {
            name: "posts",
            limit: 30,
            window: Duration::from_mins(1),
            scope: BucketScope::Account,
        }],
        quotas: Vec::new(),
        kinds: vec![KindRule {
            kind: PostKind::Text,
            modes: vec![PostMode::Direct],
            title: None,
            text: Some(TextRule {
                max: 500,
                count: TextCount::CodePoint,
            }),
            media: None,
            // CHANGE: the numbers that the platform tells of its posts (and `Publisher::metrics`).
            metrics: Vec::new(),
        }],
        options: Vec::new(),
        form: PostForm::default(),
        browser_hosts: vec![SITE],
    }
}

// CHANGE: its scopes, in words for the person who grants them.
fn scopes() -> Vec<Scope> {
    let scope = |name, purpose| Scope {
        name,
        purpose,
        default: true,
    };
    vec![
        scope("read", "See the name of the account."),
        scope("write", "Publish posts."),
    ]
}

// CHANGE: every call that you make, with what it does. What others can see afterwards is a `Commit`.
fn ops() -> Vec<Op> {
    use Effect::{Commit, Observe, Prepare};
    let token = |name| {
        Op::new(name, "POST", API, Prepare)
            .secret("/access_token", "access_token")
            .secret("/refresh_token", "refresh_token")
    };
    vec![
        token(op::TOKEN_EXCHANGE),
        token(op::TOKEN_REFRESH),
        Op::new(op::TOKEN_REVOKE, "POST", API, Prepare),
        Op::new(op::ME, "GET", API, Observe),
        Op::new(op::POST_CREATE, "POST", API, Commit)
            .bucket("posts")
            .any_scope(&["write"]),
        Op::new(op::POST_FIND, "GET", API, Observe),
        Op::new(op::POST_GET, "GET", API, Observe),
    ]
}
