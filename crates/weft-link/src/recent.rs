//! What has changed of an index since it was looked ahead in: of a few hundred turns, so that each record can ask in its turn
//! whether what was found of it still holds.
//!
//! Keys and persons are told apart by digests. Two that had one digest would be taken for each other, and what was found would be
//! found again where it need not: it costs time and changes nothing.

use std::collections::HashSet;
use std::hash::BuildHasherDefault;

use weft_model::PersonId;

use crate::map::Mix;

/// Changes that are kept. A few hundred records change some thousand keys and persons; where nobody looks ahead nothing is kept.
const KEPT_MAX: usize = 1 << 15;

#[derive(Default)]
pub(crate) struct Recent {
    /// Changes in all.
    moment: u64,
    /// The moment after which each change is kept; `None` where none is.
    since: Option<u64>,
    changed: HashSet<u64, BuildHasherDefault<Mix>>,
}

impl Recent {
    /// How many changes there were.
    pub(crate) fn moment(&self) -> u64 {
        self.moment
    }

    /// A key has come to find others than before, or a person to consist of other records or of records that say something else.
    pub(crate) fn note(&mut self, digest: u64) {
        self.moment += 1;
        if self.since.is_some() {
            self.changed.insert(digest);
            if self.changed.len() >= KEPT_MAX {
                self.since = None;
            }
        }
    }

    /// The turn of a record has come that was looked ahead at in that moment: if nothing has changed since, it is the first of its
    /// kind, and nobody asks any more for what was before.
    pub(crate) fn turn(&mut self, looked_ahead: u64) {
        if looked_ahead == self.moment {
            self.since = Some(looked_ahead);
            self.changed.clear();
        }
    }

    /// True where it is known of all these that none has changed after that moment.
    pub(crate) fn are_as_they_were(&self, moment: u64, mut digests: impl Iterator<Item = u64>) -> bool {
        let is_kept = self.since.is_some_and(|since| since <= moment);
        is_kept && digests.all(|digest| !self.changed.contains(&digest))
    }
}

/// Stands for a person.
pub(crate) fn digest(person: PersonId) -> u64 {
    let digest = u128::from_be_bytes(person.0);
    (digest >> 64) as u64 ^ digest as u64
}
