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

mod account_health;
mod audit;
mod avatars;
mod bad_input;
mod bluesky;
mod choices;
mod compatible;
mod components;
mod connect_sessions;
mod contract;
mod dead_letters;
mod deliveries;
mod drafts;
mod erasures;
mod exports;
mod group_commit;
mod harness;
mod health;
mod hostile;
mod imports;
mod limits;
mod metrics;
mod oauth;
mod operator;
mod pace;
mod platform_errors;
mod post_changes;
mod post_rules;
mod post_updates;
mod posts;
mod pull_urls;
mod revived;
mod s3_failures;
mod s3_media;
mod site;
mod standard_webhooks;
mod statistics;
mod story;
mod tenancy;
mod tenants;
mod tokens;
mod tus_clients;
mod uploads;
mod webhook_effects;
mod webhooks;
mod worker_endpoints;
