//! Filling an empty read model from a log: fold in memory, look nothing up, and write beside.
//!
//! ```text
//!  read, open ──► fold in memory ──► rows ──► one connection that writes: postgres.rs by COPY, sqlite.rs in transactions
//! ```
//!
//! What a partition tells of is held until it has been read to its end (about 200 bytes for every fact of the partition), or
//! until so much is held as there is room for: what follows then is applied as it is to a live read model. The streams depend on
//! nothing of each other, so one partition is held at a time.

mod load;
pub(crate) mod postgres;
pub(crate) mod sqlite;

use std::collections::HashSet;

use weft_log::SharedLog;
use weft_model::{Cut, Partition};

use crate::{
    apply::Work,
    batch::Batch,
    bulk::{self, Multi},
    cursor::Cursors,
    error::{ApplyError, ProjectError},
    follow::{Follow, Patience},
    rebuild::PAGE,
    repeats::{Repeats, Seen},
    sql::{Column, Session, Tx},
};

pub(crate) use load::Load;
pub(crate) use sqlite::Queue;

/// Rounds that wait to be written.
const ROUNDS_AHEAD: usize = 2;
/// Rows of a table that are written at once where a partition ends.
const ROWS_AT_ONCE: usize = 65_536;

/// How much is held.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Events of one round: the more, the closer together rows of a record are written.
    pub(crate) events: usize,
    /// Facts after which no further round is filled in.
    pub(crate) facts: usize,
}

/// Where rows go.
trait Sink {
    /// Takes the rows of a round: only for [`bulk::write`].
    fn session(&mut self) -> Session<'_>;

    /// Hands over what was taken since the last call; waits while too much of it waits.
    async fn send(&mut self) -> Result<(), ProjectError>;
}

/// Fills in the events of a partition from its start up to `end`, within the limits; the offset of the first event that was not
/// filled in.
async fn fill_partition(
    log: &SharedLog,
    (partition, end): (Partition, u64),
    repeats: Repeats,
    limits: Limits,
    sink: &mut impl Sink,
) -> Result<u64, ProjectError> {
    let mut follow = Follow::start(log.clone(), partition.at(0), PAGE, Patience::ReadTo(end));
    let mut seen = Seen::default();
    let mut held = Work::filling();
    let mut next = 0;
    while held.facts() < limits.facts {
        let mut batches = Vec::new();
        while batches.iter().map(Batch::len).sum::<usize>() < limits.events
            && let Some(batch) = follow.next().await?
        {
            batches.push(batch);
        }
        let Some(last) = batches.last() else { break };
        next = last.next();
        let mut conn = sink.session();
        let mut again = HashSet::new();
        if repeats == Repeats::Possible {
            again = seen.remember(&mut conn, &batches).await?;
        }
        let mut work = held.next_round();
        for batch in &batches {
            for event in batch.events.iter().filter(|event| !again.contains(&partition.at(event.offset))) {
                work.fold(partition, event);
            }
        }
        work.store(&mut conn).await?;
        held = work.next_round();
        sink.send().await?;
    }
    let mut standing = held.next_round();
    while standing.end(ROWS_AT_ONCE) {
        standing.store(&mut sink.session()).await?;
        standing = standing.next_round();
        sink.send().await?;
    }
    store_facts(standing, sink).await?;
    Ok(next)
}

async fn store_facts(held: Work<'_>, sink: &mut impl Sink) -> Result<(), ProjectError> {
    const INSERT: Multi = Multi {
        sql: "INSERT INTO fact (record_no, entry_key, state) {rows}",
        columns: &[Column::Int, Column::Int, Column::Bytes],
    };
    let mut facts = held.into_facts();
    loop {
        let some: Vec<_> = facts.by_ref().take(ROWS_AT_ONCE).collect();
        if some.is_empty() {
            return Ok(());
        }
        bulk::write(&mut sink.session(), &INSERT, &some, |values, (record_no, key, state)| {
            values.put(*record_no).put(*key).put(state.as_slice());
        })
        .await?;
        sink.send().await?;
    }
}

/// Says how far the partitions were filled in.
async fn move_cursors(mut tx: Tx<'_>, filled: &Cut) -> Result<(), ProjectError> {
    let mut conn = tx.session();
    let before = Cursors::load(&mut conn).await?;
    let mut after = before.clone();
    for (partition, next) in &filled.0 {
        let cursor = after.0.get_mut(partition).ok_or(ApplyError::Partition(*partition))?;
        cursor.next = *next;
    }
    before.store(&mut conn, &after).await?;
    tx.commit().await?;
    Ok(())
}
