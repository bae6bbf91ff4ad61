//! Merges (A40): which record is to be used no more, and the ways in which senders get that wrong.

use weft_model::{
    SourceRecordId,
    proto::event::{Identifier, MessageReceived},
};

use super::telling::Facts;
use crate::{
    identifiers::{Identified, read_merge},
    issue::{error, information, warning},
};

/// Reads MRG into `received`. A message that does not say which record is merged into which is quarantined.
pub(crate) fn read(facts: &mut Facts<'_>, identified: &mut Identified, received: &mut MessageReceived) {
    if let Some(several) = several(facts) {
        let text = "several merges in one message";
        facts.issues.push(error("merge-several", several, text));
        return;
    }
    let survivor = identified.record.clone();
    let merge = read_merge(facts.message, facts.context.profile, survivor.as_ref(), &mut facts.issues);
    let Some(mut merge) = merge else {
        let text = "the message does not say which record is to be used no more";
        facts.issues.push(error("merge-without-mrg", "MRG-1", text));
        return;
    };
    let (Some(survivor), Some(retired)) = (survivor, merge.retired.as_mut()) else {
        // Without a survivor the message has no patient, which quarantines it.
        return;
    };
    let unstated = facts.message.first("MRG").is_some_and(|mrg| mrg.field(1).component(4).is_none());
    if unstated && retired.system != survivor.system && has(identified, retired) {
        retired.system.clone_from(&survivor.system);
    }
    let both = retains(identified, retired);
    if *retired == survivor {
        // Both in PID-3, the retired one first: the other is the one that stays.
        let Some(other) = other_key(identified, &survivor) else {
            let text = "a record merged into itself; nothing is merged";
            facts.issues.push(warning("merge-circular", merge.location, text));
            return;
        };
        identified.identifiers.retain(|i| i.value != other.value || i.system != other.system);
        identified.record = Some(other);
        note_both(facts);
    } else if both {
        identified.identifiers.retain(|i| !is(i, retired));
        note_both(facts);
    }
    received.merge = Some(merge);
}

fn note_both(facts: &mut Facts<'_>) {
    let text = "PID-3 has the record that is to be used no more, too; MRG-1 decides";
    facts.issues.push(information("merge-both-in-pid3", "PID-3", text));
}

/// Place of a second MRG, or PID, that names another record than the first.
fn several(facts: &Facts<'_>) -> Option<String> {
    [("MRG", 1), ("PID", 3)].into_iter().find_map(|(name, field)| {
        let first = facts.message.first(name)?.field(field).raw();
        facts.message.all(name).find(|segment| segment.field(field).raw() != first).map(|segment| segment.place())
    })
}

fn is(identifier: &Identifier, record: &SourceRecordId) -> bool {
    identifier.value == record.value && identifier.system == record.system
}

fn retains(identified: &Identified, record: &SourceRecordId) -> bool {
    identified.identifiers.iter().any(|identifier| is(identifier, record))
}

/// The same value is among the identifiers, or is the record's own.
fn has(identified: &Identified, record: &SourceRecordId) -> bool {
    identified.record.as_ref().is_some_and(|own| own.value == record.value)
        || identified.identifiers.iter().any(|identifier| identifier.value == record.value)
}

/// The only other identifier of the same system in PID-3, as a key.
pub(crate) fn other_key(identified: &Identified, survivor: &SourceRecordId) -> Option<SourceRecordId> {
    let mut others = identified.identifiers.iter().filter(|i| i.system == survivor.system && i.value != survivor.value);
    let (only, None) = (others.next()?, others.next()) else { return None };
    Some(SourceRecordId { value: only.value.clone(), ..survivor.clone() })
}
