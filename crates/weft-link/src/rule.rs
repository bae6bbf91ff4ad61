//! Deciding under the register: a score proposes, and what a steward or a sender has said disposes.

use weft_model::{
    Payload, PersonId, Pseudonym, SourceRecordId,
    proto::event::{Evidence, LinkMethod, NhsNumberSwitched, PersonsMerged, RecordLinked, ReviewAsked},
};

use crate::{Candidate, Decision, Model, Outcome, Register, decide};

/// The same number, another person to all appearance: the number is frozen.
const OVERLAY: &str = "nhs-number-demographics-disagree";
/// The score speaks against a steward's decision about the record, which stands.
const AGAINST_STEWARD: &str = "steward-decision-contradicted";
/// The record agrees with two persons who are kept apart: which of them it is, a steward says.
const KEPT_APART: &str = "persons-kept-apart-agree";
/// The record's number was found with two people and links nobody until it is released.
const FROZEN: &str = "nhs-number-frozen";

impl Register {
    /// Decides about a record that is new or has changed: the events to append, in order; none where everything stays as
    /// it is. A record that follows another is not decided on. The caller takes each event in once it has its offset.
    #[must_use]
    pub fn rule(&self, record: Pseudonym, id: &SourceRecordId, model: &Model) -> Vec<Payload> {
        if self.index().survivor_of(record).is_some() {
            return Vec::new();
        }
        let Some(decision) = self.decision(record, self.index().person_of(record), model) else { return Vec::new() };
        let mut events = Vec::new();
        let number = self.index().features(record).and_then(crate::Features::nhs_number);
        if let Some(number) = number
            && decision.review.contains(&OVERLAY)
            && !self.is_frozen(number)
        {
            let nhs_number = number.to_string();
            events.push(Payload::NhsNumberFrozen(NhsNumberSwitched { nhs_number, ..NhsNumberSwitched::default() }));
        }
        events.extend(self.told(record, id, decision, model));
        events
    }

    /// Records that a merge of one of their person's records by its sender has left behind, and whom nothing but that
    /// record linked with the person that they are in: they follow it. `left` is the person that the record was of, `joined`
    /// the one that it is of now.
    #[must_use]
    pub fn follow_merged(&self, left: PersonId, joined: PersonId, model: &Model) -> Option<Payload> {
        let mut records: Vec<Pseudonym> = self.index().records_of(left).collect();
        records.sort_unstable();
        records.retain(|record| {
            self.index().survivor_of(*record).is_none()
                && !self.is_held(*record)
                && self.decision(*record, None, model).is_some_and(|decision| decision.person == joined)
        });
        (left != joined && !records.is_empty()).then(|| self.joined(joined, left, &records, model))
    }

    /// Records that are still of a person whom a steward has merged into another: heard of between the steward's look
    /// and the decision.
    #[must_use]
    pub fn follow_steward(&self, retired: PersonId, survivor: PersonId, model: &Model) -> Option<Payload> {
        let mut records: Vec<Pseudonym> = self.index().records_of(retired).filter(|r| !self.is_held(*r)).collect();
        records.sort_unstable();
        (retired != survivor && !records.is_empty()).then(|| self.joined(survivor, retired, &records, model))
    }

    fn joined(&self, survivor: PersonId, retired: PersonId, records: &[Pseudonym], model: &Model) -> Payload {
        Payload::PersonsMerged(PersonsMerged {
            survivor: survivor.to_vec(),
            retired: retired.to_vec(),
            records: records.iter().map(Pseudonym::to_vec).collect(),
            model: model.name.clone(),
            identity_known: self.taken(),
            ..PersonsMerged::default()
        })
    }

    fn decision(&self, record: Pseudonym, current: Option<PersonId>, model: &Model) -> Option<Decision> {
        let features = self.index().features(record)?;
        let mut candidates = self.index().candidates(features);
        candidates.retain(|candidate: &Candidate<'_>| !self.is_apart(record, candidate.person));
        let mut decision = decide(record, features, current, &candidates, self.index().len(), model);
        let stays = current == Some(decision.person);
        if self.is_held(record) {
            if stays {
                // Answered already.
                decision.review.clear();
            } else {
                decision.refuse(AGAINST_STEWARD, record, current, model);
            }
        } else if !stays && decision.method != LinkMethod::NewPerson {
            let second = decision.runner_up.filter(|(_, score)| *score >= model.threshold);
            if second.is_some_and(|(person, _)| self.are_apart(decision.person, person)) {
                decision.refuse(KEPT_APART, record, current, model);
            } else if features.nhs_number().is_some_and(|number| self.is_frozen(number)) {
                decision.refuse(FROZEN, record, current, model);
            }
        }
        Some(decision)
    }

    /// The event that tells a decision; `None` where there is nothing new to tell.
    fn told(&self, record: Pseudonym, id: &SourceRecordId, decision: Decision, model: &Model) -> Option<Payload> {
        let outcome = decision.outcome;
        let event = RecordLinked {
            threshold: model.threshold,
            identity_known: self.taken(),
            ..decision.into_event(id.clone())
        };
        if outcome == Outcome::Linked {
            return Some(Payload::RecordLinked(event));
        }
        let about = PersonId::from_bytes(&event.runner_up).ok();
        let is_known = match self.asked(record) {
            None => event.review.is_empty(),
            Some((codes, person)) => *codes == event.review && *person == about,
        };
        (!is_known).then(|| Payload::ReviewAsked(ReviewAsked { decision: Some(event) }))
    }
}

impl Decision {
    /// The record stays where it is (a new one starts a person of its own), and a steward is asked.
    fn refuse(&mut self, code: &'static str, record: Pseudonym, current: Option<PersonId>, model: &Model) {
        self.evidence.push(Evidence { field: "steward".to_owned(), level: code.to_owned(), weight: model.veto });
        self.runner_up = Some((self.person, self.score));
        self.score = self.evidence.iter().map(|row| i64::from(row.weight)).sum();
        self.person = current.unwrap_or_else(|| PersonId::started_by(record));
        self.outcome = if current.is_some() { Outcome::Unchanged } else { Outcome::Linked };
        self.method = LinkMethod::NewPerson;
        self.review.push(code);
        self.review.sort_unstable();
    }
}
