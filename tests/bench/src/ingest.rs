//! Webhooks a second: a real host under signed load, beside what the database itself can commit, and beside a server
//! as many would write it.

use std::{cell::RefCell, net::SocketAddr, sync::Arc, time::Duration};

use tempfile::TempDir;

use crate::{
    Effort, cpu,
    host::{Host, Settings},
    inbox,
    load::{self, Answers, Load},
    measurement::{Measurement, Wanted, median},
    node::Node,
    pgbench,
    ports::free_port,
    postgres::Postgres,
    single_commits,
    webhooks::{CLIENT_KEY, CLIENT_SECRET, Webhooks},
};

/// More than any host takes in a second here; what is not sent is not counted.
const MOST_PER_SECOND: f64 = 80_000.0;
/// Clients of pgbench where commits are to be as many as possible.
const PGBENCH_CLIENTS: usize = 64;
/// Rows of one statement where the database is to take in as many as possible.
const BATCH_ROWS: usize = 64;

/// Name of a note on SQLite.
pub const STORE_ALONE: &str = "the store alone, 32 and 64 webhooks a commit";

/// `ingest_postgres_vs_pgbench`: 256 connections, beside commits of single rows.
pub async fn postgres_vs_pgbench(effort: Effort) -> anyhow::Result<Measurement> {
    let wanted = Wanted::AtLeast(2.5);
    beside_pgbench("ingest_postgres_vs_pgbench", wanted, effort, 256, 1).await
}

/// `ingest_postgres_vs_batch_limit`: 256 connections, beside commits of 64 rows.
pub async fn postgres_vs_batch_limit(effort: Effort) -> anyhow::Result<Measurement> {
    let wanted = Wanted::AtLeast(0.6);
    beside_pgbench("ingest_postgres_vs_batch_limit", wanted, effort, 256, BATCH_ROWS).await
}

/// `ingest_postgres_64_vs_pgbench`: as many connections as pgbench has, beside commits of single rows.
pub async fn postgres_64_vs_pgbench(effort: Effort) -> anyhow::Result<Measurement> {
    let wanted = Wanted::AtLeast(1.2);
    beside_pgbench("ingest_postgres_64_vs_pgbench", wanted, effort, 64, 1).await
}

/// `ingest_postgres_idle_latency`: one request at a time, beside the commit of a single row.
pub async fn postgres_idle_latency(effort: Effort) -> anyhow::Result<Measurement> {
    let bench = OnPostgres::start().await?;
    let reference = async || {
        let run = pgbench::Run {
            clients: 1,
            rows: 1,
            time: effort.time,
        };
        Ok(median(&bench.pgbench(run).await?.latencies) * 1e3)
    };
    let ours = async || Ok(median(&bench.load_host(1, effort).await?.latencies) * 1e3);
    let name = "ingest_postgres_idle_latency";
    let found = Measurement::of_pairs(name, Wanted::AtMost(1.2), "ms (median)", effort.pairs, reference, ours).await?;
    bench.noted(found).await
}

/// `ingest_postgres_vs_node`: 256 connections, beside a server of two Node processes under the same load.
pub async fn postgres_vs_node(effort: Effort) -> anyhow::Result<Measurement> {
    let bench = OnPostgres::start().await?;
    let node = Node::start(&bench.url).await?;
    let spent: RefCell<Vec<Cost>> = RefCell::default();
    let reference = async || {
        let (answers, cost) = bench.load(node.address(), node.pid()?, 256, effort).await?;
        spent.borrow_mut().push(cost);
        Ok(answers.rate())
    };
    let ours = async || Ok(bench.load_host(256, effort).await?.rate());
    let name = "ingest_postgres_vs_node";
    let found = Measurement::of_pairs(name, Wanted::AtLeast(5.0), "webhooks/s", effort.pairs, reference, ours).await?;
    let found = found
        .note("reference", node.describe())
        .note(COST_OF_REFERENCE, Cost::list(&spent.borrow()));
    bench.noted(found).await
}

/// `ingest_sqlite_vs_single_commit`: 64 connections, beside one connection that commits row after row.
pub async fn sqlite_vs_single_commit(effort: Effort) -> anyhow::Result<Measurement> {
    let reference = async || single_commits::rate(effort.time).await;
    let ours = async || {
        let dir = tempfile::tempdir()?;
        let database = format!("sqlite:{}", dir.path().join("patchbay.db").display());
        let host = start_host(&dir, database.clone()).await?;
        let webhooks = make_webhooks(effort).await?;
        let answers = send(host.address(), 64, webhooks.clone(), effort).await?;
        host.stop().await?;
        inbox::check_sqlite(&database, &webhooks, &answers).await?;
        Ok(answers.rate())
    };
    let name = "ingest_sqlite_vs_single_commit";
    let found = Measurement::of_pairs(name, Wanted::AtLeast(10.0), "webhooks/s", effort.pairs, reference, ours).await?;
    let half = single_commits::store_alone(effort.time, 32).await?;
    let all = single_commits::store_alone(effort.time, 64).await?;
    Ok(found
        .note("database", "SQLite, WAL, synchronous FULL")
        .note(STORE_ALONE, format!("{half:.0} and {all:.0} webhooks/s")))
}

