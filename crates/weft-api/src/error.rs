//! What a call can fail with: six codes, one total mapping, and details that name the request's field.
//!
//! Nothing here repeats a value that was sent. What went wrong inside is logged where it is mapped, once, without saying
//! whom the call was about; the caller is told only what to do.

use prost::Message;
use tonic::{Code, Status};
use weft_model::proto::api::ErrorDetail;

/// Details beyond this many are counted, not listed: they travel in a header, which has a limit.
const DETAILS_MAX: usize = 30;
/// Characters of a detail's text.
const TEXT_MAX: usize = 200;

/// A source that is logged.
pub(crate) type Source = Box<dyn std::error::Error + Send + Sync>;

/// Each variant is what the caller should do about it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Change the request.
    #[error("request is not valid")]
    Invalid(Vec<ErrorDetail>),
    /// Ask about something else.
    #[error("not found")]
    NotFound(ErrorDetail),
    /// The same, where that nothing was found was recorded already, as the answer that it is.
    #[error("not found, and recorded")]
    Answered(ErrorDetail),
    /// Wait, or change something else first.
    #[error("not in this state")]
    Precondition(ErrorDetail),
    /// Send the same request again later.
    #[error("unavailable: {0}")]
    Unavailable(&'static str, #[source] Source),
    /// The same: the log cannot record an answer now, and so not a refusal either.
    #[error("disclosure not recorded")]
    Unrecorded(#[source] Source),
    /// Ask somebody who may.
    #[allow(dead_code, reason = "part of the contract: the rules of who may see what will return it")]
    #[error("permission denied")]
    Denied(ErrorDetail),
    /// Tell whoever runs the node.
    #[error("internal error")]
    Internal(#[source] Source),
}

/// A detail. `field` is the path in the request, as in the schema.
pub(crate) fn detail(code: &str, field: impl Into<String>, text: impl Into<String>) -> ErrorDetail {
    ErrorDetail { code: code.to_owned(), field: field.into(), text: text.into() }
}

/// The request is wrong in one place.
pub(crate) fn invalid(code: &str, field: impl Into<String>, text: impl Into<String>) -> Error {
    Error::Invalid(vec![detail(code, field, text)])
}

impl Error {
    /// The code that stands for this error.
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Invalid(_) => Code::InvalidArgument,
            Self::NotFound(_) | Self::Answered(_) => Code::NotFound,
            Self::Precondition(_) => Code::FailedPrecondition,
            Self::Unavailable(..) | Self::Unrecorded(_) => Code::Unavailable,
            Self::Denied(_) => Code::PermissionDenied,
            Self::Internal(_) => Code::Internal,
        }
    }

    /// Marks that a disclosure says already that nothing was found.
    pub(crate) fn answered(self) -> Self {
        match self {
            Self::NotFound(detail) => Self::Answered(detail),
            other => other,
        }
    }

    /// What the caller is told, of each thing.
    pub(crate) fn details(&self) -> Vec<ErrorDetail> {
        match self {
            Self::Invalid(details) => shorten(details),
            Self::NotFound(one) | Self::Answered(one) | Self::Precondition(one) | Self::Denied(one) => {
                vec![one.clone()]
            }
            Self::Unavailable(what, _) => vec![detail("unavailable", "", format!("{what}: try again"))],
            Self::Unrecorded(_) => {
                vec![detail("unavailable", "", "the disclosure could not be recorded: try again")]
            }
            Self::Internal(_) => vec![detail("internal", "", "the node failed: see its log")],
        }
    }

    /// The status that the caller sees: its message is the first detail's.
    pub(crate) fn to_status(&self) -> Status {
        let details = self.details();
        let message = match details.first() {
            Some(first) if first.field.is_empty() => first.text.clone(),
            Some(first) => format!("{}: {}", first.field, first.text),
            None => self.to_string(),
        };
        with_details(self.code(), message, &details)
    }
}

