//! Publishing: once, whatever happens on the way.

use std::collections::BTreeMap;

use patchbay_core::{Checkpoint, Count, Ctx};

use super::trial::{self, Ran};
use crate::{
    Case,
    driver::{End, Habits},
    law::{Breach, Found, Held, Law, hold, law},
    transport::{Fault, Stop, Transport},
};

pub(super) const LAWS: &[Law] = &[
    law!("publish::comes_to_an_end", comes_to_an_end,
        why: "a post that the platform takes must end as published, and be there once",
        change: "src/publish.rs, Publisher::advance"),
    law!("publish::proved", proved,
        why: "the host believes `Published` only with a receipt of a commit, or an answer to a look, of the same step",
        change: "src/publish.rs, advance: say Published in a step that looks or commits; src/manifest.rs: effects"),
    law!("publish::checkpoint_small", checkpoint_small,
        why: "checkpoints are stored after every step: the host refuses more than 16 KiB",
        change: "src/publish.rs: keep ids and offsets in the checkpoint, not answers"),
    law!("publish::restart_after_every_step", restart_after_every_step,
        why: "hosts are restarted at any time: what is not in the checkpoint is gone",
        change: "src/publish.rs: no state in the provider; all of it in the checkpoint"),
    law!("publish::each_step_twice", each_step_twice,
        why: "a host that dies before it has stored a step's result runs the step again",
        change: "src/publish.rs, and the effects in src/manifest.rs: what shows something is a Commit"),
    law!("publish::not_sent", not_sent,
        why: "what never left can be sent again",
        change: "src/publish.rs: pass the error of Ctx::send on with `?`"),
    law!("publish::request_lost", request_lost,
        why: "a post must not be called published when its call never arrived",
        change: "src/publish.rs, reconcile: DidNotHappen or Unknown where nothing is there"),
    law!("publish::answer_lost", answer_lost,
        why: "whoever sends again after a lost answer posts twice",
        change: "src/publish.rs, reconcile; effects in src/manifest.rs: an irreversible call is a Commit"),
    law!("publish::killed_before_sending", killed_before_sending,
        why: "a mark without a receipt may mean that nothing was sent",
        change: "src/publish.rs, Publisher::reconcile"),
    law!("publish::killed_before_receipt", killed_before_receipt,
        why: "a host that dies between sending and noting the answer must not post twice",
        change: "src/publish.rs, Publisher::reconcile; effects in src/manifest.rs"),
    law!("publish::webhooks_twice", webhooks_twice,
        why: "webhooks come more than once and bring steps forward: an early step must do no harm",
        change: "src/publish.rs: a step may come at any time, and again"),
    law!("publish::metrics_as_named", metrics_as_named,
        why: "numbers are kept under the post and the name that they were asked for, and what is not counted must not be made up",
        change: "src/publish.rs, Publisher::metrics: only ids that were asked for; src/manifest.rs: metrics of each kind"),
];

async fn over(case: &Case, habits: Habits, judge: fn(&Ran, &str) -> Result<(), Breach>) -> Found {
    let mut tried = 0;
    for sample in trial::small(case) {
        let ran = trial::run(case, sample, habits, None).await?;
        judge(&ran, sample.name)?;
        tried += 1;
    }
    Ok(held(tried))
}

fn held(tried: usize) -> Held {
    if tried == 0 {
        Held::NotApplicable("there are no sample posts")
    } else {
        Held::Tried(tried)
    }
}

async fn comes_to_an_end(case: &Case) -> Found {
    over(case, Habits::default(), Ran::is_there_once).await
}

async fn proved(case: &Case) -> Found {
    over(case, Habits::default(), |ran, what| {
        hold!(!ran.unproved, "{what}: Published in a step whose calls prove nothing");
        Ok(())
    })
    .await
}

async fn checkpoint_small(case: &Case) -> Found {
    over(case, Habits::default(), |ran, what| {
        let largest = ran.checkpoints.iter().map(String::len).max().unwrap_or_default();
        let most = Checkpoint::MAX_BYTES;
        hold!(
            largest <= most,
            "{what}: a checkpoint of {largest} bytes, at most {most} are stored"
        );
        Ok(())
    })
    .await
}

async fn restart_after_every_step(case: &Case) -> Found {
    let restarts = true;
    over(
        case,
        Habits {
            restarts,
            ..Habits::default()
        },
        Ran::is_there_once,
    )
    .await
}

