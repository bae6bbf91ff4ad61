//! Sees to it that what PostgreSQL committed without waiting for its disk comes there.
//!
//! Where messages lie is stored when the brokers have them already, and waiting for the disk a second time would be a third
//! of an append. That commit does not wait (`synchronous_commit`); PostgreSQL writes it out by itself, within 0.6 seconds
//! unless `wal_writer_delay` is set otherwise. Where the server dies before that, place and count are forgotten together:
//! the row, on the disk since it was decided, is again that of a message whose outcome is not known.
//!
//! A connection is the witness that this did not happen: it does not outlive the server. While it lives, what was committed
//! a second ago is on the disk. When it is gone, what was not certain by then is completed once more, which changes nothing
//! where nothing was forgotten. If this node dies with the server, the sweep settles what is left.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sqlx::{Connection, PgConnection};
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::{
    inbox::{Delivered, Inbox, cause},
    write::DECIDE_WITHIN,
};
use crate::error::Cause;

/// How long after its commit a place is held to be on the disk of a server that did not die.
const CERTAIN_AFTER: Duration = Duration::from_secs(1);

/// Places that were committed without waiting for the disk.
#[derive(Clone, Default)]
pub(super) struct Uncertain(Arc<Mutex<Vec<Delivered>>>);

impl Uncertain {
    pub(super) fn add(&self, delivered: &[Delivered]) {
        self.lock().extend_from_slice(delivered);
    }

    fn take(&self) -> Vec<Delivered> {
        mem::take(&mut *self.lock())
    }

    /// What a panicking thread left behind is whole: nothing under this lock fails half way.
    fn lock(&self) -> MutexGuard<'_, Vec<Delivered>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn start(inbox: Inbox) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut again = Vec::new();
        loop {
            match witness(&inbox, &mut again).await {
                Ok(witness) => again = watch(witness, &inbox.uncertain).await,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "places not confirmed");
                    sleep(CERTAIN_AFTER).await;
                }
            }
        }
    })
}

/// A new witness. What is uncertain now may have been committed before it, and is completed once more: `again`, and
/// whatever came since.
async fn witness(inbox: &Inbox, again: &mut Vec<Delivered>) -> Result<PgConnection, Cause> {
    let options = inbox.pool.connect_options();
    let witness = timeout(DECIDE_WITHIN, PgConnection::connect_with(&options)).await.map_err(Cause::new)?;
    let witness = witness.map_err(cause)?;
    again.append(&mut inbox.uncertain.take());
    if !again.is_empty() {
        timeout(DECIDE_WITHIN, inbox.complete_durably(again)).await.map_err(Cause::new)??;
        again.clear();
    }
    Ok(witness)
}

/// Watches until the witness is gone; returns what is uncertain then.
async fn watch(mut witness: PgConnection, uncertain: &Uncertain) -> Vec<Delivered> {
    loop {
        let of_before = uncertain.take();
        sleep(CERTAIN_AFTER).await;
        if !timeout(DECIDE_WITHIN, witness.ping()).await.is_ok_and(|lives| lives.is_ok()) {
            return of_before;
        }
    }
}
