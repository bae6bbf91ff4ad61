//! What an event of the identity stream changes of who is who: the one reading of it, for the linker's index and for the
//! read model alike.
//!
//! Folding the changes in log order gives the persons. A record belongs to the person that the newest [`Change::Place`]
//! names, unless it follows another record: then to that one's person. One rule ranks them: **a record that a steward has
//! placed is moved by stewards only**. For such a record a later `Place` that is not a steward's, and a later
//! [`Change::Follow`], have no effect.

use crate::{
    IdError, Payload, PersonId, Pseudonym,
    proto::event::{LinkMethod, Placed},
};

/// One change. Those of one event belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The record belongs to this person.
    Place {
        /// The record.
        record: Pseudonym,
        /// Whom it belongs to.
        person: PersonId,
        /// Who says so is a steward: the record follows nobody any more, and only a steward moves it again.
        by_steward: bool,
    },
    /// `retired` belongs to whatever person `survivor` belongs to, then and later.
    Follow {
        /// The record that follows.
        retired: Pseudonym,
        /// The record that it follows.
        survivor: Pseudonym,
    },
    /// The record follows nobody any more.
    Unfollow {
        /// The record.
        record: Pseudonym,
    },
}

/// The changes that an event makes, in order; none for an event that only asks, or that is of another stream. `record` is
/// the pseudonym in the event's header.
///
/// # Errors
/// [`IdError`] where an identifier in the event is none.
pub fn changes(record: Option<Pseudonym>, payload: &Payload) -> Result<Vec<Change>, IdError> {
    Ok(match payload {
        Payload::RecordLinked(linked) => vec![Change::Place {
            record: record.ok_or(IdError::NotAnId)?,
            person: PersonId::from_bytes(&linked.person)?,
            by_steward: linked.method() == LinkMethod::Steward,
        }],
        Payload::RecordsMerged(merged) => vec![Change::Follow {
            retired: Pseudonym::from_bytes(&merged.retired_pseudonym)?,
            survivor: Pseudonym::from_bytes(&merged.survivor_pseudonym)?,
        }],
        Payload::RecordsUnlinked(unlinked) => {
            vec![Change::Unfollow { record: Pseudonym::from_bytes(&unlinked.record_pseudonym)? }]
        }
        Payload::PersonsMerged(merged) => {
            let person = PersonId::from_bytes(&merged.survivor)?;
            let moved = merged
                .records
                .iter()
                .map(|record| Ok(Change::Place { record: Pseudonym::from_bytes(record)?, person, by_steward: false }));
            moved.collect::<Result<_, IdError>>()?
        }
        Payload::StewardDecided(decided) => decided.placed.iter().map(place).collect::<Result<_, _>>()?,
        _ => Vec::new(),
    })
}

fn place(placed: &Placed) -> Result<Change, IdError> {
    let (record, person) = (Pseudonym::from_bytes(&placed.record)?, PersonId::from_bytes(&placed.person)?);
    Ok(Change::Place { record, person, by_steward: true })
}
