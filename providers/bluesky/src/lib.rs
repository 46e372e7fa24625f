#![doc = include_str!("../README.md")]

mod api;
mod config;
mod error;
mod login;
mod manifest;
mod name;
mod provider;
mod publish;
mod record;
mod richtext;
mod tid;

use std::sync::Arc;

use patchbay_core::{Provider, Settings, SettingsError};

/// Name of the provider in URLs, configuration and the store.
pub const ID: &str = "bluesky";

/// Builds the provider from `[providers.bluesky.settings]`.
///
/// # Errors
/// A setting is unknown.
pub fn build(settings: &Settings) -> Result<Arc<dyn Provider>, SettingsError> {
    let config::Config {} = settings.read()?;
    Ok(Arc::new(provider::Bluesky::new()))
}
