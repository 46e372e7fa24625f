//! Secrets as handles: the only form in which a provider meets a token, a client secret or an upload URL.
//!
//! A handle is a name, not a value: it is safe to print, to compare and to keep in a checkpoint. The host puts the
//! value in at the last moment, and only into a request to a host that the op table allows.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};

/// An opaque handle to a secret that the host holds.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct SecretRef(String);

const SCHEME: &str = "secret:";

impl SecretRef {
    /// A secret of the app registered at the platform, such as `client_secret`.
    #[must_use]
    pub fn app(name: &str) -> Self {
        Self(format!("{SCHEME}app/{name}"))
    }

    /// A stored credential of the account that this call works for, such as `access_token`.
    #[must_use]
    pub fn account(name: &str) -> Self {
        Self(format!("{SCHEME}account/{name}"))
    }

    /// A secret that exists only in this call, such as the authorization code of a callback.
    #[must_use]
    pub fn call(name: &str) -> Self {
        Self(format!("{SCHEME}call/{name}"))
    }

    /// A secret field that the host cut out of the answer to `op`. Made by the host, read by the provider from the
    /// answer's body, in which it stands in the place of the value.
    #[must_use]
    pub fn captured(op: &str, field: &str) -> Self {
        Self(format!("{SCHEME}captured/{op}/{field}"))
    }

    /// Reads the text form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        text.starts_with(SCHEME).then(|| Self(text.to_owned()))
    }

    /// The text form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the host made this handle from an answer.
    #[must_use]
    pub fn is_captured(&self) -> bool {
        self.0[SCHEME.len()..].starts_with("captured/")
    }
}

impl fmt::Debug for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SecretRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        // A bare value here means that the op row forgot to name this field as secret. The text is not repeated.
        Self::parse(&text).ok_or_else(|| de::Error::custom("a secret field that the op row does not name"))
    }
}
