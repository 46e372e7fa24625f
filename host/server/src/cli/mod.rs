//! The command line. Only this module reads the environment and the arguments.

mod audit;
mod conformance;
mod dead_letters;
mod doctor;
mod keys;
mod new;
#[cfg(feature = "wasm")]
mod providers;
mod simulate;
mod worker;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context;
use clap::{Parser, Subcommand};
use patchbay_app::{
    env::Env,
    model::{AuditAction, By},
    store::Store,
};
use patchbay_core::TenantId;
use tokio::net::TcpListener;

use crate::{
    api,
    components::Reread,
    config::Config,
    demo,
    host::{self, Start, Unstartable},
    serve, telemetry,
};

/// Configuration that cannot work (`EX_CONFIG` of sysexits).
const EXIT_CONFIG: u8 = 78;

/// One API to connect social accounts, publish media, follow its status and receive webhooks.
#[derive(Parser)]
#[command(name = "patchbay", version, about)]
struct Cli {
    /// Configuration file. Default: `patchbay.toml` in this folder, if there is one.
    #[arg(long, global = true, env = "PATCHBAY_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the API and run the workers (the default).
    Serve {
        /// Serve the API alone; `patchbay worker`, a cron service or another host does the work.
        #[arg(long)]
        api_only: bool,
    },
    /// Run the workers alone, without an API: all day, or once.
    ///
    /// Any number of them may run beside hosts on the same PostgreSQL; each job runs once. Health and metrics are on
    /// `server.metrics_listen`, if that is set. SIGTERM and Ctrl-C let running steps end.
    Worker(worker::Options),
    /// Show the whole story against simulated platforms: connect, publish, follow, receive. Then keep serving.
    Demo(demo::Options),
    /// Run the simulator of a platform alone.
    Simulate(simulate::Options),
    /// Bring the database up to this version's schema.
    Migrate {
        /// Only list what is missing. Exits with 1 if something is.
        #[arg(long)]
        check: bool,
    },
    /// Manage API keys.
    #[command(subcommand)]
    Keys(keys::Command),
    /// Look at work that was given up, and run it again.
    #[command(subcommand)]
    DeadLetters(dead_letters::Command),
    /// Look whether the audit log is what was written.
    #[command(subcommand)]
    Audit(audit::Command),
    /// Write something that you fill in.
    #[command(subcommand)]
    New(new::Command),
    /// Try a provider's crate by the laws of the conformance kit, and tell what is missing. Needs cargo, and no network.
    ///
    /// Exits with 0 if every law is kept or waived, with 1 if one is broken, and with 2 if they could not be tried.
    Conformance(conformance::Options),
    /// Look at providers, and load, replace and remove those that are WebAssembly components.
    #[cfg(feature = "wasm")]
    #[command(subcommand)]
    Providers(providers::Command),
    /// Print the `OpenAPI` document. Needs no database.
    Openapi,
    /// Look at everything that a deployment gets wrong, and say what to do about each.
    ///
    /// Changes nothing, and may run beside hosts. Ends with 1 if something does not work.
    Doctor(doctor::Options),
    /// Look at the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
}

#[derive(Subcommand)]
enum ConfigCommand {
    /// Check everything, and print what is in force, with secrets masked.
    Check,
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    block_on(run(cli))
}

