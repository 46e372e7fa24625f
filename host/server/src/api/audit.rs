//! Who did what that bears on security.

use axum::{
    Json,
    extract::{Query, State},
};
use chrono::{DateTime, Utc};
use patchbay_app::{
    model::{AuditAction, AuditEntry, KeyScope},
    problem::Problem,
    store::AuditFilter,
};
use patchbay_core::{FieldIssue, TenantId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    auth::Caller,
    extract::{Paging, id, next_cursor, window},
    problem::{ApiResult, ProblemBody},
};
use crate::host::Host;

/// Longest id of anything.
const TARGET: usize = 64;

/// A row of the audit log.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditBody {
    /// Id.
    #[schema(example = "aud_0199f0a2b3c47d8e9f00112233445566")]
    pub id: String,
    /// Its place in the tenant's chain: 1, 2, 3, … without gaps.
    #[schema(example = 7, minimum = 1)]
    pub seq: i64,
    /// When.
    pub at: DateTime<Utc>,
    /// Who.
    #[schema(value_type = ActorBody, example = "key")]
    pub actor: String,
    /// With which key, if one was used.
    #[schema(example = "key_0199f0a2b3c47d8e9f00112233445566")]
    pub actor_key_id: Option<String>,
    /// What.
    #[schema(value_type = ActionBody, example = "webhook_endpoint.created")]
    pub action: String,
    /// To what, as an id.
    #[schema(example = "ep_0199f0a2b3c47d8e9f00112233445566")]
    pub target: Option<String>,
    /// Request that it was part of, as in the log.
    pub request_id: String,
    /// More.
    #[schema(value_type = serde_json::Map<String, serde_json::Value>)]
    pub detail: serde_json::Value,
    /// SHA-256 of the hash before and of this row, in hexadecimal digits. `patchbay audit verify` compares them.
    #[schema(min_length = 64, max_length = 64)]
    pub hash: String,
}

impl From<AuditEntry> for AuditBody {
    fn from(entry: AuditEntry) -> Self {
        Self {
            id: entry.id.to_string(),
            seq: entry.seq,
            at: entry.at,
            actor: entry.actor,
            actor_key_id: entry.actor_key.map(|key| key.to_string()),
            action: entry.action,
            target: entry.target,
            request_id: entry.request_id,
            // One that somebody has tampered with is shown as it is.
            detail: serde_json::from_str(&entry.detail).unwrap_or(serde_json::Value::String(entry.detail)),
            hash: hex(&entry.hash),
        }
    }
}

/// Bytes as hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Who acted.
#[derive(ToSchema)]
#[schema(as = AuditActor)]
#[allow(non_camel_case_types, dead_code, reason = "the names are the JSON values")]
pub enum ActorBody {
    /// A key of the operator.
    operator,
    /// A key of the tenant.
    key,
    /// A browser on the first-party pages.
    first_party,
    /// Whoever owns an account at the platform, in a browser.
    owner,
    /// A worker, by itself.
    worker,
    /// The command line.
    cli,
}

/// What was done.
#[derive(ToSchema)]
#[schema(as = AuditAction)]
#[allow(dead_code, reason = "the names are the JSON values")]
pub enum ActionBody {
    /// A tenant was made.
    #[schema(rename = "tenant.created")]
    TenantCreated,
    /// A tenant was given another name.
    #[schema(rename = "tenant.renamed")]
    TenantRenamed,
    /// A key was made.
    #[schema(rename = "key.created")]
    KeyCreated,
    /// A key was killed.
    #[schema(rename = "key.revoked")]
    KeyRevoked,
    /// An account was connected, anew or again.
    #[schema(rename = "account.connected")]
    AccountConnected,
    /// An account was disconnected.
    #[schema(rename = "account.disconnected")]
    AccountDisconnected,
    /// A tenant took an account with the code that its browser brought.
    #[schema(rename = "account.completed")]
    AccountCompleted,
    /// A pending account was given up, since its tenant did not take it.
    #[schema(rename = "account.refused")]
    AccountRefused,
    /// A platform takes an account's tokens no more.
    #[schema(rename = "account.locked")]
    AccountLocked,
    /// A webhook endpoint was made.
    #[schema(rename = "webhook_endpoint.created")]
    EndpointCreated,
    /// A webhook endpoint was changed.
    #[schema(rename = "webhook_endpoint.changed")]
    EndpointChanged,
    /// A webhook endpoint was given a new secret.
    #[schema(rename = "webhook_endpoint.secret_rotated")]
    EndpointSecretRotated,
    /// A webhook endpoint was deleted.
    #[schema(rename = "webhook_endpoint.deleted")]
    EndpointDeleted,
    /// Deliveries are sent again: one, or those of an endpoint.
    #[schema(rename = "delivery.redelivered")]
    Redelivered,
    /// The origins to which browsers go back were changed.
    #[schema(rename = "connect_origins.changed")]
    OriginsChanged,
    /// A pass was made, with which a browser on another site acts for an end user.
    #[schema(rename = "embed_pass.made")]
    EmbedPassMade,
    /// An operator's key was shown in a browser.
    #[schema(rename = "operator.signed_in")]
    OperatorSignedIn,
    /// A browser in which an operator's key was shown has forgotten it.
    #[schema(rename = "operator.signed_out")]
    OperatorSignedOut,
    /// A browser showed something that is no operator's key.
    #[schema(rename = "operator.refused")]
    OperatorRefused,
    /// Dead letters were replayed.
    #[schema(rename = "dead_letter.replayed")]
    DeadLetterReplayed,
    /// A tenant, an owner or an account is to be erased.
    #[schema(rename = "erasure.begun")]
    ErasureBegun,
    /// It is erased.
    #[schema(rename = "erasure.ended")]
    ErasureEnded,
    /// What a tenant, an owner or an account has was exported.
    #[schema(rename = "export.made")]
    ExportMade,
}

