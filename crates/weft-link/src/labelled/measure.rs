//! Hearing a set as a node would, and counting what came of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use weft_model::{NhsNumber, PersonId, Pseudonym};

use super::{Record, Truth};
use crate::{Decision, Features, Index, Model, Options, Waiting, compare};

/// What came of hearing a set.
pub struct Run {
    /// The index after the last record.
    pub index: Index,
    /// The person of each record in the end, by place.
    pub persons: Vec<PersonId>,
    /// One decision a record, by place.
    pub decisions: Vec<Decision>,
    pseudonyms: Vec<Pseudonym>,
}

/// Figures of a run against the truth. Pairs are pairs of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Figures {
    /// Records heard.
    pub records: u64,
    /// Pairs of one person, in truth.
    pub true_pairs: u64,
    /// True pairs that share a key: they were compared, if only through others.
    pub pairs_in_blocks: u64,
    /// Pairs that were given one person by automatic links.
    pub linked_pairs: u64,
    /// Linked pairs that are true.
    pub right_pairs: u64,
    /// Persons found.
    pub persons: u64,
    /// Persons found that hold records of several people.
    pub mixed_persons: u64,
    /// Records whose decision asks for somebody to look.
    pub reviews: u64,
    /// True pairs that were not linked and of which one record asks for somebody to look.
    pub missed_pairs_in_review: u64,
    /// NHS numbers that records of several people state.
    pub overlays: u64,
    /// Of these, numbers whose conflict was told.
    pub overlays_flagged: u64,
    /// Comparisons made.
    pub comparisons: u64,
}

impl Figures {
    /// Linked pairs that are true; 1 where none was linked.
    #[must_use]
    pub fn precision(&self) -> f64 {
        ratio(self.right_pairs, self.linked_pairs)
    }

    /// True pairs that were linked; 1 where there are none.
    #[must_use]
    pub fn recall(&self) -> f64 {
        ratio(self.right_pairs, self.true_pairs)
    }

    /// Harmonic mean of precision and recall.
    #[must_use]
    pub fn f1(&self) -> f64 {
        ratio(2 * self.right_pairs, self.linked_pairs + self.true_pairs)
    }

    /// Persons with records of several people, of 100,000 persons found.
    #[must_use]
    pub fn mixed_per_100_000(&self) -> f64 {
        if self.persons == 0 { 0.0 } else { self.mixed_persons as f64 * 100_000.0 / self.persons as f64 }
    }

    /// Records that ask for somebody to look, of all records.
    #[must_use]
    pub fn review_rate(&self) -> f64 {
        if self.records == 0 { 0.0 } else { self.reviews as f64 / self.records as f64 }
    }
}

fn ratio(part: u64, of: u64) -> f64 {
    if of == 0 { 1.0 } else { part as f64 / of as f64 }
}

/// Hears records in their order, each decided on once against those before it.
#[must_use]
pub fn run(records: &[Record], options: &Options, model: &Model) -> Run {
    let mut index = Index::new();
    let mut decisions = Vec::with_capacity(records.len());
    let pseudonyms: Vec<Pseudonym> = records.iter().map(Record::pseudonym).collect();
    for (record, pseudonym) in records.iter().zip(&pseudonyms) {
        let features = Features::from_demographics(&record.demographics, options);
        let decision = index.hear(Waiting::new(*pseudonym, features), model);
        index.apply(*pseudonym, &decision);
        decisions.push(decision);
    }
    let person = |pseudonym: &Pseudonym| index.person_of(*pseudonym).unwrap_or_else(|| crate::first_person(*pseudonym));
    let persons = pseudonyms.iter().map(person).collect();
    Run { index, persons, decisions, pseudonyms }
}

