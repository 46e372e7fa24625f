//! Every statement that the suite makes the stores run is explained: it reads through an index, and every index serves
//! a statement, a rule or a foreign key. Statements are taken from the driver's own log, so none is forgotten.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex},
};

use patchbay_store::{Options, sqlite::SqliteStore};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, SqliteConnection};
use tracing_subscriber::{Layer, filter::LevelFilter, layer::Context, prelude::*};

use crate::{
    harness::{on_postgres, on_sqlite, with_database},
    suite::CASES,
};

/// Tables that do not grow with use.
const SMALL: [&str; 3] = ["tenants", "data_keys", "probe"];

/// These run once, when a host starts. The first stops at the first sealed value that it meets.
const AT_START: [&str; 3] = [
    "SELECT EXISTS (SELECT 1 FROM accounts WHERE tokens IS NOT NULL)",
    "UPDATE accounts SET refresh_holder = NULL, refresh_until = NULL WHERE refresh_until IS NOT NULL",
    "UPDATE uploads SET lease_until = NULL WHERE lease_until IS NOT NULL",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sqlite_reads_through_indexes() {
    let recorder = Recorder::start();
    for case in CASES {
        on_sqlite(case).await;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("test.db");
    drop(SqliteStore::open(&path, Options::default()).await.unwrap());
    let mut db = SqliteConnection::connect(&format!("sqlite:{}", path.display()))
        .await
        .unwrap();

    let mut report = Report::default();
    for sql in recorder.statements(Side::Sqlite) {
        let rows = sqlx::raw_sql(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")))
            .fetch_all(&mut db)
            .await
            .unwrap_or_else(|error| panic!("{error}: {sql}"));
        for row in rows {
            let detail: String = row.get("detail");
            let words: Vec<_> = detail.split_whitespace().collect();
            if let Some(at) = words.iter().position(|word| *word == "INDEX") {
                report.used.insert(words[at + 1].to_owned());
            }
            // A scan of an index is a scan. What a statement has gathered by itself is not a table.
            let is_given = detail.ends_with("VALUES CLAUSE");
            if words[0] == "SCAN"
                && !is_given
                && !["CONSTANT", "json_each", "value", "first", "turns", "due", "part"].contains(&words[1])
            {
                report.scan(&sql, words[1], &detail);
            }
            if detail.contains("TEMP B-TREE") && sql.contains("LIMIT") && !sorts_few(&sql) {
                report.bad.push(format!("sorts before it limits: {sql}"));
            }
        }
    }
    let indexes = sqlx::query("SELECT name, sql LIKE 'CREATE UNIQUE%' AS rule FROM sqlite_master WHERE type = 'index'")
        .fetch_all(&mut db)
        .await
        .unwrap();
    for row in indexes {
        let name: String = row.get("name");
        let rule: Option<bool> = row.get("rule");
        // Without text: of a primary key.
        report.index(&name, rule.unwrap_or(true));
    }
    report.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn postgres_reads_through_indexes() {
    let recorder = Recorder::start();
    for case in CASES {
        on_postgres(case).await;
    }
    let statements = recorder.statements(Side::Postgres);
    with_database(async |url| {
        patchbay_store::migrate(url).await.unwrap();
        let mut db = PgConnection::connect(url).await.unwrap();
        sqlx::raw_sql(FILL).execute(&mut db).await.unwrap();
        // A plan for any values, as after the fifth run; a scan only where there is no other way.
        sqlx::raw_sql("ANALYZE; SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off")
            .execute(&mut db)
            .await
            .unwrap();
        let mut report = Report::default();
        for sql in &statements {
            match explain(&mut db, sql).await {
                Ok(plan) => report.read_plan(sql, &plan[0]["Plan"]),
                Err(error) => report.bad.push(format!("{error}: {sql}")),
            }
        }
        let indexes = sqlx::query(
            "SELECT indexrelid::regclass::text AS name, indisunique AS rule
             FROM pg_index
             WHERE indrelid::regclass::text NOT LIKE 'pg_%' AND indrelid::regclass::text <> '_sqlx_migrations'",
        )
        .fetch_all(&mut db)
        .await
        .unwrap();
        for row in indexes {
            report.index(row.get("name"), row.get("rule"));
        }
        report.finish();
    })
    .await;
}

/// A foreign key without an index makes every change of its parent read the whole child.
#[tokio::test]
async fn every_foreign_key_has_an_index_and_a_rule() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("test.db");
    drop(SqliteStore::open(&path, Options::default()).await.unwrap());
    let mut db = SqliteConnection::connect(&format!("sqlite:{}", path.display()))
        .await
        .unwrap();
    let keys = sqlx::query(
        "SELECT m.name AS child, k.id, group_concat(k.\"from\") AS columns, k.on_delete
         FROM sqlite_master AS m, pragma_foreign_key_list(m.name) AS k
         WHERE m.type = 'table'
         GROUP BY m.name, k.id",
    )
    .fetch_all(&mut db)
    .await
    .unwrap();
    assert!(keys.len() > 8);
    for key in keys {
        let (child, columns): (String, String) = (key.get("child"), key.get("columns"));
        let rule: String = key.get("on_delete");
        assert!(
            ["CASCADE", "RESTRICT"].contains(&rule.as_str()),
            "{child} ({columns}): {rule}"
        );
        let indexes: Vec<String> = sqlx::query_scalar(
            "SELECT group_concat(i.name)
             FROM pragma_index_list($1) AS l, pragma_index_info(l.name) AS i
             GROUP BY l.name",
        )
        .bind(&child)
        .fetch_all(&mut db)
        .await
        .unwrap();
        assert!(
            indexes
                .iter()
                .any(|index| format!("{index},").starts_with(&format!("{columns},"))),
            "no index of {child} starts with ({columns}): {indexes:?}"
        );
    }
}

/// Sorting what is few by nature: the posts of one platform id, the accounts of one platform account in several
/// tenants, the journal of one post.
fn sorts_few(sql: &str) -> bool {
    sql.contains("FROM post_remote_ids") || sql.contains("ORDER BY CASE WHEN status") || sql.contains("FROM commits")
}

/// The plan of a statement for any values. It tells the types of its parameters by itself, or casts them.
async fn explain(db: &mut PgConnection, sql: &str) -> Result<Value, sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(format!("PREPARE explained AS {sql}")))
        .execute(&mut *db)
        .await?;
    let count: i32 =
        sqlx::query_scalar("SELECT cardinality(parameter_types) FROM pg_prepared_statements WHERE name = 'explained'")
            .fetch_one(&mut *db)
            .await?;
    let values = vec!["NULL"; usize::try_from(count).unwrap()].join(", ");
    let values = if values.is_empty() {
        values
    } else {
        format!("({values})")
    };
    let row = sqlx::raw_sql(AssertSqlSafe(format!(
        "EXPLAIN (FORMAT JSON) EXECUTE explained{values}"
    )))
    .fetch_one(&mut *db)
    .await?;
    sqlx::raw_sql("DEALLOCATE explained").execute(db).await?;
    Ok(row.get::<sqlx::types::Json<Value>, _>(0).0)
}

#[derive(Default)]
struct Report {
    used: BTreeSet<String>,
    bad: Vec<String>,
}

impl Report {
    fn scan(&mut self, sql: &str, table: &str, how: &str) {
        if !SMALL.contains(&table) && !AT_START.iter().any(|start| sql.starts_with(start)) {
            self.bad.push(format!("{how}: {sql}"));
        }
    }

    /// Walks a plan of PostgreSQL.
    fn read_plan(&mut self, sql: &str, node: &Value) {
        let kind = node["Node Type"].as_str().unwrap_or_default();
        if let Some(index) = node["Index Name"].as_str() {
            self.used.insert(index.to_owned());
            // That one holds the jobs under way alone: as many as there are workers.
            if node.get("Index Cond").is_none() && index != "jobs_running_key" {
                let table = node["Relation Name"].as_str().unwrap_or(index);
                self.scan(sql, table, &format!("whole index {index}"));
            }
        }
        if kind == "Seq Scan" {
            self.scan(sql, node["Relation Name"].as_str().unwrap_or_default(), "Seq Scan");
        }
        for child in node["Plans"].as_array().into_iter().flatten() {
            self.read_plan(sql, child);
        }
    }

    fn index(&mut self, name: &str, is_rule: bool) {
        // Serves its foreign key; a tenant has few.
        let is_for_key = name == "data_keys_tenant";
        if !is_rule && !is_for_key && !self.used.contains(name) {
            self.bad.push(format!("index {name} serves no statement"));
        }
    }

    fn finish(self) {
        assert!(!self.used.is_empty(), "nothing was recorded");
        assert!(self.bad.is_empty(), "\n{}", self.bad.join("\n\n"));
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    Sqlite,
    Postgres,
}

/// Keeps the text of every statement that the drivers log.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<BTreeMap<Side, BTreeSet<String>>>>);

impl Recorder {
    fn start() -> Self {
        let recorder = Self::default();
        // The drivers work in threads of their own, so it must hear them all.
        tracing_subscriber::registry()
            .with(recorder.clone().with_filter(LevelFilter::DEBUG))
            .try_init()
            .expect("one recorder a process: run the tests with nextest");
        recorder
    }

    /// What can be explained: not the drivers' own housekeeping, and not the migrations.
    fn statements(&self, side: Side) -> Vec<String> {
        let all = self.0.lock().unwrap();
        let kinds = ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH"];
        all.get(&side)
            .into_iter()
            .flatten()
            .filter(|sql| kinds.iter().any(|kind| sql.starts_with(kind)))
            .filter(|sql| !sql.contains("_sqlx_migrations"))
            .cloned()
            .collect()
    }
}

impl<S: tracing_subscriber::registry::LookupSpan<'static> + tracing::Subscriber> Layer<S> for Recorder {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() != "sqlx::query" {
            return;
        }
        let mut text = Text::default();
        event.record(&mut text);
        let sql = if text.statement.trim().is_empty() {
            text.summary
        } else {
            text.statement
        };
        let in_sqlite = std::thread::current()
            .name()
            .is_some_and(|name| name.starts_with("sqlx-sqlite"));
        let side = if in_sqlite { Side::Sqlite } else { Side::Postgres };
        self.0
            .lock()
            .unwrap()
            .entry(side)
            .or_default()
            .insert(sql.trim().to_owned());
    }
}

