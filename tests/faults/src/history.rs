//! The history checker: holds what was answered against what the database has, and counts.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use patchbay_rig::{Database, until_within};
use serde_json::Value;

use crate::{Figures, load::History, webhooks::Kind};

/// What became of webhooks.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Answered 200, and not in the database: what must never be.
    pub lost: usize,
    /// Stored, and neither done nor given up.
    pub stuck: usize,
    /// Healthy ones that ended otherwise than done.
    pub not_done: usize,
    /// Poison that ended otherwise than given up.
    pub not_dead: usize,
    /// Most claims of one that was given up.
    pub most_claims_of_dead: u64,
    /// Healthy ones, answered 200, without their one event.
    pub without_effect: usize,
    /// Events of healthy ones beyond their first.
    pub doubled: usize,
    /// All events that came in.
    pub effects: usize,
    /// Codes of those that were given up.
    pub codes: BTreeMap<String, usize>,
}

/// Waits until no webhook is left to be read.
pub async fn all_read(database: &Database, patience: Duration) {
    until_within(patience, "every stored webhook is read or given up", async || {
        let left = database
            .count("jobs WHERE kind = 'ingest' AND status IN ('ready', 'running')")
            .await;
        (left == 0).then_some(())
    })
    .await;
}

/// Compares a load's history with the database.
pub async fn check(database: &Database, history: &History) -> Verdict {
    let mut verdict = Verdict::default();
    let stored = stored(database).await;
    let mut events: HashMap<String, usize> = HashMap::new();
    for key in database
        .texts("SELECT dedupe_key FROM events WHERE client_id IS NOT NULL")
        .await
    {
        // Name, account, post, mark.
        let key: Value = serde_json::from_str(&key).unwrap();
        *events
            .entry(key[2].as_str().unwrap_or_default().to_owned())
            .or_default() += 1;
    }
    for webhook in history.accepted() {
        let Some(row) = stored.get(&webhook.digest) else {
            verdict.lost += 1;
            continue;
        };
        match (&*row.status, webhook.kind) {
            ("done", Kind::Healthy) | ("dead", Kind::Poison) | ("done" | "dead", Kind::Odd) => {}
            ("done", Kind::Poison) => verdict.not_dead += 1,
            ("dead", Kind::Healthy) => verdict.not_done += 1,
            _ => verdict.stuck += 1,
        }
        if row.status == "dead" {
            *verdict.codes.entry(row.code.clone()).or_default() += 1;
            verdict.most_claims_of_dead = verdict.most_claims_of_dead.max(row.claims);
        }
        if webhook.kind == Kind::Healthy && !events.contains_key(&webhook.publish_id) {
            verdict.without_effect += 1;
        }
    }
    let healthy = history.webhooks.iter().filter(|webhook| webhook.kind == Kind::Healthy);
    let healthy: HashSet<_> = healthy.map(|webhook| &webhook.publish_id).collect();
    verdict.doubled = events
        .iter()
        .filter(|(publish_id, _)| healthy.contains(publish_id))
        .map(|(_, count)| count - 1)
        .sum();
    verdict.effects = events.values().sum();
    verdict
}

impl Verdict {
    /// What every scenario with webhooks must show.
    pub fn report(&self, figures: &mut Figures) {
        figures.is("lost of those answered 200", 0, self.lost);
        figures.is("stuck: neither done nor dead", 0, self.stuck);
        figures.is("healthy ones not done", 0, self.not_done);
        figures.is("healthy ones without effect", 0, self.without_effect);
        figures.is("effects doubled", 0, self.doubled);
    }
}

struct Row {
    status: String,
    code: String,
    claims: u64,
}

/// What is stored, by digest.
async fn stored(database: &Database) -> HashMap<String, Row> {
    let digest = match database {
        Database::Sqlite(_) => "lower(hex(inbox.digest))",
        Database::Postgres(_) => "encode(inbox.digest, 'hex')",
    };
    let rows = database
        .texts(&format!(
            "SELECT {digest} || ' ' || COALESCE(jobs.status, 'none') || ' ' || COALESCE(CAST(jobs.attempts AS TEXT), '0')
                 || ' ' || COALESCE(jobs.last_error, '-')
             FROM inbox
             LEFT JOIN jobs ON jobs.target = inbox.id AND jobs.kind = 'ingest'"
        ))
        .await;
    rows.iter()
        .map(|row| {
            let words: Vec<_> = row.splitn(4, ' ').collect();
            let row = Row {
                status: words[1].to_owned(),
                claims: words[2].parse().unwrap(),
                code: words[3].to_owned(),
            };
            (words[0].to_owned(), row)
        })
        .collect()
}
