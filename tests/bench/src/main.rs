//! `cargo run --release -p patchbay-bench -- all`

use std::{process::ExitCode, time::Duration};

use clap::Parser;
use patchbay_bench::{Effort, Name};
use serde_json::json;

/// Measures Patchbay beside references, in the same run on the same machine. tests/bench/README.md says how.
#[derive(Parser)]
#[command(name = "patchbay-bench")]
struct Cli {
    /// What to measure
    #[arg(value_enum)]
    what: Name,
    /// One JSON object a line instead of tables
    #[arg(long)]
    json: bool,
    /// Pairs of runs; the median of their ratios counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=99))]
    pairs: u8,
    /// Seconds of one run under load
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Part of the usual amount where a measurement is of an amount: rows, jobs, bytes
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    tokio::select! {
        code = measure(&cli) => code,
        // Dropping what runs stops the servers and deletes their folders.
        _ = tokio::signal::ctrl_c() => ExitCode::from(130),
    }
}

async fn measure(cli: &Cli) -> ExitCode {
    let effort = Effort {
        pairs: cli.pairs.into(),
        time: Duration::from_secs(cli.seconds),
        scale: cli.scale,
    };
    let mut code = ExitCode::SUCCESS;
    for name in cli.what.each() {
        match name.measure(effort).await {
            Ok(found) if cli.json => println!("{}", found.json()),
            Ok(found) => println!("{}", found.table()),
            Err(error) if cli.json => {
                println!("{}", json!({ "name": name.to_string(), "error": format!("{error:#}") }));
                code = ExitCode::FAILURE;
            }
            Err(error) => {
                eprintln!("{name}: {error:?}");
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}
