//! Webhooks and events.

use std::collections::BTreeSet;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use patchbay_app::{
    model::{
        Account, AccountStatus, AppliedEvent, Event, InboxItem, JobKind, NewEvent, NewWebhook, Settled, WebhookEnd,
        WebhookVerdict,
    },
    store::{Cursor, EventFilter, Events, JobEnd, Page, PageRequest, StoreError, StoreResult, StoredInbox},
};
use patchbay_core::{AccountId, EventId, EventKind, InboxId, IncomingEvent, JobId, PostId, ProviderId, TenantId};
use sqlx::{QueryBuilder, Sqlite, SqliteConnection};
use uuid::Uuid;

use super::{
    SqliteStore, Tx,
    accounts::erase,
    inbox::insert_inbox,
    jobs::{end_claim, finish_job, hold},
    list, micros,
    outbox::{Pushed, push_events},
    post_effects::{self, add_remote_ids, wake_post},
    questions::wake_open_calls,
};
use crate::{
    error::db,
    rows::{self, Cells, account_columns, event_columns},
    values,
};

#[async_trait]
impl Events for SqliteStore {
    async fn store_inbox(&self, webhooks: &[NewWebhook]) -> StoreResult<Vec<StoredInbox>> {
        let mut connection = self.writer.acquire().await.map_err(db)?;
        let stored = insert_inbox(&mut connection, webhooks, micros(self.time())).await?;
        self.wakes.wake(JobKind::Ingest);
        Ok(stored)
    }

    async fn inbox(&self, ids: &[InboxId]) -> StoreResult<Vec<InboxItem>> {
        let mut connection = self.readers.acquire().await.map_err(db)?;
        let mut items = Vec::with_capacity(ids.len());
        for id in ids {
            items.extend(read_inbox(&mut connection, *id).await?);
        }
        Ok(items)
    }

    async fn settle_webhooks(&self, ends: &[WebhookEnd]) -> StoreResult<Vec<Settled>> {
        let mut tx = self.begin().await?;
        let now = self.time();
        let mut settled = Vec::with_capacity(ends.len());
        let mut strays = BTreeSet::new();
        for end in ends {
            settled.push(self.settle(&mut tx, end, now, &mut strays).await?);
        }
        for account in strays {
            wake_open_calls(&mut tx, JobId::from_uuid(self.ids.next()), account, now).await?;
        }
        tx.commit().await.map_err(db)?;
        Ok(settled)
    }

    async fn events(&self, tenant: TenantId, filter: &EventFilter, page: PageRequest) -> StoreResult<Page<Event>> {
        let mut query =
            QueryBuilder::<Sqlite>::new(concat!("SELECT ", event_columns!(), " FROM events WHERE tenant_id = "));
        query.push_bind(tenant.as_uuid());
        if let Some(provider) = &filter.provider {
            query.push(" AND provider = ").push_bind(provider.as_str());
        }
        if let Some(account) = filter.account {
            query.push(" AND account_id = ").push_bind(account.as_uuid());
        }
        if let Some(post) = filter.post {
            query.push(" AND post_id = ").push_bind(post.as_uuid());
        }
        if let Some(after) = page.after {
            query.push(" AND (recorded_at, id) < (").push_bind(micros(after.at));
            query.push(", ").push_bind(after.id).push(")");
        }
        query
            .push(" ORDER BY recorded_at DESC, id DESC LIMIT ")
            .push_bind(values::page_rows(page));
        let found = query.build().fetch_all(&self.readers).await.map_err(db)?;
        let events = found.iter().map(rows::event).collect::<Result<_, _>>()?;
        Ok(values::page(events, page, |event: &Event| Cursor {
            at: event.recorded_at,
            id: event.id.as_uuid(),
        }))
    }
}

/// Accounts with news of an attempt that no post is known under.
type Strays = BTreeSet<(TenantId, AccountId)>;

impl SqliteStore {
    async fn settle(
        &self,
        connection: &mut Tx,
        end: &WebhookEnd,
        now: DateTime<Utc>,
        strays: &mut Strays,
    ) -> StoreResult<Settled> {
        let WebhookEnd { lease, inbox, verdict } = end;
        match hold(connection, *lease, None, JobKind::Ingest, inbox.as_uuid(), now).await {
            Ok(()) => {}
            Err(StoreError::Stale) => return Ok(Settled::Stale),
            Err(error) => return Err(error),
        }
        let Some(item) = read_inbox(connection, *inbox).await? else {
            return Ok(Settled::Stale);
        };
        let (job_end, settled) = match verdict {
            WebhookVerdict::Read(events) => {
                let mut applied = Vec::with_capacity(events.len());
                for (id, event) in events {
                    applied.push(self.apply(connection, &item, event, *id, now, strays).await?);
                }
                (JobEnd::Done, Settled::Applied(applied))
            }
            WebhookVerdict::Dead(code) => (JobEnd::Dead { code: code.clone() }, Settled::Buried),
        };
        end_claim(connection, *lease, &job_end, now).await?;
        Ok(settled)
    }

