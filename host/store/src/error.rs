//! What a database's error means to a caller. Only a constraint's name or an error's code is looked at, never its text.

use std::path::PathBuf;

use patchbay_app::store::{Constraint, StoreError};
use sqlx::{
    error::{DatabaseError, ErrorKind},
    postgres::{PgDatabaseError, PgSeverity},
};

/// Why a store was not opened. Messages name no password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The URL names no database that Patchbay can use.
    #[error("the database URL is not usable: {0}")]
    Url(&'static str),
    /// Another process has the file.
    #[error(
        "the database {} is in use by another Patchbay: stop that one first, or use PostgreSQL to run several",
        .0.display()
    )]
    InUse(PathBuf),
    /// A file cannot be made or locked.
    #[error("the database file {} cannot be used", .0.display())]
    File(PathBuf, #[source] std::io::Error),
    /// The server is too old.
    #[error("the PostgreSQL server has version {found}, but Patchbay needs {needed} or newer")]
    TooOld {
        /// The server's major version.
        found: u32,
        /// The least one.
        needed: u32,
    },
    /// The server may lose what it has committed.
    #[error("the PostgreSQL server has {setting}=off, so it may lose what it has committed: set {setting}=on")]
    Unsafe {
        /// The setting.
        setting: &'static str,
    },
    /// The schema is older than the program.
    #[error("the database lacks migrations ({}): run `patchbay migrate`", .0.join(", "))]
    Pending(Vec<String>),
    /// A migration failed, or one that was applied has been changed since.
    #[error("the database cannot be migrated")]
    Migrate(#[source] sqlx::migrate::MigrateError),
    /// The database does not answer.
    #[error("the database cannot be reached")]
    Connect(#[source] sqlx::Error),
}

/// The meaning of an error that no query has a special one for.
pub(crate) fn db(error: sqlx::Error) -> StoreError {
    match &error {
        sqlx::Error::Database(cause) => {
            if cause.kind() == ErrorKind::ForeignKeyViolation {
                StoreError::Conflict(Constraint::Missing)
            } else if ends_session(&**cause) || cause.code().is_some_and(|code| is_passing(&code)) {
                StoreError::Unavailable(error.into())
            } else {
                StoreError::Other(error.into())
            }
        }
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed => StoreError::Unavailable(error.into()),
        _ => StoreError::Other(error.into()),
    }
}

/// Whether a query ran into another row's unique key.
pub(crate) fn is_duplicate(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(cause) if cause.kind() == ErrorKind::UniqueViolation)
}

/// Whether the error is of another transaction's making and the same call may succeed at once.
pub(crate) fn is_deadlock(error: &StoreError) -> bool {
    let StoreError::Unavailable(cause) = error else {
        return false;
    };
    // 40P01 deadlock_detected, 40001 serialization_failure.
    cause
        .downcast_ref::<sqlx::Error>()
        .and_then(sqlx::Error::as_database_error)
        .and_then(DatabaseError::code)
        .is_some_and(|code| matches!(&*code, "40P01" | "40001"))
}

/// PostgreSQL calls it fatal when it ends the session or begins none, whatever the reason.
fn ends_session(cause: &dyn DatabaseError) -> bool {
    cause
        .try_downcast_ref::<PgDatabaseError>()
        .is_some_and(|cause| matches!(cause.severity(), PgSeverity::Fatal | PgSeverity::Panic))
}

/// Codes of faults that pass: the database is busy, full, read-only or going down. A SQLSTATE has five characters;
/// an extended SQLite code is a number of at most four digits, whose lowest byte is the primary code.
fn is_passing(code: &str) -> bool {
    if code.len() == 5 {
        return match code.get(..2).unwrap_or_default() {
            // Connection, rollback, resources, operator intervention (also statement_timeout), system.
            "08" | "40" | "53" | "57" | "58" => true,
            // read_only_sql_transaction, as after a failover; idle_in_transaction_session_timeout.
            "25" => matches!(code, "25006" | "25P03"),
            // lock_not_available.
            "55" => code == "55P03",
            _ => false,
        };
    }
    // BUSY, LOCKED, READONLY, IOERR, FULL, CANTOPEN, PROTOCOL.
    code.parse::<u32>()
        .is_ok_and(|code| matches!(code & 0xff, 5 | 6 | 8 | 10 | 13 | 14 | 15))
}
