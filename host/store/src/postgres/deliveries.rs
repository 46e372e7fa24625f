//! Events on their way to endpoints.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use patchbay_app::{
    model::{Delivery, DeliveryEnd, DeliveryStatus, JobKind, Lease, NewAudit, NewEvent, NextDelivery, Outgoing},
    store::{Cursor, Deliveries, DeliveryFilter, Page, PageRequest, StoreError, StoreResult},
};
use patchbay_core::{DeliveryId, EndpointId, EventId, JobId, ProviderId, TenantId};
use sqlx::{PgConnection, Postgres, QueryBuilder};
use uuid::Uuid;

use super::{
    PostgresStore, Tx,
    audits::append,
    close,
    events::{add_own_event, insert_own_event},
    jobs::{end_claim, hold, move_job},
    outbox::{Pushed, add_deliveries},
};
use crate::{
    error::db,
    rows::{self, Cells, delivery_columns, endpoint_columns, event_columns},
    values,
};

#[async_trait]
impl Deliveries for PostgresStore {
    async fn deliveries(
        &self,
        tenant: TenantId,
        endpoint: EndpointId,
        filter: DeliveryFilter,
        page: PageRequest,
    ) -> StoreResult<Page<Delivery>> {
        let mut query = QueryBuilder::<Postgres>::new(concat!("SELECT ", delivery_columns!(), " FROM deliveries"));
        push_filter(&mut query, tenant, endpoint, filter);
        if let Some(after) = page.after {
            query.push(" AND (created_at, id) < (").push_bind(after.at);
            query.push(", ").push_bind(after.id).push(")");
        }
        query
            .push(" ORDER BY created_at DESC, id DESC LIMIT ")
            .push_bind(values::page_rows(page));
        let found = query.build().fetch_all(&self.pool).await.map_err(db)?;
        let deliveries = found.iter().map(rows::delivery).collect::<Result<_, _>>()?;
        Ok(values::page(deliveries, page, |delivery: &Delivery| Cursor {
            at: delivery.created_at,
            id: delivery.id.as_uuid(),
        }))
    }

    async fn outgoing(&self, tenant: TenantId, id: DeliveryId) -> StoreResult<Option<Outgoing>> {
        let mut connection = self.pool.acquire().await.map_err(db)?;
        let Some(delivery) = read(&mut connection, tenant, id).await? else {
            return Ok(None);
        };
        let endpoint = sqlx::query(concat!(
            "SELECT ",
            endpoint_columns!(),
            " FROM webhook_endpoints WHERE tenant_id = $1 AND id = $2"
        ))
        .bind(tenant.as_uuid())
        .bind(delivery.endpoint.as_uuid())
        .fetch_optional(&mut *connection)
        .await
        .map_err(db)?;
        let event = sqlx::query(concat!("SELECT ", event_columns!(), " FROM events WHERE id = $1"))
            .bind(delivery.event.as_uuid())
            .fetch_optional(&mut *connection)
            .await
            .map_err(db)?;
        let (Some(endpoint), Some(event)) = (endpoint, event) else {
            return Ok(None);
        };
        Ok(Some(Outgoing {
            delivery,
            endpoint: rows::endpoint(&endpoint)?,
            event: rows::event(&event)?,
        }))
    }

    async fn end_delivery(&self, lease: Lease, tenant: TenantId, id: DeliveryId, end: &DeliveryEnd) -> StoreResult<()> {
        let mut tx = self.begin().await?;
        let done = async {
            let now = hold(self, &mut tx, lease, Some(tenant), JobKind::Deliver, id.as_uuid()).await?;
            note_endpoint(self, &mut tx, tenant, id, end, now).await?;
            note_attempt(&mut tx, tenant, id, end, now).await?;
            if end_claim(&mut tx, lease, &values::delivery_job_end(end), Some(now)).await? {
                Ok(())
            } else {
                Err(StoreError::Stale)
            }
        }
        .await;
        close(tx, done).await
    }

    async fn redeliver(
        &self,
        tenant: TenantId,
        endpoint: EndpointId,
        id: DeliveryId,
        audit: &NewAudit,
    ) -> StoreResult<Option<Delivery>> {
        let mut tx = self.begin().await?;
        let end = async {
            let known = read(&mut tx, tenant, id).await?;
            if known.is_none_or(|delivery| delivery.endpoint != endpoint) {
                return Ok(None);
            }
            self.send_again(&mut tx, tenant, endpoint, &[id.as_uuid()]).await?;
            append(self, &mut tx, audit).await?;
            read(&mut tx, tenant, id).await
        }
        .await;
        close(tx, end).await
    }

