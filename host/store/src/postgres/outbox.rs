//! The outbox: an event that is stored has its deliveries with it.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use patchbay_app::{
    model::{DeliveryStatus, JobKind},
    store::StoreResult,
};
use patchbay_core::{DeliveryId, EndpointId, EventId, TenantId};
use sqlx::PgConnection;

use super::{PostgresStore, Tx};
use crate::{
    error::db,
    rows::{self, Taker},
};

/// A new event.
pub(super) struct Pushed<'a> {
    pub(super) id: EventId,
    pub(super) tenant: TenantId,
    pub(super) name: &'a str,
    /// Patchbay made it.
    pub(super) is_own: bool,
}

/// Stores a delivery of each event for each endpoint of its tenant that wants it. Three round trips, whatever their number;
/// one if there are no endpoints.
pub(super) async fn push_events(
    store: &PostgresStore,
    connection: &mut Tx,
    events: &[Pushed<'_>],
    now: DateTime<Utc>,
) -> StoreResult<()> {
    let tenants: BTreeSet<_> = events.iter().map(|event| event.tenant.as_uuid()).collect();
    if tenants.is_empty() {
        return Ok(());
    }
    // Locked: an endpoint that is deleted meanwhile must not fail what made the event.
    let found = sqlx::query(
        "SELECT tenant_id, id, events, status
         FROM webhook_endpoints
         WHERE tenant_id = ANY($1)
         ORDER BY tenant_id, id
         FOR KEY SHARE",
    )
    .bind(tenants.into_iter().collect::<Vec<_>>())
    .fetch_all(&mut **connection)
    .await
    .map_err(db)?;
    let takers = found.iter().map(rows::taker).collect::<StoreResult<Vec<_>>>()?;
    let mut wanted = Vec::new();
    for event in events {
        let takers = takers
            .iter()
            .filter(|taker| taker.tenant == event.tenant && taker.events.take(event.name, event.is_own));
        wanted.extend(takers.map(|taker| (event, taker)));
    }
    add_deliveries(store, connection, &wanted, now).await.map(drop)
}

/// Stores deliveries, with their jobs where anything is sent to the endpoint. Returns their ids, in order.
pub(super) async fn add_deliveries(
    store: &PostgresStore,
    connection: &mut Tx,
    wanted: &[(&Pushed<'_>, &Taker)],
    now: DateTime<Utc>,
) -> StoreResult<Vec<DeliveryId>> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    // In the order in which the other database takes ids.
    let ids: Vec<_> = wanted
        .iter()
        .map(|(_, taker)| (store.ids.next(), taker.is_enabled.then(|| store.ids.next())))
        .collect();
    let status = |taker: &Taker| {
        if taker.is_enabled {
            DeliveryStatus::Pending
        } else {
            DeliveryStatus::Held
        }
    };
    sqlx::query(
        "INSERT INTO deliveries (tenant_id, id, endpoint_id, event_id, status, attempts, created_at, finished_at)
         SELECT tenant_id, id, endpoint_id, event_id, status, 0, $6, CASE WHEN status = 'held' THEN $6::timestamptz END
         FROM UNNEST($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[])
             AS new (tenant_id, id, endpoint_id, event_id, status)",
    )
    .bind(
        wanted
            .iter()
            .map(|(event, _)| event.tenant.as_uuid())
            .collect::<Vec<_>>(),
    )
    .bind(ids.iter().map(|(id, _)| *id).collect::<Vec<_>>())
    .bind(
        wanted
            .iter()
            .map(|(_, taker)| taker.endpoint.as_uuid())
            .collect::<Vec<_>>(),
    )
    .bind(wanted.iter().map(|(event, _)| event.id.as_uuid()).collect::<Vec<_>>())
    .bind(
        wanted
            .iter()
            .map(|(_, taker)| status(taker).as_str())
            .collect::<Vec<_>>(),
    )
    .bind(now)
    .execute(&mut **connection)
    .await
    .map_err(db)?;
    let sent: Vec<_> = wanted
        .iter()
        .zip(&ids)
        .filter_map(|((event, taker), (id, job))| Some((event.tenant, taker.endpoint, *id, (*job)?)))
        .collect();
    if !sent.is_empty() {
        add_jobs(connection, &sent, now).await?;
        connection.makes_due(JobKind::Deliver);
    }
    Ok(ids.iter().map(|(id, _)| DeliveryId::from_uuid(*id)).collect())
}

/// The jobs of new deliveries, which have none yet.
async fn add_jobs(
    connection: &mut PgConnection,
    sent: &[(TenantId, EndpointId, uuid::Uuid, uuid::Uuid)],
    now: DateTime<Utc>,
) -> StoreResult<()> {
    sqlx::query(
        "INSERT INTO jobs
             (id, tenant_id, kind, target, status, concurrency_key, run_at, due_at, attempts, fence, correlation_id,
              created_at)
         SELECT id, tenant_id, 'deliver', target, 'ready', key, $6, $6, 0, 0, correlation_id, $6
         FROM UNNEST($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[])
             AS new (id, tenant_id, target, key, correlation_id)",
    )
    .bind(sent.iter().map(|(.., job)| *job).collect::<Vec<_>>())
    .bind(sent.iter().map(|(tenant, ..)| tenant.as_uuid()).collect::<Vec<_>>())
    .bind(sent.iter().map(|(_, _, id, _)| *id).collect::<Vec<_>>())
    .bind(
        sent.iter()
            .map(|(_, endpoint, ..)| endpoint.to_string())
            .collect::<Vec<_>>(),
    )
    .bind(
        sent.iter()
            .map(|(_, _, id, _)| DeliveryId::from_uuid(*id).to_string())
            .collect::<Vec<_>>(),
    )
    .bind(now)
    .execute(connection)
    .await
    .map_err(db)?;
    Ok(())
}

/// Whether an endpoint of a tenant wants an event of Patchbay's own of this name.
pub(super) async fn is_wanted(connection: &mut PgConnection, tenant: TenantId, name: &str) -> StoreResult<bool> {
    let found = sqlx::query("SELECT tenant_id, id, events, status FROM webhook_endpoints WHERE tenant_id = $1")
        .bind(tenant.as_uuid())
        .fetch_all(connection)
        .await
        .map_err(db)?;
    let takers = found.iter().map(rows::taker).collect::<StoreResult<Vec<_>>>()?;
    Ok(takers.iter().any(|taker| taker.events.take(name, true)))
}