async fn each_step_twice(case: &Case) -> Found {
    let twice = true;
    over(
        case,
        Habits {
            twice,
            ..Habits::default()
        },
        Ran::is_there_once,
    )
    .await
}

async fn webhooks_twice(case: &Case) -> Found {
    let impatient = true;
    over(
        case,
        Habits {
            impatient,
            ..Habits::default()
        },
        Ran::is_there_once,
    )
    .await
}

/// Strikes the calls of every sample in turn; of a look that comes again and again, the first two.
async fn strike_each(case: &Case, fault: Fault, what: &str, judge: fn(&Ran, &str) -> Result<(), Breach>) -> Found {
    let mut tried = 0;
    for sample in trial::small(case) {
        let clean = trial::run(case, sample, Habits::default(), None).await?;
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        for (call, sent) in clean.sent.iter().enumerate().filter(|(_, sent)| sent.of_post) {
            let op = &*sent.request.op;
            let times = seen.entry(op).or_default();
            *times += 1;
            if *times > 2 {
                continue;
            }
            let ran = trial::run(case, sample, Habits::default(), Some((call, fault.clone()))).await?;
            judge(&ran, &format!("{}, {what} of call {call}, {op}", sample.name))?;
            tried += 1;
        }
    }
    Ok(held(tried))
}

async fn not_sent(case: &Case) -> Found {
    strike_each(case, Fault::NotSent, "no sending", Ran::is_there_once).await
}

async fn request_lost(case: &Case) -> Found {
    strike_each(case, Fault::RequestLost, "loss of the request", Ran::is_honest).await
}

async fn answer_lost(case: &Case) -> Found {
    strike_each(case, Fault::AnswerLost, "loss of the answer", Ran::is_honest).await
}

async fn killed_before_sending(case: &Case) -> Found {
    strike_each(case, Fault::KilledUnsent, "death before the sending", Ran::is_honest).await
}

async fn killed_before_receipt(case: &Case) -> Found {
    strike_each(case, Fault::KilledSent, "death after the sending", Ran::is_honest).await
}

/// Asks for each sample that is there, beside an id that nobody has.
async fn metrics_as_named(case: &Case) -> Found {
    let mut tried = 0;
    for sample in trial::small(case) {
        let ran = trial::run(case, sample, Habits::default(), None).await?;
        let (world, provider) = (&ran.world, ran.world.provider());
        let named = provider
            .manifest()
            .kind(sample.post.kind)
            .map_or(&[][..], |rule| &rule.metrics);
        let (End::Published(publication), Some(publisher)) = (&ran.end, provider.publisher()) else {
            continue;
        };
        let Some(shown) = publication.remote_ids.first().filter(|_| !named.is_empty()) else {
            continue;
        };
        // The same form, and another post.
        let nobodys: String = shown
            .chars()
            .map(|c| c.to_digit(10).map_or(c, |digit| char::from(b'9' - digit as u8)))
            .collect();
        let ids = [shown.clone(), nobodys];
        // The post may have taken longer than a token lives.
        world.refresh().await?.ok();
        let account = world.account()?;
        let transport = Transport::looking(world, &*provider);
        let ctx = Ctx::new(&transport, world.clock.now(), &world.app, Some(&account));
        let found = match transport.play(publisher.metrics(&ctx, &ids)).await {
            Ok(found) => found.map_err(|error| Breach(format!("{}: metrics fail: {error}", sample.name)))?,
            Err(Stop::Killed) => continue,
            Err(Stop::Broken(breach)) => return Err(breach),
        };
        let what = sample.name;
        let one = found.iter().find(|metrics| metrics.remote_id == *shown);
        let Some(one) = one.filter(|_| found.len() == 1) else {
            let told: Vec<_> = found.iter().map(|metrics| &metrics.remote_id).collect();
            return Err(Breach(format!(
                "{what}: asked for {ids:?}, of which the first is there; told of {told:?}"
            )));
        };
        let other = one.counts.keys().find(|metric| !named.contains(metric));
        hold!(
            other.is_none(),
            "{what}: {other:?} is told, and the manifest does not name it"
        );
        let counted = one.counts.values().any(|count| matches!(count, Count::Of(_)));
        hold!(counted, "{what}: nothing of {named:?} is told");
        tried += 1;
    }
    Ok(if tried == 0 {
        Held::NotApplicable("no sample has a public id whose numbers the manifest names")
    } else {
        Held::Tried(tried)
    })
}
