//! What the token scenarios share: renewals that are made due, and how far they have come.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use patchbay_rig::{Database, World, until_within};

use crate::posts::end_leases;

/// Longest wait for a renewal, or for all of a round.
const PATIENCE: Duration = Duration::from_secs(180);

/// Token versions by the platform's id of the account.
pub type Versions = BTreeMap<String, i64>;

pub async fn versions(database: &Database) -> Versions {
    let rows = database
        .texts("SELECT remote_id || ' ' || CAST(token_version AS TEXT) FROM accounts")
        .await;
    rows.iter()
        .map(|row| {
            let (id, version) = row.rsplit_once(' ').unwrap();
            (id.to_owned(), version.parse().unwrap())
        })
        .collect()
}

/// Those of `before` whose tokens are still what they were.
pub async fn lagging(database: &Database, before: &Versions) -> Vec<String> {
    let now = versions(database).await;
    before
        .iter()
        .filter(|(id, version)| now[*id] <= **version)
        .map(|(id, _)| id.clone())
        .collect()
}

fn now(database: &Database) -> &'static str {
    match database {
        Database::Sqlite(_) => "CAST(strftime('%s', 'now') AS INTEGER) * 1000000",
        Database::Postgres(_) => "now()",
    }
}

/// Waits until no token is being renewed, or is about to be.
pub async fn at_rest(database: &Database) {
    let busy = format!(
        "jobs WHERE kind = 'refresh' AND status IN ('ready', 'running') AND (status = 'running' OR due_at <= {})",
        now(database)
    );
    until_within(PATIENCE, "no token is being renewed", async || {
        (database.count(&busy).await == 0).then_some(())
    })
    .await;
}

/// Makes the renewal of these accounts due, if it is not under way.
pub async fn make_due(database: &Database, accounts: &[String]) {
    let now = now(database);
    for some in accounts.chunks(500) {
        let ids: Vec<_> = some.iter().map(|id| format!("'{id}'")).collect();
        let sql = format!(
            "UPDATE jobs SET run_at = {now}, due_at = {now}
             WHERE kind = 'refresh' AND status = 'ready'
                 AND target IN (SELECT id FROM accounts WHERE remote_id IN ({}))",
            ids.join(", ")
        );
        database.execute(&sql).await;
    }
}

/// Renews the tokens of all accounts of `before`, however often it takes.
pub async fn renew_all(database: &Database, before: &Versions) {
    let started = Instant::now();
    loop {
        let left = lagging(database, before).await;
        if left.is_empty() {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "{} tokens are not renewed", left.len());
        make_due(database, &left).await;
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// Ends the leases of hosts that were killed, those on tokens too.
pub async fn end_token_leases(database: &Database) {
    end_leases(database).await;
    if let Database::Postgres(_) = database {
        database
            .execute("UPDATE accounts SET refresh_until = now() WHERE refresh_until IS NOT NULL")
            .await;
    }
}

/// Accounts that a person would have to connect again, ever.
pub async fn reauths(database: &Database) -> u64 {
    let now = database.count("accounts WHERE status <> 'active'").await;
    let ever = database.count("events WHERE name = 'account.reauth_required'").await;
    now.max(ever)
}

/// What the platform saw of refresh tokens.
#[derive(Clone, Copy, Debug)]
pub struct Uses {
    /// Renewals that it granted.
    pub granted: u32,
    /// The most of them for one token version.
    pub most: u32,
    /// Tokens that came again after they had died.
    pub refused: u32,
}

pub fn uses(world: &World) -> Uses {
    let all = world.tiktok.oracle().refresh_tokens();
    Uses {
        granted: all.iter().map(|token| token.accepted).sum(),
        most: all
            .iter()
            .map(|token| token.accepted + token.refused)
            .max()
            .unwrap_or(0),
        refused: all.iter().map(|token| token.refused).sum(),
    }
}
