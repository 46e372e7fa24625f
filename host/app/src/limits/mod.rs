//! The platform's limits as the manifest states them, and how much of them is in use: rate buckets count calls, quotas
//! count posts. Each is a window in the database, which all replicas share. See [`crate::store::Slots`].

mod front;

use std::time::Duration;

use chrono::{DateTime, Utc};
use patchbay_core::{AccountId, Bucket, BucketScope, PostMode, Quota, TenantId};
use serde::Serialize;

pub(crate) use front::Front;

use crate::{
    App,
    registry::Registered,
    store::{StoreError, Window},
};

/// What a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Counted {
    /// Calls to the platform.
    Calls,
    /// Posts in one mode.
    Posts(PostMode),
}

/// Use of one limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitUse {
    /// Name of the bucket or quota.
    pub name: &'static str,
    /// What it counts.
    pub counted: Counted,
    /// Places in all.
    pub limit: u32,
    /// Places in use.
    pub used: u32,
    /// Places that are left now: none while the platform wants to be left alone.
    pub remaining: u32,
    /// Length of the window.
    pub window: Duration,
    /// When there is a place more than now; `None`: all are free.
    pub next_free_at: Option<DateTime<Utc>>,
}

/// The window of a rate bucket. `None`: before there is an account there is no account window.
pub(crate) fn bucket_window(
    registered: &Registered,
    account: Option<(TenantId, AccountId)>,
    bucket: &Bucket,
) -> Option<Window> {
    let (tenant, subject) = match (bucket.scope, account) {
        (BucketScope::Account, Some((tenant, account))) => (tenant, account.to_string()),
        (BucketScope::Account, None) => return None,
        (BucketScope::App, _) => (
            TenantId::DEFAULT,
            format!("app:{}:{}", registered.id(), registered.app.client_id),
        ),
    };
    Some(Window {
        tenant,
        subject,
        bucket: bucket.name.to_owned(),
        limit: bucket.limit,
    })
}

/// The window of a quota.
pub(crate) fn quota_window(tenant: TenantId, account: AccountId, quota: &Quota) -> Window {
    Window {
        tenant,
        subject: account.to_string(),
        bucket: quota.name.to_owned(),
        limit: quota.limit,
    }
}

/// Quotas of a mode (or of all), then rate buckets, with their use by an account: one look at the database.
///
/// # Errors
/// The store failed.
pub async fn uses(
    app: &App,
    registered: &Registered,
    tenant: TenantId,
    account: AccountId,
    mode: Option<PostMode>,
) -> Result<Vec<LimitUse>, StoreError> {
    let manifest = registered.manifest();
    let mut limits = Vec::new();
    let mut windows = Vec::new();
    for quota in &manifest.quotas {
        if mode.is_none_or(|mode| mode == quota.mode) {
            limits.push((quota.name, Counted::Posts(quota.mode), quota.window));
            windows.push(quota_window(tenant, account, quota));
        }
    }
    for bucket in &manifest.buckets {
        if let Some(window) = bucket_window(registered, Some((tenant, account)), bucket) {
            limits.push((bucket.name, Counted::Calls, bucket.window));
            windows.push(window);
        }
    }
    let found = app.store.windows(&windows).await?;
    let uses = limits.into_iter().zip(&windows).zip(found);
    Ok(uses
        .map(|(((name, counted, length), window), found)| {
            let remaining = match found.paused_until {
                Some(_) => 0,
                None => window.limit.saturating_sub(found.used),
            };
            LimitUse {
                name,
                counted,
                limit: window.limit,
                used: found.used,
                remaining,
                window: length,
                // What frees while the window is closed helps nobody.
                next_free_at: found.next_free_at.max(found.paused_until),
            }
        })
        .collect())
}