#[derive(Default)]
struct Text {
    summary: String,
    statement: String,
}

impl tracing::field::Visit for Text {
    fn record_str(&mut self, field: &tracing::field::Field, value: &str) {
        match field.name() {
            "summary" => value.clone_into(&mut self.summary),
            "db.statement" => value.clone_into(&mut self.statement),
            _ => {}
        }
    }

    fn record_debug(&mut self, _: &tracing::field::Field, _: &dyn fmt::Debug) {}
}

/// Some thousand rows in each table that grows, spread as in use.
const FILL: &str = "
    INSERT INTO tenants (id, name)
    SELECT md5('tenant' || n)::uuid, 'tenant ' || n FROM generate_series(1, 20) AS n;

    INSERT INTO api_keys (id, tenant_id, name, public_id, secret_hash, scopes, created_at)
    SELECT md5('key' || n)::uuid, md5('tenant' || (n % 20 + 1))::uuid, 'key', 'public ' || n, '', '[]',
        now() - n * INTERVAL '1 minute'
    FROM generate_series(1, 2000) AS n;

    INSERT INTO accounts
        (tenant_id, id, owner, provider, client_id, remote_id, scopes, status, simulated, token_version, connected_at,
         created_at, updated_at)
    SELECT md5('tenant' || (n % 20 + 1))::uuid, md5('account' || n)::uuid, 'owner ' || n % 500, 'provider-' || n % 4,
        'app', 'remote ' || n, '[]', 'active', FALSE, 1, now(), now() - n * INTERVAL '1 minute', now()
    FROM generate_series(1, 3000) AS n;

    INSERT INTO operator_sessions (token_hash, public_id, started_at, seen_at)
    SELECT sha256(n::text::bytea), 'public', now() - n * INTERVAL '1 minute', now() FROM generate_series(1, 2000) AS n;

    INSERT INTO sessions (id, tenant_id, owner, provider, token_hash, expires_at)
    SELECT md5('session' || n)::uuid, md5('tenant' || (n % 20 + 1))::uuid, 'owner', 'provider', md5(n::text)::bytea,
        now() + n * INTERVAL '1 second'
    FROM generate_series(1, 2000) AS n;

    INSERT INTO flows
        (id, tenant_id, owner, provider, state_hash, cookie_hash, sealed, scopes, redirect_uri, return_to, activate,
         expires_at)
    SELECT md5('flow' || n)::uuid, md5('tenant' || (n % 20 + 1))::uuid, 'owner', 'provider', md5(n::text)::bytea, '',
        '', '[]', '', '', FALSE, now() + n * INTERVAL '1 second'
    FROM generate_series(1, 2000) AS n;

    INSERT INTO posts
        (tenant_id, id, account_id, provider, simulated, status, content, step, remote_ref, publication, tries,
         cancel_requested, idempotency_key, fingerprint, correlation_id, created_at, updated_at, finished_at)
    SELECT a.tenant_id, md5('post' || a.id || n)::uuid, a.id, a.provider, FALSE,
        (ARRAY['published', 'published', 'published', 'failed', 'queued', 'publishing'])[n], '{}', 0,
        'ref ' || a.id || n, '{}', 0, FALSE, 'key ' || a.id || n, '', '', a.created_at + n * INTERVAL '1 second', now(),
        CASE WHEN n < 5 THEN a.created_at + n * INTERVAL '1 minute' END
    FROM accounts AS a, generate_series(1, 6) AS n;

    INSERT INTO post_remote_ids (tenant_id, post_id, remote_id, account_id)
    SELECT tenant_id, id, 'video ' || id, account_id FROM posts WHERE status = 'published';

    INSERT INTO metric_watches (tenant_id, post_id, account_id, since, next_at, unchanged, counts, missing)
    SELECT tenant_id, id, account_id, created_at, created_at, 0, '{}', '{}' FROM posts;

    INSERT INTO metric_readings (tenant_id, id, post_id, read_at, counts)
    SELECT tenant_id, id, id, created_at, '{}' FROM posts;

    INSERT INTO commits (tenant_id, post_id, step, op, about_to_at, answered_at, answer_status)
    SELECT tenant_id, id, 1, 'op', created_at, now(), CASE WHEN id::text < '01' THEN 500 ELSE 200 END
    FROM posts WHERE status = 'published';

    INSERT INTO observations (id, tenant_id, post_id, step, source, outcome, observed_at)
    SELECT id, tenant_id, id, 1, 'platform', 'happened', now() FROM posts;

    INSERT INTO pull_urls (token_hash, tenant_id, post_id, step, media_id, expires_at)
    SELECT sha256(id::text::bytea), tenant_id, id, 1, id, created_at FROM posts;

    INSERT INTO slot_waits (tenant_id, subject, bucket, post_tenant_id, post_id, places, since, due_at)
    SELECT tenant_id, account_id::text, 'init', tenant_id, id, 6, created_at, now() FROM posts;

    INSERT INTO slot_pauses (tenant_id, subject, bucket, until)
    SELECT tenant_id, id::text, 'init', created_at FROM accounts;

    INSERT INTO inbox
        (id, tenant_id, provider, client_id, scheme, digest, body, received_at, correlation_id)
    SELECT md5('inbox' || n)::uuid, md5('tenant' || (n % 20 + 1))::uuid, 'provider', 'app', '', md5(n::text)::bytea,
        '', now(), ''
    FROM generate_series(1, 3000) AS n;

    INSERT INTO events
        (id, tenant_id, provider, client_id, name, dedupe_key, account_id, post_id, occurred_at, recorded_at, payload)
    SELECT md5('event' || id)::uuid, tenant_id, provider, 'app', CASE WHEN id::text < '1' THEN 'account.reauth_required' ELSE 'event' END, id::text, account_id, id, now(), created_at,
        '{}'
    FROM posts;

    INSERT INTO webhook_endpoints
        (tenant_id, id, url, events, secret, secret_version, status, created_at, updated_at)
    SELECT md5('tenant' || (n % 20 + 1))::uuid, md5('endpoint' || n)::uuid, 'https://hooks.example.com/', '[]', '', 1,
        'enabled', now() - n * INTERVAL '1 minute', now()
    FROM generate_series(1, 2000) AS n;

    INSERT INTO deliveries
        (tenant_id, id, endpoint_id, event_id, status, attempts, created_at, finished_at)
    SELECT e.tenant_id, e.id, (SELECT w.id FROM webhook_endpoints AS w WHERE w.tenant_id = e.tenant_id LIMIT 1), e.id,
        'delivered', 1, e.recorded_at, e.recorded_at
    FROM events AS e;

    INSERT INTO slots (id, tenant_id, subject, bucket, post_id, frees_at)
    SELECT md5('slot' || id)::uuid, tenant_id, account_id::text, 'bucket', id, created_at FROM posts;

    INSERT INTO media (tenant_id, id, info, size_bytes, sha256, created_at, expires_at)
    SELECT md5('tenant' || (n % 20 + 1))::uuid, md5('media' || n)::uuid, '{}', 1, '', now(),
        now() + n * INTERVAL '1 second'
    FROM generate_series(1, 3000) AS n;

    INSERT INTO uploads (tenant_id, id, size_bytes, offset_bytes, digest, fence, created_at, expires_at)
    SELECT md5('tenant' || (n % 20 + 1))::uuid, md5('upload' || n)::uuid, 1, 0, '', 0, now(),
        now() + n * INTERVAL '1 second'
    FROM generate_series(1, 3000) AS n;

    INSERT INTO jobs
        (id, tenant_id, kind, target, status, concurrency_key, run_at, due_at, attempts, fence, correlation_id,
         created_at, finished_at)
    SELECT md5('job' || id)::uuid, tenant_id, 'publish', id,
        CASE status WHEN 'queued' THEN 'ready' WHEN 'failed' THEN 'dead' ELSE 'done' END, account_id::text,
        created_at, created_at, 0, 0, '', created_at, created_at
    FROM posts;

    INSERT INTO jobs
        (id, tenant_id, kind, target, status, run_at, due_at, attempts, fence, correlation_id, created_at)
    SELECT md5('job' || id)::uuid, tenant_id, 'ingest', id, 'ready', now(), now(), 0, 0, '', now()
    FROM inbox;

    UPDATE jobs SET status = 'running'
    FROM (SELECT target FROM jobs WHERE status = 'ready' LIMIT 200) AS part
    WHERE jobs.target = part.target;
";
