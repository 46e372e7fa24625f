//! `patchbay conformance`: runs a provider's conformance test and tells what is missing.
//!
//! The laws and their trials are in the test binary of the provider's crate; this builds it with cargo, and reads the
//! report that it writes.

use std::{
    collections::BTreeMap,
    io::ErrorKind,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context, bail};
use clap::Args;
use serde::{Deserialize, Serialize};

/// Names the file that the test binary writes its report to.
const REPORT_VARIABLE: &str = "PATCHBAY_CONFORMANCE_REPORT";
/// Names the component that the test binary tries in the place of the provider that it was compiled with.
const COMPONENT_VARIABLE: &str = "PATCHBAY_CONFORMANCE_COMPONENT";
/// The kit could not run.
const EXIT_NOT_RUN: u8 = 2;

#[derive(Args)]
pub(super) struct Options {
    /// Folder of the provider's crate, such as `providers/example`; or a component, which is tried by the case of its
    /// provider's crate.
    path: PathBuf,
    /// Of a component: folder of the crate whose case it is tried by. Default: `providers/ID`.
    #[arg(long, value_name = "FOLDER")]
    case: Option<PathBuf>,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
    /// Only laws whose name contains this, such as `publish` or `publish::answer_lost`.
    #[arg(long, value_name = "NAME")]
    law: Option<String>,
}

/// What the test binary writes.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Report {
    provider: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    component: Option<String>,
    laws: Vec<Law>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Law {
    law: String,
    status: Status,
    tried: u64,
    took_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seen: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Passed,
    Failed,
    Waived,
    NotApplicable,
}

/// Laws of one group, by what became of them.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Summary {
    passed: usize,
    failed: usize,
    waived: usize,
    not_applicable: usize,
    tried: u64,
    took_ms: u64,
}

pub(super) async fn run(options: &Options) -> ExitCode {
    match report(options).await {
        Ok(report) => {
            print!(
                "{}",
                if options.json {
                    as_json(&report)
                } else {
                    as_text(&report)
                }
            );
            let failed = report.laws.iter().any(|law| law.status == Status::Failed);
            ExitCode::from(u8::from(failed))
        }
        Err(error) => {
            eprintln!("patchbay: {error:#}");
            ExitCode::from(EXIT_NOT_RUN)
        }
    }
}

async fn report(options: &Options) -> anyhow::Result<Report> {
    let component = is_component(&options.path)
        .then(|| options.path.canonicalize())
        .transpose()
        .with_context(|| format!("looking at {}", options.path.display()))?;
    let folder = match (&component, &options.case) {
        (None, None) => options.path.clone(),
        (None, Some(_)) => bail!("--case is for components: {} is none", options.path.display()),
        (Some(_), Some(case)) => case.clone(),
        (Some(component), None) => {
            let folder = case_of(component).await?;
            if !folder.join("Cargo.toml").is_file() {
                bail!(
                    "there is no {} here with the case of this component. Run this in the checkout that has it, or name the \
                     folder of its provider's crate with --case",
                    folder.display()
                );
            }
            folder
        }
    };
    let manifest = manifest_of(&folder)?;
    let target = check_test(&manifest)?;
    let file = target.join(format!("conformance-{}.json", std::process::id()));
    let mut command = cargo();
    command
        .args(["test", "--quiet", "--test", "conformance", "--manifest-path"])
        .arg(&manifest)
        .arg("--")
        .args(&options.law)
        .env(REPORT_VARIABLE, &file)
        .env_remove(COMPONENT_VARIABLE)
        .stdout(Stdio::null());
    if let Some(component) = &component {
        command.env(COMPONENT_VARIABLE, component);
    }
    let status = command.status().map_err(no_cargo)?;
    let text = std::fs::read_to_string(&file);
    std::fs::remove_file(&file).ok();
    let text = text.with_context(|| format!("the conformance test wrote no report; cargo ended with {status}"))?;
    let report: Report = serde_json::from_str(&text).context("reading the report of the conformance test")?;
    if component.is_some() && report.component.is_none() {
        bail!(
            "the case of {} does not try components: make its provider with patchbay_conformance::built",
            folder.display()
        );
    }
    if report.laws.is_empty() {
        bail!(
            "no law's name contains {:?}",
            options.law.as_deref().unwrap_or_default()
        );
    }
    Ok(report)
}

