//! Webhooks and events.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use patchbay_app::{
    model::{
        Account, AccountStatus, AppliedEvent, Event, InboxItem, JobKind, NewEvent, NewWebhook, Settled, WebhookEnd,
        WebhookVerdict,
    },
    store::{Cursor, EventFilter, Events, Page, PageRequest, StoreError, StoreResult, StoredInbox},
};
use patchbay_core::{EventId, EventKind, InboxId, IncomingEvent, JobId, PostId, ProviderId, TenantId};
use sqlx::{PgConnection, Postgres, QueryBuilder, postgres::PgRow};
use uuid::Uuid;

use super::{
    PostgresStore, Tx,
    accounts::erase,
    close,
    inbox::insert_inbox,
    jobs::{end_claims, finish_job},
    outbox::{Pushed, push_events},
    post_effects::{self, add_remote_ids, wake_posts},
    questions::wake_open_calls,
};
use crate::{
    error::{db, is_deadlock},
    rows::{self, Cells, account_columns, event_columns},
    values,
};

/// How often a transaction is tried again after the server ended it to resolve a deadlock.
pub(super) const DEADLOCK_TRIES: usize = 3;

#[async_trait]
impl Events for PostgresStore {
    async fn store_inbox(&self, webhooks: &[NewWebhook]) -> StoreResult<Vec<StoredInbox>> {
        // Two commits at once that hold the same webhooks take them in the same order, and so never wait for each other.
        let mut order: Vec<&NewWebhook> = webhooks.iter().collect();
        order.sort_by_key(|webhook| webhook.digest);
        let stored = loop {
            let (mut connection, is_new) = self.inbox.take().await?;
            match insert_inbox(&mut connection, &order, self.test_time()).await {
                Ok(stored) => {
                    self.inbox.keep(connection);
                    break stored;
                }
                // What the broken connection may have committed is found by its digest.
                Err(StoreError::Unavailable(_)) if !is_new => {}
                Err(error) => return Err(error),
            }
        };
        self.wakes.wake(JobKind::Ingest);
        Ok(webhooks
            .iter()
            .map(|webhook| {
                if stored.contains(&webhook.id.as_uuid()) {
                    StoredInbox::New
                } else {
                    StoredInbox::Duplicate
                }
            })
            .collect())
    }

    async fn inbox(&self, ids: &[InboxId]) -> StoreResult<Vec<InboxItem>> {
        let rows = sqlx::query(
            "SELECT id, tenant_id, provider, client_id, scheme, digest, body, received_at, correlation_id
             FROM inbox
             WHERE id = ANY($1)",
        )
        .bind(ids.iter().map(|id| id.as_uuid()).collect::<Vec<_>>())
        .fetch_all(&self.pool)
        .await
        .map_err(db)?;
        rows.iter().map(rows::inbox).collect()
    }

    async fn settle_webhooks(&self, ends: &[WebhookEnd]) -> StoreResult<Vec<Settled>> {
        // Two transactions that speak of the same posts in another order may wait for each other.
        for _ in 0..DEADLOCK_TRIES {
            match self.settle_once(ends).await {
                Err(error) if is_deadlock(&error) => {}
                end => return end,
            }
        }
        self.settle_once(ends).await
    }

    async fn events(&self, tenant: TenantId, filter: &EventFilter, page: PageRequest) -> StoreResult<Page<Event>> {
        let mut query =
            QueryBuilder::<Postgres>::new(concat!("SELECT ", event_columns!(), " FROM events WHERE tenant_id = "));
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
            query.push(" AND (recorded_at, id) < (").push_bind(after.at);
            query.push(", ").push_bind(after.id).push(")");
        }
        query
            .push(" ORDER BY recorded_at DESC, id DESC LIMIT ")
            .push_bind(values::page_rows(page));
        let found = query.build().fetch_all(&self.pool).await.map_err(db)?;
        let events = found.iter().map(rows::event).collect::<Result<_, _>>()?;
        Ok(values::page(events, page, |event: &Event| Cursor {
            at: event.recorded_at,
            id: event.id.as_uuid(),
        }))
    }
}

/// One event on its way into the database.
struct Incoming<'a> {
    /// Place of its webhook among those to be settled.
    end: usize,
    item: &'a Origin,
    id: EventId,
    event: &'a IncomingEvent,
}

