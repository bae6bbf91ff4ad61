//! What the translation of one message needs beside the message: its feed's profile and what the header said.

use jiff::tz::TimeZone;
use weft_model::When;

use crate::profile::Profile;

/// What is known before the facts are read.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    /// The feed's profile: zone, code maps, identifier rules.
    pub(crate) profile: &'a Profile,
    /// `ADT^A01`: message type and trigger event.
    pub(crate) message_type: &'a str,
    /// `A01`: the trigger event alone.
    pub(crate) trigger: &'a str,
    /// When the source recorded it: EVN-2, else MSH-7.
    pub(crate) recorded: Option<When>,
    /// When it happened, by EVN-6. Absent where it was not said.
    pub(crate) occurred: Option<When>,
}

impl Context<'_> {
    /// The zone in which times without an offset are read.
    pub(crate) fn zone(&self) -> &TimeZone {
        self.profile.zone()
    }
}
