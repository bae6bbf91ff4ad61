//! What can be wrong with a log, each kind with a name of its own, and where.

use std::fmt;

use weft_model::{Partition, Position};

/// One thing that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// What it is.
    pub kind: DamageKind,
    /// Where it is.
    pub place: Place,
    /// In a sentence: never a value of the event.
    pub what: String,
}

/// Kinds of damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DamageKind {
    /// A byte of an event's clear header was changed.
    HeaderChanged,
    /// A byte of an event's sealed payload, or of what belongs to the seal, was changed.
    PayloadChanged,
    /// The bytes of an event do not have their leaf hash, and more than one was changed.
    EventChanged,
    /// A stored leaf hash was changed; the event is whole.
    LeafChanged,
    /// An event fits its leaf hash and cannot be read: it was never written like this.
    EventUnreadable,
    /// An event fits its leaf hash, and its seal does not fit its header and payload.
    SealBroken,
    /// An opened event is not the one that its header says.
    ContentDiffers,
    /// An event is not there, and later ones are.
    EventMissing,
    /// Whole events lie in other places than they were stored at.
    OrderSwapped,
    /// A whole event lies where another one was.
    EventReplaced,
    /// Events of this range are not those that the cut was taken of; which, is not known.
    RootDiffers,
    /// The last events of a partition are gone.
    Truncated,
    /// The log counts fewer events than it has.
    CountDiffers,
    /// A whole partition is gone.
    PartitionMissing,
    /// A byte of a cut was changed.
    CutChanged,
    /// A cut does not follow the one before it.
    CutChain,
    /// A cut is not signed by the notary.
    CutSignature,
    /// The log ends before a checkpoint that was signed for it: it was put back to an earlier state.
    RolledBack,
    /// The log has another past than a checkpoint that was signed for it.
    OtherHistory,
    /// A remembered checkpoint is not one that the notary signed.
    CheckpointUnreadable,
    /// A key cannot be used any more, and was not destroyed on purpose.
    KeyDamaged,
    /// The vault is older than the log.
    KeyMissing,
    /// The table of keys gives a record another key than its events were sealed with.
    KeyTableChanged,
    /// The file is damaged: nothing can be read here.
    FileDamaged,
}

/// Where damage is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// The log as a whole.
    Log,
    /// A partition as a whole.
    Partition(Partition),
    /// These offsets; the second is one past the last.
    Events(Partition, u64, u64),
    /// A cut, by its tick.
    Cut(u64),
    /// A slot of the vault.
    KeySlot(u64),
}

impl Damage {
    pub(crate) fn new(kind: DamageKind, place: impl Into<Place>, what: impl Into<String>) -> Self {
        Self { kind, place: place.into(), what: what.into() }
    }
}

impl DamageKind {
    /// The name that programs go by.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::HeaderChanged => "header-changed",
            Self::PayloadChanged => "payload-changed",
            Self::EventChanged => "event-changed",
            Self::LeafChanged => "leaf-changed",
            Self::EventUnreadable => "event-unreadable",
            Self::SealBroken => "seal-broken",
            Self::ContentDiffers => "content-differs",
            Self::EventMissing => "event-missing",
            Self::OrderSwapped => "order-swapped",
            Self::EventReplaced => "event-replaced",
            Self::RootDiffers => "root-differs",
            Self::Truncated => "truncated",
            Self::CountDiffers => "count-differs",
            Self::PartitionMissing => "partition-missing",
            Self::CutChanged => "cut-changed",
            Self::CutChain => "cut-chain",
            Self::CutSignature => "cut-signature",
            Self::RolledBack => "rolled-back",
            Self::OtherHistory => "other-history",
            Self::CheckpointUnreadable => "checkpoint-unreadable",
            Self::KeyDamaged => "key-damaged",
            Self::KeyMissing => "key-missing",
            Self::KeyTableChanged => "key-table-changed",
            Self::FileDamaged => "file-damaged",
        }
    }
}

impl From<Position> for Place {
    fn from(position: Position) -> Self {
        Self::Events(position.partition, position.offset, position.offset + 1)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log => f.write_str("log"),
            Self::Partition(partition) => partition.fmt(f),
            Self::Events(partition, from, to) if *to == from + 1 => partition.at(*from).fmt(f),
            Self::Events(partition, from, to) => {
                write!(f, "{} to {}", partition.at(*from), partition.at(to.saturating_sub(1)))
            }
            Self::Cut(tick) => write!(f, "cut {tick}"),
            Self::KeySlot(slot) => write!(f, "key slot {slot}"),
        }
    }
}

impl fmt::Display for DamageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.place, self.kind, self.what)
    }
}
