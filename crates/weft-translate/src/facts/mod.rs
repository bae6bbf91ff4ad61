//! What a message says: its facts, the person as it describes them, and merges.

use weft_model::proto::event::MessageReceived;

use crate::{context::Context, hl7v2, identifiers::read_pid3};

/// Reads the facts of `message` into `received`: its record, demographics, facts, merge and issues.
pub(crate) fn translate_facts(message: &hl7v2::Message<'_>, context: &Context<'_>, received: &mut MessageReceived) {
    let read = read_pid3(message, context.profile);
    received.record = read.record;
    received.issues.extend(read.issues);
}
