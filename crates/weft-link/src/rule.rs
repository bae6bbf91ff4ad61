//! Deciding under the register: a score proposes, and what a steward or a sender has said disposes.

use weft_model::{
    Payload, PersonId, Pseudonym, SourceRecordId,
    proto::event::{LinkMethod, NhsNumberSwitched, PersonsMerged, RecordLinked, ReviewAsked},
};

use crate::{Candidate, Decision, Features, Model, Outcome, Register, Row, Waiting, decide};

/// The same number, another person to all appearance: the number is frozen.
const OVERLAY: &str = "nhs-number-demographics-disagree";
/// The score speaks against a steward's decision about the record, which stands.
const AGAINST_STEWARD: &str = "steward-decision-contradicted";
/// The record agrees with two persons who are kept apart: which of them it is, a steward says.
const KEPT_APART: &str = "persons-kept-apart-agree";
/// Two persons seem to be one, and a steward has decided about one of them.
const MAY_BE_ONE: &str = "persons-may-be-one";
/// The record's number was found with two people and links nobody until it is released.
const FROZEN: &str = "nhs-number-frozen";

impl Register {
    /// Decides about a record that is new or has changed: the events to append, in order; none where everything stays as
    /// it is. A record that follows another is not decided on. The caller takes each event in once it has its offset.
    #[must_use]
    pub fn rule(&self, record: Pseudonym, id: &SourceRecordId, model: &Model) -> Vec<Payload> {
        let Some(features) = self.index().features(record) else { return Vec::new() };
        self.rule_on((record, features), None, || self.index().candidates(features), id, model)
    }

    /// The same for a record that has waited, was heard, and is looked ahead at, if it is, with the same model.
    #[must_use]
    pub fn rule_heard(&self, mut waiting: Waiting, id: &SourceRecordId, model: &Model) -> Vec<Payload> {
        let Some(features) = self.index().features(waiting.record()) else { return Vec::new() };
        let foreseen = waiting.take_decision();
        let candidates = || self.index().candidates_by(waiting.keys());
        self.rule_on((waiting.record(), features), foreseen, candidates, id, model)
    }

