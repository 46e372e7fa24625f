//! What operators see, and what nobody may see.

use std::{
    io::Write,
    sync::{Arc, Mutex},
    time::Duration,
};

use metrics_exporter_prometheus::PrometheusBuilder;
use patchbay_app::wire::{Wire, WireError};
use tracing_subscriber::fmt::format::FmtSpan;

use super::{Server, get, ok, simulated};

const URL: &str = "https://api.example.com/v2/canary?access_token=canary";

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// Writes every closed span of this thread, and what libraries say on top, to the log.
    fn capture(&self) -> tracing::subscriber::DefaultGuard {
        let log = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter("warn,patchbay_egress=trace")
            .with_span_events(FmtSpan::CLOSE)
            .with_ansi(false)
            .with_writer(move || log.clone())
            .finish();
        tracing::subscriber::set_default(subscriber)
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn calls_are_counted_by_outcome_and_timed() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let server = Server::answering(ok("")).await;
    let egress = simulated(&server);
    egress.send(get(URL)).await.unwrap();
    egress.send(get(URL)).await.unwrap();
    egress.send(get("https://127.0.0.1/canary")).await.unwrap_err();
    egress
        .send(get("https://elsewhere.example.com/canary"))
        .await
        .unwrap_err();
    let lost = simulated(&Server::answering("").await).send(get(URL)).await;
    assert!(matches!(lost, Err(WireError::Lost(_))));
    let silent = Server::start(|stream| async move {
        let _open = stream;
        std::future::pending::<()>().await;
    })
    .await;
    tokio::time::timeout(Duration::from_millis(50), simulated(&silent).send(get(URL)))
        .await
        .unwrap_err();

    let text = handle.render();
    for (outcome, count) in [
        ("2xx", 2),
        ("blocked", 1),
        ("not_sent", 1),
        ("lost", 1),
        ("cancelled", 1),
    ] {
        let line = format!(
            "patchbay_outbound_requests_total{{provider=\"tiktok\",op=\"video.init\",outcome=\"{outcome}\"}} {count}\n"
        );
        assert!(text.contains(&line), "{line} in {text}");
    }
    assert!(
        text.contains("patchbay_outbound_seconds_count{provider=\"tiktok\",op=\"video.init\"} 6\n"),
        "{text}"
    );
    assert!(!text.contains("canary"));
}

#[tokio::test]
async fn a_call_is_one_span_with_its_result_and_no_part_of_its_url() {
    let log = Log::default();
    let _guard = log.capture();
    let server = Server::answering("HTTP/1.1 503 canary\r\nX-Canary: canary\r\nContent-Length: 6\r\n\r\ncanary").await;
    let mut request = get(URL);
    request.headers = vec![("Authorization".to_owned(), "Bearer canary".into())];
    let answer = simulated(&server).send(request).await.unwrap();
    assert_eq!(format!("{answer:?}"), "WireResponse(503, 6 bytes)");
    let text = log.text();
    for part in [
        "outbound{",
        "provider=\"tiktok\"",
        "op=\"video.init\"",
        "correlation_id=\"cor-1\"",
        "status=503",
    ]
    .into_iter()
    .chain(["outcome=\"5xx\"", "duration_ms="])
    {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(!text.contains("canary") && !text.contains("example.com"), "{text}");
}

#[tokio::test]
async fn no_error_and_no_log_line_quotes_the_request() {
    let log = Log::default();
    let _guard = log.capture();
    let closing = Server::answering("").await;
    let half = Server::answering("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncanary").await;
    let garbage = Server::answering("canary canary canary\r\n\r\n").await;
    let large = Server::answering(ok(&"canary".repeat(20_000))).await;
    let mut errors = Vec::new();
    for server in [&closing, &half, &garbage, &large] {
        errors.push(simulated(server).send(get(URL)).await.unwrap_err());
    }
    for url in [
        "https://canary.example.com/canary?canary",
        "https://canary:canary@api.example.com/",
        "https://127.0.0.1/canary",
        "http://api.example.com/canary",
        "https://api.example.com/canary\r\n",
        "https://canary:99999999/",
        "canary",
    ] {
        errors.push(simulated(&closing).send(get(url)).await.unwrap_err());
    }
    let mut header = get(URL);
    header.headers = vec![("X-A".to_owned(), "canary\n".into())];
    errors.push(simulated(&closing).send(header).await.unwrap_err());
    for error in &errors {
        assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
    }
    assert_eq!(log.text().matches("close").count(), errors.len(), "a span each");
    assert!(!log.text().contains("canary"), "{}", log.text());
}
