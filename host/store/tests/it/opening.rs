//! Opening, migrating, and what is particular to one database.

use std::{os::unix::fs::PermissionsExt, path::Path, sync::Arc};

use patchbay_app::store::{Store, StoreError, StoredInbox};
use patchbay_store::{
    OpenError, Options, migrate, open, pending_migrations, postgres::PostgresStore, sqlite::SqliteStore,
};
use sqlx::{Connection, PgConnection, SqliteConnection};

use crate::harness::{TENANT, World, at_once, env, options, with_database};

fn url(path: &Path) -> String {
    format!("sqlite:{}", path.display())
}

#[tokio::test]
async fn t92_a_second_host_on_one_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("test.db");
    let first = SqliteStore::open(&path, Options::default()).await.unwrap();
    let second = SqliteStore::open(&path, Options::default()).await;
    let Err(error @ OpenError::InUse(_)) = second else {
        panic!("{second:?}")
    };
    assert!(error.to_string().contains("in use by another Patchbay"), "{error}");
    // By another name too.
    let link = dir.path().join("link.db");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert!(matches!(migrate(&url(&link)).await, Err(OpenError::InUse(_))));
    first.probe_write().await.unwrap();
    drop(first);
    SqliteStore::open(&path, Options::default()).await.unwrap();
}

#[tokio::test]
async fn a_new_database_file_is_its_owners_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("test.db");
    let store = open(&url(&path), Options::default()).await.unwrap();
    store.probe_write().await.unwrap();
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", entry.file_name());
    }
}

#[tokio::test]
async fn a_sqlite_commit_is_durable() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("test.db");
    let _store = SqliteStore::open(&path, Options::default()).await.unwrap();
    let mut other = SqliteConnection::connect(&url(&path)).await.unwrap();
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode")
        .fetch_one(&mut other)
        .await
        .unwrap();
    assert_eq!(mode, "wal");
}

#[tokio::test]
async fn pending_migrations_are_named_and_then_applied() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("test.db");
    let url = url(&path);
    assert_eq!(pending_migrations(&url).await.unwrap(), migrations());
    assert!(!path.exists(), "asking changes nothing");
    let options = Options {
        migrate: false,
        ..Options::default()
    };
    let refused = open(&url, options.clone()).await;
    let Err(error @ OpenError::Pending(_)) = refused else {
        panic!("{refused:?}")
    };
    assert!(error.to_string().contains("0001_init"), "{error}");
    migrate(&url).await.unwrap();
    migrate(&url).await.unwrap();
    let store = open(&url, options).await.unwrap();
    // A running host is not in the way of the question.
    assert!(pending_migrations(&url).await.unwrap().is_empty());
    assert!(store.tenant(TENANT).await.unwrap().is_some());
}

#[tokio::test]
async fn an_older_program_runs_on_a_newer_schema() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("test.db");
    migrate(&url(&path)).await.unwrap();
    let mut other = SqliteConnection::connect(&url(&path)).await.unwrap();
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'from the future', TRUE, X'00', 0)",
    )
    .execute(&mut other)
    .await
    .unwrap();
    other.close().await.unwrap();
    let store = open(&url(&path), Options::default()).await.unwrap();
    assert!(store.tenant(TENANT).await.unwrap().is_some());
}

#[tokio::test]
async fn urls_of_no_database_are_refused() {
    for wrong in [
        "",
        "mysql://localhost/x",
        "sqlite::memory:",
        "postgres://localhost:port/x",
    ] {
        let result = open(wrong, Options::default()).await;
        assert!(matches!(result, Err(OpenError::Url(_))), "{wrong}: {result:?}");
    }
    let nowhere = open("sqlite:/nonexistent/dir/test.db", Options::default()).await;
    assert!(matches!(nowhere, Err(OpenError::File(..))), "{nowhere:?}");
}

#[tokio::test]
async fn an_unknown_value_in_a_row_is_corrupt_and_not_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("test.db");
    let store = SqliteStore::open(&path, Options::default()).await.unwrap();
    let mut other = SqliteConnection::connect(&url(&path)).await.unwrap();
    sqlx::query(
        "INSERT INTO data_keys (id, tenant_id, wrapped, canary, state)
         VALUES (1, X'00000000000070008000000000000001', X'00', X'00', 'canary-7')",
    )
    .execute(&mut other)
    .await
    .unwrap();
    let store: &dyn Store = &store;
    let error = store.key_state().await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Corrupt { table: "data_keys", what } if what == "state has an unknown value"),
        "{error:?}"
    );
    assert!(!format!("{error:?}").contains("canary-7"));
}

#[tokio::test]
async fn a_busy_database_is_unavailable() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("test.db");
    let options = Options {
        acquire_timeout: std::time::Duration::from_millis(500),
        ..Options::default()
    };
    let store = SqliteStore::open(&path, options).await.unwrap();
    let mut other = SqliteConnection::connect(&url(&path)).await.unwrap();
    // Somebody holds the only place to write; the one who waits for it holds the only writer.
    let mut tx = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
    sqlx::query("UPDATE probe SET at = 1").execute(&mut *tx).await.unwrap();
    let (first, second) = tokio::join!(store.probe_write(), store.probe_write());
    for result in [first, second] {
        assert!(matches!(result, Err(StoreError::Unavailable(_))), "{result:?}");
    }
    tx.rollback().await.unwrap();
    store.probe_write().await.unwrap();
}

