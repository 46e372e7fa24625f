//! `[providers.<id>]`: the app that this installation is registered as at each platform, or the simulator in its place.

use std::{collections::HashMap, net::SocketAddr, str::FromStr};

use patchbay_app::secret::Secret;
use patchbay_core::ProviderId;
use url::Url;

use super::{
    key::{Key, Kind, Section},
    reader::Reader,
    server::check_browser_url,
    workers::MAX_ACTIVE,
};

/// A provider of this program, as far as the configuration must know it.
#[derive(Debug, Clone)]
pub struct Known {
    /// Its id, the name of its section.
    pub id: ProviderId,
    /// Whether the platform works only with apps that are registered there.
    pub has_app: bool,
    /// Whether it has a simulator.
    pub has_simulator: bool,
    /// Whether it is offered if nobody says otherwise.
    pub on: bool,
}

impl Known {
    pub(super) fn ids(known: &[Self]) -> Vec<ProviderId> {
        known.iter().map(|provider| provider.id.clone()).collect()
    }
}

/// One provider.
#[derive(Clone)]
pub struct ProviderConfig {
    /// Whether it is offered.
    pub enabled: bool,
    /// The real platform, or a simulator.
    pub environment: Environment,
    /// The app's public id.
    pub client_id: Option<String>,
    /// The app's secret.
    pub client_secret: Option<Secret<String>>,
    /// Where the platform sends browsers back to, if not to our own callback.
    pub redirect_uri: Option<Url>,
    /// Secrets under which its webhooks may be signed, at most two. Unless set, the client secret.
    pub webhook_secrets: Vec<Secret<String>>,
    /// The platform's hosts at a simulator that runs already. Empty: it runs in this process.
    pub simulator_hosts: HashMap<String, SocketAddr>,
    /// Whatever else the provider knows.
    pub settings: serde_json::Map<String, serde_json::Value>,
}

/// What a provider talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    /// The platform.
    Live,
    /// A simulator on this machine.
    Simulator,
}

pub(super) const ENABLED: &str = "providers.*.enabled";

pub(super) const SECTION: Section = Section {
    name: "providers",
    about: "One section for each provider, such as `[providers.example]`. In the names of variables, `<ID>` is its id in \
            capital letters, with `_` for `-`.",
    keys: &[
        Key::new(
            ENABLED,
            Kind::Flag,
            "Whether it is offered. Of a built-in provider without a simulator, the default is `false`.",
        )
        .or("true"),
        Key::new(
            "providers.*.environment",
            Kind::Choice(Environment::NAMES),
            "`live`: the real platform. `simulator`: a simulator on this machine; accounts and posts made there are \
             marked as simulated.",
        )
        .or_from(
            "`live` if `client_id` is set, or else `simulator`; of a provider without a simulator, `simulator` if \
             `simulator_hosts` is set, or else `live`",
        ),
        Key::new(
            "providers.*.client_id",
            Kind::Text,
            "The app's public id, as the platform gives it.",
        )
        .plain("<ID>_CLIENT_KEY"),
        Key::new("providers.*.client_secret", Kind::Secret, "The app's secret.").plain("<ID>_CLIENT_SECRET"),
        Key::new(
            "providers.*.client_secret_file",
            Kind::Path,
            "A file that holds the app's secret, in place of `client_secret`.",
        ),
        Key::new(
            "providers.*.redirect_uri",
            Kind::Url,
            "Where the platform sends browsers back to, exactly as registered there. Must be https, except on \
             loopback.",
        )
        .or_from("`server.public_url` and the callback's path")
        .plain("<ID>_REDIRECT_URI"),
        Key::new(
            "providers.*.webhook_secrets",
            Kind::Secrets,
            "Secrets under which the platform signs webhooks, at most two.",
        )
        .or_from("`client_secret`")
        .plain("<ID>_WEBHOOK_SECRET"),
        Key::new(
            "providers.*.webhook_secrets_file",
            Kind::Path,
            "A file with these secrets in place of `webhook_secrets`, one a line.",
        ),
        Key::new(
            "providers.*.simulator_hosts",
            Kind::Addresses,
            "The platform's hosts at a simulator that runs already, on loopback. Unless set, a simulator runs inside \
             Patchbay.",
        ),
        Key::new(
            "providers.*.settings",
            Kind::Table,
            "Settings of this provider alone; its own pages list them.",
        ),
    ],
};

