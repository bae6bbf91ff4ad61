//! Names as a country has them: a few that everybody has and thousands that hardly anybody has.

use crate::{names::ORIGINS, rng::Rng};

/// Names that nobody listed, made of syllables; common ones of their kind first.
const RARE_FAMILIES: usize = 12_000;
const RARE_GIVEN: usize = 900;

/// All names of a population.
#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) family: Vec<String>,
    pub(crate) given: Vec<String>,
    /// Where the given names of women begin.
    female: usize,
}

impl Names {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::of(seed, &[33]);
        let family = (0..RARE_FAMILIES).map(|_| rare(&mut rng, &FAMILY_ENDS)).collect();
        let male = (0..RARE_GIVEN).map(|_| rare(&mut rng, &MALE_ENDS));
        let mut given: Vec<String> = male.collect();
        given.extend((0..RARE_GIVEN).map(|_| rare(&mut rng, &FEMALE_ENDS)));
        let mut names = Self { family, given, female: RARE_GIVEN };
        // The listed names come after the rare ones: origin by origin.
        for origin in &ORIGINS {
            names.family.extend(origin.family.iter().map(|name| (*name).to_owned()));
            names.given.extend(origin.male.iter().chain(origin.female).map(|name| (*name).to_owned()));
        }
        names
    }

    /// A family name for somebody of a community.
    pub(crate) fn a_family(&self, rng: &mut Rng, community: usize) -> u16 {
        if rng.permille(450) {
            return skewed(rng, 0, RARE_FAMILIES);
        }
        let before = ORIGINS.iter().take(community).map(|origin| origin.family.len()).sum::<usize>();
        let count = ORIGINS.get(community).map_or(1, |origin| origin.family.len());
        skewed(rng, RARE_FAMILIES + before, count)
    }

    pub(crate) fn a_given(&self, rng: &mut Rng, community: usize, is_male: bool) -> u16 {
        if rng.permille(200) {
            return skewed(rng, if is_male { 0 } else { self.female }, RARE_GIVEN);
        }
        let before = ORIGINS.iter().take(community).map(|o| o.male.len() + o.female.len()).sum::<usize>();
        let origin = ORIGINS.get(community);
        let (male, female) = origin.map_or((1, 1), |origin| (origin.male.len(), origin.female.len()));
        let start = 2 * RARE_GIVEN + before;
        if is_male { skewed(rng, start, male) } else { skewed(rng, start + male, female) }
    }

    /// A community by its share.
    pub(crate) fn a_community(rng: &mut Rng) -> usize {
        rng.weighted(ORIGINS.iter().map(|origin| origin.share))
    }
}

/// The first ones much more often, as names are spread.
fn skewed(rng: &mut Rng, start: usize, count: usize) -> u16 {
    let one = rng.below(count as u64);
    let other = rng.below(one + 1);
    u16::try_from(start + usize::try_from(other).unwrap_or_default()).unwrap_or_default()
}

fn rare(rng: &mut Rng, ends: &[&str]) -> String {
    let mut name = rng.pick(&STARTS, "Al").to_owned();
    for _ in 0..rng.below(2) + u64::from(rng.permille(300)) {
        name += rng.pick(&MIDDLES, "ra");
    }
    name + rng.pick(ends, "n")
}

const STARTS: [&str; 40] = [
    "Al", "An", "Ar", "Ash", "Bal", "Ber", "Bran", "Cal", "Car", "Chal", "Col", "Cra", "Dal", "Den", "Dun", "El",
    "Fal", "Fer", "Gal", "Gre", "Had", "Har", "Hol", "Jan", "Kal", "Ken", "Kir", "Lan", "Lor", "Mal", "Mar", "Mor",
    "Nor", "Os", "Pel", "Ros", "San", "Tal", "Tre", "Wil",
];
const MIDDLES: [&str; 16] =
    ["a", "an", "be", "de", "di", "er", "ga", "i", "la", "le", "ma", "na", "o", "ra", "ri", "ve"];
const FAMILY_ENDS: [&str; 24] = [
    "by", "combe", "cott", "den", "dge", "don", "ford", "gate", "ham", "hurst", "ker", "land", "ley", "low", "man",
    "mer", "ner", "sby", "ski", "son", "stock", "ton", "well", "worth",
];
const MALE_ENDS: [&str; 12] = ["bert", "bin", "dan", "den", "don", "dric", "kov", "mir", "nard", "rick", "ron", "vin"];
const FEMALE_ENDS: [&str; 12] =
    ["bella", "da", "dine", "jana", "lia", "line", "lyn", "mira", "na", "ra", "tha", "vina"];
