//! Fault switches: named rules that make chosen calls go wrong, a number of times or until cleared.
//!
//! A rule names an operation (the platform's own op names, `*` for all) and an [`Action`]. The gate plays the
//! actions every HTTP platform shares; [`Action::Set`] carries what only the platform understands.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;

use crate::{Random, lock};

/// One rule. `skip` lets the first matching calls pass, `times` bounds how many are hit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    pub op: String,
    /// Only calls whose path and query contain this text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_contains: Option<String>,
    /// Only calls made for this account (the platform's user name or id).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    #[serde(default)]
    pub skip: u32,
    /// `None` holds until the rule is cleared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// Of the calls that are left, only some, by chance. `None` strikes all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<Share>,
    pub action: Action,
}

impl Fault {
    /// Strikes every call of that op until cleared.
    pub fn new(op: &str, action: Action) -> Self {
        Self {
            op: op.to_owned(),
            path_contains: None,
            account: None,
            skip: 0,
            times: None,
            share: None,
            action,
        }
    }

    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    /// Strikes so many in a hundred, and with the same seed the same ones.
    #[must_use]
    pub fn percent(mut self, percent: u8, seed: u64) -> Self {
        self.share = Some(Share { percent, seed });
        self
    }

    pub fn once(self) -> Self {
        self.times(1)
    }

    #[must_use]
    pub fn skip(mut self, calls: u32) -> Self {
        self.skip = calls;
        self
    }

    #[must_use]
    pub fn for_account(mut self, account: &str) -> Self {
        self.account = Some(account.to_owned());
        self
    }
}

/// Which calls a rule by chance strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Share {
    pub percent: u8,
    pub seed: u64,
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// The platform's own refusal, in the shape it has at that operation. Without a status the documented one.
    Error {
        code: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<u16>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
    },
    /// A bare status with a body of its own.
    Status {
        status: u16,
        #[serde(default)]
        body: String,
        #[serde(default = "plain_text")]
        content_type: String,
        #[serde(default)]
        when: When,
    },
    /// A web page where an API answer belongs, as load balancers send.
    Html {
        status: u16,
        #[serde(default)]
        when: When,
    },
    /// The real answer with its second half missing, well-formed as HTTP.
    TruncateBody,
    /// The real answer's head, half its body, then a closed connection.
    CutBody,
    /// The connection closes without an answer.
    Drop { when: When },
    /// The answer comes late (real time, at most ten minutes).
    Delay { ms: u64 },
    /// The call has its effect, and its answer waits until the rule is cleared (real time, at most ten minutes).
    Hold,
    /// The answer, whatever it is, asks to be left alone for so long.
    RetryAfter { seconds: u32 },
    /// For the platform: it looks for names it knows.
    Set {
        name: String,
        #[serde(default)]
        value: Value,
    },
}

/// Whether the call has its effect before it goes wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    #[default]
    Before,
    After,
}

/// What a call is, for matching.
#[derive(Clone, Copy, Debug, Default)]
pub struct Subject<'a> {
    pub op: &'a str,
    pub path: &'a str,
    /// Every name under which the account may be written in a rule.
    pub accounts: &'a [String],
}

/// A rule that matched, in the order of names.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    pub name: String,
    pub action: Action,
}

/// A rule and what it has done so far.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FaultState {
    pub name: String,
    #[serde(flatten)]
    pub fault: Fault,
    pub seen: u64,
    pub hits: u64,
}

/// All rules. Clones share them.
#[derive(Clone)]
pub struct Faults {
    rules: Arc<Mutex<BTreeMap<String, Rule>>>,
    changed: watch::Sender<u64>,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            rules: Arc::default(),
            changed: watch::Sender::new(0),
        }
    }
}

struct Rule {
    fault: Fault,
    chance: Option<(u64, Random)>,
    seen: u64,
    hits: u64,
}

impl Faults {
    /// Sets or replaces a rule; its counts start again.
    pub fn put(&self, name: &str, fault: Fault) {
        lock(&self.rules).insert(
            name.to_owned(),
            Rule {
                chance: (fault.share).map(|share| (share.percent.into(), Random::seeded(share.seed))),
                fault,
                seen: 0,
                hits: 0,
            },
        );
        self.changed();
    }

    /// Says whether there was such a rule.
    pub fn clear(&self, name: &str) -> bool {
        let was_set = lock(&self.rules).remove(name).is_some();
        self.changed();
        was_set
    }

    pub fn clear_all(&self) {
        lock(&self.rules).clear();
        self.changed();
    }

    pub fn is_set(&self, name: &str) -> bool {
        lock(&self.rules).contains_key(name)
    }

