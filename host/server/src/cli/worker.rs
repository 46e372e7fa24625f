//! `patchbay worker`: work off the queue without an API, for as long as it runs or once.

use std::{
    io::{self, IsTerminal},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use clap::Args;
use patchbay_store::OpenError;
use tokio::time;
use tracing::warn;

use crate::{
    host::{self, Built, Start, Unstartable},
    lane::Lane,
    pass::{self, Limits, Passed},
    serve, telemetry,
};

/// How long `--once` begins work if nothing is said: a cron service that calls every minute does not meet itself.
const ONCE: Duration = Duration::from_secs(55);

/// What is to be worked off, and for how long.
#[derive(Args)]
pub struct Options {
    /// Do only this; repeat or separate by commas. Default: everything.
    #[arg(long, value_delimiter = ',', value_name = "WORK")]
    only: Vec<Lane>,
    /// Do what is due, say what was done, and end. For cron, systemd timers and Kubernetes CronJobs.
    #[arg(long)]
    once: bool,
    /// Begin nothing after so long (25s, 5m, 1h), and end when running steps have ended. Default: without end; with
    /// --once 55s.
    #[arg(long = "for", value_name = "TIME", value_parser = parse_span)]
    span: Option<Duration>,
}

fn parse_span(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.len() - text.chars().next_back().map_or(0, char::len_utf8));
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        _ => 0,
    };
    match number.parse::<u32>() {
        Ok(number) if seconds > 0 && number > 0 => Ok(Duration::from_secs(u64::from(number) * seconds)),
        _ => Err("give a whole number and a unit: 25s, 5m or 1h".to_owned()),
    }
}

/// Runs a worker to its end.
///
/// # Errors
/// It cannot start, or with `--once` the database failed on the way.
pub async fn run(options: Options, file: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let config = super::load(file.as_deref())?;
    telemetry::init(&config.log)?;
    let metrics = telemetry::metrics::install()?;
    let start = Start {
        metrics: Some(metrics),
        reread: Some(super::reread(file)),
        ..Start::default()
    };
    let built = host::build(config, start).await.map_err(explain)?;
    if !built.simulators.is_empty() {
        warn!(
            "This worker has a simulator of its own, which does not know what other hosts did at theirs. Start one with \
             `patchbay simulate`, and name it in the configuration of all of them"
        );
    }
    let mut lanes = Lane::ALL.to_vec();
    lanes.retain(|lane| options.only.is_empty() || options.only.contains(lane));
    if options.once {
        let passed = once(built, &lanes, options.span.unwrap_or(ONCE)).await?;
        println!("{}", told(&passed, io::stdout().is_terminal())?);
        return Ok(ExitCode::SUCCESS);
    }
    let asked_to_stop = serve::asked_to_stop();
    let end = async {
        match options.span {
            Some(span) => drop(time::timeout(span, asked_to_stop).await),
            None => asked_to_stop.await,
        }
    };
    serve::work(built, &lanes, end).await?;
    Ok(ExitCode::SUCCESS)
}

async fn once(built: Built, lanes: &[Lane], span: Duration) -> anyhow::Result<Passed> {
    let Built { host, simulators } = built;
    let pass = pass::pass(&host, lanes, Limits::begin_for(span));
    let stopped = async {
        serve::asked_to_stop().await;
        // The pass begins nothing any more, and ends with the steps that run.
        host.stopping.cancel();
        std::future::pending::<()>().await;
    };
    let passed = tokio::select! {
        passed = pass => passed,
        () = stopped => unreachable!("it never ends"),
    };
    for (_, stand) in simulators {
        stand.shutdown().await;
    }
    passed.context("working off the queue")
}

/// One line: for people, or for programs.
fn told(passed: &Passed, for_people: bool) -> anyhow::Result<String> {
    if !for_people {
        return Ok(serde_json::to_string(passed)?);
    }
    let Passed {
        processed,
        webhooks,
        refresh,
        publish,
        deliver,
        fetch,
        metrics,
        more,
    } = passed;
    let rest = if *more {
        "Time is up, and more is due."
    } else {
        "Nothing more is due."
    };
    Ok(match processed {
        0 => rest.to_owned(),
        _ => format!(
            "Ran {processed} jobs: {webhooks} webhooks, {refresh} refreshes, {publish} publish steps, {deliver} deliveries, \
             {fetch} imports, {metrics} accounts' numbers. {rest}"
        ),
    })
}

/// A file that a host has open stays so until somebody changes the configuration: no use to try again.
fn explain(error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref() {
        Some(OpenError::InUse(path)) => Unstartable(format!(
            "the SQLite database {} is in use by a running host, and such a file has one process only. `patchbay serve` \
             does the work itself, unless it is told --api-only or workers.enabled = false; to run workers beside it, \
             use PostgreSQL (database.url)",
            path.display()
        ))
        .into(),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_a_number_with_a_unit() {
        assert_eq!(parse_span("25s"), Ok(Duration::from_secs(25)));
        assert_eq!(parse_span("5m"), Ok(Duration::from_mins(5)));
        assert_eq!(parse_span("1h"), Ok(Duration::from_hours(1)));
        for wrong in ["", "s", "25", "0s", "-1s", "1.5h", "1d", "1µ", "99999999999s"] {
            assert!(parse_span(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_was_done_is_one_line() {
        let mut passed = Passed::default();
        assert_eq!(told(&passed, true).unwrap(), "Nothing more is due.");
        assert_eq!(
            told(&passed, false).unwrap(),
            r#"{"processed":0,"webhooks":0,"refresh":0,"publish":0,"deliver":0,"fetch":0,"metrics":0,"more":false}"#
        );
        passed.processed = 3;
        passed.webhooks = 3;
        passed.more = true;
        assert_eq!(
            told(&passed, true).unwrap(),
            "Ran 3 jobs: 3 webhooks, 0 refreshes, 0 publish steps, 0 deliveries, 0 imports, 0 accounts' numbers. Time is up, and more is due."
        );
    }
}
