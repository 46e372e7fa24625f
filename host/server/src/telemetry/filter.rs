//! Which events are logged: what the operator's filter lets through, under caps that it cannot lift.

use tracing::{Level, Metadata};
use tracing_subscriber::{
    EnvFilter, Registry,
    filter::{FilterExt as _, ParseError, filter_fn},
    layer::Filter,
};

/// Libraries that handle requests, answers, statements or keys, and at lower levels log pieces of them. Crates called
/// `<name>_…` are meant too.
const CAPPED: &[&str] = &[
    "axum",
    "h2",
    "hyper",
    "reqwest",
    "rustls",
    "sqlx",
    "tokio_rustls",
    "tower_http",
];
/// Our own crates start with this.
const OURS: &str = "patchbay";

/// Builds the filter.
pub(super) fn build(directives: &str) -> Result<impl Filter<Registry> + Send + Sync + 'static, ParseError> {
    let wanted = EnvFilter::builder().parse(directives)?;
    // Our spans carry the ids that tie lines together, so they exist even if only warnings are wanted.
    let context = filter_fn(|meta| meta.is_span() && *meta.level() <= Level::INFO && meta.target().starts_with(OURS));
    Ok(wanted.or(context).and(filter_fn(is_below_cap)))
}

/// Says what is wrong with a filter.
///
/// # Errors
/// It cannot be read.
pub fn check(directives: &str) -> Result<(), ParseError> {
    EnvFilter::builder().parse(directives).map(drop)
}

fn is_below_cap(meta: &Metadata<'_>) -> bool {
    *meta.level() <= Level::WARN || !is_capped(meta.target())
}

fn is_capped(target: &str) -> bool {
    let name = target.split("::").next().unwrap_or(target);
    CAPPED.iter().any(|capped| {
        name.strip_prefix(capped)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_capped_by_crate_and_family() {
        for capped in [
            "hyper",
            "hyper::proto::h1",
            "hyper_util::client",
            "sqlx::query",
            "sqlx_core",
            "rustls::conn",
            "h2",
        ] {
            assert!(is_capped(capped), "{capped}");
        }
        for free in [
            "patchbay_app",
            "h2o::x",
            "hyperspace",
            "tokio",
            "sql",
            "patchbay_server::hyper",
        ] {
            assert!(!is_capped(free), "{free}");
        }
    }
}
