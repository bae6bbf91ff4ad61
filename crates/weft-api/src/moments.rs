//! What "as of" stands for: the notary's cuts, looked up in the log.

use std::sync::Arc;

use weft_log::{AsOfError, LogEvidence, SharedLog, cut};
use weft_model::{AsOf, Clock, Cut};

use crate::error::{Error, detail};

/// Looks up cuts. Cloning shares everything.
#[derive(Clone)]
pub(crate) struct Moments {
    pub(crate) log: SharedLog,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Moments {
    /// The sizes that `as_of` stands for.
    ///
    /// # Errors
    /// [`Error::Precondition`] where there is no such cut, or none yet that will stay the answer.
    pub(crate) async fn cut(&self, as_of: &AsOf) -> Result<Cut, Error> {
        let resolved = cut::resolve(&LogEvidence(self.log.clone()), as_of, self.clock.now_us()).await;
        let none = |code, field, text| Error::Precondition(detail(code, field, text));
        resolved.map_err(|error| match error {
            AsOfError::NoSuchTick(_) => none("no-such-cut", "as_of.tick", "no cut has this tick"),
            AsOfError::BeforeTheFirst => none("before-the-first-cut", "as_of.time_us", "no cut was taken by then"),
            AsOfError::NotPast => none(
                "time-not-past",
                "as_of.time_us",
                "is not two seconds past: a cut of that time may still be on its way; wait and ask again",
            ),
            AsOfError::Cut(error) => Error::Internal(error.into()),
        })
    }
}
