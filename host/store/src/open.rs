//! How a store is opened: the URL, the options, and which migrations a database lacks.

use std::{collections::HashSet, path::Path, sync::Arc, time::Duration};

use patchbay_app::env::{Clock, Env, Ids};
use sqlx::migrate::Migrator;

use crate::OpenError;

/// How to open a store.
#[derive(Debug, Clone)]
pub struct Options {
    /// Clock that leases, time limits and slots are measured by. `None`: the database's own. A test gives its own.
    pub clock: Option<Arc<dyn Clock>>,
    /// Ids of the jobs that the store makes by itself, such as those that news brings.
    pub ids: Arc<dyn Ids>,
    /// SQLite: take a file that a running host has open, for a short command such as making a key. Such a store must
    /// claim no jobs.
    pub beside_a_host: bool,
    /// Whether to migrate first. If not, a database that lacks a migration is refused.
    pub migrate: bool,
    /// Connections for ordinary work. SQLite: its readers.
    pub connections: u32,
    /// PostgreSQL: more connections, kept for renewed tokens. Received webhooks have one or two of their own besides.
    pub reserved_connections: u32,
    /// How long a call waits for a free connection before it fails as unavailable. SQLite: also for the writer.
    pub acquire_timeout: Duration,
    /// PostgreSQL: it is reached through a transaction pooler. Then no prepared statement and no setting outlives a
    /// transaction; single statements run without a time limit of their own.
    pub pooler: bool,
    /// PostgreSQL: accept a server that may lose what it has committed. For throwaway servers of tests.
    pub allow_unsafe_durability: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            clock: None,
            ids: Env::system().ids,
            beside_a_host: false,
            migrate: true,
            connections: 8,
            reserved_connections: 2,
            // A client gets its 503 within 3 s, the time of its query included.
            acquire_timeout: Duration::from_secs(2),
            pooler: false,
            allow_unsafe_durability: false,
        }
    }
}

/// What a URL names.
pub(crate) enum Target<'u> {
    /// A file.
    Sqlite(&'u Path),
    /// A server, by its whole URL.
    Postgres(&'u str),
}

impl<'u> Target<'u> {
    pub(crate) fn parse(url: &'u str) -> Result<Self, OpenError> {
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Ok(Self::Postgres(url));
        }
        let Some(path) = url.strip_prefix("sqlite:") else {
            return Err(OpenError::Url("it must start with `sqlite:` or `postgres://`"));
        };
        let path = path.strip_prefix("//").unwrap_or(path);
        if path.is_empty() || path.starts_with(":memory:") {
            return Err(OpenError::Url(
                "SQLite needs a file: a database in memory loses what it accepted",
            ));
        }
        if path.contains('?') {
            return Err(OpenError::Url("a SQLite URL takes no parameters"));
        }
        Ok(Self::Sqlite(Path::new(path)))
    }
}

/// The migrations that are not among `applied`.
pub(crate) fn missing(migrator: &Migrator, applied: &[i64]) -> Vec<String> {
    let applied: HashSet<_> = applied.iter().collect();
    migrator
        .iter()
        .filter(|migration| !applied.contains(&migration.version))
        .map(|migration| format!("{:04}_{}", migration.version, migration.description.replace(' ', "_")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_file_or_a_server() {
        let path = |url| match Target::parse(url) {
            Ok(Target::Sqlite(path)) => path.to_str().map(str::to_owned),
            Ok(Target::Postgres(url)) => Some(format!("server {url}")),
            Err(_) => None,
        };
        assert_eq!(path("sqlite:data/patchbay.db").as_deref(), Some("data/patchbay.db"));
        assert_eq!(path("sqlite://data/patchbay.db").as_deref(), Some("data/patchbay.db"));
        assert_eq!(path("sqlite:///var/patchbay.db").as_deref(), Some("/var/patchbay.db"));
        assert_eq!(path("postgres://db/x").as_deref(), Some("server postgres://db/x"));
        for wrong in ["", "mysql://db/x", "sqlite:", "sqlite::memory:", "sqlite://x?mode=ro"] {
            assert_eq!(path(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn both_databases_have_the_same_migrations() {
        let names = |migrator: &Migrator| missing(migrator, &[]);
        assert_eq!(names(&crate::sqlite::MIGRATOR), names(&crate::postgres::MIGRATOR));
        assert!(!names(&crate::sqlite::MIGRATOR).is_empty());
    }
}