fn is_component(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "wasm")
}

/// The crate of the provider that a component says it is.
#[cfg(feature = "wasm")]
async fn case_of(component: &Path) -> anyhow::Result<PathBuf> {
    use patchbay_core::Provider as _;

    let bytes = std::fs::read(component).with_context(|| format!("reading {}", component.display()))?;
    let engine = patchbay_wasm::Engine::new(patchbay_wasm::Limits::default(), None)?;
    let load = async {
        engine
            .load(bytes)
            .await?
            .build(&patchbay_core::Settings::default())
            .await
    };
    let guest = load
        .await
        .with_context(|| format!("{} cannot be used", component.display()))?;
    Ok(Path::new("providers").join(guest.manifest().id.as_str()))
}

#[cfg(not(feature = "wasm"))]
async fn case_of(component: &Path) -> anyhow::Result<PathBuf> {
    bail!(
        "this program was built without the feature `wasm`: give --case for {}",
        component.display()
    )
}

/// The manifest of the crate at a path.
fn manifest_of(path: &Path) -> anyhow::Result<PathBuf> {
    let manifest = path.join("Cargo.toml");
    if !manifest.is_file() {
        bail!(
            "{} is no crate: there is no Cargo.toml in it. Give the folder of a provider, such as providers/example",
            path.display()
        );
    }
    manifest
        .canonicalize()
        .with_context(|| format!("looking at {}", manifest.display()))
}

/// The crate has a test named `conformance`. Gives cargo's target folder.
fn check_test(manifest: &Path) -> anyhow::Result<PathBuf> {
    let output = cargo()
        .args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path"])
        .arg(manifest)
        .stderr(Stdio::inherit())
        .output()
        .map_err(no_cargo)?;
    if !output.status.success() {
        bail!("cargo cannot read {}", manifest.display());
    }
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).context("reading cargo's metadata")?;
    let path = manifest.to_str();
    let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let Some(package) = packages
        .iter()
        .find(|package| package["manifest_path"].as_str() == path)
    else {
        bail!(
            "{} is no package, but a workspace: give the folder of one provider",
            manifest.display()
        );
    };
    let targets = package["targets"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_case = |target: &serde_json::Value| target["name"] == "conformance" && target["kind"][0] == "test";
    if !targets.iter().any(is_case) {
        bail!(
            "{} has no conformance test: write tests/conformance.rs, and a [[test]] of that name with `harness = false` in \
             Cargo.toml (docs/adding-a-provider.md: The conformance kit)",
            package["name"].as_str().unwrap_or_default()
        );
    }
    let target = metadata["target_directory"]
        .as_str()
        .context("cargo names no target folder")?;
    Ok(PathBuf::from(target))
}

fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

fn no_cargo(error: std::io::Error) -> anyhow::Error {
    if error.kind() == ErrorKind::NotFound {
        anyhow::anyhow!("cargo is not installed or not in PATH: the conformance test is built from source")
    } else {
        anyhow::Error::new(error).context("running cargo")
    }
}

fn groups(report: &Report) -> BTreeMap<&str, Summary> {
    let mut groups: BTreeMap<&str, Summary> = BTreeMap::new();
    for law in &report.laws {
        let group = groups
            .entry(law.law.split("::").next().unwrap_or_default())
            .or_default();
        *match law.status {
            Status::Passed => &mut group.passed,
            Status::Failed => &mut group.failed,
            Status::Waived => &mut group.waived,
            Status::NotApplicable => &mut group.not_applicable,
        } += 1;
        group.tried += law.tried;
        group.took_ms += law.took_ms;
    }
    groups
}

fn as_json(report: &Report) -> String {
    let whole = serde_json::json!({
        "provider": report.provider, "component": report.component, "groups": groups(report), "laws": report.laws,
    });
    format!("{whole:#}\n")
}

