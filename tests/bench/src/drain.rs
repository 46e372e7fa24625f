//! How fast a backlog is worked off: stored webhooks by a host's workers, and as many jobs by graphile_worker.
//!
//! Workers run before the backlog is there. It appears at one instant, by the commit of one transaction, and the time
//! runs from there to the end of the last job.

use std::time::{Duration, Instant};

use anyhow::ensure;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tempfile::TempDir;

use crate::{
    Effort, cpu,
    graphile::{self, Graphile, Task},
    host::{Host, Settings},
    measurement::{Measurement, Wanted},
    ports::free_port,
    postgres::{Postgres, execute},
    webhooks::{CLIENT_KEY, CLIENT_SECRET},
};

/// Jobs of a run, unless scaled.
const JOBS: f64 = 20_000.0;
/// Posts that the webhooks speak of.
pub const POSTS: u64 = 1_000;
/// The account of these posts, and how the platform calls it.
pub const ACCOUNT: &str = "00000000-0000-7000-8000-0000000000aa";
const OPEN_ID: &str = "-000bench4mwQxGv9kYd1sT7uNcRb2pLe";
/// The tenant that every installation has.
pub const TENANT: &str = "00000000-0000-7000-8000-000000000001";

/// Longest wait for a backlog.
const PATIENCE: Duration = Duration::from_secs(600);
/// Time between two looks at it.
const LOOK: Duration = Duration::from_millis(10);

/// `drain_vs_graphile_worker`: webhooks that each store an event of a known account and post.
pub async fn vs_graphile_worker(effort: Effort) -> anyhow::Result<Measurement> {
    measure("drain_vs_graphile_worker", Wanted::AtLeast(3.0), Task::Effect, effort).await
}

/// `drain_noop_vs_graphile_local_queue`: webhooks that repeat a known event in other bytes, which leads to nothing.
pub async fn noop_vs_graphile_local_queue(effort: Effort) -> anyhow::Result<Measurement> {
    let name = "drain_noop_vs_graphile_local_queue";
    measure(name, Wanted::AtLeast(0.8), Task::Nothing, effort).await
}

async fn measure(name: &'static str, wanted: Wanted, task: Task, effort: Effort) -> anyhow::Result<Measurement> {
    let count = (JOBS * effort.scale).ceil() as u64;
    let server = Postgres::start().await?;
    let ours = Ours::start(server.create("ours").await?).await?;
    let theirs = server.create("theirs").await?;
    patchbay_store::migrate(&theirs).await?;
    seed(&theirs).await?;
    let before = (ours.host.pid()?, cpu::of_process(ours.host.pid()?)?);
    let found = Measurement::of_pairs(
        name,
        wanted,
        "jobs/s",
        effort.pairs,
        async || {
            // Only while it is measured: it looks for jobs so often that it takes a processor from others.
            let graphile = Graphile::start(&theirs, task).await?;
            let rate = graphile.drain(count).await?;
            graphile.stop().await?;
            Ok(rate)
        },
        async || ours.drain(task, count).await,
    )
    .await?;
    let spent = cpu::of_process(before.0)? - before.1;
    Ok(found
        .note("jobs of a run", count)
        .note("µs of processor a webhook: host", {
            let all = count as f64 * effort.pairs as f64;
            format!("{:.0}", spent.as_secs_f64() * 1e6 / all)
        })
        .note("reference", graphile::describe(task))
        .note("database", server.describe().await?))
}

/// A host with its workers, as it runs by default.
struct Ours {
    host: Host,
    url: String,
    _dir: TempDir,
}

impl Ours {
    async fn start(url: String) -> anyhow::Result<Self> {
        patchbay_store::migrate(&url).await?;
        seed(&url).await?;
        let dir = tempfile::tempdir()?;
        let host = Host::start(Settings {
            port: free_port(),
            dir: dir.path(),
            database: url.clone(),
            client: (CLIENT_KEY, CLIENT_SECRET),
            workers_apart: false,
            more: Vec::new(),
        })
        .await?;
        Ok(Self { host, url, _dir: dir })
    }

    async fn drain(&self, task: Task, count: u64) -> anyhow::Result<f64> {
        let mut connection = PgConnection::connect(&self.url).await?;
        execute(&mut connection, "TRUNCATE inbox, jobs, events, deliveries".to_owned()).await?;
        if task == Task::Nothing {
            // What is to be repeated.
            put_webhooks(&mut connection, POSTS, Task::Effect).await?;
            wait_until_done(&mut connection).await?;
        }
        let started = put_webhooks(&mut connection, count, task).await?;
        wait_until_done(&mut connection).await?;
        let rate = count as f64 / started.elapsed().as_secs_f64();

        let done = "SELECT count(*) FROM jobs WHERE kind = 'ingest' AND status = 'done'";
        let done: i64 = scalar(&mut connection, done).await?;
        ensure!(
            done >= i64::try_from(count)?,
            "{done} of {count} webhooks were worked off"
        );
        let matched = "SELECT count(*) FROM events WHERE account_id IS NOT NULL AND post_id IS NOT NULL";
        let matched: i64 = scalar(&mut connection, matched).await?;
        let wanted = match task {
            Task::Effect => i64::try_from(count)?,
            Task::Nothing => i64::try_from(POSTS)?,
        };
        ensure!(
            matched == wanted,
            "{matched} events with account and post instead of {wanted}"
        );
        Ok(rate)
    }
}

