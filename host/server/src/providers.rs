//! The providers that are built in: one line each. Adding one means its own folder, a line here, and a dependency
//! line in this crate's `Cargo.toml`.

use std::sync::Arc;

use patchbay_core::{Provider, ProviderId, Settings, SettingsError};
use patchbay_simkit::stand::StartStand;

/// A built-in provider.
pub struct Entry {
    /// Its id, as in its manifest.
    pub id: &'static str,
    /// Makes it from its settings.
    pub build: fn(&Settings) -> Result<Arc<dyn Provider>, SettingsError>,
    /// Starts its simulator.
    pub simulator: StartStand,
}

/// All of them.
#[rustfmt::skip]
pub const BUILT_IN: &[Entry] = &[
    Entry { id: patchbay_provider_tiktok::ID, build: patchbay_provider_tiktok::build, simulator: patchbay_simulator_tiktok::stand },
];

/// Their ids: each has a section of the configuration.
#[must_use]
pub fn ids() -> Vec<ProviderId> {
    BUILT_IN
        .iter()
        .filter_map(|entry| ProviderId::parse(entry.id).ok())
        .collect()
}
