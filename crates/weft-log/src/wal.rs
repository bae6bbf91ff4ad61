//! Moves the WAL of an SQLite database into it beside the writer.
//!
//! A checkpoint by the writer would stop whoever waits for it for as long as the disk takes. So another connection does it
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

/// When the WAL is moved, in bytes of pages that it holds.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Growth between two checkpoints.
    pub every: u64,
    /// The writer finishes a checkpoint when this much is in the WAL after one.
    pub long: u64,
    /// The writer does the checkpoints when this much is in it, because the other connection does not keep up.
    pub max: u64,
}

/// The other connection, for a writer whose own checkpoints are off (`wal_autocheckpoint = 0`).
#[derive(Debug)]
pub struct Checkpointer {
    shared: Arc<Shared>,
    limits: Limits,
    /// Length of the WAL at the last request.
    requested_at: u64,
    task: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    database: PathBuf,
    /// SQLite's index of the WAL: its header says how long the WAL is.
    index: WalIndex,
    wanted: Notify,
    stopping: AtomicBool,
    /// True where the writer should finish.
    long: AtomicBool,
}

impl Checkpointer {
    /// Starts it for the database at `path`, which `connect` opens.
    #[must_use]
    pub fn start(connect: SqliteConnectOptions, path: &Path, limits: Limits) -> Self {
        let mut index = path.as_os_str().to_owned();
        index.push("-shm");
        let shared = Shared {
            database: path.to_owned(),
            index: WalIndex { path: index.into(), file: Mutex::new(None) },
            wanted: Notify::new(),
            stopping: AtomicBool::new(false),
            long: AtomicBool::new(false),
        };
        let shared = Arc::new(shared);
        let task = tokio::spawn(serve(connect, Arc::clone(&shared), limits.long));
        Self { shared, limits, requested_at: 0, task: Some(task) }
    }

    /// To be called by the writer after each commit: its own connection runs a checkpoint where one is due that the other
    /// cannot finish. If that fails the commit stands.
    pub async fn after_commit(&mut self, writer: &mut SqliteConnection) {
        if self.is_due()
            && let Err(error) = checkpoint(writer).await
        {
            self.shared.warn(&error);
        }
    }

    /// True where the writer should run a checkpoint now.
    fn is_due(&mut self) -> bool {
        let wal_bytes = self.shared.index.wal_bytes();
        if wal_bytes < self.requested_at {
            // It is used from its start again.
            self.requested_at = 0;
        }
        let grown = wal_bytes >= self.requested_at + self.limits.every;
        if grown {
            self.requested_at = wal_bytes;
            self.shared.wanted.notify_one();
        }
        self.shared.long.swap(false, Ordering::AcqRel) || (grown && wal_bytes >= self.limits.max)
    }

    /// Ends it, moves everything and empties the WAL: also where readers are still open, when closing alone would leave all of
    /// it there.
    ///
    /// # Errors
    /// SQLite's: whoever opens the database next moves what is left.
    pub async fn finish(&mut self, writer: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        self.stop().await;
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(writer).await.map(|_| ())
    }

    /// Ends it, and leaves the WAL as it is.
    pub(crate) async fn stop(&mut self) {
        self.shared.stop();
        if let Some(task) = self.task.take() {
            // It has nothing to say.
            let _ = task.await;
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

impl Shared {
    fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.wanted.notify_one();
    }

    /// Nothing is lost: the WAL grows until a later checkpoint succeeds.
    fn warn(&self, error: &sqlx::Error) {
        let database = self.database.display();
        tracing::warn!(%database, error = error as &dyn std::error::Error, "checkpoint failed");
    }
}

async fn serve(connect: SqliteConnectOptions, shared: Arc<Shared>, long: u64) {
    let mut connection = None;
    loop {
        shared.wanted.notified().await;
        if shared.stopping.load(Ordering::Acquire) {
            break;
        }
        match connect_and_run(&connect, &mut connection).await {
            Ok(()) if shared.index.wal_bytes() >= long => shared.long.store(true, Ordering::Release),
            Ok(()) => {}
            Err(error) => {
                shared.warn(&error);
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
        Some(connection) => checkpoint(connection).await,
        None => checkpoint(kept.insert(connect.connect().await?)).await,
    }
}

/// Moves what can be moved without stopping anyone.
async fn checkpoint(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").execute(connection).await.map(|_| ())
}

/// SQLite's index of the WAL. It stays open: closing any handle of a file gives up every lock that this process has on it,
/// also SQLite's own, and then another process that opens the log takes the index for its to make anew under our feet.
#[derive(Debug)]
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

#[cfg(test)]
mod tests {
    use sqlx::sqlite::SqliteJournalMode;

    use super::*;

    #[tokio::test]
    async fn the_wal_of_a_busy_writer_stays_short_and_everything_is_kept() {
        const LIMITS: Limits = Limits { every: 64 << 10, long: 256 << 10, max: 1 << 20 };
        const COMMITS: i64 = 2_000;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("busy.db");
        let connect = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .pragma("wal_autocheckpoint", "0");
        let mut writer = connect.connect().await.unwrap();
        sqlx::raw_sql("CREATE TABLE line (bytes BLOB NOT NULL)").execute(&mut writer).await.unwrap();
        let mut checkpointer = Checkpointer::start(connect, &path, LIMITS);
        let mut longest = 0;
        for _ in 0..COMMITS {
            sqlx::query("INSERT INTO line VALUES (zeroblob(4000))").execute(&mut writer).await.unwrap();
            longest = longest.max(checkpointer.shared.index.wal_bytes());
            checkpointer.after_commit(&mut writer).await;
        }
        assert!((LIMITS.every..2 * LIMITS.max).contains(&longest), "{longest} bytes");
        checkpointer.finish(&mut writer).await.unwrap();
        assert_eq!(fs::metadata(dir.path().join("busy.db-wal")).unwrap().len(), 0);
        let stored: i64 = sqlx::query_scalar("SELECT count(*) FROM line").fetch_one(&mut writer).await.unwrap();
        assert_eq!(stored, COMMITS);
    }
}
