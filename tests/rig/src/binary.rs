//! Where the program under test is.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::SystemTime,
};

/// The `patchbay` of the profile that this test was built with, or the one that `PATCHBAY_TEST_BINARY` names. Built first
/// if it is missing or older than its sources.
pub fn patchbay() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| found("PATCHBAY_TEST_BINARY", "patchbay", &["-p", "patchbay-server"]))
}

/// As [`patchbay`], with failpoints; or the one that `PATCHBAY_TEST_FAILPOINTS_BINARY` names.
pub fn with_failpoints() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    let selection = ["-p", "patchbay-faults", "--features", "failpoints"];
    PATH.get_or_init(|| found("PATCHBAY_TEST_FAILPOINTS_BINARY", "patchbay-failpoints", &selection))
}

/// The function for AWS Lambda, or the one that `PATCHBAY_TEST_LAMBDA_BINARY` names.
pub fn lambda() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        found(
            "PATCHBAY_TEST_LAMBDA_BINARY",
            "patchbay-lambda",
            &["-p", "patchbay-lambda"],
        )
    })
}

/// The benchmark, or the one that `PATCHBAY_TEST_BENCH_BINARY` names: it runs itself again where a run has to be another
/// process.
pub fn bench() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        found(
            "PATCHBAY_TEST_BENCH_BINARY",
            "patchbay-bench",
            &["-p", "patchbay-bench"],
        )
    })
}

fn found(variable: &str, name: &str, selection: &[&str]) -> PathBuf {
    if let Some(named) = std::env::var_os(variable) {
        return named.into();
    }
    let this = std::env::current_exe().expect("a running program has a path");
    let folder = this.parent().expect("a program lies in a folder");
    // Tests lie one folder deeper.
    let profile = if folder.ends_with("deps") {
        folder.parent().unwrap_or(folder)
    } else {
        folder
    };
    let program = profile.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    if !is_fresh(&program) {
        build(selection, profile.ends_with("release"));
    }
    assert!(program.is_file(), "{} was not built", program.display());
    program
}

/// Cargo writes next to a program which files it was made of. Asking cargo itself would wait for other builds.
fn is_fresh(program: &Path) -> bool {
    let Some(built) = modified(program) else { return false };
    let Ok(sources) = std::fs::read_to_string(program.with_extension("d")) else {
        return false;
    };
    let (_, sources) = sources.split_once(": ").unwrap_or_default();
    let sources = sources.replace("\\ ", "\0");
    sources.split_whitespace().all(|source| {
        let source = source.replace('\0', " ");
        modified(source.as_ref()).is_some_and(|changed| changed <= built)
    })
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().ok()?.modified().ok()
}

fn build(selection: &[&str], release: bool) {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["build", "--quiet", "--locked", "--bins"])
        .args(selection)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    // What cargo has told this program about its own package would make another cargo build everything anew.
    let told = std::env::vars_os().map(|(name, _)| name);
    for name in told.filter(|name| {
        name.to_str()
            .is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
    }) {
        command.env_remove(name);
    }
    if release {
        command.arg("--release");
    }
    let status = command.status().expect("cargo can be started");
    assert!(status.success(), "building patchbay failed");
}
