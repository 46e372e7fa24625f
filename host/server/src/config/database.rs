//! `[database]`: where rows live.

use std::fmt;

use super::{
    effective::show_url,
    key::{Key, Kind, Section},
    reader::Reader,
};

/// Where rows live. `Debug` leaves the password out.
#[derive(Clone)]
pub struct DatabaseConfig {
    /// `sqlite:path` or `postgres://…`. May hold a password.
    pub url: String,
    /// Connections for ordinary work.
    pub max_connections: u32,
    /// PostgreSQL: take a server that may lose what it has committed.
    pub allow_unsafe_durability: bool,
}

pub(super) const SECTION: Section = Section {
    name: "database",
    about: "Where rows live.",
    keys: &[
        Key::new(
            "database.url",
            Kind::Url,
            "`sqlite:` and a path for one process, or `postgres://user:password@host/database`.",
        )
        .or("sqlite:data/patchbay.db")
        .plain("DATABASE_URL"),
        Key::new(
            "database.max_connections",
            Kind::Whole(1, 1_000),
            "Connections for ordinary work. A few more are kept for renewed tokens and received webhooks. SQLite: \
             readers; there is always one writer.",
        )
        .or("8"),
        Key::new(
            "database.allow_unsafe_durability",
            Kind::Flag,
            "PostgreSQL: take a server with `fsync`, `full_page_writes` or `synchronous_commit` off. It may lose what it \
             has committed, renewed tokens among it: for throwaway servers of tests alone.",
        )
        .or("false"),
    ],
};

impl DatabaseConfig {
    pub(super) fn read(r: &mut Reader) -> Self {
        Self {
            url: r.parsed("database.url"),
            max_connections: r.whole("database.max_connections"),
            allow_unsafe_durability: r.flag("database.allow_unsafe_durability"),
        }
    }

    pub(super) fn validate(&self, r: &mut Reader) {
        let schemes = ["sqlite:", "postgres://", "postgresql://"];
        if !schemes.iter().any(|scheme| self.url.starts_with(scheme)) {
            r.problem("database.url", "must start with `sqlite:` or `postgres://`");
        }
    }
}

impl fmt::Debug for DatabaseConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            url,
            max_connections,
            allow_unsafe_durability,
        } = self;
        let url = show_url(url);
        f.debug_struct("DatabaseConfig")
            .field("url", &url)
            .field("max_connections", max_connections)
            .field("allow_unsafe_durability", allow_unsafe_durability)
            .finish()
    }
}
