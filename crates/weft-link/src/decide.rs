//! From comparisons to one decision that explains itself.

use weft_model::{
    PersonId, Pseudonym, SourceRecordId,
    proto::event::{CandidatePerson, LinkMethod, RecordLinked},
};

use crate::{
    Candidate, FREQUENCIES, Features, LookedAt, Model, NORMALISER, Setting,
    compare::{Check, Comparison, Row, compare},
    features::Said,
    field::{Field, Level},
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
    pub evidence: Vec<Row>,
    /// Records that were compared.
    pub candidates: u32,
    /// Person that came second, with its score.
    pub runner_up: Option<(PersonId, i64)>,
    /// Why somebody should look, in alphabetical order; empty where nobody need.
    pub review: Vec<Review>,
    /// Persons that this record joins to `person`: all their records are of `person` from now on.
    pub joins: Vec<Join>,
    /// The persons looked at, the nearest first, with their scores; at most [`OTHERS_MAX`].
    pub others: Vec<(PersonId, i64)>,
    /// [`Model::threshold`] of the model.
    pub threshold: i64,
    /// Name and version of the model.
    pub model: String,
}

/// Candidate persons that a decision tells of; more are counted only.
pub const OTHERS_MAX: usize = 8;

/// A person that turned out to be another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Join {
    /// The person that ends.
    pub person: PersonId,
    /// Mean score between its records and those of the person that stays: at least [`Model::merge_mean`].
    pub mean: i64,
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
/// - `near-threshold`: somebody resembles the record, but not enough.
/// - `nhs-number-ambiguous`: linked by a number that another record holds with other demographics.
/// - `nhs-number-demographics-disagree`: the same number, another person to all appearance.
/// - `nhs-number-unchecked`: the same number, but too little known to check it.
/// - `nhs-numbers-differ`: all demographics agree, the numbers do not.
/// - `person-inconsistent`: it agrees with one record of a person and contradicts the others.
/// - `person-no-longer-agrees`: what the record says now contradicts all other records of its person.
/// - `several-persons-agree`: two persons agree, and the record was not given to either on that account.
pub type Review = &'static str;

