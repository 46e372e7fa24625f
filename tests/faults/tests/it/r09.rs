//! R09: passing faults of the token endpoint never disconnect an account. It fails for a whole day, every hour in another
//! way; when it works again, so does every account.

use std::time::Duration;

use chrono::TimeDelta;
use patchbay_app::model::JobKind;
use patchbay_faults::{Figures, Proxy, Scale, world};
use patchbay_rig::{on_postgres, seed};
use patchbay_simulator_tiktok::simkit::{Action, Fault, When};

use crate::{
    cluster::Cluster,
    posts::new_account,
    tokens::{lagging, reauths, uses, versions},
};

const HOSTS: usize = 3;
/// Time moves by this much: less than any wait between two tries of one account.
const STEP: Duration = Duration::from_secs(60);
/// More than the host waits for an answer about tokens.
const LATE_MS: u64 = 40_000;
/// More than the longest wait between two tries.
const RECOVERY: TimeDelta = TimeDelta::minutes(30);

#[tokio::test]
async fn r09_a_day_without_the_token_endpoint_disconnects_nobody() {
    on_postgres(async |database| {
        let seed = seed();
        let accounts = Scale::of_run().pick(20, 1_000);
        let mut world = world(database).await;
        // A line that can be down: nothing is sent then, as with a name that is not found.
        let line = Proxy::before(world.tiktok.api).await;
        world.program = world.reaching(line.address);
        let cluster = Cluster::start(world, HOSTS).await;
        let world = &cluster.world;
        for number in 0..accounts {
            new_account(world, &cluster.api, number).await;
        }
        let before = versions(&world.database).await;
        let begun = world.calls("token");

        let morning = cluster.now();
        let (mut hour, mut late) = (-1, 0);
        while cluster.now() - morning < TimeDelta::hours(24) {
            let now = (cluster.now() - morning).num_hours();
            if now != hour {
                hour = now;
                line.heal();
                world.tiktok.faults().clear("token");
                late += world.tiktok.faults().hits("late");
                world.tiktok.faults().clear("late");
                match trouble(hour) {
                    Trouble::Answers(action) => world.tiktok.faults().put("token", Fault::new("token", action)),
                    Trouble::Late => {
                        world.tiktok.faults().put("token", Fault::new("token", plain(503)));
                        // One call of each host: the others would have to wait for real.
                        let late = Fault::new("token", Action::Delay { ms: LATE_MS }).times(HOSTS as u32);
                        world.tiktok.faults().put("late", late);
                    }
                    Trouble::Refused => line.refuse(),
                    Trouble::Reset => line.reset(),
                }
            }
            cluster.work(&[JobKind::Refresh]).await;
            cluster.advance(STEP);
        }
        let tries = world.calls("token") - begun + line.lost() as usize;
        let renewed = before.len() - lagging(&world.database, &before).await.len();

        line.heal();
        world.tiktok.faults().clear("token");
        let evening = cluster.now();
        while cluster.now() - evening < RECOVERY {
            cluster.work(&[JobKind::Refresh]).await;
            cluster.advance(STEP);
        }
        let mut figures = Figures::new("R09", seed);
        figures.told("accounts", "1000", accounts);
        figures.at_least("refused or lost calls in 24 h", accounts * 50, tries);
        figures.at_least("of them timed out", 2 * HOSTS as u64, late);
        figures.is("renewed meanwhile", 0, renewed);
        figures.is("accounts to be connected again", 0, reauths(&world.database).await);
        figures.is(
            "not renewed 30 min later",
            0,
            lagging(&world.database, &before).await.len(),
        );
        figures.is("dead tokens that were sent", 0, uses(world).refused);
        figures.finish();
    })
    .await;
}

/// What is wrong.
enum Trouble {
    /// It answers, or hangs up.
    Answers(Action),
    /// It answers after the caller has gone.
    Late,
    /// Nobody listens.
    Refused,
    /// The connection is reset.
    Reset,
}

fn plain(status: u16) -> Action {
    Action::Status {
        status,
        body: "upstream error".to_owned(),
        content_type: "text/plain".to_owned(),
        when: When::Before,
    }
}

fn trouble(hour: i64) -> Trouble {
    let page = |status| Action::Html {
        status,
        when: When::Before,
    };
    let refusal = |code: &str, status| Action::Error {
        code: code.to_owned(),
        status: Some(status),
        message: None,
    };
    Trouble::Answers(match hour % 10 {
        0 => plain(500),
        1 => page(502),
        2 => plain(429),
        3 => Action::Drop { when: When::Before },
        4 => refusal("server_error", 503),
        5 => refusal("temporarily_unavailable", 200),
        6 => page(200),
        7 => return Trouble::Refused,
        8 => return Trouble::Reset,
        _ => return Trouble::Late,
    })
}
