//! People for a linker: households with all that makes linking hard, told as bare records, as many as a benchmark wants.
//!
//! Beside [`Population`](crate::Population), which tells lives message by message, this tells only what registers say of
//! people, 50 bytes a person, so that millions fit. In it are twins (one birth in sixty), sons with their father's name, care
//! homes of fifty, movers, marriages, newborns called `Baby`, numbers missing, mistyped or somebody else's (overlays),
//! names misspelt, shortened or exchanged, dates mistyped, former names and addresses told or not.
//!
//! ```text
//! seed ─► households ─► people (the truth) ─► records (person, turn) in an arrival order of their own
//! ```

mod household;
mod names;
mod record;

use weft_model::proto::event::Demographics;

use crate::{numbers::Numbers, rng::Rng};
use household::Human;
use names::Names;

/// Records that one person has at most.
const RECORDS_MAX: u64 = 5;

/// A seeded population of registers' records with the truth beside it.
#[derive(Debug)]
pub struct Linkage {
    seed: u64,
    people: Vec<Human>,
    names: Names,
}

/// What one register says of one person.
#[derive(Debug, Clone)]
pub struct LinkageRecord {
    /// Index of the person that it is really about.
    pub person: u32,
    /// Which of the person's records; with `person` the record's own name.
    pub turn: u8,
    /// What it says.
    pub demographics: Demographics,
    /// It has the NHS number of somebody else.
    pub is_overlay: bool,
}

impl Linkage {
    /// Draws at least `count` people, household by household, and no more than one household over it.
    #[must_use]
    pub fn generate(seed: u64, count: usize) -> Self {
        let names = Names::new(seed);
        let mut people = Vec::with_capacity(count + 64);
        let mut numbers = Numbers::default();
        let mut dwelling = 1;
        for household in 0.. {
            if people.len() >= count {
                break;
            }
            household::draw(&mut Rng::of(seed, &[30, household]), &names, &mut numbers, &mut dwelling, &mut people);
        }
        Self { seed, people, names }
    }

    /// Number of people.
    #[must_use]
    pub fn len(&self) -> usize {
        self.people.len()
    }

    /// True where nobody was asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.people.is_empty()
    }

    /// The twin of a person, where there is one.
    #[must_use]
    pub fn twin(&self, person: u32) -> Option<u32> {
        self.human(person)?.twin
    }

    /// Every record, in an order that has nothing to do with people or households; the same for the same seed.
    pub fn records(&self) -> impl Iterator<Item = LinkageRecord> {
        let places = self.people.len() as u64 * RECORDS_MAX;
        let stride = stride(places);
        (0..places).filter_map(move |n| {
            let place = u64::try_from(u128::from(n) * u128::from(stride) % u128::from(places)).ok()?;
            let (person, turn) = (u32::try_from(place / RECORDS_MAX).ok()?, place % RECORDS_MAX);
            self.record(person, u8::try_from(turn).ok()?)
        })
    }

    /// The people with as many records as everybody has: 2.3 on the mean.
    fn turns(&self, person: u32) -> u8 {
        let mut rng = Rng::of(self.seed, &[31, person.into()]);
        u8::try_from(1 + rng.weighted([30, 32, 20, 12, 6].into_iter())).unwrap_or(1)
    }

    fn record(&self, person: u32, turn: u8) -> Option<LinkageRecord> {
        let human = self.human(person)?;
        if turn >= self.turns(person) {
            return None;
        }
        let mut rng = Rng::of(self.seed, &[32, person.into(), turn.into()]);
        // Somebody else whose number a clerk may have taken: of the household, else anybody.
        let near = person.saturating_sub(1);
        let anybody = u32::try_from(rng.below(self.people.len() as u64)).unwrap_or_default();
        let other = self.human(if rng.permille(500) { near } else { anybody })?;
        let (demographics, is_overlay) = record::draw(&mut rng, human, other, turn, &self.names);
        Some(LinkageRecord { person, turn, demographics, is_overlay })
    }

    fn human(&self, person: u32) -> Option<&Human> {
        self.people.get(usize::try_from(person).ok()?)
    }
}

/// A step that visits each of so many places once, far from the one before.
fn stride(places: u64) -> u64 {
    let shares_factor = |a: u64, b: u64| {
        let (mut a, mut b) = (a, b);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a > 1
    };
    let near_golden = places / 1000 * 618 + 1;
    (near_golden..).find(|stride| !shares_factor(*stride, places)).unwrap_or(1)
}
