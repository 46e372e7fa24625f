//! A platform that sends signed webhooks at a rate, repeats what was not answered 200, repeats some that were, and keeps
//! the history of every request.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use patchbay_rig::until_within;
use patchbay_simulator_tiktok::simkit::{Random, outbound};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

use crate::webhooks::{PATH, Webhook, Webhooks};

/// How long the platform waits for an answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);
/// Requests at once to one host. A host takes 64 connections from one address, and the test has other questions too.
const IN_FLIGHT: usize = 40;
/// The platform repeats what was not answered 200 after so long.
const REPEAT_AFTER: Duration = Duration::from_secs(1);
/// A webhook that is sent twice on purpose is one of so many that were sent last: some are still under way.
const RECENT: u64 = 64;

/// What to send.
pub struct Load {
    pub webhooks: Webhooks,
    /// Hosts, by the start of their URLs. A request goes to one of them by chance.
    pub hosts: Vec<String>,
    /// Requests a second, repetitions among them.
    pub rate: u32,
    /// How many of a thousand are repetitions of what may have been answered 200.
    pub duplicates: u64,
    /// Makes the webhook of a number.
    pub make: Maker,
    /// So many different webhooks, if not until it is stopped.
    pub total: Option<usize>,
    pub seed: u64,
}

/// Makes the webhook of a number.
pub type Maker = Box<dyn Fn(usize) -> Webhook + Send>;

impl Load {
    /// Healthy webhooks to these hosts, until it is stopped.
    pub fn new(webhooks: &Webhooks, hosts: &[String], rate: u32, seed: u64) -> Self {
        let (webhooks, maker) = (webhooks.clone(), webhooks.clone());
        Self {
            webhooks,
            make: Box::new(move |number| maker.healthy(number)),
            hosts: hosts.to_vec(),
            rate,
            duplicates: 0,
            total: None,
            seed,
        }
    }

    /// Begins to send.
    pub fn start(self) -> Sending {
        let (stop, stopped) = watch::channel(false);
        let history = Arc::new(Mutex::new(History::default()));
        let started = Instant::now();
        let task = tokio::spawn(send(self, started, history.clone(), stopped));
        Sending {
            history,
            started,
            stop,
            task,
        }
    }
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Answered 200: the platform will not come again.
    Accepted,
    /// Answered otherwise.
    Refused(u16),
    /// No answer. Nobody knows.
    Unknown,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Request {
    /// Number of its webhook.
    pub webhook: usize,
    /// Since the start of the load.
    pub at: Duration,
    pub took: Duration,
    pub outcome: Outcome,
}

/// Everything that was sent. Webhooks have the numbers of their places.
#[derive(Default)]
pub struct History {
    pub webhooks: Vec<Webhook>,
    pub requests: Vec<Request>,
    accepted: Vec<bool>,
}

impl History {
    /// Webhooks that were answered 200 at least once.
    pub fn accepted(&self) -> impl Iterator<Item = &Webhook> {
        let accepted = self.accepted.iter();
        self.webhooks
            .iter()
            .zip(accepted)
            .filter(|(_, accepted)| **accepted)
            .map(|(webhook, _)| webhook)
    }

    pub fn count_accepted(&self) -> usize {
        self.accepted.iter().filter(|accepted| **accepted).count()
    }

    /// Requests by how they ended.
    pub fn outcomes(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for request in &self.requests {
            let name = match request.outcome {
                Outcome::Accepted => "200".to_owned(),
                Outcome::Refused(status) => status.to_string(),
                Outcome::Unknown => "unknown".to_owned(),
            };
            *counts.entry(name).or_default() += 1;
        }
        counts
    }

    /// Requests of webhooks that had been answered 200 before.
    pub fn repetitions(&self) -> usize {
        let accepted = self.requests.iter().filter(|r| r.outcome == Outcome::Accepted).count();
        accepted - self.count_accepted()
    }

