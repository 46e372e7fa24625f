//! Tenants are fair to each other (R14): the backlog of one is not what another waits for.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use patchbay_faults::{Figures, Fleet, Scale, Server, claims, world_on, world_on_sqlite};
use patchbay_rig::{Api, Database, World, seed, until, world::file_post, world::video_bytes};
use serde_json::json;

use crate::posts::new_account;

/// Jobs at once in one host.
const CONCURRENCY: usize = 8;
/// Accounts of the tenant with the backlog.
const BUSY_ACCOUNTS: usize = 8;
/// Accounts of the other one. Each may post six times a minute.
const OTHER_ACCOUNTS: usize = 12;

#[tokio::test]
async fn r14_a_tenant_with_a_backlog_does_not_hold_up_another_on_postgres() {
    let Some(server) = Server::start().await else { return };
    is_fair("R14 postgres", world_on(&server).await, 2).await;
}

#[tokio::test]
async fn r14_a_tenant_with_a_backlog_does_not_hold_up_another_on_sqlite() {
    is_fair("R14 sqlite", world_on_sqlite().await, 1).await;
}

async fn is_fair(name: &str, mut world: World, hosts: usize) {
    let seed = seed();
    let scale = Scale::of_run();
    world.program = world
        .program
        .with("PATCHBAY__WORKERS__CONCURRENCY", CONCURRENCY.to_string());
    let fleet = Fleet::start(&world, hosts).await;
    let busy = fleet.api.with_key(Some(&world.key_of("busy").await));
    let other = fleet.api.with_key(Some(&world.key_of("other").await));
    let media = busy.upload(video_bytes(2_500_000, seed)).await;
    for number in 0..BUSY_ACCOUNTS {
        let account = new_account(&world, &busy, number).await;
        publish_next_year(&busy, &account, &media, number).await;
    }
    let media = other.upload(video_bytes(2_500_000, seed)).await;
    let mut accounts = Vec::new();
    for number in 0..OTHER_ACCOUNTS {
        accounts.push(new_account(&world, &other, BUSY_ACCOUNTS + number).await);
    }

    let backlog = scale.pick(10_000, 100_000);
    let due = multiply(&world.database, backlog / BUSY_ACCOUNTS).await;
    claims::watch(&world.database, "publish").await;
    let rounds = scale.pick(20, 60);
    let mut second = tokio::time::interval(Duration::from_secs(1));
    let mut posts = Vec::new();
    for round in 0..rounds {
        second.tick().await;
        let api = other.at(&fleet.urls[round % hosts]);
        let wanted = file_post(&accounts[round % OTHER_ACCOUNTS], &format!("other {round}"), &media);
        posts.push(api.publish(&wanted).await);
    }
    let asked = asked(&world.database, &posts).await;
    let starts = until("every post of the other tenant was begun", async || {
        let starts = starts(&world.database).await;
        asked
            .iter()
            .all(|one| starts.first.contains_key(&one.job))
            .then_some(starts)
    })
    .await;
    let now = match world.database {
        Database::Sqlite(_) => "unixepoch() * 1000000",
        Database::Postgres(_) => "now()",
    };
    let left = world
        .database
        .count(&format!(
            "jobs WHERE kind = 'publish' AND status = 'ready' AND correlation_id = 'backlog' AND due_at <= {now}"
        ))
        .await;

    let mut delays = Vec::new();
    let mut most_between = 0;
    for one in &asked {
        let began = &starts.first[&one.job];
        delays.push(began.at.saturating_sub(one.at));
        let meanwhile = starts
            .all
            .iter()
            .filter(|claim| one.number < claim.number && claim.number < began.number);
        let (own, busy): (Vec<_>, Vec<_>) = meanwhile.partition(|claim| claim.tenant == one.tenant);
        let between = busy.len().saturating_sub(own.len());
        most_between = most_between.max(between);
    }
    delays.sort();
    let mut figures = Figures::new(name, seed);
    figures.is("backlog of one tenant", backlog as u64, due);
    figures.at_least("of it still due at the end", 1, left);
    figures.is("posts of the other tenant that were begun", rounds, delays.len());
    let p99 = delays[(delays.len() * 99).div_ceil(100) - 1];
    figures.time("p99 until one was begun", Duration::from_secs(2), p99);
    // They take turns, so the busy one also has a turn for each of the other's own jobs that come first. At worst every
    // worker begins one in the moment before it sees this one, and once more.
    figures.at_most(
        "turns of the busy one ahead while one waited",
        2 * hosts * CONCURRENCY,
        most_between,
    );
    figures.finish();
}

