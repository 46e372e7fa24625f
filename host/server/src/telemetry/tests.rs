use std::{
    collections::BTreeSet,
    fs,
    io::{self, Write},
    path::Path,
    sync::{Arc, Mutex},
};

use serde_json::Value;
use tracing::{error, info, info_span, subscriber::with_default, warn};
use tracing_subscriber::fmt::MakeWriter;

use super::{metrics::METRICS, subscriber};
use crate::config::{LogConfig, LogFormat};

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Captured {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}

const FORMS: [(LogFormat, bool); 3] = [
    (LogFormat::Json, false),
    (LogFormat::Pretty, false),
    (LogFormat::Pretty, true),
];

fn logged((format, terminal): (LogFormat, bool), filter: &str, act: impl FnOnce()) -> String {
    let captured = Captured::default();
    let config = LogConfig {
        format,
        filter: filter.to_owned(),
    };
    with_default(subscriber(&config, captured.clone(), terminal).unwrap(), act);
    captured.text()
}

/// Libraries that log by the crate `log` ask so on the caller's thread, a database driver before each statement.
#[test]
fn a_question_whether_something_would_be_logged_takes_no_event_with_it() {
    let mut asked = None;
    logged(FORMS[0], "trace", || asked = tracing::debug_span!("asked").metadata());
    let asked = asked.unwrap();
    let text = logged(FORMS[0], "info", || {
        for number in 0..3 {
            assert!(!tracing::dispatcher::get_default(|current| current.enabled(asked)));
            info!(number, "Said");
            assert!(!tracing::dispatcher::get_default(|current| current.enabled(asked)));
            let span = info_span!("request", number);
            span.in_scope(|| warn!("Said inside"));
        }
    });
    assert_eq!(text.lines().count(), 6, "{text}");
    assert_eq!(text.matches("\"name\":\"request\"").count(), 3, "{text}");
}

#[test]
fn one_event_is_one_line_whatever_it_holds() {
    let evil = "a\r\nINFO forged\u{1b}[31m\u{7}\u{7f}\u{9b}2J\u{85}\u{2028}\u{202e}\0\tend";
    for form in FORMS {
        let text = logged(form, "info", || {
            let span = info_span!("request", request_id = %evil);
            span.in_scope(|| info!(shown = %evil, quoted = evil, debug = ?evil, "Said {evil}"));
        });
        let line = text.strip_suffix('\n').unwrap();
        // Colours are ours; nothing of the value may get out of its place.
        let ours = form == (LogFormat::Pretty, true);
        let left = if ours { strip_colours(line) } else { line.to_owned() };
        assert!(!left.contains(super::escape::is_unsafe), "{form:?}: {left:?}");
        assert!(!line.contains("\u{1b}[31m"), "{form:?}: {line:?}");
        if form.0 == LogFormat::Json {
            let json: Value = serde_json::from_str(line).unwrap();
            assert_eq!(json["fields"]["shown"], evil, "JSON keeps the value, escaped");
            assert_eq!(json["spans"][0]["request_id"], evil);
        } else {
            assert_eq!(left.matches("forged").count(), 5, "{left}");
        }
    }
}

/// Takes out the colours that the formatter uses: dimmed, bold, italic, off, and green for information.
fn strip_colours(line: &str) -> String {
    ["2", "1", "3", "0", "32"].iter().fold(line.to_owned(), |line, code| {
        line.replace(&format!("\u{1b}[{code}m"), "")
    })
}

#[test]
fn credentials_are_masked_in_every_form() {
    for form in FORMS {
        let text = logged(form, "info", || {
            let span = info_span!("request", path = "/callback?code=canary-1&state=canary-2");
            let header = "Bearer canary-3-canary";
            span.in_scope(|| {
                error!(
                    header,
                    key = "pb_live_canary4_canary",
                    "GET https://x.example/y?token=canary-5 failed"
                );
                warn!(url = %url::Url::parse("postgres://u:canary-6@db/x?password=canary-7").unwrap(), "Lost");
            });
        });
        assert!(!text.contains("canary"), "{form:?}: {text}");
        assert_eq!(text.lines().count(), 2);
        assert!(
            text.contains("https://x.example/y?[redacted] failed"),
            "{form:?}: {text}"
        );
        if form.0 == LogFormat::Json {
            assert!(
                text.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()),
                "{text}"
            );
        }
    }
}

