//! Which events are logged: what the operator's filter lets through, under caps that it cannot lift.

use tracing::{
    Level, Metadata, Subscriber,
    level_filters::LevelFilter,
    span::{Attributes, Id, Record},
    subscriber::Interest,
};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{FilterExt as _, ParseError, filter_fn},
    layer::{Context, Filter},
};

/// Libraries that handle requests, answers, statements or keys, and at lower levels log pieces of them; and the compiler of
/// components, which logs each instruction. Crates called `<name>_…` are meant too.
const CAPPED: &[&str] = &[
    "axum",
    "cranelift",
    "h2",
    "hyper",
    "lambda",
    "regalloc2",
    "reqwest",
    "rustls",
    "sqlx",
    "tokio_rustls",
    "tower_http",
    "wasmtime",
];
/// Our own crates start with this.
const OURS: &str = "patchbay";

/// A filter for everything, not for one layer. A layer's filter keeps its last verdict for the next event of the thread,
/// and is not asked again where the answer is always yes. So a mere question whether something would be logged, as
/// `log::log_enabled!` asks, would take the next event with it.
struct ForAll<F>(F);

impl<S: Subscriber, F: Filter<S> + 'static> Layer<S> for ForAll<F> {
    fn register_callsite(&self, meta: &'static Metadata<'static>) -> Interest {
        self.0.callsite_enabled(meta)
    }

    fn enabled(&self, meta: &Metadata<'_>, context: Context<'_, S>) -> bool {
        self.0.enabled(meta, &context)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        self.0.max_level_hint()
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        self.0.on_new_span(attributes, id, context);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        self.0.on_record(id, values, context);
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        self.0.on_enter(id, context);
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        self.0.on_exit(id, context);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        self.0.on_close(id, context);
    }
}

/// Builds the filter.
pub(super) fn build(directives: &str) -> Result<impl Layer<Registry> + Send + Sync + 'static, ParseError> {
    let wanted = EnvFilter::builder().parse(directives)?;
    // Our spans carry the ids that tie lines together, so they exist even if only warnings are wanted.
    let context = filter_fn(|meta| meta.is_span() && *meta.level() <= Level::INFO && meta.target().starts_with(OURS));
    Ok(ForAll(wanted.or(context).and(filter_fn(is_below_cap))))
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
