//! Calls whose caller goes away at any moment, as a client's that hangs up: they leave nothing behind in which the next
//! call's writes would be lost.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use patchbay_app::store::Store;
use patchbay_simkit::cut_off;
use patchbay_store::{Options, postgres::PostgresStore, sqlite::SqliteStore};
use sqlx::{Connection, PgConnection, SqliteConnection};

use crate::harness::{World, env, options, with_database};

/// More than a call needs. How many it needs is chance: an answer may be there before it is waited for.
const POLLS: usize = 12;

/// Cuts a call with a transaction off ever later. What is written next, on the store's only connection, must be there for
/// others as soon as it is confirmed.
async fn what_is_confirmed_afterwards_is_committed(
    world: World,
    mut seen_by_others: impl AsyncFnMut() -> DateTime<Utc>,
) {
    let account = world.account("remote").await;
    let mut cut = 0;
    for polls in 1..=POLLS {
        let post = world.new_post(&account, &format!("key {polls}"));
        match cut_off(world.enqueue(&post), polls).await {
            Some(whole) => drop(whole.unwrap()),
            None => cut += 1,
        }
        world.advance(Duration::from_secs(1));
        world.store.probe_write().await.unwrap();
        assert_eq!(seen_by_others().await, world.now(), "after {polls} polls");
    }
    assert!(cut > 0, "it was never cut off");
}

#[tokio::test]
async fn what_is_confirmed_afterwards_is_committed_on_sqlite() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("test.db");
    let (clock, ids) = env(1);
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&path, options(&clock)).await.unwrap());
    let mut other = SqliteConnection::connect(&format!("sqlite:{}", path.display()))
        .await
        .unwrap();
    what_is_confirmed_afterwards_is_committed(World { store, clock, ids }, async || {
        let at = sqlx::query_scalar("SELECT at FROM probe").fetch_one(&mut other).await;
        DateTime::from_timestamp_micros(at.unwrap()).unwrap()
    })
    .await;
}

#[tokio::test]
async fn what_is_confirmed_afterwards_is_committed_on_postgres() {
    with_database(async |url| {
        let (clock, ids) = env(1);
        let options = Options {
            connections: 1,
            ..options(&clock)
        };
        let store: Arc<dyn Store> = Arc::new(PostgresStore::connect(url, options).await.unwrap());
        let mut other = PgConnection::connect(url).await.unwrap();
        what_is_confirmed_afterwards_is_committed(World { store, clock, ids }, async || {
            let at = sqlx::query_scalar("SELECT at FROM probe").fetch_one(&mut other).await;
            at.unwrap()
        })
        .await;
        other.close().await.unwrap();
    })
    .await;
}
