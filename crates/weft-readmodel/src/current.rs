//! Where the current version of something is: in the store, or among the rows that this round of folding makes.

/// A current version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Current {
    pub(crate) known_from: i64,
    /// Round and place among its new rows; `None` where it was loaded.
    made: Option<(u32, usize)>,
}

impl Current {
    pub(crate) fn stored(known_from: i64) -> Self {
        Self { known_from, made: None }
    }

    pub(crate) fn new(known_from: i64, round: u32, index: usize) -> Self {
        Self { known_from, made: Some((round, index)) }
    }

    /// Its place among the new rows of `round`; `None` where it is stored by then.
    pub(crate) fn index_in(self, round: u32) -> Option<usize> {
        self.made.filter(|(made, _)| *made == round).map(|(_, index)| index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_new_in_its_own_round_only() {
        assert_eq!(Current::new(7, 3, 1).index_in(3), Some(1));
        assert_eq!(Current::new(7, 3, 1).index_in(4), None);
        assert_eq!(Current::stored(7).index_in(0), None);
    }
}
