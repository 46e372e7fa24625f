//! `patchbay dead-letters`: look at work that was given up, and run it again, straight in the database. Works beside a
//! running host, whose workers then do it.

use std::process::ExitCode;

use anyhow::bail;
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use patchbay_app::{
    env::Env,
    model::{AuditAction, By, JobKind},
    store::{DeadFilter, PageRequest},
};
use patchbay_core::JobId;

use super::tenant_id;
use crate::{api::dead_letters::REPLAY_BATCH, config::Config, host};

/// Dead letter commands.
#[derive(Subcommand)]
pub enum Command {
    /// List what was given up, the last one first.
    List {
        #[command(flatten)]
        wanted: Wanted,
        /// How many at most.
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// Make one due again, or all of a time.
    Replay {
        /// One, by its id as `list` shows it.
        #[arg(conflicts_with_all = ["kind", "from", "to", "all"], required_unless_present_any = ["kind", "from", "to", "all"])]
        id: Option<JobId>,
        /// All that there are.
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        wanted: Wanted,
    },
}

/// Which dead letters.
#[derive(Args)]
pub struct Wanted {
    /// Of this kind: publish, refresh, ingest (a received webhook) or revoke.
    #[arg(long)]
    kind: Option<JobKind>,
    /// Given up then or later, as 2026-01-31T12:00:00Z.
    #[arg(long)]
    from: Option<DateTime<Utc>>,
    /// Given up before.
    #[arg(long)]
    to: Option<DateTime<Utc>>,
    /// Tenant.
    #[arg(long, default_value = "default")]
    tenant: String,
}

impl Wanted {
    fn filter(&self) -> DeadFilter {
        DeadFilter {
            kind: self.kind,
            from: self.from,
            to: self.to,
        }
    }
}

/// Runs a dead letter command.
///
/// # Errors
/// The database cannot be used, or there is no such dead letter.
pub async fn run(command: Command, config: Config) -> anyhow::Result<ExitCode> {
    let env = Env::system();
    let options = patchbay_store::Options {
        beside_a_host: true,
        ..patchbay_store::Options::default()
    };
    let store = host::open_store(&config, options).await?;
    match command {
        Command::List { wanted, limit } => {
            let tenant = tenant_id(&store, &env, &wanted.tenant).await?;
            let mut left = limit;
            let mut page = PageRequest {
                after: None,
                limit: left.min(100),
            };
            while left > 0 {
                let found = store.dead_jobs(tenant, wanted.filter(), page).await?;
                for job in &found.items {
                    let died = job.finished_at.map_or_else(String::new, |at| at.to_rfc3339());
                    let code = job.last_error.as_deref().unwrap_or("-");
                    println!(
                        "{}  {:8}  {died}  {} attempts  {code}",
                        job.id,
                        job.kind.as_str(),
                        job.attempts
                    );
                }
                left -= left.min(u32::try_from(found.items.len()).unwrap_or(u32::MAX));
                let Some(next) = found.next else { break };
                page = PageRequest {
                    after: Some(next),
                    limit: left.min(100),
                };
            }
        }
        Command::Replay {
            id: Some(id), wanted, ..
        } => {
            let tenant = tenant_id(&store, &env, &wanted.tenant).await?;
            let audit = By::cli(&env).did(&env, AuditAction::DeadLetterReplayed, tenant).to(&id);
            match store.revive_job(tenant, id, &audit).await? {
                None => bail!("this tenant has no dead letter {id}; `patchbay dead-letters list` shows them"),
                Some(false) => bail!("a newer job does the same as {id}: wait for its end"),
                Some(true) => println!("{id} is due again."),
            }
        }
        Command::Replay { id: None, wanted, .. } => {
            let tenant = tenant_id(&store, &env, &wanted.tenant).await?;
            let mut replayed = 0;
            loop {
                let audit = By::cli(&env).did(&env, AuditAction::DeadLetterReplayed, tenant);
                let batch = store.revive_jobs(tenant, wanted.filter(), REPLAY_BATCH, &audit).await?;
                replayed += batch;
                if batch < u64::from(REPLAY_BATCH) {
                    break;
                }
            }
            println!("{replayed} due again.");
        }
    }
    Ok(ExitCode::SUCCESS)
}
