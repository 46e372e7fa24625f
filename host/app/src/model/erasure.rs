//! What is erased for good, and the receipt of it.

use std::{collections::BTreeMap, str::FromStr};

use chrono::{DateTime, Utc};
use patchbay_core::{AccountId, ErasureId, ProviderId, TenantId};
use sha2::{Digest, Sha256};

/// What is to be erased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A tenant with all that it has.
    Tenant,
    /// All accounts of an end user. The name is forgotten at the end.
    Owner(Option<String>),
    /// One account.
    Account(AccountId),
}

impl Subject {
    /// The stable name, as stored.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Owner(_) => "owner",
            Self::Account(_) => "account",
        }
    }

    /// Stands for it when its name is forgotten.
    #[must_use]
    pub fn hash(&self, tenant: TenantId) -> [u8; 32] {
        let name = match self {
            Self::Tenant => String::new(),
            Self::Owner(owner) => owner.clone().unwrap_or_default(),
            Self::Account(id) => id.to_string(),
        };
        Sha256::digest(format!("{tenant}/{}/{name}", self.as_str())).into()
    }
}

/// A wish to erase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewErasure {
    /// Id to use if there is none yet.
    pub id: ErasureId,
    /// Whose.
    pub tenant: TenantId,
    /// What.
    pub subject: Subject,
}

/// What the platform said when it was told that a grant is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrantEnd {
    /// It has ended it.
    Revoked,
    /// It could not be told, or refused.
    NotTold,
}

impl GrantEnd {
    /// The stable name, as stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::NotTold => "not_told",
        }
    }
}

impl FromStr for GrantEnd {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Revoked, Self::NotTold]
            .into_iter()
            .find(|end| end.as_str() == text)
            .ok_or_else(|| format!("no end of a grant {text}"))
    }
}

/// A grant that was ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErasedGrant {
    /// Which account's.
    pub account: AccountId,
    /// At which platform.
    pub provider: ProviderId,
    /// How.
    pub end: GrantEnd,
    /// Why the platform was not told.
    pub code: Option<String>,
    /// When.
    pub at: DateTime<Utc>,
}

/// An erasure, under way or done: then it is the receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    /// Id.
    pub id: ErasureId,
    /// Whose.
    pub tenant: TenantId,
    /// What.
    pub subject: Subject,
    /// Rows that are gone, by kind.
    pub counts: BTreeMap<String, u64>,
    /// Grants that were ended; at most [`Erasure::GRANTS`], by the accounts' ids.
    pub grants: Vec<ErasedGrant>,
    /// When it was asked for.
    pub requested_at: DateTime<Utc>,
    /// When it was done.
    pub finished_at: Option<DateTime<Utc>>,
}

impl Erasure {
    /// Grants that a receipt lists.
    pub const GRANTS: u32 = 1_000;
}