/// Where a webhook came from.
struct Origin {
    tenant: TenantId,
    provider: String,
    client_id: String,
    received_at: DateTime<Utc>,
}

/// A platform's account: provider, app, platform id.
type RemoteAccount<'a> = (&'a str, &'a str, &'a str);

impl PostgresStore {
    async fn settle_once(&self, ends: &[WebhookEnd]) -> StoreResult<Vec<Settled>> {
        let mut tx = self.begin().await?;
        let end = async {
            let (held, now) = self.hold_webhooks(&mut tx, ends).await?;
            let ids: Vec<_> = held.iter().map(|&end| ends[end].inbox.as_uuid()).collect();
            let origins = read_origins(&mut tx, &ids).await?;
            let mut settled = vec![Settled::Stale; ends.len()];
            let mut closing = Vec::with_capacity(held.len());
            let mut incoming = Vec::new();
            for end in held {
                let WebhookEnd { lease, inbox, verdict } = &ends[end];
                let Some(item) = origins.get(&inbox.as_uuid()) else {
                    continue;
                };
                match verdict {
                    WebhookVerdict::Read(events) => {
                        settled[end] = Settled::Applied(Vec::with_capacity(events.len()));
                        closing.push((*lease, None));
                        incoming.extend(events.iter().map(|(id, event)| Incoming {
                            end,
                            item,
                            id: *id,
                            event,
                        }));
                    }
                    WebhookVerdict::Dead(code) => {
                        settled[end] = Settled::Buried;
                        closing.push((*lease, Some(code.as_str())));
                    }
                }
            }
            // An event that finds its post by what an event before it has told waits for that one.
            for part in incoming.chunk_by(|_, next| !by_remote_ids(next.event)) {
                for (incoming, applied) in part.iter().zip(self.apply(&mut tx, part, now).await?) {
                    if let Settled::Applied(events) = &mut settled[incoming.end] {
                        events.push(applied);
                    }
                }
            }
            end_claims(&mut tx, &closing, now).await?;
            Ok(settled)
        }
        .await;
        close(tx, end).await
    }

    /// Which of these claims are live. They stay so until the transaction ends.
    async fn hold_webhooks(
        &self,
        connection: &mut PgConnection,
        ends: &[WebhookEnd],
    ) -> StoreResult<(Vec<usize>, DateTime<Utc>)> {
        let rows = sqlx::query(
            "SELECT id, fence, target, due_at
             FROM jobs
             WHERE id = ANY($1) AND status = 'running' AND kind = 'ingest'
             ORDER BY id
             FOR NO KEY UPDATE",
        )
        .bind(ends.iter().map(|end| end.lease.job.as_uuid()).collect::<Vec<_>>())
        .fetch_all(&mut *connection)
        .await
        .map_err(db)?;
        let now = self.time(connection).await?;
        let mut live = HashMap::new();
        for row in &rows {
            let cells = Cells::of(row, "jobs");
            if cells.time("due_at")? > now {
                live.insert(rows::lease(row)?, cells.uuid("target")?);
            }
        }
        let held = (0..ends.len())
            .filter(|&end| live.remove(&ends[end].lease) == Some(ends[end].inbox.as_uuid()))
            .collect();
        Ok((held, now))
    }

