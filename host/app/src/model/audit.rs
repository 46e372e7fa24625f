//! The audit log: who did what that bears on security. Each tenant's rows are a chain: a row holds the hash of the one
//! before, so that none can be changed or taken out without the next one telling.

use chrono::{DateTime, Utc};
use patchbay_core::{ApiKeyId, AuditId, TenantId};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::env::Env;

/// Who acts. Never a secret, and no person's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Actor {
    /// A key of the scope `operator`.
    Operator(ApiKeyId),
    /// A tenant's key.
    Key(ApiKeyId),
    /// A browser on the first-party pages.
    FirstParty,
    /// Whoever owns an account at the platform, in a browser.
    Owner,
    /// A worker, by itself.
    Worker,
    /// The command line.
    Cli,
}

impl Actor {
    /// The stable name, as stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Operator(_) => "operator",
            Self::Key(_) => "key",
            Self::FirstParty => "first_party",
            Self::Owner => "owner",
            Self::Worker => "worker",
            Self::Cli => "cli",
        }
    }

    /// The key that was used.
    #[must_use]
    pub fn key(self) -> Option<ApiKeyId> {
        match self {
            Self::Operator(key) | Self::Key(key) => Some(key),
            Self::FirstParty | Self::Owner | Self::Worker | Self::Cli => None,
        }
    }
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuditAction {
    /// A tenant was made. Target: the tenant.
    TenantCreated,
    /// A tenant was given another name. Target: the tenant.
    TenantRenamed,
    /// A key was made. Target: the key.
    KeyCreated,
    /// A key was killed. Target: the key.
    KeyRevoked,
    /// An account was connected, anew or again. Target: the account.
    AccountConnected,
    /// An account was disconnected. Target: the account.
    AccountDisconnected,
    /// A tenant took an account with the code that its browser brought. Target: the account.
    AccountCompleted,
    /// A pending account was given up, since its tenant did not take it. Target: the account.
    AccountRefused,
    /// A platform takes an account's tokens no more, so that its owner must connect again. Target: the account.
    AccountLocked,
    /// A webhook endpoint was made. Target: the endpoint.
    EndpointCreated,
    /// A webhook endpoint was changed. Target: the endpoint.
    EndpointChanged,
    /// A webhook endpoint was given a new secret. Target: the endpoint.
    EndpointSecretRotated,
    /// A webhook endpoint was deleted. Target: the endpoint.
    EndpointDeleted,
    /// Deliveries are sent again. Target: the delivery, if it is one; else the endpoint.
    Redelivered,
    /// The origins to which browsers go back were changed.
    OriginsChanged,
    /// A pass was made, with which a browser on another site acts for an end user.
    EmbedPassMade,
    /// An operator's key was shown in a browser. Target: the key.
    OperatorSignedIn,
    /// A browser in which an operator's key was shown has forgotten it. Target: the key.
    OperatorSignedOut,
    /// A browser showed something that is no operator's key. Target: the key, if it is a tenant's.
    OperatorRefused,
    /// Dead letters were replayed. Target: the dead letter, if it was one.
    DeadLetterReplayed,
    /// A tenant, an owner or an account is to be erased. Target: the erasure.
    ErasureBegun,
    /// It is erased. Target: the erasure.
    ErasureEnded,
    /// What a tenant, an owner or an account has was exported.
    ExportMade,
}

impl AuditAction {
    /// All.
    pub const ALL: [Self; 23] = [
        Self::TenantCreated,
        Self::TenantRenamed,
        Self::KeyCreated,
        Self::KeyRevoked,
        Self::AccountConnected,
        Self::AccountDisconnected,
        Self::AccountCompleted,
        Self::AccountRefused,
        Self::AccountLocked,
        Self::EndpointCreated,
        Self::EndpointChanged,
        Self::EndpointSecretRotated,
        Self::EndpointDeleted,
        Self::Redelivered,
        Self::OriginsChanged,
        Self::EmbedPassMade,
        Self::OperatorSignedIn,
        Self::OperatorSignedOut,
        Self::OperatorRefused,
        Self::DeadLetterReplayed,
        Self::ErasureBegun,
        Self::ErasureEnded,
        Self::ExportMade,
    ];

    /// The stable name, as stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TenantCreated => "tenant.created",
            Self::TenantRenamed => "tenant.renamed",
            Self::KeyCreated => "key.created",
            Self::KeyRevoked => "key.revoked",
            Self::AccountConnected => "account.connected",
            Self::AccountDisconnected => "account.disconnected",
            Self::AccountCompleted => "account.completed",
            Self::AccountRefused => "account.refused",
            Self::AccountLocked => "account.locked",
            Self::EndpointCreated => "webhook_endpoint.created",
            Self::EndpointChanged => "webhook_endpoint.changed",
            Self::EndpointSecretRotated => "webhook_endpoint.secret_rotated",
            Self::EndpointDeleted => "webhook_endpoint.deleted",
            Self::Redelivered => "delivery.redelivered",
            Self::OriginsChanged => "connect_origins.changed",
            Self::EmbedPassMade => "embed_pass.made",
            Self::OperatorSignedIn => "operator.signed_in",
            Self::OperatorSignedOut => "operator.signed_out",
            Self::OperatorRefused => "operator.refused",
            Self::DeadLetterReplayed => "dead_letter.replayed",
            Self::ErasureBegun => "erasure.begun",
            Self::ErasureEnded => "erasure.ended",
            Self::ExportMade => "export.made",
        }
    }
}

