//! What the services must know of feeds beyond the log and the read model. The binary answers it from the translator and
//! the connectors, which this crate does not see.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use weft_model::{
    Verdict,
    proto::{
        api::FeedState,
        event::{Issue, MessageReceived},
    },
};

/// The part of a node that reads profiles and listens for messages.
pub trait FeedControl: Send + Sync {
    /// Reads a registration file; says what it registers.
    ///
    /// # Errors
    /// Every mistake in the file: `location` is its place (`accept.message_types[2]`, `line 7`).
    fn check(&self, profile_toml: &str) -> Result<FeedProfile, Vec<Issue>>;

    /// What reads messages by a registration, as the connectors read them. `revision` is the offset of its event.
    ///
    /// # Errors
    /// Every mistake in the file: one that an older program registered may not be readable any more.
    fn reader(&self, profile_toml: &str, revision: u64) -> Result<Arc<dyn MessageReader>, Vec<Issue>>;

    /// What every feed that this node listens for is doing now, by feed identifier. A feed that is absent is not listened
    /// for by this node.
    fn statuses(&self) -> BTreeMap<String, FeedStatus>;
}

/// Reads messages by one profile.
pub trait MessageReader: Send + Sync {
    /// Reads one, given without the transport's framing. Never fails: what cannot be read is quarantined.
    fn read(&self, raw: Bytes) -> Reading;
}

/// What reading a message came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// `ADT^A01`. Empty where the message has none.
    pub message_type: String,
    /// Accepted or quarantined.
    pub verdict: Verdict,
    /// What is to be stored.
    pub message: MessageReceived,
}

/// What the services show of a registration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedProfile {
    /// Feed identifier.
    pub feed: String,
    /// ODS code of the organisation that sends.
    pub organisation: String,
    /// In words. May be empty.
    pub description: String,
}

/// One feed, as its connector sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedStatus {
    /// Listening, paused or failed.
    pub state: FeedState,
    /// Where it listens: `127.0.0.1:40123`. Empty where it does not.
    pub address: String,
    /// Open connections.
    pub connections: u32,
    /// Why it does not listen. Empty where it does, or was paused.
    pub problem: String,
}