#[test]
fn lines_carry_the_fields_of_their_spans() {
    for form in FORMS {
        // Spans stay, even where only warnings are wanted.
        let text = logged(form, "warn", || {
            let _request = info_span!("request", request_id = "req_1").entered();
            let _call = info_span!("outbound", correlation_id = "req_1", status = tracing::field::Empty).entered();
            tracing::Span::current().record("status", 503);
            warn!("Slow");
            info!("Unwanted");
        });
        assert_eq!(text.lines().count(), 1, "{text}");
        let text = strip_colours(&text);
        match form.0 {
            LogFormat::Json => {
                let json: Value = serde_json::from_str(&text).unwrap();
                assert_eq!(json["spans"][0]["request_id"], "req_1");
                assert_eq!(json["spans"][1]["correlation_id"], "req_1");
                assert_eq!(json["spans"][1]["status"], 503);
            }
            _ => assert!(
                text.contains("request{request_id=\"req_1\"}:outbound{correlation_id=\"req_1\" status=503}:"),
                "{text}"
            ),
        }
    }
}

#[test]
fn no_filter_lifts_the_caps() {
    for filter in [
        "trace",
        "hyper=trace,sqlx=trace,info",
        "hyper_util::client=trace,[{canary}]=trace,info",
    ] {
        let text = logged(FORMS[0], filter, || {
            info!(target: "hyper::proto", "canary");
            info!(target: "hyper_util::client", "canary");
            tracing::trace!(target: "sqlx::query", "canary");
            tracing::debug!(target: "reqwest::connect", "canary");
            let span = tracing::debug_span!(target: "h2::codec", "canary", canary = 1);
            span.in_scope(|| warn!(target: "rustls::conn", "kept"));
        });
        assert!(!text.contains("canary") && text.contains("kept"), "{filter}: {text}");
    }
}

#[test]
fn the_format_follows_the_terminal_unless_set() {
    let said = |format, terminal| logged((format, terminal), "info", || info!("Hello"));
    assert!(said(LogFormat::Auto, false).starts_with('{'));
    assert!(!said(LogFormat::Auto, true).starts_with('{'));
    assert!(said(LogFormat::Json, true).starts_with('{'));
    assert!(!said(LogFormat::Pretty, false).starts_with('{'));
}

#[test]
fn metrics_are_described_and_histograms_have_buckets() {
    let recorder = super::metrics::recorder().unwrap();
    let handle = recorder.handle();
    metrics::with_local_recorder(&recorder, || {
        super::metrics::describe();
        metrics::histogram!("patchbay_http_seconds", "route" => "/v1/posts").record(0.02);
        metrics::counter!("patchbay_oauth_total", "provider" => "acme", "outcome" => "connected").increment(1);
        let lag = Some(std::time::Duration::from_millis(1_500));
        super::metrics::set_jobs(&patchbay_app::store::JobStats {
            due: 3,
            running: 2,
            dead: 1,
            lag,
        });
    });
    let text = handle.render();
    for line in [
        "# TYPE patchbay_http_seconds histogram",
        "patchbay_http_seconds_bucket{route=\"/v1/posts\",le=\"0.025\"} 1",
        "# HELP patchbay_oauth_total Connect flows",
        "patchbay_oauth_total{provider=\"acme\",outcome=\"connected\"} 1",
        "patchbay_jobs_due 3",
        "patchbay_jobs_dead 1",
        "patchbay_job_lag_seconds 1.5",
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
}

#[test]
fn every_metric_in_the_code_is_described() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut used = BTreeSet::new();
    collect(&root, &mut used);
    let described: BTreeSet<_> = METRICS.iter().map(|metric| metric.name.to_owned()).collect();
    assert!(used.len() > 10, "this test finds the metrics: {used:?}");
    assert!(
        used.is_subset(&described),
        "not described: {:?}",
        used.difference(&described)
    );
    assert_eq!(described.len(), METRICS.len(), "no name stands there twice");
}

/// Names of metrics in the sources under a folder.
fn collect(folder: &Path, used: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, used);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let names = text.split('"').filter(|piece| {
                let ends = piece.ends_with("_total") || piece.ends_with("_seconds") || piece.ends_with("_ratio");
                ends && piece.starts_with("patchbay_") && piece.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
            });
            used.extend(names.map(str::to_owned));
        }
    }
}
