//! R08: however many ask, on however many hosts, a token version is renewed by one call. A host that is stopped in the
//! middle of it costs a second call at the most, and no account.

use std::time::Duration;

use futures_util::future::join_all;
use patchbay_faults::{Figures, Fleet, Scale, world};
use patchbay_rig::{Api, Database, holds, on_postgres, seed, until, until_within};
use patchbay_simulator_tiktok::{
    TokenProfile,
    simkit::{Action, Fault},
};

use crate::{
    posts::{armed, new_account},
    tokens::{Uses, reauths, uses, versions},
};

const HOSTS: usize = 4;
const CALLERS: usize = 50;
/// Longest wait for a lease that nobody gives back: 90 s, and a caller's patience.
const LEASE: Duration = Duration::from_secs(180);

#[tokio::test]
async fn r08_many_callers_renew_once() {
    on_postgres(async |database| {
        let seed = seed();
        let world = world(database).await;
        let fleet = Fleet::start(&world, HOSTS).await;
        let apis: Vec<_> = fleet.urls.iter().map(|url| fleet.api.at(url)).collect();
        let (accounts, rounds) = Scale::of_run().pick((4, 10), (20, 50));
        let mut ids = Vec::new();
        for number in 0..accounts {
            ids.push(new_account(&world, &fleet.api, number).await);
        }
        // Slow enough that all come while a renewal is under way.
        let slow = Fault::new("token", Action::Delay { ms: 300 });
        world.tiktok.faults().put("slow", slow);
        for _ in 0..rounds {
            let before = versions(&world.database).await;
            world.database.age_tokens().await;
            let calls = (0..HOSTS * CALLERS).map(|n| ask(&apis[n % HOSTS], &ids[n / HOSTS % ids.len()]));
            join_all(calls).await;
            let after = versions(&world.database).await;
            for (id, version) in before {
                assert_eq!(after[&id], version + 1, "{id} is renewed once");
            }
        }
        let Uses { granted, most, refused } = uses(&world);
        let mut figures = Figures::new("R08 callers", seed);
        figures.told("hosts x callers", "4 x 50", format!("{HOSTS} x {CALLERS}"));
        figures.at_least("tokens that ended", (accounts * rounds) as u32, granted);
        figures.is("calls for one token version, at most", 1, most);
        figures.is("dead tokens that were sent", 0, refused);
        figures.is("accounts to be connected again", 0, reauths(&world.database).await);
        figures.finish();
    })
    .await;
}

#[tokio::test]
async fn r08_a_stopped_holder_costs_no_account() {
    on_postgres(async |before| {
        on_postgres(async |grace| {
            on_postgres(async |strict| {
                // Together, because each waits for a lease of 90 s.
                let (before, grace, strict) = tokio::join!(
                    stop_the_holder(before, "ref.leased", TokenProfile::Strict),
                    stop_the_holder(grace, "ref.sent", TokenProfile::Legacy),
                    stop_the_holder(strict, "ref.sent", TokenProfile::Strict),
                );
                let mut figures = Figures::new("R08 stopped", 0);
                figures.is("stopped before the call: calls", 1, before.calls);
                figures.is("stopped before the call: reauth", 0, before.reauths);
                figures.at_most("stopped during the call, grace: calls", 2, grace.calls);
                figures.is("stopped during the call, grace: reauth", 0, grace.reauths);
                figures.at_most("stopped during the call, strict: calls", 2, strict.calls);
                figures.is("strict: reauth after the holder is back", 0, strict.not_active);
                figures.finish();
            })
            .await;
        })
        .await;
    })
    .await;
}

struct Stopped {
    calls: u32,
    reauths: u64,
    not_active: u64,
}

/// One host stops while it holds the right to renew, another takes over when that ends, and the first goes on.
async fn stop_the_holder(database: Database, point: &str, profile: TokenProfile) -> Stopped {
    let world = world(database).await;
    world.tiktok.change_switches(|switches| switches.tokens = profile);
    let programs = vec![armed(&world.program, &format!("{point}=stop")), world.replica()];
    let fleet = Fleet::of(&world, programs).await;
    let holder = fleet.api.clone();
    let other = fleet.api.at(&fleet.urls[1]);
    let account = new_account(&world, &holder, 0).await;
    // The call is still under way when the host stops.
    let slow = Fault::new("token", Action::Delay { ms: 1_000 });
    world.tiktok.faults().put("slow", slow);
    let before = versions(&world.database).await;
    world.database.age_tokens().await;
    let asked = tokio::spawn({
        let account = account.clone();
        async move { ask(&holder, &account).await }
    });
    let pid = fleet.host(0).pid();
    holds("the holder has stopped itself", || is_stopped(pid)).await;
    until_within(LEASE, "another host renews, or is refused", async || {
        ask(&other, &account).await;
        let moved = versions(&world.database).await != before;
        let refused = uses(&world).refused > 0 && reauths(&world.database).await > 0;
        (moved || refused).then_some(())
    })
    .await;
    fleet.host(0).thaw().await;
    asked.await.unwrap();
    until("the account is usable", async || {
        ask(&other, &account).await.then_some(())
    })
    .await;
    // The first version that the platform ever gave is the one in question.
    let first = &world.tiktok.oracle().refresh_tokens()[0];
    Stopped {
        calls: first.accepted + first.refused,
        reauths: reauths(&world.database).await,
        not_active: world.database.count("accounts WHERE status <> 'active'").await,
    }
}

/// Asks what an account may post, which takes a token that lives. Whether there was one.
async fn ask(api: &Api, account: &str) -> bool {
    let path = format!("/api/platforms/tiktok/accounts/{account}/publish-options");
    let asked = api.send(api.request(reqwest::Method::GET, &path)).await;
    // Too many questions in a minute is an answer too: the token comes first.
    asked.is_ok_and(|answer| answer.status.is_success() || answer.status == 429)
}

fn is_stopped(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name of the program may hold anything, so the state is looked for behind it.
    stat.rsplit_once(')')
        .is_some_and(|(_, rest)| rest.trim_start().starts_with('T'))
}
