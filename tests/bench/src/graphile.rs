//! graphile_worker, the queue of crates.io that draining is held against.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use graphile_worker::{IntoTaskHandlerResult, LocalQueueConfig, TaskHandler, Worker, WorkerContext, WorkerOptions};
use serde::{Deserialize, Serialize};
use sqlx::{Connection, PgConnection, PgPool, postgres::PgPoolOptions};
use tokio::task::JoinHandle;

use crate::{
    drain::{ACCOUNT, POSTS, TENANT},
    postgres::execute,
    webhooks::CLIENT_KEY,
};

/// How often it looks for jobs.
const POLL: Duration = Duration::from_millis(5);
/// Jobs at once, as in its guide's example for throughput. Its default is the number of processors.
const CONCURRENCY: usize = 16;
/// Jobs that are fetched together, where they are.
const LOCAL_QUEUE: usize = 500;
/// Connections: its own default.
const CONNECTIONS: u32 = 20;
/// Longest wait for a backlog.
const PATIENCE: Duration = Duration::from_secs(600);

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Stores one event, in a transaction of its own. Jobs are claimed one at a time.
    Effect,
    /// Nothing. Jobs come through the local queue.
    Nothing,
}

/// A running worker in this process.
pub struct Graphile {
    worker: Arc<Worker>,
    running: JoinHandle<anyhow::Result<()>>,
    done: Done,
    pool: PgPool,
    task: Task,
}

#[derive(Debug, Clone, Default)]
struct Done(Arc<AtomicU64>);

#[derive(Deserialize, Serialize)]
struct StoreEvent {
    post: u64,
    number: u64,
}

impl TaskHandler for StoreEvent {
    const IDENTIFIER: &'static str = "store_event";

    async fn run(self, ctx: WorkerContext) -> impl IntoTaskHandlerResult {
        // The same row as the host writes, into the same table; it is not asked to find account and post.
        let stored = sqlx::query(
            "INSERT INTO events
                 (id, tenant_id, provider, client_id, name, dedupe_key, account_id, occurred_at, recorded_at, payload)
             VALUES (gen_random_uuid(), $1::uuid, 'tiktok', $2, 'post.publish.complete', $3, $4::uuid, now(), now(), $5)
             ON CONFLICT (provider, client_id, dedupe_key) WHERE client_id IS NOT NULL DO NOTHING",
        )
        .bind(TENANT)
        .bind(CLIENT_KEY)
        .bind(format!("{} {}", self.post, self.number))
        .bind(ACCOUNT)
        .bind(serde_json::json!({ "publish_id": self.post, "publish_type": "DIRECT_PUBLISH" }))
        .execute(ctx.pg_pool())
        .await
        .map_err(|error| error.to_string())?;
        count(&ctx);
        if stored.rows_affected() == 1 {
            Ok(())
        } else {
            Err("the event was there already".to_owned())
        }
    }
}

#[derive(Deserialize, Serialize)]
struct DoNothing {
    number: u64,
}

impl TaskHandler for DoNothing {
    const IDENTIFIER: &'static str = "do_nothing";

    async fn run(self, ctx: WorkerContext) -> impl IntoTaskHandlerResult {
        count(&ctx);
        Ok::<(), String>(())
    }
}

fn count(ctx: &WorkerContext) {
    if let Some(Done(done)) = ctx.get_ext() {
        done.fetch_add(1, Ordering::Relaxed);
    }
}

/// What it is, and how it is set.
pub fn describe(task: Task) -> String {
    let claims = match task {
        Task::Effect => "one job a claim".to_owned(),
        Task::Nothing => format!("local queue of {LOCAL_QUEUE}"),
    };
    format!(
        "graphile_worker 0.14.1, {claims}, {} ms poll, {CONCURRENCY} jobs at once",
        POLL.as_millis()
    )
}

impl Graphile {
    /// Starts one on a database that has the host's tables.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start(url: &str, task: Task) -> anyhow::Result<Self> {
        let pool = PgPoolOptions::new().max_connections(CONNECTIONS).connect(url).await?;
        let done = Done::default();
        let options = WorkerOptions::default()
            .pg_pool(pool.clone())
            .concurrency(CONCURRENCY)
            .poll_interval(POLL)
            .listen_os_shutdown_signals(false)
            .add_extension(done.clone())
            .define_job::<StoreEvent>()
            .define_job::<DoNothing>();
        let options = match task {
            Task::Effect => options,
            Task::Nothing => options.local_queue(LocalQueueConfig::default().with_size(LOCAL_QUEUE)),
        };
        let worker = Arc::new(options.init().await.context("starting graphile_worker")?);
        let runner = worker.clone();
        let running = tokio::spawn(async move { Ok(runner.run().await?) });
        Ok(Self {
            worker,
            running,
            done,
            pool,
            task,
        })
    }

    /// Gives it so many jobs at one instant. Returns how many a second it works off.
    ///
    /// # Errors
    /// It does not come to an end.
    pub async fn drain(&self, jobs: u64) -> anyhow::Result<f64> {
        let mut connection = self.pool.acquire().await?;
        execute(
            &mut connection,
            "TRUNCATE events, graphile_worker._private_jobs CASCADE".to_owned(),
        )
        .await?;
        self.done.0.store(0, Ordering::Relaxed);
        let started = self.put(&mut connection, jobs).await?;
        while self.done.0.load(Ordering::Relaxed) < jobs || self.is_open(&mut connection).await? {
            ensure!(
                started.elapsed() < PATIENCE,
                "graphile_worker does not work off its jobs"
            );
            ensure!(!self.running.is_finished(), "graphile_worker has ended");
            tokio::time::sleep(POLL).await;
        }
        let rate = jobs as f64 / started.elapsed().as_secs_f64();
        let events: i64 = sqlx::query_scalar("SELECT count(*) FROM events")
            .fetch_one(&mut *connection)
            .await?;
        let wanted = if self.task == Task::Effect { jobs } else { 0 };
        ensure!(
            u64::try_from(events) == Ok(wanted),
            "{events} events instead of {wanted}"
        );
        Ok(rate)
    }

    /// Ends it.
    ///
    /// # Errors
    /// It had failed.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.worker.request_shutdown();
        self.running.await?
    }

    async fn put(&self, connection: &mut PgConnection, jobs: u64) -> anyhow::Result<Instant> {
        let (name, payload) = match self.task {
            Task::Effect => (StoreEvent::IDENTIFIER, format!("'post', n % {POSTS}, 'number', n")),
            Task::Nothing => (DoNothing::IDENTIFIER, "'number', n".to_owned()),
        };
        let mut tx = connection.begin().await?;
        execute(
            &mut tx,
            format!(
                "SELECT count(*)
                 FROM graphile_worker.add_jobs((
                     SELECT array_agg(
                         ('{name}', json_build_object({payload}), NULL, NULL, NULL, NULL, NULL, NULL)
                             ::graphile_worker.job_spec)
                     FROM generate_series(1, {jobs}) AS n));
                 ANALYZE graphile_worker._private_jobs"
            ),
        )
        .await?;
        let started = Instant::now();
        tx.commit().await?;
        Ok(started)
    }

    async fn is_open(&self, connection: &mut PgConnection) -> anyhow::Result<bool> {
        let open = sqlx::query_scalar("SELECT EXISTS (SELECT FROM graphile_worker._private_jobs)");
        Ok(open.fetch_one(connection).await?)
    }
}
