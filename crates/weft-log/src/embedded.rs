//! The log in one SQLite file, for a node that runs alone.
//!
//! ```text
//!  log.db, log.db-wal, log.db-shm     SQLite in WAL mode, synchronous=FULL: a commit is one fsync of the WAL
//!  lock                               held exclusively by the node; readers beside it do not take it
//! ```
//!
//! One connection writes, a few read, one moves the WAL into the database while the others go on. The WAL stays small enough to be read again in well under 200 ms after a crash.

mod evidence;
mod read;
mod sql;
mod write;

use std::{
    collections::HashMap,
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use sqlx::{
    ConnectOptions, Connection, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous},
};

use crate::{
    Log, OpenLogError, Statistics, Vault,
    names::Names,
    partitions::Partitions,
    storage::Ends,
    wal::{self, Checkpointer},
};
use write::SqliteWriter;

pub use evidence::EmbeddedEvidence;
pub use read::Sqlite;

/// A log in one SQLite file.
pub type EmbeddedLog = Log<Sqlite>;

/// The format that this program writes, in SQLite's `user_version`.
const FORMAT: i64 = 1;
/// `Weft` in ASCII, in SQLite's `application_id`.
const APPLICATION_ID: i64 = 0x5765_6674;
const READERS_MAX: u32 = 4;
const WAL: wal::Limits = wal::Limits { every: 8 << 20, long: 24 << 20, max: 48 << 20 };

/// How to open an embedded log.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// Its directory; created where it is missing.
    pub dir: PathBuf,
    /// The keys that its events are sealed with.
    pub vault: Arc<Vault>,
    /// The database may not grow beyond this many bytes: appends are then unavailable, while the disk still has room for
    /// everything else. None: until the disk is full.
    pub disk_bytes_max: Option<u64>,
    /// Bytes of a database page: a power of two from 512 to 65,536. Only used when the log is created.
    pub page_bytes: u32,
}

impl OpenOptions {
    /// The usual log in `dir`.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>, vault: Arc<Vault>) -> Self {
        Self { dir: dir.into(), vault, disk_bytes_max: None, page_bytes: 8192 }
    }
}

impl Log<Sqlite> {
    /// Opens the log for this process alone, or makes it.
    ///
    /// # Errors
    /// [`OpenLogError`], each saying what to do.
    pub async fn open(options: OpenOptions) -> Result<Self, OpenLogError> {
        let dir = options.dir.clone();
        fs::create_dir_all(&dir).map_err(unavailable(&dir))?;
        let lock = lock(&dir)?;
        let connect = connect_options(&options);
        let mut connection = connect.connect().await.map_err(refused(&dir))?;
        prepare(&mut connection, &options).await?;
        let ends = check(&mut connection, &dir, &options.vault).await?;
        let checkpointer = Checkpointer::start(connect.clone(), &database(&dir), WAL);
        let writer = SqliteWriter::new(connect.clone(), connection, checkpointer, lock).await.map_err(refused(&dir))?;
        let storage = Sqlite::new(readers(&connect), &dir);
        Ok(Self::start(options.vault, storage, writer, ends))
    }

    /// Opens the log to be read only, also beside the node that writes it. Appends are unavailable.
    ///
    /// # Errors
    /// [`OpenLogError`], each saying what to do.
    pub async fn open_read_only(dir: impl AsRef<Path>, vault: Arc<Vault>) -> Result<Self, OpenLogError> {
        let options = OpenOptions::new(dir.as_ref(), vault);
        let dir = &options.dir;
        if !database(dir).exists() {
            return Err(OpenLogError::Missing { place: place(dir) });
        }
        let connect = reading(&connect_options(&options)).create_if_missing(false);
        let mut connection = connect.connect().await.map_err(refused(dir))?;
        let ends = check(&mut connection, dir, &options.vault).await?;
        connection.close().await.map_err(refused(dir))?;
        let storage = Sqlite::new(readers(&connect), dir);
        Ok(Self::start_read_only(options.vault, storage, &ends))
    }
}

fn database(dir: &Path) -> PathBuf {
    dir.join("log.db")
}

/// Takes the lock that keeps a second node away from the log.
fn lock(dir: &Path) -> Result<File, OpenLogError> {
    let file = File::options().create(true).truncate(false).write(true).open(dir.join("lock"));
    let file = file.map_err(unavailable(dir))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenLogError::InUse { place: place(dir) }),
        Err(TryLockError::Error(error)) => Err(unavailable(dir)(error)),
    }
}

