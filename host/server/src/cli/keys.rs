//! `patchbay keys`: make, list and revoke API keys, straight in the database.

use std::process::ExitCode;

use anyhow::{Context, bail};
use chrono::{DateTime, TimeDelta, Utc};
use clap::Subcommand;
use patchbay_app::{
    env::Env,
    model::{ApiKey, AuditAction, By, KeyScope},
    store::PageRequest,
};
use patchbay_core::ApiKeyId;
use serde_json::json;

use super::tenant_id;
use crate::{config::Config, host, keys::NewKey};

/// Key commands.
#[derive(Subcommand)]
pub enum Command {
    /// Make a key. Its text is printed once and not kept.
    Create {
        /// Label for people.
        #[arg(long, default_value = "default")]
        name: String,
        /// Tenant; made if it is new.
        #[arg(long, default_value = "default")]
        tenant: String,
        /// What it may do: read, connect, publish, or operator, which manages tenants and their keys and nothing else;
        /// repeat or separate by commas. Default: everything but operator.
        #[arg(long, value_delimiter = ',', value_parser = parse_scope)]
        scope: Vec<KeyScope>,
        /// Days until it dies. Default: never.
        #[arg(long)]
        expires_in_days: Option<u32>,
    },
    /// List a tenant's keys, those first that were used last.
    List {
        /// Tenant.
        #[arg(long, default_value = "default")]
        tenant: String,
    },
    /// Kill a key. Every host stops taking it within five seconds.
    Revoke {
        /// Its id, as `list` shows it.
        id: ApiKeyId,
        /// Tenant.
        #[arg(long, default_value = "default")]
        tenant: String,
    },
}

fn parse_scope(text: &str) -> Result<KeyScope, String> {
    text.parse()
}

/// Runs a key command.
///
/// # Errors
/// The database or the encryption key cannot be used.
pub async fn run(command: Command, config: Config) -> anyhow::Result<ExitCode> {
    let env = Env::system();
    // A host that is running must not be stopped for this.
    let options = patchbay_store::Options {
        beside_a_host: true,
        ..patchbay_store::Options::default()
    };
    let store = host::open_store(&config, options).await?;
    match command {
        Command::Create {
            name,
            tenant,
            scope,
            expires_in_days,
        } => {
            let vault = host::open_vault(&config, store.clone(), &env).await?;
            let tenant = tenant_id(&store, &env, &tenant).await?;
            let key = NewKey {
                tenant,
                name,
                scopes: if scope.is_empty() {
                    KeyScope::OF_TENANT.to_vec()
                } else {
                    scope
                },
                expires_at: expires_in_days.map(|days| env.now() + TimeDelta::days(i64::from(days))),
            };
            let (key, whole) = key.make(&env, &vault);
            let audit = By::cli(&env)
                .did(&env, AuditAction::KeyCreated, tenant)
                .to(&key.id)
                .saying(json!({ "scopes": key.scopes, "expires_at": key.expires_at }));
            store.create_api_key(&key, &audit).await.context("storing the key")?;
            eprintln!("Key {} was made. It is shown only here:", key.id);
            println!("{}", whole.expose());
        }
        Command::List { tenant } => {
            let tenant = tenant_id(&store, &env, &tenant).await?;
            let mut page = PageRequest {
                after: None,
                limit: 100,
            };
            loop {
                let keys = store.api_keys(tenant, page).await?;
                keys.items.iter().for_each(|key| print(key, env.now()));
                page.after = keys.next;
                if page.after.is_none() {
                    break;
                }
            }
        }
        Command::Revoke { id, tenant } => {
            let tenant = tenant_id(&store, &env, &tenant).await?;
            let audit = By::cli(&env).did(&env, AuditAction::KeyRevoked, tenant).to(&id);
            if !store.revoke_api_key(tenant, id, &audit).await? {
                bail!("this tenant has no key {id}");
            }
            println!("Key {id} is dead.");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print(key: &ApiKey, now: DateTime<Utc>) {
    let scopes: Vec<_> = key.scopes.iter().map(|scope| scope.as_str()).collect();
    let state = key.state(now).as_str();
    let used = key.last_used_at.map_or("never".to_owned(), |at| at.to_rfc3339());
    println!(
        "{}  {state:7}  {:20}  {}  last used {used}",
        key.id,
        key.name,
        scopes.join(",")
    );
}
