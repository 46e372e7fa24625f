//! A database for one test, and a look behind the API: how many rows there are.

use std::env;

use patchbay_app::env::Env;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, SqliteConnection, sqlite::SqliteConnectOptions};

/// Where a test's rows are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Database {
    /// A file in the test's folder.
    Sqlite,
    /// A database of its own on the test server.
    Postgres { url: String },
}

/// A database in which nobody can store a webhook.
pub enum Held {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Held {
    pub async fn release(self) {
        match self {
            Self::Sqlite(connection) => connection.close().await.unwrap(),
            Self::Postgres(connection) => connection.close().await.unwrap(),
        }
    }
}

/// Runs a test on a fresh PostgreSQL database, and drops it after a test that went well. Without a server the test is
/// skipped, but under `CI` it fails.
pub async fn on_postgres(test: impl AsyncFnOnce(Database)) {
    let Ok(server) = env::var("PATCHBAY_TEST_POSTGRES") else {
        assert!(
            env::var_os("CI").is_none(),
            "PATCHBAY_TEST_POSTGRES is not set, and CI tests both databases"
        );
        eprintln!("skipped: PATCHBAY_TEST_POSTGRES is not set");
        return;
    };
    let name = format!("patchbay_e2e_{}", Env::system().ids.next().simple());
    let mut url = url::Url::parse(&server).unwrap();
    let mut admin = PgConnection::connect(&server).await.unwrap();
    sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}")))
        .execute(&mut admin)
        .await
        .unwrap();
    url.set_path(&name);
    test(Database::Postgres { url: url.into() }).await;
    drop_database(&mut admin, &name).await;
}

async fn drop_database(admin: &mut PgConnection, name: &str) {
    sqlx::query(AssertSqlSafe(format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")))
        .execute(admin)
        .await
        .unwrap();
}

impl Database {
    pub fn url(&self, folder: &std::path::Path) -> String {
        match self {
            Self::Sqlite => format!("sqlite:{}", folder.join("patchbay.db").display()),
            Self::Postgres { url } => url.clone(),
        }
    }

    /// The one number that a query gives.
    pub async fn number(&self, folder: &std::path::Path, query: &'static str) -> i64 {
        match self {
            Self::Sqlite => {
                let options = SqliteConnectOptions::new()
                    .filename(folder.join("patchbay.db"))
                    .read_only(true);
                let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
                sqlx::query(query).fetch_one(&mut connection).await.unwrap().get(0)
            }
            Self::Postgres { url } => {
                let mut connection = PgConnection::connect(url).await.unwrap();
                sqlx::query(query).fetch_one(&mut connection).await.unwrap().get(0)
            }
        }
    }

    /// Changes rows behind the host's back.
    pub async fn execute(&self, folder: &std::path::Path, statement: &'static str) {
        match self {
            Self::Sqlite => {
                let options = SqliteConnectOptions::new()
                    .filename(folder.join("patchbay.db"))
                    .busy_timeout(std::time::Duration::from_secs(10));
                let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
                sqlx::query(statement).execute(&mut connection).await.unwrap();
            }
            Self::Postgres { url } => {
                let mut connection = PgConnection::connect(url).await.unwrap();
                sqlx::query(statement).execute(&mut connection).await.unwrap();
            }
        }
    }

    /// Lets nobody store a webhook until it is released.
    pub async fn hold_writes(&self, folder: &std::path::Path) -> Held {
        match self {
            Self::Sqlite => {
                let options = SqliteConnectOptions::new().filename(folder.join("patchbay.db"));
                let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
                sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut connection).await.unwrap();
                Held::Sqlite(connection)
            }
            Self::Postgres { url } => {
                let mut connection = PgConnection::connect(url).await.unwrap();
                let lock = "BEGIN; LOCK TABLE inbox IN SHARE MODE";
                sqlx::raw_sql(lock).execute(&mut connection).await.unwrap();
                Held::Postgres(connection)
            }
        }
    }

    /// Takes the database away while the host runs. PostgreSQL alone: a file that is open cannot go.
    pub async fn vanish(&self) {
        let Self::Postgres { url } = self else {
            panic!("only a server can be lost")
        };
        let mut server = url::Url::parse(url).unwrap();
        let name = server.path().trim_start_matches('/').to_owned();
        server.set_path("/postgres");
        let mut admin = PgConnection::connect(server.as_str()).await.unwrap();
        drop_database(&mut admin, &name).await;
    }
}
