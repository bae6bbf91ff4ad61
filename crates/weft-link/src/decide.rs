//! From comparisons to one decision that explains itself.

use std::collections::BTreeMap;

use weft_model::{
    PersonId, Pseudonym, SourceRecordId,
    proto::event::{Evidence, LinkMethod, RecordLinked},
};

use crate::{
    Candidate, Features, Model, NORMALISER,
    compare::{Check, Comparison, Number, Row, compare},
};

/// What was decided about one record, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// Whether there is anything new to record.
    pub outcome: Outcome,
    /// The person that the record belongs to from now on.
    pub person: PersonId,
    /// The person it belonged to before; `None` for a new record.
    pub previous: Option<PersonId>,
    /// What the link rests on; [`LinkMethod::NewPerson`] also where an unchanged record agrees with no other of its person.
    pub method: LinkMethod,
    /// Sum of the weights of `evidence`; at least [`Model::threshold`] where the record was linked to somebody.
    pub score: i64,
    /// Comparison with the record of the person that agrees best. For a new person: with the one that came nearest and was
    /// refused ([`runner_up`](Self::runner_up)); empty where there was none.
    pub evidence: Vec<Evidence>,
    /// Records that were compared.
    pub candidates: u32,
    /// Person that came second, with its score.
    pub runner_up: Option<(PersonId, i64)>,
    /// Why somebody should look, in alphabetical order; empty where nobody need.
    pub review: Vec<Review>,
    /// Name and version of the model.
    pub model: &'static str,
}

/// Whether a decision changes anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The record stays with the person it has.
    Unchanged,
    /// The record belongs to `person` from now on: record it.
    Linked,
}

/// A code for the review queue: lower case with hyphens.
///
/// - `nhs-number-ambiguous`: linked by a number that another record holds with other demographics.
/// - `nhs-number-demographics-disagree`: the same number, another person to all appearance.
/// - `nhs-number-unchecked`: the same number, but too little known to check it.
/// - `nhs-numbers-differ`: all demographics agree, the numbers do not.
/// - `several-persons-agree`: two persons agree, and the record was not given to either on that account.
pub type Review = &'static str;

const AMBIGUOUS: Review = "nhs-number-ambiguous";
const DISAGREES: Review = "nhs-number-demographics-disagree";
const UNCHECKED: Review = "nhs-number-unchecked";
const NUMBERS_DIFFER: Review = "nhs-numbers-differ";
const SEVERAL: Review = "several-persons-agree";

impl Decision {
    /// The event to append for a decision with the outcome [`Outcome::Linked`].
    #[must_use]
    pub fn into_event(self, record: SourceRecordId) -> RecordLinked {
        let (runner_up, runner_up_score) = self.runner_up.map(|(p, score)| (p.to_vec(), score)).unwrap_or_default();
        RecordLinked {
            record: Some(record),
            person: self.person.to_vec(),
            method: self.method.into(),
            score: self.score,
            evidence: self.evidence,
            model: self.model.to_owned(),
            normaliser: NORMALISER.to_owned(),
            candidates: self.candidates,
            runner_up,
            runner_up_score,
            previous_person: self.previous.map(|p| p.to_vec()).unwrap_or_default(),
            review: self.review.into_iter().map(str::to_owned).collect(),
            ..RecordLinked::default()
        }
    }
}

/// The person that a record starts when nobody agrees with it.
#[must_use]
pub fn first_person(record: Pseudonym) -> PersonId {
    PersonId::started_by(record)
}

