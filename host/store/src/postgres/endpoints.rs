//! Where tenants want their events to be sent.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use patchbay_app::{
    model::{Endpoint, EndpointChange, NewAudit, NewEndpoint, SealedSecret},
    store::{Cursor, Endpoints, Page, PageRequest, StoreError, StoreResult},
};
use patchbay_core::{EndpointId, TenantId};
use sqlx::{Postgres, QueryBuilder};

use super::{PostgresStore, audits::append, close};
use crate::{
    error::db,
    rows::{self, endpoint_columns},
    values,
};

#[async_trait]
impl Endpoints for PostgresStore {
    async fn create_endpoint(
        &self,
        endpoint: &NewEndpoint,
        most: u32,
        audit: &NewAudit,
    ) -> StoreResult<Option<Endpoint>> {
        let mut tx = self.begin().await?;
        let end = async {
            // One after another, so that the count is true.
            sqlx::query("SELECT id FROM tenants WHERE id = $1 FOR NO KEY UPDATE")
                .bind(endpoint.tenant.as_uuid())
                .fetch_optional(&mut *tx)
                .await
                .map_err(db)?;
            let row = sqlx::query(concat!(
                "INSERT INTO webhook_endpoints
                     (tenant_id, id, url, description, events, secret, secret_version, status, created_at, updated_at)
                 SELECT $1, $2, $3, $4, $5, $6, $7, 'enabled', COALESCE($8, now()), COALESCE($8, now())
                 WHERE (SELECT COUNT(*) FROM webhook_endpoints WHERE tenant_id = $1) < $9
                 RETURNING ",
                endpoint_columns!()
            ))
            .bind(endpoint.tenant.as_uuid())
            .bind(endpoint.id.as_uuid())
            .bind(endpoint.url.as_str())
            .bind(&endpoint.description)
            .bind(values::json(&endpoint.events.0)?)
            .bind(&endpoint.secret.envelope)
            .bind(endpoint.secret.version)
            .bind(self.test_time())
            .bind(i64::from(most))
            .fetch_optional(&mut *tx)
            .await
            .map_err(db)?;
            let Some(row) = row else {
                return Ok(None);
            };
            append(self, &mut tx, audit).await?;
            rows::endpoint(&row).map(Some)
        }
        .await;
        close(tx, end).await
    }

    async fn endpoint(&self, tenant: TenantId, id: EndpointId) -> StoreResult<Option<Endpoint>> {
        let row = sqlx::query(concat!(
            "SELECT ",
            endpoint_columns!(),
            " FROM webhook_endpoints WHERE tenant_id = $1 AND id = $2"
        ))
        .bind(tenant.as_uuid())
        .bind(id.as_uuid())
        .fetch_optional(&self.pool)
        .await
        .map_err(db)?;
        row.as_ref().map(rows::endpoint).transpose()
    }

    async fn endpoints(&self, tenant: TenantId, page: PageRequest) -> StoreResult<Page<Endpoint>> {
        let mut query = QueryBuilder::<Postgres>::new(concat!(
            "SELECT ",
            endpoint_columns!(),
            " FROM webhook_endpoints WHERE tenant_id = "
        ));
        query.push_bind(tenant.as_uuid());
        if let Some(after) = page.after {
            query.push(" AND (created_at, id) < (").push_bind(after.at);
            query.push(", ").push_bind(after.id).push(")");
        }
        query
            .push(" ORDER BY created_at DESC, id DESC LIMIT ")
            .push_bind(values::page_rows(page));
        let found = query.build().fetch_all(&self.pool).await.map_err(db)?;
        let endpoints = found.iter().map(rows::endpoint).collect::<Result<_, _>>()?;
        Ok(values::page(endpoints, page, |endpoint: &Endpoint| Cursor {
            at: endpoint.created_at,
            id: endpoint.id.as_uuid(),
        }))
    }

