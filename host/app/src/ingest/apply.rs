//! What a worker makes of stored webhooks: parse each, then settle all in one transaction.
//!
//! Parsing is the one place where bytes from outside meet a provider's code, so it runs apart: a panic is a verdict, and
//! what never ends is left behind. What kills the whole process is known by its claims that were lost.

use std::{
    collections::{HashMap, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use chrono::Datelike;
use patchbay_core::{EventId, EventKind, InboxId, IncomingEvent, WebhookRequest};
use tokio::{runtime::Handle, sync::mpsc, time};
use tracing::{debug, error, warn};

use crate::{
    App, failpoint,
    model::{AppliedEvent, InboxItem, Job, Settled, WebhookEnd, WebhookVerdict},
    registry::Registered,
    store::{JobEnd, MAX_LOST, StoreError},
    work::backoff,
};

/// Attempts, with a growing pause between them, before a webhook is given up: about as long as platforms repeat theirs.
const MAX_ATTEMPTS: i32 = 25;
/// Longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_hours(6);
/// How long others wait for a provider to read a webhook. They are read in microseconds.
const PARSE_PATIENCE: Duration = Duration::from_secs(1);
/// How long a provider may read one webhook before it is put aside. So long, since a busy machine is no poison.
const PARSE_DEADLINE: Duration = Duration::from_secs(20);

/// What a provider read, or the code of its refusal.
type Read = Result<Vec<IncomingEvent>, String>;

/// Reads and applies claimed webhooks: jobs of kind `Ingest`.
pub(crate) async fn run(app: &Arc<App>, jobs: &[Job]) -> Result<(), StoreError> {
    failpoint::hit("wh.claimed");
    let ids: Vec<_> = jobs.iter().map(|job| InboxId::from_uuid(job.target)).collect();
    let mut items: HashMap<_, _> = (app.store.inbox(&ids).await?.into_iter())
        .map(|item| (item.webhook.id, item))
        .collect();
    let mut ends = Vec::with_capacity(jobs.len());
    let mut readable = Vec::with_capacity(jobs.len());
    for (job, inbox) in jobs.iter().zip(ids) {
        match sort_out(app, job, items.remove(&inbox)) {
            Ok((registered, item)) => readable.push((job, registered, item)),
            Err(code) => ends.push(WebhookEnd {
                lease: job.lease(),
                inbox,
                verdict: WebhookVerdict::Dead(code.to_owned()),
            }),
        }
    }
    let requests = readable.iter().map(|(_, registered, item)| {
        let request = WebhookRequest {
            scheme: item.webhook.scheme.clone(),
            body: item.webhook.body.clone(),
            received_at: item.received_at,
            client_id: item.webhook.client_id.clone(),
        };
        (registered.clone(), request)
    });
    let mut reading = Reading::of(requests.collect());
    let by_lease: HashMap<_, _> = readable.iter().map(|(job, _, item)| (job.lease(), item)).collect();
    loop {
        let part = reading.part().await;
        for (place, read) in part {
            let (job, _, item) = &readable[place];
            ends.push(WebhookEnd {
                lease: job.lease(),
                inbox: item.webhook.id,
                verdict: verdict(app, item, read),
            });
        }
        if ends.is_empty() {
            return Ok(());
        }
        let all_settled = settle(app, jobs, std::mem::take(&mut ends)).await?;
        failpoint::hit("wh.done");
        for (end, settled) in all_settled {
            if let (Settled::Applied(events), Some(item)) = (&settled, by_lease.get(&end.lease)) {
                note(app, item, events);
            }
        }
    }
}

/// The provider that can read a webhook, or why nobody is to try.
fn sort_out(app: &App, job: &Job, item: Option<InboxItem>) -> Result<(Arc<Registered>, InboxItem), &'static str> {
    if job.lost >= MAX_LOST {
        return Err("quarantined");
    }
    if job.attempts > MAX_ATTEMPTS {
        return Err("attempts_exhausted");
    }
    let item = item.ok_or("inbox_row_missing")?;
    let registered = app.registered(&item.webhook.provider).map_err(|_| "provider_unknown")?;
    registered.provider.webhooks().ok_or("no_webhook_source")?;
    Ok((registered, item))
}

/// Webhooks that providers read, one after another, on a thread where nothing else waits. One that takes long is waited for
/// apart, and the rest goes on in another thread.
struct Reading {
    requests: Arc<[(Arc<Registered>, WebhookRequest)]>,
    /// The first one that nobody has read.
    next: usize,
    late: VecDeque<Late>,
}

/// A webhook that takes long.
struct Late {
    place: usize,
    receive: mpsc::Receiver<Read>,
    until: time::Instant,
}

impl Reading {
    fn of(requests: Vec<(Arc<Registered>, WebhookRequest)>) -> Self {
        Self {
            requests: requests.into(),
            next: 0,
            late: VecDeque::new(),
        }
    }

    /// What was read, by its place, as far as it can be had without waiting long. Nothing: at the end.
    async fn part(&mut self) -> Vec<(usize, Read)> {
        let mut part = Vec::new();
        while part.is_empty() && self.next < self.requests.len() {
            let mut receive = self.go_on();
            while self.next < self.requests.len() {
                match time::timeout(PARSE_PATIENCE, receive.recv()).await {
                    Ok(Some(read)) => {
                        part.push((self.next, read));
                        self.next += 1;
                    }
                    // The thread is gone: the process ends, and others will read the rest.
                    Ok(None) => return part,
                    Err(_) => {
                        self.late.push_back(Late {
                            place: self.next,
                            receive,
                            until: time::Instant::now() + PARSE_DEADLINE,
                        });
                        self.next += 1;
                        break;
                    }
                }
            }
        }
        if part.is_empty()
            && let Some(Late {
                place,
                mut receive,
                until,
            }) = self.late.pop_front()
        {
            match time::timeout_at(until, receive.recv()).await {
                Ok(read) => part.extend(read.map(|read| (place, read))),
                Err(_) => {
                    error!("A provider does not come to an end with a webhook; its thread is left behind");
                    part.push((place, Err("parse_deadline".to_owned())));
                }
            }
        }
        part
    }

    /// Has the rest read in a new thread. It ends when nobody waits for its answers any more.
    fn go_on(&self) -> mpsc::Receiver<Read> {
        let (requests, first) = (self.requests.clone(), self.next);
        // Room for all, so that a thread that was left behind never waits for a reader.
        let (send, receive) = mpsc::channel(requests.len() - first);
        // Not awaited: its answers come by the channel.
        drop(tokio::task::spawn_blocking(move || {
            for (registered, request) in &requests[first..] {
                if send.try_send(read(registered, request)).is_err() {
                    return;
                }
            }
        }));
        receive
    }
}

fn read(registered: &Registered, request: &WebhookRequest) -> Read {
    let Some(source) = registered.provider.webhooks() else {
        return Err("no_webhook_source".to_owned());
    };
    let parse = || {
        failpoint::parse(&request.body);
        Handle::current().block_on(source.parse(request))
    };
    catch_unwind(AssertUnwindSafe(parse))
        .unwrap_or_else(|_| {
            error!(provider = %registered.id(), "A provider panicked on a webhook");
            Err(patchbay_core::ProviderError::new(
                patchbay_core::ErrorKind::Permanent,
                "parse_panicked",
                "the provider panicked",
            ))
        })
        .map_err(|error| error.code.into_owned())
}

fn verdict(app: &App, item: &InboxItem, read: Read) -> WebhookVerdict {
    match read {
        Ok(events) => WebhookVerdict::Read(
            (events.into_iter())
                .map(|event| (EventId::from_uuid(app.env.ids.next()), with_a_sane_time(event)))
                .collect(),
        ),
        Err(code) => {
            warn!(inbox.id = %item.webhook.id, code, "A webhook is not readable and was put aside");
            metrics::counter!("patchbay_webhooks_dead_total", "provider" => item.webhook.provider.to_string())
                .increment(1);
            WebhookVerdict::Dead(code)
        }
    }
}

/// A time that RFC 3339 cannot say is none: no client could read it, and not every database could store it.
fn with_a_sane_time(mut event: IncomingEvent) -> IncomingEvent {
    event.occurred_at = event.occurred_at.filter(|at| (1..=9999).contains(&at.year()));
    event
}

/// Settles webhooks together; if that fails, each by itself, so that one that cannot be stored holds up no other.
async fn settle(app: &App, jobs: &[Job], ends: Vec<WebhookEnd>) -> Result<Vec<(WebhookEnd, Settled)>, StoreError> {
    match failpoint::under_way("wh.effect", app.store.settle_webhooks(&ends)).await {
        Ok(settled) => return Ok(ends.into_iter().zip(settled).collect()),
        Err(error) if ends.len() == 1 || matches!(error, StoreError::Unavailable(_)) => {
            for end in &ends {
                put_off(app, jobs, end, &error).await?;
            }
            return Err(error);
        }
        Err(error) => warn!(%error, webhooks = ends.len(), "Webhooks cannot be settled together; each is by itself"),
    }
    let mut all = Vec::with_capacity(ends.len());
    for end in ends {
        match app.store.settle_webhooks(std::slice::from_ref(&end)).await {
            Ok(settled) => all.extend(settled.into_iter().map(|settled| (end.clone(), settled))),
            Err(error) => put_off(app, jobs, &end, &error).await?,
        }
    }
    Ok(all)
}

/// A fault of the store is a verdict too, if that can be written: the webhook comes again later.
async fn put_off(app: &App, jobs: &[Job], end: &WebhookEnd, error: &StoreError) -> Result<(), StoreError> {
    warn!(%error, inbox.id = %end.inbox, "A webhook could not be settled and is tried again");
    let attempts = jobs
        .iter()
        .find(|job| job.lease() == end.lease)
        .map_or(1, |job| job.attempts);
    let again = JobEnd::Again {
        run_at: app.env.now() + backoff(app, attempts, Duration::from_secs(2), LONGEST_PAUSE),
        code: "store".to_owned(),
    };
    app.store.end_job(end.lease, &again).await?;
    Ok(())
}

/// Counts what was applied.
fn note(app: &App, item: &InboxItem, events: &[AppliedEvent]) {
    for event in events {
        debug!(name = %event.name, is_new = event.is_new, "Applied an event");
        let matched = event.account.is_some();
        metrics::counter!("patchbay_events_total",
            "provider" => item.webhook.provider.to_string(), "kind" => kind_label(&event.kind),
            "outcome" => if !event.is_new { "duplicate" } else if matched { "applied" } else { "unmatched" })
        .increment(1);
    }
    let taken = (app.env.now() - item.received_at).to_std().unwrap_or_default();
    metrics::histogram!("patchbay_webhook_effect_seconds", "provider" => item.webhook.provider.to_string())
        .record(taken.as_secs_f64());
}

fn kind_label(kind: &EventKind) -> &'static str {
    match kind {
        EventKind::PostProgress => "post_progress",
        EventKind::PostVisible { .. } => "post_visible",
        EventKind::PostHidden { .. } => "post_hidden",
        EventKind::AuthorizationRemoved { .. } => "authorization_removed",
        _ => "other",
    }
}
