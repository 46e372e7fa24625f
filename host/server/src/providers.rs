//! The providers that are built in: one line each. Adding one means its own folder, a line here, and a dependency
//! line in this crate's `Cargo.toml`.

use std::sync::Arc;

use patchbay_core::{Provider, ProviderId, Settings, SettingsError};
use patchbay_simkit::stand::StartStand;

use crate::config::Known;

/// A built-in provider.
pub struct Entry {
    /// Its id, as in its manifest.
    pub id: &'static str,
    /// Makes it from its settings.
    pub build: fn(&Settings) -> Result<Arc<dyn Provider>, SettingsError>,
    /// Whether the platform works only with apps that are registered there.
    pub has_app: bool,
    /// Starts its simulator. Without one, it is off until it is turned on.
    pub simulator: Option<StartStand>,
}

/// All of them.
#[rustfmt::skip]
pub const BUILT_IN: &[Entry] = &[
    Entry { id: patchbay_provider_bluesky::ID, build: patchbay_provider_bluesky::build, has_app: false, simulator: None },
    Entry { id: patchbay_provider_tiktok::ID, build: patchbay_provider_tiktok::build, has_app: true, simulator: Some(patchbay_simulator_tiktok::stand) },
];

/// All of them, as they are without settings.
#[must_use]
pub fn all() -> Vec<Arc<dyn Provider>> {
    let settings = Settings::default();
    BUILT_IN
        .iter()
        .filter_map(|entry| (entry.build)(&settings).ok())
        .collect()
}

/// What the configuration must know of them: each has a section there.
#[must_use]
pub fn known() -> Vec<Known> {
    BUILT_IN
        .iter()
        .filter_map(|entry| {
            Some(Known {
                id: ProviderId::parse(entry.id).ok()?,
                has_app: entry.has_app,
                has_simulator: entry.simulator.is_some(),
                // Where there is something to show it with.
                on: entry.simulator.is_some(),
            })
        })
        .collect()
}
