//! Serving: listeners, workers and an orderly end. Or working alone, beside hosts that serve.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context;
use axum::{Router, routing::get};
use tokio::{net::TcpListener, task::JoinSet, time};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{
    api::{self, webhooks::Door},
    components,
    host::{Built, Host},
    lane::Lane,
    listen::{self, Limits, Tls},
    telemetry, worker,
};

/// Time between two looks for callers that need no memory any more.
const FORGET: Duration = Duration::from_mins(1);

/// A host that is being served.
pub struct Serving {
    /// The host.
    pub host: Host,
    /// Where it listens.
    pub address: SocketAddr,
    simulators: Vec<(patchbay_core::ProviderId, Box<dyn patchbay_simkit::stand::Stand>)>,
    tasks: JoinSet<()>,
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
    let limits = limits_of(&host);
    let address = listener.local_addr()?;
    let stop = host.stopping.clone();
    let mut tasks = JoinSet::new();
    attend(&host, &mut tasks).await?;
    tasks.spawn(listen::serve(
        listener,
        Door::before(api::router(host.clone()), host.clone()),
        tls,
        limits,
        stop.clone(),
    ));
    if host.config.workers.enabled {
        let (host, stop) = (host.clone(), stop.clone());
        tasks.spawn(async move { worker::run(host, &Lane::ALL, stop).await });
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

/// Works off these lanes until `end`, and lets running steps end then. There is no API; health and metrics are on
/// `server.metrics_listen`, if it is set.
///
/// # Errors
/// The metrics address cannot be bound.
pub async fn work(built: Built, lanes: &[Lane], end: impl Future<Output = ()>) -> anyhow::Result<()> {
    let Built { host, simulators } = built;
    let stop = host.stopping.clone();
    let mut tasks = JoinSet::new();
    attend(&host, &mut tasks).await?;
    let names: Vec<_> = lanes.iter().map(|lane| lane.as_str()).collect();
    info!(
        lanes = names.join(","),
        store = host.app.store.backend(),
        "Patchbay is working"
    );
    let until_stopped = async {
        end.await;
        stop.cancel();
    };
    tokio::join!(worker::run(host.clone(), lanes, stop.clone()), until_stopped);
    while tasks.join_next().await.is_some() {}
    for (_, stand) in simulators {
        stand.shutdown().await;
    }
    Ok(())
}

/// What every process that lives on has beside its work.
async fn attend(host: &Host, tasks: &mut JoinSet<()>) -> anyhow::Result<()> {
    let stop = host.stopping.clone();
    if let Some(handle) = host.metrics.clone() {
        tasks.spawn(telemetry::metrics::upkeep(handle, stop.clone()));
    }
    if let Some(address) = host.config.server.metrics_listen {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("listening on {address}"))?;
        let router = Router::new()
            .route("/healthz", get(api::health::live))
            .route("/readyz", get(api::health::ready))
            .route("/metrics", get(api::health::metrics))
            .with_state(host.clone());
        tasks.spawn(listen::serve(listener, router, None, limits_of(host), stop.clone()));
    }
    tasks.spawn(worker::follow_clock(host.clone(), stop.clone()));
    tasks.spawn(forget(host.clone(), stop.clone()));
    tasks.spawn(components::watch(host.clone(), stop.clone()));
    let host = host.clone();
    tasks.spawn(async move {
        stop.cancelled().await;
        host.passes.ended().await;
    });
    Ok(())
}

fn limits_of(host: &Host) -> Limits {
    Limits {
        sockets: host.config.server.max_sockets,
        sockets_per_ip: host.config.server.max_sockets_per_ip,
        ..Limits::default()
    }
}

/// Forgets callers that have been away, until `stop`.
async fn forget(host: Host, stop: CancellationToken) {
    let mut round = time::interval(FORGET);
    loop {
        tokio::select! {
            _ = round.tick() => host.gate.forget_idle(),
            () = stop.cancelled() => return,
        }
    }
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
