//! The operator's settings.

use serde::Deserialize;

/// `[providers.bluesky.settings]`: there are none yet.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {}
