//! Everything comes to an end.

use std::sync::Arc;

use patchbay_core::Ctx;

use super::trial::{self, small};
use crate::{
    Case,
    driver::{End, Habits, MAX_STEPS},
    law::{Breach, Found, Held, Law, hold, law},
    transport::{Fault, Raw, Stop, Transport},
    world::World,
};

pub(super) const LAWS: &[Law] = &[
    law!("termination::pending", pending,
        why: "a platform that says `pending` for ever would keep a job for ever",
        change: "src/publish.rs: keep in the checkpoint since when it waits, and give up; let waits grow"),
    law!("termination::repeated_answers", repeated_answers,
        why: "a cursor or a status that comes again and again must not be followed for ever",
        change: "src/publish.rs: one page or look a step, with an end"),
    law!("termination::endless_faults", endless_faults,
        why: "retries are the host's: a provider that tries again by itself multiplies them",
        change: "src/publish.rs, src/oauth.rs: no loop around Ctx::send"),
];

const NONE: Held = Held::NotApplicable("there are no sample posts");

async fn pending(case: &Case) -> Found {
    let mut tried = 0;
    for sample in small(case) {
        let world = World::connected(case).await?;
        world.platform.stall();
        let ran = trial::run_in(world, sample, Habits::default()).await?;
        hold!(
            !matches!(ran.end, End::Endless),
            "{}: still going after {MAX_STEPS} steps",
            sample.name
        );
        tried += 1;
    }
    Ok(if tried == 0 { NONE } else { Held::Tried(tried) })
}

async fn repeated_answers(case: &Case) -> Found {
    let mut tried = 0;
    for sample in small(case) {
        let world = World::connected(case).await?;
        world.faults.from(0, Fault::Repeated);
        let ran = trial::run_in(world, sample, Habits::default()).await?;
        hold!(
            !matches!(ran.end, End::Endless),
            "{}: still going after {MAX_STEPS} steps",
            sample.name
        );
        tried += 1;
    }
    let world = World::connected(case).await?;
    world.faults.from(0, Fault::Repeated);
    side_calls(&world).await?;
    Ok(Held::Tried(tried + 1))
}

async fn endless_faults(case: &Case) -> Found {
    let down = || Fault::Instead(Arc::new(|_| Raw::new(503, "")));
    let mut tried = 0;
    for sample in small(case) {
        let calls = trial::run(case, sample, Habits::default(), None).await?.sent.len();
        for call in [0, calls / 2] {
            let world = World::connected(case).await?;
            world.faults.from(call, down());
            let ran = trial::run_in(world, sample, Habits::default()).await?;
            hold!(
                matches!(
                    ran.end,
                    End::Failed(_) | End::Unconfirmed | End::Endless | End::Published(_) | End::Delivered
                ),
                "{}: no end",
                sample.name
            );
            let asked = ran.sent.len().saturating_sub(call);
            // The driver gives up after a few runs of a step; each may ask twice.
            hold!(asked <= 60, "{}: {asked} calls while the platform is down", sample.name);
            tried += 1;
        }
    }
    let world = World::connected(case).await?;
    world.faults.from(0, down());
    side_calls(&world).await?;
    world.refresh().await?.ok();
    hold!(
        world.sent().len() <= 10,
        "refresh, options and metrics make {} calls while the platform is down",
        world.sent().len()
    );
    Ok(Held::Tried(tried + 1))
}

/// What a provider does beside steps.
async fn side_calls(world: &World) -> Result<(), Breach> {
    let provider = world.provider();
    let account = world.account()?;
    let Some(publisher) = provider.publisher() else {
        return Ok(());
    };
    let transport = Transport::looking(world, &*provider);
    let ctx = Ctx::new(&transport, world.clock.now(), &world.app, Some(&account));
    let ids = ["1".to_owned(), "2".to_owned()];
    let calls = async {
        publisher.options(&ctx).await.ok();
        publisher.metrics(&ctx, &ids).await.ok();
    };
    match transport.play(calls).await {
        Ok(()) | Err(Stop::Killed) => Ok(()),
        Err(Stop::Broken(breach)) => Err(breach),
    }
}
