//! How long an event waits before it is sent: from the transaction that stores it to the first request at its endpoint.
//!
//! A host with its workers, on PostgreSQL, and a receiver of the benchmark that answers at once. Tenants with one endpoint each
//! have events made at an even rate, whatever becomes of those before.

use std::{cell::RefCell, collections::HashMap, sync::Arc, time::Duration};

use anyhow::{Context, bail, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use patchbay_simkit::Clock;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{Instant, interval, timeout},
};

use crate::{
    Effort,
    host::{Host, Settings},
    measurement::{Measurement, Wanted},
    ports::free_port,
    postgres::Postgres,
    webhooks::{CLIENT_KEY, CLIENT_SECRET},
};

/// Events a second, of all tenants.
const RATE: u32 = 200;
/// Tenants, each with one endpoint: deliveries of one endpoint go one after another.
const TENANTS: usize = 20;
/// What the slowest of twenty events may wait.
const WANTED_MS: f64 = 100.0;
/// Longest wait for what is still under way at the end: what failed twice is sent again after five minutes.
const PATIENCE: Duration = Duration::from_secs(400);

/// `webhook_first_attempt_p95`: beside a wait of 100 ms.
pub async fn first_attempt_p95(effort: Effort) -> anyhow::Result<Measurement> {
    measure("webhook_first_attempt_p95", false, effort).await
}

/// `webhook_first_attempt_p95_apart`: the same, sent by another process than the one that stores the events.
pub async fn first_attempt_p95_apart(effort: Effort) -> anyhow::Result<Measurement> {
    measure("webhook_first_attempt_p95_apart", true, effort).await
}

async fn measure(name: &'static str, workers_apart: bool, effort: Effort) -> anyhow::Result<Measurement> {
    let receiver = Receiver::start().await?;
    let server = Postgres::start().await?;
    let bench = Bench::start(server.create("bench").await?, &receiver, workers_apart).await?;
    let notes: RefCell<Vec<String>> = RefCell::default();
    let found = Measurement::of_pairs(
        name,
        Wanted::AtMost(1.0),
        "ms",
        effort.pairs,
        async || Ok(WANTED_MS),
        async || {
            let run = bench.run(&receiver, effort.time).await?;
            let p95 = run.quantile(95);
            notes.borrow_mut().push(format!(
                "{:.0}/s: {:.0} {:.0} {:.0}",
                run.rate,
                run.quantile(50),
                p95,
                run.quantile(100)
            ));
            Ok(p95)
        },
    )
    .await?;
    let told = notes.into_inner().join("; ");
    Ok(found
        .note("events a second: median, p95 and longest wait in ms", told)
        .note("tenants with an endpoint each", TENANTS)
        .note("reference", "a wait of 100 ms")
        .note("database", server.describe().await?))
}

/// What came of one run.
struct Run {
    /// Waits in milliseconds, the shortest first.
    waits: Vec<f64>,
    /// Events a second.
    rate: f64,
}

impl Run {
    fn quantile(&self, percent: usize) -> f64 {
        let at = (self.waits.len() * percent).div_ceil(100).saturating_sub(1);
        self.waits.get(at).copied().unwrap_or(f64::NAN)
    }
}

struct Bench {
    host: Arc<Host>,
    url: String,
    /// Key of each tenant, and the path that makes an event for its endpoint.
    tenants: Vec<(String, String)>,
    dir: TempDir,
}