    async fn change_endpoint(
        &self,
        tenant: TenantId,
        id: EndpointId,
        change: &EndpointChange,
        audit: &NewAudit,
    ) -> StoreResult<Option<Endpoint>> {
        let mut tx = self.begin().await?;
        let end = async {
            let events = change.events.as_ref().map(|events| values::json(&events.0));
            let row = sqlx::query(concat!(
                "UPDATE webhook_endpoints
             SET url = COALESCE($3, url),
                 description = CASE WHEN $4 THEN $5 ELSE description END,
                 events = COALESCE($6, events),
                 status = COALESCE($7, status),
                 disabled_code = CASE
                     WHEN $7 = 'enabled' THEN NULL
                     WHEN $7 = 'disabled' AND status = 'enabled' THEN 'by_tenant'
                     ELSE disabled_code
                 END,
                 disabled_at = CASE
                     WHEN $7 = 'enabled' THEN NULL
                     WHEN $7 = 'disabled' AND status = 'enabled' THEN COALESCE($8, now())
                     ELSE disabled_at
                 END,
                 failing_since = CASE WHEN $3 IS NULL AND ($7 IS NULL OR $7 = status) THEN failing_since END,
                 updated_at = COALESCE($8, now())
             WHERE tenant_id = $1 AND id = $2
             RETURNING ",
                endpoint_columns!()
            ))
            .bind(tenant.as_uuid())
            .bind(id.as_uuid())
            .bind(change.url.as_ref().map(url::Url::as_str))
            .bind(change.description.is_some())
            .bind(change.description.as_ref().and_then(Option::as_ref))
            .bind(events.transpose()?)
            .bind(change.enabled.map(values::endpoint_status))
            .bind(self.test_time())
            .fetch_optional(&mut *tx)
            .await
            .map_err(db)?;
            let Some(row) = row else {
                return Ok(None);
            };
            append(self, &mut tx, audit).await?;
            rows::endpoint(&row).map(Some)
        }
        .await;
        close(tx, end).await
    }

    async fn rotate_secret(
        &self,
        tenant: TenantId,
        id: EndpointId,
        secret: &SealedSecret,
        old_until: DateTime<Utc>,
        audit: &NewAudit,
    ) -> StoreResult<Option<Endpoint>> {
        let mut tx = self.begin().await?;
        let end = async {
        let row = sqlx::query(concat!(
            "UPDATE webhook_endpoints
             SET old_secret = secret, old_secret_until = $5, secret = $3, secret_version = $4, updated_at = COALESCE($6, now())
             WHERE tenant_id = $1 AND id = $2 AND secret_version = $4 - 1
             RETURNING ",
            endpoint_columns!()
        ))
        .bind(tenant.as_uuid())
        .bind(id.as_uuid())
        .bind(&secret.envelope)
        .bind(secret.version)
        .bind(old_until)
        .bind(self.test_time())
        .fetch_optional(&mut *tx)
        .await
        .map_err(db)?;
        let Some(row) = row else {
            return match self.endpoint(tenant, id).await? {
                Some(_) => Err(StoreError::Stale),
                None => Ok(None),
            };
        };
        append(self, &mut tx, audit).await?;
        rows::endpoint(&row).map(Some)
        }
        .await;
        close(tx, end).await
    }

    async fn delete_endpoint(&self, tenant: TenantId, id: EndpointId, audit: &NewAudit) -> StoreResult<bool> {
        let mut tx = self.begin().await?;
        let end = async {
            let done = sqlx::query("DELETE FROM webhook_endpoints WHERE tenant_id = $1 AND id = $2")
                .bind(tenant.as_uuid())
                .bind(id.as_uuid())
                .execute(&mut *tx)
                .await
                .map_err(db)?;
            let is_gone = done.rows_affected() > 0;
            if is_gone {
                append(self, &mut tx, audit).await?;
            }
            Ok(is_gone)
        }
        .await;
        close(tx, end).await
    }
}
