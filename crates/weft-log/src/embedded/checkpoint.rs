//! Moves the WAL into the database beside the writer.
//!
//! A checkpoint by the writer would stop every sender for as long as the disk takes. So another connection does it
//! whenever enough was written, while commits go on. Because commits go on it never quite reaches the end of the WAL, and
//! a WAL that is not finished is not used again from its start: when it has become long, the writer itself moves the
//! little that is left, between two batches.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use sqlx::{ConnectOptions, Connection, Row, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::{sync::Notify, task::JoinHandle};

/// Bytes of events between two checkpoints.
const CHECKPOINT_EVERY_BYTES: u64 = 8 << 20;
/// The writer finishes a checkpoint when the WAL holds this much.
const WAL_BYTES_LONG: u64 = 24 << 20;

pub(crate) struct Checkpointer {
    shared: Arc<Shared>,
    written: u64,
    task: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    wanted: Notify,
    stopping: AtomicBool,
    /// True where the writer should finish.
    long: AtomicBool,
}

impl Checkpointer {
    pub(crate) fn start(connect: SqliteConnectOptions) -> Self {
        let shared = Arc::new(Shared::default());
        let task = tokio::spawn(serve(connect, Arc::clone(&shared)));
        Self { shared, written: 0, task: Some(task) }
    }

    /// Takes note of bytes written; true where the writer should finish a checkpoint now.
    pub(crate) fn written(&mut self, bytes: u64) -> bool {
        self.written += bytes;
        if self.written >= CHECKPOINT_EVERY_BYTES {
            self.written = 0;
            self.shared.wanted.notify_one();
        }
        self.shared.long.swap(false, Ordering::AcqRel)
    }

    pub(crate) async fn stop(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
        self.shared.wanted.notify_one();
        if let Some(task) = self.task.take() {
            // It has nothing to say.
            let _ = task.await;
        }
    }
}

async fn serve(connect: SqliteConnectOptions, shared: Arc<Shared>) {
    let mut connection = None;
    loop {
        shared.wanted.notified().await;
        if shared.stopping.load(Ordering::Acquire) {
            break;
        }
        match look(&connect, &mut connection).await {
            Ok(wal_bytes) if wal_bytes >= WAL_BYTES_LONG => shared.long.store(true, Ordering::Release),
            Ok(_) => {}
            Err(error) => {
                // Nothing is lost: the WAL grows until a later one succeeds.
                tracing::warn!(error = &error as &dyn std::error::Error, "log checkpoint failed");
                connection = None;
            }
        }
    }
    if let Some(connection) = connection {
        // The writer closes after this one and does the last checkpoint.
        let _ = connection.close().await;
    }
}

/// Runs a checkpoint; returns the length of the WAL.
async fn look(connect: &SqliteConnectOptions, kept: &mut Option<SqliteConnection>) -> Result<u64, sqlx::Error> {
    let connection = match kept {
        Some(connection) => connection,
        None => kept.insert(connect.connect().await?),
    };
    let page_bytes: i64 = sqlx::query_scalar("PRAGMA page_size").fetch_one(&mut *connection).await?;
    Ok(run(connection).await? * page_bytes.unsigned_abs())
}

/// Moves what can be moved without stopping anyone; returns the pages in the WAL.
pub(crate) async fn run(connection: &mut SqliteConnection) -> Result<u64, sqlx::Error> {
    let row = sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").fetch_one(connection).await?;
    // -1 where there is no WAL.
    Ok(u64::try_from(row.try_get::<i64, _>(1)?).unwrap_or(0))
}
