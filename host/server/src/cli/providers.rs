//! `patchbay providers`: what is built in, what is loaded as a component, and which file may be. Works on the folder
//! `wasm.dir`; running hosts follow it.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use patchbay_core::{Manifest, Provider, ProviderId, Settings};
use patchbay_wasm::{Component, Engine, Guest};

use crate::{
    components::{
        loader::{self, check_hosts, hosts_of},
        pins::{self, Pin},
    },
    config::Config,
    providers,
};

/// Commands about providers.
#[derive(Subcommand)]
pub enum Command {
    /// List the providers that are built in, and those that are loaded as components.
    List,
    /// Say what a component is: a file, or one that is loaded, by its provider's id.
    Inspect {
        /// A file or an id.
        component: String,
    },
    /// Load a component. Hosts that run take it up within seconds; what is under way ends on the one before it.
    Add(Add),
    /// Remove a component. Its file is deleted; accounts and posts stay.
    Remove {
        /// Its provider's id.
        provider: ProviderId,
    },
}

/// A component to load.
#[derive(Args)]
pub struct Add {
    /// Its file. It is copied.
    file: PathBuf,
    /// A host that it may reach, as `inspect` shows it. Once for each. Those of the component that it replaces are kept.
    /// `*` is any public host, for a platform whose accounts each have a server of their own.
    #[arg(long = "allow-host", value_name = "HOST")]
    allow_hosts: Vec<String>,
    /// It takes the place of the provider of its id that is built in.
    #[arg(long)]
    replace_built_in: bool,
    /// Its platform knows no apps, so there is no client_id to set.
    #[arg(long)]
    no_app: bool,
}

