#![doc = include_str!("../README.md")]

mod api;
mod chunk;
mod config;
mod error;
mod form;
mod manifest;
mod oauth;
mod provider;
mod publish;
mod webhook;

use std::sync::Arc;

use patchbay_core::{Provider, Settings, SettingsError};

/// Name of the provider in URLs, configuration and the store.
pub const ID: &str = "tiktok";

/// Builds the provider from `[providers.tiktok.settings]`.
///
/// # Errors
/// A setting is unknown, has a value of another type, or is out of its range.
pub fn build(settings: &Settings) -> Result<Arc<dyn Provider>, SettingsError> {
    Ok(Arc::new(provider::TikTok::new(&config::Config::read(settings)?)))
}