fn shorten(details: &[ErrorDetail]) -> Vec<ErrorDetail> {
    let mut kept: Vec<ErrorDetail> = details.iter().take(DETAILS_MAX).cloned().collect();
    for one in &mut kept {
        if let Some((end, _)) = one.text.char_indices().nth(TEXT_MAX) {
            one.text.truncate(end);
        }
    }
    let more = details.len().saturating_sub(kept.len());
    if more > 0 {
        kept.push(detail("more-mistakes", "", format!("and {more} more")));
    }
    kept
}

/// `google.rpc.Status`: what `grpc-status-details-bin` holds.
#[derive(Clone, PartialEq, Message)]
struct RichStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

const TYPE_URL: &str = "type.googleapis.com/weft.v1.ErrorDetail";

fn with_details(code: Code, message: String, details: &[ErrorDetail]) -> Status {
    let details =
        details.iter().map(|one| prost_types::Any { type_url: TYPE_URL.to_owned(), value: one.encode_to_vec() });
    let rich = RichStatus { code: code.into(), message: message.clone(), details: details.collect() };
    Status::with_details(code, message, rich.encode_to_vec().into())
}

/// The details of a failed call: what is wrong, and in which field. Empty where the failure did not come from a Weft
/// service (the connection broke, something else listens there).
#[must_use]
pub fn error_details(status: &Status) -> Vec<ErrorDetail> {
    let Ok(rich) = RichStatus::decode(status.details()) else { return Vec::new() };
    let known = rich.details.iter().filter(|any| any.type_url == TYPE_URL);
    known.filter_map(|any| ErrorDetail::decode(any.value.as_slice()).ok()).collect()
}

/// Closes the set: a status that the transport made is told in one of the six codes. `None` where it is one already, or
/// where nothing answered (the call was cancelled or timed out at the caller's wish, the method does not exist).
pub(crate) fn close(status: &Status) -> Option<Status> {
    match status.code() {
        // A request over the size limit.
        Code::OutOfRange | Code::ResourceExhausted => {
            Some(invalid("request-too-large", "", "request is larger than the limit").to_status())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(error: Error, code: Code, message: &str, details: &[(&str, &str)]) {
        let status = error.to_status();
        assert_eq!((status.code(), status.message()), (code, message));
        let told = error_details(&status);
        assert_eq!(told.iter().map(|d| (d.code.as_str(), d.field.as_str())).collect::<Vec<_>>(), details);
    }

    #[test]
    fn every_error_has_its_code_and_field() {
        check(
            invalid("field-required", "context.purpose", "is required"),
            Code::InvalidArgument,
            "context.purpose: is required",
            &[("field-required", "context.purpose")],
        );
        check(Error::NotFound(detail("gone", "feed", "no")), Code::NotFound, "feed: no", &[("gone", "feed")]);
        check(Error::Precondition(detail("wait", "", "no")), Code::FailedPrecondition, "no", &[("wait", "")]);
        check(
            Error::Unavailable("log", "secret cause".into()),
            Code::Unavailable,
            "log: try again",
            &[("unavailable", "")],
        );
        check(Error::Denied(detail("rule", "", "no")), Code::PermissionDenied, "no", &[("rule", "")]);
        check(
            Error::Internal("secret cause".into()),
            Code::Internal,
            "the node failed: see its log",
            &[("internal", "")],
        );
    }

    #[test]
    fn many_details_are_counted() {
        let many = (0..100).map(|_| detail("x", "profile_toml", "é".repeat(500))).collect();
        let told = error_details(&Error::Invalid(many).to_status());
        assert_eq!(told.len(), DETAILS_MAX + 1);
        assert_eq!(told.first().map(|d| d.text.chars().count()), Some(TEXT_MAX));
        assert_eq!(told.last().map(|d| d.text.as_str()), Some("and 70 more"));
    }

    #[test]
    fn a_foreign_status_has_no_details() {
        assert!(error_details(&Status::unavailable("connection refused")).is_empty());
        let foreign = Status::with_details(Code::Internal, "x", vec![0xff, 0xff].into());
        assert!(error_details(&foreign).is_empty());
    }
}