/// Decides which person a record belongs to.
///
/// `current` is the person it is linked to already. `candidates` are the records that [`crate::Index::candidates`] found,
/// in any order; the record itself and records that merely follow it by a merge are left out here.
#[must_use]
pub fn decide(
    record: Pseudonym,
    features: &Features,
    current: Option<PersonId>,
    candidates: &[Candidate<'_>],
    model: &Model,
) -> Decision {
    let others: Vec<&Candidate<'_>> =
        candidates.iter().filter(|c| c.record != record && c.follows != Some(record)).collect();
    let persons = rank(features, &others, model);
    let mut review = reviews(&persons);
    let chosen = match current {
        None => best_alone(&persons, model),
        Some(person) => better_number(person, &persons, model),
    };
    if persons.iter().filter(|p| p.agrees(model)).count() > 1 && chosen.is_none() {
        review.push(SEVERAL);
    }
    if chosen.is_some_and(|p| p.number_is_ambiguous) {
        review.push(AMBIGUOUS);
    }
    review.sort_unstable();
    review.dedup();
    let compared = u32::try_from(others.len()).unwrap_or(u32::MAX);
    let person = chosen.map(|p| p.id).or(current).unwrap_or_else(|| first_person(record));
    let told = match (chosen, current) {
        (None, None) => persons.first(),
        _ => persons.iter().find(|p| p.id == person),
    };
    let mut rows: Vec<Row> = told.map(|p| p.best.rows.clone()).unwrap_or_default();
    if chosen.is_none() && current.is_none() && told.is_some_and(|p| p.agrees(model)) {
        rows.push(Row { field: "other-person", level: "agrees-as-well", weight: model.veto });
    }
    Decision {
        outcome: if current == Some(person) { Outcome::Unchanged } else { Outcome::Linked },
        person,
        previous: current,
        method: told.filter(|p| p.id == person && p.agrees(model)).map_or(LinkMethod::NewPerson, |p| p.best.method),
        score: rows.iter().map(|row| i64::from(row.weight)).sum(),
        evidence: rows.into_iter().map(Evidence::from).collect(),
        candidates: compared,
        runner_up: persons.iter().find(|p| p.id != person).map(|p| (p.id, p.score())),
        review,
        model: model.name,
    }
}

/// How one candidate person stands.
struct Standing {
    id: PersonId,
    /// Comparison with its record that agrees best.
    best: Comparison,
    numbers_disagree: bool,
    numbers_unchecked: bool,
    number_is_ambiguous: bool,
    /// All demographics agree with one of its records, but its NHS number is another.
    is_number_veto: bool,
}

impl Standing {
    fn score(&self) -> i64 {
        self.best.score()
    }

    fn agrees(&self, model: &Model) -> bool {
        self.score() >= model.threshold
    }
}

/// Every candidate person with its best comparison, best first; equals by identifier.
fn rank(features: &Features, others: &[&Candidate<'_>], model: &Model) -> Vec<Standing> {
    let mut by_person: BTreeMap<PersonId, Vec<(Comparison, Pseudonym)>> = BTreeMap::new();
    for candidate in others {
        let comparison = compare(features, candidate.features, model);
        by_person.entry(candidate.person).or_default().push((comparison, candidate.record));
    }
    let is_ambiguous =
        by_person.values().flatten().any(|(c, _)| c.number == Number::Agrees && c.check == Check::Disagrees);
    let mut persons: Vec<Standing> =
        by_person.into_iter().filter_map(|(id, all)| standing(id, all, is_ambiguous, model)).collect();
    persons.sort_by_key(|p| (std::cmp::Reverse(p.score()), p.id));
    persons
}

fn standing(id: PersonId, all: Vec<(Comparison, Pseudonym)>, is_ambiguous: bool, model: &Model) -> Option<Standing> {
    let any = |wanted: fn(&Comparison) -> bool| all.iter().any(|(comparison, _)| wanted(comparison));
    let numbers_disagree = any(|c| c.number == Number::Agrees && c.check == Check::Disagrees);
    let numbers_unchecked = any(|c| c.number == Number::Agrees && c.check == Check::Unchecked);
    let another_number = any(|c| c.number == Number::Differs);
    let (mut best, _) = all.into_iter().max_by_key(|(c, record)| (c.score(), std::cmp::Reverse(*record)))?;
    let by_number = best.method == LinkMethod::NhsNumberCrossCheck;
    if by_number && best.check == Check::Passed && is_ambiguous {
        // Another holder of the number is somebody else: only full agreement tells which of them this is.
        let weight = if best.is_same_in_full { model.number_ambiguous } else { model.veto };
        best.add("nhs-number-holders", "disagree", weight);
    }
    let is_number_veto = another_number && is_refused_only_for_number(&best, model);
    if !by_number && another_number && best.number != Number::Differs {
        best.add("nhs-number-of-person", "differs", model.veto);
    }
    let number_is_ambiguous = by_number && is_ambiguous;
    Some(Standing { id, best, numbers_disagree, numbers_unchecked, number_is_ambiguous, is_number_veto })
}

fn is_refused_only_for_number(best: &Comparison, model: &Model) -> bool {
    let but_number = best.rows.iter().filter(|row| row.field != "nhs-number").map(|row| i64::from(row.weight));
    best.method == LinkMethod::ExactDemographics && but_number.sum::<i64>() >= model.threshold
}

fn reviews(persons: &[Standing]) -> Vec<Review> {
    let any = |wanted: fn(&Standing) -> bool, code: Review| persons.iter().any(wanted).then_some(code);
    [
        any(|p| p.numbers_disagree, DISAGREES),
        any(|p| p.numbers_unchecked, UNCHECKED),
        any(|p| p.is_number_veto, NUMBERS_DIFFER),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The one person that agrees, and leads the next by the margin.
fn best_alone<'a>(persons: &'a [Standing], model: &Model) -> Option<&'a Standing> {
    let mut agreeing = persons.iter().filter(|p| p.agrees(model));
    let best = agreeing.next()?;
    let leads = agreeing.next().is_none_or(|second| best.score() - second.score() >= model.margin);
    leads.then_some(best)
}

/// Another person that the NHS number speaks for, where it does not speak for the current one.
fn better_number<'a>(current: PersonId, persons: &'a [Standing], model: &Model) -> Option<&'a Standing> {
    let by_number = |p: &Standing| p.agrees(model) && p.best.method == LinkMethod::NhsNumberCrossCheck;
    if persons.iter().any(|p| p.id == current && by_number(p)) {
        return None;
    }
    best_alone(persons, model).filter(|p| p.id != current && by_number(p))
}
