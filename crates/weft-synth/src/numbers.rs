//! NHS numbers that nobody has: 999..., the range for tests.

use weft_model::{NhsNumber, NhsNumberClass};

/// Pairs of consecutive nine-digit stems under 999; of each pair at least one has a check digit.
const PAIRS: u64 = 500_000;
/// Shares no factor with the number of pairs, so that it visits each once.
const STRIDE: u64 = 190_217;

/// Gives every number once. Past the range for tests (after half a million), the rest of 9xx, which is never issued either.
#[derive(Debug, Clone, Default)]
pub(crate) struct Numbers {
    given: u64,
}

impl Numbers {
    pub(crate) fn one(&mut self) -> NhsNumber {
        loop {
            let [first, second] = self.pair();
            if let Some(number) = first.or(second) {
                return number;
            }
        }
    }

    /// Two that follow each other, as the numbers of twins often do.
    pub(crate) fn two_in_a_row(&mut self) -> [NhsNumber; 2] {
        loop {
            if let [Some(first), Some(second)] = self.pair() {
                return [first, second];
            }
        }
    }

    fn pair(&mut self) -> [Option<NhsNumber>; 2] {
        let (round, place) = (self.given / PAIRS, self.given % PAIRS);
        self.given += 1;
        let stem = 999_000_000_u64.saturating_sub(round % 99 * 1_000_000) + place * STRIDE % PAIRS * 2;
        [stem, stem + 1]
            .map(|stem| NhsNumber::with_check_digit(stem).filter(|number| number.class() == NhsNumberClass::Test))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn numbers_are_for_tests_and_differ() {
        let mut numbers = Numbers::default();
        let mut all: Vec<NhsNumber> = (0..5000).map(|_| numbers.one()).collect();
        let [first, second] = numbers.two_in_a_row();
        let stem = |number: NhsNumber| number.to_string()[..9].parse::<u64>().unwrap();
        assert_eq!(stem(first) + 1, stem(second));
        all.extend([first, second]);
        assert!(all.iter().all(|n| n.to_string().starts_with("999")));
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 5002);
    }
}
