//! The REST API: one file per resource, each operation beside its documentation.

pub mod accounts;
pub mod auth;
pub mod compat;
pub mod connect;
pub mod dead_letters;
pub mod deliveries;
mod document;
pub mod events;
pub mod extract;
pub mod health;
pub mod media;
pub mod messages;
pub mod middleware;
pub mod pace;
pub mod pages;
pub mod platforms;
pub mod posts;
pub mod problem;
pub mod pull;
pub mod rate_limit;
pub mod request_id;
pub mod tenants;
pub mod webhook_endpoints;
pub mod webhooks;
pub mod workers;

use axum::{Router, extract::DefaultBodyLimit, middleware::from_fn_with_state};
use tower::ServiceBuilder;
use utoipa::OpenApi as _;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::host::Host;

/// Cap of JSON and webhook bodies.
pub const BODY_CAP: usize = 256 * 1024;

fn routes() -> OpenApiRouter<Host> {
    OpenApiRouter::with_openapi(document::Frame::openapi())
        .routes(routes!(platforms::list))
        .routes(routes!(platforms::show))
        .routes(routes!(connect::create_session))
        .routes(routes!(connect::authorize))
        .routes(routes!(connect::callback))
        .routes(routes!(connect::status))
        .routes(routes!(connect::disconnect))
        .routes(routes!(accounts::list))
        .routes(routes!(accounts::show))
        .routes(routes!(accounts::publish_options))
        .routes(routes!(posts::create::create, posts::list))
        .routes(routes!(posts::create::validate))
        .routes(routes!(posts::create::create_many, posts::list_all))
        .routes(routes!(posts::show, posts::change::edit, posts::change::cancel))
        .routes(routes!(posts::create::retry))
        .routes(routes!(posts::metrics))
        .routes(routes!(posts::journal::journal))
        .routes(routes!(media::show))
        .routes(routes!(pull::fetch))
        .routes(routes!(events::list))
        .routes(routes!(dead_letters::list))
        .routes(routes!(dead_letters::replay_many))
        .routes(routes!(dead_letters::replay))
        .routes(routes!(tenants::create, tenants::list))
        .routes(routes!(tenants::show))
        .routes(routes!(tenants::create_key, tenants::list_keys))
        .routes(routes!(tenants::revoke_key))
        .routes(routes!(webhook_endpoints::create, webhook_endpoints::list))
        .routes(routes!(
            webhook_endpoints::show,
            webhook_endpoints::change,
            webhook_endpoints::delete
        ))
        .routes(routes!(webhook_endpoints::rotate_secret))
        .routes(routes!(webhook_endpoints::test))
        .routes(routes!(deliveries::list_deliveries))
        .routes(routes!(deliveries::redeliver))
        .routes(routes!(deliveries::redeliver_many))
        .routes(routes!(webhooks::receive))
        .routes(routes!(compat::authorize))
        .routes(routes!(compat::callback))
        .routes(routes!(compat::upload))
        .routes(routes!(compat::status))
        .routes(routes!(compat::webhook))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        // Uploads have their own cap, checked while the body streams.
        .merge(
            OpenApiRouter::new()
                .routes(routes!(media::upload))
                .layer(DefaultBodyLimit::disable()),
        )
}

/// The endpoints for cron services. They exist where there is a secret for them.
fn worker_routes() -> OpenApiRouter<Host> {
    OpenApiRouter::new()
        .routes(routes!(workers::token_refresh))
        .routes(routes!(workers::webhooks))
        .routes(routes!(workers::publish))
        .routes(routes!(workers::deliver))
}

/// The whole document, from the routes alone: no state, no database.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    document::complete(routes().merge(worker_routes()).into_openapi())
}

/// Everything that the main listener serves.
pub fn router(host: Host) -> Router {
    let mut routes = routes();
    if !host.config.workers.secrets.is_empty() {
        routes = routes.merge(worker_routes());
    }
    let (router, _) = routes.split_for_parts();
    let document = openapi().to_json().unwrap_or_default();
    let json = [(axum::http::header::CONTENT_TYPE, "application/json")];
    let mut router = router
        .route("/api/openapi.json", axum::routing::get(async move || (json, document)))
        .merge(pages::routes());
    let server = &host.config.server;
    if host.metrics.is_some() && server.metrics_listen.is_none() && server.listen.ip().is_loopback() {
        router = router.route("/metrics", axum::routing::get(health::metrics));
    }
    let around = ServiceBuilder::new()
        .layer(from_fn_with_state(host.clone(), middleware::layer))
        .layer(DefaultBodyLimit::max(BODY_CAP));
    router.layer(around).with_state(host)
}
