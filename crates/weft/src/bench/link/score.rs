//! How well generated records were linked: the truth is known.

use std::collections::{HashMap, HashSet};

use anyhow::Context;
use weft_link::{Decision, Index};
use weft_model::{NhsNumber, PersonId};
use weft_synth::{Linkage, LinkageRecord};

use super::{Figures, of};

/// Whom each record is really about, and what was told of numbers that two people have.
pub(super) struct Truth {
    /// Person and turn, in the order of arrival.
    records: Vec<(u32, u8)>,
    /// By number that is somebody's and was given for somebody else: who states it, and whether any decision told of it.
    overlays: HashMap<NhsNumber, (HashSet<u32>, bool)>,
    reviews: u64,
}

impl Truth {
    /// What is to be known before the first record: which numbers are overlays.
    pub(super) fn new(population: &Linkage) -> Self {
        let overlays = population.records().filter(|record| record.is_overlay).filter_map(|record| number(&record));
        Self { records: Vec::new(), overlays: overlays.map(|n| (n, Default::default())).collect(), reviews: 0 }
    }

    pub(super) fn hear(&mut self, records: &[LinkageRecord], decisions: &[Decision]) {
        records.iter().zip(decisions).for_each(|(record, decision)| self.hear_one(record, decision));
    }

    fn hear_one(&mut self, record: &LinkageRecord, decision: &Decision) {
        self.records.push((record.person, record.turn));
        self.reviews += u64::from(!decision.review.is_empty());
        if let Some((people, is_told)) = number(record).and_then(|number| self.overlays.get_mut(&number)) {
            people.insert(record.person);
            *is_told |= decision.review.iter().any(|code| code.starts_with("nhs-number"));
        }
    }

    /// Memory that only scoring needs.
    pub(super) fn bytes(&self) -> u64 {
        (self.records.capacity() * size_of::<(u32, u8)>()) as u64
    }

    /// Tells precision and recall over pairs of records, persons of 100,000 that hold records of several people, twins that
    /// became one person, and overlays of which some decision was told.
    pub(super) fn tell(&self, index: &Index, population: &Linkage, figures: &mut Figures) -> anyhow::Result<()> {
        let mut both: HashMap<(PersonId, u32), u64> = HashMap::new();
        let (mut persons, mut people) = (HashMap::<PersonId, (u64, u32, bool)>::new(), HashMap::<u32, u64>::new());
        let mut found_of: HashMap<u32, HashSet<PersonId>> = HashMap::new();
        for (person, turn) in &self.records {
            let found = index.person_of(of(*person, *turn)).context("a record was lost")?;
            *both.entry((found, *person)).or_default() += 1;
            *people.entry(*person).or_default() += 1;
            if population.twin(*person).is_some() {
                found_of.entry(*person).or_default().insert(found);
            }
            let (count, first, is_mixed) = persons.entry(found).or_insert((0, *person, false));
            *count += 1;
            *is_mixed |= first != person;
        }
        let pairs = |n: &u64| n * n.saturating_sub(1) / 2;
        let right: u64 = both.values().map(pairs).sum();
        let linked: u64 = persons.values().map(|(count, ..)| pairs(count)).sum();
        let true_pairs: u64 = people.values().map(pairs).sum();
        let mixed = persons.values().filter(|(.., is_mixed)| *is_mixed).count();
        let percent = |of: u64| right as f64 * 100.0 / of.max(1) as f64;
        let is_merged = |(person, found): &(&u32, &HashSet<PersonId>)| {
            let twin = population.twin(**person).filter(|twin| twin > *person);
            twin.and_then(|twin| found_of.get(&twin)).is_some_and(|twin| !found.is_disjoint(twin))
        };
        let overlays: Vec<bool> =
            self.overlays.values().filter(|(people, _)| people.len() > 1).map(|(_, is_told)| *is_told).collect();
        let told = overlays.iter().filter(|is_told| **is_told).count();
        figures.add("persons", persons.len() as f64, "");
        figures.add("precision_percent", percent(linked), "%");
        figures.add("recall_percent", percent(true_pairs), "%");
        figures.add("mixed_persons", mixed as f64, "");
        figures.add("mixed_persons_per_100000", mixed as f64 * 100_000.0 / persons.len().max(1) as f64, "");
        figures.add("review_percent", self.reviews as f64 * 100.0 / self.records.len().max(1) as f64, "%");
        figures.add("overlays", overlays.len() as f64, "");
        figures.add("overlays_flagged_percent", told as f64 * 100.0 / overlays.len().max(1) as f64, "%");
        figures.add("twins", found_of.len() as f64, "");
        figures.add("twin_pairs_merged", found_of.iter().filter(is_merged).count() as f64, "");
        Ok(())
    }
}

/// The NHS number that a record states, where its digits are right.
fn number(record: &LinkageRecord) -> Option<NhsNumber> {
    NhsNumber::parse(&record.demographics.nhs_number()?.value).ok()
}