fn as_text(report: &Report) -> String {
    let mut text = String::new();
    // What was seen, and the law that has said so: one fault may break many.
    let mut told: BTreeMap<&str, &str> = BTreeMap::new();
    for law in &report.laws {
        let word = match law.status {
            Status::Passed => "ok",
            Status::Failed => "BROKEN",
            Status::Waived => "waived",
            Status::NotApplicable => "-",
        };
        text.push_str(&format!(
            "{word:<7} {:<36} {:>5} tried {:>7} ms\n",
            law.law, law.tried, law.took_ms
        ));
        let seen = law.seen.as_deref().filter(|_| law.status == Status::Failed);
        let first = seen.map_or(&*law.law, |seen| told.entry(seen).or_insert(&law.law));
        if first != law.law {
            text.push_str(&format!("          the same was seen as by {first}\n"));
            continue;
        }
        if let Some(message) = &law.message {
            for line in message.lines() {
                text.push_str(&format!("          {line}\n"));
            }
        }
    }
    let component = report.component.as_ref().map(|sha256| format!(", component {sha256}"));
    text.push_str(&format!("\n{}{}\n", report.provider, component.unwrap_or_default()));
    for (group, sum) in groups(report) {
        text.push_str(&format!(
            "  {group:<12} {:>3} kept, {} broken, {} waived, {} not applicable; {} trials in {:.1} s\n",
            sum.passed,
            sum.failed,
            sum.waived,
            sum.not_applicable,
            sum.tried,
            sum.took_ms as f64 / 1000.0
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(path: &str) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        let checked = manifest_of(&path).and_then(|manifest| check_test(&manifest));
        format!("{:#}", checked.unwrap_err())
    }

    #[test]
    fn what_cannot_be_tried_says_what_to_give() {
        assert!(refusal("no/such/folder").contains("is no crate"));
        assert!(refusal(".").contains("patchbay-server has no conformance test: write tests/conformance.rs"));
        assert!(refusal("../..").contains("give the folder of one provider"));
    }

    fn law(name: &str, status: Status, message: Option<&str>) -> Law {
        Law {
            law: name.to_owned(),
            status,
            tried: 2,
            took_ms: 100,
            seen: message.and_then(|message| Some(message.split_once("seen:")?.1.trim().to_owned())),
            message: message.map(str::to_owned),
        }
    }

    fn report(laws: Vec<Law>) -> Report {
        Report {
            provider: "example".to_owned(),
            component: None,
            laws,
        }
    }

    #[test]
    fn what_breaks_many_laws_is_told_once() {
        let broken =
            |name: &str, seen: &str| law(name, Status::Failed, Some(&format!("law {name}\n  seen:    {seen}")));
        let text = as_text(&report(vec![
            broken("oauth::exchange", "no host"),
            broken("oauth::revoke_twice", "no host"),
            broken("publish::proved", "nothing"),
            broken("publish::not_sent", "no host"),
        ]));
        assert_eq!(text.matches("seen:    no host").count(), 1, "{text}");
        assert_eq!(
            text.matches("          the same was seen as by oauth::exchange\n")
                .count(),
            2,
            "{text}"
        );
        assert!(text.contains("seen:    nothing"), "{text}");
    }

    #[test]
    fn a_report_is_summed_up_by_group() {
        let report = report(vec![
            law("oauth::exchange", Status::Passed, None),
            law(
                "publish::proved",
                Status::Failed,
                Some("law publish::proved\n  seen:    nothing"),
            ),
            law("publish::cut", Status::Waived, Some("waived: why")),
        ]);
        let text = as_text(&report);
        assert!(text.contains("BROKEN  publish::proved"), "{text}");
        assert!(text.contains("            seen:    nothing"), "{text}");
        assert!(
            text.contains("publish        0 kept, 1 broken, 1 waived, 0 not applicable; 4 trials in 0.2 s"),
            "{text}"
        );
        let json: serde_json::Value = serde_json::from_str(&as_json(&report)).unwrap();
        assert_eq!(json["groups"]["publish"]["failed"], 1);
        assert_eq!(json["laws"][1]["status"], "failed");
    }
}
