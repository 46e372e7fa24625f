//! The control page: one HTML file and one script, served from memory, nothing loaded from elsewhere.

use axum::Router;
use axum::http::header;
use axum::response::{IntoResponse, Redirect};
use axum::routing::get;

use super::Admin;
use crate::text::escape_html;

const PAGE: &str = include_str!("page.html");
const SCRIPT: &str = include_str!("page.js");
/// The page holds no inline script, so the browser may refuse all others.
const POLICY: &str =
    "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; connect-src 'self'; frame-ancestors 'none'";

pub(super) fn router(admin: &Admin) -> Router {
    let page = PAGE.replace("{title}", &escape_html(admin.title));
    let platform = admin.script;
    Router::new()
        .route("/", get(|| async { Redirect::temporary("/_admin/") }))
        .route("/_admin", get(|| async { Redirect::temporary("/_admin/") }))
        .route(
            "/_admin/",
            get(move || async move {
                let headers = [
                    (header::CONTENT_TYPE, "text/html; charset=utf-8"),
                    (header::CONTENT_SECURITY_POLICY, POLICY),
                ];
                (headers, page).into_response()
            }),
        )
        .route("/_admin/page.js", get(|| async { script(SCRIPT) }))
        .route("/_admin/platform.js", get(move || async move { script(platform) }))
}

fn script(text: &'static str) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], text)
}