async fn beside_pgbench(
    name: &'static str,
    wanted: Wanted,
    effort: Effort,
    connections: usize,
    rows: usize,
) -> anyhow::Result<Measurement> {
    let bench = OnPostgres::start().await?;
    let reference = async || {
        let run = pgbench::Run {
            clients: PGBENCH_CLIENTS,
            rows,
            time: effort.time,
        };
        Ok(bench.pgbench(run).await?.rate)
    };
    let ours = async || Ok(bench.load_host(connections, effort).await?.rate());
    let found = Measurement::of_pairs(name, wanted, "webhooks/s", effort.pairs, reference, ours).await?;
    bench.noted(found).await
}

/// A host on a server of its own.
struct OnPostgres {
    host: Host,
    url: String,
    server: Postgres,
    spent: RefCell<Vec<Cost>>,
    _dir: TempDir,
}

/// Processor time of one webhook, in microseconds.
struct Cost {
    server: f64,
    database: f64,
    clients: f64,
}

const COST: &str = "µs of processor a webhook: host + database + clients";
const COST_OF_REFERENCE: &str = "the same of the reference";

impl Cost {
    fn list(costs: &[Self]) -> String {
        let shown = costs
            .iter()
            .map(|cost| format!("{:.0}+{:.0}+{:.0}", cost.server, cost.database, cost.clients));
        shown.collect::<Vec<_>>().join(" ")
    }
}

const DATABASE: &str = "bench";

impl OnPostgres {
    async fn start() -> anyhow::Result<Self> {
        let server = Postgres::start().await?;
        let url = server.create(DATABASE).await?;
        let dir = tempfile::tempdir()?;
        let host = start_host(&dir, url.clone()).await?;
        Ok(Self {
            host,
            url,
            server,
            spent: RefCell::default(),
            _dir: dir,
        })
    }

    async fn pgbench(&self, run: pgbench::Run) -> anyhow::Result<pgbench::Commits> {
        inbox::empty_postgres(&self.url).await?;
        pgbench::run(&self.server, DATABASE, run).await
    }

    /// Sends to the host.
    async fn load_host(&self, connections: usize, effort: Effort) -> anyhow::Result<Answers> {
        let (address, pid) = (self.host.address(), self.host.pid()?);
        let (answers, cost) = self.load(address, pid, connections, effort).await?;
        self.spent.borrow_mut().push(cost);
        Ok(answers)
    }

    /// Sends to a server on this database, and holds it to its answers.
    async fn load(
        &self,
        address: SocketAddr,
        pid: u32,
        connections: usize,
        effort: Effort,
    ) -> anyhow::Result<(Answers, Cost)> {
        inbox::empty_postgres(&self.url).await?;
        let database = self.server.pid()?;
        let webhooks = make_webhooks(effort).await?;
        let before = (cpu::of_process(pid)?, cpu::of_process(database)?);
        let answers = send(address, connections, webhooks.clone(), effort).await?;
        let spent = (cpu::of_process(pid)? - before.0, cpu::of_process(database)? - before.1);
        inbox::check_postgres(&self.url, &webhooks, &answers).await?;
        let each = |time: Duration| time.as_secs_f64() * 1e6 / answers.accepted.len() as f64;
        let cost = Cost {
            server: each(spent.0),
            database: each(spent.1),
            clients: each(answers.cpu),
        };
        Ok((answers, cost))
    }

    async fn noted(&self, found: Measurement) -> anyhow::Result<Measurement> {
        let described = self.server.describe().await?;
        let cost = Cost::list(&self.spent.borrow());
        Ok(found.note(COST, cost).note("database", described))
    }
}

async fn start_host(dir: &TempDir, database: String) -> anyhow::Result<Host> {
    Host::start(Settings {
        port: free_port(),
        dir: dir.path(),
        database,
        client: (CLIENT_KEY, CLIENT_SECRET),
        workers_apart: false,
        more: vec![
            ("PATCHBAY__SERVER__MAX_SOCKETS_PER_IP", "1000".to_owned()),
            ("PATCHBAY__WORKERS__ENABLED", "false".to_owned()),
        ],
    })
    .await
}

/// Of one run, its warm-up included.
async fn make_webhooks(effort: Effort) -> anyhow::Result<Arc<Webhooks>> {
    let count = (effort.time + warmup(effort)).as_secs_f64() * MOST_PER_SECOND;
    Ok(tokio::task::spawn_blocking(move || Arc::new(Webhooks::make(count as usize))).await?)
}

async fn send(
    address: SocketAddr,
    connections: usize,
    webhooks: Arc<Webhooks>,
    effort: Effort,
) -> anyhow::Result<Answers> {
    let load = Load {
        address,
        connections,
        webhooks,
        warmup: warmup(effort),
        time: effort.time,
    };
    load::run(load).await
}

fn warmup(effort: Effort) -> Duration {
    effort.time / 10
}
