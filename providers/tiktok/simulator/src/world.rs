//! The simulated platform: its state under one lock, and what every handler shares.
//!
//! Handlers lock the state for one step and never across an await. Time passes through [`World::tick`] in
//! `process.rs`, which the background task calls and every reader calls first.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use patchbay_simkit::gate::Platform;
use patchbay_simkit::{Clock, Faults, Journal, Random, WebhookSender, lock};
use tokio::sync::{Notify, Semaphore, watch};

use crate::account::Account;
use crate::answer::{ApiError, OauthError};
use crate::config::SimulatorConfig;
use crate::hooks::RemovalReason;
use crate::limits::Rates;
use crate::oauth::authorize;
use crate::oauth::grants::Grants;
use crate::post::{FailReason, Post};
use crate::switches::Switches;
use crate::upload::Upload;

/// Downloads at once; the platform's own number is unknown.
const MAX_PULLS: usize = 16;

/// The names fault rules and the journal use for operations.
pub const OPS: [&str; 18] = [
    "authorize",
    "token",
    "revoke",
    "user_info",
    "creator_info",
    "video_init",
    "inbox_init",
    "content_init",
    "status",
    "cancel",
    "video_list",
    "video_query",
    "upload",
    "picture",
    "pull",
    "processing",
    "unknown",
    "*",
];

pub(crate) struct World {
    pub config: SimulatorConfig,
    pub clock: Clock,
    pub random: Random,
    pub faults: Faults,
    pub journal: Journal,
    pub webhooks: WebhookSender,
    pub client: reqwest::Client,
    pub pulls: Arc<Semaphore>,
    pub stop: watch::Receiver<bool>,
    /// Wakes the background task when something new may become due.
    pub wake: Notify,
    progress: watch::Sender<u64>,
    switches: Mutex<Arc<Switches>>,
    state: Mutex<State>,
    turns: AtomicU64,
}

#[derive(Default)]
pub(crate) struct State {
    pub accounts: Vec<Account>,
    pub grants: Grants,
    /// In the order of their inits.
    pub posts: BTreeMap<u64, Post>,
    pub post_numbers: HashMap<String, u64>,
    pub uploads: HashMap<String, Upload>,
    pub rates: Rates,
    pub authorization_headers_on_upload: u32,
}

