//! The provider of this crate's parent folder as a WebAssembly component. The source is the same; the tests of
//! `tests/e2e/tests/it/bluesky` run with both.

patchbay_provider_sdk::component!(patchbay_provider_bluesky::build);
