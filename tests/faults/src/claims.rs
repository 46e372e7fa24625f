//! When jobs were stored and claimed, by the database's own clock and order: triggers of the test's write each down.

use std::time::Duration;

use patchbay_rig::Database;

/// A claim of a job, or its storing.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Counts all that was written down.
    pub number: u64,
    pub job: String,
    pub tenant: String,
    /// Since 1970.
    pub at: Duration,
    /// The job was running: a lease had ended.
    pub is_takeover: bool,
}

/// Writes down every storing and claim of a kind from now on. The hosts need not run yet, but the schema must be there.
pub async fn watch(database: &Database, kind: &str) {
    match database {
        Database::Sqlite(_) => {
            database
                .execute(
                    "CREATE TABLE test_claims (n INTEGER PRIMARY KEY, at INTEGER, tenant BLOB, job BLOB, was TEXT)",
                )
                .await;
            database
                .execute(&format!(
                    "CREATE TRIGGER test_claims AFTER UPDATE ON jobs
                     WHEN NEW.fence > OLD.fence AND NEW.status = 'running' AND NEW.kind = '{kind}'
                     BEGIN
                         INSERT INTO test_claims (at, tenant, job, was)
                         VALUES (CAST(unixepoch('subsec') * 1000000 AS INTEGER), NEW.tenant_id, NEW.id, OLD.status);
                     END"
                ))
                .await;
            database
                .execute(&format!(
                    "CREATE TRIGGER test_stored AFTER INSERT ON jobs
                     WHEN NEW.kind = '{kind}'
                     BEGIN
                         INSERT INTO test_claims (at, tenant, job, was)
                         VALUES (CAST(unixepoch('subsec') * 1000000 AS INTEGER), NEW.tenant_id, NEW.id, 'new');
                     END"
                ))
                .await;
        }
        Database::Postgres(_) => {
            database
                .execute(
                    "CREATE TABLE test_claims
                         (n BIGSERIAL PRIMARY KEY, at TIMESTAMPTZ, tenant UUID, job UUID, was TEXT)",
                )
                .await;
            database
                .execute(
                    "CREATE FUNCTION test_claims() RETURNS TRIGGER LANGUAGE plpgsql AS $$
                     BEGIN
                         INSERT INTO test_claims (at, tenant, job, was)
                         VALUES (clock_timestamp(), NEW.tenant_id, NEW.id,
                             CASE TG_OP WHEN 'INSERT' THEN 'new' ELSE OLD.status END);
                         RETURN NULL;
                     END $$",
                )
                .await;
            database
                .execute(&format!(
                    "CREATE TRIGGER test_claims AFTER UPDATE ON jobs FOR EACH ROW
                     WHEN (NEW.fence > OLD.fence AND NEW.status = 'running' AND NEW.kind = '{kind}')
                     EXECUTE FUNCTION test_claims()"
                ))
                .await;
            database
                .execute(&format!(
                    "CREATE TRIGGER test_stored AFTER INSERT ON jobs FOR EACH ROW
                     WHEN (NEW.kind = '{kind}')
                     EXECUTE FUNCTION test_claims()"
                ))
                .await;
        }
    }
}

/// All claims so far, in their order.
pub async fn all(database: &Database) -> Vec<Claim> {
    written(database, "<>").await
}

/// All jobs that were stored so far, in their order.
pub async fn stored(database: &Database) -> Vec<Claim> {
    written(database, "=").await
}

async fn written(database: &Database, compared: &str) -> Vec<Claim> {
    let select = match database {
        Database::Sqlite(_) => "n || ' ' || at || ' ' || lower(hex(tenant)) || ' ' || lower(hex(job))",
        Database::Postgres(_) => {
            "n || ' ' || CAST(EXTRACT(EPOCH FROM at) * 1000000 AS BIGINT) || ' '
                 || replace(CAST(tenant AS TEXT), '-', '') || ' ' || replace(CAST(job AS TEXT), '-', '')"
        }
    };
    let rows = database
        .texts(&format!(
            "SELECT {select} || ' ' || was FROM test_claims WHERE was {compared} 'new' ORDER BY n"
        ))
        .await;
    rows.iter()
        .map(|row| {
            let words: Vec<_> = row.split(' ').collect();
            Claim {
                number: words[0].parse().unwrap(),
                at: Duration::from_micros(words[1].parse().unwrap()),
                tenant: words[2].to_owned(),
                job: words[3].to_owned(),
                is_takeover: words[4] == "running",
            }
        })
        .collect()
}

/// The database's clock.
pub async fn now(database: &Database) -> Duration {
    let select = match database {
        Database::Sqlite(_) => "SELECT CAST(CAST(unixepoch('subsec') * 1000000 AS INTEGER) AS TEXT)",
        Database::Postgres(_) => "SELECT CAST(CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT) AS TEXT)",
    };
    Duration::from_micros(database.texts(select).await[0].parse().unwrap())
}
