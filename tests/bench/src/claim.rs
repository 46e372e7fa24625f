//! What a claim costs while finished jobs pile up: the same work on a queue that has ended few jobs, and on one that has
//! ended millions.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::ensure;
use patchbay_app::{
    model::JobKind,
    store::{Claim, JobEnd, Store},
};
use patchbay_core::TenantId;
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};

use crate::{
    Effort,
    measurement::{Measurement, Wanted, median},
    postgres::{self, Postgres},
};

/// Finished jobs of the two queues.
const FEW: f64 = 10_000.0;
const MANY: f64 = 5_000_000.0;
/// Jobs of each kind that are claimed and ended in a run.
const CYCLES: f64 = 2_000.0;
/// For a claim to be sure to last.
const LEASE: Duration = Duration::from_secs(30);
/// A kind that is claimed by turns, and one that is claimed in the order of time.
const KINDS: [JobKind; 2] = [JobKind::Publish, JobKind::Ingest];

/// `claim_cost_growth_10k_to_5m`.
pub async fn growth(effort: Effort) -> anyhow::Result<Measurement> {
    let scaled = |count: f64| (count * effort.scale).ceil() as u64;
    let (few, many, cycles) = (scaled(FEW), scaled(MANY), scaled(CYCLES));

    let server = Postgres::start().await?;
    let small = Queue::on_postgres(&server, "few", few).await?;
    let large = Queue::on_postgres(&server, "many", many).await?;
    let name = "claim_cost_growth_10k_to_5m";
    let found = Measurement::of_pairs(
        name,
        Wanted::AtMost(1.3),
        "µs a claim and its end",
        effort.pairs,
        async || small.work_off(cycles).await,
        async || large.work_off(cycles).await,
    )
    .await?;
    let described = server.describe().await?;
    drop((small, large, server));

    let dir = tempfile::tempdir()?;
    let small = Queue::on_sqlite(&dir.path().join("few.db"), few).await?;
    let large = Queue::on_sqlite(&dir.path().join("many.db"), many).await?;
    let mut on_sqlite = (Vec::new(), Vec::new());
    for _ in 0..effort.pairs {
        on_sqlite.0.push(small.work_off(cycles).await?);
        on_sqlite.1.push(large.work_off(cycles).await?);
    }
    let ratios: Vec<_> = on_sqlite
        .1
        .iter()
        .zip(&on_sqlite.0)
        .map(|(many, few)| many / few)
        .collect();
    Ok(found
        .note("finished jobs", format!("{few} and {many}"))
        .note(
            "database",
            format!("{described}; synchronous_commit off for these queues"),
        )
        .note(
            "the same on SQLite",
            format!(
                "{:.2} ({:.0} and {:.0} µs)",
                median(&ratios),
                median(&on_sqlite.1),
                median(&on_sqlite.0)
            ),
        ))
}

/// A store, and the way to put jobs into it by the thousand.
struct Queue {
    store: Arc<dyn Store>,
    url: String,
}

impl Queue {
    async fn on_postgres(server: &Postgres, database: &str, finished: u64) -> anyhow::Result<Self> {
        let url = server.create(database).await?;
        // Else the disk's time would hide the claim's.
        let mut connection = PgConnection::connect(&server.url("postgres")).await?;
        let off = format!("ALTER DATABASE {database} SET synchronous_commit = off");
        postgres::execute(&mut connection, off).await?;
        Self::open(url, finished).await
    }

    async fn on_sqlite(file: &Path, finished: u64) -> anyhow::Result<Self> {
        Self::open(format!("sqlite:{}", file.display()), finished).await
    }

    async fn open(url: String, finished: u64) -> anyhow::Result<Self> {
        patchbay_store::migrate(&url).await?;
        Self::put(&url, finished, "done").await?;
        let options = patchbay_store::Options {
            allow_unsafe_durability: true,
            ..patchbay_store::Options::default()
        };
        let store = patchbay_store::open(&url, options).await?;
        Ok(Self { store, url })
    }

    /// Claims and ends so many jobs of each kind, one at a time. Gives the time of one, in microseconds.
    async fn work_off(&self, cycles: u64) -> anyhow::Result<f64> {
        Self::put(&self.url, cycles, "ready").await?;
        let started = Instant::now();
        for kind in KINDS {
            let mut after: Option<TenantId> = None;
            for _ in 0..cycles {
                let claim = Claim {
                    kind,
                    limit: 1,
                    lease: LEASE,
                    after,
                    except: &[],
                };
                // As a worker does it.
                let abandoned = self.store.take_over(kind, LEASE).await?;
                ensure!(abandoned.is_none(), "a lease ran out");
                let jobs = self.store.claim_jobs(claim).await?;
                ensure!(jobs.len() == 1, "{} jobs where one is due", jobs.len());
                after = Some(jobs[0].tenant);
                ensure!(
                    self.store.end_job(jobs[0].lease(), &JobEnd::Done).await?,
                    "a lease was lost"
                );
            }
        }
        let each = started.elapsed() / u32::try_from(cycles)? / u32::try_from(KINDS.len())?;
        Ok(each.as_secs_f64() * 1e6)
    }

