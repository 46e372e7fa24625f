//! What can be measured.

use std::{fmt, time::Duration};

use clap::ValueEnum;

use crate::{claim, drain, hostile, ingest, measurement::Measurement, push, slow_sync, steps, upload};

/// How much is run.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Pairs of runs.
    pub pairs: usize,
    /// Time that counts in one run under load.
    pub time: Duration,
    /// Part of the usual amount, where a measurement is of an amount.
    pub scale: f64,
}

/// A measurement, or all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Name {
    /// Every one of the others
    All,
    /// Webhooks a second over 256 connections, beside pgbench's commits of single rows (64 clients)
    IngestPostgresVsPgbench,
    /// Webhooks a second over 256 connections, beside pgbench's commits of 64 rows
    IngestPostgresVsBatchLimit,
    /// Webhooks a second over 64 connections, beside pgbench's commits of single rows (64 clients)
    #[value(name = "ingest_postgres_64_vs_pgbench")]
    IngestPostgres64VsPgbench,
    /// Latency of one webhook at a time, beside that of pgbench's commit of a single row
    IngestPostgresIdleLatency,
    /// Webhooks a second over 256 connections, beside Fastify and pg on two Node processes
    IngestPostgresVsNode,
    /// Webhooks a second into SQLite over 64 connections, beside commits of single rows
    IngestSqliteVsSingleCommit,
    /// The same on a disk that takes a millisecond longer to sync
    #[value(name = "ingest_sqlite_vs_single_commit_1ms")]
    IngestSqliteVsSingleCommit1Ms,
    /// Cost of claiming and ending a job, with 5 million finished jobs beside 10 thousand
    #[value(name = "claim_cost_growth_10k_to_5m")]
    ClaimCostGrowth,
    /// Webhooks worked off a second, each with one stored event, beside graphile_worker with one job a claim
    DrainVsGraphileWorker,
    /// Webhooks worked off a second that lead to nothing, beside graphile_worker with its local queue of 500
    DrainNoopVsGraphileLocalQueue,
    /// Wait of an event from its commit to the first request at its endpoint, at 200 a second, beside 100 ms
    #[value(name = "webhook_first_attempt_p95")]
    WebhookFirstAttempt,
    /// The same, when the process that sends is not the one that stores the event
    #[value(name = "webhook_first_attempt_p95_apart")]
    WebhookFirstAttemptApart,
    /// Throughput of a file from the host to the platform, beside reqwest
    UploadRelayVsReqwest,
    /// Throughput of a file from the host to the platform, beside curl
    UploadRelayVsCurl,
    /// Steps of posts a second by a component, 128 at once and a platform that answers after 50 ms, beside native ones
    #[value(name = "wasm_publish_50ms_vs_native")]
    WasmPublish50Ms,
    /// The same with a platform that answers after 20 ms
    #[value(name = "wasm_publish_20ms_vs_native")]
    WasmPublish20Ms,
    /// Throughput of a file from the host to the platform by a component, beside the provider that is compiled in
    #[value(name = "wasm_upload_1gib_vs_native")]
    WasmUpload,
    /// Processor time of a step by a component, beside a native one
    WasmCallOverhead,
    /// Resident memory of a call by a component that waits for its platform, beside a native one
    WasmMemoryPerCall,
    /// Time from a component's bytes to the end of its first step, beside a native one
    WasmFirstCallCold,
    /// The same with compiled code in the cache
    WasmFirstCallCached,
    /// The slowest hundredth of others' calls while a hostile component does its worst, beside while it does nothing
    #[value(name = "wasm_hostile_p99")]
    WasmHostileP99,
}

impl Name {
    /// Itself, or what it stands for.
    pub fn each(self) -> Vec<Self> {
        match self {
            Self::All => Self::value_variants()
                .iter()
                .copied()
                .filter(|name| *name != Self::All)
                .collect(),
            one => vec![one],
        }
    }

    /// Measures it.
    ///
    /// # Errors
    /// Something did not work at all. A figure that is not as wanted is no error.
    pub async fn measure(self, effort: Effort) -> anyhow::Result<Measurement> {
        match self {
            Self::All => anyhow::bail!("these are several measurements"),
            Self::IngestPostgresVsPgbench => ingest::postgres_vs_pgbench(effort).await,
            Self::IngestPostgresVsBatchLimit => ingest::postgres_vs_batch_limit(effort).await,
            Self::IngestPostgres64VsPgbench => ingest::postgres_64_vs_pgbench(effort).await,
            Self::IngestPostgresIdleLatency => ingest::postgres_idle_latency(effort).await,
            Self::IngestPostgresVsNode => ingest::postgres_vs_node(effort).await,
            Self::IngestSqliteVsSingleCommit => ingest::sqlite_vs_single_commit(effort).await,
            Self::IngestSqliteVsSingleCommit1Ms => slow_sync::sqlite_vs_single_commit(effort).await,
            Self::ClaimCostGrowth => claim::growth(effort).await,
            Self::DrainVsGraphileWorker => drain::vs_graphile_worker(effort).await,
            Self::DrainNoopVsGraphileLocalQueue => drain::noop_vs_graphile_local_queue(effort).await,
            Self::WebhookFirstAttempt => push::first_attempt_p95(effort).await,
            Self::WebhookFirstAttemptApart => push::first_attempt_p95_apart(effort).await,
            Self::UploadRelayVsReqwest => upload::vs_reqwest(effort).await,
            Self::UploadRelayVsCurl => upload::vs_curl(effort).await,
            Self::WasmPublish50Ms => steps::at_50_ms(effort).await,
            Self::WasmPublish20Ms => steps::at_20_ms(effort).await,
            Self::WasmUpload => upload::component_vs_native(effort).await,
            Self::WasmCallOverhead => steps::call_overhead(effort).await,
            Self::WasmMemoryPerCall => steps::memory_per_call(effort).await,
            Self::WasmFirstCallCold => steps::first_call_cold(effort).await,
            Self::WasmFirstCallCached => steps::first_call_cached(effort).await,
            Self::WasmHostileP99 => hostile::p99(effort).await,
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            self.to_possible_value()
                .iter()
                .next()
                .map_or("", |value| value.get_name()),
        )
    }
}