async fn wait_until_done(connection: &mut PgConnection) -> anyhow::Result<()> {
    let started = Instant::now();
    let open = "SELECT EXISTS (SELECT FROM jobs WHERE kind = 'ingest' AND status = 'ready')
                    OR EXISTS (SELECT FROM jobs WHERE kind = 'ingest' AND status = 'running')";
    while scalar::<bool>(connection, open).await? {
        ensure!(started.elapsed() < PATIENCE, "the backlog is not worked off in time");
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// Stores webhooks and their jobs as the host does. Gives the instant at which they are there.
///
/// Each is an event of its own, by its time; or it repeats one of the first of these, one for each post, in other bytes.
async fn put_webhooks(connection: &mut PgConnection, count: u64, task: Task) -> anyhow::Result<Instant> {
    let (mark, time) = match task {
        Task::Effect => ("first", "n".to_owned()),
        Task::Nothing => ("repeat", format!("1 + (n - 1) % {POSTS}")),
    };
    let mut tx = connection.begin().await?;
    execute(
        &mut tx,
        format!(
            "CREATE TEMPORARY TABLE sent ON COMMIT DROP AS
             SELECT gen_random_uuid() AS id, n, convert_to(format(
                 '{{\"client_key\":\"{CLIENT_KEY}\",\"event\":\"post.publish.complete\",\"create_time\":%s,'
                     '\"user_openid\":\"{OPEN_ID}\",\"mark\":\"{mark} %s\",\"content\":'
                     '\"{{\\\"publish_id\\\":\\\"v_pub_file~v2-1.%s\\\",\\\"publish_type\\\":\\\"DIRECT_PUBLISH\\\"}}\"}}',
                 1790000000 + {time}, n, n % {POSTS}), 'UTF8') AS body
             FROM generate_series(1, {count}) AS n;
             INSERT INTO inbox
                 (id, tenant_id, provider, client_id, scheme, digest, body, received_at, correlation_id)
             SELECT id, '{TENANT}', 'tiktok', '{CLIENT_KEY}', 'tiktok', sha256(body), body, now(), 'req_bench'
             FROM sent;
             INSERT INTO jobs
                 (id, tenant_id, kind, target, status, run_at, due_at, attempts, fence, correlation_id, created_at)
             SELECT gen_random_uuid(), '{TENANT}', 'ingest', id, 'ready', now(), now(), 0, 0, 'req_bench', now()
             FROM sent
             ORDER BY n;
             ANALYZE inbox;
             ANALYZE jobs"
        ),
    )
    .await?;
    let started = Instant::now();
    tx.commit().await?;
    Ok(started)
}

/// The account and its posts, published long ago.
async fn seed(url: &str) -> anyhow::Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    execute(
        &mut connection,
        format!(
            "INSERT INTO accounts
                 (tenant_id, id, owner, provider, client_id, remote_id, scopes, status, simulated, token_version,
                  connected_at, created_at, updated_at)
             VALUES ('{TENANT}', '{ACCOUNT}', 'bench', 'tiktok', '{CLIENT_KEY}', '{OPEN_ID}', '[]', 'active', false, 1,
                 now() - interval '1 day', now() - interval '1 day', now() - interval '1 day');
             INSERT INTO posts
                 (tenant_id, id, account_id, provider, simulated, status, content, step, remote_ref, publication, tries,
                  cancel_requested, idempotency_key, fingerprint, correlation_id, created_at, updated_at, finished_at)
             SELECT '{TENANT}', gen_random_uuid(), '{ACCOUNT}', 'tiktok', false, 'published', '{{}}', 3,
                 'v_pub_file~v2-1.' || n, '{{}}', 0, false, 'bench-' || n, '\\x00', 'req_bench', now(), now(), now()
             FROM generate_series(0, {POSTS} - 1) AS n;
             ANALYZE accounts;
             ANALYZE posts"
        ),
    )
    .await
}

async fn scalar<T>(connection: &mut PgConnection, query: &str) -> anyhow::Result<T>
where
    T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
{
    Ok(sqlx::query_scalar(AssertSqlSafe(query.to_owned()))
        .fetch_one(connection)
        .await?)
}
