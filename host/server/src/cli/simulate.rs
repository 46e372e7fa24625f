//! `patchbay simulate <provider>`: a platform's simulator alone, for a host of your own configuration.

use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use patchbay_simkit::stand::StandConfig;

use crate::{providers::BUILT_IN, serve};

/// What to simulate.
#[derive(Args)]
pub struct Options {
    /// Provider, by its id.
    provider: String,
    /// Public id of the app.
    #[arg(long, default_value = "simulated-client-key")]
    client_id: String,
    /// Secret of the app. It protects nothing: everything here is simulated.
    #[arg(long, default_value = "simulated-client-secret")]
    client_secret: String,
    /// Where browsers are sent back to.
    #[arg(long)]
    redirect_uri: Option<String>,
    /// Where webhooks go.
    #[arg(long)]
    webhook_url: Option<String>,
    /// First of a few consecutive ports; the first one has the controls.
    #[arg(long, default_value_t = 9400)]
    port: u16,
}

/// Runs a simulator until it is stopped.
///
/// # Errors
/// The provider is unknown, or a port is taken.
pub async fn run(options: Options) -> anyhow::Result<ExitCode> {
    let simulators = || BUILT_IN.iter().filter_map(|entry| Some((entry, entry.simulator?)));
    let Some((entry, start)) = simulators().find(|(entry, _)| entry.id == options.provider) else {
        let known: Vec<_> = simulators().map(|(entry, _)| entry.id).collect();
        let why = match BUILT_IN.iter().any(|entry| entry.id == options.provider) {
            true => ": it is tried out on the platform's own software, as its pages say",
            false => "",
        };
        bail!(
            "no simulator of `{}`{why}. Known: {}",
            options.provider,
            known.join(", ")
        );
    };
    let host = "http://127.0.0.1:8080";
    let config = StandConfig {
        redirect_uri: options
            .redirect_uri
            .unwrap_or_else(|| format!("{host}/api/platforms/{}/callback", entry.id)),
        webhook_url: Some(
            options
                .webhook_url
                .unwrap_or_else(|| format!("{host}/api/platforms/{}/webhooks", entry.id)),
        ),
        client_id: options.client_id,
        client_secret: options.client_secret,
        media_hosts: std::collections::BTreeMap::new(),
        first_port: Some(options.port),
    };
    let id = config.client_id.clone();
    let stand = start(config).await.map_err(|error| anyhow::anyhow!(error))?;
    println!("Controls: http://{}/_admin/", stand.admin());
    println!("\nPut this into patchbay.toml of the host that is to use it:\n");
    println!(
        "[providers.{}]\nenvironment = \"simulator\"\nclient_id = \"{id}\"",
        entry.id
    );
    println!(
        "client_secret = \"…\" # as given here\n\n[providers.{}.simulator_hosts]",
        entry.id
    );
    for (name, address) in stand.hosts() {
        println!("\"{name}\" = \"{address}\"");
    }
    serve::asked_to_stop().await;
    stand.shutdown().await;
    Ok(ExitCode::SUCCESS)
}