    async fn redeliver_window(
        &self,
        tenant: TenantId,
        endpoint: EndpointId,
        filter: DeliveryFilter,
        limit: u32,
        audit: &NewAudit,
    ) -> StoreResult<u64> {
        let mut ids: Vec<Uuid> = Vec::new();
        for status in values::redelivered(filter.status) {
            let left = usize::try_from(limit).unwrap_or(usize::MAX) - ids.len();
            let filter = DeliveryFilter {
                status: Some(status),
                ..filter
            };
            let mut query = QueryBuilder::<Postgres>::new("SELECT id FROM deliveries");
            push_filter(&mut query, tenant, endpoint, filter);
            query
                .push(" ORDER BY created_at, id LIMIT ")
                .push_bind(i64::try_from(left).unwrap_or(i64::MAX));
            let found: Vec<Uuid> = query.build_query_scalar().fetch_all(&self.pool).await.map_err(db)?;
            ids.extend(found);
        }
        let mut tx = self.begin().await?;
        let end = async {
            self.send_again(&mut tx, tenant, endpoint, &ids).await?;
            if !ids.is_empty() {
                append(self, &mut tx, audit).await?;
            }
            Ok(())
        }
        .await;
        close(tx, end).await?;
        Ok(ids.len() as u64)
    }

    async fn push_to(&self, tenant: TenantId, endpoint: EndpointId, event: &NewEvent) -> StoreResult<Option<Delivery>> {
        let mut tx = self.begin().await?;
        let end = async {
            let row = sqlx::query(
                "SELECT tenant_id, id, events, status
                 FROM webhook_endpoints
                 WHERE tenant_id = $1 AND id = $2
                 FOR KEY SHARE",
            )
            .bind(tenant.as_uuid())
            .bind(endpoint.as_uuid())
            .fetch_optional(&mut *tx)
            .await
            .map_err(db)?;
            let Some(row) = row else {
                return Ok(None);
            };
            let taker = rows::taker(&row)?;
            let now = self.time(&mut tx).await?;
            insert_own_event(&mut tx, tenant, &ProviderId::patchbay(), event, now).await?;
            let pushed = Pushed {
                id: event.id,
                tenant,
                name: &event.name,
                is_own: true,
            };
            match add_deliveries(self, &mut tx, &[(&pushed, &taker)], now).await?.first() {
                Some(id) => read(&mut tx, tenant, *id).await,
                None => Ok(None),
            }
        }
        .await;
        close(tx, end).await
    }

    async fn purge_deliveries(
        &self,
        delivered: DateTime<Utc>,
        undelivered: DateTime<Utc>,
        limit: u32,
    ) -> StoreResult<u64> {
        let mut gone = 0;
        for (status, before) in values::purged_deliveries(delivered, undelivered) {
            let done = sqlx::query(
                "DELETE FROM deliveries
                 WHERE (tenant_id, id) IN (
                     SELECT tenant_id, id
                     FROM deliveries
                     WHERE finished_at IS NOT NULL AND status = $1 AND finished_at < $2
                     ORDER BY finished_at
                     LIMIT $3
                     FOR UPDATE SKIP LOCKED)",
            )
            .bind(status.as_str())
            .bind(before)
            .bind(i64::from(limit))
            .execute(&self.pool)
            .await
            .map_err(db)?;
            gone += done.rows_affected();
        }
        Ok(gone)
    }
}

impl PostgresStore {
    /// Makes deliveries pending, each with a job that is due.
    async fn send_again(
        &self,
        connection: &mut Tx,
        tenant: TenantId,
        endpoint: EndpointId,
        ids: &[Uuid],
    ) -> StoreResult<()> {
        if ids.is_empty() {
            return Ok(());
        }
        let now = self.time(connection).await?;
        // Jobs first, as whoever ends a delivery does, and in one order.
        let mut ids = ids.to_vec();
        ids.sort();
        for id in &ids {
            let job = JobId::from_uuid(self.ids.next());
            let job = values::delivery_job(job, tenant, endpoint, DeliveryId::from_uuid(*id));
            move_job(connection, &job, *id, now, now).await?;
        }
        sqlx::query(
            "UPDATE deliveries
             SET status = 'pending', finished_at = NULL
             WHERE tenant_id = $1 AND id = ANY($2)",
        )
        .bind(tenant.as_uuid())
        .bind(ids)
        .execute(&mut **connection)
        .await
        .map_err(db)?;
        Ok(())
    }
}

