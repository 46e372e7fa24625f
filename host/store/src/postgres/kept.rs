//! Connections for received webhooks alone. A pool asks a connection whether it lives before it lends it, and again when
//! it is given back: the sender of a webhook would wait for the first answer, and the server has to give both.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use patchbay_app::store::{StoreError, StoreResult};
use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};

use crate::error::db;

/// Connections that are open and free, the last used on top. There are never more than there were calls at once.
#[derive(Debug)]
pub(super) struct Kept {
    options: PgConnectOptions,
    patience: Duration,
    free: Mutex<Vec<PgConnection>>,
}

impl Kept {
    /// None is open yet. To open one may take as long as `patience`.
    pub(super) fn new(options: PgConnectOptions, patience: Duration) -> Self {
        Self {
            options,
            patience,
            free: Mutex::default(),
        }
    }

    /// A connection, and whether it is a new one: one that was kept may have broken meanwhile. It is gone unless it is
    /// kept again, so a call that fails or is dropped on its way leaves none behind that is in the middle of something.
    pub(super) async fn take(&self) -> StoreResult<(PgConnection, bool)> {
        if let Some(connection) = self.free().pop() {
            return Ok((connection, false));
        }
        let open = PgConnection::connect_with(&self.options);
        let connection = tokio::time::timeout(self.patience, open)
            .await
            .map_err(|late| StoreError::Unavailable(late.into()))?
            .map_err(db)?;
        Ok((connection, true))
    }

    pub(super) fn keep(&self, connection: PgConnection) {
        self.free().push(connection);
    }

    fn free(&self) -> MutexGuard<'_, Vec<PgConnection>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
