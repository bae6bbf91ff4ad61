//! What the log gives back.

use weft_model::Position;

/// One event as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Where it is.
    pub position: Position,
    /// The encoded envelope, exactly as stored.
    pub bytes: bytes::Bytes,
    /// RFC 9162 leaf hash of `bytes`: SHA-256 of a zero byte and the bytes.
    pub leaf: [u8; 32],
}

/// How much to read at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadLimit {
    /// Events at most.
    pub events: usize,
    /// Stop after the event that exceeds this many bytes.
    pub bytes: usize,
}

impl ReadLimit {
    /// A page: 1,024 events or 4 MiB.
    pub const PAGE: Self = Self { events: 1024, bytes: 4 << 20 };
}
