//! Faults, row by row: each gives the kind that makes the host do the right thing, and never a panic.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use patchbay_core::{Auth, Ctx, Effect, ErrorKind, Progress, ProviderError};
use serde_json::{Value, json};

use super::trial;
use crate::{
    Case,
    driver::{Caught, Driver, Habits},
    law::{Breach, Found, Held, Law, hold, law},
    transport::{Fault, Raw, Sent, Stop, Transport},
    world::World,
};

pub(super) const LAWS: &[Law] = &[
    law!("errors::unauthorized", unauthorized,
        why: "a token that is refused must lead to a renewal, and then to its owner, not to retries",
        change: "src/error.rs: fall back to HttpResponse::classify() where the platform's code is unknown"),
    law!("errors::forbidden", forbidden,
        why: "what is refused for good is not mended by sending it again",
        change: "src/error.rs: fall back to HttpResponse::classify()"),
    law!("errors::not_found", not_found,
        why: "what is not there is not mended by sending it again",
        change: "src/error.rs: fall back to HttpResponse::classify()"),
    law!("errors::request_timeout", request_timeout,
        why: "a timeout passes; for a commit it leaves open what happened",
        change: "src/error.rs: 408 is Retryable, and OutcomeUnknown for a commit"),
    law!("errors::rate_limited_seconds", rate_limited_seconds,
        why: "who comes back too early is shut out for longer",
        change: "src/error.rs: 429 is RateLimited, after HttpResponse::retry_after()"),
    law!("errors::rate_limited_date", rate_limited_date,
        why: "Retry-After may be a date (RFC 9110, section 10.2.3)",
        change: "src/error.rs: take HttpResponse::retry_after(), which reads both forms"),
    law!("errors::rate_limited_bare", rate_limited_bare,
        why: "many platforms say 429 and no more",
        change: "src/error.rs: 429 is RateLimited whatever else is missing"),
    law!("errors::server_error", server_error,
        why: "an outage passes; for a commit it leaves open what happened",
        change: "src/error.rs: 500 is Retryable, and OutcomeUnknown for a commit"),
    law!("errors::unavailable", unavailable,
        why: "an outage passes; for a commit it leaves open what happened",
        change: "src/error.rs: 503 is Retryable, and OutcomeUnknown for a commit"),
    law!("errors::html", html,
        why: "a proxy's page at 200 is no success, and says nothing of a commit",
        change: "src/api.rs: success is what the answer says, not its status"),
    law!("errors::empty", empty,
        why: "an empty body at 200 is no success, and says nothing of a commit",
        change: "src/api.rs: success is what the answer says, not its status"),
    law!("errors::truncated", truncated,
        why: "half an answer is none",
        change: "src/api.rs: read answers with HttpResponse::json()"),
    law!("errors::unknown_fields", unknown_fields,
        why: "platforms add fields on any day, and nothing may break then",
        change: "src/api.rs: no deny_unknown_fields on what the platform sends"),
    law!("errors::refused_with_200", refused_with_200,
        why: "some platforms refuse with status 200: who believes the status takes a refusal for a post",
        change: "src/api.rs: look for the platform's own code before the status"),
    law!("errors::cut", cut,
        why: "a lost answer to a look is asked again; a lost answer to a commit leaves open what happened",
        change: "src/publish.rs: pass the error of Ctx::send on with `?`"),
];

/// What a proxy writes, with a word that must never come back.
pub(super) const PAGE: &str =
    "<html><head><title>Bad gateway</title></head><body>conformance-canary-page</body></html>";

/// A fault and what may come of it.
pub(super) struct Row {
    pub name: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Status(u16),
    Seconds,
    Date,
    Html,
    Empty,
    Truncated,
    UnknownFields,
    Cut,
}

/// The table.
pub(super) const ROWS: &[Row] = &[
    Row {
        name: "401",
        kind: Kind::Status(401),
    },
    Row {
        name: "403",
        kind: Kind::Status(403),
    },
    Row {
        name: "404",
        kind: Kind::Status(404),
    },
    Row {
        name: "408",
        kind: Kind::Status(408),
    },
    Row {
        name: "429 with seconds",
        kind: Kind::Seconds,
    },
    Row {
        name: "429 with a date",
        kind: Kind::Date,
    },
    Row {
        name: "429",
        kind: Kind::Status(429),
    },
    Row {
        name: "500",
        kind: Kind::Status(500),
    },
    Row {
        name: "503",
        kind: Kind::Status(503),
    },
    Row {
        name: "HTML at 200",
        kind: Kind::Html,
    },
    Row {
        name: "nothing at 200",
        kind: Kind::Empty,
    },
    Row {
        name: "half an answer",
        kind: Kind::Truncated,
    },
    Row {
        name: "unknown fields",
        kind: Kind::UnknownFields,
    },
    Row {
        name: "a cut connection",
        kind: Kind::Cut,
    },
];

