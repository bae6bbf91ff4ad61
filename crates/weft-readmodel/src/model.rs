//! The read model's file: one connection that writes, a few that read.

use std::{
    path::{Path, PathBuf},
    sync::{PoisonError, RwLock},
};

use sqlx::{
    ConnectOptions, Connection, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::sync::{Mutex, watch};
use weft_model::{Cut, Stream};

use crate::{
    apply,
    batch::Batch,
    bulk, cursor,
    error::{ApplyError, OpenModelError, QueryError, StoreError},
};

/// Version of the projection: of the schema and of every fold. A file of another version is rebuilt, never migrated.
pub const VERSION: i64 = 1;

/// "Weft", so that another program's file is not taken for a read model.
const APPLICATION_ID: i64 = 0x5765_6674;
const SCHEMA: &str = include_str!("../../../schemas/readmodel.sql");
const READERS: u32 = 4;

/// The read model in one SQLite file. Cheap to share behind an `Arc`.
#[derive(Debug)]
pub struct ReadModel {
    path: PathBuf,
    writer: Mutex<SqliteConnection>,
    readers: SqlitePool,
    known: RwLock<Cut>,
    changes: watch::Sender<u64>,
}

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Survives the death of the process; the death of the machine loses the last moments, which are read again.
    Live,
    /// Survives nothing: for a file that is being rebuilt, and is thrown away if that ends early.
    Rebuild,
}

/// Sizes of the streams that a query sees, as SQLite holds them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) feed: i64,
    pub(crate) identity: i64,
}

impl ReadModel {
    /// Opens the file at `path`, or makes it.
    ///
    /// # Errors
    /// [`OpenModelError::Version`] where another version wrote it: rebuild.
    pub async fn open(path: &Path) -> Result<Self, OpenModelError> {
        Self::open_as(path, Mode::Live).await
    }

    pub(crate) async fn open_as(path: &Path, mode: Mode) -> Result<Self, OpenModelError> {
        let failed = |error: sqlx::Error| OpenModelError::Store { path: path.to_owned(), source: error.into() };
        let mut writer = options(path, mode).connect().await.map_err(failed)?;
        create_or_check(&mut writer, path).await?;
        let known = cursor::load(&mut writer).await;
        let known = known.map_err(|source| OpenModelError::Store { path: path.to_owned(), source })?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .test_before_acquire(false)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_lazy_with(reader_options(path));
        let (path, writer, known) = (path.to_owned(), Mutex::new(writer), RwLock::new(known));
        Ok(Self { path, writer, readers, known, changes: watch::Sender::new(0) })
    }

    /// Applies events: their effects and the cursors of their partitions in one transaction, all or nothing.
    ///
    /// # Errors
    /// [`ApplyError::Gap`] where a batch does not start where the last one of its partition ended.
    pub async fn apply(&self, batches: Vec<Batch>) -> Result<(), ApplyError> {
        self.apply_all(&batches).await
    }

    pub(crate) async fn apply_all(&self, batches: &[Batch]) -> Result<(), ApplyError> {
        let mut writer = self.writer.lock().await;
        let after = apply::apply(&mut writer, batches).await?;
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = after;
        self.changes.send_modify(|commits| *commits += 1);
        Ok(())
    }

    /// What has been projected: for each partition that the read model follows, how many of its events.
    #[must_use]
    pub fn known_at(&self) -> Cut {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts commits: ticks after each, when [`known_at`](Self::known_at) tells of it.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The linker's place in the feed stream: one past the last message that it has decided on.
    ///
    /// # Errors
    /// [`QueryError::Store`].
    pub async fn linker_cursor(&self) -> Result<u64, QueryError> {
        let next: Option<i64> = sqlx::query_scalar("SELECT next FROM linker").fetch_optional(self.readers()).await?;
        Ok(next.map_or(0, i64::cast_unsigned))
    }

    /// Keeps the linker's place.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn set_linker_cursor(&self, next: u64) -> Result<(), StoreError> {
        sqlx::query("INSERT OR REPLACE INTO linker (only, next) VALUES (1, ?)")
            .bind(bulk::sql(next))
            .execute(&mut *self.writer.lock().await)
            .await?;
        Ok(())
    }

