//! A proof that an event is in the log, for whoever has neither the log nor a key of it but the notary's public one.
//!
//! ```text
//!  weft-proof@v1
//!  position feed/0/1234
//!  event BASE64                     the stored envelope: clear header and sealed payload
//!  BASE64 ...                       from its leaf hash to the root of its partition at the cut
//!
//!  c2sp.org/tlog-proof@v1           from here on a C2SP tlog-proof v1, which any program of transparency logs reads:
//!  extra BASE64                     the cut itself, whose leaf hash this part proves to be in the log of cuts
//!  index 57
//!  BASE64 ...
//!
//!  NAME                             the signed checkpoint
//!  58
//!  BASE64
//!
//!  — NAME BASE64
//! ```
//!
//! Two steps, because the checkpoint is of the log of cuts: the cut is in it, and the cut says which root the partition
//! had. The event stays sealed: a proof tells nobody what it says.

use std::path::Path;

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use weft_model::{
    Position,
    proto::event::{CutTaken, Header},
};

use crate::{
    CutError, Evidence, NoteError, PublicKey, ReadError, ReadLimit, Stored, Taken, TreeHead,
    cut::{self, CUTS},
    header,
    merkle::{Hash, leaf_hash},
    path::{Leaves, Wanted, path},
    proof,
    tree_head::{decimal, read_hash},
};

const FIRST_LINE: &str = "weft-proof@v1";
const TLOG_PROOF: &str = "c2sp.org/tlog-proof@v1";

/// A proof that can be written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventProof {
    /// Where the event is.
    pub position: Position,
    /// Its stored envelope.
    pub event: Bytes,
    /// From its leaf hash to the root of its partition.
    path: Vec<Hash>,
    /// The cut, as it is hashed.
    vector: Bytes,
    /// Its number in the log of cuts.
    tick: u64,
    /// From its leaf hash to the root in the checkpoint.
    cut_path: Vec<Hash>,
    checkpoint: String,
}

/// What a proof shows.
#[derive(Debug, Clone, PartialEq)]
pub struct Proven {
    /// Where the event is.
    pub position: Position,
    /// Its clear header.
    pub header: Header,
    /// The cut that covers it.
    pub tick: u64,
    /// When that cut was taken, at the latest the event was there: microseconds since 1970-01-01T00:00:00Z.
    pub recorded_us: i64,
    /// Whose log it is.
    pub origin: String,
}