const WAIT: Duration = Duration::from_secs(77);

impl Row {
    fn fault(&self, world: &World) -> Fault {
        let instead = |raw: Raw| Fault::Instead(Arc::new(move |_| raw.clone()));
        match self.kind {
            Kind::Status(status) => instead(Raw::new(status, PAGE).with_header("content-type", "text/html")),
            Kind::Seconds => instead(Raw::new(429, "").with_header("retry-after", WAIT.as_secs().to_string())),
            Kind::Date => {
                let clock = world.clock.clone();
                Fault::Instead(Arc::new(move |_| {
                    let at = (clock.now() + WAIT).to_rfc2822().replace("+0000", "GMT");
                    Raw::new(429, "").with_header("retry-after", at)
                }))
            }
            Kind::Html => instead(Raw::new(200, PAGE)),
            Kind::Empty => instead(Raw::new(200, "")),
            Kind::Truncated => Fault::Changed(Arc::new(|raw| Raw {
                body: raw.body.slice(..raw.body.len() / 2),
                ..raw
            })),
            Kind::UnknownFields => Fault::Changed(Arc::new(|raw| match serde_json::from_slice(&raw.body) {
                Ok(json) => Raw {
                    body: grown(json).to_string().into(),
                    ..raw
                },
                Err(_) => raw,
            })),
            Kind::Cut => Fault::AnswerLost,
        }
    }

    /// The faults that are no word of the platform's.
    pub(super) fn fault_without_platform(&self) -> Option<Fault> {
        let instead = |raw: Raw| Some(Fault::Instead(Arc::new(move |_| raw.clone())));
        match self.kind {
            Kind::Status(status) => instead(Raw::new(status, PAGE)),
            Kind::Html => instead(Raw::new(200, PAGE)),
            Kind::Empty => instead(Raw::new(200, "")),
            Kind::Cut => Some(Fault::RequestLost),
            Kind::Seconds | Kind::Date | Kind::Truncated | Kind::UnknownFields => None,
        }
    }
}

/// Every object with a field more.
fn grown(json: Value) -> Value {
    match json {
        Value::Object(fields) => {
            let mut fields: serde_json::Map<_, _> =
                fields.into_iter().map(|(name, value)| (name, grown(value))).collect();
            fields.insert("conformance_unknown".to_owned(), json!({ "new": [1, null] }));
            Value::Object(fields)
        }
        Value::Array(list) => Value::Array(list.into_iter().map(grown).collect()),
        other => other,
    }
}

/// What came of a fault.
pub(super) struct Struck {
    pub sent: Sent,
    pub outcome: Outcome,
}

/// What the method said.
#[derive(Debug)]
pub(super) enum Outcome {
    Error(ProviderError),
    GoesOn(Duration),
    Done,
}

impl Struck {
    fn op(&self) -> &str {
        &self.sent.request.op
    }

    fn is_commit(&self) -> bool {
        self.sent.effect == Some(Effect::Commit)
    }

    fn is_as_account(&self) -> bool {
        matches!(self.sent.request.auth, Auth::AccountBearer | Auth::AccountQuery(_))
    }

    fn said(&self) -> String {
        match &self.outcome {
            Outcome::Error(error) => format!("{} ({})", error.kind.as_str(), error.code),
            Outcome::GoesOn(wait) => format!("Continue after {} s", wait.as_secs()),
            Outcome::Done => "success".to_owned(),
        }
    }

    fn kind(&self) -> Option<ErrorKind> {
        match &self.outcome {
            Outcome::Error(error) => Some(error.kind),
            Outcome::GoesOn(_) | Outcome::Done => None,
        }
    }

    /// A passing fault: again for a look, open for a commit.
    fn passes(&self, row: &str) -> Result<(), Breach> {
        let good = match &self.outcome {
            // The host takes a 5xx to a commit for unknown where the provider has no word for it.
            Outcome::Error(error) if self.is_commit() => {
                error.kind == ErrorKind::OutcomeUnknown
                    || (error.kind == ErrorKind::Retryable && error.code == "server_error")
            }
            Outcome::Error(error) => error.kind == ErrorKind::Retryable,
            Outcome::GoesOn(_) => true,
            Outcome::Done => false,
        };
        let wanted = if self.is_commit() {
            "outcome_unknown"
        } else {
            "retryable"
        };
        hold!(good, "{} meets {row}: {}, wanted {wanted}", self.op(), self.said());
        Ok(())
    }

