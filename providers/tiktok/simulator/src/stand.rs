//! The simulator behind the door that the host knows ([`Stand`]).

use std::net::SocketAddr;
use std::time::Duration;

use patchbay_simkit::outbound;
use patchbay_simkit::stand::{Pending, Stand, StandConfig};

use crate::config::{Listen, SimulatorConfig};
use crate::run::{Running, Simulator};

/// Starts a simulated TikTok for a product.
pub fn stand(config: StandConfig) -> Pending<'static, Result<Box<dyn Stand>, String>> {
    Box::pin(async move {
        let running = Simulator::start(for_product(config))
            .await
            .map_err(|error| error.to_string())?;
        Ok(Box::new(TikTok(running)) as Box<dyn Stand>)
    })
}

/// The set-up of a simulator that plays against a product.
#[must_use]
pub fn for_product(config: StandConfig) -> SimulatorConfig {
    let mut simulator = SimulatorConfig {
        client_key: config.client_id,
        client_secret: config.client_secret,
        webhook_url: config.webhook_url,
        ..SimulatorConfig::default()
    };
    // The portal keeps two lists: loopback addresses are "desktop", everything else is "web" (LW, LD).
    let loopback = ["http://127.0.0.1:", "http://localhost:"];
    if loopback.iter().any(|start| config.redirect_uri.starts_with(start)) {
        simulator.redirects.desktop.push(config.redirect_uri);
    } else {
        simulator.redirects.web.push(config.redirect_uri);
    }
    simulator
        .switches
        .owned_domains
        .extend(config.media_hosts.keys().cloned());
    simulator.switches.pull_map.extend(config.media_hosts);
    if let Some(first) = config.first_port {
        let at = |offset: u16| SocketAddr::from(([127, 0, 0, 1], first.saturating_add(offset)));
        simulator.listen = Listen {
            admin: at(0),
            www: at(1),
            api: at(2),
            upload: at(3),
        };
    }
    simulator
}

struct TikTok(Running);

impl Stand for TikTok {
    fn hosts(&self) -> Vec<(String, SocketAddr)> {
        self.0.hosts()
    }

    fn admin(&self) -> SocketAddr {
        self.0.admin
    }

    fn consent<'a>(&'a self, authorize_url: &'a str) -> Pending<'a, Result<String, String>> {
        Box::pin(async move { consent(authorize_url).await.map_err(|error| error.to_string()) })
    }

    fn shutdown(self: Box<Self>) -> Pending<'static, ()> {
        Box::pin(self.0.shutdown())
    }
}

/// A person at the authorize page: chooses the first account and allows everything. Gives the URL that the browser is
/// sent back to. Looks at the page as a browser would, then posts its form (see the README, "Driving the consent page").
///
/// # Errors
/// The page or its form refuses.
pub async fn consent(authorize_url: &str) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    let client = outbound::loopback_client(Duration::from_secs(10))?;
    let page = client.get(authorize_url).send().await?;
    if !page.status().is_success() {
        return Err(format!("the consent page answered {}", page.status()).into());
    }
    let url = url::Url::parse(authorize_url)?;
    let mut form: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let scopes = form
        .iter()
        .find(|(name, _)| name == "scope")
        .map(|(_, value)| value.clone());
    let granted = scopes.unwrap_or_default();
    form.extend(granted.split(',').map(|scope| ("granted".to_owned(), scope.to_owned())));
    form.push(("account".to_owned(), "ada_public".to_owned()));
    form.push(("decision".to_owned(), "allow".to_owned()));
    let answer = client.post(url.join("/v2/auth/authorize/")?).form(&form).send().await?;
    let location = answer.headers().get("location").and_then(|value| value.to_str().ok());
    Ok(location
        .ok_or_else(|| format!("the consent form answered {}", answer.status()))?
        .to_owned())
}
