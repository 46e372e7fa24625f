//! SQLite: one file, one host. One writer connection, so that a write transaction is alone; a few readers beside it.
//! A lock on a file next to the database keeps a second host away for as long as the process lives.

mod accounts;
mod audits;
mod avatars;
mod deliveries;
mod endpoints;
mod erasures;
mod events;
mod file;
mod flows;
mod inbox;
mod jobs;
mod keys;
mod media;
mod metrics;
mod operations;
mod outbox;
mod post_effects;
mod posts;
mod questions;
mod slot_waits;
mod slots;
mod turns;
mod uploads;

use std::{fs::File, path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use patchbay_app::{
    env::{Clock, Env, Ids, SteadyClock},
    model::JobKind,
    store::{Store, StoreError, StoreResult},
    wakes::Wakes,
};
use serde_json::Value;
use sqlx::{
    Connection, Row as _, Sqlite, SqliteConnection, SqlitePool,
    migrate::Migrator,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous},
    types::Json,
};
use uuid::Uuid;

use inbox::JOB_OF_WEBHOOK;

use crate::{OpenError, Options, error::db, open, rows, tx};

/// A transaction of this store.
type Tx = tx::Tx<Sqlite>;

/// A newer program may have migrated further: an older one still runs on what it knows.
pub(crate) static MIGRATOR: Migrator = Migrator {
    ignore_missing: true,
    ..sqlx::migrate!("../../migrations/sqlite")
};

/// Prepared statements that a connection keeps: all that there are, and one for each number of webhooks in a commit.
const STATEMENTS: usize = 300;

/// Pages that the writer keeps in memory: 32 MiB, in KiB. The index of digests is in no order, so each webhook is on
/// another page of it.
const WRITER_CACHE: &str = "-32768";
/// Pages in the log (16 MiB) before they are copied into the file. A page that was written often meanwhile is copied once.
const CHECKPOINT: &str = "4000";

/// A store in one SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    writer: SqlitePool,
    readers: SqlitePool,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    wakes: Arc<Wakes>,
    /// `None` beside a running host.
    _lock: Option<File>,
}

impl SqliteStore {
    /// Opens a database file, and makes it (for its owner only) if there is none.
    ///
    /// # Errors
    /// Another process has it open; it cannot be opened; it lacks migrations and must not be migrated.
    pub async fn open(path: impl AsRef<Path>, options: Options) -> Result<Self, OpenError> {
        let path = file::create(path.as_ref())?;
        let lock = match file::lock(&path) {
            Ok(lock) => Some(lock),
            Err(OpenError::InUse(_)) if options.beside_a_host => None,
            Err(error) => return Err(error),
        };
        let connect = connect_options(&path);
        let mut connection = SqliteConnection::connect_with(&connect)
            .await
            .map_err(OpenError::Connect)?;
        // A running host has migrated it, and would be surprised by more.
        if options.migrate && lock.is_some() {
            // Not `run`: its future cannot be sent to another thread.
            MIGRATOR
                .run_direct(None, &mut connection, false)
                .await
                .map_err(OpenError::Migrate)?;
        } else {
            let pending = pending(&mut connection).await?;
            if !pending.is_empty() {
                return Err(OpenError::Pending(pending));
            }
        }
        connection.close().await.map_err(OpenError::Connect)?;
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(options.acquire_timeout)
            // The connection is a file handle: it does not go stale.
            .test_before_acquire(false)
            .idle_timeout(None)
            .max_lifetime(None)
            .after_connect(|connection, _| {
                Box::pin(async move { sqlx::query(JOB_OF_WEBHOOK).execute(connection).await.map(drop) })
            })
            .connect_with(
                connect
                    .clone()
                    .pragma("cache_size", WRITER_CACHE)
                    .pragma("wal_autocheckpoint", CHECKPOINT),
            )
            .await
            .map_err(OpenError::Connect)?;
        let readers = SqlitePoolOptions::new()
            .max_connections(options.connections.max(1))
            .acquire_timeout(options.acquire_timeout)
            .test_before_acquire(false)
            .connect_with(connect.pragma("query_only", "ON"))
            .await
            .map_err(OpenError::Connect)?;
        Ok(Self {
            writer,
            readers,
            // The database's clock is the clock of its only host. Leases of an earlier process, whatever its clock said,
            // end at the start (`end_orphaned_leases`).
            clock: options
                .clock
                .unwrap_or_else(|| SteadyClock::following(Env::system().clock)),
            ids: options.ids,
            wakes: Arc::default(),
            _lock: lock,
        })
    }

    fn time(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// A transaction that is the only one to write, from its start.
    #[expect(
        clippy::disallowed_methods,
        reason = "for SQLite, sqlx takes back what a dropped caller began"
    )]
    async fn begin(&self) -> StoreResult<Tx> {
        let tx = self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(db)?;
        Ok(Tx::new(tx, &self.wakes))
    }
}

