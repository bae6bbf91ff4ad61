//! The weights: what each way of agreeing or differing adds to a score.

/// A named set of weights. Integers, so that the rows of a decision sum exactly to its score.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// Name and version, written into every decision: `rules/1`.
    pub name: &'static str,
    /// A person agrees with a record from this score on.
    pub threshold: i64,
    /// The best person must lead the second best by at least this much, else neither is chosen.
    pub margin: i64,
    /// Added by a rule that forbids the link; below everything that agreement can add.
    pub(crate) veto: i32,
    pub(crate) number: i32,
    /// Added where another holder of the number disagrees with the record.
    pub(crate) number_ambiguous: i32,
    pub(crate) birth_exact: i32,
    pub(crate) birth_swapped: i32,
    pub(crate) birth_partial: i32,
    pub(crate) birth_disagrees: i32,
    pub(crate) name_exact: i32,
    pub(crate) name_near: i32,
    pub(crate) name_initial: i32,
    pub(crate) name_disagrees: i32,
    pub(crate) sex_exact: i32,
    pub(crate) sex_disagrees: i32,
    pub(crate) postcode_exact: i32,
    pub(crate) postcode_outcode: i32,
    pub(crate) postcode_disagrees: i32,
}

impl Model {
    /// The first model: fixed rules. Exact agreement of birth date, both names, sex and postcode sums to the threshold;
    /// every way of passing the cross-check of an NHS number lies above it.
    pub const RULES: Self = Self {
        name: "rules/1",
        threshold: 950,
        margin: 1,
        veto: -10_000,
        number: 1000,
        number_ambiguous: -300,
        birth_exact: 400,
        birth_swapped: 250,
        birth_partial: 200,
        birth_disagrees: -400,
        name_exact: 200,
        name_near: 150,
        name_initial: 80,
        name_disagrees: -200,
        sex_exact: 50,
        sex_disagrees: -50,
        postcode_exact: 100,
        postcode_outcode: 50,
        postcode_disagrees: -20,
    };
}

impl Default for Model {
    fn default() -> Self {
        Self::RULES
    }
}
