//! The rest of a host: takes a post from step to step, keeps its checkpoint as text, and asks `reconcile` where the
//! outcome of a commit is unknown.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use patchbay_core::{
    Checkpoint, Ctx, ErrorKind, FollowUp, Post, Progress, Provider, ProviderError, Publication, Reconciled,
};
use patchbay_simkit::lock;

use crate::{
    Sample,
    law::Breach,
    transport::{Journal, Stop, Transport},
    world::World,
};

/// Steps of one post before the kit takes it for endless. A day of looks, a minute apart, and some more.
pub const MAX_STEPS: usize = 4_000;
/// How often a step that fails in passing is run again.
const MAX_TRIES: usize = 8;
/// Before a step is run again.
const PAUSE: Duration = Duration::from_secs(20);

/// How a post ended.
#[derive(Debug)]
pub enum End {
    /// It is there.
    Published(Publication),
    /// The draft has reached the person.
    Delivered,
    /// It came to nothing.
    Failed(ProviderError),
    /// Nobody can tell.
    Unconfirmed,
    /// It goes on and on.
    Endless,
}

/// How a host treats a post.
#[derive(Debug, Clone, Copy, Default)]
pub struct Habits {
    /// Each step is run by a new instance of the provider.
    pub restarts: bool,
    /// Each step is run twice: the host dies after it and before its result is stored.
    pub twice: bool,
    /// Waits are cut short as by webhooks that bring each look forward.
    pub impatient: bool,
}

/// A post under way.
pub struct Driver<'w> {
    world: &'w World,
    post: Post,
    checkpoint: Option<Checkpoint>,
    /// Every checkpoint as it was stored.
    pub checkpoints: Vec<String>,
    journal: Journal,
    step: u64,
    habits: Habits,
    provider: Arc<dyn Provider>,
    /// Published without a word of the platform.
    pub unproved: bool,
}

/// What the step said whose call was struck.
#[derive(Debug)]
pub enum Caught {
    /// It goes on, or is done.
    Progress(Progress),
    /// Its error.
    Error(ProviderError),
}

enum Turn {
    Progress(Progress),
    Error(ProviderError),
    Looked(Result<Reconciled, ProviderError>),
    Killed,
}

impl<'w> Driver<'w> {
    /// A post that has not begun.
    pub fn new(world: &'w World, sample: &Sample, habits: Habits) -> Self {
        let files = sample.files.iter().map(|(id, bytes)| (id.to_string(), bytes.clone()));
        *lock(&world.files) = files.collect();
        Self {
            world,
            post: sample.post.clone(),
            checkpoint: None,
            checkpoints: Vec::new(),
            journal: Mutex::default(),
            step: 0,
            habits,
            provider: world.provider(),
            unproved: false,
        }
    }

    /// Takes the post to its end.
    ///
    /// # Errors
    /// The provider breaks something on the way that no host could bear.
    pub async fn run(&mut self) -> Result<End, Breach> {
        let (mut tries, mut published) = (0, None);
        for _ in 0..MAX_STEPS {
            self.world.keep_fresh().await?;
            let mut turn = self.turn().await?;
            if self.habits.twice {
                turn = self.turn().await?;
            }
            let progress = match turn {
                Turn::Killed => continue,
                Turn::Progress(progress) | Turn::Looked(Ok(Reconciled::Happened { progress })) => progress,
                Turn::Looked(Ok(Reconciled::DidNotHappen { checkpoint })) => {
                    if checkpoint.is_some() {
                        self.store(checkpoint)?;
                    }
                    self.step += 1;
                    tries += 1;
                    if tries > MAX_TRIES {
                        return Ok(End::Endless);
                    }
                    self.world.advance(PAUSE).await;
                    continue;
                }
                Turn::Looked(Ok(Reconciled::Unknown)) => return Ok(End::Unconfirmed),
                Turn::Error(error) | Turn::Looked(Err(error)) => {
                    tries += 1;
                    if error.kind == ErrorKind::ReauthRequired && tries == 1 {
                        self.world.faults.be_quiet(true);
                        let fresh = self.world.refresh().await;
                        self.world.faults.be_quiet(false);
                        match fresh? {
                            Ok(_) => continue,
                            Err(error) => return Ok(End::Failed(error)),
                        }
                    }
                    if !error.kind.retry_helps() || tries > MAX_TRIES {
                        return Ok(published.map_or(End::Failed(error), End::Published));
                    }
                    self.world
                        .advance(error.retry_after.unwrap_or_default().max(PAUSE))
                        .await;
                    continue;
                }
            };
            tries = 0;
            let wait = match progress {
                Progress::Continue { checkpoint, wake_after } => {
                    self.store(Some(checkpoint))?;
                    wake_after
                }
                Progress::Delivered { checkpoint, wake_after } => {
                    self.store(Some(checkpoint))?;
                    match wake_after {
                        Some(wait) => wait,
                        None => return Ok(End::Delivered),
                    }
                }
                Progress::Published { publication, follow_up } => match follow_up {
                    None => return Ok(End::Published(publication)),
                    Some(more) => {
                        self.store(Some(more.checkpoint))?;
                        published = Some(publication);
                        more.wake_after
                    }
                },
            };
            self.step += 1;
            if self.habits.impatient && !wait.is_zero() {
                // Two webhooks come at once: the step runs now, and runs again at its time.
                self.world.platform.settle().await;
                self.turn().await?;
            }
            self.world.advance(wait).await;
        }
        Ok(End::Endless)
    }