impl World {
    pub(crate) fn new(
        config: SimulatorConfig,
        random: Random,
        webhooks: WebhookSender,
        client: reqwest::Client,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let accounts = config
            .accounts
            .iter()
            .map(|account| account.clone().with_ids(&config.client_key))
            .collect();
        Self {
            clock: config.clock.clone(),
            random,
            faults: Faults::default(),
            journal: Journal::default(),
            webhooks,
            client,
            pulls: Arc::new(Semaphore::new(MAX_PULLS)),
            stop,
            wake: Notify::new(),
            progress: watch::Sender::new(0),
            switches: Mutex::new(Arc::new(config.switches.clone())),
            state: Mutex::new(State {
                accounts,
                ..State::default()
            }),
            turns: AtomicU64::new(0),
            config,
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(crate) fn switches(&self) -> Arc<Switches> {
        Arc::clone(&lock(&self.switches))
    }

    pub(crate) fn change_switches(&self, change: impl FnOnce(&mut Switches)) {
        let mut switches = lock(&self.switches);
        let mut changed = (**switches).clone();
        change(&mut changed);
        *switches = Arc::new(changed);
    }

    /// Tells waiters that something happened.
    pub(crate) fn progressed(&self) {
        self.progress.send_modify(|version| *version += 1);
    }

    pub(crate) fn progress(&self) -> watch::Receiver<u64> {
        self.progress.subscribe()
    }

    pub(crate) fn next_turn(&self) -> u64 {
        self.turns.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn accounts(&self) -> Vec<Account> {
        self.state().accounts.clone()
    }

    /// By user name or open id.
    pub(crate) fn account(&self, name: &str) -> Option<Account> {
        self.state().account(name).cloned()
    }

    /// Adds an account or replaces the one of that user name; empty ids keep their old values.
    pub(crate) fn put_account(&self, mut account: Account) -> Account {
        let mut state = self.state();
        let old = state.accounts.iter_mut().find(|old| old.username == account.username);
        if let Some(old) = old {
            for (id, kept) in [
                (&mut account.open_id, &old.open_id),
                (&mut account.union_id, &old.union_id),
            ] {
                if id.is_empty() {
                    id.clone_from(kept);
                }
            }
            *old = account.with_ids(&self.config.client_key);
            return old.clone();
        }
        let account = account.with_ids(&self.config.client_key);
        state.accounts.push(account.clone());
        account
    }

    /// Ends a user's authorization: tokens die, unfinished posts fail, the app is told.
    pub(crate) fn remove_authorization(&self, open_id: &str, reason: RemovalReason) {
        let now = self.clock.now();
        let mut state = self.state();
        if !state.grants.revoke_all(open_id) {
            return;
        }
        self.announce_removal(open_id, reason, now);
        for post in state.posts.values_mut() {
            if post.open_id == open_id && post.is_unfinished() {
                self.fail_post(post, FailReason::AuthRemoved, now);
            }
        }
        drop(state);
        self.progressed();
    }
}

impl State {
    pub(crate) fn account(&self, name: &str) -> Option<&Account> {
        self.accounts.iter().find(|account| account.is_called(name))
    }

    pub(crate) fn post(&self, publish_id: &str) -> Option<&Post> {
        self.posts.get(self.post_numbers.get(publish_id)?)
    }

    pub(crate) fn post_mut(&mut self, publish_id: &str) -> Option<&mut Post> {
        self.posts.get_mut(self.post_numbers.get(publish_id)?)
    }
}

/// How the gate sees the world.
pub(crate) struct Door(pub Arc<World>);

impl Platform for Door {
    fn op(&self, host: &str, method: &Method, path: &str) -> &'static str {
        match (host, method.as_str(), path) {
            ("www", _, "/v2/auth/authorize" | "/v2/auth/authorize/") => "authorize",
            ("www", "GET", path) if path.starts_with("/simulated/") => "picture",
            ("upload", _, _) => "upload",
            ("api", "POST", "/v2/oauth/token/") => "token",
            ("api", "POST", "/v2/oauth/revoke/") => "revoke",
            ("api", "GET", "/v2/user/info/") => "user_info",
            ("api", "POST", "/v2/post/publish/creator_info/query/") => "creator_info",
            ("api", "POST", "/v2/post/publish/video/init/") => "video_init",
            ("api", "POST", "/v2/post/publish/inbox/video/init/") => "inbox_init",
            ("api", "POST", "/v2/post/publish/content/init/") => "content_init",
            ("api", "POST", "/v2/post/publish/status/fetch/") => "status",
            ("api", "POST", "/v2/post/publish/cancel/") => "cancel",
            ("api", "POST", "/v2/video/list/") => "video_list",
            ("api", "POST", "/v2/video/query/") => "video_query",
            _ => "unknown",
        }
    }

    fn accounts(&self, token: &str) -> Vec<String> {
        let state = self.0.state();
        let Some(open_id) = state.grants.owner(token) else {
            return Vec::new();
        };
        match state.account(open_id) {
            Some(account) => vec![account.username.clone(), open_id.to_owned()],
            None => vec![open_id.to_owned()],
        }
    }

    fn refusal(&self, op: &str, request: &Request, code: &str, status: Option<u16>, message: Option<&str>) -> Response {
        let message = message.unwrap_or("Refused by a fault switch").to_owned();
        match op {
            "authorize" => authorize::fault(&self.0, request.uri().query().unwrap_or_default(), code),
            "token" | "revoke" => self.0.oauth_failure(&OauthError {
                error: code.to_owned().into(),
                description: message.into(),
                status,
            }),
            "upload" | "picture" => StatusCode::from_u16(status.unwrap_or(500))
                .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
                .into_response(),
            _ => self.0.failure(
                op,
                &ApiError {
                    code: code.to_owned().into(),
                    message: message.into(),
                    status,
                    data: None,
                },
            ),
        }
    }
}