/// Runs a command.
///
/// # Errors
/// There is no folder of components, or the component cannot be used.
pub async fn run(command: Command, config: Config) -> anyhow::Result<ExitCode> {
    match command {
        Command::List => list(&config)?,
        Command::Inspect { component } => inspect(&config, &component).await?,
        Command::Add(add) => self::add(&config, add).await?,
        Command::Remove { provider } => remove(&config, &provider)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn dir(config: &Config) -> anyhow::Result<&Path> {
    config
        .wasm
        .dir
        .as_deref()
        .context("no folder of components: set wasm.dir in patchbay.toml, or PATCHBAY__WASM__DIR")
}

fn list(config: &Config) -> anyhow::Result<()> {
    let pins = match &config.wasm.dir {
        Some(dir) => pins::read(dir)?,
        None => pins::Pins::new(),
    };
    for known in providers::known() {
        let id = known.id;
        let enabled = config.providers.get(&id).is_some_and(|provider| provider.enabled);
        let replaced = pins.get(&id).is_some_and(|pin| pin.replaces_built_in);
        let state = match (enabled, replaced) {
            (_, true) => "built in, replaced by a component",
            (true, false) => "built in",
            (false, false) => "built in, not enabled",
        };
        println!("{id}\t{state}");
    }
    for (id, pin) in &pins {
        println!(
            "{id}\t{}\tsha256 {}\thosts {}",
            pin.file.display(),
            pin.sha256,
            pin.hosts.join(" ")
        );
    }
    Ok(())
}

async fn inspect(config: &Config, named: &str) -> anyhow::Result<()> {
    let pinned = match (ProviderId::parse(named), &config.wasm.dir) {
        (Ok(id), Some(dir)) => pins::read(dir)?.get(&id).map(|pin| dir.join(&pin.file)),
        _ => None,
    };
    let file = pinned.unwrap_or_else(|| named.into());
    let (component, guest) = load(config, &file).await?;
    show(&component, &guest);
    Ok(())
}

async fn add(config: &Config, add: Add) -> anyhow::Result<()> {
    let dir = dir(config)?;
    let (component, guest) = load(config, &add.file).await?;
    let manifest = guest.manifest();
    let id = manifest.id.clone();
    let mut pins = pins::read(dir)?;
    let before = pins.get(&id).cloned();
    let mut hosts = add.allow_hosts;
    hosts.extend(before.iter().flat_map(|pin| pin.hosts.iter().cloned()));
    hosts.sort();
    hosts.dedup();
    check_hosts(manifest, &hosts).with_context(|| format!("{} is not loaded", add.file.display()))?;
    // Grants that nothing asks for would be taken up by the next version unseen.
    hosts.retain(|host| hosts_of(manifest).contains(host.as_str()));
    let replaces_built_in = add.replace_built_in || before.as_ref().is_some_and(|pin| pin.replaces_built_in);
    let has_app = !add.no_app && before.as_ref().is_none_or(|pin| pin.has_app);
    if built_in(&id) && !replaces_built_in {
        bail!("a provider called {id} is built in. To have the component in its place, add --replace-built-in");
    }
    std::fs::create_dir_all(dir).with_context(|| format!("making the folder {}", dir.display()))?;
    let sha256 = component.digest().to_string();
    let name = PathBuf::from(format!("{id}-{}.wasm", &sha256[..16]));
    let bytes = std::fs::read(&add.file).with_context(|| format!("reading {}", add.file.display()))?;
    anyhow::ensure!(
        patchbay_wasm::Digest::of(&bytes) == component.digest(),
        "{} changed meanwhile: run this again",
        add.file.display()
    );
    pins::replace(&dir.join(&name), &bytes).with_context(|| format!("writing {}", dir.join(&name).display()))?;
    let pin = Pin {
        file: name.clone(),
        sha256: sha256.clone(),
        hosts,
        replaces_built_in,
        has_app,
    };
    pins.insert(id.clone(), pin);
    pins::write(dir, &pins)?;
    if let Some(before) = before.filter(|before| before.file != name) {
        let _ = std::fs::remove_file(dir.join(before.file));
    }
    println!(
        "{id} {} is loaded as {}, sha256 {sha256}.",
        manifest.version,
        name.display()
    );
    let app = config
        .providers
        .get(&id)
        .and_then(|provider| provider.client_id.as_ref());
    if has_app && app.is_none() && !replaces_built_in {
        println!("Its app is not configured yet: set client_id and client_secret in [providers.{id}].");
    }
    Ok(())
}

fn built_in(id: &ProviderId) -> bool {
    providers::BUILT_IN.iter().any(|entry| entry.id == id.as_str())
}

fn remove(config: &Config, id: &ProviderId) -> anyhow::Result<()> {
    let dir = dir(config)?;
    let mut pins = pins::read(dir)?;
    let Some(pin) = pins.remove(id) else {
        let known: Vec<_> = pins.keys().map(ProviderId::as_str).collect();
        bail!(
            "no component is loaded for {id}; those that are: [{}]",
            known.join(", ")
        );
    };
    pins::write(dir, &pins)?;
    let _ = std::fs::remove_file(dir.join(pin.file));
    println!("{id} is removed.");
    Ok(())
}

/// Loads a component with the settings that it would have.
async fn load(config: &Config, file: &Path) -> anyhow::Result<(Component, Guest)> {
    let engine = Engine::new(loader::limits(&config.wasm), None)?;
    let load = async {
        let bytes = loader::read(file, engine.limits().file_bytes).await?;
        let component = engine.load(bytes).await?;
        let guest = component.build(&Settings::default()).await?;
        let settings = config
            .providers
            .get(&guest.manifest().id)
            .map(|provider| provider.settings.clone());
        let guest = match settings.filter(|settings| !settings.is_empty()) {
            Some(settings) => component.build(&Settings(settings)).await?,
            None => guest,
        };
        Ok::<_, patchbay_wasm::Refused>((component, guest))
    };
    load.await.with_context(|| format!("{} cannot be used", file.display()))
}

fn show(component: &Component, guest: &Guest) {
    let Manifest {
        id,
        display_name,
        version,
        docs_url,
        ops,
        ..
    } = guest.manifest();
    let parts = [
        ("connect", guest.oauth().is_some()),
        ("publish", guest.publisher().is_some()),
        ("webhooks", guest.webhooks().is_some()),
    ];
    let parts: Vec<_> = parts.iter().filter(|(_, has)| *has).map(|(name, _)| *name).collect();
    println!("provider   {id} ({display_name}) {version}");
    println!("documented {docs_url}");
    println!("interface  patchbay:provider@{}", component.wit_version());
    println!("sha256     {}", component.digest());
    println!("does       {}", parts.join(", "));
    println!(
        "hosts      {}",
        hosts_of(guest.manifest()).into_iter().collect::<Vec<_>>().join(" ")
    );
    for op in ops {
        let effect = format!("{:?}", op.effect).to_lowercase();
        let server = op.account_server.then_some("the account's own server");
        let hosts: Vec<_> = op.hosts.iter().copied().chain(server).collect();
        println!(
            "call       {:<7} {effect:<7} {} at {}",
            op.method,
            op.name,
            hosts.join(" ")
        );
    }
}
