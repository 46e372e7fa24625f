//! What the platform knows, and the rules that its calls share.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard},
};

use axum::{
    Json,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use chrono::{DateTime, TimeDelta, Utc};
use patchbay_simkit::{Clock, Random, WebhookSender, lock, stand::StandConfig};
use serde_json::json;

use crate::hooks;

// CHANGE: the platform's facts, as its documentation has them.
pub(crate) const SCOPES: [&str; 2] = ["read", "write"];
pub(crate) const CODE_LIFE: TimeDelta = TimeDelta::minutes(10);
pub(crate) const ACCESS_LIFE: TimeDelta = TimeDelta::hours(2);
pub(crate) const PROCESSING: TimeDelta = TimeDelta::seconds(3);
pub(crate) const MAX_TEXT: usize = 500;
pub(crate) const POSTS_A_MINUTE: usize = 30;

/// The one account: id, name and handle.
pub(crate) const ADA: [&str; 3] = ["user_1", "Ada", "ada"];

pub(crate) struct World {
    pub(crate) config: StandConfig,
    pub(crate) clock: Clock,
    pub(crate) random: Random,
    pub(crate) webhooks: WebhookSender,
    state: Mutex<State>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) codes: BTreeMap<String, Code>,
    pub(crate) grants: Vec<Grant>,
    pub(crate) posts: Vec<Post>,
    /// Times of the latest calls that made a post.
    pub(crate) made: VecDeque<DateTime<Utc>>,
    pub(crate) stalled: bool,
}

pub(crate) struct Code {
    pub(crate) redirect_uri: String,
    pub(crate) scope: String,
    pub(crate) challenge: String,
    pub(crate) until: DateTime<Utc>,
}

pub(crate) struct Grant {
    pub(crate) access: String,
    pub(crate) until: DateTime<Utc>,
    pub(crate) refresh: String,
    pub(crate) scope: String,
}

pub(crate) struct Post {
    pub(crate) id: String,
    pub(crate) client_ref: String,
    pub(crate) text: String,
    pub(crate) due: DateTime<Utc>,
    pub(crate) published: bool,
}

impl World {
    pub(crate) fn new(config: StandConfig, clock: Clock, random: Random, webhooks: WebhookSender) -> Self {
        Self {
            config,
            clock,
            random,
            webhooks,
            state: Mutex::default(),
        }
    }

    /// The state, after everything that is due has happened.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        let mut state = lock(&self.state);
        let (now, stalled) = (self.clock.now(), state.stalled);
        let due = |post: &&mut Post| !post.published && post.due <= now && !stalled;
        for post in state.posts.iter_mut().filter(due) {
            post.published = true;
            self.webhooks.send(&hooks::published(post));
        }
        state
    }

    /// Who calls, if the token is alive and has the scope.
    pub(crate) fn authorize(&self, headers: &HeaderMap, scope: &str) -> Result<(), Refused> {
        let header = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = header.and_then(|value| value.strip_prefix("Bearer "));
        let state = self.state();
        let mut grants = state.grants.iter();
        let grant = grants.find(|grant| Some(&*grant.access) == token && grant.until > self.clock.now());
        match grant {
            None => Err(Refused::new(StatusCode::UNAUTHORIZED, "token_invalid")),
            Some(grant) if !grant.scope.split(' ').any(|granted| granted == scope) => {
                Err(Refused::new(StatusCode::FORBIDDEN, "scope_missing"))
            }
            Some(_) => Ok(()),
        }
    }
}

/// A refusal of the API.
pub(crate) struct Refused {
    status: StatusCode,
    code: String,
    retry_after: Option<u32>,
}

impl Refused {
    pub(crate) fn new(status: StatusCode, code: &str) -> Self {
        Self {
            status,
            code: code.to_owned(),
            retry_after: None,
        }
    }

    pub(crate) fn for_seconds(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }
}

impl IntoResponse for Refused {
    // CHANGE: the platform's envelope of errors.
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(json!({ "error": { "code": self.code } }))).into_response();
        if let Some(seconds) = self.retry_after {
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
