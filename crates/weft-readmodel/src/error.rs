//! What can go wrong, by what to do about it.

use sqlx::postgres::PgDatabaseError;
use weft_log::{OpenError, ReadError};
use weft_model::{Cut, Partition};

use crate::location::Location;

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

/// The read model was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenModelError {
    /// It was written by another version of the projection: rebuild it, or use the program that wrote it.
    #[error("{location} holds version {found} of the read model, this program writes version {wanted}: rebuild it")]
    Version {
        /// Where it is.
        location: Location,
        /// What it holds.
        found: i64,
        /// What this program writes.
        wanted: i64,
    },
    /// A rebuild of it has not come to its end: rebuild it again.
    #[error("{location} holds a rebuild that did not come to its end: rebuild it again")]
    Unfinished {
        /// Where it is.
        location: Location,
    },
    /// It is no read model at all.
    #[error("{location} is no read model")]
    Foreign {
        /// What it is.
        location: Location,
    },
    /// The name of a schema would have to be quoted: choose another.
    #[error("{schema:?} is no name of a schema: lower-case letters, digits and underscores, a letter first")]
    SchemaName {
        /// The name.
        schema: String,
    },
    /// It cannot be read or made.
    #[error("cannot open {location}")]
    Store {
        /// Where it is, or should be.
        location: Location,
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
    /// Nothing else belongs in it than the partitions that it follows.
    #[error("{0} is no partition that this read model follows")]
    Partition(Partition),
    /// Somebody else projects the partition by now: leave it to them.
    #[error("{0} is projected by another")]
    Fenced(Partition),
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
    /// There is something where the rebuilt one should go.
    #[error("{0} exists already")]
    Exists(Location),
    /// Another rebuild goes there now: wait for it.
    #[error("{0} is being rebuilt by another")]
    Rebuilding(Location),
    /// A task of the pipeline ended before its work was done.
    #[error("a task ended early")]
    Task(#[from] tokio::task::JoinError),
}

/// What the driver makes of a server, or a way to it, that closes a new connection before it says anything: it takes the
/// byte that did not come for a zero.
const CLOSED_AT_ONCE: &str = "unexpected response from SSLRequest: 0x00";

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let passes = match &error {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => true,
            sqlx::Error::Protocol(told) => told.starts_with(CLOSED_AT_ONCE),
            sqlx::Error::Database(told) => match told.try_downcast_ref::<PgDatabaseError>() {
                Some(told) => postgres_passes(told.code()),
                None => sqlite_passes(told.code().and_then(|code| code.parse().ok()).unwrap_or(0)),
            },
            _ => false,
        };
        if passes { Self::Unavailable(error) } else { Self::Damaged(error) }
    }
}

/// By SQLite's primary result codes.
fn sqlite_passes(code: i32) -> bool {
    const BUSY: i32 = 5;
    const LOCKED: i32 = 6;
    const NO_MEMORY: i32 = 7;
    const IO: i32 = 10;
    const FULL: i32 = 13;
    const CANNOT_OPEN: i32 = 14;
    matches!(code & 0xff, BUSY | LOCKED | NO_MEMORY | IO | FULL | CANNOT_OPEN)
}

/// By PostgreSQL's classes of SQLSTATE: connection, transaction rolled back, resources, an operator's hand, I/O; a lock that
/// was not given, and a transaction that was idle for too long.
fn postgres_passes(state: &str) -> bool {
    const IDLE_TOO_LONG: &str = "25P03";
    matches!(state.get(..2), Some("08" | "40" | "53" | "55" | "57" | "58")) || state == IDLE_TOO_LONG
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

#[cfg(test)]
mod tests {
    use std::{
        io::Read,
        net::{Shutdown, TcpListener},
    };

    use sqlx::{Connection, PgConnection};

    use super::*;

    #[tokio::test]
    async fn a_server_that_closes_a_new_connection_is_away() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("postgres://weft@{}/weft", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            socket.read_exact(&mut [0; 8]).unwrap();
            socket.shutdown(Shutdown::Both).unwrap();
        });
        let refused = PgConnection::connect(&url).await.err().unwrap();
        server.join().unwrap();
        assert!(matches!(refused, sqlx::Error::Protocol(_)), "{refused:?}");
        assert!(matches!(StoreError::from(refused), StoreError::Unavailable(_)));
    }

    #[test]
    fn what_passes_is_told_from_what_does_not() {
        let (full, corrupt) = (13 | 1 << 8, 11);
        assert!(sqlite_passes(full) && !sqlite_passes(corrupt));
        for state in ["08006", "57P01", "40P01", "53300", "25P03"] {
            assert!(postgres_passes(state), "{state}");
        }
        for state in ["42P01", "23505", "22021", ""] {
            assert!(!postgres_passes(state), "{state}");
        }
    }
}