fn connect_options(options: &OpenOptions) -> SqliteConnectOptions {
    let connect = SqliteConnectOptions::new()
        .filename(database(&options.dir))
        .create_if_missing(true)
        .page_size(options.page_bytes)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(false)
        .busy_timeout(Duration::from_secs(5))
        // The checkpointer does it: the writer's commits stay short.
        .pragma("wal_autocheckpoint", "0")
        .pragma("temp_store", "memory")
        .pragma("cache_size", "-16384")
        .row_buffer_size(512)
        .disable_statement_logging();
    match options.disk_bytes_max {
        Some(bytes) => connect.pragma("max_page_count", (bytes / u64::from(options.page_bytes)).max(1).to_string()),
        None => connect,
    }
}

/// The same without any right to write.
fn reading(connect: &SqliteConnectOptions) -> SqliteConnectOptions {
    reading_file(connect.get_filename())
}

fn reading_file(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .foreign_keys(false)
        .busy_timeout(Duration::from_secs(5))
        .pragma("cache_size", "-4096")
        .row_buffer_size(512)
        .disable_statement_logging()
}

fn readers(connect: &SqliteConnectOptions) -> SqlitePool {
    readers_of(connect.get_filename())
}

fn readers_of(path: &Path) -> SqlitePool {
    let options = SqlitePoolOptions::new().max_connections(READERS_MAX).test_before_acquire(false);
    options.connect_lazy_with(reading_file(path))
}

/// Makes the tables where there are none yet.
async fn prepare(connection: &mut SqliteConnection, options: &OpenOptions) -> Result<(), OpenLogError> {
    let dir = &options.dir;
    let format: i64 =
        sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *connection).await.map_err(refused(dir))?;
    if format > 0 {
        return Ok(());
    }
    let mut transaction = connection.begin().await.map_err(refused(dir))?;
    sqlx::raw_sql(include_str!("../../../schemas/log.sql")).execute(&mut *transaction).await.map_err(refused(dir))?;
    sqlx::query("INSERT INTO vault (fingerprint) VALUES (?)")
        .bind(Names::new(&options.vault).fingerprint().to_vec())
        .execute(&mut *transaction)
        .await
        .map_err(refused(dir))?;
    let numbers = format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {FORMAT}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(numbers)).execute(&mut *transaction).await.map_err(refused(dir))?;
    transaction.commit().await.map_err(refused(dir))
}

/// Refuses a log that is not one, or not ours, and finds its ends without a scan.
async fn check(connection: &mut SqliteConnection, dir: &Path, vault: &Vault) -> Result<Ends, OpenLogError> {
    let place = || place(dir);
    let numbers: (i64, i64) = sqlx::query_as(
        "SELECT (SELECT user_version FROM pragma_user_version), (SELECT application_id FROM pragma_application_id)",
    )
    .fetch_one(&mut *connection)
    .await
    .map_err(refused(dir))?;
    match numbers {
        (format, APPLICATION_ID) if format > FORMAT => {
            return Err(OpenLogError::NewerFormat { place: place(), format, known: FORMAT });
        }
        (_, APPLICATION_ID) => {}
        _ => return Err(OpenLogError::Damaged { place: place(), what: "log.db is not a log".to_owned() }),
    }
    let fingerprint: Vec<u8> =
        sqlx::query_scalar("SELECT fingerprint FROM vault").fetch_one(&mut *connection).await.map_err(refused(dir))?;
    if fingerprint != Names::new(vault).fingerprint() {
        return Err(OpenLogError::OtherVault { place: place() });
    }
    // One transaction, so that both are of one moment: a node may be writing meanwhile.
    let mut transaction = connection.begin().await.map_err(refused(dir))?;
    let counts = read::counts(&mut transaction).await.map_err(refused(dir))?;
    let ends = read::ends(&mut transaction).await.map_err(refused(dir))?;
    transaction.commit().await.map_err(refused(dir))?;
    let counted = Statistics::from_counts(Partitions::SINGLE, counts, &HashMap::new(), 0).partitions;
    if counted.iter().any(|counted| counted.events != ends.sizes.size(counted.partition)) {
        return Err(OpenLogError::Damaged {
            place: place(),
            what: "counted events are not those that are stored".to_owned(),
        });
    }
    Ok(ends)
}

fn place(dir: &Path) -> String {
    dir.display().to_string()
}

fn unavailable(dir: &Path) -> impl Fn(std::io::Error) -> OpenLogError + '_ {
    |error| OpenLogError::Unavailable { place: place(dir), source: error.into() }
}

/// What SQLite says, as a decision.
fn refused(dir: &Path) -> impl Fn(sqlx::Error) -> OpenLogError + '_ {
    |error| {
        if sql::is_damage(&error) {
            OpenLogError::Damaged { place: place(dir), what: sql::cause(error).to_string() }
        } else {
            OpenLogError::Unavailable { place: place(dir), source: sql::cause(error).into() }
        }
    }
}
