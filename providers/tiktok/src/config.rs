//! The operator's settings, checked once at start.

use std::time::Duration;

use patchbay_core::{Settings, SettingsError};
use serde::Deserialize;

use crate::{chunk, manifest::SCOPES};

/// `[providers.tiktok.settings]`. Every field has a default.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// Also take webhooks in the simplified form (`x-tiktok-signature`). A bare signature there has no timestamp, so
    /// this is for trials and never for production.
    pub accept_simplified_webhooks: bool,
    /// Wanted size of an upload chunk.
    pub chunk_size_bytes: u64,
    /// Shortest wait between two looks at a post's status.
    pub poll_min_seconds: u64,
    /// Longest wait between two looks.
    pub poll_max_seconds: u64,
    /// After this long in processing a post is given up.
    pub give_up_hours: u64,
    /// Scopes to ask for by default, when the app does not have all of them.
    pub scopes: Option<Vec<String>>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            accept_simplified_webhooks: false,
            chunk_size_bytes: 10 * 1024 * 1024,
            poll_min_seconds: 3,
            poll_max_seconds: 60,
            give_up_hours: 24,
            scopes: None,
        }
    }
}

impl Config {
    pub(crate) fn read(settings: &Settings) -> Result<Self, SettingsError> {
        let config: Self = settings.read()?;
        config.check()?;
        Ok(config)
    }

    pub(crate) fn poll_min(&self) -> Duration {
        Duration::from_secs(self.poll_min_seconds)
    }

    pub(crate) fn poll_max(&self) -> Duration {
        Duration::from_secs(self.poll_max_seconds)
    }

    pub(crate) fn give_up(&self) -> Duration {
        Duration::from_hours(self.give_up_hours)
    }

    fn check(&self) -> Result<(), SettingsError> {
        let range = |name: &str, value: u64, least: u64, most: u64| {
            if (least..=most).contains(&value) {
                Ok(())
            } else {
                Err(SettingsError(format!(
                    "{name} is {value}; give a value from {least} to {most}"
                )))
            }
        };
        range(
            "chunk_size_bytes",
            self.chunk_size_bytes,
            chunk::MIN_CHUNK,
            chunk::MAX_CHUNK,
        )?;
        // The status call has 30 places a minute per account; below 2 s one post alone would use them all.
        range("poll_min_seconds", self.poll_min_seconds, 2, 300)?;
        range("poll_max_seconds", self.poll_max_seconds, self.poll_min_seconds, 3600)?;
        range("give_up_hours", self.give_up_hours, 1, 24 * 7)?;
        self.check_scopes()
    }

    fn check_scopes(&self) -> Result<(), SettingsError> {
        let Some(scopes) = &self.scopes else { return Ok(()) };
        let known = || {
            let names: Vec<_> = SCOPES.iter().map(|scope| scope.name).collect();
            names.join(", ")
        };
        if scopes.is_empty() {
            return Err(SettingsError(format!(
                "scopes is empty; leave it out, or give some of {}",
                known()
            )));
        }
        for (index, name) in scopes.iter().enumerate() {
            if !SCOPES.iter().any(|scope| scope.name == name) {
                return Err(SettingsError(format!(
                    "scopes: {name:?} is not known; give some of {}",
                    known()
                )));
            }
            if scopes[..index].contains(name) {
                return Err(SettingsError(format!("scopes: {name} is there twice")));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: serde_json::Value) -> Result<Config, SettingsError> {
        let serde_json::Value::Object(map) = value else {
            panic!("settings are an object")
        };
        Config::read(&Settings(map))
    }

    #[test]
    fn no_settings_are_the_defaults() {
        assert_eq!(read(json!({})), Ok(Config::default()));
        assert!(!Config::default().accept_simplified_webhooks);
    }

    #[track_caller]
    fn refused(settings: serde_json::Value, names: &str) {
        let error = read(settings).unwrap_err();
        assert!(error.0.contains(names), "{error}");
    }

    #[test]
    fn a_wrong_setting_is_refused_by_name() {
        refused(json!({ "chunk_size": 1 }), "chunk_size");
        refused(json!({ "chunk_size_bytes": 5_000_000 }), "chunk_size_bytes");
        refused(json!({ "chunk_size_bytes": 67_108_864 }), "chunk_size_bytes");
        refused(json!({ "poll_min_seconds": 0 }), "poll_min_seconds");
        refused(
            json!({ "poll_min_seconds": 90, "poll_max_seconds": 60 }),
            "poll_max_seconds",
        );
        refused(json!({ "give_up_hours": 0 }), "give_up_hours");
        refused(json!({ "scopes": [] }), "scopes");
        refused(json!({ "scopes": ["video.create"] }), "video.create");
        refused(json!({ "scopes": ["video.upload", "video.upload"] }), "twice");
    }
}
