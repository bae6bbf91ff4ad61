//! No durable disclosure, no answer.
//!
//! Whatever says something about a person, also that nobody was found, goes through [`Disclosures::record`] after it was
//! read and before it leaves. Every answer is an event of its own: two equal answers are two disclosures.

use std::sync::Arc;

use weft_log::{Draft, Same, SharedLog};
use weft_model::{
    Clock, Cut, Payload, PersonId, Random, Verdict,
    proto::event::{self, Disclosed},
};

use crate::{context::Asker, error::Error};

/// Writes the access stream.
pub(crate) struct Disclosures {
    pub(crate) log: SharedLog,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
}

/// What is about to be told.
pub(crate) struct Answer<'a> {
    /// gRPC method: `weft.v1.TimelineService/GetTimeline`.
    pub(crate) method: &'static str,
    /// Persons that it speaks of.
    pub(crate) persons: &'a [PersonId],
    /// Lines or records in it.
    pub(crate) entries: usize,
    /// What was known to it.
    pub(crate) known_at: &'a Cut,
}

impl Disclosures {
    /// Appends the disclosure; when this returns it is durable and the answer may leave.
    pub(crate) async fn record(&self, asker: &Asker, answer: Answer<'_>) -> Result<(), Error> {
        let draft = Draft {
            same: Same::Name(self.unique_name(answer.method)),
            feed: String::new(),
            control_id: String::new(),
            message_type: String::new(),
            verdict: Verdict::Unspecified,
            received_us: self.clock.now_us(),
            cause: None,
            payload: Payload::Disclosed(Disclosed {
                user: asker.user.clone(),
                role: asker.role.clone(),
                organisation: asker.organisation.to_string(),
                purpose: asker.purpose.clone(),
                reason: asker.reason.clone(),
                method: answer.method.to_owned(),
                persons: answer.persons.iter().map(PersonId::to_vec).collect(),
                entries: u32::try_from(answer.entries).unwrap_or(u32::MAX),
                known_at: positions(answer.known_at),
            }),
        };
        match self.log.append(vec![draft]).await {
            Ok(_) => Ok(()),
            Err(error) => Err(Error::Unavailable("the disclosure could not be recorded", error.into())),
        }
    }

    fn unique_name(&self, method: &str) -> Vec<u8> {
        let mut name = vec![0; 16];
        self.random.fill(&mut name);
        name.extend_from_slice(method.as_bytes());
        name
    }
}

fn positions(cut: &Cut) -> Vec<event::Position> {
    cut.0.iter().map(|(partition, size)| partition.at(*size).to_proto()).collect()
}
