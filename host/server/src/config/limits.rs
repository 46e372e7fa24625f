//! `[limits]`: how many requests a caller of the API may send.

use super::{
    key::{Key, Kind, Section},
    reader::Reader,
};

/// Limits of one API key in one process.
#[derive(Debug, Clone)]
pub struct LimitsConfig {
    /// Requests a second; 0: any number.
    pub requests_per_second: u32,
    /// Requests at once, after a pause.
    pub burst: u32,
}

pub(super) const SECTION: Section = Section {
    name: "limits",
    about: "How many requests an API key may send. Each process counts for itself. Webhooks, worker endpoints and health \
            are not limited by this.",
    keys: &[
        Key::new(
            "limits.requests_per_second",
            Kind::Whole(0, 100_000),
            "Requests a second of one API key; the first-party pages count as one. More are answered with 429 and \
             `Retry-After`. 0: no limit.",
        )
        .or("200"),
        Key::new(
            "limits.burst",
            Kind::Whole(1, 100_000),
            "Requests that may come at once after a pause.",
        )
        .or("1000"),
    ],
};

impl LimitsConfig {
    pub(super) fn read(r: &mut Reader) -> Self {
        Self {
            requests_per_second: r.whole("limits.requests_per_second"),
            burst: r.whole("limits.burst"),
        }
    }
}
