//! Choosing among several accounts of one grant: the flow is kept, with the credentials sealed, until the same browser says
//! which accounts are wanted. It lives no longer than the flow. Of what nobody chooses, nothing is kept; the grant is not
//! ended at the platform, since others of the same person may stand on it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use patchbay_core::{CredentialLifetimes, Credentials, FieldIssue, Identity, ProviderId, SecretRef};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{
    Back, Finished, Refused, digest, flow_place,
    grant::{self, Given, another_account},
    is_of_browser, random_token,
};
use crate::{
    App,
    model::Flow,
    outbound::SecretBag,
    problem::{Problem, ProblemKind},
    secret::Secret,
    vault::VaultError,
};

/// Most accounts that are shown to choose from: what a person can look through, and a row can hold.
pub const MOST: usize = 500;
/// Most accounts that are connected at once, in one transaction.
pub const MOST_CHOSEN: usize = 50;

/// Accounts to choose from.
pub struct Choice {
    /// The accounts, as the platform tells them.
    pub identities: Vec<Identity>,
    /// What was granted for them.
    pub scopes: Vec<String>,
    /// Afterwards it is too late.
    pub expires_at: DateTime<Utc>,
}

#[derive(Serialize, Deserialize)]
struct SealedChoice<T> {
    credentials: Credentials,
    secrets: BTreeMap<SecretRef, T>,
    scopes: Vec<String>,
    /// When the platform gave them.
    at: DateTime<Utc>,
}

/// Leaves the accounts that a connect can be about: each once, and if one is to be connected again, that one.
pub(super) async fn narrow(app: &App, back: &Back, given: &mut Given) -> Result<(), Problem> {
    let identities = &mut given.identities;
    // In this order they are stored, so that two connects of the same accounts wait for each other in turn.
    identities.sort_by(|one, other| one.remote_id.cmp(&other.remote_id));
    identities.dedup_by(|one, other| one.remote_id == other.remote_id);
    if identities.is_empty() {
        let detail = "The platform tells no account that could be connected. Make one there, and connect again.";
        return Err(Problem::new(ProblemKind::Invalid, detail));
    }
    let wanted = back.session.as_ref().and_then(|session| session.account);
    if let Some(wanted) = wanted.filter(|_| identities.len() > 1) {
        let account = app.store.account(back.flow.tenant, wanted).await?;
        identities.retain(|one| {
            account
                .as_ref()
                .is_some_and(|account| account.remote_id == one.remote_id)
        });
        given.chosen = true;
        if identities.is_empty() {
            return Err(another_account());
        }
    }
    if identities.len() > MOST {
        let detail =
            format!("The platform tells more than {MOST} accounts. Share fewer of them there, and connect again.");
        return Err(Problem::new(ProblemKind::Invalid, detail));
    }
    Ok(())
}

/// Keeps what was given until the person has chosen. Gives the handle of the choice.
pub(super) async fn keep(app: &App, flow: &Flow, given: Given) -> Result<Secret<String>, Problem> {
    let handle = random_token(app);
    let mut secrets = BTreeMap::new();
    for secret in given.credentials.secrets.values() {
        let value = given.secrets.get(secret).ok_or(VaultError::Sealed)?;
        secrets.insert(secret.clone(), value.expose().as_str());
    }
    let sealed = SealedChoice {
        credentials: given.credentials,
        secrets,
        scopes: given.scopes,
        at: app.env.now(),
    };
    let plain = Zeroizing::new(serde_json::to_vec(&sealed).map_err(unreadable)?);
    let place = flow_place(flow.tenant, flow.id);
    let sealed = match app.vault.seal(place, &plain).await {
        Err(VaultError::TooLong) => {
            let detail = "The platform gives more for these accounts than can be kept. Share fewer of them there, and \
                          connect again.";
            return Err(Problem::new(ProblemKind::Invalid, detail));
        }
        sealed => sealed?,
    };
    let kept = Flow {
        state_hash: digest(handle.expose()),
        sealed,
        identities: Some(given.identities),
        ..flow.clone()
    };
    if app.store.continue_flow(&kept).await? {
        Ok(handle)
    } else {
        Err(Problem::not_found("tenant"))
    }
}