#[tokio::test]
async fn a_server_that_may_lose_commits_is_refused() {
    with_database(async |url| {
        let mut admin = PgConnection::connect(url).await.unwrap();
        let database: String = sqlx::query_scalar("SELECT current_database()")
            .fetch_one(&mut admin)
            .await
            .unwrap();
        sqlx::query(sqlx::AssertSqlSafe(format!(
            "ALTER DATABASE {database} SET synchronous_commit = off"
        )))
        .execute(&mut admin)
        .await
        .unwrap();
        let refused = PostgresStore::connect(url, Options::default()).await;
        let Err(error @ OpenError::Unsafe { .. }) = refused else {
            panic!("{refused:?}")
        };
        assert!(error.to_string().contains("=off"), "{error}");
        let options = Options {
            allow_unsafe_durability: true,
            ..Options::default()
        };
        PostgresStore::connect(url, options).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn t93_many_hosts_migrate_one_server_at_once() {
    with_database(async |url| {
        assert_eq!(pending_migrations(url).await.unwrap(), migrations());
        let options = Options {
            migrate: false,
            allow_unsafe_durability: true,
            ..Options::default()
        };
        let refused = PostgresStore::connect(url, options.clone()).await;
        assert!(matches!(refused, Err(OpenError::Pending(_))), "{refused:?}");
        let results = at_once(8, |_| {
            let url = url.to_owned();
            async move { migrate(&url).await }
        })
        .await;
        for result in results {
            result.unwrap();
        }
        assert!(pending_migrations(url).await.unwrap().is_empty());
        PostgresStore::connect(url, options).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_store_behind_a_pooler_keeps_no_state_in_its_session() {
    with_database(async |url| {
        let options = Options {
            pooler: true,
            connections: 1,
            allow_unsafe_durability: true,
            ..Options::default()
        };
        let store: &dyn Store = &PostgresStore::connect(url, options).await.unwrap();
        store.probe_write().await.unwrap();
        store.purge_flows(1).await.unwrap();
        // The time of the server, to the second: there is no clock of a test here.
        let before = store.now().await.unwrap();
        assert!(store.now().await.unwrap() >= before);
        assert!(store.tenant(TENANT).await.unwrap().is_some());
    })
    .await;
}

#[tokio::test]
async fn a_server_that_is_gone_is_unavailable() {
    let gone = open("postgres://nobody@127.0.0.1:1/none", Options::default()).await;
    assert!(matches!(gone, Err(OpenError::Connect(_))), "{gone:?}");
    with_database(async |url| {
        let options = Options {
            allow_unsafe_durability: true,
            acquire_timeout: std::time::Duration::from_secs(3),
            ..Options::default()
        };
        let store: &dyn Store = &PostgresStore::connect(url, options).await.unwrap();
        store.probe_write().await.unwrap();
        // From another database of the server: nobody may lock himself out.
        let database = url::Url::parse(url).unwrap().path().trim_start_matches('/').to_owned();
        let mut admin = PgConnection::connect(&std::env::var("PATCHBAY_TEST_POSTGRES").unwrap())
            .await
            .unwrap();
        let mut run = async |sql: String| {
            sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut admin).await.unwrap();
        };
        run(format!("ALTER DATABASE {database} ALLOW_CONNECTIONS false")).await;
        run(format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'"
        ))
        .await;
        let result = store.probe_write().await;
        assert!(matches!(result, Err(StoreError::Unavailable(_))), "{result:?}");
        let result = store.tenant(TENANT).await;
        assert!(matches!(result, Err(StoreError::Unavailable(_))), "{result:?}");
        // It heals by itself.
        run(format!("ALTER DATABASE {database} ALLOW_CONNECTIONS true")).await;
        store.probe_write().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn webhooks_are_stored_though_their_connection_broke() {
    with_database(async |url| {
        let (clock, ids) = env(1);
        let store: Arc<dyn Store> = Arc::new(PostgresStore::connect(url, options(&clock)).await.unwrap());
        let w = World { store, clock, ids };
        let item = w.new_webhook(TENANT, "app");
        assert_eq!(w.receive_item(&item).await, StoredInbox::New);
        let mut admin = PgConnection::connect(url).await.unwrap();
        let ended: Vec<bool> = sqlx::query_scalar(
            "SELECT pg_terminate_backend(pid)
             FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        .fetch_all(&mut admin)
        .await
        .unwrap();
        assert!(ended.contains(&true));
        assert_eq!(w.receive_item(&w.new_webhook(TENANT, "app")).await, StoredInbox::New);
    })
    .await;
}

#[tokio::test]
async fn a_statement_has_a_time_limit() {
    with_database(async |url| {
        let options = Options {
            allow_unsafe_durability: true,
            ..Options::default()
        };
        let store: &dyn Store = &PostgresStore::connect(url, options).await.unwrap();
        let mut admin = PgConnection::connect(url).await.unwrap();
        let mut tx = admin.begin().await.unwrap();
        sqlx::query("UPDATE probe SET at = now()")
            .execute(&mut *tx)
            .await
            .unwrap();
        // It waits for the row until the server ends it.
        let result = store.probe_write().await;
        assert!(matches!(result, Err(StoreError::Unavailable(_))), "{result:?}");
    })
    .await;
}

/// The names of the migration files.
fn migrations() -> Vec<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../migrations/sqlite");
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .map(|name| name.strip_suffix(".sql").unwrap().to_owned())
        .collect();
    names.sort_unstable();
    names
}
