//! No durable disclosure, no answer; and who was refused what.
//!
//! Whatever says something about a person, also that nobody was found, goes through [`Disclosures::record`] after it was
//! read and before it leaves. Every answer is an event of its own: two equal answers are two disclosures. What is refused,
//! or fails, is recorded too ([`Disclosures::record_refusal`]), with as much of who asked as the request said. A refusal
//! tells nothing of anybody, so it leaves also where the log cannot take its record.

use std::{sync::Arc, time::Duration};

use tonic::Code;
use weft_log::{Draft, Same, SharedLog};
use weft_model::{
    Clock, Cut, Payload, PersonId, Random, Verdict,
    proto::{
        api::RequestContext,
        event::{self, Disclosed, Mistake, RequestRefused},
    },
};

use crate::{
    context::{Asker, LENGTH_MAX},
    error::Error,
};

/// How long a refusal waits for its record: a log that is away must not make senders of broken requests wait for it.
const REFUSAL_WITHIN: Duration = Duration::from_secs(1);

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

/// What a request says of itself, for the record of its refusal.
pub(crate) struct Asked {
    context: RequestContext,
    person: Option<PersonId>,
}

impl Asked {
    /// A request with this context, about no person that it names.
    pub(crate) fn of(context: Option<&RequestContext>) -> Self {
        Self { context: context.cloned().unwrap_or_default(), person: None }
    }

    /// A request about the person with this identifier, if it is one.
    pub(crate) fn about(context: Option<&RequestContext>, person_id: &str) -> Self {
        Self { person: person_id.parse().ok(), ..Self::of(context) }
    }
}

impl Disclosures {
    /// Appends the disclosure; when this returns it is durable and the answer may leave.
    pub(crate) async fn record(&self, asker: &Asker, answer: Answer<'_>) -> Result<(), Error> {
        let disclosed = Disclosed {
            user: asker.user.clone(),
            role: asker.role.clone(),
            organisation: asker.organisation.to_string(),
            purpose: asker.purpose.clone(),
            reason: asker.reason.clone(),
            method: answer.method.to_owned(),
            persons: answer.persons.iter().map(PersonId::to_vec).collect(),
            entries: u32::try_from(answer.entries).unwrap_or(u32::MAX),
            known_at: positions(answer.known_at),
        };
        let draft = self.draft(answer.method, Payload::Disclosed(disclosed));
        match self.log.append(vec![draft]).await {
            Ok(_) => Ok(()),
            Err(error) => Err(Error::Unrecorded(error.into())),
        }
    }

    /// Appends that a request was refused, or failed, and why; unless that is recorded already, or cannot be.
    pub(crate) async fn record_refusal(&self, method: &'static str, asked: Asked, error: &Error) {
        if matches!(error, Error::Answered(_) | Error::Unrecorded(_)) {
            return;
        }
        let Asked { context, person } = asked;
        let mistakes = error.details().into_iter().map(|detail| Mistake { code: detail.code, field: detail.field });
        let refused = RequestRefused {
            user: cut_short(context.user),
            role: cut_short(context.role),
            organisation: cut_short(context.organisation),
            purpose: cut_short(context.purpose),
            reason: cut_short(context.reason),
            method: method.to_owned(),
            person: person.map(|person| person.to_vec()).unwrap_or_default(),
            status: name(error.code()).to_owned(),
            mistakes: mistakes.collect(),
        };
        let draft = self.draft(method, Payload::RequestRefused(refused));
        match tokio::time::timeout(REFUSAL_WITHIN, self.log.append(vec![draft])).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                tracing::warn!(method, error = &error as &dyn std::error::Error, "refusal not recorded");
            }
            Err(_) => tracing::warn!(method, "refusal not recorded in time"),
        }
    }

    fn draft(&self, method: &'static str, payload: Payload) -> Draft {
        let received_us = self.clock.now_us();
        Draft {
            same: Same::Series(received_us.unsigned_abs(), self.unique_name(method)),
            feed: String::new(),
            control_id: String::new(),
            message_type: String::new(),
            verdict: Verdict::Unspecified,
            received_us,
            cause: None,
            payload,
        }
    }

    fn unique_name(&self, method: &str) -> Vec<u8> {
        let mut name = vec![0; 16];
        self.random.fill(&mut name);
        name.extend_from_slice(method.as_bytes());
        name
    }
}

/// No longer than a field of a context may be.
fn cut_short(mut field: String) -> String {
    if let Some((end, _)) = field.char_indices().nth(LENGTH_MAX) {
        field.truncate(end);
    }
    field
}

/// The name of a code, as gRPC writes it.
fn name(code: Code) -> &'static str {
    match code {
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::NotFound => "NOT_FOUND",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Unavailable => "UNAVAILABLE",
        Code::PermissionDenied => "PERMISSION_DENIED",
        _ => "INTERNAL",
    }
}

fn positions(cut: &Cut) -> Vec<event::Position> {
    cut.0.iter().map(|(partition, size)| partition.at(*size).to_proto()).collect()
}
