//! A running simulator as the host sees it, whatever the platform: which hosts it plays, where its controls are, and
//! a person at its consent page. The host starts one when a provider is in simulator mode.

use std::{collections::BTreeMap, future::Future, net::SocketAddr, pin::Pin};

/// A future that owns what it needs.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What a simulator needs to know of the product that it plays against.
#[derive(Clone)]
pub struct StandConfig {
    /// Public id of the app.
    pub client_id: String,
    /// Its secret.
    pub client_secret: String,
    /// Where browsers are sent back to.
    pub redirect_uri: String,
    /// Where webhooks go. Plain http on loopback is fine here.
    pub webhook_url: Option<String>,
    /// Media hosts that the app owns, each with the loopback address that plays it.
    pub media_hosts: BTreeMap<String, SocketAddr>,
    /// First of a few consecutive ports to listen on; `None`: any free ones.
    pub first_port: Option<u16>,
}

/// A running simulator.
pub trait Stand: Send + Sync {
    /// Each real host name with the loopback address that plays it.
    fn hosts(&self) -> Vec<(String, SocketAddr)>;

    /// Where its control page is.
    fn admin(&self) -> SocketAddr;

    /// A person opens the authorize page, chooses the first account and allows everything. Gives the URL that the
    /// browser is sent back to.
    fn consent<'a>(&'a self, authorize_url: &'a str) -> Pending<'a, Result<String, String>>;

    /// Stops it.
    fn shutdown(self: Box<Self>) -> Pending<'static, ()>;
}

/// Starts a simulator.
pub type StartStand = fn(StandConfig) -> Pending<'static, Result<Box<dyn Stand>, String>>;