    /// No word of the platform's at 200.
    fn is_no_success(&self, row: &str) -> Result<(), Breach> {
        // An upload's answer often has no body at all.
        if trial::is_media(&self.sent) && matches!(self.outcome, Outcome::GoesOn(_)) {
            return Ok(());
        }
        let good = match self.kind() {
            Some(ErrorKind::OutcomeUnknown) => self.is_commit(),
            Some(ErrorKind::Permanent | ErrorKind::Retryable) => !self.is_commit(),
            Some(_) | None => false,
        };
        let wanted = if self.is_commit() {
            "outcome_unknown"
        } else {
            "permanent or retryable"
        };
        hold!(good, "{} meets {row}: {}, wanted {wanted}", self.op(), self.said());
        Ok(())
    }
}

/// Strikes the first call of each op that connecting, renewing and publishing make.
pub(super) async fn provoke(
    case: &Case,
    fault: &(dyn Fn(&World) -> Fault + Send + Sync),
) -> Result<Vec<Struck>, Breach> {
    let mut struck = Vec::new();
    let mut seen = BTreeSet::new();
    if (case.provider)().oauth().is_some() {
        let world = World::start(case).await?;
        world.connect().await?;
        let before = world_calls_of_authorize(case).await?;
        let calls = world.sent();
        for call in first_of_each(&calls, &mut seen).filter(|call| *call >= before) {
            let world = World::start(case).await?;
            let callback = world.callback().await?;
            world.faults.at(call, fault(&world));
            let outcome = match world.exchange(&callback).await? {
                Ok(_) => Outcome::Done,
                Err(error) => Outcome::Error(error),
            };
            push(&mut struck, &world, call, outcome);
        }
        let world = World::connected(case).await?;
        world.faults.at(0, fault(&world));
        let outcome = match world.refresh().await? {
            Ok(_) => Outcome::Done,
            Err(error) => Outcome::Error(error),
        };
        push(&mut struck, &world, 0, outcome);
        let world = World::connected(case).await?;
        world.faults.at(0, fault(&world));
        let outcome = identity(&world).await?;
        push(&mut struck, &world, 0, outcome);
    }
    if (case.provider)().publisher().is_some() {
        for sample in trial::small(case) {
            let clean = trial::run(case, sample, Habits::default(), None).await?;
            for call in first_of_each(&clean.sent, &mut seen) {
                let world = World::connected(case).await?;
                world.faults.at(call, fault(&world));
                let mut driver = Driver::new(&world, sample, Habits::default());
                let outcome = match driver.run_to(call).await? {
                    Caught::Progress(Progress::Continue { wake_after, .. }) => Outcome::GoesOn(wake_after),
                    Caught::Progress(Progress::Delivered { .. } | Progress::Published { .. }) => Outcome::Done,
                    Caught::Error(error) => Outcome::Error(error),
                };
                push(&mut struck, &world, call, outcome);
            }
        }
    }
    Ok(struck)
}

async fn world_calls_of_authorize(case: &Case) -> Result<usize, Breach> {
    let world = World::start(case).await?;
    world.authorize().await?;
    Ok(world.sent().len())
}

/// Numbers of the calls whose op has not been seen before.
fn first_of_each<'a>(sent: &'a [Sent], seen: &'a mut BTreeSet<String>) -> impl Iterator<Item = usize> + 'a {
    let fresh = |(number, sent): (usize, &Sent)| seen.insert(sent.request.op.to_string()).then_some(number);
    sent.iter()
        .enumerate()
        .filter_map(fresh)
        .collect::<Vec<_>>()
        .into_iter()
}

fn push(struck: &mut Vec<Struck>, world: &World, call: usize, outcome: Outcome) {
    if let Some(sent) = world.sent().get(call).cloned() {
        struck.push(Struck { sent, outcome });
    }
}

async fn identity(world: &World) -> Result<Outcome, Breach> {
    let provider = world.provider();
    let oauth = provider
        .oauth()
        .ok_or_else(|| Breach::new("there is no OAuthProvider"))?;
    let account = world.account()?;
    let transport = Transport::looking(world, &*provider);
    let ctx = Ctx::new(&transport, world.clock.now(), &world.app, Some(&account));
    match transport.play(oauth.identity(&ctx)).await {
        Ok(Ok(_)) => Ok(Outcome::Done),
        Ok(Err(error)) => Ok(Outcome::Error(error)),
        Err(Stop::Broken(breach)) => Err(breach),
        Err(Stop::Killed) => Err(Breach::new("killed")),
    }
}

