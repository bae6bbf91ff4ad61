//! What can go wrong, each as a decision: try again, or stop.

use std::{error::Error, path::PathBuf, sync::Arc};

use weft_model::Position;

use crate::vault::VaultError;

/// Why drafts were not appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The log cannot take events now (disk full, I/O error, closing): keep the message and try again.
    #[error("log cannot store events now")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
    /// This event can never be stored (larger than the log allows): do not try again.
    #[error("event of {bytes} bytes is larger than the log's limit of {limit}")]
    TooLarge {
        /// Encoded size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
}

/// Why events were not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Try again, or the log is closed.
    #[error("log cannot be read now")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
    /// The bytes at this position are not those that were stored: stop, and restore from a copy.
    #[error("event at {position} is damaged: {what}")]
    Corrupt {
        /// Where.
        position: Position,
        /// What does not fit.
        what: &'static str,
    },
}

/// Why a stored event was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Envelope, seal or payload do not read: stop.
    #[error("event at {position} is damaged: {what}")]
    Corrupt {
        /// Where.
        position: Position,
        /// What does not fit.
        what: &'static str,
    },
    /// The key was destroyed, on purpose: there is nothing to show.
    #[error("key of event at {position} was destroyed")]
    Shredded {
        /// Where.
        position: Position,
    },
    /// The vault cannot be read now.
    #[error("key vault cannot be read")]
    Vault(#[source] VaultError),
    /// The payload is of a schema or kind that this program does not know.
    #[error("event at {position} cannot be decoded")]
    Decode {
        /// Where.
        position: Position,
        /// Why.
        #[source]
        source: weft_model::DecodeError,
    },
}

/// Why a log was not opened. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenLogError {
    /// Another process has it open.
    #[error("log in {} is in use by another process: stop that one first", dir.display())]
    InUse {
        /// The log's directory.
        dir: PathBuf,
    },
    /// There is no log to read.
    #[error("there is no log in {}", dir.display())]
    Missing {
        /// The log's directory.
        dir: PathBuf,
    },
    /// The keys are not those that its events were sealed with.
    #[error("log in {} was sealed with another vault: name the vault that belongs to it", dir.display())]
    OtherVault {
        /// The log's directory.
        dir: PathBuf,
    },
    /// A newer program wrote it.
    #[error("log in {} has format {format}, this program reads up to {known}: upgrade the program", dir.display())]
    NewerFormat {
        /// The log's directory.
        dir: PathBuf,
        /// Its format.
        format: i64,
        /// The newest format that this program reads.
        known: i64,
    },
    /// The bytes are not those that were stored.
    #[error("log in {} is damaged ({what}): restore it from a copy", dir.display())]
    Damaged {
        /// The log's directory.
        dir: PathBuf,
        /// What does not fit.
        what: String,
    },
    /// The directory or its files cannot be used now.
    #[error("log in {} cannot be opened", dir.display())]
    Unavailable {
        /// The log's directory.
        dir: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

/// One failure, told to everyone who waited on it.
#[derive(Debug, Clone, thiserror::Error)]
#[error(transparent)]
pub(crate) struct Cause(Arc<dyn Error + Send + Sync>);

/// The log was closed, by its owner or because the program ends.
#[derive(Debug, thiserror::Error)]
#[error("log is closed")]
pub(crate) struct Closed;

/// The log was opened to be read beside the node that writes it.
#[derive(Debug, thiserror::Error)]
#[error("log was opened for reading only")]
pub(crate) struct ReadOnly;

impl Cause {
    pub(crate) fn new(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(Arc::from(error.into()))
    }
}

impl From<Cause> for AppendError {
    fn from(cause: Cause) -> Self {
        Self::Unavailable(cause.into())
    }
}

impl From<Cause> for ReadError {
    fn from(cause: Cause) -> Self {
        Self::Unavailable(cause.into())
    }
}
