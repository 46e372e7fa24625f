//! Names to addresses. One lookup serves the check and the dial, so a name cannot change in between, and one blocked
//! address refuses the whole name.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use async_trait::async_trait;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::policy::{Blocked, Policy};

/// Looks a name up.
#[async_trait]
pub trait Lookup: Send + Sync + 'static {
    /// All addresses of the name, in the order of preference.
    ///
    /// # Errors
    /// The name has no address, or nobody answered.
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// The resolver of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemLookup;

#[async_trait]
impl Lookup for SystemLookup {
    async fn lookup(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((name, 0))
            .await?
            .map(|address| address.ip())
            .collect())
    }
}

/// A lookup whose result was checked against the policy.
pub(crate) struct Vetted {
    pub(crate) lookup: Arc<dyn Lookup>,
    pub(crate) policy: Arc<Policy>,
}

/// The connect timeout is shared among the addresses of a name, so more of them would only make each try shorter.
const MAX_DIALLED: usize = 8;

impl Resolve for Vetted {
    fn resolve(&self, name: Name) -> Resolving {
        let lookup = Arc::clone(&self.lookup);
        let policy = Arc::clone(&self.policy);
        Box::pin(async move {
            let found = lookup.lookup(name.as_str()).await?;
            if !found.iter().all(|address| policy.allows_address(*address)) {
                return Err(Blocked::Address.into());
            }
            // Port 0 stands for the port of the URL. Canonical, so that what is dialled is what was checked.
            let dialled: Vec<SocketAddr> = found
                .iter()
                .take(MAX_DIALLED)
                .map(|address| SocketAddr::new(address.to_canonical(), 0))
                .collect();
            Ok(Box::new(dialled.into_iter()) as Addrs)
        })
    }
}

/// For the client that talks to simulators: it dials literals only.
pub(crate) struct NoNames;

impl Resolve for NoNames {
    fn resolve(&self, _name: Name) -> Resolving {
        Box::pin(async { Err(Blocked::Address.into()) })
    }
}
