//! A host for Lambda: the usual one, under conditions that keep it from losing anything there.

use anyhow::{Context, bail};
use patchbay_server::{
    cli,
    config::{Config, FirstParty},
    host::{self, Host, Start, Unstartable},
    telemetry,
};
use tracing::warn;

/// Lambda sets these. Its client ends the process without them.
const WANTED: [&str; 4] = [
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_VERSION",
];
/// Connections of one process for ordinary work. It has one invocation at a time, and there may be a thousand of them.
const CONNECTIONS: u32 = 1;
/// One more is kept for renewed tokens and received webhooks.
const RESERVED_CONNECTIONS: u32 = 1;

/// Builds the host of this process.
///
/// # Errors
/// The configuration does not fit Lambda or the database; the database does not answer.
pub async fn host() -> anyhow::Result<Host> {
    if let Some(missing) = WANTED.into_iter().find(|name| std::env::var_os(name).is_none()) {
        bail!(Unstartable(format!(
            "{missing} is not set, so this is not AWS Lambda. Elsewhere run `patchbay serve`"
        )));
    }
    let mut config = cli::load(None)?;
    check(&config)?;
    telemetry::init(&config.log)?;
    let temporary = std::env::temp_dir();
    if config.storage.dir.is_relative() {
        // The working folder cannot be written.
        config.storage.dir = temporary.join(config.storage.dir);
    }
    config.database.max_connections = CONNECTIONS;
    let start = Start {
        reserved_connections: Some(RESERVED_CONNECTIONS),
        takes_no_files: config.storage.dir.starts_with(temporary),
        ..Start::default()
    };
    let built = host::build(config, start).await.context("starting the function")?;
    if !built.simulators.is_empty() {
        warn!("Every process of this function has a simulator of its own, which is gone with it: set client ids");
    }
    Ok(built.host)
}

fn check(config: &Config) -> Result<(), Unstartable> {
    let unfit = |problem: &str| Err(Unstartable(problem.to_owned()));
    if config.database.url.starts_with("sqlite:") {
        return unfit(
            "a SQLite file would be lost with each process of the function: set DATABASE_URL to a PostgreSQL database",
        );
    }
    let key_file = config.encryption.key_file.as_ref();
    if config.encryption.key.is_none() && !key_file.is_some_and(|file| file.is_file()) {
        return unfit(
            "a master key that is made here would be lost with this process: set TOKEN_ENCRYPTION_KEY, or \
             encryption.key_file to a file that is there; `openssl rand -hex 32` makes a key",
        );
    }
    if config.server.first_party == FirstParty::Open {
        return unfit("server.first_party = \"open\" is for a machine that serves nobody else: set it to \"off\"");
    }
    Ok(())
}
