//! What ended jobs leave behind does not stand in the way of claims.

use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::harness::with_database;

/// Blocks that the way to the first job may lead through: down the index, and to the row.
const BLOCKS: u64 = 6;

fn jobs(status: &str, count: u32) -> String {
    format!(
        "INSERT INTO jobs (id, tenant_id, kind, target, status, run_at, due_at, attempts, fence, correlation_id,
             created_at, finished_at)
         SELECT gen_random_uuid(), '00000000-0000-7000-8000-000000000001', 'ingest', gen_random_uuid(), '{status}', now(), now(),
             0, 0, 'req', now(), CASE '{status}' WHEN 'done' THEN now() END
         FROM generate_series(1, {count})"
    )
}

/// Vacuum by itself leaves the indexes of a large table alone when little of the table has changed.
#[tokio::test]
async fn vacuum_clears_the_way_to_the_first_job_though_many_have_ended() {
    with_database(async |url| {
        patchbay_store::migrate(url).await.unwrap();
        let mut db = PgConnection::connect(url).await.unwrap();
        for statement in [
            jobs("done", 200_000),
            jobs("ready", 1_000),
            "VACUUM ANALYZE jobs".to_owned(),
            "UPDATE jobs SET status = 'done', finished_at = now() WHERE status = 'ready'".to_owned(),
            jobs("ready", 1),
            "VACUUM jobs".to_owned(),
            "SET enable_seqscan = off".to_owned(),
        ] {
            sqlx::query(AssertSqlSafe(statement)).execute(&mut db).await.unwrap();
        }
        let plan: Value = sqlx::query_scalar(
            "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON)
             SELECT id FROM jobs WHERE status = 'ready' AND kind = 'ingest' ORDER BY due_at, id LIMIT 1",
        )
        .fetch_one(&mut db)
        .await
        .unwrap();
        let plan = &plan[0]["Plan"];
        assert_eq!(plan["Actual Rows"], 1, "{plan}");
        let blocks = ["Shared Hit Blocks", "Shared Read Blocks"].map(|name| plan[name].as_u64().unwrap());
        assert!(blocks.iter().sum::<u64>() <= BLOCKS, "{plan}");
        db.close().await.unwrap();
    })
    .await;
}
