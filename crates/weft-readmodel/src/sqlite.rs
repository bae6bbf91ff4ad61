//! The read model in one SQLite file: one connection that writes, a few that read.

use std::path::{Path, PathBuf};

use sqlx::{
    ConnectOptions, Connection, Sqlite, SqliteConnection, SqlitePool, Transaction,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use weft_log::wal::{self, Checkpointer};

use crate::{
    cursor,
    error::{OpenModelError, StoreError},
    location::Location,
    model::{Mode, VERSION},
    sql::Session,
};

/// "Weft", so that another program's file is not taken for a read model.
const APPLICATION_ID: i64 = 0x5765_6674;
const SCHEMA: &str = include_str!("../../../schemas/readmodel.sql");
const READERS: u32 = 4;
/// Moved seldom, pages that several commits write are moved once; much longer, and readers would search it for longer.
const WAL: wal::Limits = wal::Limits { every: 96 << 20, long: 128 << 20, max: 512 << 20 };

/// The connection that writes.
#[derive(Debug)]
pub(crate) struct FileWriter {
    pub(crate) conn: SqliteConnection,
    path: PathBuf,
    /// None where nothing is written beside the file.
    checkpointer: Option<Checkpointer>,
}

impl FileWriter {
    /// Opens the file at `path`, or makes it.
    pub(crate) async fn open(path: &Path, mode: Mode) -> Result<Self, OpenModelError> {
        let failed = |error: sqlx::Error| store_error(path, error.into());
        let mut conn = writer_options(path, mode).connect().await.map_err(failed)?;
        create_or_check(&mut conn, path).await?;
        let checkpointer = match mode {
            Mode::Live => Some(Checkpointer::start(writer_options(path, mode), path, WAL)),
            Mode::Rebuild => None,
        };
        Ok(Self { conn, path: path.to_owned(), checkpointer })
    }

    /// Begins a transaction that will write. Where a full disk or an I/O error has ended one, SQLite has undone it already
    /// and the driver still counts it as open, for ever: then only a new connection writes again.
    pub(crate) async fn begin(&mut self) -> Result<Transaction<'_, Sqlite>, StoreError> {
        if self.conn.is_in_transaction() {
            // What was given up is undone behind our back, in order: it is behind us once this is answered.
            self.conn.ping().await?;
        }
        if self.conn.is_in_transaction() {
            self.conn = writer_options(&self.path, Mode::Live).connect().await?;
        }
        Ok(self.conn.begin_with("BEGIN IMMEDIATE").await?)
    }

    /// To be called after each large commit.
    pub(crate) async fn after_commit(&mut self) {
        if let Some(checkpointer) = &mut self.checkpointer {
            checkpointer.after_commit(&mut self.conn).await;
        }
    }

    /// Moves the last pages from the write-ahead log into the file, and closes it.
    pub(crate) async fn close(mut self) -> Result<(), StoreError> {
        if let Some(checkpointer) = &mut self.checkpointer {
            checkpointer.finish(&mut self.conn).await?;
        }
        Ok(self.conn.close().await?)
    }
}

/// Connections that read the file at `path`, made when they are first needed.
pub(crate) fn readers(path: &Path) -> SqlitePool {
    SqlitePoolOptions::new()
        .max_connections(READERS)
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_lazy_with(reader_options(path))
}

/// Takes the file at `path` away with what SQLite keeps beside it; what is not there is gone already.
pub(crate) fn remove(path: &Path) -> std::io::Result<()> {
    for beside in ["", "-wal", "-shm", "-journal"] {
        let mut name = path.as_os_str().to_owned();
        name.push(beside);
        match std::fs::remove_file(name) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Makes a file that was rebuilt a live one.
pub(crate) async fn go_live(writer: &mut SqliteConnection) -> Result<(), StoreError> {
    sqlx::query("PRAGMA journal_mode = WAL").execute(writer).await?;
    Ok(())
}

fn writer_options(path: &Path, mode: Mode) -> SqliteConnectOptions {
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
            .pragma("wal_autocheckpoint", "0"),
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
        // What a query materializes is a few rows: SQLite would make a file's page cache for each such table.
        .pragma("temp_store", "MEMORY")
        .pragma("mmap_size", "8589934592")
        .disable_statement_logging()
}

async fn create_or_check(conn: &mut SqliteConnection, path: &Path) -> Result<(), OpenModelError> {
    let failed = |error: sqlx::Error| store_error(path, error.into());
    let pragma = |name| sqlx::query_scalar::<_, i64>(name);
    let found = pragma("PRAGMA user_version").fetch_one(&mut *conn).await.map_err(failed)?;
    let application = pragma("PRAGMA application_id").fetch_one(&mut *conn).await.map_err(failed)?;
    let tables = pragma("SELECT count(*) FROM sqlite_schema").fetch_one(&mut *conn).await.map_err(failed)?;
    let location = || Location::from(path);
    match (application, found, tables) {
        (APPLICATION_ID, VERSION, _) => Ok(()),
        (APPLICATION_ID, ..) => Err(OpenModelError::Version { location: location(), found, wanted: VERSION }),
        (0, 0, 0) => create(conn).await.map_err(|error| store_error(path, error)),
        _ => Err(OpenModelError::Foreign { location: location() }),
    }
}

fn store_error(path: &Path, source: StoreError) -> OpenModelError {
    OpenModelError::Store { location: path.into(), source }
}

/// All in one transaction: a file is a read model or is empty.
async fn create(conn: &mut SqliteConnection) -> Result<(), StoreError> {
    let mut transaction = conn.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::raw_sql(SCHEMA).execute(&mut *transaction).await?;
    sqlx::query("INSERT INTO projection (name, version) VALUES ('weft', ?)")
        .bind(VERSION)
        .execute(&mut *transaction)
        .await?;
    cursor::follow(&mut Session::Sqlite(&mut transaction), &cursor::first_partitions()).await?;
    let marks = format!("PRAGMA user_version = {VERSION}; PRAGMA application_id = {APPLICATION_ID}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(marks)).execute(&mut *transaction).await?;
    Ok(transaction.commit().await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_transaction_that_sqlite_ended_itself_is_got_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.db");
        let mut writer = FileWriter::open(&path, Mode::Live).await.unwrap();
        let mut transaction = writer.begin().await.unwrap();
        // As SQLite itself does where a disk is full, and says nothing of it to the driver.
        sqlx::query("ROLLBACK").execute(&mut *transaction).await.unwrap();
        assert!(transaction.commit().await.is_err());
        assert!(writer.conn.begin_with("BEGIN IMMEDIATE").await.is_err(), "the driver counts it as open");
        writer.begin().await.unwrap().commit().await.unwrap();
        writer.close().await.unwrap();
    }
}
