//! A throwaway PostgreSQL that keeps its word: synced to disk at every commit, as a server that matters would.

use std::{
    path::PathBuf,
    process::{Command, Output},
    time::Duration,
};

use anyhow::{Context, ensure};
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;

use crate::{debian, ports::free_port};

/// What differs from the defaults. Room for the clients, and memory that a small server would be given.
const SETTINGS: &[&str] = &["max_connections=300", "shared_buffers=256MB", "max_wal_size=2GB"];

/// Longest wait for a checkpoint or a statement of the set-up.
const PATIENCE: Duration = Duration::from_secs(600);

/// A running server. Gone when dropped.
pub struct Postgres {
    dir: TempDir,
    port: u16,
}

impl Postgres {
    /// Installs one if need be, and starts it with an empty cluster.
    ///
    /// # Errors
    /// It cannot be installed or started.
    pub async fn start() -> anyhow::Result<Self> {
        tokio::task::spawn_blocking(Self::start_now).await?
    }

    fn start_now() -> anyhow::Result<Self> {
        debian::postgres_program("initdb")?;
        let dir = tempfile::Builder::new().prefix("patchbay-bench.").tempdir()?;
        if debian::is_root() {
            run(Command::new("chown").arg("postgres").arg(dir.path()))?;
        }
        let port = free_port();
        let server = Self { dir, port };
        run(server
            .as_owner("initdb")?
            .args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C"])
            .arg("-D")
            .arg(server.data()))?;
        let mut options = format!(
            "-p {port} -k {} -c listen_addresses=127.0.0.1",
            server.dir.path().display()
        );
        for setting in SETTINGS {
            options.push_str(" -c ");
            options.push_str(setting);
        }
        run(server
            .as_owner("pg_ctl")?
            .args(["-w", "-t", "60", "start", "-o", &options])
            .arg("-D")
            .arg(server.data())
            .arg("-l")
            .arg(server.dir.path().join("log")))?;
        Ok(server)
    }

    /// Port on the loopback interface.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// URL of a database.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// The process whose children serve the connections.
    ///
    /// # Errors
    /// The server does not say.
    pub fn pid(&self) -> anyhow::Result<u32> {
        let file = std::fs::read_to_string(self.data().join("postmaster.pid"))?;
        let pid = file.lines().next().and_then(|line| line.trim().parse().ok());
        pid.context("postmaster.pid names no process")
    }

    /// Makes a database.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn create(&self, database: &str) -> anyhow::Result<String> {
        let mut connection = PgConnection::connect(&self.url("postgres")).await?;
        execute(&mut connection, format!("CREATE DATABASE {database}")).await?;
        Ok(self.url(database))
    }

    /// Version, and the settings that decide what a commit costs.
    ///
    /// # Errors
    /// The server cannot be asked.
    pub async fn describe(&self) -> anyhow::Result<String> {
        let mut connection = PgConnection::connect(&self.url("postgres")).await?;
        let told: String = sqlx::query_scalar(
            "SELECT format('PostgreSQL %s, fsync %s, synchronous_commit %s, full_page_writes %s',
                 current_setting('server_version'), current_setting('fsync'), current_setting('synchronous_commit'),
                 current_setting('full_page_writes'))",
        )
        .fetch_one(&mut connection)
        .await?;
        Ok(told)
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// A program that runs as the owner of the data, from a folder that everybody may see.
    fn as_owner(&self, program: &str) -> anyhow::Result<Command> {
        let program = debian::postgres_program(program)?;
        let mut command = if debian::is_root() {
            let mut command = Command::new(debian::program("runuser", &["util-linux"])?);
            command.args(["-u", "postgres", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir("/");
        Ok(command)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let stopped = self
            .as_owner("pg_ctl")
            .and_then(|mut command| run(command.args(["-m", "immediate", "-w", "stop", "-D"]).arg(self.data())));
        if let Err(error) = stopped {
            eprintln!("PostgreSQL was not stopped: {error:#}");
        }
    }
}

/// Runs a statement of the set-up, which may take its time.
///
/// # Errors
/// The statement failed.
pub async fn execute(connection: &mut PgConnection, statement: String) -> anyhow::Result<()> {
    let done = sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(connection);
    tokio::time::timeout(PATIENCE, done)
        .await
        .context("a statement of the set-up took too long")??;
    Ok(())
}

fn run(command: &mut Command) -> anyhow::Result<Output> {
    let output = command.output().with_context(|| format!("starting {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?} ended with {}: {}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(output)
}
