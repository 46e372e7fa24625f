//! Trials of a case, and what they found: as tests for people, and as JSON for tools.

use std::{
    process::ExitCode,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use libtest_mimic::{Arguments, Failed, Trial};
use patchbay_simkit::lock;
use serde::{Deserialize, Serialize};

use crate::{
    Case, all,
    built::component,
    law::{Breach, Found, Held, Law},
    waivers::{WAIVERS, waivers},
    world::guarded,
};

/// The file that a report is written to as JSON, if this variable names one.
pub const REPORT_VARIABLE: &str = "PATCHBAY_CONFORMANCE_REPORT";

/// What became of a law.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It holds.
    Passed,
    /// It is broken.
    Failed,
    /// It is broken, and a waiver says why it may be.
    Waived,
    /// The provider has nothing that it speaks of.
    NotApplicable,
}

/// One law of a report.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Entry {
    /// The law.
    pub law: String,
    /// What became of it.
    pub status: Status,
    /// How often it was tried.
    pub tried: usize,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// What was seen, if it is broken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<String>,
    /// What was seen, why it matters and what to change; or why it does not apply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// A report.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// Id of the provider.
    pub provider: String,
    /// SHA-256 of the component that was tried in the place of the provider's source, if one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
    /// The laws that ran, in order.
    pub laws: Vec<Entry>,
}

/// Runs the laws of a case under the arguments of this process, as a test binary does.
#[must_use]
pub fn main(case: Case) -> ExitCode {
    let arguments = Arguments::from_args();
    let provider = (case.provider)().manifest().id.as_str().to_owned();
    let entries: Arc<Mutex<Vec<Entry>>> = Arc::default();
    let case = Arc::new(case);
    let trials = all()
        .into_iter()
        .map(|law| {
            let (case, entries, provider) = (Arc::clone(&case), Arc::clone(&entries), provider.clone());
            Trial::test(law.name, move || {
                let entry = judge(law, &provider, run(law, &case));
                let failed = (entry.status == Status::Failed).then(|| entry.message.clone().unwrap_or_default());
                lock(&entries).push(entry);
                failed.map_or(Ok(()), |message| Err(Failed::from(message)))
            })
        })
        .collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    if !arguments.list
        && let Ok(path) = std::env::var(REPORT_VARIABLE)
    {
        let mut laws = lock(&entries).clone();
        laws.sort_by_key(|entry| all().iter().position(|law| law.name == entry.law));
        let component = component().map(|digest| digest.to_string());
        let report = Report {
            provider,
            component,
            laws,
        };
        let text = serde_json::to_string_pretty(&report).unwrap_or_default();
        if let Err(error) = std::fs::write(&path, text) {
            eprintln!("the report cannot be written to {path}: {error}");
            return ExitCode::FAILURE;
        }
    }
    conclusion.exit_code()
}

/// Tries one law in a runtime of its own.
pub fn run(law: Law, case: &Case) -> (Found, Duration) {
    let began = Instant::now();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let found = match runtime {
        Ok(runtime) => runtime.block_on(guarded((law.check)(case))).and_then(|found| found),
        Err(error) => Err(Breach(format!("the kit cannot begin: {error}"))),
    };
    (found, began.elapsed())
}

fn judge(law: Law, provider: &str, (found, took): (Found, Duration)) -> Entry {
    let waived = waivers(WAIVERS)
        .unwrap_or_default()
        .into_iter()
        .find(|waiver| waiver.law == law.name && waiver.provider == provider);
    let seen = found.as_ref().err().map(|breach| breach.0.clone());
    let (status, tried, message) = match (found, waived) {
        (Err(breach), None) => (Status::Failed, 0, Some(law.complain(&breach))),
        (Err(breach), Some(waiver)) => {
            let message = format!("{}\n  waived: {}", law.complain(&breach), waiver.reason);
            (Status::Waived, 0, Some(message))
        }
        (Ok(_), Some(_)) => {
            let message = "this law holds: take its waiver out of tests/conformance/waivers.txt";
            (Status::Failed, 0, Some(message.to_owned()))
        }
        (Ok(Held::Tried(tried)), None) => (Status::Passed, tried, None),
        (Ok(Held::NotApplicable(why)), None) => (Status::NotApplicable, 0, Some(why.to_owned())),
    };
    Entry {
        law: law.name.to_owned(),
        status,
        tried,
        took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        seen,
        message,
    }
}