impl ProviderConfig {
    pub(super) fn read(r: &mut Reader, known: &Known) -> Self {
        let id = &known.id;
        let key = |name: &str| format!("providers.{id}.{name}");
        let enabled = r.flag(&key("enabled"));
        let client_id: Option<String> = r.optional(&key("client_id"));
        let simulator_hosts = r.addresses(&key("simulator_hosts"));
        let environment = r.optional(&key("environment")).unwrap_or_else(|| {
            let (is_live, from) = if known.has_simulator {
                (client_id.is_some(), "client_id")
            } else {
                (simulator_hosts.is_empty(), "simulator_hosts")
            };
            let environment = if is_live {
                Environment::Live
            } else {
                Environment::Simulator
            };
            r.derived(&key("environment"), format!("{:?}", environment.as_str()), &key(from));
            environment
        });
        let client_secret = r.secret_or_file(&key("client_secret"));
        let redirect_uri = r.optional(&key("redirect_uri"));
        let mut webhook_secrets = r.secrets_or_file(&key("webhook_secrets"));
        if webhook_secrets.is_empty()
            && let Some(secret) = &client_secret
        {
            webhook_secrets.push(secret.clone());
            r.derived(&key("webhook_secrets"), "[set]".to_owned(), &key("client_secret"));
        }
        Self {
            enabled,
            environment,
            client_id,
            client_secret,
            redirect_uri,
            webhook_secrets,
            simulator_hosts,
            settings: r.table(&key("settings")),
        }
    }

    pub(super) fn validate(&self, r: &mut Reader, known: &Known) {
        let id = &known.id;
        let key = |name: &str| format!("providers.{id}.{name}");
        if self.enabled && known.has_app {
            self.validate_app(r, &key);
        }
        let simulated = self.environment == Environment::Simulator;
        if self.enabled && simulated && !known.has_simulator && self.simulator_hosts.is_empty() {
            let message = "cannot be \"simulator\": this provider has none. Set simulator_hosts to a server of the \
                           platform's own software on this machine, or environment = \"live\"";
            r.problem(&key("environment"), message);
        }
        if let Some(url) = &self.redirect_uri
            && let Err(message) = check_browser_url(url)
        {
            r.problem(&key("redirect_uri"), message);
        }
        if self.webhook_secrets.len() > MAX_ACTIVE {
            let file = key("webhook_secrets_file");
            let key = if r.is_set(&file) { file } else { key("webhook_secrets") };
            r.problem(&key, "holds more than two secrets: remove the oldest");
        }
        if let Some((host, at)) = self.simulator_hosts.iter().find(|(_, at)| !at.ip().is_loopback()) {
            let message = format!("{host} is at {at}, but a simulator must be on loopback, since it speaks plain http");
            r.problem(&key("simulator_hosts"), message);
        }
        if self.environment == Environment::Live && !self.simulator_hosts.is_empty() {
            let message =
                "means nothing, since the environment is \"live\": remove it, or set environment = \"simulator\"";
            r.problem(&key("simulator_hosts"), message);
        }
    }

    fn validate_app(&self, r: &mut Reader, key: &impl Fn(&str) -> String) {
        let live = self.environment == Environment::Live;
        if live && self.client_id.is_none() {
            r.problem(
                &key("client_id"),
                "must be set for the environment \"live\": take it from the platform's console",
            );
        }
        if live && self.client_secret.is_none() && !r.is_set(&key("client_secret_file")) {
            let message = "must be set for the environment \"live\", here or by client_secret_file";
            r.problem(&key("client_secret"), message);
        }
        // A secret alone would quietly mean the simulator.
        if !live && self.client_id.is_none() && self.client_secret.is_some() && !r.is_set(&key("environment")) {
            r.problem(&key("client_id"), "must be set as well, since the client secret is");
        }
    }
}

impl Environment {
    const NAMES: &[&str] = &["live", "simulator"];

    /// As it is written in the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Simulator => "simulator",
        }
    }
}

impl FromStr for Environment {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "live" => Ok(Self::Live),
            "simulator" => Ok(Self::Simulator),
            _ => Err(()),
        }
    }
}
