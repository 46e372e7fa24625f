//! Is somebody at work.

use std::{sync::Arc, time::Duration};

use patchbay_app::store::Store;

use super::report::Report;
use crate::config::Config;

/// As `/readyz` has it: work that has waited longer is not being done.
const MAX_LAG: Duration = Duration::from_mins(5);

pub(super) async fn examine(config: &Config, store: Option<&Arc<dyn Store>>, report: &mut Report) {
    let Some(store) = store else {
        report.skip("workers.queue", "there is no database to look at");
        return;
    };
    let advice = if config.workers.enabled {
        "Start `patchbay serve` or `patchbay worker`, or see in its log why it does not work."
    } else {
        "workers.enabled is off: run `patchbay worker`, or let a cron service call the worker endpoints."
    };
    match store.job_stats().await {
        Ok(stats) => match stats.lag {
            Some(lag) if lag > MAX_LAG => {
                let found = format!("work has been due for {} s and nobody does it", lag.as_secs());
                report.error("workers.queue", found, advice);
            }
            _ => report.ok("workers.queue", "nothing waits longer than it should"),
        },
        Err(error) => report.error("workers.queue", format!("{:#}", anyhow::Error::from(error)), advice),
    }
}