    async fn apply(
        &self,
        connection: &mut Tx,
        item: &InboxItem,
        event: &IncomingEvent,
        id: EventId,
        now: DateTime<Utc>,
        strays: &mut Strays,
    ) -> StoreResult<AppliedEvent> {
        let account = find_account(connection, item, event).await?;
        let post = match &account {
            Some(account) => find_post(connection, account, event).await?,
            None => None,
        };
        let occurred_at = event.occurred_at.unwrap_or(item.received_at);
        let tenant = account.as_ref().map_or(item.webhook.tenant, |account| account.tenant);
        let stored = sqlx::query(
            "INSERT INTO events
                 (id, tenant_id, provider, client_id, name, dedupe_key, account_id, post_id, occurred_at, recorded_at,
                  payload, remote_ref)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
             ON CONFLICT (provider, client_id, dedupe_key) WHERE client_id IS NOT NULL DO NOTHING",
        )
        .bind(id.as_uuid())
        .bind(tenant.as_uuid())
        .bind(item.webhook.provider.as_str())
        .bind(&item.webhook.client_id)
        .bind(values::text(&event.name))
        .bind(values::text(&event.dedupe_key))
        .bind(account.as_ref().map(|account| account.id.as_uuid()))
        .bind(post.map(PostId::as_uuid))
        .bind(micros(occurred_at))
        .bind(micros(now))
        .bind(values::json(&event.payload)?)
        .bind(event.remote_ref.as_deref().map(values::text))
        .execute(&mut **connection)
        .await
        .map_err(db)?;
        let is_new = stored.rows_affected() > 0;
        if is_new {
            let pushed = Pushed {
                id,
                tenant,
                name: &event.name,
                is_own: false,
            };
            push_events(self, connection, &[pushed], now).await?;
        }
        if is_new && let Some(account) = &account {
            self.take_effect(connection, account, post, &event.kind, occurred_at, now)
                .await?;
            if values::is_stray(event, post) {
                strays.insert((account.tenant, account.id));
            }
        }
        Ok(AppliedEvent {
            name: event.name.clone(),
            kind: event.kind.clone(),
            is_new,
            account: account.map(|account| account.id),
            post,
        })
    }

    async fn take_effect(
        &self,
        connection: &mut Tx,
        account: &Account,
        post: Option<PostId>,
        kind: &EventKind,
        occurred_at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> StoreResult<()> {
        match (kind, post) {
            (EventKind::PostProgress | EventKind::PostVisible { .. }, Some(post)) => {
                let job = JobId::from_uuid(self.ids.next());
                wake_post(connection, job, account.tenant, post, now).await?;
                if let EventKind::PostVisible { remote_ids } = kind
                    && let Some(post) = post_effects::read(connection, account.tenant, post).await?
                {
                    add_remote_ids(connection, post, remote_ids, now).await?;
                }
            }
            (EventKind::AuthorizationRemoved { reason }, _) if occurred_at >= account.connected_at => {
                revoke(connection, account, reason, now).await?;
            }
            // News of an unknown post, an end of an older grant, and what Patchbay does not act on.
            _ => {}
        }
        Ok(())
    }
}

/// Stores an event of Patchbay's own, for whoever wants it pushed too, unless its key was used before.
pub(super) async fn add_own_event(
    store: &SqliteStore,
    connection: &mut Tx,
    tenant: TenantId,
    provider: &ProviderId,
    event: &NewEvent,
    now: DateTime<Utc>,
) -> StoreResult<()> {
    if insert_own_event(connection, tenant, provider, event, now).await? {
        let pushed = Pushed {
            id: event.id,
            tenant,
            name: &event.name,
            is_own: true,
        };
        push_events(store, connection, &[pushed], now).await?;
    }
    Ok(())
}

/// `false`: its key was used before.
pub(super) async fn insert_own_event(
    connection: &mut SqliteConnection,
    tenant: TenantId,
    provider: &ProviderId,
    event: &NewEvent,
    now: DateTime<Utc>,
) -> StoreResult<bool> {
    let stored = sqlx::query(
        "INSERT INTO events
             (id, tenant_id, provider, name, dedupe_key, account_id, post_id, occurred_at, recorded_at, payload)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8, $9)
         ON CONFLICT (tenant_id, provider, dedupe_key) WHERE client_id IS NULL DO NOTHING",
    )
    .bind(event.id.as_uuid())
    .bind(tenant.as_uuid())
    .bind(provider.as_str())
    .bind(&event.name)
    .bind(values::text(&event.dedupe_key))
    .bind(event.account.map(patchbay_core::AccountId::as_uuid))
    .bind(event.post.map(PostId::as_uuid))
    .bind(micros(now))
    .bind(values::json(&event.payload)?)
    .execute(connection)
    .await
    .map_err(db)?;
    Ok(stored.rows_affected() > 0)
}

