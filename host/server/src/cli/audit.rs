//! `patchbay audit`: whether the audit log is what was written.

use std::process::ExitCode;

use clap::Subcommand;
use patchbay_app::audit::{self, Chain};
use patchbay_core::TenantId;

use crate::{api::audit::hex, config::Config, host};

/// Audit commands.
#[derive(Subcommand)]
pub enum Command {
    /// Read every tenant's log, and compare the hashes. Works beside a running host. Exits with 1 if a row was changed,
    /// deleted or added by something that is not Patchbay.
    ///
    /// Whoever may write into the database could make a whole chain anew. So note the last hashes that this prints
    /// somewhere else: a log that is whole, but lacks a hash that you have noted, is not the one that was.
    Verify {
        /// Only this tenant's, by its id.
        #[arg(long)]
        tenant: Option<TenantId>,
    },
}

/// Runs an audit command.
///
/// # Errors
/// The database cannot be used.
pub async fn run(command: Command, config: Config) -> anyhow::Result<ExitCode> {
    let options = patchbay_store::Options {
        beside_a_host: true,
        ..patchbay_store::Options::default()
    };
    let store = host::open_store(&config, options).await?;
    let Command::Verify { tenant: only } = command;
    let mut whole = true;
    let mut next = match only {
        Some(tenant) => Some(tenant),
        None => store.audited_tenant(None).await?,
    };
    while let Some(tenant) = next {
        match audit::verify(&*store, tenant).await? {
            Chain::Whole(head) => println!("{tenant}  whole, {} rows, last hash {}", head.seq, hex(&head.hash)),
            Chain::Broken { seq, fault } => {
                whole = false;
                println!("{tenant}  BROKEN at row {seq}: {fault}");
            }
        }
        next = match only {
            Some(_) => None,
            None => store.audited_tenant(Some(tenant)).await?,
        };
    }
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
