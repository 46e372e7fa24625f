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
    ],
};

impl DatabaseConfig {
    pub(super) fn read(r: &mut Reader) -> Self {
        Self {
            url: r.parsed("database.url"),
            max_connections: r.whole("database.max_connections"),
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
        let Self { url, max_connections } = self;
        let url = show_url(url);
        f.debug_struct("DatabaseConfig")
            .field("url", &url)
            .field("max_connections", max_connections)
            .finish()
    }
}
