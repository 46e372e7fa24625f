//! PostgreSQL: several hosts on one database. Every claim is one statement that skips locked rows; every transaction
//! locks a job before the post it works on, so that two of them wait for each other rarely, and never for long.
//!
//! No call keeps state in its session, so the store works behind a transaction pooler ([`Options::pooler`]).

mod accounts;
mod audits;
mod avatars;
mod begin;
mod deliveries;
mod endpoints;
mod erasures;
mod events;
mod flows;
mod inbox;
mod jobs;
mod kept;
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

use std::{str::FromStr, sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use patchbay_app::{
    env::{Clock, Ids},
    store::{Store, StoreError, StoreResult},
    wakes::Wakes,
};
use serde_json::Value;
use sqlx::{
    Connection, PgConnection, PgPool, Postgres, Row as _,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgPoolOptions, PgRow},
    types::Json,
};
use uuid::Uuid;

use kept::Kept;

use crate::{OpenError, Options, error::db, open, rows, tx};

/// A transaction of this store.
type Tx = tx::Tx<Postgres>;

/// A newer program may have migrated further: an older one still runs on what it knows. The lock is our own.
pub(crate) static MIGRATOR: Migrator = Migrator {
    ignore_missing: true,
    locking: false,
    ..sqlx::migrate!("../../migrations/postgres")
};

/// Least server version: the oldest that its project still maintained when this was written (2026).
const LEAST_VERSION: u32 = 14;

/// A statement that takes longer is not one of ours, or the server is in trouble.
const STATEMENT_TIMEOUT: &str = "5s";

/// A host that stopped inside a transaction holds its locks no longer than this.
const IDLE_TIMEOUT: &str = "10s";

/// A store on a PostgreSQL server.
#[derive(Debug)]
pub struct PostgresStore {
    pool: PgPool,
    /// For renewed tokens, which must not be lost: they never wait behind ordinary work.
    reserved: PgPool,
    /// For webhooks, which are answered within 2 s.
    inbox: Kept,
    clock: Option<Arc<dyn Clock>>,
    ids: Arc<dyn Ids>,
    wakes: Arc<Wakes>,
    begin: &'static str,
}

impl PostgresStore {
    /// Connects to the database that a URL names.
    ///
    /// # Errors
    /// The server does not answer, is too old or may lose what it commits; the database lacks migrations and must not
    /// be migrated.
    pub async fn connect(url: &str, options: Options) -> Result<Self, OpenError> {
        let connect = connect_options(url, options.pooler)?;
        check_server(&connect, options.allow_unsafe_durability).await?;
        if options.migrate {
            migrate(url).await?;
        } else {
            let pending = pending_migrations(url).await?;
            if !pending.is_empty() {
                return Err(OpenError::Pending(pending));
            }
        }
        let pool = |connections: u32| {
            PgPoolOptions::new()
                .max_connections(connections.max(1))
                .acquire_timeout(options.acquire_timeout)
                .connect_lazy_with(connect.clone())
        };
        Ok(Self {
            pool: pool(options.connections),
            reserved: pool(options.reserved_connections),
            inbox: Kept::new(connect.clone(), options.acquire_timeout),
            clock: options.clock,
            ids: options.ids,
            wakes: Arc::default(),
            begin: if options.pooler {
                "BEGIN; SET LOCAL statement_timeout = '5s'; SET LOCAL idle_in_transaction_session_timeout = '10s'"
            } else {
                "BEGIN"
            },
        })
    }

    async fn begin(&self) -> StoreResult<Tx> {
        self.begin_in(&self.pool).await
    }

    async fn begin_in(&self, pool: &PgPool) -> StoreResult<Tx> {
        Ok(Tx::new(begin::begin(pool, self.begin).await?, &self.wakes))
    }

    /// Now, inside a transaction. To be asked after its locks are held: a wait for a lock must not make it stale.
    async fn time(&self, connection: &mut PgConnection) -> StoreResult<DateTime<Utc>> {
        match self.test_time() {
            Some(time) => Ok(time),
            None => sqlx::query_scalar("SELECT clock_timestamp()")
                .fetch_one(connection)
                .await
                .map_err(db),
        }
    }

    /// The time that a test has set. Single statements take it as `COALESCE($n, now())`.
    fn test_time(&self) -> Option<DateTime<Utc>> {
        self.clock.as_ref().map(|clock| clock.now())
    }
}

#[async_trait]
impl Store for PostgresStore {
    fn backend(&self) -> &'static str {
        "postgres"
    }

    fn wakes(&self) -> &Wakes {
        &self.wakes
    }

    fn side_by_side(&self) -> usize {
        2
    }

    async fn now(&self) -> Result<DateTime<Utc>, StoreError> {
        let mut connection = self.pool.acquire().await.map_err(db)?;
        self.time(&mut connection).await
    }

    async fn probe_write(&self) -> Result<(), StoreError> {
        sqlx::query("UPDATE probe SET at = COALESCE($1, now()) WHERE id = 1")
            .bind(self.test_time())
            .execute(&self.pool)
            .await
            .map_err(db)?;
        Ok(())
    }
}