/// Holds every call that a row strikes to what may come of it.
async fn each(case: &Case, name: &str, judge: fn(&Struck, &str) -> Result<(), Breach>) -> Found {
    let row = ROWS
        .iter()
        .find(|row| row.name == name)
        .ok_or_else(|| Breach(format!("no row {name}")))?;
    let struck = provoke(case, &|world| row.fault(world)).await?;
    for struck in &struck {
        judge(struck, name)?;
    }
    Ok(Held::Tried(struck.len()))
}

async fn unauthorized(case: &Case) -> Found {
    each(case, "401", |struck, row| {
        let good = if struck.is_as_account() {
            struck.kind() == Some(ErrorKind::ReauthRequired)
        } else {
            !matches!(struck.outcome, Outcome::Done)
        };
        hold!(
            good,
            "{} meets {row}: {}, wanted reauth_required",
            struck.op(),
            struck.said()
        );
        Ok(())
    })
    .await
}

fn is_refused(struck: &Struck, row: &str) -> Result<(), Breach> {
    use ErrorKind::{InvalidRequest, Permanent, ReauthRequired};
    let good = match &struck.outcome {
        Outcome::Error(error) => matches!(error.kind, Permanent | InvalidRequest | ReauthRequired),
        // A dead upload URL is no reason to give up: a new upload may be begun.
        Outcome::GoesOn(_) => trial::is_media(&struck.sent),
        Outcome::Done => false,
    };
    hold!(good, "{} meets {row}: {}, wanted permanent", struck.op(), struck.said());
    Ok(())
}

async fn forbidden(case: &Case) -> Found {
    each(case, "403", is_refused).await
}

async fn not_found(case: &Case) -> Found {
    each(case, "404", is_refused).await
}

async fn request_timeout(case: &Case) -> Found {
    each(case, "408", Struck::passes).await
}

fn waits(struck: &Struck, row: &str, least: Duration) -> Result<(), Breach> {
    let good = match &struck.outcome {
        Outcome::Error(error) if error.kind == ErrorKind::RateLimited => {
            // A date has whole seconds.
            let least = least.saturating_sub(Duration::from_secs(1));
            least.is_zero() || error.retry_after.is_some_and(|wait| wait >= least && wait <= least * 2)
        }
        Outcome::GoesOn(wait) => *wait >= least,
        Outcome::Error(_) | Outcome::Done => false,
    };
    let wait = match &struck.outcome {
        Outcome::Error(error) => error.retry_after,
        Outcome::GoesOn(_) | Outcome::Done => None,
    };
    hold!(
        good,
        "{} meets {row}: {}, retry_after {wait:?}; wanted rate_limited after {} s",
        struck.op(),
        struck.said(),
        least.as_secs()
    );
    Ok(())
}

async fn rate_limited_seconds(case: &Case) -> Found {
    each(case, "429 with seconds", |struck, row| waits(struck, row, WAIT)).await
}

async fn rate_limited_date(case: &Case) -> Found {
    each(case, "429 with a date", |struck, row| waits(struck, row, WAIT)).await
}

async fn rate_limited_bare(case: &Case) -> Found {
    each(case, "429", |struck, row| waits(struck, row, Duration::ZERO)).await
}

async fn server_error(case: &Case) -> Found {
    each(case, "500", Struck::passes).await
}

async fn unavailable(case: &Case) -> Found {
    each(case, "503", Struck::passes).await
}

async fn html(case: &Case) -> Found {
    each(case, "HTML at 200", Struck::is_no_success).await
}

async fn empty(case: &Case) -> Found {
    each(case, "nothing at 200", Struck::is_no_success).await
}

async fn truncated(case: &Case) -> Found {
    each(case, "half an answer", Struck::is_no_success).await
}

async fn unknown_fields(case: &Case) -> Found {
    each(case, "unknown fields", |struck, row| {
        let good = !matches!(struck.outcome, Outcome::Error(_));
        hold!(good, "{} meets {row}: {}, wanted no error", struck.op(), struck.said());
        Ok(())
    })
    .await
}

async fn refused_with_200(case: &Case) -> Found {
    let mut tried = 0;
    for refusal in &case.refusals {
        let raw = Raw::new(200, refusal.body);
        let struck = provoke(case, &|_| {
            let raw = raw.clone();
            Fault::Instead(Arc::new(move |_| raw.clone()))
        })
        .await?;
        for struck in struck.iter().filter(|struck| refusal.ops.contains(&struck.op())) {
            hold!(
                matches!(struck.outcome, Outcome::Error(_)),
                "{} is refused with status 200: {}, wanted an error",
                struck.op(),
                struck.said()
            );
            tried += 1;
        }
    }
    if tried == 0 {
        return Ok(Held::NotApplicable("Case.refusals is empty"));
    }
    Ok(Held::Tried(tried))
}

async fn cut(case: &Case) -> Found {
    each(case, "a cut connection", Struck::passes).await
}
