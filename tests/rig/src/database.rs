//! The host's database, looked at and changed from outside.

use std::path::{Path, PathBuf};

use sqlx::{
    AssertSqlSafe, Connection, PgConnection, Row, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode},
};

/// A database of one test.
#[derive(Clone)]
pub enum Database {
    Sqlite(PathBuf),
    Postgres(String),
}

/// Makes a PostgreSQL database, and drops it after a test that went well. After a failed one it stays, to be looked at.
/// Without a server the test is skipped, but under `CI` it fails.
pub async fn on_postgres(test: impl AsyncFnOnce(Database)) {
    let Ok(server) = std::env::var("PATCHBAY_TEST_POSTGRES") else {
        assert!(
            std::env::var_os("CI").is_none(),
            "PATCHBAY_TEST_POSTGRES is not set, and CI tests both databases"
        );
        eprintln!("skipped: PATCHBAY_TEST_POSTGRES is not set");
        return;
    };
    let name = format!("patchbay_process_{}_{}", std::process::id(), crate::host::free_port());
    let admin = Database::Postgres(server.clone());
    admin
        .execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
        .await;
    admin.execute(&format!("CREATE DATABASE {name}")).await;
    let mut url = url::Url::parse(&server).unwrap();
    url.set_path(&name);
    test(Database::Postgres(url.into())).await;
    admin.execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await;
}

impl Database {
    /// As the host is to be told.
    pub fn url(&self) -> String {
        match self {
            Self::Sqlite(path) => format!("sqlite:{}", path.display()),
            Self::Postgres(url) => url.clone(),
        }
    }

    /// Runs one statement that both databases know; the rows that it changed.
    pub async fn execute(&self, sql: &str) -> u64 {
        let sql = AssertSqlSafe(sql.to_owned());
        match self {
            Self::Sqlite(path) => {
                let mut connection = sqlite(path).await;
                let done = sqlx::query(sql).execute(&mut connection).await.unwrap();
                connection.close().await.unwrap();
                done.rows_affected()
            }
            Self::Postgres(url) => {
                let mut connection = PgConnection::connect(url).await.unwrap();
                let done = sqlx::query(sql).execute(&mut connection).await.unwrap();
                connection.close().await.unwrap();
                done.rows_affected()
            }
        }
    }

    /// The first column of all rows, which must be text.
    pub async fn texts(&self, sql: &str) -> Vec<String> {
        let sql = AssertSqlSafe(sql.to_owned());
        match self {
            Self::Sqlite(path) => {
                let mut connection = sqlite(path).await;
                let rows = sqlx::query(sql).fetch_all(&mut connection).await.unwrap();
                connection.close().await.unwrap();
                rows.iter()
                    .map(|row| row.get::<Option<String>, _>(0).unwrap_or_default())
                    .collect()
            }
            Self::Postgres(url) => {
                let mut connection = PgConnection::connect(url).await.unwrap();
                let rows = sqlx::query(sql).fetch_all(&mut connection).await.unwrap();
                connection.close().await.unwrap();
                rows.iter()
                    .map(|row| row.get::<Option<String>, _>(0).unwrap_or_default())
                    .collect()
            }
        }
    }

    pub async fn count(&self, table_and_condition: &str) -> u64 {
        let counted = self
            .texts(&format!("SELECT CAST(COUNT(*) AS TEXT) FROM {table_and_condition}"))
            .await;
        counted[0].parse().unwrap()
    }