/// On whose word something is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct By {
    /// Who.
    pub actor: Actor,
    /// Request or work that it is part of, as in the log.
    pub request_id: String,
}

impl By {
    /// A worker, in the course of some work.
    #[must_use]
    pub fn worker(correlation_id: &str) -> Self {
        Self {
            actor: Actor::Worker,
            request_id: correlation_id.to_owned(),
        }
    }

    /// The command line. It has no request, so it makes an id of its own.
    #[must_use]
    pub fn cli(env: &Env) -> Self {
        Self {
            actor: Actor::Cli,
            request_id: format!("cli_{}", env.ids.next().simple()),
        }
    }

    /// An action of this one, to be stored with what it does.
    pub fn did(&self, env: &Env, action: AuditAction, tenant: TenantId) -> NewAudit {
        NewAudit {
            id: AuditId::from_uuid(env.ids.next()),
            tenant,
            by: self.clone(),
            action,
            target: None,
            detail: json!({}),
        }
    }
}

/// A row to be added to the audit log.
#[derive(Debug, Clone, PartialEq)]
pub struct NewAudit {
    /// Id.
    pub id: AuditId,
    /// Whose log.
    pub tenant: TenantId,
    /// Who.
    pub by: By,
    /// What.
    pub action: AuditAction,
    /// To what, as an id.
    pub target: Option<String>,
    /// More: an object. No secret, and nothing of a person.
    pub detail: Value,
}

impl NewAudit {
    /// Names what it was done to.
    #[must_use]
    pub fn to(mut self, target: &impl ToString) -> Self {
        self.target = Some(target.to_string());
        self
    }

    /// Says more.
    #[must_use]
    pub fn saying(mut self, detail: Value) -> Self {
        self.detail = detail;
        self
    }
}

/// A row of the audit log. Names are text as stored: a log is read whatever it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Whose log.
    pub tenant: TenantId,
    /// Its place in the chain, from 1.
    pub seq: i64,
    /// Id.
    pub id: AuditId,
    /// When.
    pub at: DateTime<Utc>,
    /// Who.
    pub actor: String,
    /// With which key.
    pub actor_key: Option<ApiKeyId>,
    /// What.
    pub action: String,
    /// To what.
    pub target: Option<String>,
    /// Request or work that it was part of.
    pub request_id: String,
    /// More, as the text of a JSON object.
    pub detail: String,
    /// SHA-256 of the hash before and of this row.
    pub hash: [u8; 32],
}

impl AuditEntry {
    /// The hash that this row has after one with the hash `before`.
    #[must_use]
    pub fn hash_after(&self, before: &[u8; 32]) -> [u8; 32] {
        let at = self.at.timestamp_micros().to_be_bytes();
        let (tenant, id) = (self.tenant.as_uuid(), self.id.as_uuid());
        let key = self.actor_key.map(ApiKeyId::as_uuid);
        let parts: [Option<&[u8]>; 10] = [
            Some(tenant.as_bytes()),
            Some(&self.seq.to_be_bytes()),
            Some(id.as_bytes()),
            Some(&at),
            Some(self.actor.as_bytes()),
            key.as_ref().map(|key| &key.as_bytes()[..]),
            Some(self.action.as_bytes()),
            self.target.as_deref().map(str::as_bytes),
            Some(self.request_id.as_bytes()),
            Some(self.detail.as_bytes()),
        ];
        let mut hash = Sha256::new_with_prefix(b"patchbay/audit/v1");
        hash.update(before);
        for part in parts {
            // Each with its length in front, so that no two rows read alike; nothing is not the same as an empty text.
            let length = part.map_or(u64::MAX, |part| part.len() as u64);
            hash.update(length.to_be_bytes());
            hash.update(part.unwrap_or_default());
        }
        hash.finalize().into()
    }
}

/// The end of a tenant's chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditHead {
    /// Whose.
    pub tenant: TenantId,
    /// Place of the last row; 0: there is none.
    pub seq: i64,
    /// Hash of the last row.
    pub hash: [u8; 32],
}

impl AuditHead {
    /// Before the first row.
    #[must_use]
    pub fn start(tenant: TenantId) -> Self {
        Self {
            tenant,
            seq: 0,
            hash: [0; 32],
        }
    }

    /// Puts a row at the end.
    pub fn append(self, audit: &NewAudit, detail: String, at: DateTime<Utc>) -> AuditEntry {
        let mut entry = AuditEntry {
            tenant: self.tenant,
            seq: self.seq + 1,
            id: audit.id,
            at,
            actor: audit.by.actor.as_str().to_owned(),
            actor_key: audit.by.actor.key(),
            action: audit.action.as_str().to_owned(),
            target: audit.target.clone(),
            request_id: audit.by.request_id.clone(),
            detail,
            hash: [0; 32],
        };
        entry.hash = entry.hash_after(&self.hash);
        entry
    }
}
