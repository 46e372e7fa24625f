//! Generated files are committed, and equal what the code says. `UPDATE=1` writes them.

use std::path::Path;

use crate::{catalogue, cli, config};

#[track_caller]
fn check(path: &str, generated: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    let generated = format!("{}\n", generated.trim_end());
    if std::env::var_os("UPDATE").is_some_and(|value| value == "1") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &generated).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == generated,
        "{} is out of date: run `UPDATE=1 tests/run drift`",
        path.display()
    );
}

#[test]
fn the_openapi_document_is_up_to_date() {
    check("openapi/openapi.json", &cli::openapi_text().unwrap());
}

#[test]
fn the_catalogue_of_errors_is_up_to_date() {
    check("docs/errors.md", &catalogue::errors());
}

#[test]
fn the_reference_of_the_configuration_is_up_to_date() {
    check("docs/configuration.md", &config::reference());
}
