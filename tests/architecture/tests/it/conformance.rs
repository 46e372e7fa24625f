//! Every provider that the host knows stands before the conformance kit.

use std::path::Path;

use super::workspace::{names_in, root, text_of};

#[test]
fn every_registered_provider_has_a_conformance_test() {
    let list = text_of("host/server/src/providers.rs");
    // The kit plays against a simulator. A provider without one is held to the platform's own software by a test of its own.
    let registered: Vec<&str> = list
        .lines()
        .filter(|line| !line.contains("simulator: None"))
        .filter_map(|line| line.split("build: patchbay_provider_").nth(1)?.split("::").next())
        .collect();
    assert!(!registered.is_empty(), "the list of providers is not written as it was");
    for name in registered {
        let folder = format!("providers/{}", name.replace('_', "-"));
        assert!(
            root().join(Path::new(&folder)).join("tests/conformance.rs").exists(),
            "{folder} has no tests/conformance.rs: hand the provider to the kit (docs/adding-a-provider.md)"
        );
        let manifest = text_of(&format!("{folder}/Cargo.toml"));
        assert!(
            manifest.contains("name = \"conformance\"\nharness = false"),
            "{folder}/Cargo.toml: the test `conformance` needs `harness = false`, or none of its laws is run"
        );
    }
}

#[test]
fn waivers_name_providers_that_are_there() {
    let known = names_in("providers");
    for line in text_of("tests/conformance/waivers.txt").lines() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let provider = line.split('\t').nth(1).unwrap_or_default();
        assert!(
            known.iter().any(|name| name == provider),
            "{provider:?} is no provider: {line}"
        );
    }
}
