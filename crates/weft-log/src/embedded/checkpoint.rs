//! Moves the WAL into the database beside the writer.
//!
//! A checkpoint by the writer would stop every sender for as long as the disk takes. So another connection does it
//! whenever the WAL has grown enough, while commits go on. Because commits go on it never quite reaches the end of the
//! WAL, and a WAL that is not finished is not used again from its start: when it has become long, the writer itself moves
//! the little that is left, between two batches.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use sqlx::{ConnectOptions, Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::{sync::Notify, task::JoinHandle};

/// Growth of the WAL between two checkpoints.
const CHECKPOINT_EVERY_BYTES: u64 = 8 << 20;
/// The writer finishes a checkpoint when the WAL holds this much after one.
const WAL_BYTES_LONG: u64 = 24 << 20;
/// The writer does the checkpoints when the WAL holds this much, because the other connection does not keep up.
const WAL_BYTES_MAX: u64 = 48 << 20;

pub(crate) struct Checkpointer {
    shared: Arc<Shared>,
    /// Length of the WAL at the last request.
    requested_at: u64,
    task: Option<JoinHandle<()>>,
}

struct Shared {
    /// SQLite's index of the WAL: its header says how long the WAL is.
    index: WalIndex,
    wanted: Notify,
    stopping: AtomicBool,
    /// True where the writer should finish.
    long: AtomicBool,
}

impl Checkpointer {
    pub(crate) fn start(connect: SqliteConnectOptions, dir: &Path) -> Self {
        let shared = Shared {
            index: WalIndex { path: dir.join("log.db-shm"), file: Mutex::new(None) },
            wanted: Notify::new(),
            stopping: AtomicBool::new(false),
            long: AtomicBool::new(false),
        };
        let shared = Arc::new(shared);
        let task = tokio::spawn(serve(connect, Arc::clone(&shared)));
        Self { shared, requested_at: 0, task: Some(task) }
    }

    /// To be called after each batch. True where the writer should run a checkpoint now.
    pub(crate) fn after_batch(&mut self) -> bool {
        let wal_bytes = self.shared.index.wal_bytes();
        if wal_bytes < self.requested_at {
            // It is used from its start again.
            self.requested_at = 0;
        }
        let grown = wal_bytes >= self.requested_at + CHECKPOINT_EVERY_BYTES;
        if grown {
            self.requested_at = wal_bytes;
            self.shared.wanted.notify_one();
        }
        self.shared.long.swap(false, Ordering::AcqRel) || (grown && wal_bytes >= WAL_BYTES_MAX)
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
        match connect_and_run(&connect, &mut connection).await {
            Ok(()) if shared.index.wal_bytes() >= WAL_BYTES_LONG => shared.long.store(true, Ordering::Release),
            Ok(()) => {}
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

async fn connect_and_run(
    connect: &SqliteConnectOptions,
    kept: &mut Option<SqliteConnection>,
) -> Result<(), sqlx::Error> {
    match kept {
        Some(connection) => run(connection).await,
        None => run(kept.insert(connect.connect().await?)).await,
    }
}

/// Moves what can be moved without stopping anyone.
pub(crate) async fn run(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").execute(connection).await.map(|_| ())
}

/// Moves everything and empties the WAL.
pub(crate) async fn truncate(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(connection).await.map(|_| ())
}

/// SQLite's index of the WAL. It stays open: closing any handle of a file gives up every lock that this process has on it,
/// also SQLite's own, and then another process that opens the log takes the index for its to make anew under our feet.
struct WalIndex {
    path: PathBuf,
    file: Mutex<Option<File>>,
}

impl WalIndex {
    /// How much the WAL holds, in bytes of pages: the file itself never shrinks. From the header of the WAL index
    /// (<https://sqlite.org/walformat.html>): the page size is the two bytes at 14, the number of frames the four at 16, in
    /// the machine's own order. An index that cannot be read counts as empty: then SQLite cannot write either.
    fn wal_bytes(&self) -> u64 {
        let mut header = [0; 20];
        if self.read(&mut header).is_err() {
            return 0;
        }
        let [.., p0, p1, f0, f1, f2, f3] = header;
        let page_bytes = match u16::from_ne_bytes([p0, p1]) {
            // 65,536 does not fit.
            1 => 1 << 16,
            bytes => u64::from(bytes),
        };
        page_bytes * u64::from(u32::from_ne_bytes([f0, f1, f2, f3]))
    }

    fn read(&self, header: &mut [u8]) -> io::Result<()> {
        let mut kept = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let now = fs::metadata(&self.path)?.ino();
        let file = match kept.take() {
            // One that SQLite has replaced meanwhile is nobody's any more: closing it gives up no lock that counts.
            Some(file) if file.metadata()?.ino() == now => kept.insert(file),
            _ => kept.insert(File::open(&self.path)?),
        };
        file.read_exact_at(header, 0)
    }
}
