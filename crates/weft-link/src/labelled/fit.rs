//! Learning weights from records of which nobody knows who is who.
//!
//! How often an outcome comes by coincidence (u) is counted over pairs drawn by chance, nearly all of which are of two people.
//! How often it comes for one person (m) is learned by expectation and maximisation over the pairs that share a key, with u
//! held fixed. The share of pairs that are of one person is taken over *all* pairs, those without a key counted as two people:
//! taken over the pairs with a key alone it runs away, and ends by calling every household one person.
//!
//! Not learned, for no single pair tells them: the thresholds, the rivals and the vetoes; the worth of a name that agrees
//! beyond its rarity in the table; and whatever fewer than [`PAIRS_MIN`] pairs speak of. These stay as the given model has them.

use super::{Draw, Record};
use crate::{
    Features, Field, Index, Level, Model, Options, Setting, compare::compare, field::FIELDS, field::LEVELS,
    first_person,
};

/// Pairs of one person, or by chance, that must speak of a field before it is learned.
pub const PAIRS_MIN: usize = 200;
/// Pairs that share a key; more add nothing.
const CANDIDATES_MAX: usize = 1_000_000;
/// Only the outcomes are looked at, which are the same wherever records are compared.
const ANYWHERE: Setting = Setting { records: 0, households: true, births: true };
/// A weight beyond these says more of the few pairs it rests on than of people.
const WEIGHT_MIN: f64 = -1000.0;
const WEIGHT_MAX: f64 = 2500.0;

/// How to learn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FitOptions {
    /// Name and version of the model that comes out.
    pub name: String,
    /// Which pairs are drawn by chance.
    pub seed: u64,
    /// How many of them.
    pub random_pairs: usize,
    /// Rounds of expectation and maximisation.
    pub rounds: usize,
}

impl Default for FitOptions {
    fn default() -> Self {
        Self { name: "weights/fitted".to_owned(), seed: 1, random_pairs: 500_000, rounds: 30 }
    }
}

/// What was learned, and from what.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    /// The model, with its provenance.
    pub model: Model,
    /// Records read.
    pub records: usize,
    /// Pairs drawn by chance.
    pub random_pairs: usize,
    /// Pairs that share a key.
    pub candidate_pairs: usize,
    /// Pairs of one person that are to be expected among all.
    pub expected_matches: f64,
    /// Weights that were learned.
    pub learned: usize,
}

type Pattern = [Level; FIELDS];
type Shares = [[f64; LEVELS]; FIELDS];

/// Learns weights from records, starting from `base`.
#[must_use]
pub fn fit(records: &[Record], options: &Options, base: &Model, how: &FitOptions) -> Fitted {
    let features: Vec<Features> =
        records.iter().map(|record| Features::from_demographics(&record.demographics, options)).collect();
    let (by_chance, chance_count) = by_chance(&features, base, how);
    let candidates = candidates(records, &features, base);
    let all_pairs = features.len() as f64 * (features.len().saturating_sub(1)) as f64 / 2.0;
    let mut shares = start(&by_chance, base);
    let mut expected = features.len() as f64 / 4.0;
    let mut spoken = [[0.0; LEVELS]; FIELDS];
    for _ in 0..how.rounds {
        let prior = (expected / all_pairs.max(1.0)).clamp(1e-12, 0.5);
        (expected, spoken) = expect(&candidates, &shares, &by_chance, prior);
        shares = normalised(&spoken);
    }
    let mut model = base.clone();
    let learned = set_weights(&mut model, &shares, &spoken, &by_chance, &chance_count);
    model.name.clone_from(&how.name);
    model.provenance = vec![
        format!("fitted from {} records without labels, starting from {}", records.len(), base.name),
        format!("u from {} pairs drawn with seed {}", how.random_pairs, how.seed),
        format!("m by {} rounds over {} pairs that share a key", how.rounds, candidates.len()),
        format!("{expected:.0} pairs of one person expected among {all_pairs:.0}"),
        format!("{learned} weights learned; all else as in {}", base.name),
    ];
    Fitted {
        model,
        records: records.len(),
        random_pairs: how.random_pairs,
        candidate_pairs: candidates.len(),
        expected_matches: expected,
        learned,
    }
}

/// Shares of outcomes among pairs drawn by chance, and how many pairs spoke of each field.
fn by_chance(features: &[Features], base: &Model, how: &FitOptions) -> (Shares, [f64; FIELDS]) {
    let mut draw = Draw::new(how.seed);
    let mut counts = [[0.0; LEVELS]; FIELDS];
    for _ in 0..how.random_pairs {
        let (one, other) = (draw.below(features.len()), draw.below(features.len()));
        if let (Some(one), Some(other), true) = (features.get(one), features.get(other), one != other) {
            add(&mut counts, &compare(&one.into(), &other.into(), ANYWHERE, base).levels, 1.0);
        }
    }
    (normalised(&counts), counts.map(|of| of.iter().sum()))
}

