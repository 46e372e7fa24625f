//! R07: a rotated token that was received is never lost. The platform's refresh tokens die when they are used; meanwhile
//! it refuses, hangs up and limits, the database goes away while answers are on their way, and hosts are killed at every
//! point after the journal.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use patchbay_faults::{Figures, Scale, Server, world_on, world_on_sqlite};
use patchbay_rig::{Api, Host, World, holds, seed, until};
use patchbay_simulator_tiktok::{
    TokenProfile,
    simkit::{Action, Fault, Random, When},
};

use crate::{
    posts::{armed, new_account},
    tokens::{Versions, at_rest, end_token_leases, make_due, reauths, renew_all, uses, versions},
};

/// Points at which a kill costs no token, however strict the platform.
const SAFE: [&str; 3] = ["ref.leased", "ref.journaled", "ref.stored"];
/// Points between the platform's knowing and the disk's: only a platform with grace forgives a kill.
const FORGIVEN: [&str; 2] = ["ref.sent", "ref.received"];
/// What a host writes when the database does not take a token.
const WAITING: &str = "A renewed token could not be stored yet";

#[tokio::test]
async fn r07_on_sqlite() {
    let world = world_on_sqlite().await;
    Rotations::start("R07 sqlite", &world, None).await.run().await;
}

#[tokio::test]
async fn r07_on_postgres() {
    let Some(server) = Server::start().await else { return };
    let world = world_on(&server).await;
    Rotations::start("R07 postgres", &world, Some(&server))
        .await
        .run()
        .await;
}

struct Rotations<'a> {
    row: &'static str,
    seed: u64,
    random: Random,
    world: &'a World,
    server: Option<&'a Server>,
    host: Option<Host>,
    api: Api,
    kills: usize,
    outages: usize,
}

impl<'a> Rotations<'a> {
    async fn start(row: &'static str, world: &'a World, server: Option<&'a Server>) -> Self {
        let seed = seed();
        let (host, api) = world.start().await;
        let accounts = Scale::of_run().pick(20, 1_000);
        stream::iter(0..accounts)
            .for_each_concurrent(8, async |number| drop(new_account(world, &api, number).await))
            .await;
        Self {
            row,
            seed,
            random: Random::seeded(seed),
            world,
            server,
            host: Some(host),
            api,
            kills: 0,
            outages: 0,
        }
    }

    async fn run(mut self) {
        let rounds = Scale::of_run().pick(10, 10);
        for round in 0..rounds {
            self.round(round).await;
        }
        for _ in 0..Scale::of_run().pick(2, 20) {
            for point in SAFE {
                self.kill(point).await;
            }
        }
        let strict = uses(self.world);
        self.world
            .tiktok
            .change_switches(|switches| switches.tokens = TokenProfile::Legacy);
        for _ in 0..Scale::of_run().pick(1, 20) {
            for point in FORGIVEN {
                self.kill(point).await;
            }
        }
        // All are usable, not only said to be.
        let all = versions(&self.world.database).await;
        renew_all(&self.world.database, &all).await;

        let mut figures = Figures::new(self.row, self.seed);
        figures.at_least("strict rotations", Scale::of_run().pick(200, 10_000), strict.granted);
        figures.told("hosts killed while they renewed", "", self.kills);
        figures.told("database gone when answers came", "", self.outages);
        figures.is("accounts to be connected again", 0, reauths(&self.world.database).await);
        figures.is("dead tokens that were sent", 0, strict.refused);
        figures.is("calls for one token version, at most", 1, strict.most);
        figures.finish();
    }

    /// All tokens once, under one kind of trouble.
    async fn round(&mut self, round: u64) {
        let before = versions(&self.world.database).await;
        let faults = self.world.tiktok.faults();
        let seed = self.seed + round;
        let refusal = |status| Action::Status {
            status,
            body: "try again".to_owned(),
            content_type: "text/plain".to_owned(),
            when: When::Before,
        };
        match round % 5 {
            0 => {}
            1 => faults.put("token", Fault::new("token", refusal(503)).percent(30, seed)),
            2 => faults.put("token", Fault::new("token", refusal(429)).percent(30, seed)),
            3 => faults.put(
                "token",
                Fault::new("token", Action::Drop { when: When::Before }).percent(30, seed),
            ),
            _ => return self.lose_the_database(&before).await,
        }
        renew_all(&self.world.database, &before).await;
        self.world.tiktok.faults().clear("token");
    }

    /// The database goes away while answers are on their way, and comes back later.
    async fn lose_the_database(&mut self, before: &Versions) {
        let database = &self.world.database;
        let Some(server) = self.server else {
            return renew_all(database, before).await;
        };
        let log = self.world.program.log_path();
        let waiting = || {
            std::fs::read_to_string(&log)
                .unwrap_or_default()
                .matches(WAITING)
                .count()
        };
        let waited = waiting();
        let slow = Fault::new("token", Action::Delay { ms: 1_500 });
        self.world.tiktok.faults().put("token", slow);
        let calls = self.world.calls("token");
        let accounts: Vec<_> = before.keys().cloned().collect();
        make_due(database, &accounts).await;
        holds("renewals are under way", || self.world.calls("token") > calls).await;
        server.stop_at_once().await;
        holds("a token waits for the database", || waiting() > waited).await;
        // So long, in the figures.
        tokio::time::sleep(Scale::of_run().pick(Duration::ZERO, Duration::from_secs(10))).await;
        server.start_again().await;
        self.outages += 1;
        self.world.tiktok.faults().clear("token");
        renew_all(database, before).await;
    }

    /// One renewal, whose host is killed at this point.
    async fn kill(&mut self, point: &str) {
        let database = &self.world.database;
        // A token that came back from the journal may be due once more. A host that is killed for another account while
        // it renews that one would lose it, and that is no question here.
        at_rest(database).await;
        if let Some(host) = self.host.take() {
            host.kill().await;
        }
        let mut host = armed(&self.world.program, &format!("{point}=abort")).serve().await;
        // Another account each time, and alone: what else is under way is killed where it stands.
        let mut all = versions(database).await;
        let chosen = self.random.between(0, all.len() as u64) as usize;
        let one = all.keys().nth(chosen).unwrap().clone();
        all.retain(|id, _| *id == one);
        until("the host is killed", async || {
            make_due(database, std::slice::from_ref(&one)).await;
            host.has_ended()
        })
        .await;
        self.kills += 1;
        let host = self.world.program.serve().await;
        end_token_leases(database).await;
        renew_all(database, &all).await;
        self.api = self.api.at(&host.url);
        self.host = Some(host);
    }
}
