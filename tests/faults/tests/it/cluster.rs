//! Several hosts in this process on one database, with one time for all, the platform too: it stands still until it is
//! moved. So a day takes a minute, and a limit of a minute is met exactly. Nothing works unless [`Cluster::settle`] does.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use futures_util::future::join_all;
use patchbay_app::{
    env::{Env, FixedClock},
    model::JobKind,
    work,
};
use patchbay_rig::{Api, World};
use patchbay_server::{
    config::Config,
    host::{self, Start},
    providers,
    serve::{self, Serving},
};
use tokio::net::TcpListener;

/// Time goes on at least by this much, so that what is due and cannot run yet holds up nothing.
const LEAST_STEP: Duration = Duration::from_millis(100);

/// The hosts, and their world.
pub struct Cluster {
    pub world: World,
    /// A client of the first host.
    pub api: Api,
    hosts: Vec<Serving>,
    clock: Arc<FixedClock>,
}

impl Cluster {
    /// Starts so many hosts as the world's program is configured. Time stands still from now on.
    pub async fn start(world: World, size: usize) -> Self {
        let key = world.key().await;
        let now = world
            .tiktok
            .clock()
            .now()
            .duration_trunc(TimeDelta::seconds(1))
            .unwrap();
        world.tiktok.clock().freeze();
        world.tiktok.clock().set(now);
        let clock = FixedClock::at(now);
        let mut hosts = Vec::new();
        for number in 0..size {
            hosts.push(start_host(&world, number, &clock).await);
        }
        Self {
            api: Api::new(&format!("http://{}", hosts[0].address), Some(&key)),
            world,
            hosts,
            clock,
        }
    }

    pub fn now(&self) -> DateTime<Utc> {
        self.world.tiktok.clock().now()
    }

    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
        self.world.tiktok.clock().advance(by);
    }

    /// Moves time to when the next job is due, but no further than this.
    pub async fn advance_to_next(&self, most: Duration) {
        let due = self.hosts[0].host.app.store.next_due(&JobKind::ALL).await.unwrap();
        let wait = due.and_then(|at| (at - self.now()).to_std().ok());
        self.advance(wait.unwrap_or(most).clamp(LEAST_STEP, most));
    }

    /// Does everything that is due now, at the platform and on all hosts at once, until nothing is.
    pub async fn settle(&self) {
        loop {
            self.fetched().await;
            self.world.tiktok.settle().await;
            if self.work(&JobKind::ALL).await == 0 {
                return;
            }
        }
    }

    /// Runs the jobs of these kinds that are due now, on all hosts at once. How many they were.
    pub async fn work(&self, kinds: &[JobKind]) -> usize {
        let ran = join_all(self.hosts.iter().map(|host| work_off(host, kinds))).await;
        ran.into_iter().sum()
    }

    /// What the platform fetches by itself takes real time.
    async fn fetched(&self) {
        let done = self.world.tiktok.until(|oracle| {
            let mut posts = oracle.posts().into_iter().filter(|post| !post.urls.is_empty());
            posts.all(|post| !post.sha256.is_empty() || post.fail_reason.is_some())
        });
        assert!(done.await, "a pull hangs");
    }
}

async fn work_off(host: &Serving, kinds: &[JobKind]) -> usize {
    let mut ran = 0;
    loop {
        match work::run_due(&host.host.app, kinds, usize::MAX).await.unwrap() {
            0 => return ran,
            jobs => ran += jobs as usize,
        }
        assert!(ran < 100_000, "a job runs again and again without a pause");
    }
}

async fn start_host(world: &World, number: usize, clock: &Arc<FixedClock>) -> Serving {
    // The first one is where browsers and webhooks go.
    let port = if number == 0 { world.program.port } else { 0 };
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let folder = world.dir.path().join(format!("host-{number}"));
    let program = world
        .program
        .clone()
        .with("PATCHBAY__SERVER__LISTEN", listener.local_addr().unwrap().to_string())
        .with("PATCHBAY__STORAGE__DIR", folder.display().to_string())
        .with("PATCHBAY__WORKERS__ENABLED", "false")
        .with("PATCHBAY__DATABASE__MAX_CONNECTIONS", "6");
    let config = Config::from_environment(program.env, &providers::known()).unwrap_or_else(|wrong| panic!("{wrong}"));
    let start = Start {
        env: Some(Env {
            clock: clock.clone(),
            ..Env::system()
        }),
        store_clock: Some(clock.clone()),
        allow_unsafe_durability: true,
        ..Start::default()
    };
    serve::start(host::build(config, start).await.unwrap(), listener)
        .await
        .unwrap()
}