    /// Every row of every table, as text, in a fixed order. Bytes are in hexadecimal.
    pub async fn dump(&self) -> String {
        let mut dump = String::new();
        for table in self.texts(self.tables()).await {
            let rows = match self {
                Self::Sqlite(_) => {
                    let columns = self
                        .texts(&format!("SELECT name FROM pragma_table_info('{table}')"))
                        .await;
                    let quoted: Vec<_> = columns.iter().map(|column| format!("quote(\"{column}\")")).collect();
                    self.texts(&format!(
                        "SELECT {} FROM {table} ORDER BY 1",
                        quoted.join(" || ',' || ")
                    ))
                    .await
                }
                Self::Postgres(_) => {
                    self.texts(&format!("SELECT CAST(t AS TEXT) FROM {table} AS t ORDER BY 1"))
                        .await
                }
            };
            dump.push_str(&format!("{table}\n  {}\n", rows.join("\n  ")));
        }
        dump
    }

    fn tables(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name",
            Self::Postgres(_) => {
                "SELECT CAST(tablename AS TEXT) FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"
            }
        }
    }

    /// Lets the tokens of all accounts end in a minute, so that the next use renews them first.
    pub async fn age_tokens(&self) {
        let soon = match self {
            Self::Sqlite(_) => "(CAST(strftime('%s', 'now') AS INTEGER) + 60) * 1000000",
            Self::Postgres(_) => "now() + interval '1 minute'",
        };
        self.execute(&format!("UPDATE accounts SET access_expires_at = {soon}"))
            .await;
    }

    /// Ends the leases of running jobs of a kind, as if their time had passed: of all, or of so many. How many it were.
    pub async fn end_leases(&self, kind: &str, most: u32) -> u64 {
        let (past, passing) = match self {
            Self::Sqlite(_) => ("(CAST(strftime('%s', 'now') AS INTEGER) - 1) * 1000000", ""),
            // A host that was stopped may be in the middle of a transaction.
            Self::Postgres(_) => ("clock_timestamp() - interval '1 second'", "FOR UPDATE SKIP LOCKED"),
        };
        self.execute(&format!(
            "UPDATE jobs SET due_at = {past} WHERE status = 'running' AND id IN (
                 SELECT id FROM jobs WHERE kind = '{kind}' AND status = 'running' LIMIT {most} {passing})"
        ))
        .await
    }

    /// The same for jobs whose workers have shown no sign of life for 11 s, which is more than two heartbeats: a busy machine
    /// may hold up one.
    pub async fn end_silent_leases(&self, kind: &str) -> u64 {
        let (past, since) = match self {
            Self::Sqlite(_) => (
                "(CAST(strftime('%s', 'now') AS INTEGER) - 1) * 1000000",
                "(CAST(strftime('%s', 'now') AS INTEGER) + 19) * 1000000",
            ),
            Self::Postgres(_) => (
                "clock_timestamp() - interval '1 second'",
                "clock_timestamp() + interval '19 seconds'",
            ),
        };
        self.execute(&format!(
            "UPDATE jobs SET due_at = {past} WHERE status = 'running' AND kind = '{kind}' AND due_at < {since}"
        ))
        .await
    }

    /// Makes every job of a kind that waits due now.
    pub async fn hurry(&self, kind: &str) -> u64 {
        let now = match self {
            Self::Sqlite(_) => "CAST(strftime('%s', 'now') AS INTEGER) * 1000000",
            Self::Postgres(_) => "clock_timestamp()",
        };
        self.execute(&format!(
            "UPDATE jobs SET run_at = {now}, due_at = {now} WHERE status = 'ready' AND kind = '{kind}' AND due_at > {now}"
        ))
        .await
    }

    /// What the file system holds of this database. PostgreSQL's files are not ours to read.
    pub fn files(&self) -> Vec<PathBuf> {
        match self {
            Self::Sqlite(path) => ["", "-wal", "-shm"]
                .iter()
                .map(|end| format!("{}{end}", path.display()).into())
                .collect(),
            Self::Postgres(_) => Vec::new(),
        }
    }

    /// SQLite's own word on its file.
    pub async fn integrity(&self) -> Vec<String> {
        self.texts("PRAGMA integrity_check").await
    }
}

async fn sqlite(path: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal);
    SqliteConnection::connect_with(&options).await.unwrap()
}
