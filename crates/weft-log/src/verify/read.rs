//! Reading everything, also around what cannot be read.

use std::ops::Range;

use weft_model::Partition;

use super::{
    VerifyError,
    damage::{Damage, DamageKind, Place},
};
use crate::{Evidence, ReadError, ReadLimit, Stored};

/// Events of one piece of work: large enough that pages of the file are read once.
const EVENTS: u64 = 2048;

/// Offsets of a partition that are read together.
#[derive(Debug, Clone)]
pub(super) struct PageRange {
    pub(super) partition: Partition,
    pub(super) offsets: Range<u64>,
}

/// What is there of a range, and what is not.
pub(super) struct Page {
    pub(super) range: PageRange,
    /// In order of their offsets.
    pub(super) events: Vec<Stored>,
    /// What could not be read.
    pub(super) damages: Vec<Damage>,
}

/// The pieces of a partition of `size` events.
pub(super) fn ranges(partition: Partition, size: u64) -> impl Iterator<Item = PageRange> {
    (0..size.div_ceil(EVENTS)).map(move |n| {
        let offsets = n * EVENTS..((n + 1) * EVENTS).min(size);
        PageRange { partition, offsets }
    })
}

/// Reads a range. Where the file is damaged, reading goes on behind the damage.
pub(super) async fn page(evidence: &dyn Evidence, range: PageRange) -> Result<Page, VerifyError> {
    let PageRange { partition, offsets } = range.clone();
    let (mut next, mut events, mut damages): (u64, Vec<Stored>, Vec<Damage>) = (offsets.start, Vec::new(), Vec::new());
    let mut skip = 1;
    while next < offsets.end {
        let limit = ReadLimit {
            events: usize::try_from(offsets.end - next).unwrap_or(usize::MAX),
            bytes: ReadLimit::PAGE.bytes,
        };
        match evidence.read(partition.at(next), limit).await {
            Ok(page) => {
                let Some(last) = page.last() else { break };
                next = last.position.offset + 1;
                skip = 1;
                events.extend(page.into_iter().filter(|stored| stored.position.offset < offsets.end));
            }
            Err(ReadError::Corrupt { position, what }) => {
                // Past the damage: event by event where that helps, in longer and longer steps where it does not.
                let start = position.offset.max(next);
                let end = (start + skip).min(offsets.end);
                unreadable(&mut damages, partition, start..end, what);
                (next, skip) = (end, skip * 2);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Page { range, events, damages })
}

/// Adds a stretch that cannot be read to the one before it.
fn unreadable(damages: &mut Vec<Damage>, partition: Partition, offsets: Range<u64>, what: &str) {
    if let Some(Damage { place: Place::Events(_, _, to), .. }) = damages.last_mut()
        && *to == offsets.start
    {
        *to = offsets.end;
        return;
    }
    let place = Place::Events(partition, offsets.start, offsets.end);
    damages.push(Damage::new(DamageKind::FileDamaged, place, what));
}