    /// Stores events, and lets the new ones take effect. Each round trip serves all of them.
    async fn apply(
        &self,
        connection: &mut Tx,
        incoming: &[Incoming<'_>],
        now: DateTime<Utc>,
    ) -> StoreResult<Vec<AppliedEvent>> {
        let accounts = find_accounts(connection, incoming).await?;
        let accounts: Vec<Option<&Account>> = (incoming.iter())
            .map(|incoming| accounts.get(&remote_account(incoming)?))
            .collect();
        let mut posts = find_posts(connection, incoming, &accounts).await?;
        for (place, incoming) in incoming.iter().enumerate().filter(|(_, i)| by_remote_ids(i.event)) {
            if let Some(account) = accounts[place]
                && let Some(post) = find_post_by_remote_ids(connection, account, &incoming.event.kind).await?
            {
                posts.insert(place, post);
            }
        }
        let new = insert_events(connection, incoming, &accounts, &posts, now).await?;
        let is_new = |incoming: &Incoming<'_>| new.contains(&incoming.id.as_uuid());
        let pushed = incoming.iter().zip(&accounts).filter(|(incoming, _)| is_new(incoming));
        let pushed = pushed.map(|(incoming, account)| Pushed {
            id: incoming.id,
            tenant: account.map_or(incoming.item.tenant, |account| account.tenant),
            name: &incoming.event.name,
            is_own: false,
        });
        push_events(self, connection, &pushed.collect::<Vec<_>>(), now).await?;
        let woken = incoming.iter().enumerate().filter_map(|(place, incoming)| {
            let brings_news = matches!(
                incoming.event.kind,
                EventKind::PostProgress | EventKind::PostVisible { .. }
            );
            let (account, post) = (accounts[place]?, posts.get(&place)?);
            (brings_news && is_new(incoming)).then_some((*post, account.tenant))
        });
        let woken: BTreeMap<_, _> = woken.collect();
        let woken = woken
            .into_iter()
            .map(|(post, tenant)| (JobId::from_uuid(self.ids.next()), tenant, post));
        wake_posts(connection, &woken.collect::<Vec<_>>(), now).await?;
        let mut applied = Vec::with_capacity(incoming.len());
        let mut strays = BTreeSet::new();
        for (place, incoming) in incoming.iter().enumerate() {
            let Incoming { item, event, .. } = *incoming;
            let account = accounts[place];
            let post = posts.get(&place).copied();
            if is_new(incoming)
                && let Some(account) = account
            {
                let occurred_at = event.occurred_at.unwrap_or(item.received_at);
                take_effect(connection, account, post, &event.kind, occurred_at, now).await?;
                if values::is_stray(event, post) {
                    strays.insert((account.tenant, account.id));
                }
            }
            applied.push(AppliedEvent {
                name: event.name.clone(),
                kind: event.kind.clone(),
                is_new: is_new(incoming),
                account: account.map(|account| account.id),
                post,
            });
        }
        for account in strays {
            wake_open_calls(connection, JobId::from_uuid(self.ids.next()), account, now).await?;
        }
        Ok(applied)
    }
}

/// What a new event does, besides waking its post.
async fn take_effect(
    connection: &mut Tx,
    account: &Account,
    post: Option<PostId>,
    kind: &EventKind,
    occurred_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> StoreResult<()> {
    match (kind, post) {
        (EventKind::PostVisible { remote_ids }, Some(post)) => {
            if let Some(post) = post_effects::lock(connection, account.tenant, post).await? {
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

/// Stores an event of Patchbay's own, for whoever wants it pushed too, unless its key was used before.
pub(super) async fn add_own_event(
    store: &PostgresStore,
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
    connection: &mut PgConnection,
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
    .bind(now)
    .bind(values::json(&event.payload)?)
    .execute(connection)
    .await
    .map_err(db)?;
    Ok(stored.rows_affected() > 0)
}

/// Whether the post is to be found by what became visible.
fn by_remote_ids(event: &IncomingEvent) -> bool {
    event.remote_ref.is_none() && matches!(event.kind, EventKind::PostVisible { .. } | EventKind::PostHidden { .. })
}

fn remote_account<'a>(incoming: &Incoming<'a>) -> Option<RemoteAccount<'a>> {
    let remote_id = incoming.event.remote_account.as_deref()?;
    Some((&incoming.item.provider, &incoming.item.client_id, remote_id))
}

/// The accounts that events speak of, inside the app that signed them. A connected one comes before a revoked one.
async fn find_accounts<'a>(
    connection: &mut PgConnection,
    incoming: &[Incoming<'a>],
) -> StoreResult<HashMap<RemoteAccount<'a>, Account>> {
    let wanted: Vec<RemoteAccount<'a>> = incoming
        .iter()
        .filter_map(remote_account)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    if wanted.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = sqlx::query(concat!(
        "SELECT wanted.place, found.*
         FROM UNNEST($1::text[], $2::text[], $3::text[]) WITH ORDINALITY
             AS wanted (provider, client_id, remote_id, place)
         CROSS JOIN LATERAL (
             SELECT ",
        account_columns!(),
        " FROM accounts
             WHERE accounts.provider = wanted.provider AND accounts.client_id = wanted.client_id
                 AND accounts.remote_id = wanted.remote_id
             ORDER BY CASE WHEN status = 'revoked' THEN 1 ELSE 0 END, connected_at DESC, id DESC
             LIMIT 1) AS found"
    ))
    .bind(wanted.iter().map(|(provider, ..)| *provider).collect::<Vec<_>>())
    .bind(wanted.iter().map(|(_, client_id, _)| *client_id).collect::<Vec<_>>())
    .bind(wanted.iter().map(|(.., id)| values::text(id)).collect::<Vec<_>>())
    .fetch_all(connection)
    .await
    .map_err(db)?;
    rows.iter()
        .map(|row| Ok((wanted[place(row)?], rows::account(row)?)))
        .collect()
}

/// The accounts' posts that events speak of by the platform's id of the attempt, by the events' places.
async fn find_posts(
    connection: &mut PgConnection,
    incoming: &[Incoming<'_>],
    accounts: &[Option<&Account>],
) -> StoreResult<HashMap<usize, PostId>> {
    let wanted: Vec<_> = incoming
        .iter()
        .enumerate()
        .filter_map(|(place, incoming)| Some((place, accounts[place]?, incoming.event.remote_ref.as_deref()?)))
        .collect();
    if wanted.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = sqlx::query(
        "SELECT wanted.place, found.id
         FROM UNNEST($1::uuid[], $2::text[], $3::text[], $4::uuid[]) WITH ORDINALITY
             AS wanted (tenant_id, provider, remote_ref, account_id, place)
         CROSS JOIN LATERAL (
             SELECT id
             FROM posts
             WHERE posts.tenant_id = wanted.tenant_id AND posts.provider = wanted.provider
                 AND posts.remote_ref = wanted.remote_ref AND posts.account_id = wanted.account_id
             ORDER BY created_at DESC, id DESC
             LIMIT 1) AS found",
    )
    .bind(
        wanted
            .iter()
            .map(|(_, account, _)| account.tenant.as_uuid())
            .collect::<Vec<_>>(),
    )
    .bind(
        wanted
            .iter()
            .map(|(_, account, _)| account.provider.as_str())
            .collect::<Vec<_>>(),
    )
    .bind(
        wanted
            .iter()
            .map(|(.., reference)| values::text(reference))
            .collect::<Vec<_>>(),
    )
    .bind(
        wanted
            .iter()
            .map(|(_, account, _)| account.id.as_uuid())
            .collect::<Vec<_>>(),
    )
    .fetch_all(connection)
    .await
    .map_err(db)?;
    rows.iter()
        .map(|row| {
            let post = PostId::from_uuid(Cells::of(row, "posts").uuid("id")?);
            Ok((wanted[place(row)?].0, post))
        })
        .collect()
}

/// `WITH ORDINALITY` counts from one.
fn place(row: &PgRow) -> StoreResult<usize> {
    let place: usize = Cells::of(row, "wanted").number("place")?;
    Ok(place - 1)
}

/// The account's post that something visible belongs to.
async fn find_post_by_remote_ids(
    connection: &mut PgConnection,
    account: &Account,
    kind: &EventKind,
) -> StoreResult<Option<PostId>> {
    let (EventKind::PostVisible { remote_ids } | EventKind::PostHidden { remote_ids }) = kind else {
        return Ok(None);
    };
    let remote_ids: Vec<_> = remote_ids.iter().map(|id| values::text(id)).collect();
    let row = sqlx::query(
        "SELECT posts.id
         FROM post_remote_ids AS known
         JOIN posts ON posts.tenant_id = known.tenant_id AND posts.id = known.post_id
         WHERE known.tenant_id = $1 AND known.account_id = $2
             AND known.remote_id = ANY($3)
         ORDER BY posts.created_at DESC, posts.id DESC
         LIMIT 1",
    )
    .bind(account.tenant.as_uuid())
    .bind(account.id.as_uuid())
    .bind(remote_ids)
    .fetch_optional(connection)
    .await
    .map_err(db)?;
    row.map(|row| Ok(PostId::from_uuid(Cells::of(&row, "posts").uuid("id")?)))
        .transpose()
}

/// Stores events whose keys are new, and returns the ids of those.
async fn insert_events(
    connection: &mut PgConnection,
    incoming: &[Incoming<'_>],
    accounts: &[Option<&Account>],
    posts: &HashMap<usize, PostId>,
    now: DateTime<Utc>,
) -> StoreResult<HashSet<Uuid>> {
    // In one order everywhere, so that two transactions with the same events never wait for each other. Of those with
    // one key the first to come is stored.
    let mut order: Vec<usize> = (0..incoming.len()).collect();
    order.sort_by_key(|&place| {
        let Incoming { item, event, .. } = &incoming[place];
        (&item.provider, &item.client_id, &event.dedupe_key)
    });
    let payloads = order
        .iter()
        .map(|&place| values::json(&incoming[place].event.payload))
        .collect::<StoreResult<Vec<_>>>()?;
    let sorted = || order.iter().map(|&place| &incoming[place]);
    let stored: Vec<Uuid> = sqlx::query_scalar(
        "INSERT INTO events
             (id, tenant_id, provider, client_id, name, dedupe_key, account_id, post_id, occurred_at, recorded_at,
              payload, remote_ref)
         SELECT id, tenant_id, provider, client_id, name, dedupe_key, account_id, post_id, occurred_at, $10, payload,
             remote_ref
         FROM UNNEST($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::uuid[], $8::uuid[],
             $9::timestamptz[], $11::jsonb[], $12::text[])
             AS sent (id, tenant_id, provider, client_id, name, dedupe_key, account_id, post_id, occurred_at, payload,
                 remote_ref)
         ON CONFLICT (provider, client_id, dedupe_key) WHERE client_id IS NOT NULL DO NOTHING
         RETURNING id",
    )
    .bind(sorted().map(|i| i.id.as_uuid()).collect::<Vec<_>>())
    .bind(
        order
            .iter()
            .map(|&place| {
                accounts[place]
                    .map_or(incoming[place].item.tenant, |account| account.tenant)
                    .as_uuid()
            })
            .collect::<Vec<_>>(),
    )
    .bind(sorted().map(|i| i.item.provider.as_str()).collect::<Vec<_>>())
    .bind(sorted().map(|i| i.item.client_id.as_str()).collect::<Vec<_>>())
    .bind(sorted().map(|i| values::text(&i.event.name)).collect::<Vec<_>>())
    .bind(sorted().map(|i| values::text(&i.event.dedupe_key)).collect::<Vec<_>>())
    .bind(
        order
            .iter()
            .map(|&place| accounts[place].map(|account| account.id.as_uuid()))
            .collect::<Vec<_>>(),
    )
    .bind(
        order
            .iter()
            .map(|place| posts.get(place).map(|post| post.as_uuid()))
            .collect::<Vec<_>>(),
    )
    .bind(
        sorted()
            .map(|i| i.event.occurred_at.unwrap_or(i.item.received_at))
            .collect::<Vec<_>>(),
    )
    .bind(now)
    .bind(payloads)
    .bind(
        sorted()
            .map(|i| i.event.remote_ref.as_deref().map(values::text))
            .collect::<Vec<_>>(),
    )
    .fetch_all(connection)
    .await
    .map_err(db)?;
    Ok(stored.into_iter().collect())
}

/// The grant has ended at the platform: nothing is left to revoke or to renew.
async fn revoke(connection: &mut PgConnection, account: &Account, reason: &str, now: DateTime<Utc>) -> StoreResult<()> {
    if account.status != AccountStatus::Revoked {
        sqlx::query(
            "UPDATE accounts
             SET status = 'revoked', status_code = $3, updated_at = $4
             WHERE tenant_id = $1 AND id = $2",
        )
        .bind(account.tenant.as_uuid())
        .bind(account.id.as_uuid())
        .bind(values::text(reason))
        .bind(now)
        .execute(&mut *connection)
        .await
        .map_err(db)?;
    }
    erase(connection, account.tenant, account.id, now).await?;
    finish_job(connection, JobKind::Refresh, account.id.as_uuid(), now).await
}

async fn read_origins(connection: &mut PgConnection, ids: &[Uuid]) -> StoreResult<HashMap<Uuid, Origin>> {
    let rows = sqlx::query("SELECT id, tenant_id, provider, client_id, received_at FROM inbox WHERE id = ANY($1)")
        .bind(ids)
        .fetch_all(connection)
        .await
        .map_err(db)?;
    rows.iter()
        .map(|row| {
            let cells = Cells::of(row, "inbox");
            let origin = Origin {
                tenant: TenantId::from_uuid(cells.uuid("tenant_id")?),
                provider: cells.text("provider")?,
                client_id: cells.text("client_id")?,
                received_at: cells.time("received_at")?,
            };
            Ok((cells.uuid("id")?, origin))
        })
        .collect()
}
