//! What a component does that no component may: it is stopped, by name, and its neighbours and successors serve on.

use std::time::Duration;

use patchbay_core::{ErrorKind, Provider, ProviderError, Settings, WebhookRequest};
use patchbay_wasm::{Engine, Limits};

use super::{Platform, advance, component, hostile, said, text};

#[track_caller]
fn is(error: &ProviderError, kind: ErrorKind, code: &str) {
    assert_eq!((error.kind, &*error.code), (kind, code), "{error}");
}

async fn stopped(how: &str, code: &str) {
    let guest = hostile().await;
    let error = advance(&guest, &Platform::default(), how).await.unwrap_err();
    is(&error, ErrorKind::Retryable, code);
    assert_eq!(said(&guest, "still here").await, "still here");
}

#[tokio::test]
async fn an_endless_loop_ends_with_its_cpu_time() {
    stopped("loop", "component_cpu_limit").await;
}

#[tokio::test]
async fn a_loop_leaves_the_thread_to_others() {
    let guest = hostile().await;
    let platform = Platform::default();
    let spinning = advance(&guest, &platform, "loop");
    let others = async {
        let mut served = 0;
        while served < 20 {
            assert_eq!(said(&guest, "hello").await, "hello");
            served += 1;
        }
        served
    };
    // One thread: both can only end if the one that spins lets go of it.
    let (spun, served) = tokio::join!(spinning, others);
    is(&spun.unwrap_err(), ErrorKind::Retryable, "component_cpu_limit");
    assert_eq!(served, 20);
}

/// Name of a thread, and the fields behind it of its file `stat` (`proc_pid_stat(5)`).
#[cfg(target_os = "linux")]
fn thread(folder: &std::path::Path) -> Option<(String, Vec<i64>)> {
    let stat = std::fs::read_to_string(folder.join("stat")).ok()?;
    let (name, fields) = stat.split_once('(')?.1.rsplit_once(')')?;
    let fields = fields.split_whitespace().map(|field| field.parse().unwrap_or_default());
    Some((name.to_owned(), fields.collect()))
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn who_computes_long_does_so_behind_all_others() {
    const USER_TIME: usize = 11;
    const POLICY: usize = 38;
    const SCHED_IDLE: i64 = 5;
    let guest = hostile().await;
    let behind = || -> Vec<Vec<i64>> {
        let all = std::fs::read_dir("/proc/self/task").unwrap();
        let all = all.filter_map(|task| thread(&task.unwrap().path()));
        all.filter(|(name, _)| name == "wasm-last")
            .map(|(_, fields)| fields)
            .collect()
    };
    let used = || behind().iter().map(|fields| fields[USER_TIME]).sum::<i64>();
    let before = used();
    let error = advance(&guest, &Platform::default(), "loop").await.unwrap_err();
    is(&error, ErrorKind::Retryable, "component_cpu_limit");
    // In hundredths of a second: more than it can compute in front.
    assert!(used() - before > 20, "{} after {before}", used());
    assert!(
        behind().iter().all(|fields| fields[POLICY] == SCHED_IDLE),
        "{:?}",
        behind()
    );
}

#[tokio::test]
async fn whoever_nobody_waits_for_ends_wherever_it_computes() {
    let limits = Limits {
        calls: 1,
        cpu: Duration::from_hours(1),
        wall: Duration::from_hours(10),
        ..Limits::default()
    };
    let engine = Engine::new(limits, None).unwrap();
    let component = engine.load(component("patchbay-hostile")).await.unwrap();
    let guest = component.build(&Settings::default()).await.unwrap();
    let platform = Platform::default();
    for patience in [0, 1, 100] {
        let spinning = advance(&guest, &platform, "loop");
        let ended = tokio::time::timeout(Duration::from_millis(patience), spinning).await;
        assert!(ended.is_err(), "it is given up");
        // There is one place, which it has left.
        assert_eq!(said(&guest, "next").await, "next");
    }
}

#[tokio::test]
async fn memory_is_bounded_step_by_step_and_at_once() {
    stopped("memory", "component_memory_limit").await;
    stopped("memory_at_once", "component_memory_limit").await;
}

#[tokio::test]
async fn recursion_ends_with_the_stack() {
    let guest = hostile().await;
    let error = advance(&guest, &Platform::default(), "recursion").await.unwrap_err();
    // The guest's own stack lies in its memory, and the engine's has a limit: whichever ends first.
    let codes = ["component_stack_limit", "component_trap"];
    assert!(codes.contains(&&*error.code), "{error}");
    assert_eq!(said(&guest, "still here").await, "still here");
}

#[tokio::test]
async fn a_panic_is_a_trap() {
    stopped("panic", "component_trap").await;
}

#[tokio::test]
async fn a_giant_result_is_not_taken() {
    stopped("giant", "component_value").await;
}

#[tokio::test]
async fn calls_to_the_platform_are_counted() {
    let guest = hostile().await;
    let platform = Platform::default();
    let error = advance(&guest, &platform, "flood").await.unwrap_err();
    is(&error, ErrorKind::Retryable, "component_http_limit");
    assert_eq!(platform.asked(), 64);
}

#[tokio::test]
async fn a_flood_of_lines_ends_in_a_hundred() {
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<usize>>>);
    impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Lines {
        fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
            struct Length(usize);
            impl tracing::field::Visit for Length {
                fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                    if field.name() == "message" {
                        self.0 = format!("{value:?}").len();
                    }
                }
            }
            let mut length = Length(0);
            event.record(&mut length);
            if event.metadata().target().starts_with("patchbay_wasm") {
                self.0.lock().unwrap().push(length.0);
            }
        }
    }
    let guest = hostile().await;
    let lines = Lines::default();
    let subscriber = tracing_subscriber::layer::SubscriberExt::with(tracing_subscriber::registry(), lines.clone());
    let _guard = tracing::subscriber::set_default(subscriber);
    let error = advance(&guest, &Platform::default(), "log").await;
    let lines = lines.0.lock().unwrap().clone();
    assert_eq!(lines.len(), 101, "a hundred, and that there are more: {error:?}");
    assert!(lines.iter().all(|length| *length <= 4096), "{lines:?}");
}

