//! Labelled sets: what anybody who knows who is who can score the linker with.
//!
//! Pure: texts of files go in. One path for every set: a [`Map`] says which column is which field, [`Records`] are read by it,
//! [`Truth`] says who is who, and [`run`] hears the records one after the other as a node would, each decided on once.

mod csv;
mod dates;
mod fit;
mod map;
mod measure;
mod records;
mod truth;

pub use csv::{Csv, CsvError};
pub use fit::{FitOptions, Fitted, PAIRS_MIN, fit};
pub use map::{KEYS, Map, MapError};
pub use measure::{Figures, PairScore, Run, pair_scores, run};
pub use records::{Record, Records, RecordsError};
pub use truth::{Truth, TruthError};

/// Chance out of a seed, the same for ever: xorshift64* behind one round of splitmix64.
#[derive(Debug, Clone)]
pub struct Draw(u64);

impl Draw {
    /// A stream of its own for each seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self((mixed ^ mixed >> 31) | 1)
    }

    /// From 0 to `limit - 1`; 0 for a limit of 0.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let wide = u128::from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)) * limit as u128;
        usize::try_from(wide >> 64).unwrap_or_default()
    }

    /// Brings a list into an order of its own for each seed.
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for last in (1..list.len()).rev() {
            list.swap(last, self.below(last + 1));
        }
    }
}