/// Ends a transaction: commits what went well, and takes back the rest at once. A transaction that is merely dropped is
/// taken back some time later, and until then its locks make others pass over rows that nobody works on.
async fn close<T>(tx: Tx, end: StoreResult<T>) -> StoreResult<T> {
    match end {
        Ok(value) => {
            tx.commit().await.map_err(db)?;
            Ok(value)
        }
        Err(error) => {
            // If this fails the connection is gone, and the transaction with it.
            tx.rollback().await.ok();
            Err(error)
        }
    }
}

/// See [`crate::migrate`]. All in one transaction, under a lock that ends with it.
pub(crate) async fn migrate(url: &str) -> Result<(), OpenError> {
    let failed = |error| OpenError::Migrate(sqlx::migrate::MigrateError::Execute(error));
    let mut connection = connect_once(url).await?;
    let mut tx = connection.begin().await.map_err(failed)?;
    // Others may be migrating a large database right now.
    sqlx::query("SET LOCAL statement_timeout = '10min'")
        .execute(&mut *tx)
        .await
        .map_err(failed)?;
    // The number is the key of this lock, and has no other meaning.
    sqlx::query("SELECT pg_advisory_xact_lock(7265410219002)")
        .execute(&mut *tx)
        .await
        .map_err(failed)?;
    MIGRATOR
        .run_direct(None, &mut *tx, false)
        .await
        .map_err(OpenError::Migrate)?;
    tx.commit().await.map_err(failed)?;
    connection.close().await.map_err(OpenError::Connect)
}

/// See [`crate::pending_migrations`].
pub(crate) async fn pending_migrations(url: &str) -> Result<Vec<String>, OpenError> {
    let mut connection = connect_once(url).await?;
    let known: bool = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL")
        .fetch_one(&mut connection)
        .await
        .map_err(OpenError::Connect)?;
    let applied: Vec<i64> = if known {
        sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success")
            .fetch_all(&mut connection)
            .await
            .map_err(OpenError::Connect)?
    } else {
        Vec::new()
    };
    connection.close().await.map_err(OpenError::Connect)?;
    Ok(open::missing(&MIGRATOR, &applied))
}

/// A connection of its own, that works behind a pooler too.
async fn connect_once(url: &str) -> Result<PgConnection, OpenError> {
    let options = connect_options(url, true)?;
    let connect = PgConnection::connect_with(&options);
    let timed_out = |_| OpenError::Connect(sqlx::Error::PoolTimedOut);
    tokio::time::timeout(Duration::from_secs(10), connect)
        .await
        .map_err(timed_out)?
        .map_err(OpenError::Connect)
}

fn connect_options(url: &str, pooler: bool) -> Result<PgConnectOptions, OpenError> {
    let options = PgConnectOptions::from_str(url)
        .map_err(|_| OpenError::Url("it is not a PostgreSQL URL of the form postgres://user@host:port/database"))?
        .application_name("patchbay");
    Ok(if pooler {
        // Poolers refuse start-up parameters that they do not know.
        options.statement_cache_capacity(0).extra_float_digits(None)
    } else {
        options.options([
            ("statement_timeout", STATEMENT_TIMEOUT),
            ("idle_in_transaction_session_timeout", IDLE_TIMEOUT),
        ])
    })
}

async fn check_server(options: &PgConnectOptions, allow_unsafe: bool) -> Result<(), OpenError> {
    let connect = PgConnection::connect_with(options);
    let mut connection = tokio::time::timeout(Duration::from_secs(10), connect)
        .await
        .map_err(|_| OpenError::Connect(sqlx::Error::PoolTimedOut))?
        .map_err(OpenError::Connect)?;
    let row = sqlx::query(
        "SELECT current_setting('server_version_num')::bigint / 10000 AS version,
             current_setting('fsync') AS fsync,
             current_setting('full_page_writes') AS full_page_writes,
             current_setting('synchronous_commit') AS synchronous_commit",
    )
    .fetch_one(&mut connection)
    .await
    .map_err(OpenError::Connect)?;
    connection.close().await.map_err(OpenError::Connect)?;
    let version: i64 = row.try_get("version").map_err(OpenError::Connect)?;
    let found = u32::try_from(version).unwrap_or_default();
    if found < LEAST_VERSION {
        let needed = LEAST_VERSION;
        return Err(OpenError::TooOld { found, needed });
    }
    for setting in ["fsync", "full_page_writes", "synchronous_commit"] {
        let value: String = row.try_get(setting).map_err(OpenError::Connect)?;
        if value == "off" && !allow_unsafe {
            return Err(OpenError::Unsafe { setting });
        }
    }
    Ok(())
}

impl rows::Row for PgRow {
    fn uuid(&self, column: &str) -> Result<Option<Uuid>, sqlx::Error> {
        self.try_get(column)
    }

    fn time(&self, column: &str) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
        self.try_get(column)
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