const AMBIGUOUS: Review = "nhs-number-ambiguous";
const DISAGREES: Review = "nhs-number-demographics-disagree";
const UNCHECKED: Review = "nhs-number-unchecked";
const NUMBERS_DIFFER: Review = "nhs-numbers-differ";
const NEAR: Review = "near-threshold";
const INCONSISTENT: Review = "person-inconsistent";
const NO_LONGER: Review = "person-no-longer-agrees";
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
            evidence: self.evidence.into_iter().map(Into::into).collect(),
            model: self.model,
            normaliser: NORMALISER.to_owned(),
            candidates: self.candidates,
            runner_up,
            runner_up_score,
            previous_person: self.previous.map(|p| p.to_vec()).unwrap_or_default(),
            review: self.review.into_iter().map(str::to_owned).collect(),
            threshold: self.threshold,
            frequencies: FREQUENCIES.to_owned(),
            others: self.others.into_iter().map(|(p, score)| CandidatePerson { person: p.to_vec(), score }).collect(),
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
/// in any order; the record itself and records that merely follow it by a merge are left out here. `setting` tells among whom:
/// [`crate::Index::setting`].
///
/// A record that has its person to itself is decided on as if it were new. One that shares its person stays with it, unless
/// its NHS number speaks for another; what it agrees with besides is joined to its person.
#[must_use]
pub fn decide(
    record: Pseudonym,
    features: &Features,
    current: Option<PersonId>,
    candidates: &[Candidate<'_>],
    setting: Setting,
    model: &Model,
) -> Decision {
    let others: Vec<&Candidate<'_>> =
        candidates.iter().filter(|c| c.record != record && c.follows != Some(record)).collect();
    let pair = Pair { model, setting };
    let persons = rank(features, &others, &pair);
    let mut review = reviews(&persons);
    let shared = current.filter(|current| persons.iter().any(|p| p.id == *current));
    let choice = match shared {
        None => choose(&persons, &others, &pair),
        Some(person) => stay_or_move(person, features, &persons, &others, &pair),
    };
    review.extend(choice.review);
    if choice.person.is_some_and(|p| p.number_is_ambiguous) {
        review.push(AMBIGUOUS);
    }
    let stays = choice.person.is_none();
    if stays && shared.is_some_and(|id| persons.iter().any(|p| p.id == id && p.score() < 0)) {
        review.push(NO_LONGER);
    }
    review.sort_unstable();
    review.dedup();
    let nearest = choice.person.map(|p| p.id).or(current).unwrap_or_else(|| first_person(record));
    let told = match (choice.person, shared) {
        (None, None) => persons.first(),
        _ => persons.iter().find(|p| p.id == nearest),
    };
    let mut best = told.map(|p| p.best);
    if let Some(best) = best.as_mut().filter(|best| shared.is_none() && choice.person.is_none() && agrees(best, model))
    {
        best.add("other-person", choice.refusal, model.veto);
    }
    let (person, joins) = survivor(nearest, choice.joins, &others);
    let linked =
        told.filter(|p| p.id == nearest && agrees(&p.best, model) && (choice.person.is_some() || shared.is_some()));
    Decision {
        outcome: if current == Some(person) { Outcome::Unchanged } else { Outcome::Linked },
        person,
        previous: current,
        method: linked.map_or(LinkMethod::NewPerson, |p| method(&p.best)),
        score: best.as_ref().map(Comparison::score).unwrap_or_default(),
        evidence: best.as_ref().map(Comparison::evidence).unwrap_or_default(),
        candidates: u32::try_from(others.len()).unwrap_or(u32::MAX),
        runner_up: persons.iter().find(|p| p.id != nearest).map(|p| (p.id, p.score())),
        review,
        joins,
        others: persons.iter().take(OTHERS_MAX).map(|p| (p.id, p.score())).collect(),
        threshold: model.threshold,
        model: model.name.clone(),
    }
}

/// How one candidate person stands.
struct Standing {
    id: PersonId,
    /// Comparison with its record that agrees best.
    best: Comparison,
    /// Mean score of the comparisons with all its records.
    mean: i64,
    numbers_disagree: bool,
    numbers_unchecked: bool,
    number_is_ambiguous: bool,
    /// It agrees with one of its records or nearly so, but its NHS number is another.
    is_number_veto: bool,
}

impl Standing {
    fn score(&self) -> i64 {
        self.best.score()
    }
}

fn agrees(best: &Comparison, model: &Model) -> bool {
    best.score() >= model.threshold
}

/// What is done with a record, before anybody asks which person's identifier stays.
#[derive(Default)]
struct Choice<'a> {
    person: Option<&'a Standing>,
    joins: Vec<Join>,
    review: Option<Review>,
    /// Why the best person was not chosen although it agrees.
    refusal: &'static str,
}

/// How pairs of records are compared in one decision.
struct Pair<'a> {
    model: &'a Model,
    setting: Setting,
}

impl Pair<'_> {
    fn compare(&self, one: &Said<'_>, other: &Said<'_>) -> Comparison {
        compare(one, other, self.setting, self.model)
    }
}

