//! The database: can it be reached, does it keep what it commits, is its schema there, does its clock agree.

use std::{path::Path, sync::Arc};

use chrono::TimeDelta;
use patchbay_app::{env::Env, store::Store};
use patchbay_store::OpenError;

use super::report::Report;
use crate::{config::Config, host};

/// Further apart, a host is not ready.
const MAX_SKEW: TimeDelta = TimeDelta::seconds(60);
/// Further apart, somebody's clock is not set by the network.
const ODD_SKEW: TimeDelta = TimeDelta::seconds(5);

pub(super) async fn examine(config: &Config, env: &Env, report: &mut Report) -> Option<Arc<dyn Store>> {
    if let Some(file) = sqlite_file(&config.database.url).filter(|file| !file.exists()) {
        let found = format!("SQLite; {} is made at the first start", file.display());
        report.ok("database.connection", found);
        return None;
    }
    let options = patchbay_store::Options {
        migrate: false,
        beside_a_host: true,
        ..patchbay_store::Options::default()
    };
    let store = match host::open_store(config, options).await {
        Ok(store) => store,
        Err(error) => {
            unopened(&error, report);
            return None;
        }
    };
    report.ok("database.connection", format!("{} answers", store.backend()));
    report.ok("database.schema", "is this program's");
    match store.probe_write().await {
        Ok(()) => report.ok("database.write", "commits a write"),
        Err(error) => report.error(
            "database.write",
            format!("{:#}", anyhow::Error::from(error)),
            "Give the user of database.url the right to write, and the server's disk some space.",
        ),
    }
    if let Ok(theirs) = store.now().await {
        clock((theirs - env.now()).abs(), report);
    }
    Some(store)
}

/// The file of a SQLite URL.
pub(super) fn sqlite_file(url: &str) -> Option<&Path> {
    let path = url.strip_prefix("sqlite:")?;
    Some(Path::new(path.strip_prefix("//").unwrap_or(path)))
}

fn unopened(error: &anyhow::Error, report: &mut Report) {
    let advice = match error.downcast_ref::<OpenError>() {
        Some(OpenError::Pending(missing)) => {
            report.ok("database.connection", "answers");
            let found = format!("lacks {}", missing.join(", "));
            let advice = "Run `patchbay migrate`; `patchbay serve` does the same when it starts.";
            report.warn("database.schema", found, advice);
            return;
        }
        Some(OpenError::Connect(_)) => {
            "Check that the server runs, that database.url names it, its user and its database, and that this machine \
             may connect."
        }
        Some(OpenError::File(..)) => "Let the user of this program read and write the file and its folder.",
        Some(OpenError::Unsafe { .. }) => {
            "Switch it on: with it off, the server may forget renewed tokens, and their accounts must be connected again."
        }
        _ => "Mend what it says, and run this again.",
    };
    report.error("database.connection", format!("{error:#}"), advice);
}

fn clock(skew: TimeDelta, report: &mut Report) {
    let found = format!("{} s from this machine's clock", skew.num_seconds());
    let advice = "Set both machines' clocks by the network (NTP): signatures and time limits go by them.";
    if skew > MAX_SKEW {
        report.error("database.clock", found, advice);
    } else if skew > ODD_SKEW {
        report.warn("database.clock", found, advice);
    } else {
        report.ok("database.clock", found);
    }
}
