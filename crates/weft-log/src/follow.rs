//! Reading a partition as it grows.

use weft_model::Position;

use crate::{ReadError, ReadLimit, SharedLog, Stored};

/// Reads one partition page by page, and waits where it ends.
pub struct Follower {
    log: SharedLog,
    next: Position,
    limit: ReadLimit,
}

impl Follower {
    /// Starts at `from`.
    #[must_use]
    pub fn new(log: SharedLog, from: Position) -> Self {
        Self { log, next: from, limit: ReadLimit::PAGE }
    }

    /// The same, with pages of this size.
    #[must_use]
    pub fn with_limit(self, limit: ReadLimit) -> Self {
        Self { limit, ..self }
    }

    /// The next events, at least one; waits until there is one. May be cancelled without losing events.
    ///
    /// # Errors
    /// As [`read`](crate::EventLog::read) and [`wait`](crate::EventLog::wait).
    pub async fn next(&mut self) -> Result<Vec<Stored>, ReadError> {
        loop {
            let page = self.log.read(self.next, self.limit).await?;
            if let Some(last) = page.last() {
                self.next.offset = last.position.offset + 1;
                return Ok(page);
            }
            self.log.wait(self.next.partition, self.next.offset).await?;
        }
    }

    /// Where the next page starts.
    #[must_use]
    pub fn position(&self) -> Position {
        self.next
    }
}