    /// Runs until a call of this number has been made. Gives what its step said.
    ///
    /// # Errors
    /// It is never made, or the provider breaks something on the way.
    pub async fn run_to(&mut self, call: usize) -> Result<Caught, Breach> {
        for _ in 0..MAX_STEPS {
            let turn = self.advance().await?;
            let struck = self.world.sent().len() > call;
            match turn {
                Turn::Progress(progress) if struck => return Ok(Caught::Progress(progress)),
                Turn::Error(error) if struck => return Ok(Caught::Error(error)),
                Turn::Progress(
                    Progress::Continue { checkpoint, wake_after }
                    | Progress::Delivered {
                        checkpoint,
                        wake_after: Some(wake_after),
                    }
                    | Progress::Published {
                        follow_up: Some(FollowUp { checkpoint, wake_after }),
                        ..
                    },
                ) => {
                    self.store(Some(checkpoint))?;
                    self.step += 1;
                    self.world.advance(wake_after).await;
                }
                Turn::Error(error) => return Err(Breach(format!("an error before call {call}: {error}"))),
                Turn::Progress(_) | Turn::Looked(_) | Turn::Killed => break,
            }
        }
        Err(Breach(format!("call {call} is made in one run and not in the next")))
    }

    /// One run of one step.
    async fn turn(&mut self) -> Result<Turn, Breach> {
        if self.habits.restarts || self.habits.twice {
            self.provider = self.world.provider();
        }
        let open = lock(&self.journal)
            .get(&self.step)
            .is_some_and(|mark| mark.receipt.is_none());
        if open {
            return self.reconcile().await;
        }
        let turn = self.advance().await?;
        if let Turn::Error(error) = &turn
            && error.kind == ErrorKind::OutcomeUnknown
        {
            return self.reconcile().await;
        }
        Ok(turn)
    }

    async fn advance(&mut self) -> Result<Turn, Breach> {
        let publisher = self
            .provider
            .publisher()
            .ok_or_else(|| Breach::new("there is no Publisher"))?;
        let account = self.world.account()?;
        let transport = Transport::stepping(self.world, &*self.provider, &self.post, &self.journal, self.step);
        let ctx = Ctx::new(&transport, self.world.clock.now(), &self.world.app, Some(&account));
        let call = publisher.advance(&ctx, &self.post, self.checkpoint.as_ref());
        match transport.play(call).await {
            Ok(Ok(progress)) => {
                self.unproved |= matches!(progress, Progress::Published { .. }) && !transport.has_evidence();
                Ok(Turn::Progress(progress))
            }
            Ok(Err(error)) => Ok(Turn::Error(error)),
            Err(Stop::Killed) => Ok(Turn::Killed),
            Err(Stop::Broken(breach)) => Err(breach),
        }
    }

    async fn reconcile(&mut self) -> Result<Turn, Breach> {
        self.world.platform.settle().await;
        let known_as = self.stray_ref().await;
        let publisher = self
            .provider
            .publisher()
            .ok_or_else(|| Breach::new("there is no Publisher"))?;
        let account = self.world.account()?;
        let transport = Transport::reconciling(self.world, &*self.provider, &self.post);
        let ctx = Ctx::new(&transport, self.world.clock.now(), &self.world.app, Some(&account));
        let call = publisher.reconcile(&ctx, &self.post, self.checkpoint.as_ref(), known_as.as_deref());
        match transport.play(call).await {
            Ok(looked) => Ok(Turn::Looked(looked)),
            Err(Stop::Killed) => Ok(Turn::Killed),
            Err(Stop::Broken(breach)) => Err(breach),
        }
    }

    /// The platform's id of an attempt, if a webhook has named one. There is one post alone here, so it can be no
    /// other's.
    async fn stray_ref(&self) -> Option<String> {
        for webhook in self.world.received() {
            let events = crate::laws::webhooks::parse(&*self.provider, webhook.body, webhook.at).await;
            let events = events.ok().and_then(Result::ok).unwrap_or_default();
            if let Some(found) = events.into_iter().find_map(|event| event.remote_ref) {
                return Some(found);
            }
        }
        None
    }

    /// Stores a checkpoint as text and reads it back.
    fn store(&mut self, checkpoint: Option<Checkpoint>) -> Result<(), Breach> {
        self.checkpoint = match checkpoint {
            None => None,
            Some(checkpoint) => {
                let text = serde_json::to_string(&checkpoint).map_err(|error| Breach(error.to_string()))?;
                let read = serde_json::from_str(&text).map_err(|error| Breach(error.to_string()))?;
                self.checkpoints.push(text);
                Some(read)
            }
        };
        Ok(())
    }
}
