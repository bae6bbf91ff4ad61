//! Filling a file of SQLite: the statements of each round in one transaction, while the next round is folded.

use sqlx::{Connection, SqliteConnection};
use tokio::sync::mpsc;
use weft_log::SharedLog;
use weft_model::Cut;

use super::{Limits, ROUNDS_AHEAD, Sink, fill_partition, load, move_cursors};
use crate::{
    bulk::{self, Multi},
    error::{ProjectError, StoreError},
    rebuild::EVENTS_MAX,
    repeats::Repeats,
    sql::{Session, Tx, Value},
};

/// The facts are about a gigabyte.
pub(crate) const LIMITS: Limits = Limits { events: EVENTS_MAX, facts: 4 << 20 };

/// Statements that wait, in order, with the values of their rows.
#[derive(Debug, Default)]
pub(crate) struct Queue(Vec<(Multi, Vec<Value<'static>>)>);

impl Queue {
    /// Adds rows of `statement`, so many as are written at once.
    pub(crate) fn add(&mut self, statement: &Multi, values: Vec<Value<'_>>) {
        self.0.push((*statement, values.into_iter().map(load::owned).collect()));
    }
}

/// Applies `log` from its start to the empty read model of `writer`, up to `ends` or to where there is room for no more: its
/// cursors say how far.
pub(crate) async fn fill(
    writer: &mut SqliteConnection,
    log: &SharedLog,
    ends: &Cut,
    repeats: Repeats,
    limits: Limits,
) -> Result<(), ProjectError> {
    let (to, rounds) = mpsc::channel(ROUNDS_AHEAD);
    let reading = async {
        let mut sink = Rounds { queue: Queue::default(), to };
        let mut filled = Cut::default();
        for (partition, end) in &ends.0 {
            let next = fill_partition(log, (*partition, *end), repeats, limits, &mut sink).await?;
            filled.0.insert(*partition, next);
        }
        Ok::<Cut, ProjectError>(filled)
    };
    let (filled, written) = tokio::join!(reading, write(writer, rounds));
    // Where writing failed, that is why reading ended.
    written?;
    move_cursors(Tx::Sqlite(writer.begin().await.map_err(StoreError::from)?), &filled?).await
}

/// Rounds on their way to the connection that writes.
struct Rounds {
    queue: Queue,
    to: mpsc::Sender<Queue>,
}

impl Sink for Rounds {
    fn session(&mut self) -> Session<'_> {
        Session::Queue(&mut self.queue)
    }

    async fn send(&mut self) -> Result<(), ProjectError> {
        let round = std::mem::take(&mut self.queue);
        self.to.send(round).await.map_err(|_| StoreError::Unavailable(sqlx::Error::WorkerCrashed).into())
    }
}

async fn write(writer: &mut SqliteConnection, mut rounds: mpsc::Receiver<Queue>) -> Result<(), StoreError> {
    while let Some(Queue(round)) = rounds.recv().await {
        let mut tx = writer.begin().await?;
        for (statement, values) in round {
            bulk::execute(&mut Session::Sqlite(&mut tx), &statement, values).await?;
        }
        tx.commit().await?;
    }
    Ok(())
}