    /// Returns once no rule has that name: what was made to hang goes on then.
    pub async fn until_cleared(&self, name: &str) {
        let mut changes = self.changes();
        while self.is_set(name) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Wakes whenever a rule is set or cleared.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn changed(&self) {
        self.changed.send_modify(|version| *version += 1);
    }

    /// Used-up rules stay listed with their counts until cleared.
    pub fn list(&self) -> Vec<FaultState> {
        lock(&self.rules)
            .iter()
            .map(|(name, rule)| FaultState {
                name: name.clone(),
                fault: rule.fault.clone(),
                seen: rule.seen,
                hits: rule.hits,
            })
            .collect()
    }

    /// How often a rule struck.
    pub fn hits(&self, name: &str) -> u64 {
        lock(&self.rules).get(name).map_or(0, |rule| rule.hits)
    }

    /// Counts the call against every rule and returns those that strike.
    pub fn strike(&self, subject: Subject<'_>) -> Vec<Hit> {
        lock(&self.rules)
            .iter_mut()
            .filter_map(|(name, rule)| {
                rule.strikes(subject).then(|| Hit {
                    name: name.clone(),
                    action: rule.fault.action.clone(),
                })
            })
            .collect()
    }
}

impl Rule {
    fn strikes(&mut self, subject: Subject<'_>) -> bool {
        let fault = &self.fault;
        let matches = (fault.op == "*" || fault.op == subject.op)
            && fault
                .path_contains
                .as_ref()
                .is_none_or(|part| subject.path.contains(part.as_str()))
            && fault
                .account
                .as_ref()
                .is_none_or(|account| subject.accounts.contains(account));
        if !matches {
            return false;
        }
        self.seen += 1;
        let used_up = fault.times.is_some_and(|times| self.hits >= u64::from(times));
        let spared = |(percent, random): &(u64, Random)| random.between(0, 100) >= *percent;
        if self.seen <= u64::from(fault.skip) || used_up || self.chance.as_ref().is_some_and(spared) {
            return false;
        }
        self.hits += 1;
        true
    }
}

/// The platform switch of that name among the hits: the rule that set it, and the value.
pub fn setting<'a>(hits: &'a [Hit], wanted: &str) -> Option<(&'a str, &'a Value)> {
    hits.iter().find_map(|hit| match &hit.action {
        Action::Set { name, value } if name == wanted => Some((hit.name.as_str(), value)),
        _ => None,
    })
}

fn plain_text() -> String {
    "text/plain; charset=utf-8".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(op: &str) -> Subject<'_> {
        Subject {
            op,
            ..Subject::default()
        }
    }

    #[test]
    fn a_rule_skips_then_strikes_its_number_of_times() {
        let faults = Faults::default();
        faults.put("f", Fault::new("init", Action::TruncateBody).skip(1).times(2));
        let struck: Vec<bool> = (0..5).map(|_| !faults.strike(subject("init")).is_empty()).collect();
        assert_eq!(struck, [false, true, true, false, false]);
        assert!(faults.strike(subject("status")).is_empty());
        assert_eq!(faults.hits("f"), 2);
    }

    #[test]
    fn a_rule_by_chance_strikes_about_its_share_and_the_same_calls_again() {
        let struck = |seed| -> Vec<bool> {
            let faults = Faults::default();
            faults.put("f", Fault::new("init", Action::TruncateBody).percent(30, seed));
            (0..1_000).map(|_| !faults.strike(subject("init")).is_empty()).collect()
        };
        let hits = struck(1).into_iter().filter(|hit| *hit).count();
        assert!((230..=370).contains(&hits), "{hits}");
        assert_eq!(struck(1), struck(1));
        assert_ne!(struck(1), struck(2));
    }

    #[test]
    fn a_rule_can_be_bound_to_one_account() {
        let faults = Faults::default();
        faults.put("f", Fault::new("*", Action::TruncateBody).for_account("ada"));
        let names = ["ada".to_owned(), "-000x".to_owned()];
        let call = Subject {
            op: "init",
            path: "/",
            accounts: &names,
        };
        assert_eq!(faults.strike(call).len(), 1);
        assert!(faults.strike(subject("init")).is_empty());
    }

    #[test]
    fn rules_read_as_json() {
        let fault: Fault =
            serde_json::from_str(r#"{"op":"video_init","times":1,"action":{"kind":"drop","when":"after"}}"#)
                .expect("a rule");
        assert_eq!(
            fault,
            Fault::new("video_init", Action::Drop { when: When::After }).once()
        );
        serde_json::from_str::<Fault>(r#"{"op":"x","action":{"kind":"no_such"}}"#)
            .expect_err("unknown actions are refused");
    }
}
