//! Consumers that are assigned one partition each, from where a reader asks.
//!
//! Whoever reads a partition asks for the events behind those that it has. So a consumer is kept where it stopped, with
//! what it has fetched beyond that, and taken again by the next question that starts there.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::{
    consumer::{Consumer, StreamConsumer},
    error::KafkaError,
};
use weft_model::Position;

use super::{client::Client, read::assignment};

/// A consumer and where it goes on.
pub(super) struct Cursor {
    pub(super) consumer: StreamConsumer,
    pub(super) next: Position,
}

/// Those that wait for the next question.
pub(super) struct Cursors {
    /// The one used last is last.
    idle: Mutex<Vec<Cursor>>,
    most: usize,
}

impl Cursors {
    /// None, and never more than so many.
    pub(super) fn new(most: usize) -> Self {
        Self { idle: Mutex::default(), most }
    }

    /// One that goes on at `from`; where there is none, another is moved there, or one is made.
    pub(super) fn take(
        &self,
        client: &Client,
        from: Position,
        make: impl FnOnce() -> Result<StreamConsumer, KafkaError>,
    ) -> Result<Cursor, KafkaError> {
        let kept = {
            let mut idle = self.lock();
            match idle.iter().position(|cursor| cursor.next == from) {
                Some(place) => Some(idle.remove(place)),
                None if idle.len() >= self.most => Some(idle.remove(0)),
                None => None,
            }
        };
        let consumer = match kept {
            Some(cursor) if cursor.next == from => return Ok(cursor),
            Some(cursor) => cursor.consumer,
            None => make()?,
        };
        consumer.assign(&assignment(client, from)?)?;
        Ok(Cursor { consumer, next: from })
    }

    pub(super) fn keep(&self, cursor: Cursor) {
        self.lock().push(cursor);
    }

    /// Ends them all.
    pub(super) async fn close(&self) {
        let idle = std::mem::take(&mut *self.lock());
        // Ending a consumer waits for its threads.
        let _ = tokio::task::spawn_blocking(move || drop(idle)).await;
    }

    /// What a panicking thread left behind is whole: nothing under this lock fails half way.
    fn lock(&self) -> MutexGuard<'_, Vec<Cursor>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