/// Runs a program to its end. What went wrong goes to standard error, and into the exit code.
pub fn block_on(program: impl Future<Output = anyhow::Result<ExitCode>>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        // Threads that are not the runtime's wake tasks by way of its common queue: with SQLite the end of each statement,
        // which is not to wait for 60 other tasks.
        .global_queue_interval(1)
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("patchbay: the runtime cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    rustls::crypto::ring::default_provider().install_default().ok();
    match runtime.block_on(program) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("patchbay: {error:#}");
            let configuration = error.downcast_ref::<Unstartable>().is_some();
            ExitCode::from(if configuration { EXIT_CONFIG } else { 1 })
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    #[cfg(feature = "failpoints")]
    arm_failpoints()?;
    match cli.command.unwrap_or(Command::Serve { api_only: false }) {
        Command::Openapi => {
            println!("{}", openapi_text()?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Conformance(options) => Ok(conformance::run(&options).await),
        Command::New(command) => new::run(&command),
        Command::Demo(options) => demo::run(options).await,
        Command::Simulate(options) => simulate::run(options).await,
        Command::Serve { api_only } => serve_command(cli.config, api_only).await,
        Command::Worker(options) => worker::run(options, cli.config).await,
        Command::Migrate { check } => migrate(&load(cli.config.as_deref())?, check).await,
        Command::Keys(command) => keys::run(command, load(cli.config.as_deref())?).await,
        Command::DeadLetters(command) => dead_letters::run(command, load(cli.config.as_deref())?).await,
        Command::Doctor(options) => doctor::run(&options, &load(cli.config.as_deref())?).await,
        Command::Audit(command) => audit::run(command, load(cli.config.as_deref())?).await,
        #[cfg(feature = "wasm")]
        Command::Providers(command) => providers::run(command, load(cli.config.as_deref())?).await,
        Command::Config(ConfigCommand::Check) => {
            let config = load(cli.config.as_deref())?;
            host::check_providers(&config)?;
            println!("{}", config.effective());
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The `OpenAPI` document as committed.
///
/// # Errors
/// It cannot be written as JSON.
pub fn openapi_text() -> anyhow::Result<String> {
    api::openapi().to_pretty_json().context("writing the OpenAPI document")
}

#[cfg(feature = "failpoints")]
fn arm_failpoints() -> anyhow::Result<()> {
    let list = std::env::var("PATCHBAY_FAILPOINTS").unwrap_or_default();
    patchbay_app::failpoint::arm(&list).map_err(|problem| Unstartable(problem).into())
}

/// The configuration of this process: from a file, and from its environment.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load(file: Option<&Path>) -> anyhow::Result<Config> {
    // A variable that is no text is nobody's setting, but must not end the program either.
    let environment = std::env::vars_os().map(|(name, value)| {
        (
            name.to_string_lossy().into_owned(),
            value.to_string_lossy().into_owned(),
        )
    });
    Config::load(file, environment, &crate::providers::known())
        .map_err(|problems| Unstartable(problems.to_string()).into())
}

/// Reads the configuration of this process again, as [`load`] did.
#[must_use]
pub fn reread(file: Option<PathBuf>) -> Reread {
    Arc::new(move || load(file.as_deref()))
}

async fn serve_command(file: Option<PathBuf>, api_only: bool) -> anyhow::Result<ExitCode> {
    let mut config = load(file.as_deref())?;
    config.workers.enabled &= !api_only;
    telemetry::init(&config.log)?;
    let metrics = telemetry::metrics::install()?;
    let listen = config.server.listen;
    let built = host::build(
        config,
        Start {
            metrics: Some(metrics),
            reread: Some(reread(file)),
            ..Start::default()
        },
    )
    .await?;
    // Last: a host whose key or database does not fit is never seen on the network.
    let asked_to_stop = serve::asked_to_stop();
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("listening on {listen}"))?;
    let serving = serve::start(built, listener).await?;
    asked_to_stop.await;
    serving.stop().await;
    Ok(ExitCode::SUCCESS)
}

async fn migrate(config: &Config, check: bool) -> anyhow::Result<ExitCode> {
    let url = &config.database.url;
    let missing = patchbay_store::pending_migrations(url)
        .await
        .context("reading the database")?;
    if missing.is_empty() {
        println!("The schema is up to date.");
        return Ok(ExitCode::SUCCESS);
    }
    for name in &missing {
        println!("{} {name}", if check { "missing:" } else { "applying:" });
    }
    if check {
        return Ok(ExitCode::FAILURE);
    }
    host::make_parent(url)?;
    patchbay_store::migrate(url).await.context("migrating the database")?;
    Ok(ExitCode::SUCCESS)
}

/// The tenant of a name; made if it is new.
async fn tenant_id(store: &Arc<dyn Store>, env: &Env, name: &str) -> anyhow::Result<TenantId> {
    let new = TenantId::from_uuid(env.ids.next());
    let tenant = store.ensure_tenant(new, name).await.context("finding the tenant")?;
    if tenant.id == new {
        let audit = By::cli(env).did(env, AuditAction::TenantCreated, new).to(&new);
        store.add_audit(&audit).await.context("noting the new tenant")?;
    }
    Ok(tenant.id)
}
