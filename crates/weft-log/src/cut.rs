//! Cuts: how long every partition was at a time, and what it held, as the notary wrote it down.
//!
//! ```text
//!  control/0   [decision][cut 0][cut 1][decision][decision][cut 2] ...        events CUT_TAKEN among the others
//!                          │      │                          │
//!  log of cuts           leaf 0 leaf 1                     leaf 2             its root after each is in the cut's
//!                                                                             checkpoint, signed
//!  each leaf             tick, leaf hash of the cut before, time, and of every partition: size and root
//! ```
//!
//! So a checkpoint vouches for every event that its cut covers: its root fixes the cuts up to it, each cut fixes the roots
//! of the partitions, and those fix the events. No extension of the checkpoint format is needed, and the log of cuts is an
//! ordinary one to whoever witnesses it.
//!
//! Sizes are taken from effects to causes (access, control, identity, feed), so that a cut which has a decision also has
//! what it was made on. Of the stream of the cuts themselves, a cut covers what lies before it and no more.
//!
//! Cuts are found without an index: their ticks and times grow with their offsets, and nearly every event of the partition
//! is a cut, so a binary search over offsets needs a few dozen reads whatever the length of the log.
//!
//! Where several nodes write and a delivery is unknown, a tick may be in the log twice, and not with the same content: a
//! second cut was taken for one that had been stored after all. Both have the same event id, and the first in the order of
//! the log counts, as of every event; every search here looks around for it.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use weft_model::{
    AsOf, Cut, DecodeError, EventKind, Partition, Position, Stream,
    proto::event::{self, CutTaken, CutVector, Envelope, Header, PartitionRoot},
};

use crate::{
    Evidence, ReadError, ReadLimit, Stored,
    merkle::{Hash, leaf_hash},
    note::NoteError,
    tree_head::TreeHead,
};

/// The partition that cuts are in.
pub(crate) const CUTS: Partition = Partition { stream: Stream::Control, number: 0 };
/// Events read at once in search of a cut.
const SEARCH_EVENTS: u64 = 16;
/// A second cut with a tick lies at most so many events behind the first: at one cut a second, four times as long as a
/// delivery is waited for.
const APART_MAX: u64 = 64;

/// A cut as it lies in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Where its event is.
    pub position: Position,
    /// Number of cuts before it.
    pub tick: u64,
    /// Leaf hash of the cut before; None for the first.
    pub previous: Option<Hash>,
    /// When it was taken: microseconds since 1970-01-01T00:00:00Z.
    pub recorded_us: i64,
    /// What every partition held.
    pub partitions: BTreeMap<Partition, Root>,
    /// The newest event of its own partition that is covered and no cut.
    pub newest_decision: Option<u64>,
    /// The signed head of the log of cuts with this one as its last leaf.
    pub checkpoint: String,
    /// The leaf itself, as it is hashed.
    pub vector: Bytes,
}

/// What a partition held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Root {
    /// Number of its events.
    pub size: u64,
    /// RFC 9162 root of their leaf hashes.
    pub root: Hash,
}

