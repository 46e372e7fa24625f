//! The audit log: rows that are only ever added, each tenant's in one chain.

use async_trait::async_trait;
use patchbay_app::{
    model::{AuditEntry, AuditHead, NewAudit},
    store::{AuditFilter, Audits, Cursor, Page, PageRequest, StoreResult},
};
use patchbay_core::TenantId;
use sqlx::{PgConnection, Postgres, QueryBuilder};
use uuid::Uuid;

use super::{PostgresStore, close};
use crate::{
    error::db,
    rows::{self, audit_columns},
    values,
};

#[async_trait]
impl Audits for PostgresStore {
    async fn add_audit(&self, audit: &NewAudit) -> StoreResult<AuditEntry> {
        let mut tx = self.begin().await?;
        let end = append(self, &mut tx, audit).await;
        close(tx, end).await
    }

    async fn audit(&self, tenant: TenantId, filter: &AuditFilter, page: PageRequest) -> StoreResult<Page<AuditEntry>> {
        let mut query =
            QueryBuilder::<Postgres>::new(concat!("SELECT ", audit_columns!(), " FROM audit WHERE tenant_id = "));
        query.push_bind(tenant.as_uuid());
        if let Some(action) = &filter.action {
            query.push(" AND action = ").push_bind(action);
        }
        if let Some(target) = &filter.target {
            query.push(" AND target = ").push_bind(target);
        }
        if let Some(from) = filter.from {
            query.push(" AND at >= ").push_bind(from);
        }
        if let Some(to) = filter.to {
            query.push(" AND at < ").push_bind(to);
        }
        if let Some(after) = page.after {
            query.push(" AND (at, id) < (").push_bind(after.at);
            query.push(", ").push_bind(after.id).push(")");
        }
        query
            .push(" ORDER BY at DESC, id DESC LIMIT ")
            .push_bind(values::page_rows(page));
        let found = query.build().fetch_all(&self.pool).await.map_err(db)?;
        let entries = found.iter().map(rows::audit_entry).collect::<Result<_, _>>()?;
        Ok(values::page(entries, page, |entry: &AuditEntry| Cursor {
            at: entry.at,
            id: entry.id.as_uuid(),
        }))
    }

    async fn audit_chain(&self, tenant: TenantId, after: i64, limit: u32) -> StoreResult<Vec<AuditEntry>> {
        let found = sqlx::query(concat!(
            "SELECT ",
            audit_columns!(),
            " FROM audit WHERE tenant_id = $1 AND seq > $2 ORDER BY seq LIMIT $3"
        ))
        .bind(tenant.as_uuid())
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await
        .map_err(db)?;
        found.iter().map(rows::audit_entry).collect()
    }

    async fn audit_head(&self, tenant: TenantId) -> StoreResult<Option<AuditHead>> {
        let row = sqlx::query("SELECT tenant_id, seq, hash FROM audit_heads WHERE tenant_id = $1")
            .bind(tenant.as_uuid())
            .fetch_optional(&self.pool)
            .await
            .map_err(db)?;
        row.as_ref().map(rows::audit_head).transpose()
    }

    async fn audited_tenant(&self, after: Option<TenantId>) -> StoreResult<Option<TenantId>> {
        let after = after.map_or(Uuid::nil(), TenantId::as_uuid);
        let of_rows: Option<Uuid> =
            sqlx::query_scalar("SELECT tenant_id FROM audit WHERE tenant_id > $1 ORDER BY tenant_id, seq LIMIT 1")
                .bind(after)
                .fetch_optional(&self.pool)
                .await
                .map_err(db)?;
        let of_heads: Option<Uuid> =
            sqlx::query_scalar("SELECT tenant_id FROM audit_heads WHERE tenant_id > $1 ORDER BY tenant_id LIMIT 1")
                .bind(after)
                .fetch_optional(&self.pool)
                .await
                .map_err(db)?;
        let found = of_rows.into_iter().chain(of_heads).min();
        Ok(found.map(TenantId::from_uuid))
    }
}

/// Adds a row to the end of its tenant's chain. To be called last in a transaction: it holds the end until that ends, and
/// who holds it waits for nobody.
pub(super) async fn append(
    store: &PostgresStore,
    connection: &mut PgConnection,
    audit: &NewAudit,
) -> StoreResult<AuditEntry> {
    let start = AuditHead::start(audit.tenant);
    let head = sqlx::query(
        "INSERT INTO audit_heads (tenant_id, seq, hash)
         VALUES ($1, $2, $3)
         ON CONFLICT (tenant_id) DO UPDATE SET seq = audit_heads.seq
         RETURNING tenant_id, seq, hash",
    )
    .bind(start.tenant.as_uuid())
    .bind(start.seq)
    .bind(&start.hash[..])
    .fetch_one(&mut *connection)
    .await
    .map_err(db)?;
    let detail = values::json(&audit.detail)?.0.to_string();
    let at = store.time(connection).await?;
    let entry = rows::audit_head(&head)?.append(audit, detail, at);
    sqlx::query(
        "INSERT INTO audit
             (tenant_id, seq, id, at, actor, actor_key, action, target, request_id, detail, hash)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(entry.tenant.as_uuid())
    .bind(entry.seq)
    .bind(entry.id.as_uuid())
    .bind(entry.at)
    .bind(&entry.actor)
    .bind(entry.actor_key.map(patchbay_core::ApiKeyId::as_uuid))
    .bind(&entry.action)
    .bind(&entry.target)
    .bind(&entry.request_id)
    .bind(&entry.detail)
    .bind(&entry.hash[..])
    .execute(&mut *connection)
    .await
    .map_err(db)?;
    sqlx::query("UPDATE audit_heads SET seq = $2, hash = $3 WHERE tenant_id = $1")
        .bind(entry.tenant.as_uuid())
        .bind(entry.seq)
        .bind(&entry.hash[..])
        .execute(connection)
        .await
        .map_err(db)?;
    Ok(entry)
}