/// What there is to choose from. Looking uses nothing up.
///
/// # Errors
/// The choice is unknown, made, expired or another browser's.
pub async fn show(app: &App, provider: &ProviderId, handle: &str, cookie: Option<&str>) -> Result<Choice, Problem> {
    let flow = app.store.flow(digest(handle)).await?;
    let flow = flow.filter(|flow| flow.provider == *provider && is_of_browser(flow, cookie));
    let mut flow = flow.ok_or_else(|| Refused::over().problem)?;
    let identities = flow.identities.take().ok_or_else(|| Refused::over().problem)?;
    let sealed = open(app, &flow).await?;
    Ok(Choice {
        identities,
        scopes: sealed.scopes,
        expires_at: flow.expires_at,
    })
}

/// Connects the accounts with these ids of the platform.
///
/// # Errors
/// As [`show`], and then the choice is used up; none, or too many, or others than those shown are named, and then it is
/// not; or what was chosen cannot be connected.
pub async fn choose(
    app: &Arc<App>,
    provider: &ProviderId,
    handle: &str,
    chosen: &[String],
    cookie: Option<&str>,
) -> Result<Finished, Refused> {
    let registered = app.registered(provider).map_err(Refused::early)?;
    let shown = app.store.flow(digest(handle)).await.map_err(Refused::early)?;
    if let Some(flow) = shown.filter(|flow| flow.provider == *provider && is_of_browser(flow, cookie)) {
        let among = flow.identities.ok_or_else(Refused::over)?;
        check(&among, chosen).map_err(Refused::early)?;
    }
    let flow = app.store.take_flow(digest(handle)).await.map_err(Refused::early)?;
    let mut flow = flow.ok_or_else(Refused::over)?;
    let mut identities = flow.identities.take().ok_or_else(Refused::over)?;
    let back = Back::of(app, registered, flow, cookie).await?;
    let sealed = match open(app, &back.flow).await {
        Ok(sealed) => sealed,
        Err(problem) => return Err(back.refused(app, ("failed", problem)).await),
    };
    identities.retain(|identity| chosen.contains(&identity.remote_id));
    let waited = (app.env.now() - sealed.at).to_std().unwrap_or_default();
    let CredentialLifetimes {
        access,
        refresh,
        refresh_not_before,
    } = sealed.credentials.lifetimes;
    let left = |life: Option<Duration>| life.map(|life| life.saturating_sub(waited));
    let mut secrets = SecretBag::default();
    for (name, value) in sealed.secrets {
        secrets.insert(name, Secret::new(value));
    }
    let given = Given {
        identities,
        scopes: sealed.scopes,
        credentials: Credentials {
            lifetimes: CredentialLifetimes {
                access: left(access),
                refresh: left(refresh),
                refresh_not_before: left(refresh_not_before),
            },
            ..sealed.credentials
        },
        secrets,
        chosen: true,
    };
    match grant::store(app, &back, given).await {
        Ok(granted) => Ok(back.connected(granted)),
        Err(problem) => Err(back.refused(app, ("failed", problem)).await),
    }
}

/// Refuses a choice that is none.
fn check(among: &[Identity], chosen: &[String]) -> Result<(), Problem> {
    let refused = |pointer: String, code: &'static str, message: String| {
        Err(Problem::invalid(vec![FieldIssue::new(pointer, code, message)]))
    };
    if chosen.is_empty() || chosen.len() > MOST_CHOSEN {
        return refused(
            "/ids".to_owned(),
            "count",
            format!("Choose 1 to {MOST_CHOSEN} accounts."),
        );
    }
    let unknown = chosen
        .iter()
        .position(|id| !among.iter().any(|identity| identity.remote_id == *id));
    match unknown {
        None => Ok(()),
        Some(index) => refused(
            format!("/ids/{index}"),
            "unknown",
            "Name accounts that are among the choices.".to_owned(),
        ),
    }
}

async fn open(app: &App, flow: &Flow) -> Result<SealedChoice<String>, Problem> {
    let opened = app.vault.unseal(flow_place(flow.tenant, flow.id), &flow.sealed).await?;
    serde_json::from_slice(opened.expose()).map_err(unreadable)
}

fn unreadable(error: serde_json::Error) -> Problem {
    Problem::new(ProblemKind::Internal, "Connect again.").because(error)
}
