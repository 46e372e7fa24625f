//! How a simulated TikTok is set up: one developer app, its users, where to listen, and the switches.
//!
//! Facts behind the defaults are in the README next to each switch.

use std::net::SocketAddr;
use std::path::PathBuf;

use patchbay_simkit::Clock;

use crate::account::Account;
use crate::oauth::redirect::{RedirectError, Redirects};
use crate::switches::Switches;

/// The scopes an app can have here (developers.tiktok.com/doc/tiktok-api-scopes).
pub const SCOPES: [&str; 6] = [
    "user.info.basic",
    "user.info.profile",
    "user.info.stats",
    "video.list",
    "video.publish",
    "video.upload",
];

/// Everything a simulator is started with. No `Debug`: it holds the app's secret.
#[derive(Clone)]
pub struct SimulatorConfig {
    pub client_key: String,
    pub client_secret: String,
    pub redirects: Redirects,
    /// Scopes the app has been given in the portal.
    pub scopes: Vec<String>,
    /// The app's callback URL in the portal.
    pub webhook_url: Option<String>,
    pub accounts: Vec<Account>,
    pub switches: Switches,
    pub clock: Clock,
    /// `None` draws a seed nobody chose, so that two runs share no ids.
    pub seed: Option<u64>,
    /// Keeps received media as files here. Otherwise only digest and length are kept.
    pub keep_media: Option<PathBuf>,
    /// The host named in `upload_url`.
    pub upload_host: String,
    pub listen: Listen,
}

/// Where to listen; port 0 picks a free one.
#[derive(Clone, Copy, Debug)]
pub struct Listen {
    pub api: SocketAddr,
    pub www: SocketAddr,
    pub upload: SocketAddr,
    pub admin: SocketAddr,
}

impl Default for Listen {
    fn default() -> Self {
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            api: loopback,
            www: loopback,
            upload: loopback,
            admin: loopback,
        }
    }
}

impl Default for SimulatorConfig {
    fn default() -> Self {
        Self {
            client_key: "simulated-client-key".to_owned(),
            client_secret: "simulated-client-secret".to_owned(),
            redirects: Redirects::default(),
            scopes: SCOPES.map(str::to_owned).to_vec(),
            webhook_url: None,
            accounts: Account::built_in(),
            switches: Switches::default(),
            clock: Clock::running(),
            seed: None,
            keep_media: None,
            upload_host: "open-upload.tiktokapis.com".to_owned(),
            listen: Listen::default(),
        }
    }
}

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    #[error("redirect URI {uri}: {reason}")]
    Redirect { uri: String, reason: RedirectError },
    #[error("{kind} lists {count} redirect URIs; the portal takes 10")]
    TooManyRedirects { kind: &'static str, count: usize },
    #[error("two accounts are called {0}")]
    AccountTwice(String),
    #[error("{0} must not be empty")]
    Empty(&'static str),
}

impl SimulatorConfig {
    /// Applies the rules of the developer portal.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.client_key.is_empty() {
            return Err(ConfigError::Empty("client_key"));
        }
        if self.client_secret.is_empty() {
            return Err(ConfigError::Empty("client_secret"));
        }
        self.redirects.validate()?;
        let mut names: Vec<_> = self.accounts.iter().map(|a| &a.username).collect();
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(twice) => Err(ConfigError::AccountTwice(twice[0].clone())),
            None => Ok(()),
        }
    }
}