    /// Puts in jobs, then brings the tables in order, as the databases themselves would in time.
    async fn put(url: &str, count: u64, status: &str) -> anyhow::Result<()> {
        if url.starts_with("sqlite:") {
            let mut connection = SqliteConnection::connect(url).await?;
            sqlx::raw_sql(AssertSqlSafe(jobs_of_sqlite(count, status)))
                .execute(&mut connection)
                .await?;
            return Ok(());
        }
        let mut connection = PgConnection::connect(url).await?;
        postgres::execute(&mut connection, jobs_of_postgres(count, status)).await?;
        postgres::execute(&mut connection, "VACUUM ANALYZE jobs".to_owned()).await?;
        postgres::execute(&mut connection, "CHECKPOINT".to_owned()).await
    }
}

/// Finished jobs: nine webhooks in ten, ended over thirty days, one in a thousand dead. Ready ones: as many of either
/// kind, of eight tenants with a hundred accounts each.
fn jobs_of_postgres(count: u64, status: &str) -> String {
    let columns = "id, tenant_id, kind, target, status, concurrency_key, run_at, due_at, attempts, fence, \
                   correlation_id, created_at, finished_at";
    if status == "ready" {
        return format!(
            "INSERT INTO jobs ({columns})
             SELECT gen_random_uuid(), ('00000000-0000-7000-8000-00000000000' || n % 8)::uuid, kind, gen_random_uuid(),
                 'ready', CASE kind WHEN 'publish' THEN 'account-' || n % 100 END, now() - interval '1 minute',
                 now() - interval '1 minute', 0, 0, 'req_bench', now(), NULL
             FROM generate_series(1, {count}) AS n, unnest(ARRAY['publish', 'ingest']) AS kind"
        );
    }
    format!(
        "INSERT INTO jobs ({columns})
         SELECT lpad(to_hex(n), 32, '0')::uuid, '00000000-0000-7000-8000-000000000001',
             CASE n % 10 WHEN 0 THEN 'publish' ELSE 'ingest' END, gen_random_uuid(),
             CASE n % 1000 WHEN 0 THEN 'dead' ELSE 'done' END,
             CASE n % 10 WHEN 0 THEN 'account-' || n % 100 END, at, at, 1, 1, 'req_bench', at, at
         FROM (
             SELECT n, now() - interval '30 days' * (1 - n::float / {count}) AS at
             FROM generate_series(1, {count}) AS n) AS ended"
    )
}

/// The same for SQLite.
fn jobs_of_sqlite(count: u64, status: &str) -> String {
    let columns = "id, tenant_id, kind, target, status, concurrency_key, run_at, due_at, attempts, fence, \
                   correlation_id, created_at, finished_at";
    let numbers = format!(
        "WITH RECURSIVE numbers (n) AS (
             SELECT 1
             UNION ALL
             SELECT n + 1 FROM numbers WHERE n < {count})"
    );
    let now = "CAST(unixepoch('subsec') * 1000000 AS INTEGER)";
    if status == "ready" {
        return format!(
            "{numbers}
             INSERT INTO jobs ({columns})
             SELECT randomblob(16), unhex('0000000000007000800000000000000' || (n % 8)), kind, randomblob(16), 'ready',
                 CASE kind WHEN 'publish' THEN 'account-' || n % 100 END, {now} - 60000000, {now} - 60000000, 0, 0,
                 'req_bench', {now}, NULL
             FROM numbers, (SELECT 'publish' AS kind UNION ALL SELECT 'ingest');
             ANALYZE"
        );
    }
    format!(
        "{numbers}
         INSERT INTO jobs ({columns})
         SELECT unhex(printf('%032x', n)), x'00000000000070008000000000000001',
             CASE n % 10 WHEN 0 THEN 'publish' ELSE 'ingest' END, randomblob(16),
             CASE n % 1000 WHEN 0 THEN 'dead' ELSE 'done' END,
             CASE n % 10 WHEN 0 THEN 'account-' || n % 100 END, at, at, 1, 1, 'req_bench', at, at
         FROM (SELECT n, {now} - CAST(2592000000000 * (1 - CAST(n AS REAL) / {count}) AS INTEGER) AS at FROM numbers);
         ANALYZE"
    )
}