impl Run {
    /// Counts the run against the truth.
    #[must_use]
    pub fn figures(&self, truth: &Truth) -> Figures {
        let pairs = |n: u64| n * n.saturating_sub(1) / 2;
        let mut both: BTreeMap<(PersonId, u32), u64> = BTreeMap::new();
        let (mut persons, mut clusters) = (BTreeMap::<PersonId, u64>::new(), BTreeMap::<u32, Vec<usize>>::new());
        for (n, (person, cluster)) in self.persons.iter().zip(&truth.clusters).enumerate() {
            *both.entry((*person, *cluster)).or_default() += 1;
            *persons.entry(*person).or_default() += 1;
            clusters.entry(*cluster).or_default().push(n);
        }
        let people_in = both.keys().fold(BTreeMap::<PersonId, u64>::new(), |mut count, (person, _)| {
            *count.entry(*person).or_default() += 1;
            count
        });
        let (overlays, overlays_flagged) = self.overlays(truth);
        let mut figures = Figures {
            records: self.persons.len() as u64,
            true_pairs: clusters.values().map(|members| pairs(members.len() as u64)).sum(),
            linked_pairs: persons.values().copied().map(pairs).sum(),
            right_pairs: both.values().copied().map(pairs).sum(),
            persons: persons.len() as u64,
            mixed_persons: people_in.values().filter(|count| **count > 1).count() as u64,
            reviews: self.decisions.iter().filter(|decision| !decision.review.is_empty()).count() as u64,
            comparisons: self.decisions.iter().map(|decision| u64::from(decision.candidates)).sum(),
            overlays,
            overlays_flagged,
            ..Figures::default()
        };
        for members in clusters.values() {
            self.count_pairs(members, &mut figures);
        }
        figures
    }

    /// What became of the pairs of one person's records.
    fn count_pairs(&self, members: &[usize], figures: &mut Figures) {
        let asks = |n: usize| self.decisions.get(n).is_some_and(|decision| !decision.review.is_empty());
        for (at, one) in members.iter().enumerate() {
            for other in members.iter().skip(at + 1) {
                let (Some(x), Some(y)) = (self.pseudonyms.get(*one), self.pseudonyms.get(*other)) else { continue };
                figures.pairs_in_blocks += u64::from(self.index.meet(*x, *y));
                let is_missed = self.persons.get(*one) != self.persons.get(*other);
                figures.missed_pairs_in_review += u64::from(is_missed && (asks(*one) || asks(*other)));
            }
        }
    }

    /// NHS numbers that several people's records state, and how many of them some decision was told of.
    fn overlays(&self, truth: &Truth) -> (u64, u64) {
        let mut holders: HashMap<NhsNumber, (BTreeSet<u32>, bool)> = HashMap::new();
        for ((pseudonym, cluster), decision) in self.pseudonyms.iter().zip(&truth.clusters).zip(&self.decisions) {
            let Some(number) = self.index.features(*pseudonym).and_then(Features::nhs_number) else { continue };
            let (clusters, flagged) = holders.entry(number).or_default();
            clusters.insert(*cluster);
            *flagged |= decision.review.iter().any(|code| code.starts_with("nhs-number"));
        }
        let overlays = holders.values().filter(|(clusters, _)| clusters.len() > 1);
        overlays.fold((0, 0), |(all, told), (_, flagged)| (all + 1, told + u64::from(*flagged)))
    }
}

/// A pair of records that share a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PairScore {
    /// By place.
    pub records: [usize; 2],
    /// Score of the one against the other.
    pub score: i64,
    /// Whether they are of one person.
    pub is_true: bool,
}

/// The scores of all pairs that share a key, in no order that depends on the run; what a threshold would make of them.
#[must_use]
pub fn pair_scores(run: &Run, truth: &Truth, model: &Model) -> Vec<PairScore> {
    let places: HashMap<Pseudonym, usize> = run.pseudonyms.iter().enumerate().map(|(n, p)| (*p, n)).collect();
    let setting = run.index.setting();
    let mut scores = Vec::new();
    for (n, pseudonym) in run.pseudonyms.iter().enumerate() {
        let Some(features) = run.index.features(*pseudonym) else { continue };
        let said = features.into();
        for candidate in run.index.candidates(features) {
            let Some(other) = places.get(&candidate.record).copied().filter(|other| *other < n) else { continue };
            let score = compare::compare(&said, &candidate.features.into(), setting, model).score();
            let is_true = truth.clusters.get(n) == truth.clusters.get(other);
            scores.push(PairScore { records: [other, n], score, is_true });
        }
    }
    scores
}
