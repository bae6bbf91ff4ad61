//! Repeats: an event may be in a log twice, where its delivery was repeated because nobody could tell whether it had
//! happened. Both have the same identifier, and lie in the same partition. The first in the order of the log counts; the
//! other has no effect and is not counted.

use std::collections::{HashMap, HashSet};

use weft_model::{EventId, Position};

use crate::{
    batch::Batch,
    bulk::{self, Multi},
    error::StoreError,
    place::place,
    sql::{self, Column, Session},
};

/// Whether a log may hold an event twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Repeats {
    /// It never does: nothing is remembered, and nothing looked up.
    #[default]
    Never,
    /// It may: the identifiers of applied events are kept, in the transaction that applies them.
    Possible,
}

/// Remembers the events of `batches`; where those are that were seen before.
pub(crate) async fn remember(conn: &mut Session<'_>, batches: &[Batch]) -> Result<HashSet<Position>, StoreError> {
    const SEEN: Multi = Multi {
        sql: "SELECT a.event_id FROM ({rows}) AS k {lookup} applied_event AS a ON a.event_id = k.column1",
        columns: &[Column::Bytes],
    };
    let (mut first, mut repeats) = first_of(batches);
    let ids: Vec<EventId> = first.keys().copied().collect();
    let rows = bulk::read(conn, &SEEN, &ids, |values, id| {
        values.put(id.0.as_slice());
    });
    for row in rows.await? {
        let id = EventId::from_bytes(sql::get(&row, 0)?)
            .map_err(|_| StoreError::Unreadable { table: "applied_event", column: "event_id" })?;
        repeats.extend(first.remove(&id));
    }
    let mut new: Vec<_> = first.into_iter().collect();
    new.sort_unstable_by_key(|(id, _)| *id);
    add(conn, &new).await?;
    Ok(repeats)
}

async fn add(conn: &mut Session<'_>, new: &[(EventId, Position)]) -> Result<(), StoreError> {
    const ADD: Multi = Multi {
        sql: "INSERT INTO applied_event (event_id, known_from) {rows}",
        columns: &[Column::Bytes, Column::Int],
    };
    bulk::write(conn, &ADD, new, |values, (id, position)| {
        values.put(id.0.as_slice()).put(place(position.partition.number, position.offset));
    })
    .await?;
    Ok(())
}

/// Where each event is for the first time in `batches`, and where it is again.
fn first_of(batches: &[Batch]) -> (HashMap<EventId, Position>, HashSet<Position>) {
    let mut repeats = HashSet::new();
    let mut first: HashMap<EventId, Position> = HashMap::new();
    for batch in batches {
        for event in &batch.events {
            let Some(id) = event.id else { continue };
            let position = batch.partition.at(event.offset);
            if let Some(earlier) = first.insert(id, position) {
                first.insert(id, earlier);
                repeats.insert(position);
            }
        }
    }
    (first, repeats)
}

/// All events of a partition that is read from its start, where none of them is stored yet.
#[derive(Debug, Default)]
pub(crate) struct Seen(HashSet<EventId>);

impl Seen {
    /// Where repeats are in `batches`.
    pub(crate) async fn remember(
        &mut self,
        conn: &mut Session<'_>,
        batches: &[Batch],
    ) -> Result<HashSet<Position>, StoreError> {
        let (first, mut repeats) = first_of(batches);
        let mut new = Vec::with_capacity(first.len());
        for (id, position) in first {
            if self.0.insert(id) {
                new.push((id, position));
            } else {
                repeats.insert(position);
            }
        }
        add(conn, &new).await?;
        Ok(repeats)
    }
}