/// The account that an event speaks of, inside the app that signed it. A connected one comes before a revoked one.
async fn find_account(
    connection: &mut SqliteConnection,
    item: &InboxItem,
    event: &IncomingEvent,
) -> StoreResult<Option<Account>> {
    let Some(remote_id) = &event.remote_account else {
        return Ok(None);
    };
    let row = sqlx::query(concat!(
        "SELECT ",
        account_columns!(),
        " FROM accounts
         WHERE provider = $1 AND client_id = $2 AND remote_id = $3
         ORDER BY CASE WHEN status = 'revoked' THEN 1 ELSE 0 END, connected_at DESC, id DESC
         LIMIT 1"
    ))
    .bind(item.webhook.provider.as_str())
    .bind(&item.webhook.client_id)
    .bind(values::text(remote_id))
    .fetch_optional(connection)
    .await
    .map_err(db)?;
    row.as_ref().map(rows::account).transpose()
}

/// The account's post that an event speaks of.
async fn find_post(
    connection: &mut SqliteConnection,
    account: &Account,
    event: &IncomingEvent,
) -> StoreResult<Option<PostId>> {
    let row = if let Some(remote_ref) = &event.remote_ref {
        sqlx::query(
            "SELECT id
             FROM posts
             WHERE tenant_id = $1 AND provider = $2 AND remote_ref = $3 AND account_id = $4
             ORDER BY created_at DESC, id DESC
             LIMIT 1",
        )
        .bind(account.tenant.as_uuid())
        .bind(account.provider.as_str())
        .bind(values::text(remote_ref))
        .bind(account.id.as_uuid())
        .fetch_optional(connection)
        .await
        .map_err(db)?
    } else if let EventKind::PostVisible { remote_ids } | EventKind::PostHidden { remote_ids } = &event.kind {
        let remote_ids: Vec<_> = remote_ids.iter().map(|id| values::text(id)).collect();
        sqlx::query(
            "SELECT posts.id
             FROM post_remote_ids AS known
             JOIN posts ON posts.tenant_id = known.tenant_id AND posts.id = known.post_id
             WHERE known.tenant_id = $1 AND known.account_id = $2
                 AND known.remote_id IN (SELECT value FROM json_each($3))
             ORDER BY posts.created_at DESC, posts.id DESC
             LIMIT 1",
        )
        .bind(account.tenant.as_uuid())
        .bind(account.id.as_uuid())
        .bind(list(remote_ids.iter().map(|id| &**id)))
        .fetch_optional(connection)
        .await
        .map_err(db)?
    } else {
        None
    };
    row.map(|row| Ok(PostId::from_uuid(Cells::of(&row, "posts").uuid("id")?)))
        .transpose()
}

/// The grant has ended at the platform: nothing is left to revoke or to renew.
async fn revoke(
    connection: &mut SqliteConnection,
    account: &Account,
    reason: &str,
    now: DateTime<Utc>,
) -> StoreResult<()> {
    if account.status != AccountStatus::Revoked {
        sqlx::query(
            "UPDATE accounts
             SET status = 'revoked', status_code = $3, updated_at = $4
             WHERE tenant_id = $1 AND id = $2",
        )
        .bind(account.tenant.as_uuid())
        .bind(account.id.as_uuid())
        .bind(values::text(reason))
        .bind(micros(now))
        .execute(&mut *connection)
        .await
        .map_err(db)?;
    }
    erase(connection, account.tenant, account.id, now).await?;
    finish_job(connection, JobKind::Refresh, account.id.as_uuid(), now).await
}

async fn read_inbox(connection: &mut SqliteConnection, id: InboxId) -> StoreResult<Option<InboxItem>> {
    let id: Uuid = id.as_uuid();
    let row = sqlx::query(
        "SELECT id, tenant_id, provider, client_id, scheme, digest, body, received_at, correlation_id
         FROM inbox
         WHERE id = $1",
    )
    .bind(id)
    .fetch_optional(connection)
    .await
    .map_err(db)?;
    row.as_ref().map(rows::inbox).transpose()
}
