//! Making issues. The text is a constant of the program, so that it cannot repeat a value of the message.

use weft_model::proto::event::{Issue, Severity};

/// Read another way than the specification has it; nothing is lost.
pub(crate) fn information(code: &'static str, location: impl Into<String>, text: &'static str) -> Issue {
    issue(Severity::Information, code, location, text)
}

/// A part could not be read; the rest stands.
pub(crate) fn warning(code: &'static str, location: impl Into<String>, text: &'static str) -> Issue {
    issue(Severity::Warning, code, location, text)
}

/// The message as a whole cannot be used.
pub(crate) fn error(code: &'static str, location: impl Into<String>, text: &'static str) -> Issue {
    issue(Severity::Error, code, location, text)
}

fn issue(severity: Severity, code: &'static str, location: impl Into<String>, text: &'static str) -> Issue {
    Issue { severity: severity.into(), code: code.to_owned(), location: location.into(), text: text.to_owned() }
}
