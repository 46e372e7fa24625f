//! pgbench, which writes the rows of a webhook as the host does for one that comes alone: the same statement, the same
//! tables and indexes, over the same kind of connection.

use std::{path::Path, time::Duration};

use anyhow::{Context, ensure};
use tokio::process::Command;

use crate::{debian, postgres::Postgres, webhooks};

/// What to run.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// Connections.
    pub clients: usize,
    /// Webhooks in one statement, which is one commit.
    pub rows: usize,
    /// For how long.
    pub time: Duration,
}

/// What it measured.
#[derive(Debug)]
pub struct Commits {
    /// Rows of the inbox a second, and as many jobs.
    pub rate: f64,
    /// From a statement to its commit, of each, in seconds.
    pub latencies: Vec<f64>,
}

/// Runs it on the tables of a host.
///
/// # Errors
/// It failed.
pub async fn run(server: &Postgres, database: &str, run: Run) -> anyhow::Result<Commits> {
    let dir = tempfile::tempdir()?;
    let script = dir.path().join("script.sql");
    std::fs::write(&script, statement(run.rows))?;
    let threads = run.clients.min(2);
    let output = Command::new(debian::postgres_program("pgbench")?)
        .current_dir(dir.path())
        .args([
            "--no-vacuum",
            "--protocol=prepared",
            "--host=127.0.0.1",
            "--username=postgres",
        ])
        .arg(format!("--port={}", server.port()))
        .arg(format!("--client={}", run.clients))
        .arg(format!("--jobs={threads}"))
        .arg(format!("--time={}", run.time.as_secs().max(1)))
        .args(["--log", "--log-prefix=commits", "--file"])
        .arg(&script)
        .arg(database)
        .kill_on_drop(true)
        .output()
        .await
        .context("starting pgbench")?;
    let (told, complaint) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    ensure!(output.status.success(), "pgbench: {told}{complaint}");
    let commits = told
        .lines()
        .find_map(|line| {
            line.strip_prefix("tps = ")?
                .split_whitespace()
                .next()?
                .parse::<f64>()
                .ok()
        })
        .with_context(|| format!("pgbench tells no rate: {told}"))?;
    Ok(Commits {
        rate: commits * run.rows as f64,
        latencies: latencies(dir.path())?,
    })
}

/// The third column of its log: microseconds.
fn latencies(dir: &Path) -> anyhow::Result<Vec<f64>> {
    let mut found = Vec::new();
    for file in std::fs::read_dir(dir)? {
        let file = file?;
        if file.file_name().to_string_lossy().starts_with("commits") {
            let text = std::fs::read_to_string(file.path())?;
            let column = text
                .lines()
                .filter_map(|line| line.split(' ').nth(2)?.parse::<f64>().ok());
            found.extend(column.map(|microseconds| microseconds / 1e6));
        }
    }
    ensure!(!found.is_empty(), "pgbench logged no transaction");
    Ok(found)
}

/// What the host runs for one webhook (`store_inbox`), with rows made by the server.
fn statement(rows: usize) -> String {
    let length = webhooks::body(0, &format!("v_pub_file~v2-1.{}", "0".repeat(23))).len();
    format!(
        "WITH stored AS (
             INSERT INTO inbox
                 (id, tenant_id, provider, client_id, scheme, digest, body, received_at, correlation_id)
             SELECT gen_random_uuid(), '00000000-0000-7000-8000-000000000001', 'tiktok', '{key}', 'tiktok',
                 decode(md5(random()::text) || md5(random()::text), 'hex'),
                 convert_to(rpad(md5(random()::text), {length}, 'x'), 'UTF8'), now(),
                 'req_' || md5(random()::text)
             FROM generate_series(1, {rows})
             ON CONFLICT (tenant_id, provider, digest) DO NOTHING
             RETURNING id, correlation_id)
         INSERT INTO jobs
             (id, tenant_id, kind, target, status, run_at, due_at, attempts, fence, correlation_id, created_at)
         SELECT gen_random_uuid(), '00000000-0000-7000-8000-000000000001', 'ingest', id, 'ready', now(), now(), 0, 0,
             correlation_id, now()
         FROM stored;\n",
        key = webhooks::CLIENT_KEY,
    )
}