fn push_filter(query: &mut QueryBuilder<Postgres>, tenant: TenantId, endpoint: EndpointId, filter: DeliveryFilter) {
    query.push(" WHERE tenant_id = ").push_bind(tenant.as_uuid());
    query.push(" AND endpoint_id = ").push_bind(endpoint.as_uuid());
    if let Some(status) = filter.status {
        query.push(" AND status = ").push_bind(status.as_str());
    }
    if let Some(from) = filter.from {
        query.push(" AND created_at >= ").push_bind(from);
    }
    if let Some(to) = filter.to {
        query.push(" AND created_at < ").push_bind(to);
    }
}

async fn read(connection: &mut PgConnection, tenant: TenantId, id: DeliveryId) -> StoreResult<Option<Delivery>> {
    let row = sqlx::query(concat!(
        "SELECT ",
        delivery_columns!(),
        " FROM deliveries WHERE tenant_id = $1 AND id = $2"
    ))
    .bind(tenant.as_uuid())
    .bind(id.as_uuid())
    .fetch_optional(connection)
    .await
    .map_err(db)?;
    row.as_ref().map(rows::delivery).transpose()
}

/// What an attempt says about the endpoint. One that is turned off by it is told of.
async fn note_endpoint(
    store: &PostgresStore,
    connection: &mut Tx,
    tenant: TenantId,
    id: DeliveryId,
    end: &DeliveryEnd,
    now: DateTime<Utc>,
) -> StoreResult<()> {
    if end.next == NextDelivery::Delivered {
        sqlx::query(
            "UPDATE webhook_endpoints
             SET failing_since = NULL
             WHERE tenant_id = $1
                 AND id = (SELECT endpoint_id FROM deliveries WHERE tenant_id = $1 AND id = $2)
                 AND failing_since IS NOT NULL AND updated_at = $3",
        )
        .bind(tenant.as_uuid())
        .bind(id.as_uuid())
        .bind(end.seen)
        .execute(&mut **connection)
        .await
        .map_err(db)?;
    } else if end.attempt.is_some() {
        let noted = sqlx::query(
            "UPDATE webhook_endpoints
             SET failing_since = CASE WHEN $3::text IS NULL THEN COALESCE(failing_since, $4) END,
                 status = CASE WHEN $3::text IS NULL THEN status ELSE 'disabled' END,
                 disabled_code = $3::text,
                 disabled_at = CASE WHEN $3::text IS NOT NULL THEN $4 END
             WHERE tenant_id = $1
                 AND id = (SELECT endpoint_id FROM deliveries WHERE tenant_id = $1 AND id = $2)
                 AND status = 'enabled' AND (failing_since IS NULL OR $3::text IS NOT NULL)
                 AND updated_at = $5
             RETURNING id",
        )
        .bind(tenant.as_uuid())
        .bind(id.as_uuid())
        .bind(end.disable)
        .bind(now)
        .bind(end.seen)
        .fetch_optional(&mut **connection)
        .await
        .map_err(db)?;
        if let (Some(row), Some(code)) = (noted, end.disable) {
            let endpoint = EndpointId::from_uuid(Cells::of(&row, "webhook_endpoints").uuid("id")?);
            let event = values::endpoint_disabled(EventId::from_uuid(store.ids.next()), endpoint, code, now);
            add_own_event(store, connection, tenant, &ProviderId::patchbay(), &event, now).await?;
        }
    }
    Ok(())
}

async fn note_attempt(
    connection: &mut PgConnection,
    tenant: TenantId,
    id: DeliveryId,
    end: &DeliveryEnd,
    now: DateTime<Utc>,
) -> StoreResult<()> {
    let status = end.next.status();
    let attempt = end.attempt.clone().unwrap_or_default();
    sqlx::query(
        "UPDATE deliveries
         SET status = $3,
             finished_at = $4,
             attempts = attempts + CASE WHEN $5 THEN 1 ELSE 0 END,
             attempted_at = CASE WHEN $5 THEN $9 ELSE attempted_at END,
             answer_status = CASE WHEN $5 THEN $6 ELSE answer_status END,
             answer_body = CASE WHEN $5 THEN $7 ELSE answer_body END,
             code = CASE WHEN $5 THEN $8 ELSE code END
         WHERE tenant_id = $1 AND id = $2",
    )
    .bind(tenant.as_uuid())
    .bind(id.as_uuid())
    .bind(status.as_str())
    .bind((status != DeliveryStatus::Pending).then_some(now))
    .bind(end.attempt.is_some())
    .bind(attempt.status.map(i64::from))
    .bind(attempt.body.as_deref().map(values::text))
    .bind(attempt.code)
    .bind(now)
    .execute(connection)
    .await
    .map_err(db)?;
    Ok(())
}