/// Every candidate person with its best comparison, best first; equals by identifier.
fn rank(features: &Features, others: &[&Candidate<'_>], pair: &Pair<'_>) -> Vec<Standing> {
    let (model, said) = (pair.model, features.into());
    let mut compared: Vec<Comparison> = others
        .iter()
        .map(|candidate| {
            let mut comparison = pair.compare(&said, &candidate.features.into());
            if candidate.barred {
                comparison.add("steward", "cannot-link", model.veto);
            }
            comparison
        })
        .collect();
    settle(others, &mut compared);
    let is_ambiguous = compared.iter().any(|c| c.number_agrees() && c.check == Check::Disagrees);
    let mut all: Vec<(&Candidate<'_>, &Comparison)> = others.iter().copied().zip(&compared).collect();
    all.sort_unstable_by_key(|(candidate, _)| (candidate.person, candidate.record));
    let by_person = all.chunk_by(|(one, _), (other, _)| one.person == other.person);
    let mut persons: Vec<Standing> = by_person.filter_map(|all| standing(all, is_ambiguous, model)).collect();
    persons.sort_by_key(|p| (std::cmp::Reverse(p.score()), p.id));
    persons
}

/// Holders of one NHS number who look like two people, and whom a steward has looked at, are no news: nothing more is asked,
/// and the number proves again whose record agrees with it.
fn settle(others: &[&Candidate<'_>], compared: &mut [Comparison]) {
    let is_known = others.iter().zip(&*compared).any(|(candidate, comparison)| {
        candidate.looked_at != LookedAt::No && comparison.number_agrees() && comparison.check == Check::Passed
    });
    for (candidate, comparison) in others.iter().zip(compared) {
        let is_settled = match candidate.looked_at {
            LookedAt::No => false,
            LookedAt::Other => is_known,
            LookedAt::Both => true,
        };
        if is_settled && comparison.number_agrees() && comparison.check == Check::Disagrees {
            comparison.check = Check::LookedAt;
        }
    }
}

fn standing(all: &[(&Candidate<'_>, &Comparison)], is_ambiguous: bool, model: &Model) -> Option<Standing> {
    let any = |wanted: fn(&Comparison) -> bool| all.iter().any(|(_, comparison)| wanted(comparison));
    let numbers_disagree = any(|c| c.number_agrees() && c.check == Check::Disagrees);
    let numbers_unchecked = any(|c| c.number_agrees() && c.check == Check::Unchecked);
    let another_number = any(|c| c.level(Field::Number) == Level::Differs);
    let (candidate, best) = all.iter().max_by_key(|(candidate, c)| (c.score(), std::cmp::Reverse(candidate.record)))?;
    let mut best = **best;
    let mean = mean(all.iter().map(|(_, comparison)| comparison.score()));
    let number_is_ambiguous = best.number_agrees() && is_ambiguous;
    if number_is_ambiguous {
        // Another holder of the number is somebody else to all appearance: the number is frozen, and proves nothing until
        // somebody has looked.
        best.add("nhs-number-holders", "disagree", -model.weight(Field::Number, Level::Exact));
    }
    let is_number_veto =
        another_number && !best.number_agrees() && best.looks_like_two_numbers_of_one(model) && !candidate.barred;
    if another_number && !best.number_agrees() && best.level(Field::Number) != Level::Differs {
        best.add("nhs-number-of-person", "differs", model.veto);
    }
    let id = candidate.person;
    Some(Standing { id, best, mean, numbers_disagree, numbers_unchecked, number_is_ambiguous, is_number_veto })
}

/// The mean, rounded down; 0 of nothing.
fn mean(scores: impl Iterator<Item = i64>) -> i64 {
    let (sum, count) = scores.fold((0, 0), |(sum, count), score| (sum + score, count + 1));
    if count == 0 { 0 } else { i64::div_euclid(sum, count) }
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

/// The person of a record that shares its person with nobody.
fn choose<'a>(persons: &'a [Standing], others: &[&Candidate<'_>], pair: &Pair<'_>) -> Choice<'a> {
    let model = pair.model;
    let Some(best) = persons.first() else { return Choice::default() };
    if best.score() < model.threshold {
        let review = (best.score() >= model.review).then_some(NEAR);
        return Choice { review, ..Choice::default() };
    }
    // A number that agrees speaks for itself: a person may have had two.
    if best.mean < model.merge_mean && !best.best.number_agrees() {
        return Choice { review: Some(INCONSISTENT), refusal: "contradicts", ..Choice::default() };
    }
    let mut joins = Vec::new();
    for other in persons.iter().skip(1) {
        let agrees = other.score() >= model.threshold;
        let is_close = best.score() - other.score() < model.margin;
        if !agrees && !is_close {
            break;
        }
        let between = mean_between(best.id, other.id, None, others, pair);
        if agrees && between >= model.merge_mean && other.mean >= model.merge_mean {
            joins.push(Join { person: other.id, mean: between });
        } else if is_close && between < model.review {
            return Choice { review: Some(SEVERAL), refusal: "agrees-as-well", ..Choice::default() };
        }
    }
    Choice { person: Some(best), joins, ..Choice::default() }
}

/// A record that shares its person stays with it, unless its NHS number speaks for another person and not for this one.
fn stay_or_move<'a>(
    current: PersonId,
    features: &Features,
    persons: &'a [Standing],
    others: &[&Candidate<'_>],
    pair: &Pair<'_>,
) -> Choice<'a> {
    let model = pair.model;
    let by_number = |p: &&Standing| agrees(&p.best, model) && p.best.number_agrees() && !p.number_is_ambiguous;
    if !persons.iter().any(|p| p.id == current && by_number(&p)) {
        let mut speaking = persons.iter().filter(by_number);
        if let (Some(only), None) = (speaking.next(), speaking.next()) {
            return Choice { person: Some(only), ..Choice::default() };
        }
    }
    let agreeing = persons.iter().filter(|p| p.id != current && agrees(&p.best, model));
    let mut joins = Vec::new();
    let mut review = None;
    for other in agreeing {
        let between = mean_between(current, other.id, Some(features), others, pair);
        if between >= model.merge_mean && other.mean >= model.merge_mean {
            joins.push(Join { person: other.id, mean: between });
        } else {
            review = Some(SEVERAL);
        }
    }
    Choice { joins, review, ..Choice::default() }
}

/// Records of each person that the mean between two looks at.
const MEAN_RECORDS_MAX: usize = 8;

/// Mean score between the records of two persons; `own` is one more record of the first.
fn mean_between(
    one: PersonId,
    other: PersonId,
    own: Option<&Features>,
    all: &[&Candidate<'_>],
    pair: &Pair<'_>,
) -> i64 {
    let of = |person: PersonId| {
        let mut records: Vec<&Candidate<'_>> = all.iter().copied().filter(|c| c.person == person).collect();
        records.sort_unstable_by_key(|c| c.record);
        records.truncate(MEAN_RECORDS_MAX);
        records
    };
    let (ones, others) = (of(one), of(other));
    let ones: Vec<Said<'_>> = ones.iter().map(|c| c.features).chain(own).map(Said::from).collect();
    let others: Vec<Said<'_>> = others.iter().map(|c| c.features.into()).collect();
    mean(ones.iter().flat_map(|one| others.iter().map(move |other| pair.compare(one, other).score())))
}

/// Of persons that become one the one with most records stays, of equals the one with the least identifier.
fn survivor(chosen: PersonId, joins: Vec<Join>, all: &[&Candidate<'_>]) -> (PersonId, Vec<Join>) {
    if joins.is_empty() {
        return (chosen, joins);
    }
    let records = |person: PersonId| all.iter().filter(|c| c.person == person).count();
    let persons = joins.iter().map(|join| join.person).chain([chosen]);
    let stays = persons.max_by_key(|p| (records(*p), std::cmp::Reverse(*p))).unwrap_or(chosen);
    let mean = joins.iter().map(|join| join.mean).min().unwrap_or_default();
    let ending = joins.into_iter().filter(|join| join.person != stays);
    let chosen_ends = (chosen != stays).then_some(Join { person: chosen, mean });
    (stays, ending.chain(chosen_ends).collect())
}

fn method(best: &Comparison) -> LinkMethod {
    let is_exact = |field: &Field| best.level(*field) == Level::Exact;
    let all = [Field::Birth, Field::Family, Field::Given, Field::Sex, Field::Postcode];
    if is_exact(&Field::Number) {
        LinkMethod::NhsNumberCrossCheck
    } else if all.iter().all(is_exact) {
        LinkMethod::ExactDemographics
    } else {
        LinkMethod::Similarity
    }
}