#[tokio::test]
async fn no_call_finds_what_another_has_left() {
    let guest = hostile().await;
    for _ in 0..3 {
        assert_eq!(said(&guest, "count").await, "0");
    }
}

#[tokio::test]
async fn what_is_stopped_after_a_commit_has_an_unknown_outcome() {
    let guest = hostile().await;
    let platform = Platform::default();
    let error = advance(&guest, &platform, "commit_then_loop").await.unwrap_err();
    is(&error, ErrorKind::OutcomeUnknown, "component_cpu_limit");
    assert_eq!(platform.asked(), 1);
}

#[tokio::test]
async fn a_call_without_http_has_none() {
    let guest = hostile().await;
    let parse = async |body: &str| {
        let raw = WebhookRequest {
            scheme: "test".to_owned(),
            body: body.as_bytes().to_vec(),
            received_at: chrono::DateTime::UNIX_EPOCH,
            client_id: "client".to_owned(),
        };
        guest.webhooks().unwrap().parse(&raw).await
    };
    assert_eq!(parse("fine").await.unwrap(), []);
    is(
        &parse("loop").await.unwrap_err(),
        ErrorKind::Retryable,
        "component_cpu_limit",
    );
}

#[tokio::test]
async fn a_validation_that_does_not_end_is_an_issue() {
    let guest = hostile().await;
    let codes = |how: &str| -> Vec<_> {
        let issues = guest.publisher().unwrap().validate(&text(how));
        issues.into_iter().map(|issue| issue.code).collect()
    };
    assert_eq!(codes("validate_issue"), ["never"]);
    assert_eq!(codes("validate_loop"), ["component_cpu_limit"]);
    assert!(codes("fine").is_empty());
}

#[tokio::test]
async fn an_error_is_brought_to_measure() {
    let guest = hostile().await;
    let error = advance(&guest, &Platform::default(), "error").await.unwrap_err();
    is(&error, ErrorKind::Permanent, "component_code");
    assert_eq!(
        (error.message.len(), error.advice.unwrap().len(), error.quota),
        (2048, 2048, None)
    );
}
