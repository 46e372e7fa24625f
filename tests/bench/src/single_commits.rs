//! One connection to an SQLite file that commits webhook after webhook: what SQLite does without being asked twice.

use std::time::{Duration, Instant};

use patchbay_app::{model::NewWebhook, store::Events as _};
use patchbay_core::{InboxId, ProviderId, TenantId};
use patchbay_simkit::Clock;
use patchbay_store::sqlite::SqliteStore;
use sha2::{Digest, Sha256};
use sqlx::{
    Connection, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

use uuid::Uuid;

use crate::webhooks::{self, CLIENT_KEY};

/// Commits a second, each of a webhook and its job, in a database of the host's own schema and settings.
///
/// # Errors
/// The database refuses.
pub async fn rate(time: Duration) -> anyhow::Result<f64> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("single.db");
    patchbay_store::migrate(&format!("sqlite:{}", file.display())).await?;
    let options = SqliteConnectOptions::new()
        .filename(&file)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .pragma("journal_size_limit", "67108864");
    let mut connection = SqliteConnection::connect_with(&options).await?;
    let now = Clock::running().now();
    let started = Instant::now();
    let mut commits = 0_u64;
    while started.elapsed() < time {
        let body = webhooks::body(now.timestamp(), &format!("v_pub_file~v2-1.{commits:023}"));
        commit(
            &mut connection,
            u128::from(commits),
            body.as_bytes(),
            now.timestamp_micros(),
        )
        .await?;
        commits += 1;
    }
    Ok(commits as f64 / started.elapsed().as_secs_f64())
}

/// Webhooks a second that the host's own store takes in, so many in a commit, when nobody has to send them: what no host
/// can pass.
///
/// # Errors
/// The database refuses.
pub async fn store_alone(time: Duration, group: u128) -> anyhow::Result<f64> {
    let dir = tempfile::tempdir()?;
    let store = SqliteStore::open(dir.path().join("groups.db"), patchbay_store::Options::default()).await?;
    let provider = ProviderId::parse("tiktok")?;
    let now = Clock::running().now();
    let started = Instant::now();
    let mut stored = 0_u128;
    while started.elapsed() < time {
        let webhooks = (stored..stored + group).map(|number| {
            let body = webhooks::body(now.timestamp(), &format!("v_pub_file~v2-1.{number:023}"));
            NewWebhook {
                id: InboxId::from_uuid(Uuid::from_u128(number)),
                tenant: TenantId::DEFAULT,
                provider: provider.clone(),
                client_id: CLIENT_KEY.to_owned(),
                scheme: "tiktok".to_owned(),
                digest: Sha256::digest(&body).into(),
                body: body.into_bytes(),
                correlation_id: format!("{number:032x}"),
            }
        });
        store.store_inbox(&webhooks.collect::<Vec<_>>()).await?;
        stored += group;
    }
    Ok(stored as f64 / started.elapsed().as_secs_f64())
}

async fn commit(connection: &mut SqliteConnection, number: u128, body: &[u8], now: i64) -> anyhow::Result<()> {
    // In order, as the host's ids are.
    let id = number.to_be_bytes();
    let digest = Sha256::digest(body);
    let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::query(
        "INSERT INTO inbox
             (id, tenant_id, provider, client_id, scheme, digest, body, received_at, correlation_id)
         VALUES ($1, x'00000000000070008000000000000001', 'tiktok', $2, 'tiktok', $3, $4, $5, $6)
         ON CONFLICT (tenant_id, provider, digest) DO NOTHING",
    )
    .bind(&id[..])
    .bind(CLIENT_KEY)
    .bind(&digest[..])
    .bind(body)
    .bind(now)
    .bind(hex::encode(id))
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "INSERT INTO jobs
             (id, tenant_id, kind, target, status, run_at, due_at, attempts, fence, correlation_id, created_at)
         VALUES ($1, x'00000000000070008000000000000001', 'ingest', $1, 'ready', $2, $2, 0, 0, $3, $2)",
    )
    .bind(&id[..])
    .bind(now)
    .bind(hex::encode(id))
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(())
}
