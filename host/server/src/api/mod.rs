//! The REST API: one file per resource, each operation beside its documentation.

pub mod account_health;
pub mod accounts;
pub mod audit;
pub mod auth;
pub mod avatars;
mod bytes;
mod choices;
pub mod compat;
pub mod connect;
pub mod connect_origins;
pub mod connect_sessions;
pub mod dead_letters;
pub mod deliveries;
mod document;
pub mod embed;
pub mod erasures;
pub mod events;
pub mod exports;
pub mod extract;
pub mod health;
pub mod imports;
pub mod media;
pub mod messages;
pub mod middleware;
pub mod operator;
pub mod pace;
pub mod pages;
pub mod platforms;
mod post_options;
pub mod posts;
pub mod problem;
pub mod pull;
pub mod rate_limit;
pub mod request_id;
pub mod site;
pub mod statistics;
pub mod tenants;
pub mod uploads;
pub mod webhook_endpoints;
pub mod webhooks;
pub mod workers;

use axum::{Router, extract::DefaultBodyLimit, middleware::from_fn_with_state};
use patchbay_core::Manifest;
use tower::ServiceBuilder;
use utoipa::OpenApi as _;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{host::Host, providers};

/// Cap of JSON and webhook bodies.
pub const BODY_CAP: usize = 256 * 1024;

fn routes() -> OpenApiRouter<Host> {
    OpenApiRouter::with_openapi(document::Frame::openapi())
        .routes(routes!(platforms::list))
        .routes(routes!(platforms::show))
        .routes(routes!(connect_sessions::create_session))
        .routes(routes!(
            connect_sessions::show_session,
            connect_sessions::cancel_session
        ))
        .routes(routes!(connect_sessions::complete_session))
        .routes(routes!(
            connect_origins::list_origins,
            connect_origins::register_origins
        ))
        .routes(routes!(embed::create_embed_session))
        .routes(routes!(connect::authorize))
        .routes(routes!(connect::callback, connect::submit))
        .routes(routes!(choices::show_choice, choices::choose))
        .routes(routes!(connect::status))
        .routes(routes!(connect::disconnect))
        .routes(routes!(accounts::list))
        .routes(routes!(accounts::show, erasures::erase_account))
        .routes(routes!(erasures::erase_owner))
        .routes(routes!(erasures::show))
        .routes(routes!(accounts::publish_options))
        .routes(routes!(avatars::avatar))
        .routes(routes!(statistics::of_account))
        .routes(routes!(statistics::of_tenant))
        .routes(routes!(account_health::health))
        .routes(routes!(posts::create::create, posts::list))
        .routes(routes!(posts::create::validate))
        .routes(routes!(posts::create::create_many, posts::list_all))
        .routes(routes!(posts::show, posts::change::edit, posts::change::cancel))
        .routes(routes!(posts::create::retry))
        .routes(routes!(posts::change::publish_draft))
        .routes(routes!(posts::metrics::metrics))
        .routes(routes!(posts::metrics::metrics_history))
        .routes(routes!(posts::journal::journal))
        .routes(routes!(posts::updates::updates))
        .routes(routes!(imports::create_import))
        .routes(routes!(imports::show_import, imports::cancel_import))
        .routes(routes!(media::show))
        .routes(routes!(media::content))
        .routes(routes!(pull::fetch))
        .routes(routes!(events::list))
        .routes(routes!(exports::export))
        .routes(routes!(audit::list))
        .routes(routes!(dead_letters::list))
        .routes(routes!(dead_letters::replay_many))
        .routes(routes!(dead_letters::replay))
        .routes(routes!(tenants::create, tenants::list))
        .routes(routes!(tenants::show, tenants::rename, erasures::erase_tenant))
        .routes(routes!(tenants::create_key, tenants::list_keys))
        .routes(routes!(tenants::revoke_key))
        .routes(routes!(
            connect_origins::list_origins_of,
            connect_origins::register_origins_of
        ))
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
        .routes(routes!(
            operator::session::sign_in,
            operator::session::show,
            operator::session::sign_out
        ))
        .routes(routes!(operator::components::list))
        .routes(routes!(operator::overview::overview))
        .routes(routes!(operator::overview::series))
        .routes(routes!(operator::accounts::list))
        .routes(routes!(operator::accounts::show))
        .routes(routes!(operator::posts::list))
        .routes(routes!(operator::posts::show))
        .routes(routes!(operator::events::list))
        .routes(routes!(operator::work::list))
        .routes(routes!(operator::work::replay_many))
        .routes(routes!(operator::work::replay))
        .routes(routes!(operator::deliveries::list_endpoints))
        .routes(routes!(operator::deliveries::list))
        .routes(routes!(operator::deliveries::redeliver))
        .routes(routes!(operator::deliveries::redeliver_many))
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
                .routes(routes!(media::upload, media::list))
                .layer(DefaultBodyLimit::disable()),
        )
}

/// Resumable uploads.
fn upload_routes() -> OpenApiRouter<Host> {
    OpenApiRouter::new()
        .routes(routes!(uploads::capabilities, uploads::begin))
        .routes(routes!(
            uploads::look,
            uploads::send,
            uploads::put,
            uploads::terminate,
            uploads::override_method
        ))
        .layer(DefaultBodyLimit::disable())
}

/// The endpoints for cron services. They exist where there is a secret for them.
fn worker_routes() -> OpenApiRouter<Host> {
    OpenApiRouter::new()
        .routes(routes!(workers::token_refresh))
        .routes(routes!(workers::webhooks))
        .routes(routes!(workers::publish))
        .routes(routes!(workers::deliver))
        .routes(routes!(workers::fetch))
        .routes(routes!(workers::metrics))
}

/// The whole document, from the routes and the built-in providers alone: no state, no database.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    let built_in = providers::all();
    let manifests: Vec<_> = built_in.iter().map(|provider| provider.manifest()).collect();
    openapi_of(&manifests)
}

/// The document of a host with these providers.
fn openapi_of(manifests: &[&Manifest]) -> utoipa::openapi::OpenApi {
    let mut document = document::complete(routes().merge(upload_routes()).merge(worker_routes()).into_openapi());
    post_options::complete(&mut document, manifests);
    document
}

/// Everything that the main listener serves.
pub fn router(host: Host) -> Router {
    let uploads = upload_routes().layer(from_fn_with_state(host.clone(), uploads::speak));
    let mut routes = routes().merge(uploads);
    if !host.config.workers.secrets.is_empty() {
        routes = routes.merge(worker_routes());
    }
    let (router, _) = routes.split_for_parts();
    let mut router = router
        .merge(document::routes())
        .merge(pages::routes())
        .merge(embed::routes(&host))
        .merge(site::routes(&host.config.site));
    let server = &host.config.server;
    if host.metrics.is_some() && server.metrics_listen.is_none() && server.listen.ip().is_loopback() {
        router = router.route("/metrics", axum::routing::get(health::metrics));
    }
    let around = ServiceBuilder::new()
        .layer(from_fn_with_state(host.clone(), middleware::layer))
        .layer(DefaultBodyLimit::max(BODY_CAP));
    router.layer(around).with_state(host)
}
