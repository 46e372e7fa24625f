//! A transaction that knows for which kinds of work it makes jobs due. When it is committed, loops that wait for them in this
//! process are woken: nobody who stores a job or an event has to say so, and what is taken back wakes nobody.

use std::{
    ops::{Deref, DerefMut},
    sync::Arc,
};

use patchbay_app::{model::JobKind, wakes::Wakes};
use sqlx::{Database, Transaction};

/// See the module. Whatever writes a job in it takes it as this, not as a connection.
pub(crate) struct Tx<D: Database> {
    inner: Transaction<'static, D>,
    wakes: Arc<Wakes>,
    due: [bool; JobKind::ALL.len()],
}

impl<D: Database> Tx<D> {
    pub(crate) fn new(inner: Transaction<'static, D>, wakes: &Arc<Wakes>) -> Self {
        Self {
            inner,
            wakes: wakes.clone(),
            due: [false; JobKind::ALL.len()],
        }
    }

    /// A job of this kind is due as soon as this is committed, or may be.
    pub(crate) fn makes_due(&mut self, kind: JobKind) {
        self.due[kind as usize] = true;
    }

    pub(crate) async fn commit(self) -> Result<(), sqlx::Error> {
        self.inner.commit().await?;
        for kind in JobKind::ALL {
            if self.due[kind as usize] {
                self.wakes.wake(kind);
            }
        }
        Ok(())
    }

    pub(crate) async fn rollback(self) -> Result<(), sqlx::Error> {
        self.inner.rollback().await
    }
}

impl<D: Database> Deref for Tx<D> {
    type Target = D::Connection;

    fn deref(&self) -> &D::Connection {
        &self.inner
    }
}

impl<D: Database> DerefMut for Tx<D> {
    fn deref_mut(&mut self) -> &mut D::Connection {
        &mut self.inner
    }
}
