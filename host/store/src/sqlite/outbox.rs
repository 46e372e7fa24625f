//! The outbox: an event that is stored has its deliveries with it.

use chrono::{DateTime, Utc};
use patchbay_app::{model::DeliveryStatus, store::StoreResult};
use patchbay_core::{DeliveryId, EventId, JobId, TenantId};
use sqlx::SqliteConnection;

use super::{SqliteStore, Tx, jobs::put_job, maybe_micros, micros};
use crate::{
    error::db,
    rows::{self, Taker},
    values,
};

/// A new event.
pub(super) struct Pushed<'a> {
    pub(super) id: EventId,
    pub(super) tenant: TenantId,
    pub(super) name: &'a str,
    /// Patchbay made it.
    pub(super) is_own: bool,
}

/// Stores a delivery of each event for each endpoint of its tenant that wants it.
pub(super) async fn push_events(
    store: &SqliteStore,
    connection: &mut Tx,
    events: &[Pushed<'_>],
    now: DateTime<Utc>,
) -> StoreResult<()> {
    for event in events {
        let found = sqlx::query(
            "SELECT tenant_id, id, events, status
             FROM webhook_endpoints
             WHERE tenant_id = $1
             ORDER BY tenant_id, id",
        )
        .bind(event.tenant.as_uuid())
        .fetch_all(&mut **connection)
        .await
        .map_err(db)?;
        for row in &found {
            let taker = rows::taker(row)?;
            if taker.events.take(event.name, event.is_own) {
                add_delivery(store, connection, event, &taker, now).await?;
            }
        }
    }
    Ok(())
}

/// Stores a delivery, with its job if anything is sent to the endpoint.
pub(super) async fn add_delivery(
    store: &SqliteStore,
    connection: &mut Tx,
    event: &Pushed<'_>,
    taker: &Taker,
    now: DateTime<Utc>,
) -> StoreResult<DeliveryId> {
    let id = DeliveryId::from_uuid(store.ids.next());
    let status = if taker.is_enabled {
        DeliveryStatus::Pending
    } else {
        DeliveryStatus::Held
    };
    sqlx::query(
        "INSERT INTO deliveries (tenant_id, id, endpoint_id, event_id, status, attempts, created_at, finished_at)
         VALUES ($1, $2, $3, $4, $5, 0, $6, $7)",
    )
    .bind(event.tenant.as_uuid())
    .bind(id.as_uuid())
    .bind(taker.endpoint.as_uuid())
    .bind(event.id.as_uuid())
    .bind(status.as_str())
    .bind(micros(now))
    .bind(maybe_micros((!taker.is_enabled).then_some(now)))
    .execute(&mut **connection)
    .await
    .map_err(db)?;
    if taker.is_enabled {
        let job = values::delivery_job(JobId::from_uuid(store.ids.next()), event.tenant, taker.endpoint, id);
        put_job(connection, &job, id.as_uuid(), now).await?;
    }
    Ok(id)
}

/// Whether an endpoint of a tenant wants an event of Patchbay's own of this name.
pub(super) async fn is_wanted(connection: &mut SqliteConnection, tenant: TenantId, name: &str) -> StoreResult<bool> {
    let found = sqlx::query("SELECT tenant_id, id, events, status FROM webhook_endpoints WHERE tenant_id = $1")
        .bind(tenant.as_uuid())
        .fetch_all(connection)
        .await
        .map_err(db)?;
    let takers = found.iter().map(rows::taker).collect::<StoreResult<Vec<_>>>()?;
    Ok(takers.iter().any(|taker| taker.events.take(name, true)))
}
