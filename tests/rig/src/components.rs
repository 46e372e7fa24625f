//! Components that were built for tests. The lanes of `tests/run` that build them say where they are.

use std::path::PathBuf;

/// The hosts that TikTok's component may reach.
pub const TIKTOK_HOSTS: [&str; 4] = [
    "open.tiktokapis.com",
    "*.tiktokapis.com",
    "*.tiktokapis.us",
    "www.tiktok.com",
];

/// The file of a component.
///
/// # Panics
/// No lane that builds components runs this.
#[must_use]
pub fn component(name: &str) -> PathBuf {
    let Some(dir) = std::env::var_os("PATCHBAY_TEST_COMPONENTS") else {
        panic!("PATCHBAY_TEST_COMPONENTS is not set: run this by a lane of tests/run that builds components")
    };
    PathBuf::from(dir).join(format!("{name}.wasm"))
}
