//! What the services must know of feeds beyond the log and the read model. The binary answers it from the translator and
//! the connectors, which this crate does not see.

use std::collections::BTreeMap;

use weft_model::proto::{api::FeedState, event::Issue};

/// The part of a node that reads profiles and listens for messages.
pub trait FeedControl: Send + Sync {
    /// Reads a registration file; says what it registers.
    ///
    /// # Errors
    /// Every mistake in the file: `location` is its place (`accept.message_types[2]`, `line 7`).
    fn check(&self, profile_toml: &str) -> Result<FeedProfile, Vec<Issue>>;

    /// What every feed that this node listens for is doing now, by feed identifier. A feed that is absent is not listened
    /// for by this node.
    fn statuses(&self) -> BTreeMap<String, FeedStatus>;
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
