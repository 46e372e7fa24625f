//! Patchbay's stores: SQLite for one host, PostgreSQL for several. Both are the same [`Store`] to their callers, and
//! one suite (`tests/it`) holds both to its contract.
//!
//! The two modules have the same files and the same functions, each with its own literal SQL next to it. What differs
//! is on purpose: SQLite has one writer, so a transaction sees no other; PostgreSQL locks rows, always a job before
//! the post it works on. Start reading at `sqlite/jobs.rs`.

mod error;
mod open;
mod rows;
mod tx;
mod values;

pub mod postgres;
pub mod sqlite;

use std::sync::Arc;

use patchbay_app::store::Store;

pub use error::OpenError;
pub use open::Options;

/// Opens the store that a URL names: `sqlite:path`, `sqlite://path` or `postgres://…`.
///
/// # Errors
/// The URL names no database, or the database cannot or must not be used.
pub async fn open(url: &str, options: Options) -> Result<Arc<dyn Store>, OpenError> {
    Ok(match open::Target::parse(url)? {
        open::Target::Sqlite(path) => Arc::new(sqlite::SqliteStore::open(path, options).await?),
        open::Target::Postgres(url) => Arc::new(postgres::PostgresStore::connect(url, options).await?),
    })
}

/// Brings the database that a URL names up to this program's schema, and makes it if it is a file. Any number of
/// processes may do so at once.
///
/// # Errors
/// As [`open`].
pub async fn migrate(url: &str) -> Result<(), OpenError> {
    match open::Target::parse(url)? {
        open::Target::Sqlite(path) => sqlite::migrate(path).await,
        open::Target::Postgres(url) => postgres::migrate(url).await,
    }
}

/// Names of the migrations that the database still lacks, oldest first. Changes nothing.
///
/// # Errors
/// The database cannot be read.
pub async fn pending_migrations(url: &str) -> Result<Vec<String>, OpenError> {
    match open::Target::parse(url)? {
        open::Target::Sqlite(path) => sqlite::pending_migrations(path).await,
        open::Target::Postgres(url) => postgres::pending_migrations(url).await,
    }
}
