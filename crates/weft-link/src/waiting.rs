//! Records that wait for their turn.
//!
//! Each decision depends on those before it, so they are made one after the other. What a record says and by which keys it is
//! found does not, and where many wait it is read of some of them first, so that the memory that deciding will read can be
//! asked for of all of them at once ([`Index::touch`](crate::Index::touch)):
//!
//! ```text
//! of a few at once                              of each in its turn
//! Features ─Waiting::new─► Waiting ─touch─►     Index::hear ─► decide ─► apply
//! ```
//!
//! Nothing that is read ahead decides anything. In an index of millions most of the time of a decision is waiting for memory,
//! a hundred times a record.

use weft_model::Pseudonym;

use crate::{
    Features,
    keys::{Keys, all_keys},
};

/// Records that are best touched together: enough to keep the memory busy, and few enough that the processor's caches hold
/// what they brought until it is needed.
pub const TOGETHER: usize = 16;

/// A record, read, with the keys by which others find it.
pub struct Waiting {
    pub(crate) record: Pseudonym,
    pub(crate) features: Features,
    pub(crate) keys: Keys,
}

impl Waiting {
    /// Reads ahead what the record is known to say.
    #[must_use]
    pub fn new(record: Pseudonym, features: Features) -> Self {
        let keys = all_keys(&features);
        Self { record, features, keys }
    }

    /// Which record it is.
    #[must_use]
    pub fn record(&self) -> Pseudonym {
        self.record
    }
}