impl Bench {
    async fn start(url: String, receiver: &Receiver, workers_apart: bool) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let hosts: Vec<_> = (0..TENANTS)
            .map(|n| format!("h{n}.example.com={}", receiver.address))
            .collect();
        let host = Host::start(Settings {
            port: free_port(),
            dir: dir.path(),
            database: url.clone(),
            client: (CLIENT_KEY, CLIENT_SECRET),
            workers_apart,
            more: vec![
                ("PATCHBAY__SERVER__FIRST_PARTY", "open".to_owned()),
                ("PATCHBAY__SERVER__MAX_SOCKETS_PER_IP", "1000".to_owned()),
                ("PATCHBAY__EGRESS__SIMULATED_RECEIVERS", hosts.join(",")),
            ],
        })
        .await?;
        let mut tenants = Vec::new();
        for n in 0..TENANTS {
            let tenant = host
                .post("/api/tenants", None, &json!({ "name": format!("t{n}") }))
                .await?;
            let path = format!("/api/tenants/{}/keys", text(&tenant, "id")?);
            let key = text(&host.post(&path, None, &json!({ "name": "bench" })).await?, "text")?;
            let wanted = json!({ "url": format!("https://h{n}.example.com/") });
            let endpoint = host.post("/api/webhook-endpoints", Some(&key), &wanted).await?;
            tenants.push((key, format!("/api/webhook-endpoints/{}/test", text(&endpoint, "id")?)));
        }
        // A process that does the work may still be starting.
        if let Some((key, path)) = tenants.first() {
            host.post(path, Some(key), &Value::Null).await?;
            ensure!(
                receiver.sees(|seen| !seen.is_empty()).await,
                "the first event never came"
            );
        }
        Ok(Self {
            host: Arc::new(host),
            url,
            tenants,
            dir,
        })
    }

    async fn run(&self, receiver: &Receiver, time: Duration) -> anyhow::Result<Run> {
        receiver.seen.send_modify(Seen::clear);
        let mut connection = PgConnection::connect(&self.url).await?;
        let start: DateTime<Utc> = sqlx::query_scalar("SELECT now()").fetch_one(&mut connection).await?;
        let (begun, mut made, mut beat) = (Instant::now(), JoinSet::new(), interval(Duration::from_secs(1) / RATE));
        let mut count = 0;
        while begun.elapsed() < time {
            beat.tick().await;
            let (key, path) = self.tenants[count % TENANTS].clone();
            let host = self.host.clone();
            made.spawn(async move { host.post(&path, Some(&key), &Value::Null).await });
            count += 1;
        }
        let took = begun.elapsed();
        while let Some(done) = made.join_next().await {
            done??;
        }
        let stored: Vec<(uuid::Uuid, DateTime<Utc>)> =
            sqlx::query_as("SELECT id, recorded_at FROM events WHERE recorded_at >= $1")
                .bind(start)
                .fetch_all(&mut connection)
                .await?;
        ensure!(stored.len() == count, "{} events instead of {count}", stored.len());
        // By their ids: one of the run before may come again.
        let came = |seen: &Seen| stored.iter().filter(|(id, _)| seen.contains_key(&name_of(*id))).count();
        if !receiver.sees(|seen| came(seen) == count).await {
            let left: Vec<String> = sqlx::query_scalar(
                "SELECT format('%s after %s attempts (%s), its job %s, due in %s', deliveries.status, deliveries.attempts, code,
                            jobs.status, due_at - now())
                 FROM deliveries LEFT JOIN jobs ON target = deliveries.id AND kind = 'deliver'
                 WHERE deliveries.status <> 'delivered'",
            )
            .fetch_all(&mut connection)
            .await?;
            let log = std::fs::read_to_string(self.dir.path().join("host.log")).unwrap_or_default();
            bail!(
                "{} of {count} events came to their endpoints; the others: {left:?}; the log: {log}",
                came(&receiver.seen.borrow())
            );
        }
        let seen = receiver.seen.borrow();
        let mut waits = Vec::with_capacity(count);
        for (id, stored_at) in &stored {
            let came = seen.get(&name_of(*id)).context("an event never came")?;
            let wait: TimeDelta = *came - *stored_at;
            waits.push(wait.num_microseconds().unwrap_or(i64::MAX) as f64 / 1e3);
        }
        waits.sort_by(f64::total_cmp);
        Ok(Run {
            waits,
            rate: count as f64 / took.as_secs_f64(),
        })
    }
}

/// An event's id as its receiver sees it.
fn name_of(event: uuid::Uuid) -> String {
    format!("evt_{}", event.simple())
}

fn text(body: &Value, field: &str) -> anyhow::Result<String> {
    Ok(body[field].as_str().with_context(|| format!("no {field}"))?.to_owned())
}

type Seen = HashMap<String, DateTime<Utc>>;

/// Takes every event, and notes when each came first.
struct Receiver {
    address: std::net::SocketAddr,
    seen: watch::Sender<Seen>,
}

impl Receiver {
    async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let receiver = Self {
            address: listener.local_addr()?,
            seen: watch::Sender::default(),
        };
        let seen = receiver.seen.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(take(stream, seen.clone()));
            }
        });
        Ok(receiver)
    }

    /// Whether what has come is as wanted, soon enough.
    async fn sees(&self, wanted: impl FnMut(&Seen) -> bool) -> bool {
        let mut seen = self.seen.subscribe();
        timeout(PATIENCE, seen.wait_for(wanted))
            .await
            .is_ok_and(|seen| seen.is_ok())
    }
}

/// Answers the requests of one connection, until it ends.
async fn take(stream: TcpStream, seen: watch::Sender<Seen>) -> std::io::Result<()> {
    let clock = Clock::running();
    let mut stream = BufReader::new(stream);
    let (mut line, mut id, mut length) = (String::new(), String::new(), 0);
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let header = line.trim_end().to_ascii_lowercase();
        if let Some(value) = header.strip_prefix("webhook-id: ") {
            value.clone_into(&mut id);
        } else if let Some(value) = header.strip_prefix("content-length: ") {
            length = value.parse().unwrap_or_default();
        } else if header.is_empty() {
            let now = clock.now();
            seen.send_modify(|seen| {
                seen.entry(id.clone()).or_insert(now);
            });
            stream.read_exact(&mut vec![0; length]).await?;
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await?;
            length = 0;
        }
    }
}