#[async_trait]
impl Store for SqliteStore {
    fn backend(&self) -> &'static str {
        "sqlite"
    }

    fn wakes(&self) -> &Wakes {
        &self.wakes
    }

    fn side_by_side(&self) -> usize {
        1
    }

    async fn now(&self) -> Result<DateTime<Utc>, StoreError> {
        Ok(self.time())
    }

    async fn probe_write(&self) -> Result<(), StoreError> {
        sqlx::query("UPDATE probe SET at = $1 WHERE id = 1")
            .bind(micros(self.time()))
            .execute(&self.writer)
            .await
            .map_err(db)?;
        Ok(())
    }

    async fn end_orphaned_leases(&self) -> Result<(), StoreError> {
        // The lock on the file says that no other host lives, and this one has not claimed anything yet.
        let mut tx = self.begin().await?;
        sqlx::query(
            "UPDATE jobs
             SET due_at = $1
             WHERE status = 'running' AND kind IN (SELECT value FROM json_each($2)) AND due_at > $1",
        )
        .bind(micros(self.time()))
        .bind(list(JobKind::ALL.iter().map(|kind| kind.as_str())))
        .execute(&mut *tx)
        .await
        .map_err(db)?;
        sqlx::query("UPDATE accounts SET refresh_holder = NULL, refresh_until = NULL WHERE refresh_until IS NOT NULL")
            .execute(&mut *tx)
            .await
            .map_err(db)?;
        sqlx::query("UPDATE uploads SET lease_until = NULL WHERE lease_until IS NOT NULL")
            .execute(&mut *tx)
            .await
            .map_err(db)?;
        tx.commit().await.map_err(db)
    }
}

/// See [`crate::migrate`].
pub(crate) async fn migrate(path: &Path) -> Result<(), OpenError> {
    SqliteStore::open(path, Options::default()).await.map(drop)
}

/// See [`crate::pending_migrations`]. A host may be running on the file meanwhile.
pub(crate) async fn pending_migrations(path: &Path) -> Result<Vec<String>, OpenError> {
    if !path.exists() {
        return Ok(open::missing(&MIGRATOR, &[]));
    }
    let options = connect_options(path)
        .pragma("query_only", "ON")
        .create_if_missing(false);
    let mut connection = SqliteConnection::connect_with(&options)
        .await
        .map_err(OpenError::Connect)?;
    pending(&mut connection).await
}

async fn pending(connection: &mut SqliteConnection) -> Result<Vec<String>, OpenError> {
    let known: Option<i64> = sqlx::query_scalar("SELECT 1 FROM sqlite_master WHERE name = '_sqlx_migrations'")
        .fetch_optional(&mut *connection)
        .await
        .map_err(OpenError::Connect)?;
    if known.is_none() {
        return Ok(open::missing(&MIGRATOR, &[]));
    }
    let applied: Vec<i64> = sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success")
        .fetch_all(connection)
        .await
        .map_err(OpenError::Connect)?;
    Ok(open::missing(&MIGRATOR, &applied))
}

fn connect_options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        // A commit that was answered survives a power cut.
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(5))
        .statement_cache_capacity(STATEMENTS)
        // After a burst the log shrinks back to 64 MiB.
        .pragma("journal_size_limit", "67108864")
}

/// A time as stored.
fn micros(time: DateTime<Utc>) -> i64 {
    time.timestamp_micros()
}

/// A time as stored, if there is one.
fn maybe_micros(time: Option<DateTime<Utc>>) -> Option<i64> {
    time.map(micros)
}

/// A list for `IN (SELECT value FROM json_each(…))`: SQLite binds no arrays.
fn list<'v>(values: impl IntoIterator<Item = &'v str>) -> Json<Value> {
    Json(values.into_iter().map(Value::from).collect())
}

impl rows::Row for SqliteRow {
    fn uuid(&self, column: &str) -> Result<Option<Uuid>, sqlx::Error> {
        self.try_get(column)
    }

    fn time(&self, column: &str) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
        let micros: Option<i64> = self.try_get(column)?;
        micros
            .map(|micros| {
                DateTime::from_timestamp_micros(micros).ok_or_else(|| sqlx::Error::Decode("time out of range".into()))
            })
            .transpose()
    }

    fn text(&self, column: &str) -> Result<Option<String>, sqlx::Error> {
        self.try_get(column)
    }

    fn int(&self, column: &str) -> Result<Option<i64>, sqlx::Error> {
        self.try_get(column)
    }

    fn flag(&self, column: &str) -> Result<Option<bool>, sqlx::Error> {
        self.try_get(column)
    }

    fn bytes(&self, column: &str) -> Result<Option<Vec<u8>>, sqlx::Error> {
        self.try_get(column)
    }

    fn json(&self, column: &str) -> Result<Option<Value>, sqlx::Error> {
        Ok(self.try_get::<Option<Json<Value>>, _>(column)?.map(|json| json.0))
    }
}
