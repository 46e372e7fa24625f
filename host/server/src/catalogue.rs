//! docs/errors.md: every problem that the API answers, from the closed list in the code.

use std::fmt::Write;

use patchbay_app::problem::ProblemKind;
use patchbay_core::WhoActs;

/// The catalogue as Markdown.
#[must_use]
pub fn errors() -> String {
    let mut text = String::from(
        "# Errors\n\n\
         Generated from the code; do not edit. Every error of the API is an `application/problem+json` document (RFC \
         9457) with these fields: `type` (`urn:patchbay:problem:` and the code), `title`, `status`, `code`, `detail` \
         (what to do now), `retry` (whether the same request can succeed later), `who_acts`, `request_id`, and where \
         they apply `errors` (fields, by JSON pointer), `provider_code` (the platform's own code) and the header \
         `Retry-After`.\n\n\
         | code | status | meaning | retry helps | who acts |\n|---|---|---|---|---|\n",
    );
    for kind in ProblemKind::ALL {
        let retry = if kind.retry_helps() { "yes" } else { "no" };
        let who = match kind.who_acts() {
            WhoActs::Nobody => "nobody",
            WhoActs::AccountOwner => "the account's owner",
            WhoActs::Caller => "the caller",
            WhoActs::Operator => "the operator",
        };
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {retry} | {who} |",
            kind.code(),
            kind.status(),
            kind.title()
        );
    }
    text.push_str(
        "\nA post that fails later, in a worker, carries the same kind of facts in its `failure`: `kind`, the \
         platform's `code`, an `advice`, `retry` and `who_acts`. The codes of a platform are in its provider's README.\n",
    );
    text
}