    fn rule_on<'a>(
        &'a self,
        (record, features): (Pseudonym, &Features),
        foreseen: Option<Decision>,
        candidates: impl FnOnce() -> Vec<Candidate<'a>>,
        id: &SourceRecordId,
        model: &Model,
    ) -> Vec<Payload> {
        if self.index().survivor_of(record).is_some() {
            return Vec::new();
        }
        let current = self.index().person_of(record);
        let decision = self.decision((record, features), current, foreseen, candidates, model);
        let mut events = Vec::new();
        if let Some(number) = features.nhs_number()
            && decision.review.contains(&OVERLAY)
            && !self.is_frozen(number)
        {
            let nhs_number = number.to_string();
            events.push(Payload::NhsNumberFrozen(NhsNumberSwitched { nhs_number, ..NhsNumberSwitched::default() }));
        }
        let joins = self.joins(record, &decision, model);
        events.extend(self.told(record, id, decision));
        events.extend(joins);
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
                && self.index().features(*record).is_some_and(|features| {
                    let candidates = || self.index().candidates(features);
                    self.decision((*record, features), None, None, candidates, model).person == joined
                })
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

    /// What the scores say, as far as stewards and senders leave it to them; `foreseen` is what they say where nobody has decided
    /// anything.
    fn decision<'a>(
        &'a self,
        (record, features): (Pseudonym, &Features),
        current: Option<PersonId>,
        foreseen: Option<Decision>,
        candidates: impl FnOnce() -> Vec<Candidate<'a>>,
        model: &Model,
    ) -> Decision {
        let is_left_to_scores = |decision: &Decision| {
            !self.has_facts_of(record, features.nhs_number()) && self.forbidden_join(decision, current).is_none()
        };
        let foreseen = foreseen.filter(is_left_to_scores);
        let (mut decision, kept_apart) = match foreseen {
            Some(decision) => (decision, None),
            None => self.scored((record, features), current, candidates(), model),
        };
        let stays = current == Some(decision.person);
        if self.is_held(record) {
            if stays || !decision.joins.is_empty() {
                // Answered already.
                decision.review.clear();
                decision.stay(record, current);
            } else {
                decision.refuse(AGAINST_STEWARD, record, current, model);
            }
        } else if !stays && decision.method != LinkMethod::NewPerson {
            let second = decision.runner_up.filter(|(_, score)| *score >= model.threshold);
            let is_apart = |(person, _): (PersonId, i64)| self.are_apart(decision.person, person);
            if kept_apart.is_some_and(|(.., are_apart)| are_apart) || second.is_some_and(is_apart) {
                decision.refuse(KEPT_APART, record, current, model);
            } else if features.nhs_number().is_some_and(|number| self.is_frozen(number)) {
                decision.refuse(FROZEN, record, current, model);
            }
        }
        decision
    }

    /// What the scores say under what stewards and senders have decided of the record; with it the first person that the scores
    /// would join and must not, its score, and whether the two are kept apart.
    fn scored(
        &self,
        (record, features): (Pseudonym, &Features),
        current: Option<PersonId>,
        mut candidates: Vec<Candidate<'_>>,
        model: &Model,
    ) -> (Decision, Option<(PersonId, i64, bool)>) {
        for candidate in &mut candidates {
            candidate.barred = self.is_apart(record, candidate.person);
            candidate.looked_at = self.looked_at(features.nhs_number(), record, candidate.record);
        }
        let setting = self.index().setting();
        let mut decision = decide(record, features, current, &candidates, setting, model);
        let mut kept_apart = None;
        // Every round takes one person away.
        while let Some((other, are_apart)) = self.forbidden_join(&decision, current) {
            candidates.retain(|candidate| candidate.person != other);
            let score = decision.others.iter().find(|(person, _)| *person == other).map_or(0, |(_, score)| *score);
            kept_apart = kept_apart.or(Some((other, score, are_apart)));
            decision = decide(record, features, current, &candidates, setting, model);
        }
        if let Some((other, score, false)) = kept_apart {
            decision.runner_up = Some((other, score));
            decision.review.push(MAY_BE_ONE);
            decision.review.sort_unstable();
        }
        (decision, kept_apart)
    }

    /// A person that the scores would join and must not: whom a steward has decided about, a score joins with nobody. With
    /// it whether the two are kept apart.
    fn forbidden_join(&self, decision: &Decision, current: Option<PersonId>) -> Option<(PersonId, bool)> {
        let has_held = |person: PersonId| self.index().records_of(person).any(|record| self.is_held(record));
        decision.joins.iter().find_map(|join| {
            let (one, other) = (join.person, decision.person);
            let are_apart = self.are_apart(one, other);
            let leaves = if current == Some(one) { other } else { one };
            (are_apart || has_held(one) || has_held(other)).then_some((leaves, are_apart))
        })
    }

    /// The events that join persons, once the record itself is where it belongs.
    fn joins(&self, record: Pseudonym, decision: &Decision, model: &Model) -> Vec<Payload> {
        let of = |person: PersonId| {
            let heads = self.index().records_of(person).filter(|r| self.index().survivor_of(*r).is_none());
            let mut heads: Vec<Pseudonym> = heads.filter(|head| *head != record).collect();
            heads.sort_unstable();
            heads
        };
        let stay = of(decision.person).len();
        let joins = decision.joins.iter().filter_map(|join| {
            let records = of(join.person);
            let Payload::PersonsMerged(merged) = self.joined(decision.person, join.person, &records, model) else {
                return None;
            };
            let pairs = u32::try_from((stay.max(1)) * records.len()).unwrap_or(u32::MAX);
            let merged = PersonsMerged { mean_score: join.mean.max(0), pairs, ..merged };
            (!records.is_empty()).then_some(Payload::PersonsMerged(merged))
        });
        joins.collect()
    }

    /// The event that tells a decision; `None` where there is nothing new to tell.
    fn told(&self, record: Pseudonym, id: &SourceRecordId, decision: Decision) -> Option<Payload> {
        let outcome = decision.outcome;
        let event = RecordLinked { identity_known: self.taken(), ..decision.into_event(id.clone()) };
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
        self.evidence.push(Row { field: "steward", level: code, weight: model.veto });
        self.runner_up = Some((self.person, self.score));
        self.score = self.evidence.iter().map(|row| i64::from(row.weight)).sum();
        self.method = LinkMethod::NewPerson;
        self.review.push(code);
        self.review.sort_unstable();
        self.review.dedup();
        self.stay(record, current);
    }

    /// The record is where it was; a new one starts a person of its own.
    fn stay(&mut self, record: Pseudonym, current: Option<PersonId>) {
        self.person = current.unwrap_or_else(|| PersonId::started_by(record));
        self.outcome = if current.is_some() { Outcome::Unchanged } else { Outcome::Linked };
        self.joins.clear();
    }
}
