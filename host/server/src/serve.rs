//! Serving: listeners, workers and an orderly end.

use std::net::SocketAddr;

use anyhow::Context;
use patchbay_app::model::JobKind;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{
    api,
    host::{Built, Host},
    listen::{self, Limits, Tls},
    worker,
};

/// A host that is being served.
pub struct Serving {
    /// The host.
    pub host: Host,
    /// Where it listens.
    pub address: SocketAddr,
    simulators: Vec<(patchbay_core::ProviderId, Box<dyn patchbay_simkit::stand::Stand>)>,
    tasks: tokio::task::JoinSet<()>,
    stop: CancellationToken,
}

/// Starts to serve on a bound listener.
///
/// # Errors
/// The TLS files cannot be used, or the metrics address cannot be bound.
pub async fn start(built: Built, listener: TcpListener) -> anyhow::Result<Serving> {
    let Built { host, simulators } = built;
    let server = &host.config.server;
    let tls = match (&server.tls_cert, &server.tls_key) {
        (Some(cert), Some(key)) => Some(Tls::from_files(cert, key).context("reading the TLS files")?),
        _ => None,
    };
    let limits = Limits {
        sockets: server.max_sockets,
        sockets_per_ip: server.max_sockets_per_ip,
        ..Limits::default()
    };
    let address = listener.local_addr()?;
    let stop = host.stopping.clone();
    let mut tasks = tokio::task::JoinSet::new();
    if let Some(handle) = host.metrics.clone() {
        tasks.spawn(crate::telemetry::metrics::upkeep(handle, stop.clone()));
    }
    if let Some(metrics) = server.metrics_listen {
        let listener = TcpListener::bind(metrics)
            .await
            .with_context(|| format!("listening on {metrics}"))?;
        let router = axum::Router::new()
            .route("/metrics", axum::routing::get(api::health::metrics))
            .with_state(host.clone());
        tasks.spawn(listen::serve(listener, router, None, limits.clone(), stop.clone()));
    }
    tasks.spawn(listen::serve(
        listener,
        api::router(host.clone()),
        tls,
        limits,
        stop.clone(),
    ));
    tasks.spawn(worker::follow_clock(host.clone(), stop.clone()));
    if host.config.workers.enabled {
        let (host, stop) = (host.clone(), stop.clone());
        tasks.spawn(async move { worker::run(host, &JobKind::ALL, stop).await });
    }
    info!(%address, url = %host.config.server.public_url, store = host.app.store.backend(), "Patchbay is serving");
    Ok(Serving {
        host,
        address,
        simulators,
        tasks,
        stop,
    })
}

impl Serving {
    /// The simulator of a provider, if this host runs it.
    #[must_use]
    pub fn simulator(&self, provider: &str) -> Option<&dyn patchbay_simkit::stand::Stand> {
        self.simulators
            .iter()
            .find(|(id, _)| id.as_str() == provider)
            .map(|(_, stand)| &**stand)
    }

    /// Ends: no new work, running requests and steps end, refreshes first.
    pub async fn stop(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
        for (_, stand) in self.simulators {
            stand.shutdown().await;
        }
    }
}

/// A future that ends at Ctrl-C or SIGTERM. They are heard from this call on, so it comes before the first sign of life:
/// a signal that nobody listens for ends the process where it stands.
pub fn asked_to_stop() -> impl Future<Output = ()> {
    #[cfg(unix)]
    let signals = {
        use tokio::signal::unix::{SignalKind, signal};
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    };
    async move {
        #[cfg(unix)]
        match signals {
            (Ok(mut terminate), Ok(mut interrupt)) => tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            },
            _ => drop(tokio::signal::ctrl_c().await),
        }
        #[cfg(not(unix))]
        drop(tokio::signal::ctrl_c().await);
        info!("Stopping");
    }
}
