//! `cargo run --release -p patchbay-bench -- upload`

use clap::{Parser, Subcommand};
use patchbay_bench::upload;

/// Measures a host.
#[derive(Parser)]
#[command(name = "patchbay-bench")]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Publish a file in chunks: what arrives, how much memory it takes, and how fast it is.
    Upload(upload::Options),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Cli::parse().what {
        What::Upload(options) => print!("{}", upload::run(&options).await?.table()),
    }
    Ok(())
}
