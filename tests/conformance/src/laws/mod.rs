//! The laws, group by group. Each file begins with its table.

mod errors;
mod manifest;
mod media;
mod oauth;
mod publish;
mod rates;
mod secrets;
mod termination;
mod trial;
pub(crate) mod webhooks;

use crate::law::Law;

/// All laws, in the order of reports.
#[must_use]
pub fn all() -> Vec<Law> {
    [
        manifest::LAWS,
        rates::LAWS,
        oauth::LAWS,
        errors::LAWS,
        publish::LAWS,
        media::LAWS,
        webhooks::LAWS,
        termination::LAWS,
        secrets::LAWS,
    ]
    .concat()
}