async fn publish_next_year(api: &Api, account: &str, media: &str, number: usize) {
    let mut wanted = file_post(account, &format!("busy {number}"), media);
    wanted["scheduled_at"] = json!("2099-01-01T00:00:00Z");
    api.publish(&wanted).await;
}

/// Copies each waiting post and its job so often, all due now. How many jobs there are more.
async fn multiply(database: &Database, times: usize) -> u64 {
    // Every column is copied that is not named, so that a new one needs no change here.
    if let Database::Sqlite(_) = database {
        let posts = copied(
            database,
            "posts",
            &[
                ("id", "randomblob(16)"),
                ("scheduled_at", "NULL"),
                ("idempotency_key", "original.idempotency_key || n"),
            ],
        )
        .await;
        let jobs = copied(
            database,
            "jobs",
            &[
                ("id", "randomblob(16)"),
                ("target", "made.id"),
                ("run_at", "unixepoch() * 1000000"),
                ("due_at", "unixepoch() * 1000000"),
                ("created_at", "unixepoch() * 1000000"),
                ("correlation_id", "'backlog'"),
            ],
        )
        .await;
        database
            .execute(&format!(
                "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {times})
                 {posts} FROM posts AS original, numbers WHERE original.scheduled_at IS NOT NULL"
            ))
            .await;
        return database
            .execute(&format!(
                "{jobs}
                 FROM posts AS made
                 JOIN posts AS post ON post.account_id = made.account_id AND post.scheduled_at IS NOT NULL
                 JOIN jobs AS original ON original.target = post.id AND original.kind = 'publish'
                 WHERE made.scheduled_at IS NULL"
            ))
            .await;
    }
    database
        .execute(&format!(
            "WITH made AS (
                 INSERT INTO posts
                 SELECT (jsonb_populate_record(post, jsonb_build_object(
                     'id', gen_random_uuid(), 'scheduled_at', NULL, 'idempotency_key', post.idempotency_key || n))).*
                 FROM posts AS post, generate_series(1, {times}) AS n
                 WHERE post.scheduled_at IS NOT NULL
                 RETURNING id, account_id)
             INSERT INTO jobs
             SELECT (jsonb_populate_record(job, jsonb_build_object(
                 'id', gen_random_uuid(), 'target', made.id, 'run_at', now(), 'due_at', now(), 'created_at', now(),
                 'correlation_id', 'backlog'))).*
             FROM made
             JOIN posts AS post ON post.account_id = made.account_id AND post.scheduled_at IS NOT NULL
             JOIN jobs AS job ON job.target = post.id AND job.kind = 'publish'"
        ))
        .await
}

/// An insertion into a table of what `original` has, but for these columns.
async fn copied(database: &Database, table: &str, changes: &[(&str, &str)]) -> String {
    let columns = database
        .texts(&format!("SELECT name FROM pragma_table_info('{table}')"))
        .await;
    let values: Vec<_> = columns
        .iter()
        .map(|column| match changes.iter().find(|(name, _)| name == column) {
            Some((_, value)) => (*value).to_owned(),
            None => format!("original.{column}"),
        })
        .collect();
    format!(
        "INSERT INTO {table} ({}) SELECT {}",
        columns.join(", "),
        values.join(", ")
    )
}

/// The storing of the first job of each of these posts.
async fn asked(database: &Database, posts: &[String]) -> Vec<claims::Claim> {
    let targets: Vec<_> = posts
        .iter()
        .map(|post| format!("'{}'", &post["post_".len()..]))
        .collect();
    let targets = targets.join(", ");
    let select = match database {
        Database::Sqlite(_) => format!(
            "SELECT lower(hex(id)) || ' ' || MIN(created_at)
             FROM jobs
             WHERE kind = 'publish' AND lower(hex(target)) IN ({targets})
             GROUP BY target"
        ),
        Database::Postgres(_) => format!(
            "SELECT DISTINCT ON (target) replace(CAST(id AS TEXT), '-', '')
             FROM jobs
             WHERE kind = 'publish' AND replace(CAST(target AS TEXT), '-', '') IN ({targets})
             ORDER BY target, created_at"
        ),
    };
    let rows = database.texts(&select).await;
    let jobs: HashSet<_> = rows.iter().map(|row| row.split(' ').next().unwrap()).collect();
    let stored = claims::stored(database).await.into_iter();
    stored.filter(|one| jobs.contains(&*one.job)).collect()
}

struct Starts {
    all: Vec<claims::Claim>,
    first: HashMap<String, claims::Claim>,
}

async fn starts(database: &Database) -> Starts {
    let all = claims::all(database).await;
    let mut first = HashMap::new();
    for claim in &all {
        first.entry(claim.job.clone()).or_insert_with(|| claim.clone());
    }
    Starts { all, first }
}
