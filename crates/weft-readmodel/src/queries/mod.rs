//! What can be asked. Every answer about people is given as of a cut: the newest, unless one is named.
//!
//! Rows carry when they were known, so no read needs a transaction: a query takes the sizes of the streams first, and what
//! is applied while it runs lies beyond them.

use crate::{
    ReadModel,
    error::StoreError,
    sql::{Row, Value},
};

mod decisions;
mod feeds;
mod linking;
mod members;
mod persons;
mod quarantine;
mod reviews;
mod search;
mod timeline;

pub use decisions::{Decision, Explained, Weight};
pub use linking::{LinkingRecord, LinkingSnapshot};
pub use persons::Person;
pub use quarantine::Kept;
pub use reviews::{ReviewKey, ReviewKeyError, ReviewPage, Waiting};
pub use search::{Demographic, Found};
pub use timeline::{Entry, PageKey, PageKeyError, TimelineChanges, TimelinePage};

impl ReadModel {
    /// The answer to one question of few rows.
    async fn ask(&self, sql: &str, values: Vec<Value<'_>>) -> Result<Vec<Row>, StoreError> {
        self.readers().acquire().await?.session().all(sql, values).await
    }
}
