//! Whole hosts against a simulated TikTok: every test goes through the REST API, or another door that is open to
//! callers, platforms or operators, and counts at the platform what really happened.
//!
//! PostgreSQL is the server at `PATCHBAY_TEST_POSTGRES`, where the tests may make and drop databases. `UPDATE=1`
//! writes the generated documents anew.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a helper of a test fails the test as the test itself would"
)]

mod bad_input;
mod compatible;
mod contract;
mod dead_letters;
mod deliveries;
mod group_commit;
mod harness;
mod health;
mod limits;
mod oauth;
mod pace;
mod platform_errors;
mod post_changes;
mod post_rules;
mod posts;
mod pull_urls;
mod standard_webhooks;
mod story;
mod tenancy;
mod tenants;
mod tokens;
mod webhook_effects;
mod webhooks;
mod worker_endpoints;