/// A page of the audit log.
#[derive(Debug, Serialize, ToSchema)]
pub struct AuditList {
    /// Newest first.
    pub data: Vec<AuditBody>,
    /// For the next page; absent at the end.
    pub next_cursor: Option<String>,
}

/// Which rows.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Wanted {
    /// Whose log. A tenant has its own, and names none; the operator names one.
    pub tenant_id: Option<String>,
    /// Of this action.
    #[param(value_type = Option<ActionBody>)]
    pub action: Option<String>,
    /// That were done to this, by its id.
    pub target: Option<String>,
    /// Of then or later.
    pub from: Option<DateTime<Utc>>,
    /// Of before.
    pub to: Option<DateTime<Utc>>,
}

/// Lists the audit log: keys, accounts, webhook endpoints and dead letters, and who changed what about them. Rows are
/// only ever added.
#[utoipa::path(get, path = "/api/audit", tag = "audit", params(Wanted, Paging), responses(
    (status = 200, body = AuditList),
    (status = 400, body = ProblemBody, content_type = "application/problem+json"),
    (status = 401, body = ProblemBody, content_type = "application/problem+json"),
    (status = 403, body = ProblemBody, content_type = "application/problem+json"),
    (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, body = ProblemBody, content_type = "application/problem+json"),
))]
pub async fn list(
    State(host): State<Host>,
    caller: Caller,
    Query(wanted): Query<Wanted>,
    Query(paging): Query<Paging>,
) -> ApiResult<Json<AuditList>> {
    let tenant = whose(&caller, wanted.tenant_id.as_deref())?;
    let bound = format!("{tenant}/audit/{wanted:?}");
    let page = paging.request(&host, &bound)?;
    let found = host.app.store.audit(tenant, &filter(wanted)?, page).await?;
    Ok(Json(AuditList {
        data: found.items.into_iter().map(AuditBody::from).collect(),
        next_cursor: next_cursor(&host, &bound, found.next),
    }))
}

/// A tenant reads its own log. The operator reads that of a tenant which it names, also of one that is gone.
fn whose(caller: &Caller, named: Option<&str>) -> Result<TenantId, Problem> {
    let named = named.map(|text| id::<TenantId>(text, "tenant")).transpose()?;
    match named {
        Some(tenant) if caller.scopes.contains(&KeyScope::Operator) => Ok(tenant),
        named => {
            caller.may(KeyScope::Read)?;
            match named {
                Some(tenant) if tenant != caller.tenant => Err(Problem::not_found("tenant")),
                _ => Ok(caller.tenant),
            }
        }
    }
}

fn filter(wanted: Wanted) -> Result<AuditFilter, Problem> {
    let (from, to) = window(wanted.from, wanted.to)?;
    let unknown = |pointer, message| Problem::invalid(vec![FieldIssue::new(pointer, "unknown", message)]);
    if let Some(action) = &wanted.action
        && !AuditAction::ALL.iter().any(|known| known.as_str() == action)
    {
        let known: Vec<_> = AuditAction::ALL.iter().map(|action| action.as_str()).collect();
        return Err(unknown("/action", format!("Use one of: {}.", known.join(", "))));
    }
    if let Some(target) = &wanted.target
        && (target.len() > TARGET || target.chars().any(char::is_control))
    {
        return Err(unknown("/target", "Give an id.".to_owned()));
    }
    Ok(AuditFilter {
        action: wanted.action,
        target: wanted.target,
        from,
        to,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_names_every_action() {
        let document = serde_json::to_value(super::super::openapi()).unwrap();
        let named = &document["components"]["schemas"]["AuditAction"]["enum"];
        assert_eq!(*named, serde_json::json!(AuditAction::ALL.map(AuditAction::as_str)));
    }
}
