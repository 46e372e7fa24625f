//! `[log]`: what is logged, and how.

use std::str::FromStr;

use super::{
    key::{Key, Kind, Section},
    reader::Reader,
};
use crate::telemetry;

/// What is logged, and how.
#[derive(Debug, Clone)]
pub struct LogConfig {
    /// How a line looks.
    pub format: LogFormat,
    /// Directives, such as `info,patchbay_app=debug`.
    pub filter: String,
}

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// For machines.
    Json,
    /// For people if standard error is a terminal, or else for machines.
    Auto,
}

pub(super) const SECTION: Section = Section {
    name: "log",
    about: "What is logged to standard error, and how.",
    keys: &[
        Key::new(
            "log.format",
            Kind::Choice(LogFormat::NAMES),
            "How a line looks. `auto`: `pretty` if standard error is a terminal, or else `json`.",
        )
        .or("auto"),
        Key::new(
            "log.filter",
            Kind::Text,
            "Levels, in the syntax of tracing's `EnvFilter`: `info,patchbay_app=debug`. Libraries that see requests \
             and answers (such as hyper, reqwest, sqlx) never log more than warnings, whatever stands here.",
        )
        .or("info,hyper=warn,h2=warn,reqwest=warn,sqlx=warn,rustls=warn"),
    ],
};

impl LogConfig {
    pub(super) fn read(r: &mut Reader) -> Self {
        Self {
            format: r.parsed("log.format"),
            filter: r.parsed("log.filter"),
        }
    }

    pub(super) fn validate(&self, r: &mut Reader) {
        if let Err(error) = telemetry::check_filter(&self.filter) {
            r.problem(
                "log.filter",
                format!("{error}; write it like \"info,patchbay_app=debug\""),
            );
        }
    }
}

impl LogFormat {
    const NAMES: &[&str] = &["pretty", "json", "auto"];
}

impl FromStr for LogFormat {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "pretty" => Ok(Self::Pretty),
            "json" => Ok(Self::Json),
            "auto" => Ok(Self::Auto),
            _ => Err(()),
        }
    }
}