/// Why a proof proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// Not in the form above.
    #[error("not a proof: {0}")]
    Malformed(&'static str),
    /// The checkpoint is not this key's.
    #[error("the checkpoint is not signed by this key")]
    Checkpoint(#[from] NoteError),
    /// The cut is not in the log that the checkpoint is of.
    #[error("the cut is not in the log that the checkpoint is of")]
    OtherCut,
    /// The event is not what lay there when the cut was taken.
    #[error("the event is not the one that lay at {0} when the cut was taken")]
    OtherEvent(Position),
}

/// Why no proof is made.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    /// The log has no cut (with this tick).
    #[error("there is no such cut")]
    NoCut,
    /// The cut was taken before the event was stored.
    #[error("cut {tick} does not cover {position}: wait for the next one")]
    NotCovered {
        /// The event.
        position: Position,
        /// The cut.
        tick: u64,
    },
    /// There is nothing at this position, although the cut covers it.
    #[error("there is no event at {0}: run `weft verify`")]
    Missing(Position),
    /// The log does not lead to the root in its own cut.
    #[error("the log is not what it was when cut {0} was taken: run `weft verify`")]
    Changed(u64),
    /// The cuts cannot be read.
    #[error(transparent)]
    Cut(#[from] CutError),
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Makes the proof of an event, by the cut with this tick or the newest. `nodes`: where the notary keeps inner nodes; a
/// proof without them reads the leaf hashes of the whole partition.
///
/// # Errors
/// [`ProveError`].
pub async fn prove(
    log: &dyn Evidence,
    position: Position,
    tick: Option<u64>,
    nodes: Option<&Path>,
) -> Result<EventProof, ProveError> {
    let cut = match tick {
        Some(tick) => cut::with_tick(log, tick).await?,
        None => cut::newest(log).await?,
    };
    let cut = cut.ok_or(ProveError::NoCut)?;
    let root = cut.partitions.get(&position.partition).filter(|root| root.size > position.offset);
    let root = root.ok_or(ProveError::NotCovered { position, tick: cut.tick })?;
    let limit = ReadLimit { events: 1, bytes: 0 };
    let stored = log.read(position, limit).await?.into_iter().find(|stored| stored.position == position);
    let event = stored.ok_or(ProveError::Missing(position))?.bytes;
    let changed = || ProveError::Changed(cut.tick);
    let of_partition = Wanted { leaf: leaf_hash(&event), index: position.offset, size: root.size, root: root.root };
    let leaves = Leaves::Of(position.partition);
    let event_path = path(log, leaves, &of_partition, nodes).await?.ok_or_else(changed)?;
    let head = cut.head().ok().filter(|head| head.size == cut.tick + 1).ok_or_else(changed)?;
    let of_cuts = Wanted { leaf: cut.leaf(), index: cut.tick, size: head.size, root: head.root };
    let cut_path = path(log, Leaves::CutsUpTo(&cut), &of_cuts, nodes).await?.ok_or_else(changed)?;
    let Taken { vector, tick, checkpoint, .. } = cut;
    Ok(EventProof { position, event, path: event_path, vector, tick, cut_path, checkpoint })
}

impl EventProof {
    /// Checks the proof with the public key alone.
    ///
    /// # Errors
    /// [`ProofError`].
    pub fn verify(&self, key: &PublicKey) -> Result<Proven, ProofError> {
        let head = TreeHead::verify(&self.checkpoint, key)?;
        if !proof::verify_inclusion(leaf_hash(&self.vector), self.tick, head.size, &self.cut_path, &head.root) {
            return Err(ProofError::OtherCut);
        }
        let taken = CutTaken { vector: self.vector.to_vec(), checkpoint: self.checkpoint.clone() };
        let cut = Taken::from_payload(CUTS.at(0), taken).map_err(|_| ProofError::Malformed("cut does not decode"))?;
        let other_event = || ProofError::OtherEvent(self.position);
        let root = cut.partitions.get(&self.position.partition).ok_or_else(other_event)?;
        let (leaf, index) = (leaf_hash(&self.event), self.position.offset);
        if !proof::verify_inclusion(leaf, index, root.size, &self.path, &root.root) {
            return Err(other_event());
        }
        let stored = Stored { position: self.position, bytes: self.event.clone(), leaf };
        let header = header(&stored).map_err(|_| ProofError::Malformed("event does not decode"))?;
        let (position, tick, recorded_us) = (self.position, cut.tick, cut.recorded_us);
        Ok(Proven { position, header, tick, recorded_us, origin: head.origin })
    }

    /// The text above.
    #[must_use]
    pub fn to_text(&self) -> String {
        let base64 = |bytes: &[u8]| BASE64_STANDARD.encode(bytes);
        let mut text = format!("{FIRST_LINE}\nposition {}\nevent {}\n", self.position, base64(&self.event));
        let path = |hashes: &[Hash]| hashes.iter().map(|hash| base64(hash) + "\n").collect::<String>();
        text.push_str(&path(&self.path));
        text.push_str(&format!("\n{TLOG_PROOF}\nextra {}\nindex {}\n", base64(&self.vector), self.tick));
        text + &path(&self.cut_path) + "\n" + &self.checkpoint
    }

    /// Reads the text above.
    ///
    /// # Errors
    /// [`ProofError::Malformed`].
    pub fn parse(text: &str) -> Result<Self, ProofError> {
        let wrong = ProofError::Malformed;
        let (event_part, rest) = text.split_once("\n\n").ok_or(wrong("it ends too early"))?;
        let (cut_part, checkpoint) = rest.split_once("\n\n").ok_or(wrong("it has no checkpoint"))?;
        let mut lines = event_part.lines();
        if lines.next() != Some(FIRST_LINE) {
            return Err(wrong("its first line is another one"));
        }
        let position = lines.next().and_then(|line| line.strip_prefix("position ")?.parse().ok());
        let event = lines.next().and_then(|line| bytes(line.strip_prefix("event ")?));
        let path = lines.map(read_hash).collect::<Option<Vec<_>>>();
        let mut lines = cut_part.lines();
        if lines.next() != Some(TLOG_PROOF) {
            return Err(wrong("its second part is no tlog-proof"));
        }
        let vector = lines.next().and_then(|line| bytes(line.strip_prefix("extra ")?));
        let tick = lines.next().and_then(|line| decimal(line.strip_prefix("index ")?));
        let cut_path = lines.map(read_hash).collect::<Option<Vec<_>>>();
        Ok(Self {
            position: position.ok_or(wrong("it names no position"))?,
            event: event.ok_or(wrong("it has no event"))?,
            path: path.ok_or(wrong("a hash cannot be read"))?,
            vector: vector.ok_or(wrong("it has no cut"))?,
            tick: tick.ok_or(wrong("it names no cut"))?,
            cut_path: cut_path.ok_or(wrong("a hash cannot be read"))?,
            checkpoint: checkpoint.to_owned(),
        })
    }
}

fn bytes(base64: &str) -> Option<Bytes> {
    BASE64_STANDARD.decode(base64).ok().map(Bytes::from)
}