/// Why no cut is given.
#[derive(Debug, thiserror::Error)]
pub enum CutError {
    /// The event says that it is a cut and cannot be read as one: stop.
    #[error("cut at {position} is damaged: {what}")]
    Corrupt {
        /// Where.
        position: Position,
        /// What does not fit.
        what: &'static str,
    },
    /// A newer program wrote it.
    #[error("cut at {position} cannot be decoded")]
    Decode {
        /// Where.
        position: Position,
        /// Why.
        #[source]
        source: DecodeError,
    },
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Why a moment names no cut.
#[derive(Debug, thiserror::Error)]
pub enum AsOfError {
    /// The log has no such cut.
    #[error("there is no cut with tick {0}")]
    NoSuchTick(u64),
    /// The first cut was taken later.
    #[error("no cut was taken by then")]
    BeforeTheFirst,
    /// Cuts of that time may not be stored yet: the same question could get another answer later.
    #[error("the time is not two seconds past yet: a cut of that time may still be on its way")]
    NotPast,
    /// The cut cannot be read.
    #[error(transparent)]
    Cut(#[from] CutError),
}

/// How long a cut may be on its way into the log, in microseconds.
const SETTLED_US: i64 = 2_000_000;

impl Taken {
    /// The cut in `stored`; None where the event is none. Needs no key; its signature is not checked.
    ///
    /// # Errors
    /// [`CutError`].
    pub fn read(stored: &Stored) -> Result<Option<Self>, CutError> {
        let position = stored.position;
        let corrupt = |what| CutError::Corrupt { position, what };
        let envelope = Envelope::decode(stored.bytes.clone()).map_err(|_| corrupt("envelope does not decode"))?;
        let header = Header::decode(&*envelope.header).map_err(|_| corrupt("header does not decode"))?;
        if header.kind() != EventKind::CutTaken {
            return Ok(None);
        }
        if header.schema > weft_model::SCHEMA_VERSION {
            return Err(CutError::Decode { position, source: DecodeError::NewerSchema(header.schema) });
        }
        let payload = CutTaken::decode(&*envelope.clear).map_err(|_| corrupt("payload does not decode"))?;
        Self::from_payload(position, payload).map(Some)
    }

    /// The cut that an event at `position` carries.
    ///
    /// # Errors
    /// [`CutError::Corrupt`].
    pub fn from_payload(position: Position, payload: CutTaken) -> Result<Self, CutError> {
        let corrupt = |what| CutError::Corrupt { position, what };
        let CutTaken { vector, checkpoint } = payload;
        let decoded = CutVector::decode(&*vector).map_err(|_| corrupt("vector does not decode"))?;
        let previous = match decoded.previous.as_slice() {
            [] => None,
            hash => Some(hash.try_into().map_err(|_| corrupt("hash of the cut before is not 32 bytes"))?),
        };
        if previous.is_none() != (decoded.tick == 0) {
            return Err(corrupt("only the first cut has none before it"));
        }
        let mut partitions = BTreeMap::new();
        for entry in &decoded.partitions {
            let (partition, root) = entry.read().ok_or(corrupt("partition does not decode"))?;
            partitions.insert(partition, root);
        }
        if partitions.len() != decoded.partitions.len() {
            return Err(corrupt("a partition is named twice"));
        }
        Ok(Self {
            position,
            tick: decoded.tick,
            previous,
            recorded_us: decoded.recorded_us,
            partitions,
            newest_decision: decoded.newest_decision,
            checkpoint,
            vector: vector.into(),
        })
    }

    /// Its leaf hash in the log of cuts.
    #[must_use]
    pub fn leaf(&self) -> Hash {
        leaf_hash(&self.vector)
    }

    /// The sizes alone: what "as of" asks with.
    #[must_use]
    pub fn cut(&self) -> Cut {
        Cut(self.partitions.iter().map(|(partition, root)| (*partition, root.size)).collect())
    }

