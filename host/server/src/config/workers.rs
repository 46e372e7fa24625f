//! `[workers]`: background work, and the endpoints by which a scheduler starts it.

use chrono::TimeDelta;
use patchbay_app::secret::Secret;

use super::{
    key::{Key, Kind, Section},
    reader::Reader,
};

/// The old one and the new one, while they are exchanged.
pub(super) const MAX_ACTIVE: usize = 2;
const MIN_SECRET_BYTES: usize = 32;

/// Background work.
#[derive(Clone)]
pub struct WorkersConfig {
    /// Whether the server works off the queue itself.
    pub enabled: bool,
    /// Jobs at once.
    pub concurrency: usize,
    /// How long a job that is done stays, and a received webhook with it.
    pub keep_done: TimeDelta,
    /// How long a job that was given up stays.
    pub keep_dead: TimeDelta,
    /// How long the history of posts' numbers stays.
    pub keep_metrics: TimeDelta,
    /// Who may call the worker endpoints; if empty, there are none.
    pub secrets: Vec<Secret<String>>,
}

pub(super) const SECTION: Section = Section {
    name: "workers",
    about: "Background work, and the endpoints by which a scheduler starts it.",
    keys: &[
        Key::new(
            "workers.enabled",
            Kind::Flag,
            "Whether `patchbay serve` works off the queue itself. `--api-only` is the same as `false`.",
        )
        .or("true"),
        Key::new(
            "workers.concurrency",
            Kind::Whole(1, 256),
            "Jobs at once in this process.",
        )
        .or("8"),
        Key::new(
            "workers.keep_done_days",
            Kind::Whole(4, 3_650),
            "Days that finished work stays to be looked at. As long, a webhook that comes again is known; platforms \
             repeat theirs for three days.",
        )
        .or("30"),
        Key::new(
            "workers.keep_dead_days",
            Kind::Whole(4, 3_650),
            "Days that work that was given up stays, to be run again.",
        )
        .or("90"),
        Key::new(
            "workers.keep_metrics_days",
            Kind::Whole(1, 3_650),
            "Days that the history of posts' numbers stays. What was told last stays with the post.",
        )
        .or("400"),
        Key::new(
            "workers.secrets",
            Kind::Secrets,
            "Bearer secrets of the worker endpoints, at most two, so that they can be exchanged one after the other. \
             At least 32 bytes each. Without any, there are no such endpoints.",
        )
        .plain("WORKER_SECRET"),
        Key::new(
            "workers.secrets_file",
            Kind::Path,
            "A file with these secrets in place of `secrets`, one a line.",
        ),
    ],
};

impl WorkersConfig {
    pub(super) fn read(r: &mut Reader) -> Self {
        Self {
            enabled: r.flag("workers.enabled"),
            concurrency: r.whole("workers.concurrency"),
            keep_done: TimeDelta::days(r.whole("workers.keep_done_days")),
            keep_dead: TimeDelta::days(r.whole("workers.keep_dead_days")),
            keep_metrics: TimeDelta::days(r.whole("workers.keep_metrics_days")),
            secrets: r.secrets_or_file("workers.secrets"),
        }
    }

    pub(super) fn validate(&self, r: &mut Reader) {
        let key = if r.is_set("workers.secrets_file") {
            "workers.secrets_file"
        } else {
            "workers.secrets"
        };
        if self.secrets.len() > MAX_ACTIVE {
            r.problem(key, "holds more than two secrets: remove the oldest");
        }
        if self
            .secrets
            .iter()
            .any(|secret| secret.expose().len() < MIN_SECRET_BYTES)
        {
            let message = "holds a secret of less than 32 bytes; `openssl rand -hex 32` makes a good one";
            r.problem(key, message);
        }
    }
}
