//! Cursors: how far each partition has been applied. They change with the effects or not at all.

use std::collections::BTreeMap;

use weft_model::{Cut, Partition, Stream};

use crate::{
    batch::{Batch, STREAMS},
    bulk::{self, Multi},
    error::{ApplyError, StoreError},
    sql::{self, Column, Session},
};

/// How far a partition has been applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// One past the last applied offset.
    pub(crate) next: u64,
    /// Which of its owners may go on.
    pub(crate) epoch: i64,
}

/// The cursors of all partitions that a read model follows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Cursors(pub(crate) BTreeMap<Partition, Cursor>);

impl Cursors {
    pub(crate) async fn load(conn: &mut Session<'_>) -> Result<Self, StoreError> {
        let mut cursors = BTreeMap::new();
        for row in conn.all("SELECT stream, partition, next, epoch FROM cursor", vec![]).await? {
            let name: &str = sql::get(&row, 0)?;
            let stream = STREAMS.into_iter().find(|s| s.name() == name);
            let stream = stream.ok_or(StoreError::Unreadable { table: "cursor", column: "stream" })?;
            let number = u32::try_from(sql::get::<i64>(&row, 1)?)
                .map_err(|_| StoreError::Unreadable { table: "cursor", column: "partition" })?;
            let cursor = Cursor { next: sql::get_u64(&row, 2)?, epoch: sql::get(&row, 3)? };
            cursors.insert(stream.partition(number), cursor);
        }
        Ok(Self(cursors))
    }

    pub(crate) fn cut(&self) -> Cut {
        Cut(self.0.iter().map(|(partition, cursor)| (*partition, cursor.next)).collect())
    }

    /// Where the cursors stand once `batches` are applied.
    ///
    /// # Errors
    /// [`ApplyError::Gap`] and [`ApplyError::Partition`].
    pub(crate) fn advance(&self, batches: &[Batch]) -> Result<Self, ApplyError> {
        let mut advanced = self.0.clone();
        for batch in batches {
            let partition = batch.partition;
            let cursor = advanced.get_mut(&partition).ok_or(ApplyError::Partition(partition))?;
            if batch.from != cursor.next {
                return Err(ApplyError::Gap { partition, next: cursor.next, from: batch.from });
            }
            cursor.next = batch.next();
        }
        Ok(Self(advanced))
    }

    /// Moves the stored cursors from here to `after`.
    ///
    /// # Errors
    /// [`ApplyError::Fenced`] where one of them is not here any more: somebody else has gone on.
    pub(crate) async fn store(&self, conn: &mut Session<'_>, after: &Self) -> Result<(), ApplyError> {
        const MOVE: Multi = Multi {
            sql: "UPDATE cursor SET next = k.column5 FROM ({rows}) AS k WHERE stream = k.column1 \
                  AND partition = k.column2 AND next = k.column3 AND epoch = k.column4",
            columns: &[Column::Text, Column::Int, Column::Int, Column::Int, Column::Int],
        };
        let moves: Vec<_> =
            self.0.iter().zip(after.0.values()).filter(|((_, from), to)| from.next != to.next).collect();
        let moved = bulk::write(conn, &MOVE, &moves, |values, ((partition, from), to)| {
            values.put(partition.stream.name()).put(partition.number).put(from.next).put(from.epoch).put(to.next);
        })
        .await?;
        if moved == moves.len() as u64 {
            return Ok(());
        }
        // Under the lock of this transaction those that were moved stand at their ends: the other one is somebody else's.
        let stored = Self::load(conn).await?;
        let elsewhere = moves.iter().find(|((partition, _), to)| stored.0.get(partition) != Some(to));
        elsewhere.map_or(Ok(()), |((partition, _), _)| Err(ApplyError::Fenced(**partition)))
    }
}

/// Follows `partitions` too, from their first events on.
pub(crate) async fn follow(conn: &mut Session<'_>, partitions: &[Partition]) -> Result<(), StoreError> {
    const ADD: Multi = Multi {
        sql: "INSERT INTO cursor (stream, partition, next, epoch) {rows} ON CONFLICT DO NOTHING",
        columns: &[Column::Text, Column::Int, Column::Int, Column::Int],
    };
    bulk::write(conn, &ADD, partitions, |values, partition| {
        values.put(partition.stream.name()).put(partition.number).put(0i64).put(0i64);
    })
    .await?;
    Ok(())
}

/// Partition 0 of each stream: what every log has.
pub(crate) fn first_partitions() -> [Partition; 3] {
    STREAMS.map(|stream| stream.partition(0))
}

/// Those of a log's partitions that a read model is made of. The feed comes first: what it tells of needs no loading while
/// nothing else spoke of it.
pub(crate) fn followed(partitions: Vec<Partition>) -> Vec<Partition> {
    let mut followed: Vec<Partition> = partitions.into_iter().filter(|p| p.stream != Stream::Access).collect();
    followed.sort_unstable();
    followed
}
