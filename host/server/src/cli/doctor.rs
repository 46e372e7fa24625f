//! `patchbay doctor`: what a deployment gets wrong, and what to do about it.

use std::{io::IsTerminal as _, process::ExitCode};

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use crate::{
    config::Config,
    doctor::{self, Scope, Verdict},
};

/// How to look, and how to tell.
#[derive(Args)]
pub struct Options {
    /// Call nobody: look only at this machine and its database.
    #[arg(long)]
    offline: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Looks, prints, and ends with 1 if something does not work.
///
/// # Errors
/// The report cannot be written as JSON.
pub async fn run(options: &Options, config: &Config) -> anyhow::Result<ExitCode> {
    if !options.json && !options.offline && std::io::stderr().is_terminal() {
        eprintln!("Looking; calls that nobody answers take up to 15 s each.");
    }
    let scope = Scope {
        offline: options.offline,
    };
    let report = doctor::examine(config, scope).await;
    let errors = report.count(Verdict::Error);
    if options.json {
        let summary = json!({
            "ok": report.count(Verdict::Ok),
            "warning": report.count(Verdict::Warning),
            "error": errors,
            "skipped": report.count(Verdict::Skipped),
        });
        let whole = json!({ "findings": report.findings, "summary": summary });
        println!(
            "{}",
            serde_json::to_string_pretty(&whole).context("writing the report")?
        );
    } else {
        println!("{report}");
    }
    Ok(if errors == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
