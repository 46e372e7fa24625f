//! Logs and metrics. Logs go to standard error, one event a line, with the fields of the spans around it
//! (`request_id`, `correlation_id`).
//!
//! Three walls stand behind the rule that nobody logs a secret: libraries that see requests are held at warnings
//! (`filter`), control characters are escaped (`escape`), and what looks like a credential is masked (`redact`).

mod escape;
mod filter;
pub mod metrics;
mod redact;
#[cfg(test)]
mod tests;
mod writer;

use std::io::{self, IsTerminal as _};

use tracing::Subscriber;
use tracing_subscriber::{
    Layer, Registry,
    fmt::{self, MakeWriter},
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

pub use self::filter::check as check_filter;
use self::{escape::EscapedFields, writer::LastLook};
use crate::config::{LogConfig, LogFormat};

/// Logging cannot start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is not one.
    #[error("log.filter")]
    Filter(#[source] tracing_subscriber::filter::ParseError),
    /// Somebody else has set a subscriber in this process.
    #[error("logging has been started twice")]
    Twice(#[source] tracing_subscriber::util::TryInitError),
}

/// Starts logging to standard error, for the whole process.
///
/// # Errors
/// The filter cannot be read, or logging has been started before.
pub fn init(config: &LogConfig) -> Result<(), TelemetryError> {
    subscriber(config, io::stderr, io::stderr().is_terminal())?
        .try_init()
        .map_err(TelemetryError::Twice)
}

/// What [`init`] starts, for any writer.
///
/// # Errors
/// The filter cannot be read.
pub fn subscriber<W>(
    config: &LogConfig,
    writer: W,
    terminal: bool,
) -> Result<impl Subscriber + Send + Sync + 'static, TelemetryError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = filter::build(&config.filter).map_err(TelemetryError::Filter)?;
    let json = match config.format {
        LogFormat::Pretty => false,
        LogFormat::Json => true,
        LogFormat::Auto => !terminal,
    };
    // A closed standard error must not become a panic, which reporting a failed write to it would be.
    let layer = fmt::layer().log_internal_errors(false);
    let layer = if json {
        let layer = layer.json().with_current_span(false).with_span_list(true);
        layer.with_writer(LastLook::json(writer)).boxed()
    } else if terminal {
        // In colours, unless the terminal's user asks for none.
        layer
            .fmt_fields(EscapedFields)
            .with_writer(LastLook::colours(writer))
            .boxed()
    } else {
        layer
            .fmt_fields(EscapedFields)
            .with_ansi(false)
            .with_writer(LastLook::text(writer))
            .boxed()
    };
    Ok(Registry::default().with(filter).with(layer))
}
