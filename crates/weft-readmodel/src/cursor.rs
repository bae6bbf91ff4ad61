//! Cursors: how far each partition has been applied. They change with the effects or not at all.

use std::collections::BTreeMap;

use sqlx::SqliteConnection;
use weft_model::{Cut, Partition, Stream};

use crate::{
    batch::{Batch, STREAMS},
    bulk,
    error::{ApplyError, StoreError},
};

/// The cursors of the partitions that the read model follows: one past the last applied offset of each.
pub(crate) async fn load(conn: &mut SqliteConnection) -> Result<Cut, StoreError> {
    let mut cut = Cut(followed().map(|partition| (partition, 0)).collect());
    for row in sqlx::query("SELECT stream, partition, next FROM cursor").fetch_all(conn).await? {
        let name: &str = bulk::get(&row, 0)?;
        let stream = STREAMS.into_iter().find(|s| s.name() == name);
        let stream = stream.ok_or(StoreError::Unreadable { table: "cursor", column: "stream" })?;
        cut.0.insert(stream.partition(bulk::get(&row, 1)?), bulk::get_u64(&row, 2)?);
    }
    Ok(cut)
}

/// Where the cursors stand once `batches` are applied.
///
/// # Errors
/// [`ApplyError::Gap`] and [`ApplyError::Partition`].
pub(crate) fn advance(cut: &Cut, batches: &[Batch]) -> Result<Cut, ApplyError> {
    let mut advanced: BTreeMap<Partition, u64> = cut.0.clone();
    for batch in batches {
        let partition = batch.partition;
        let next = advanced.get_mut(&partition).ok_or(ApplyError::Partition(partition))?;
        if batch.from != *next {
            return Err(ApplyError::Gap { partition, next: *next, from: batch.from });
        }
        *next = batch.next();
    }
    Ok(Cut(advanced))
}

pub(crate) async fn store(conn: &mut SqliteConnection, cut: &Cut) -> Result<(), StoreError> {
    const PUT: bulk::Multi = bulk::Multi {
        before: "INSERT OR REPLACE INTO cursor (stream, partition, next) VALUES ",
        columns: 3,
        after: "",
    };
    let all: Vec<(Partition, u64)> = cut.0.iter().map(|(partition, next)| (*partition, *next)).collect();
    bulk::write(conn, &PUT, &all, |values, (partition, next)| {
        values.put(partition.stream.name()).put(partition.number).put_u64(*next);
    })
    .await
}

/// Partition 0 of each stream. The feed comes first: what it tells of needs no loading while nothing else spoke of it.
pub(crate) fn followed() -> impl Iterator<Item = Partition> {
    STREAMS.into_iter().map(|stream| stream.partition(0))
}

pub(crate) fn feed() -> Partition {
    Stream::Feed.partition(0)
}

pub(crate) fn identity() -> Partition {
    Stream::Identity.partition(0)
}

pub(crate) fn control() -> Partition {
    Stream::Control.partition(0)
}
