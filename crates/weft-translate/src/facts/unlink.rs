//! Unlinking (A37) and moving (A43): that two records are not one patient after all, or that one is another's patient.

use weft_model::proto::event::{MessageReceived, OtherRecord};

use super::{merge::other_key, telling::Facts};
use crate::{
    identifiers::{Identified, read_key},
    issue::{error, warning},
};

/// Reads the second PID of an A37 into `received`. A message that does not say which two records it means is quarantined.
pub(crate) fn read(facts: &mut Facts<'_>, identified: &Identified, received: &mut MessageReceived) {
    let pids: Vec<_> = facts.message.all("PID").collect();
    let profile = facts.context.profile;
    let [_, second] = pids.as_slice() else {
        let text = "the message does not say which two records are to be unlinked";
        let place = pids.get(2).map_or_else(|| "PID[2]".to_owned(), |pid| pid.place());
        facts.issues.push(error("unlink-without-two-patients", place, text));
        return;
    };
    let other = read_key(second.field(3), profile, identified.record.as_ref(), &mut facts.issues);
    match other {
        None => {
            let text = "the message does not say from which record the patient is to be unlinked";
            facts.issues.push(error("unlink-without-two-patients", second.place(), text));
        }
        Some((other, location)) if Some(&other) == identified.record.as_ref() => {
            let text = "a record unlinked from itself; nothing is unlinked";
            facts.issues.push(warning("unlink-circular", location, text));
        }
        Some((record, location)) => received.unlinked = Some(OtherRecord { record: Some(record), location }),
    }
}

/// Reads MRG of an A43 into `received`. A message that does not say which record moves is quarantined.
pub(crate) fn read_move(facts: &mut Facts<'_>, identified: &mut Identified, received: &mut MessageReceived) {
    let profile = facts.context.profile;
    let field = facts.message.first("MRG").map(|mrg| mrg.field(1));
    let moved = field.and_then(|field| read_key(field, profile, identified.record.as_ref(), &mut facts.issues));
    let Some((moved, location)) = moved else {
        let text = "the message does not say which record moves";
        facts.issues.push(error("move-without-mrg", "MRG-1", text));
        return;
    };
    let Some(target) = identified.record.clone() else {
        // Without a patient to move to the message has none at all, which quarantines it.
        return;
    };
    if moved == target {
        // PID-3 has the moved record, too, as the standard's example does: the other one says whom it moves to.
        let Some(other) = other_key(identified, &target) else {
            let text = "a record moved to itself; nothing moves";
            facts.issues.push(warning("move-circular", location, text));
            return;
        };
        identified.identifiers.retain(|i| i.value != other.value || i.system != other.system);
        identified.record = Some(other);
    }
    received.moved = Some(OtherRecord { record: Some(moved), location });
}
