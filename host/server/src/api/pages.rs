//! Pages for people: what there is, connect an account, publish, read about the API. They are the plain files of `web/`,
//! built into the program. They hold no data of anyone: scripts fetch it over the same REST API that every client uses.

use axum::{
    Router,
    extract::{Path, State, rejection::PathRejection},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use patchbay_core::ProviderId;
use rust_embed::{Embed, EmbeddedFile};

use crate::host::Host;

#[derive(Embed)]
#[folder = "web/"]
struct Web;

/// The pages and what they load. They answer GET and HEAD alone.
pub fn routes() -> Router<Host> {
    Router::new()
        .route("/", get(async || page(StatusCode::OK, "index.html")))
        .route("/docs", get(async || page(StatusCode::OK, "docs.html")))
        .route("/platforms/connect", get(async || page(StatusCode::OK, "connect.html")))
        .route("/platforms/connect/{provider}", get(connect))
        .route("/platforms/choose", get(async || in_popup("choose.html")))
        .route("/platforms/connected", get(async || in_popup("connected.html")))
        .route("/platforms/{provider}/upload", get(upload))
        .route("/web/{file}", get(asset))
}

async fn connect(State(host): State<Host>, provider: Result<Path<String>, PathRejection>) -> Response {
    page_of(&host, provider, "connect.html")
}

/// A page on the way of a connect in a popup. It keeps its opener, since the last one tells it the result.
fn in_popup(name: &str) -> Response {
    let opener = HeaderName::from_static("cross-origin-opener-policy");
    ([(opener, "unsafe-none")], page(StatusCode::OK, name)).into_response()
}

async fn upload(State(host): State<Host>, provider: Result<Path<String>, PathRejection>) -> Response {
    page_of(&host, provider, "upload.html")
}

/// A page about one provider, or the page that says that there is no such provider.
fn page_of(host: &Host, provider: Result<Path<String>, PathRejection>, name: &str) -> Response {
    let known = provider
        .ok()
        .and_then(|Path(text)| ProviderId::parse(&text).ok())
        .is_some_and(|id| host.app.registry.get(&id).is_some());
    if known {
        page(StatusCode::OK, name)
    } else {
        page(StatusCode::NOT_FOUND, "missing.html")
    }
}

/// A page of text: ready HTML in the frame of `text.html`. `title` is plain.
pub fn text(title: &str, body: &str) -> String {
    let frame = Web::get("text.html").map(|file| String::from_utf8_lossy(&file.data).into_owned());
    frame
        .unwrap_or_default()
        .replace("{{title}}", title)
        .replace("{{body}}", body)
}

/// A page is never kept: the addresses that lead to one may hold the result of a connect.
fn page(status: StatusCode, name: &str) -> Response {
    match Web::get(name) {
        Some(file) => {
            let headers = [
                (header::CONTENT_TYPE, "text/html; charset=utf-8"),
                (header::CACHE_CONTROL, "no-store"),
            ];
            (status, headers, file.data).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn asset(file: Result<Path<String>, PathRejection>, headers: HeaderMap) -> Response {
    let found = file
        .ok()
        .and_then(|Path(name)| Some((content_type(&name)?, Web::get(&name)?)));
    let Some((content_type, file)) = found else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let tag = entity_tag(&file);
    // Always asked for again, seldom sent again: a new version of the program shows at once.
    let kept = [
        (header::ETAG, tag.clone()),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        // Pages of other sites load the custom elements. There is nobody's data in any file.
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            HeaderValue::from_static("cross-origin"),
        ),
    ];
    if holds(&headers, &tag) {
        return (StatusCode::NOT_MODIFIED, kept).into_response();
    }
    let typed: [(HeaderName, &str); 1] = [(header::CONTENT_TYPE, content_type)];
    (kept, typed, file.data).into_response()
}

/// Type of an asset by its name. Pages are no assets: they have their own paths.
fn content_type(name: &str) -> Option<&'static str> {
    let (stem, extension) = name.rsplit_once('.')?;
    if stem.is_empty() || !stem.bytes().all(|b| b.is_ascii_lowercase() || b == b'-') {
        return None;
    }
    match extension {
        "css" => Some("text/css; charset=utf-8"),
        "js" => Some("text/javascript; charset=utf-8"),
        "svg" => Some("image/svg+xml"),
        _ => None,
    }
}

fn entity_tag(file: &EmbeddedFile) -> HeaderValue {
    let text = format!("\"{}\"", hex::encode(&file.metadata.sha256_hash()[..16]));
    HeaderValue::from_str(&text).expect("hexadecimal digits in quotes")
}

/// Whether the browser has this version (RFC 9110, section 13.1.2: compared weakly).
fn holds(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|candidate| candidate.trim().trim_start_matches("W/"))
        .any(|candidate| candidate == "*" || candidate.as_bytes() == tag.as_bytes())
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::Request};
    use http_body_util::BodyExt;
    use tempfile::TempDir;
    use tower::ServiceExt;

    use super::*;
    use crate::{
        api,
        config::Config,
        host::{self, Built, Start},
        providers,
    };

    /// A host with its folder, both alive as long as this is.
    struct Site {
        built: Built,
        _folder: TempDir,
    }

    impl Site {
        async fn open() -> Self {
            rustls::crypto::ring::default_provider().install_default().ok();
            let folder = TempDir::new().unwrap();
            let settings = [
                ("PATCHBAY__STORAGE__DIR", folder.path().display().to_string()),
                (
                    "PATCHBAY__DATABASE__URL",
                    format!("sqlite:{}", folder.path().join("rows.db").display()),
                ),
            ];
            let settings = settings.into_iter().map(|(name, value)| (name.to_owned(), value));
            let config = Config::from_environment(settings, &providers::known()).unwrap();
            Self {
                built: host::build(config, Start::default()).await.unwrap(),
                _folder: folder,
            }
        }

        async fn get(&self, path: &str, headers: &[(HeaderName, &str)]) -> (StatusCode, HeaderMap, String) {
            let mut request = Request::get(path);
            for (name, value) in headers {
                request = request.header(name, *value);
            }
            let router = api::router(self.built.host.clone());
            let answer = router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
            let (parts, body) = answer.into_parts();
            let bytes = body.collect().await.unwrap().to_bytes();
            (parts.status, parts.headers, String::from_utf8(bytes.to_vec()).unwrap())
        }
    }

    /// All files of `web/` with their text.
    fn files() -> Vec<(String, String)> {
        let all: Vec<_> = Web::iter()
            .map(|name| {
                let data = Web::get(&name).unwrap().data;
                (name.to_string(), String::from_utf8(data.to_vec()).unwrap())
            })
            .collect();
        assert!(all.len() > 10, "only {} files", all.len());
        all
    }

    /// What stands between `start` and `end`, everywhere in a text.
    fn between<'a>(text: &'a str, start: &'a str, end: char) -> impl Iterator<Item = &'a str> {
        text.split(start).skip(1).filter_map(move |rest| rest.split(end).next())
    }

    #[tokio::test]
    async fn every_page_answers_with_the_strict_policy_and_is_not_kept() {
        let site = Site::open().await;
        let pages = [
            ("/", 200),
            ("/docs", 200),
            ("/platforms/connect", 200),
            ("/platforms/connect/tiktok", 200),
            ("/platforms/choose", 200),
            ("/platforms/connected", 200),
            ("/platforms/tiktok/upload", 200),
            ("/platforms/connect/nosuch", 404),
            ("/platforms/nosuch/upload", 404),
            ("/platforms/%ff/upload", 404),
            ("/platforms/connect/Not%20A%20Name", 404),
        ];
        for (path, status) in pages {
            let (answered, headers, body) = site.get(path, &[]).await;
            assert_eq!(answered.as_u16(), status, "{path}");
            assert_eq!(headers[header::CONTENT_TYPE], "text/html; charset=utf-8", "{path}");
            assert_eq!(headers[header::CACHE_CONTROL], "no-store", "{path}");
            let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
            for part in [
                "default-src 'none'",
                "script-src 'self'",
                "frame-ancestors 'none'",
                "base-uri 'none'",
            ] {
                assert!(policy.contains(part), "{path}: {policy}");
            }
            assert!(!policy.contains("unsafe"), "{path}: {policy}");
            assert_eq!(headers[header::REFERRER_POLICY], "no-referrer", "{path}");
            assert!(body.starts_with("<!doctype html>") && body.contains("<h1"), "{path}");
        }
    }

    #[tokio::test]
    async fn assets_have_their_type_and_are_sent_once_per_version() {
        let site = Site::open().await;
        for (file, content_type) in [
            ("style.css", "text/css; charset=utf-8"),
            ("api.js", "text/javascript; charset=utf-8"),
            ("icon.svg", "image/svg+xml"),
        ] {
            let path = format!("/web/{file}");
            let (status, headers, body) = site.get(&path, &[]).await;
            assert_eq!(
                (status, headers[header::CONTENT_TYPE].to_str().unwrap()),
                (StatusCode::OK, content_type)
            );
            assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
            assert!(!body.is_empty());
            let tag = headers[header::ETAG].to_str().unwrap().to_owned();
            for known in [
                tag.clone(),
                format!("W/{tag}"),
                format!("\"other\", {tag}"),
                "*".to_owned(),
            ] {
                let (status, headers, body) = site.get(&path, &[(header::IF_NONE_MATCH, &known)]).await;
                assert_eq!((status, body.as_str()), (StatusCode::NOT_MODIFIED, ""), "{known}");
                assert_eq!(headers[header::ETAG], tag.as_str());
            }
            assert_eq!(
                site.get(&path, &[(header::IF_NONE_MATCH, "\"other\"")]).await.0,
                StatusCode::OK
            );
        }
    }

    #[tokio::test]
    async fn nothing_but_assets_is_under_web() {
        let site = Site::open().await;
        for name in [
            "index.html",
            "missing.html",
            "nosuch.js",
            ".js",
            "..%2fCargo.toml",
            "%2e%2e%2fsrc%2fmain.js",
            "%ff",
        ] {
            let (status, headers, _) = site.get(&format!("/web/{name}"), &[]).await;
            assert_eq!(status, StatusCode::NOT_FOUND, "{name}");
            assert_eq!(headers[header::CONTENT_TYPE], "application/problem+json", "{name}");
        }
    }

    #[test]
    fn no_file_needs_more_than_the_policy_allows() {
        // Markup from text, code from text, styles inline, and stores that outlive the tab.
        let banned = [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "createContextualFragment",
            "eval(",
            "new Function",
            "srcdoc",
            "style=",
            "<style",
            "setAttribute('style",
            "javascript:",
            "localStorage",
            "document.cookie",
        ];
        for (name, text) in files() {
            // One page speaks to another window, and never to just any (T11).
            assert!(name == "connected.js" || !text.contains("postMessage"), "{name}");
            assert!(!text.contains("'*'") && !text.contains("\"*\""), "{name}");
            for word in banned {
                assert!(!text.contains(word), "{name} contains {word}");
            }
            if name.ends_with(".html") {
                for script in between(&text, "<script", '>') {
                    assert!(script.contains(" src=\"/web/"), "{name} has an inline script");
                }
                assert!(
                    !text
                        .split_whitespace()
                        .any(|word| word.starts_with("on") && word.contains("=\"")),
                    "{name}"
                );
            }
        }
    }

    #[test]
    fn no_page_names_another_site() {
        // A namespace, and the beginning of an address that people are asked for.
        let harmless = ["http://www.w3.org/2000/svg", "https://'", "https://[", "https:'"];
        for (name, text) in files() {
            let named = harmless.iter().fold(text, |text, part| text.replace(part, ""));
            assert!(
                !named.contains("http://") && !named.contains("https://"),
                "{name} names another site"
            );
            assert!(
                !named.contains("\"//") && !named.contains("url("),
                "{name} names another site"
            );
        }
    }

    #[test]
    fn everything_that_a_page_loads_is_there() {
        for (name, text) in files() {
            let loaded = between(&text, "\"/web/", '"').chain(between(&text, "from './", '\''));
            for file in loaded {
                assert!(
                    content_type(file).is_some() && Web::get(file).is_some(),
                    "{name} loads {file}"
                );
            }
        }
    }

    /// What stands between the first two single quotes.
    fn quoted(text: &str) -> Option<&str> {
        let rest = text.trim_start().strip_prefix('\'')?;
        rest.split_once('\'').map(|(found, _)| found)
    }

    #[test]
    fn every_text_is_there_in_french() {
        let french = String::from_utf8(Web::get("fr.js").unwrap().data.to_vec()).unwrap();
        let (mut seen, mut missing) = (0, Vec::new());
        // The pages of operators speak English alone.
        for (name, text) in files().into_iter().filter(|(name, _)| name != "fr.js") {
            let said = text.match_indices("t(").filter_map(|(at, _)| {
                let word = text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '.');
                quoted(&text[at + 2..]).filter(|_| !word)
            });
            for said in said.chain(between(&text, "data-t>", '<')) {
                seen += 1;
                if ![format!("'{said}':"), format!("\n  {said}:")]
                    .iter()
                    .any(|key| french.contains(key))
                {
                    missing.push(format!("{name}: {said}"));
                }
            }
        }
        assert!(seen > 150, "only {seen} texts were found");
        assert!(missing.is_empty(), "{missing:#?}");
    }
}