/// The outcomes of all pairs that share a key.
fn candidates(records: &[Record], features: &[Features], base: &Model) -> Vec<Pattern> {
    let mut index = Index::new();
    let mut patterns = Vec::new();
    for (record, features) in records.iter().zip(features) {
        let (pseudonym, said) = (record.pseudonym(), features.into());
        for candidate in index.candidates(features) {
            if patterns.len() < CANDIDATES_MAX {
                patterns.push(compare(&said, &candidate.features.into(), ANYWHERE, base).levels);
            }
        }
        index.put(pseudonym, features.clone());
        // A person each, so that nobody is found for being linked already.
        index.link(pseudonym, first_person(pseudonym));
    }
    patterns
}

/// What the given model says of the shares among pairs of one person.
fn start(by_chance: &Shares, base: &Model) -> Shares {
    let mut shares = [[0.0; LEVELS]; FIELDS];
    each(|field, level| {
        let weight = f64::from(base.weight(field, level).clamp(-1000, 2500));
        let share = if has_rarity(field, level) { 0.5 } else { at(by_chance, field, level) * (weight / 100.0).exp2() };
        put(&mut shares, field, level, share);
    });
    normalised(&shares)
}

/// Pairs of one person to be expected, and their outcomes.
fn expect(candidates: &[Pattern], one: &Shares, two: &Shares, prior: f64) -> (f64, Shares) {
    let (mut expected, mut spoken) = (0.0, [[0.0; LEVELS]; FIELDS]);
    let odds = (prior / (1.0 - prior)).log2();
    for pattern in candidates {
        let mut bits = odds;
        for (field, level) in Field::ALL.iter().zip(pattern) {
            if *level != Level::Absent {
                bits += (at(one, *field, *level) / at(two, *field, *level)).log2();
            }
        }
        let likely = 1.0 / (1.0 + (-bits).exp2());
        expected += likely;
        add(&mut spoken, pattern, likely);
    }
    (expected, spoken)
}

fn set_weights(model: &mut Model, one: &Shares, spoken: &Shares, two: &Shares, chance: &[f64; FIELDS]) -> usize {
    let mut learned = 0;
    let enough = PAIRS_MIN as f64;
    each(|field, level| {
        let of_one: f64 = spoken.get(field as usize).map_or(0.0, |of| of.iter().sum());
        let of_two = chance.get(field as usize).copied().unwrap_or_default();
        // A number that differs is a rule and no weight; rarity stands for u where names agree.
        let is_fixed = field == Field::Number || has_rarity(field, level) && level != Level::Exact;
        if of_one < enough || of_two < enough || is_fixed {
            return;
        }
        let coincidence = if has_rarity(field, level) { 1.0 } else { at(two, field, level) };
        let weight = (100.0 * (at(one, field, level) / coincidence).log2()).clamp(WEIGHT_MIN, WEIGHT_MAX);
        model.set_weight(field, level, weight.round() as i32);
        learned += 1;
    });
    learned
}

/// Outcomes to which the rarity of the name is added.
fn has_rarity(field: Field, level: Level) -> bool {
    matches!(field, Field::Family | Field::Given) && matches!(level, Level::Exact | Level::Nickname | Level::Swapped)
}

fn each(mut of: impl FnMut(Field, Level)) {
    for field in Field::ALL {
        for level in field.levels() {
            of(*field, *level);
        }
    }
}

fn add(counts: &mut Shares, pattern: &Pattern, by: f64) {
    for (field, level) in Field::ALL.iter().zip(pattern) {
        if *level != Level::Absent {
            let held = counts.get(*field as usize).and_then(|of| of.get(*level as usize)).copied().unwrap_or_default();
            put(counts, *field, *level, held + by);
        }
    }
}

/// Shares of the outcomes of each field, none of them nothing: what was not seen may still be.
fn normalised(counts: &Shares) -> Shares {
    let mut shares = *counts;
    each(|field, level| {
        let of: f64 = counts.get(field as usize).map_or(0.0, |of| of.iter().sum());
        let levels = field.levels().len() as f64;
        put(&mut shares, field, level, (at_or_nothing(counts, field, level) + 0.5) / (of + 0.5 * levels));
    });
    shares
}

fn at(shares: &Shares, field: Field, level: Level) -> f64 {
    at_or_nothing(shares, field, level).max(1e-9)
}

fn at_or_nothing(shares: &Shares, field: Field, level: Level) -> f64 {
    shares.get(field as usize).and_then(|of| of.get(level as usize)).copied().unwrap_or_default()
}

fn put(shares: &mut Shares, field: Field, level: Level, share: f64) {
    if let Some(held) = shares.get_mut(field as usize).and_then(|of| of.get_mut(level as usize)) {
        *held = share;
    }
}
