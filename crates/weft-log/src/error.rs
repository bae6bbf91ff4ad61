//! What can go wrong, each as a decision: try again, or stop.

use std::{error::Error, sync::Arc};

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
    #[error("log in {place} is in use by another process: stop that one first")]
    InUse {
        /// The log's directory.
        place: String,
    },
    /// There is no log to read.
    #[error("there is no log in {place}")]
    Missing {
        /// The log's directory, brokers or schema.
        place: String,
    },
    /// The keys are not those that its events were sealed with.
    #[error("log in {place} was sealed with another vault: name the vault that belongs to it")]
    OtherVault {
        /// The log's directory.
        place: String,
    },
    /// The inbox belongs to other topics.
    #[error("{place} belongs to the log of topics {belongs_to}: name another schema or the topics that belong to it")]
    OtherLog {
        /// The schema.
        place: String,
        /// What it belongs to.
        belongs_to: String,
    },
    /// A topic is not set as a log needs it.
    #[error("topic {topic} has {name} = {found}, and the log needs {wanted}: change the topic or the configuration")]
    Setting {
        /// The topic.
        topic: String,
        /// The setting.
        name: String,
        /// What it should be.
        wanted: String,
        /// What it is.
        found: String,
    },
    /// A newer program wrote it.
    #[error("log in {place} has format {format}, this program reads up to {known}: upgrade the program")]
    NewerFormat {
        /// The log's directory or schema.
        place: String,
        /// Its format.
        format: i64,
        /// The newest format that this program reads.
        known: i64,
    },
    /// An older program wrote it, and it is opened to be read only.
    #[error("log in {place} has format {format}, this program reads {known}: start a node, which brings it up to date")]
    OlderFormat {
        /// The schema.
        place: String,
        /// Its format.
        format: i64,
        /// The format that this program reads.
        known: i64,
    },
    /// The bytes are not those that were stored.
    #[error("log in {place} is damaged ({what}): restore it from a copy")]
    Damaged {
        /// The log's directory.
        place: String,
        /// What does not fit.
        what: String,
    },
    /// What it lies in cannot be used now.
    #[error("log in {place} cannot be opened")]
    Unavailable {
        /// The log's directory, brokers or schema.
        place: String,
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
