//! The four services. Each method is a thin adapter over a plain async function; what failed is logged here, once,
//! with the method and the reason, and never with whom the call was about.

mod feed;
mod link;
mod person;
mod projection;
mod proposal;
mod quarantine;
mod redrive;
mod timeline;

use tonic::{Response, Status};
use weft_log::{OpenError, ReadError};
use weft_readmodel::{QueryError, StoreError};

use crate::{
    disclosure::{Asked, Disclosures},
    error::{Error, detail},
};

pub(crate) use feed::Feeds;
pub(crate) use link::Links;
pub(crate) use person::Persons;
pub(crate) use timeline::Timelines;

/// What the caller gets. That a call was refused, or failed, is recorded before it is told.
async fn answer<T>(
    disclosures: &Disclosures,
    method: &'static str,
    asked: Asked,
    result: impl Future<Output = Result<T, Error>>,
) -> Result<Response<T>, Status> {
    match result.await {
        Ok(answer) => Ok(Response::new(answer)),
        Err(error) => {
            disclosures.record_refusal(method, asked, &error).await;
            Err(status(method, &error))
        }
    }
}

/// The status of a failed call.
fn status(method: &'static str, error: &Error) -> Status {
    match error {
        Error::Unavailable(what, source) => {
            tracing::warn!(method, what, reason = chain(source.as_ref()), "call failed for now");
        }
        Error::Unrecorded(source) => {
            tracing::warn!(method, reason = chain(source.as_ref()), "disclosure not recorded, and so not made");
        }
        Error::Internal(source) => tracing::error!(method, reason = chain(source.as_ref()), "call failed"),
        refused => tracing::debug!(method, code = ?refused.code(), "call refused"),
    }
    error.to_status()
}

/// An error and its sources on one line.
fn chain(error: &(dyn std::error::Error + Send + Sync + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

impl From<QueryError> for Error {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Ahead { known, .. } => Self::Precondition(detail(
                "not-yet-known",
                "as_of",
                format!("names events that are not projected yet: known is {known}; wait and ask again"),
            )),
            QueryError::Store(source @ StoreError::Unavailable(_)) => {
                Self::Unavailable("the read model cannot be asked", source.into())
            }
            QueryError::Store(source) => Self::Internal(source.into()),
        }
    }
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Unavailable(_) => Self::Unavailable("the log cannot be read", error.into()),
            ReadError::Corrupt { .. } => Self::Internal(error.into()),
        }
    }
}

impl From<OpenError> for Error {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Shredded { .. } => {
                Self::Precondition(detail("erased", "", "its content was erased: the key was destroyed"))
            }
            OpenError::Vault(_) => Self::Unavailable("the key vault cannot be read", error.into()),
            OpenError::Corrupt { .. } | OpenError::Decode { .. } => Self::Internal(error.into()),
        }
    }
}
