//! Begins transactions of which none outlives its caller.
//!
//! sqlx 0.9.0 forgets a transaction whose `BEGIN` is on its way when the caller is dropped, by a client that hangs up or
//! a step that lost its lease: the connection goes back to the pool with a transaction open, and what others write on it
//! later is confirmed and never committed (transact-rs/sqlx#4393, mended after that version).

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use patchbay_app::store::StoreResult;
use sqlx::{PgPool, Postgres, SqlStr, Transaction};
use tokio::runtime::Handle;

use crate::error::db;

/// Begins a transaction with this statement. If the caller is dropped meanwhile it is taken back.
pub(super) async fn begin(pool: &PgPool, statement: &'static str) -> StoreResult<Transaction<'static, Postgres>> {
    // Whoever is dropped here leaves nothing on the connection, nor a place in the queue for one.
    let connection = pool.acquire().await.map_err(db)?;
    let begin = Transaction::begin(connection, Some(SqlStr::from_static(statement)));
    SeenThrough(Some(begin)).await.map_err(db)
}

/// A future that goes on by itself when nobody waits for it any more, until what it gives can be dropped in order.
struct SeenThrough<T: Send + 'static>(Option<Running<T>>);

type Running<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl<T: Send + 'static> Future for SeenThrough<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let Some(running) = &mut self.0 else {
            return Poll::Pending;
        };
        let done = running.as_mut().poll(cx);
        if done.is_ready() {
            self.0 = None;
        }
        done
    }
}

impl<T: Send + 'static> Drop for SeenThrough<T> {
    fn drop(&mut self) {
        // Without a runtime the process ends, and its connections with it.
        if let (Some(running), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(async move { drop(running.await) });
        }
    }
}
