//! The book of authorizations: codes, access tokens, refresh token versions, and when each dies.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use patchbay_simkit::{Random, text};
use serde::Serialize;

use crate::switches::Switches;

/// What a code was issued for.
#[derive(Clone)]
pub(crate) struct Code {
    pub open_id: String,
    pub scopes: Vec<String>,
    pub redirect_uri: String,
    /// Set when the verifier must be checked at the exchange.
    pub challenge: Option<String>,
    pub expires_at: DateTime<Utc>,
}

/// A token pair as it is handed out. No `Debug`: these are secrets.
#[derive(Clone)]
pub struct Tokens {
    pub access_token: String,
    pub expires_in: i64,
    pub refresh_token: String,
    pub refresh_expires_in: i64,
    pub open_id: String,
    /// Comma list.
    pub scope: String,
}

/// One version of a refresh token and how it was used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RefreshUse {
    pub open_id: String,
    pub grant: usize,
    pub version: u32,
    pub fingerprint: String,
    pub alive: bool,
    pub expires_at: DateTime<Utc>,
    pub accepted: u32,
    pub refused: u32,
}

/// Who is calling.
#[derive(Clone)]
pub(crate) struct Bearer {
    pub open_id: String,
    pub scopes: Vec<String>,
}

#[derive(Default)]
pub(crate) struct Grants {
    codes: HashMap<String, Code>,
    access: HashMap<String, Access>,
    refresh: HashMap<String, RefreshUse>,
    grants: Vec<Grant>,
}

struct Access {
    grant: usize,
    expires_at: DateTime<Utc>,
}

struct Grant {
    open_id: String,
    scopes: Vec<String>,
    revoked: bool,
}

impl Grants {
    /// Codes contain `*` and `!`, so whoever forgets to decode the callback finds out.
    pub(crate) fn issue_code(&mut self, random: &Random, code: Code, now: DateTime<Utc>) -> String {
        self.codes.retain(|_, old| old.expires_at > now);
        let text = format!(
            "{}*{}!{}.va",
            random.alphanumeric(48),
            random.digits(1),
            random.digits(4)
        );
        self.codes.insert(text.clone(), code);
        text
    }

    /// Takes the code out: an attempt uses it up, whatever comes of it.
    pub(crate) fn take_code(&mut self, code: &str, now: DateTime<Utc>) -> Option<Code> {
        self.codes.remove(code).filter(|code| code.expires_at > now)
    }

    pub(crate) fn open(
        &mut self,
        random: &Random,
        switches: &Switches,
        (open_id, scopes): (&str, &[String]),
        now: DateTime<Utc>,
    ) -> Tokens {
        self.grants.push(Grant {
            open_id: open_id.to_owned(),
            scopes: scopes.to_vec(),
            revoked: false,
        });
        let grant = self.grants.len() - 1;
        let refresh_token = self.issue_refresh(random, switches, grant, now);
        self.issue_access(random, switches, (grant, &refresh_token), now)
    }

    /// `None`: unknown, expired, revoked or replaced.
    pub(crate) fn refresh(
        &mut self,
        random: &Random,
        switches: &Switches,
        token: &str,
        now: DateTime<Utc>,
    ) -> Option<Tokens> {
        let known = self.refresh.get_mut(token)?;
        let grant = known.grant;
        let valid = known.alive
            && known.expires_at > now
            && !self.grants[grant].revoked
            && !(switches.sandbox && switches.sandbox_refuses_refresh);
        if !valid {
            known.refused += 1;
            return None;
        }
        known.accepted += 1;
        let mut current = token.to_owned();
        if switches.rotate_refresh {
            known.alive = !switches.tokens.old_refresh_dies();
            current = self.issue_refresh(random, switches, grant, now);
        }
        Some(self.issue_access(random, switches, (grant, &current), now))
    }

    pub(crate) fn bearer(&self, token: &str, now: DateTime<Utc>) -> Option<Bearer> {
        let access = self.access.get(token).filter(|access| access.expires_at > now)?;
        let grant = self.grants.get(access.grant).filter(|grant| !grant.revoked)?;
        Some(Bearer {
            open_id: grant.open_id.clone(),
            scopes: grant.scopes.clone(),
        })
    }

    /// The owner of a token, expired or not: for the journal.
    pub(crate) fn owner(&self, token: &str) -> Option<&str> {
        let access = self.access.get(token)?;
        self.grants.get(access.grant).map(|grant| grant.open_id.as_str())
    }

    /// What the user has granted so far, for skipping the page.
    pub(crate) fn has_granted(&self, open_id: &str, scopes: &[String]) -> bool {
        self.grants.iter().any(|grant| {
            !grant.revoked && grant.open_id == open_id && scopes.iter().all(|scope| grant.scopes.contains(scope))
        })
    }

    /// Ends every authorization of that user. Says whether there was one.
    pub(crate) fn revoke_all(&mut self, open_id: &str) -> bool {
        let mut any = false;
        for grant in self.grants.iter_mut().filter(|grant| grant.open_id == open_id) {
            any |= !grant.revoked;
            grant.revoked = true;
        }
        self.codes.retain(|_, code| code.open_id != open_id);
        any
    }

    pub(crate) fn refresh_uses(&self) -> Vec<RefreshUse> {
        let mut uses: Vec<_> = self.refresh.values().cloned().collect();
        for use_ in &mut uses {
            use_.alive &= !self.grants[use_.grant].revoked;
        }
        uses.sort_by_key(|use_| (use_.grant, use_.version));
        uses
    }

    fn issue_refresh(&mut self, random: &Random, switches: &Switches, grant: usize, now: DateTime<Utc>) -> String {
        let version = self.refresh.values().filter(|old| old.grant == grant).count();
        let token = format!("rft.{}!{}.va", random.alphanumeric(48), random.digits(4));
        self.refresh.insert(
            token.clone(),
            RefreshUse {
                open_id: self.grants[grant].open_id.clone(),
                grant,
                version: u32::try_from(version + 1).unwrap_or(u32::MAX),
                fingerprint: text::fingerprint(&token),
                alive: true,
                expires_at: now + switches.tokens.refresh_life(),
                accepted: 0,
                refused: 0,
            },
        );
        token
    }

    fn issue_access(
        &mut self,
        random: &Random,
        switches: &Switches,
        (grant, refresh_token): (usize, &str),
        now: DateTime<Utc>,
    ) -> Tokens {
        // A day of grace, so that the journal can still name the owner of an expired token.
        self.access
            .retain(|_, access| access.expires_at + TimeDelta::days(1) > now);
        let life = switches.tokens.access_life();
        let access_token = format!("act.{}*!{}.va", random.alphanumeric(56), random.digits(4));
        self.access.insert(
            access_token.clone(),
            Access {
                grant,
                expires_at: now + life,
            },
        );
        let refresh_left = self
            .refresh
            .get(refresh_token)
            .map_or(0, |refresh| (refresh.expires_at - now).num_seconds());
        Tokens {
            access_token,
            expires_in: life.num_seconds(),
            refresh_token: refresh_token.to_owned(),
            refresh_expires_in: refresh_left,
            open_id: self.grants[grant].open_id.clone(),
            scope: self.grants[grant].scopes.join(","),
        }
    }
}
