//! Every measurement at a tiny size: that it works, and tells what it should. No figure is judged.

use std::time::Duration;

use clap::ValueEnum;
use patchbay_bench::{Effort, Name, debian::Missing};

async fn check(name: Name) {
    check_at(name, 0.002).await;
}

async fn check_at(name: Name, scale: f64) {
    let effort = Effort {
        pairs: 1,
        time: Duration::from_millis(500),
        scale,
    };
    let found = match name.measure(effort).await {
        Ok(found) => found,
        Err(error) if std::env::var_os("CI").is_none() && error.downcast_ref::<Missing>().is_some() => {
            println!("Skipped: {error:#}");
            return;
        }
        Err(error) => panic!("{error:?}"),
    };
    println!("{}", found.table());
    assert!(found.ratio() > 0.0, "{found:?}");
    let line = found.json();
    assert_eq!(line["name"], name.to_string());
    assert_eq!(line["ratios"].as_array().map(Vec::len), Some(1), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_beside_single_commits_of_pgbench() {
    check(Name::IngestPostgresVsPgbench).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_on_its_way_beside_the_wait_that_is_allowed() {
    check(Name::WebhookFirstAttempt).await;
    check(Name::WebhookFirstAttemptApart).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_beside_large_commits_of_pgbench() {
    check(Name::IngestPostgresVsBatchLimit).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_webhook_at_a_time() {
    check(Name::IngestPostgresIdleLatency).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_beside_node() {
    check(Name::IngestPostgresVsNode).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_into_sqlite() {
    check(Name::IngestSqliteVsSingleCommit).await;
    check(Name::IngestSqliteVsSingleCommit1Ms).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_beside_finished_jobs() {
    check(Name::ClaimCostGrowth).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn backlogs_with_effects_and_without() {
    check(Name::DrainVsGraphileWorker).await;
    check(Name::DrainNoopVsGraphileLocalQueue).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_beside_curl() {
    check_at(Name::UploadRelayVsCurl, 0.1).await;
}

/// Components, which lane `wasm` of `tests/run` builds.
mod guests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn steps_beside_native_ones() {
        check(Name::WasmPublish50Ms).await;
        check(Name::WasmPublish20Ms).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_a_call_costs() {
        check(Name::WasmCallOverhead).await;
        check(Name::WasmMemoryPerCall).await;
        check(Name::WasmFirstCallCold).await;
        check(Name::WasmFirstCallCached).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_file_beside_a_native_one() {
        check_at(Name::WasmUpload, 0.02).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn others_beside_the_corpus() {
        check(Name::WasmHostileP99).await;
    }
}

/// Their names are what people and other programs call them by.
#[test]
fn every_name_is_as_promised() {
    let names: Vec<_> = Name::All.each().iter().map(ToString::to_string).collect();
    assert_eq!(
        names,
        [
            "ingest_postgres_vs_pgbench",
            "ingest_postgres_vs_batch_limit",
            "ingest_postgres_64_vs_pgbench",
            "ingest_postgres_idle_latency",
            "ingest_postgres_vs_node",
            "ingest_sqlite_vs_single_commit",
            "ingest_sqlite_vs_single_commit_1ms",
            "claim_cost_growth_10k_to_5m",
            "drain_vs_graphile_worker",
            "drain_noop_vs_graphile_local_queue",
            "webhook_first_attempt_p95",
            "webhook_first_attempt_p95_apart",
            "upload_relay_vs_reqwest",
            "upload_relay_vs_curl",
            "wasm_publish_50ms_vs_native",
            "wasm_publish_20ms_vs_native",
            "wasm_upload_1gib_vs_native",
            "wasm_call_overhead",
            "wasm_memory_per_call",
            "wasm_first_call_cold",
            "wasm_first_call_cached",
            "wasm_hostile_p99",
        ]
    );
    assert!(names.iter().all(|name| Name::from_str(name, false).is_ok()));
}
