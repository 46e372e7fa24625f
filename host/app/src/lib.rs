//! Patchbay's domain and use cases: connect, take media in, publish, ingest, refresh, push. No HTTP server, no SQL and no HTTP client: the
//! database is the [`store::Store`] trait, the wire is the [`wire::Wire`] trait, media bytes are
//! [`files::MediaFiles`], time and chance are [`env::Env`].
//!
//! Follow a post: [`publish::submit`] stores it, [`work::run_due`] claims its step, the provider's `advance` calls
//! out through [`outbound::Outbound`], and `record_step` of the store writes what it made of it.

pub mod account_health;
pub mod audit;
pub mod avatars;
pub mod connect;
mod echo;
pub mod env;
pub mod erase;
pub mod failpoint;
pub mod files;
pub mod ingest;
pub mod journal;
mod jwt;
pub mod limits;
pub mod media;
pub mod metrics;
pub mod model;
pub mod operations;
pub mod outbound;
pub mod problem;
pub mod publish;
pub mod push;
pub mod registry;
pub mod secret;
pub mod statistics;
pub mod store;
mod strict_json;
pub mod tokens;
pub mod vault;
pub mod wakes;
pub mod wire;
pub mod work;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use patchbay_core::{AccountId, ProviderId, PublishOptions};
use tokio::sync::Notify;
use url::Url;

use crate::{
    env::Env,
    files::MediaFiles,
    ingest::commit::GroupCommit,
    journal::TokenJournal,
    media::MediaLimits,
    model::JobKind,
    problem::{Problem, ProblemKind},
    registry::{Registered, Registry},
    store::Store,
    vault::Vault,
    wire::Wire,
};

/// Everything that a use case needs.
pub struct App {
    /// Time, ids, chance.
    pub env: Env,
    /// Database.
    pub store: Arc<dyn Store>,
    /// HTTP out.
    pub wire: Arc<dyn Wire>,
    /// Secrets at rest.
    pub vault: Vault,
    /// Media bytes.
    pub media: Arc<dyn MediaFiles>,
    /// How many media bytes may come in.
    pub media_limits: MediaLimits,
    /// Renewed tokens, before the database has them.
    pub journal: TokenJournal,
    /// Providers.
    pub registry: Registry,
    /// Where platforms fetch stored files: the token of a pull URL goes below it. `None`: this host has no https address
    /// that they could reach.
    pub pull_base: Option<Url>,
    commits: Arc<GroupCommit>,
    front: limits::Front,
    turns: work::Turns,
    /// Held alone for a webhook that may end the process, and together for all others.
    reading: tokio::sync::RwLock<()>,
    process: String,
    refreshing: Arc<Refreshing>,
    flights: Mutex<HashMap<AccountId, Weak<tokio::sync::Mutex<()>>>>,
    recent_options: Mutex<HashMap<AccountId, (DateTime<Utc>, PublishOptions)>>,
}

/// What an [`App`] is made of.
pub struct Parts {
    /// Time, ids, chance.
    pub env: Env,
    /// Database.
    pub store: Arc<dyn Store>,
    /// HTTP out.
    pub wire: Arc<dyn Wire>,
    /// Secrets at rest.
    pub vault: Vault,
    /// Media bytes.
    pub media: Arc<dyn MediaFiles>,
    /// How many media bytes may come in.
    pub media_limits: MediaLimits,
    /// Renewed tokens.
    pub journal: TokenJournal,
    /// Providers.
    pub registry: Registry,
    /// Where platforms fetch stored files.
    pub pull_base: Option<Url>,
}

/// Greatest number of preflight answers that are remembered.
const MAX_RECENT: usize = 10_000;

#[derive(Default)]
struct Refreshing {
    running: AtomicUsize,
    changed: Notify,
}

/// Counts a refresh as running for as long as it lives.
struct RefreshGuard(Arc<Refreshing>);

impl Drop for RefreshGuard {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::AcqRel);
        self.0.changed.notify_waiters();
    }
}

impl App {
    /// Puts the parts together.
    #[must_use]
    pub fn new(parts: Parts) -> Arc<Self> {
        let Parts {
            env,
            store,
            wire,
            vault,
            media,
            media_limits,
            journal,
            registry,
            pull_base,
        } = parts;
        let process = format!("{}-{}", std::process::id(), env.ids.next().simple());
        let commits = GroupCommit::new(store.clone());
        let front = limits::Front::new(&env);
        Arc::new(Self {
            env,
            store,
            wire,
            vault,
            media,
            media_limits,
            journal,
            registry,
            pull_base,
            commits,
            front,
            turns: work::Turns::default(),
            reading: tokio::sync::RwLock::default(),
            process,
            refreshing: Arc::default(),
            flights: Mutex::default(),
            recent_options: Mutex::default(),
        })
    }

    /// The provider of this id.
    ///
    /// # Errors
    /// There is none.
    pub fn registered(&self, id: &ProviderId) -> Result<Arc<Registered>, Problem> {
        self.registry.get(id).ok_or_else(|| {
            let known = self.registry.all();
            let known: Vec<_> = known.iter().map(|registered| registered.id().as_str()).collect();
            Problem::new(
                ProblemKind::ProviderUnknown,
                format!("Providers here: {}.", known.join(", ")),
            )
        })
    }

    /// Ends when there may be jobs of one of these kinds to do: this process has stored some. What was stored before this
    /// counts too, so that none is missed between a look for work and this.
    pub async fn woken(&self, kinds: &[JobKind]) {
        self.store.wakes().woken(kinds).await;
    }

    /// Ends when no refresh is running: what a shutdown waits for first.
    pub async fn refreshes_done(&self) {
        loop {
            let changed = self.refreshing.changed.notified();
            if self.refreshing.running.load(Ordering::Acquire) == 0 {
                return;
            }
            changed.await;
        }
    }

    fn refresh_guard(&self) -> RefreshGuard {
        self.refreshing.running.fetch_add(1, Ordering::AcqRel);
        RefreshGuard(self.refreshing.clone())
    }

    /// One lock per account: callers of one process ask the database for a lease one after another.
    fn flight(&self, id: AccountId) -> Arc<tokio::sync::Mutex<()>> {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = flights.get(&id).and_then(Weak::upgrade) {
            return flight;
        }
        flights.retain(|_, flight| flight.strong_count() > 0);
        let flight = Arc::default();
        flights.insert(id, Arc::downgrade(&flight));
        flight
    }

    fn recent_options(&self, id: AccountId, ttl: Duration) -> Option<PublishOptions> {
        let recent = self.recent_options.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, options) = recent.get(&id)?;
        let age = (self.env.now() - *at).to_std().unwrap_or_default();
        (age <= ttl).then(|| options.clone())
    }

    fn remember_options(&self, id: AccountId, options: &PublishOptions) {
        let mut recent = self.recent_options.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() >= MAX_RECENT {
            recent.clear();
        }
        recent.insert(id, (self.env.now(), options.clone()));
    }
}
