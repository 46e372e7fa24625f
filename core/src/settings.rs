//! A provider's own settings, from `[providers.<id>.settings]`.

use serde::de::DeserializeOwned;

/// Settings as the operator wrote them.
#[derive(Debug, Clone, Default)]
pub struct Settings(pub serde_json::Map<String, serde_json::Value>);

impl Settings {
    /// Reads them into the provider's own type, which should `deny_unknown_fields`.
    ///
    /// # Errors
    /// A field is unknown or has a value of another type.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, SettingsError> {
        serde_json::from_value(serde_json::Value::Object(self.0.clone())).map_err(|e| SettingsError(e.to_string()))
    }
}

/// A setting that cannot be used, in words for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SettingsError(pub String);
