//! What the publish scenarios share: posts that are asked for as often as it takes, their ends, and what the platform
//! knows of them.

use std::time::Duration;

use patchbay_rig::{Api, Database, Program, World, until_within};
use patchbay_simulator_tiktok::Account;
use serde_json::Value;

/// A post that ends at all does so in this time.
const PATIENCE: Duration = Duration::from_secs(180);

/// How a post ended, by its host's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Published,
    Failed,
    Unconfirmed,
    /// Not at all.
    Stuck,
}

/// A host that fails at a point.
pub fn armed(program: &Program, failpoints: &str) -> Program {
    program.clone().with("PATCHBAY_FAILPOINTS", failpoints)
}

/// Connects an account that nobody has used before.
pub async fn new_account(world: &World, api: &Api, number: usize) -> String {
    let name = format!("fresh_{number}");
    world.tiktok.put_account(Account::named(&name, &name));
    world.connect(api, &name).await.id
}

/// Ends the leases of hosts that were killed, so that nobody waits for them. How long a takeover takes is another row's
/// question.
pub async fn end_leases(database: &Database) {
    if let Database::Postgres(_) = database {
        database
            .execute("UPDATE jobs SET due_at = now() WHERE status = 'running'")
            .await;
    }
}

/// How a post ends.
pub async fn end_of(api: &Api, id: &str) -> (End, Value) {
    let look = async {
        until_within(PATIENCE * 2, "a post ends", async || {
            let post = api.post_state(id).await;
            let end = match post["status"].as_str() {
                Some("published") => End::Published,
                Some("failed") => End::Failed,
                Some("unconfirmed") => End::Unconfirmed,
                _ => return None,
            };
            Some((end, post))
        })
        .await
    };
    match tokio::time::timeout(PATIENCE, look).await {
        Ok(end) => end,
        Err(_) => (End::Stuck, api.post_state(id).await),
    }
}

/// How often too many the posts of these titles are there.
pub fn doubles(world: &World, titles: impl IntoIterator<Item = impl AsRef<str>>) -> usize {
    let published = titles.into_iter().map(|title| world.published(title.as_ref()));
    published.map(|count| count.saturating_sub(1)).sum()
}
