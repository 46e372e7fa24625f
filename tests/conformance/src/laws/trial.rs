//! What trials of several groups do.

use std::time::Duration;

use patchbay_core::{Body, MediaOrigin};

use crate::{
    Case, Sample,
    driver::{Driver, End, Habits},
    law::{Breach, hold},
    transport::{Fault, Sent},
    world::World,
};

/// Files beyond this are for the laws of media alone: the others run a post dozens of times.
const LARGE: usize = 1 << 20;

/// Samples that are cheap to run.
pub(super) fn small(case: &Case) -> impl Iterator<Item = &Sample> {
    let is_small = |sample: &&Sample| sample.files.values().all(|bytes| bytes.len() <= LARGE);
    case.posts.iter().filter(is_small)
}

/// Samples whose files the host sends.
pub(super) fn uploads(case: &Case) -> impl Iterator<Item = &Sample> {
    let sends = |sample: &&Sample| {
        sample
            .post
            .media
            .iter()
            .any(|media| media.origin == MediaOrigin::Stored)
    };
    case.posts.iter().filter(sends)
}

/// A post that was run to its end.
pub(super) struct Ran {
    pub end: End,
    pub effects: usize,
    pub sent: Vec<Sent>,
    pub checkpoints: Vec<String>,
    pub unproved: bool,
    pub world: World,
}

/// Connects an account and runs one post to its end.
pub(super) async fn run(
    case: &Case,
    sample: &Sample,
    habits: Habits,
    fault: Option<(usize, Fault)>,
) -> Result<Ran, Breach> {
    let world = World::connected(case).await?;
    if let Some((call, fault)) = fault {
        world.faults.at(call, fault);
    }
    run_in(world, sample, habits).await
}

pub(super) async fn run_in(world: World, sample: &Sample, habits: Habits) -> Result<Ran, Breach> {
    let mut driver = Driver::new(&world, sample, habits);
    let end = driver
        .run()
        .await
        .map_err(|breach| Breach(format!("{}: {breach}", sample.name)))?;
    let (checkpoints, unproved) = (driver.checkpoints, driver.unproved);
    // What the platform still works on comes to its end.
    world.advance(Duration::from_hours(2)).await;
    Ok(Ran {
        end,
        effects: world.platform.effects(),
        sent: world.sent(),
        checkpoints,
        unproved,
        world,
    })
}

impl Ran {
    /// It is there, once.
    pub(super) fn is_there_once(&self, what: &str) -> Result<(), Breach> {
        let (end, effects) = (self.said(), self.effects);
        hold!(
            matches!(self.end, End::Published(_) | End::Delivered),
            "{what}: it ends as {end}, with {effects} posts to see"
        );
        hold!(effects == 1, "{what}: it ends as {end}, but {effects} posts are to see");
        Ok(())
    }

    /// It is there once, or nobody claims to know and it is there once at most.
    pub(super) fn is_honest(&self, what: &str) -> Result<(), Breach> {
        match self.end {
            End::Unconfirmed => {
                let effects = self.effects;
                hold!(
                    effects <= 1,
                    "{what}: it ends as unconfirmed, and {effects} posts are to see"
                );
                Ok(())
            }
            _ => self.is_there_once(what),
        }
    }

    /// The end in a few words.
    pub(super) fn said(&self) -> String {
        match &self.end {
            End::Published(_) => "published".to_owned(),
            End::Delivered => "delivered".to_owned(),
            End::Failed(error) => format!("failed ({error})"),
            End::Unconfirmed => "unconfirmed".to_owned(),
            End::Endless => "going on and on".to_owned(),
        }
    }
}

/// Whether a call carries a part of a file.
pub(super) fn is_media(sent: &Sent) -> bool {
    matches!(sent.request.body, Body::Media { .. })
}
