//! What can go wrong, by what to do about it.

use std::path::PathBuf;

use weft_log::{OpenError, ReadError};
use weft_model::{Cut, Partition};

/// The store itself failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Try again: the file is busy, the disk is full, an I/O error. Nothing of the call was stored.
    #[error("read model cannot be used now")]
    Unavailable(#[source] sqlx::Error),
    /// Stop, and rebuild: the file does not hold what this program wrote.
    #[error("read model is damaged")]
    Damaged(#[source] sqlx::Error),
    /// Stop, and rebuild: a value that this program wrote does not read.
    #[error("read model is damaged: {table}.{column} does not read")]
    Unreadable {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
    },
}

/// The file was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenModelError {
    /// It was written by another version of the projection: rebuild it, or use the program that wrote it.
    #[error("{path} holds version {found} of the read model, this program writes version {wanted}: rebuild it")]
    Version {
        /// The file.
        path: PathBuf,
        /// What it holds.
        found: i64,
        /// What this program writes.
        wanted: i64,
    },
    /// It is no read model at all.
    #[error("{path} is no read model")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be read or made.
    #[error("cannot open {path}")]
    Store {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: StoreError,
    },
}

/// Events were not applied; nothing of the call was.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The batch does not start where the last one ended: read again from `next`.
    #[error("batch of {partition} starts at {from}, the next event is {next}")]
    Gap {
        /// The partition.
        partition: Partition,
        /// Offset that the read model wants next.
        next: u64,
        /// Offset that the batch starts at.
        from: u64,
    },
    /// The read model on SQLite follows partition 0 of feed, identity and control: nothing else belongs in it.
    #[error("{0} is no partition that this read model follows")]
    Partition(Partition),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A question was not answered.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The cut lies ahead of what has been projected: ask again later.
    #[error("asked as of {asked}, projected up to {known}")]
    Ahead {
        /// What was asked for.
        asked: Cut,
        /// What is known.
        known: Cut,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Projecting or rebuilding ended.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// The log cannot be read.
    #[error("log cannot be followed")]
    Read(#[from] ReadError),
    /// An event cannot be opened: damaged, or written by a newer program.
    #[error("event cannot be opened")]
    Open(#[from] OpenError),
    /// Events cannot be applied.
    #[error("events cannot be applied")]
    Apply(#[from] ApplyError),
    /// The file to rebuild into cannot be made.
    #[error("cannot rebuild")]
    Target(#[from] OpenModelError),
    /// There is a file where the rebuilt one should go.
    #[error("{0} exists already")]
    Exists(PathBuf),
    /// A task of the pipeline ended before its work was done.
    #[error("a task ended early")]
    Task(#[from] tokio::task::JoinError),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        // Primary result codes of SQLite.
        const BUSY: i32 = 5;
        const LOCKED: i32 = 6;
        const NO_MEMORY: i32 = 7;
        const IO: i32 = 10;
        const FULL: i32 = 13;
        const CANNOT_OPEN: i32 = 14;
        let code = error.as_database_error().and_then(|e| e.code()).and_then(|c| c.parse::<i32>().ok());
        match (&error, code.map(|c| c & 0xff)) {
            (_, Some(BUSY | LOCKED | NO_MEMORY | IO | FULL | CANNOT_OPEN)) => Self::Unavailable(error),
            (
                sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed,
                _,
            ) => Self::Unavailable(error),
            _ => Self::Damaged(error),
        }
    }
}

impl From<sqlx::Error> for ApplyError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl From<sqlx::Error> for QueryError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl From<StoreError> for ProjectError {
    fn from(error: StoreError) -> Self {
        Self::Apply(error.into())
    }
}
