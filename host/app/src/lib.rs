//! Patchbay's domain and use cases: connect, publish, ingest, refresh. No HTTP server, no SQL and no HTTP client: the
//! database is the [`store::Store`] trait, the wire is the [`wire::Wire`] trait, time and chance are [`env::Env`].

pub mod env;
pub mod model;
pub mod secret;
pub mod store;
pub mod wire;