    /// What its checkpoint says, without checking who signed it.
    pub(crate) fn head(&self) -> Result<TreeHead, NoteError> {
        TreeHead::unverified(&self.checkpoint)
    }
}

trait ReadRoot {
    fn read(&self) -> Option<(Partition, Root)>;
}

impl ReadRoot for PartitionRoot {
    fn read(&self) -> Option<(Partition, Root)> {
        let position = event::Position { stream: self.stream, partition: self.partition, offset: 0 };
        let partition = Position::from_proto(&position).ok()?.partition;
        Some((partition, Root { size: self.size, root: self.root.as_slice().try_into().ok()? }))
    }
}

/// The entry of a partition in a cut.
pub(crate) fn partition_root(partition: Partition, root: Root) -> PartitionRoot {
    PartitionRoot {
        stream: partition.stream.to_proto().into(),
        partition: partition.number,
        size: root.size,
        root: root.root.to_vec(),
    }
}

/// The newest cut; None where none was taken yet.
///
/// # Errors
/// [`CutError`].
pub async fn newest(log: &dyn Evidence) -> Result<Option<Taken>, CutError> {
    let size = size(log).await?;
    let mut end = size;
    while end > 0 {
        let start = end.saturating_sub(SEARCH_EVENTS);
        for stored in read_between(log, start, end).await?.iter().rev() {
            if let Some(cut) = Taken::read(stored)? {
                let cuts = around(log, cut.position.offset, size).await?;
                return Ok(cuts.into_values().next_back());
            }
        }
        end = start;
    }
    Ok(None)
}

/// The cut with this tick.
///
/// # Errors
/// [`CutError`].
pub async fn with_tick(log: &dyn Evidence, tick: u64) -> Result<Option<Taken>, CutError> {
    let cut = last_where(log, |cut| cut.tick <= tick).await?;
    Ok(cut.filter(|cut| cut.tick == tick))
}

/// The greatest cut that was not taken after this time.
///
/// # Errors
/// [`CutError`].
pub async fn by_time(log: &dyn Evidence, us: i64) -> Result<Option<Taken>, CutError> {
    last_where(log, |cut| cut.recorded_us <= us).await
}

/// The cuts with ticks from `tick` on, at most `count`.
///
/// # Errors
/// [`CutError`].
pub async fn list(log: &dyn Evidence, tick: u64, count: usize) -> Result<Vec<Taken>, CutError> {
    let mut cuts: Vec<Taken> = Vec::new();
    let Some(first) = with_tick(log, tick).await? else { return Ok(cuts) };
    let (mut next, end) = (first.position.offset, size(log).await?);
    while next < end && cuts.len() < count {
        let page = log.read(CUTS.at(next), ReadLimit::PAGE).await?;
        let Some(last) = page.last() else { break };
        next = last.position.offset + 1;
        for stored in &page {
            // The first with its tick counts.
            let expected = tick + cuts.len() as u64;
            cuts.extend(Taken::read(stored)?.filter(|cut| cuts.len() < count && cut.tick == expected));
        }
    }
    Ok(cuts)
}

/// The events of stream `control` below offset `end` that are no cuts, oldest first: two reads for each of them, however
/// many cuts lie between. A busy node takes a million cuts in two weeks, and none of them says anything of its feeds.
///
/// # Errors
/// [`CutError`].
pub async fn decisions(log: &dyn Evidence, end: u64) -> Result<Vec<Stored>, CutError> {
    let (mut found, mut end) = (Vec::new(), end);
    while let Some(last) = end.checked_sub(1) {
        let page = log.read(CUTS.at(last), limit(1)).await?;
        let Some(stored) = page.into_iter().next() else { break };
        end = match Taken::read(&stored)? {
            // It knows of everything before it, unless something was stored while it was taken.
            Some(cut) if cut.partitions.get(&CUTS).is_some_and(|root| root.size == last) => {
                cut.newest_decision.map_or(0, |offset| offset + 1)
            }
            Some(_) => last,
            None => {
                found.push(stored);
                last
            }
        };
    }
    found.reverse();
    Ok(found)
}

/// The sizes that `as_of` stands for, `now_us` being the time. The same moment gives the same sizes, for ever.
///
/// # Errors
/// [`AsOfError`].
pub async fn resolve(log: &dyn Evidence, as_of: &AsOf, now_us: i64) -> Result<Cut, AsOfError> {
    match as_of {
        AsOf::Sizes(cut) => Ok(cut.clone()),
        AsOf::Tick(tick) => {
            let cut = with_tick(log, *tick).await?;
            cut.map(|cut| cut.cut()).ok_or(AsOfError::NoSuchTick(*tick))
        }
        AsOf::Time(us) if us.saturating_add(SETTLED_US) > now_us => Err(AsOfError::NotPast),
        AsOf::Time(us) => by_time(log, *us).await?.map(|cut| cut.cut()).ok_or(AsOfError::BeforeTheFirst),
    }
}

/// Binary search for the last cut that `early` holds for; it holds for all before that.
///
/// A second cut of a tick may lead the search astray by a few places, and no further.
async fn last_where(log: &dyn Evidence, early: impl Fn(&Taken) -> bool) -> Result<Option<Taken>, CutError> {
    let size = size(log).await?;
    let (mut low, mut high, mut found) = (0, size, None);
    while low < high {
        let middle = low + (high - low) / 2;
        match first_in(log, middle, high).await? {
            Some(cut) if early(&cut) => {
                low = cut.position.offset + 1;
                found = Some(cut);
            }
            _ => high = middle,
        }
    }
    let Some(found) = found else { return Ok(None) };
    let cuts = around(log, found.position.offset, size).await?;
    Ok(cuts.into_values().rfind(early))
}

/// The cuts near this offset, of a partition of `size` events, by their ticks: of each the first.
async fn around(log: &dyn Evidence, offset: u64, size: u64) -> Result<BTreeMap<u64, Taken>, CutError> {
    let mut cuts = BTreeMap::new();
    let (start, end) = (offset.saturating_sub(APART_MAX), size.min(offset + APART_MAX));
    for stored in read_between(log, start, end).await? {
        if let Some(cut) = Taken::read(&stored)? {
            cuts.entry(cut.tick).or_insert(cut);
        }
    }
    Ok(cuts)
}

/// The first cut of these offsets.
async fn first_in(log: &dyn Evidence, from: u64, end: u64) -> Result<Option<Taken>, CutError> {
    let mut next = from;
    while next < end {
        let page = log.read(CUTS.at(next), limit(end - next)).await?;
        let Some(last) = page.last() else { break };
        next = last.position.offset + 1;
        for stored in page.iter().filter(|stored| stored.position.offset < end) {
            if let Some(cut) = Taken::read(stored)? {
                return Ok(Some(cut));
            }
        }
    }
    Ok(None)
}

/// Leaf hashes of the `count` cuts before `cut`, oldest first; fewer where the log does not have them. Needs no search:
/// they lie just before it, with few events between them.
pub(crate) async fn leaves_before(log: &dyn Evidence, cut: &Taken, count: u64) -> Result<Vec<Hash>, CutError> {
    let wanted = cut.tick.saturating_sub(count)..cut.tick;
    let (mut end, mut leaves) = (cut.position.offset, BTreeMap::new());
    while end > 0 && !wanted.is_empty() && !leaves.contains_key(&wanted.start) {
        let start = end.saturating_sub(count + APART_MAX);
        for stored in read_between(log, start, end).await?.iter().rev() {
            if let Some(cut) = Taken::read(stored)?.filter(|cut| wanted.contains(&cut.tick)) {
                // The first with its tick counts, and that is the last here.
                leaves.insert(cut.tick, cut.leaf());
            }
        }
        end = start;
    }
    Ok(leaves.into_values().collect())
}

/// The events of these offsets.
async fn read_between(log: &dyn Evidence, start: u64, end: u64) -> Result<Vec<Stored>, ReadError> {
    let (mut next, mut events) = (start, Vec::new());
    while next < end {
        let most = usize::try_from(end - next).unwrap_or(usize::MAX);
        let page = log.read(CUTS.at(next), ReadLimit { events: most, bytes: usize::MAX }).await?;
        let Some(last) = page.last() else { break };
        next = last.position.offset + 1;
        events.extend(page.into_iter().filter(|stored| stored.position.offset < end));
    }
    Ok(events)
}

async fn size(log: &dyn Evidence) -> Result<u64, ReadError> {
    Ok(log.size(CUTS).await?.unwrap_or(0))
}

fn limit(most: u64) -> ReadLimit {
    ReadLimit { events: usize::try_from(most.min(SEARCH_EVENTS)).unwrap_or(1), bytes: usize::MAX }
}