    /// Closes the file; every later call fails as unavailable.
    ///
    /// # Errors
    /// [`StoreError`] where the last pages could not be moved from the write-ahead log into the file.
    pub async fn close(self) -> Result<(), StoreError> {
        self.readers.close().await;
        let mut writer = self.writer.into_inner();
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut writer).await?;
        Ok(writer.close().await?)
    }

    pub(crate) fn readers(&self) -> &SqlitePool {
        &self.readers
    }

    pub(crate) fn writer(&self) -> &Mutex<SqliteConnection> {
        &self.writer
    }

    /// What a query sees that is asked as of `as_of`: the answer's cut (feed and identity), and its sizes.
    ///
    /// # Errors
    /// [`QueryError::Ahead`] where that has not been projected yet.
    pub(crate) fn visible(&self, as_of: Option<&Cut>) -> Result<(Cut, Sizes), QueryError> {
        let mut known = self.known_at();
        known.0.retain(|partition, _| partition.stream != Stream::Control);
        let mut seen = known.clone();
        for (partition, size) in &mut seen.0 {
            let asked = as_of.map_or(u64::MAX, |cut| cut.size(*partition));
            if asked != u64::MAX && asked > *size {
                return Err(QueryError::Ahead { asked: as_of.cloned().unwrap_or_default(), known });
            }
            *size = asked.min(*size);
        }
        let size = |stream: Stream| bulk::sql(seen.size(stream.partition(0)));
        let sizes = Sizes { feed: size(Stream::Feed), identity: size(Stream::Identity) };
        Ok((seen, sizes))
    }
}

fn options(path: &Path, mode: Mode) -> SqliteConnectOptions {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .page_size(4096)
        .foreign_keys(false)
        .statement_cache_capacity(512)
        .row_buffer_size(1024)
        .pragma("temp_store", "MEMORY")
        .disable_statement_logging();
    match mode {
        Mode::Live => options
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .pragma("cache_size", "-131072")
            .pragma("wal_autocheckpoint", "32768"),
        Mode::Rebuild => options
            .journal_mode(SqliteJournalMode::Off)
            .synchronous(SqliteSynchronous::Off)
            .pragma("cache_size", "-524288"),
    }
}

fn reader_options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .statement_cache_capacity(128)
        .row_buffer_size(1100)
        .pragma("cache_size", "-16384")
        .pragma("mmap_size", "8589934592")
        .disable_statement_logging()
}

async fn create_or_check(conn: &mut SqliteConnection, path: &Path) -> Result<(), OpenModelError> {
    let failed = |error: sqlx::Error| OpenModelError::Store { path: path.to_owned(), source: error.into() };
    let pragma = |name| sqlx::query_scalar::<_, i64>(name);
    let found = pragma("PRAGMA user_version").fetch_one(&mut *conn).await.map_err(failed)?;
    let application = pragma("PRAGMA application_id").fetch_one(&mut *conn).await.map_err(failed)?;
    let tables = pragma("SELECT count(*) FROM sqlite_schema").fetch_one(&mut *conn).await.map_err(failed)?;
    match (application, found, tables) {
        (APPLICATION_ID, VERSION, _) => Ok(()),
        (APPLICATION_ID, ..) => Err(OpenModelError::Version { path: path.to_owned(), found, wanted: VERSION }),
        (0, 0, 0) => create(conn).await.map_err(failed),
        _ => Err(OpenModelError::Foreign { path: path.to_owned() }),
    }
}

/// All in one transaction: a file is a read model or is empty.
async fn create(conn: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let mut transaction = conn.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::raw_sql(SCHEMA).execute(&mut *transaction).await?;
    sqlx::query("INSERT INTO projection (name, version) VALUES ('weft', ?)")
        .bind(VERSION)
        .execute(&mut *transaction)
        .await?;
    let marks = format!("PRAGMA user_version = {VERSION}; PRAGMA application_id = {APPLICATION_ID}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(marks)).execute(&mut *transaction).await?;
    transaction.commit().await
}
