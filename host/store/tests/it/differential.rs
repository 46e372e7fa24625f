//! The same random operations on both databases, at the same time of the same clock and with the same ids, have the
//! same answers. What the suite says about one store in words, this says about everything else: that nobody can tell
//! which database a host runs on.

mod op;
mod pair;

use std::env;

use proptest::{
    collection::vec,
    test_runner::{Config, TestRunner},
};
use sqlx::{Connection, PgConnection};

use crate::harness::with_database;

#[test]
fn both_databases_give_the_same_answers() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let cases = if env::var_os("PROPTEST_CASES").is_some() {
        Config::default().cases
    } else {
        48
    };
    let config = Config {
        cases,
        // A failing sequence is printed whole; it becomes a case of the suite.
        failure_persistence: None,
        max_shrink_iters: 512,
        ..Config::default()
    };
    runtime.block_on(with_database(async |url| {
        patchbay_store::migrate(url).await.unwrap();
        let mut runner = TestRunner::new(config);
        let handle = tokio::runtime::Handle::current();
        let result = tokio::task::block_in_place(|| {
            runner.run(&vec(op::any(), 20..160), |ops| {
                handle.block_on(async {
                    clear(url).await;
                    pair::run(url, &ops).await;
                });
                Ok(())
            })
        });
        result.unwrap_or_else(|error| panic!("{error}"));
    }));
}

/// Back to how the first migration leaves a database.
async fn clear(url: &str) {
    let mut db = PgConnection::connect(url).await.unwrap();
    sqlx::raw_sql(
        "TRUNCATE api_keys, data_keys, accounts, sessions, flows, posts, post_remote_ids, metric_watches, metric_readings, commits, inbox, events, slots,
             slot_waits, slot_pauses, observations, pull_urls, media, uploads, avatars, jobs,
             webhook_endpoints, deliveries, audit, audit_heads,
             erasures, erased_grants;
         DELETE FROM tenants WHERE name <> 'default'",
    )
    .execute(&mut db)
    .await
    .unwrap();
    db.close().await.unwrap();
}