    fn add(&mut self, webhook: Webhook) -> usize {
        self.webhooks.push(webhook);
        self.accepted.push(false);
        self.webhooks.len() - 1
    }
}

/// A load that is being sent.
pub struct Sending {
    history: Arc<Mutex<History>>,
    started: Instant,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Sending {
    /// Whether everything of a load with a total has been answered 200.
    pub fn is_over(&self) -> bool {
        self.task.is_finished()
    }

    /// Since the start, as requests tell their times.
    pub fn time(&self) -> Duration {
        self.started.elapsed()
    }

    /// Looks at what has happened so far.
    pub fn so_far<T>(&self, look: impl FnOnce(&History) -> T) -> T {
        look(&self.history.lock().unwrap())
    }

    /// Waits until so many more webhooks are answered 200.
    pub async fn more_accepted(&self, more: usize) {
        let wanted = self.so_far(History::count_accepted) + more;
        let what = format!("{wanted} webhooks are answered 200");
        until_within(Duration::from_secs(120), &what, async || {
            (self.so_far(History::count_accepted) >= wanted || self.task.is_finished()).then_some(())
        })
        .await;
    }

    /// Sends nothing new, and what was not answered 200 until it is.
    pub async fn finish(self) -> History {
        self.stop.send_replace(true);
        self.ended().await
    }

    /// Waits until everything of a load with a total has been answered 200.
    pub async fn ended(self) -> History {
        let Self {
            history, task, stop, ..
        } = self;
        task.await.unwrap();
        drop(stop);
        Arc::into_inner(history)
            .expect("nobody sends any more")
            .into_inner()
            .unwrap()
    }
}

/// What is to be sent again, and when.
#[derive(Default)]
struct Repeats(Mutex<VecDeque<(Instant, usize)>>);

impl Repeats {
    fn due(&self) -> Option<usize> {
        let mut waiting = self.0.lock().unwrap();
        let (at, _) = waiting.front()?;
        (*at <= Instant::now()).then(|| waiting.pop_front().map(|(_, number)| number))?
    }
}

async fn send(load: Load, started: Instant, history: Arc<Mutex<History>>, stopped: watch::Receiver<bool>) {
    let client = outbound::client(ANSWER_DEADLINE).unwrap();
    let random = Random::seeded(load.seed);
    let repeats = Arc::new(Repeats::default());
    let hosts: Vec<_> = load
        .hosts
        .iter()
        .map(|url| (format!("{url}{PATH}"), Arc::new(Semaphore::new(IN_FLIGHT))))
        .collect();
    let is_idle = || hosts.iter().all(|(_, places)| places.available_permits() == IN_FLIGHT);
    let mut ticks = interval(Duration::from_secs(1) / load.rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut made = 0;
    loop {
        ticks.tick().await;
        let over = *stopped.borrow() || load.total.is_some_and(|total| made >= total);
        let number = if let Some(number) = repeats.due() {
            number
        } else if !over && made > 0 && random.between(0, 1_000) < load.duplicates {
            let back = usize::try_from(random.between(1, RECENT + 1)).unwrap();
            made.saturating_sub(back)
        } else if !over {
            let webhook = (load.make)(made);
            made += 1;
            history.lock().unwrap().add(webhook)
        } else if is_idle() && history.lock().unwrap().count_accepted() == made {
            return;
        } else {
            continue;
        };
        let (url, places) = &hosts[usize::try_from(random.between(0, hosts.len() as u64)).unwrap()];
        let place = places.clone().acquire_owned().await.expect("nobody closes it");
        let body = history.lock().unwrap().webhooks[number].body.clone();
        let request = client
            .post(url)
            .timeout(ANSWER_DEADLINE)
            .header("content-type", "application/json")
            .header("tiktok-signature", load.webhooks.signature(&body))
            .body(body.to_vec());
        let (history, repeats) = (history.clone(), repeats.clone());
        tokio::spawn(async move {
            let at = Instant::now();
            let outcome = match request.send().await {
                Ok(answer) if answer.status().as_u16() == 200 => Outcome::Accepted,
                Ok(answer) => Outcome::Refused(answer.status().as_u16()),
                Err(_) => Outcome::Unknown,
            };
            let mut history = history.lock().unwrap();
            if outcome == Outcome::Accepted {
                history.accepted[number] = true;
            } else if !history.accepted[number] {
                let again = (Instant::now() + REPEAT_AFTER, number);
                repeats.0.lock().unwrap().push_back(again);
            }
            history.requests.push(Request {
                webhook: number,
                at: at - started,
                took: at.elapsed(),
                outcome,
            });
            drop(place);
        });
    }
}
