#![doc = include_str!("../README.md")]

mod api;
mod error;
mod manifest;
mod oauth;
mod publish;
mod webhook;

use std::sync::Arc;

use patchbay_core::{Manifest, OAuthProvider, Provider, Publisher, Settings, SettingsError, WebhookSource};
use serde::Deserialize;

/// Name of the provider in URLs, configuration and the store.
pub const ID: &str = "quill";

/// `[providers.quill.settings]`: there are none.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {}

/// Builds the provider from its settings.
///
/// # Errors
/// A setting is unknown.
pub fn build(settings: &Settings) -> Result<Arc<dyn Provider>, SettingsError> {
    let Config {} = settings.read()?;
    let manifest = manifest::manifest();
    Ok(Arc::new(Bundle { manifest }))
}

/// One value that holds the manifest and the implementations.
struct Bundle {
    manifest: Manifest,
}

// CHANGE: what the platform does not have is a method less here.
impl Provider for Bundle {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn oauth(&self) -> Option<&dyn OAuthProvider> {
        Some(&oauth::Connect)
    }

    fn publisher(&self) -> Option<&dyn Publisher> {
        Some(&publish::Posts)
    }

    fn webhooks(&self) -> Option<&dyn WebhookSource> {
        Some(&webhook::Webhooks)
    }
}
