//! SQLite's ingestion on a disk that takes its time to sync: the same measurement in a process of its own, in which strace
//! holds up every sync, of the host and of the reference alike.
//!
//! What a group commit saves is syncs, so its gain depends on what a sync costs. A virtual disk with a cache may take 0.1
//! ms; a disk that has to have written when it says so takes one or more.

use std::process::Stdio;

use anyhow::{Context, ensure};
use serde_json::Value;
use tokio::process::Command;

use crate::{
    Effort, Name, binary,
    debian::{self, Missing},
    ingest::STORE_ALONE,
    measurement::{Measurement, Wanted},
};

/// How much longer a sync takes, as strace writes it.
const DELAY: &str = "inject=fsync,fdatasync:delay_enter=1ms";

/// `ingest_sqlite_vs_single_commit_1ms`: as `ingest_sqlite_vs_single_commit`, with syncs that take a millisecond more.
pub async fn sqlite_vs_single_commit(effort: Effort) -> anyhow::Result<Measurement> {
    let strace = debian::program("strace", &["strace"])?;
    let output = Command::new(strace)
        // Stops at these calls only, so that nothing else becomes slower.
        .args([
            "-f",
            "-q",
            "--seccomp-bpf",
            "-o",
            "/dev/null",
            "-e",
            "trace=fsync,fdatasync",
            "-e",
            DELAY,
        ])
        .arg(binary::bench())
        .args([&Name::IngestSqliteVsSingleCommit.to_string(), "--json"])
        .args(["--pairs", &effort.pairs.to_string()])
        .args(["--seconds", &effort.time.as_secs().max(1).to_string()])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .context("starting strace")?;
    if output.stdout.is_empty() {
        let told = String::from_utf8_lossy(&output.stderr);
        return Err(Missing::new(&["strace"], format!("it cannot trace here: {}", told.trim())).into());
    }
    let told: Value =
        serde_json::from_slice(&output.stdout).context("the measurement tells something else than JSON")?;
    ensure!(told["error"].is_null(), "{}", told["error"]);
    let name = "ingest_sqlite_vs_single_commit_1ms";
    let mut found = Measurement::none(name, Wanted::AtLeast(10.0), "webhooks/s");
    found.ours = figures(&told["ours"])?;
    found.reference = figures(&told["reference"])?;
    let store_alone = told["notes"][STORE_ALONE].as_str().unwrap_or_default();
    Ok(found
        .note(
            "database",
            "SQLite, WAL, synchronous FULL; a sync takes 1 ms longer than on this disk",
        )
        .note(STORE_ALONE, store_alone))
}

fn figures(side: &Value) -> anyhow::Result<Vec<f64>> {
    serde_json::from_value(side["runs"].clone()).context("the measurement tells no figures")
}
