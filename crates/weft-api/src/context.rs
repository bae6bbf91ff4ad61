//! Who asks: checked once at the door, carried as a type.

use weft_model::{
    OdsCode,
    proto::api::{ErrorDetail, RequestContext},
};

use crate::error::{Error, detail, invalid};

/// Characters of a field of the context.
pub(crate) const LENGTH_MAX: usize = 200;

/// A context whose five fields are said and whose organisation is an ODS code.
#[derive(Debug, Clone)]
pub(crate) struct Asker {
    pub(crate) user: String,
    pub(crate) role: String,
    pub(crate) organisation: OdsCode,
    pub(crate) purpose: String,
    pub(crate) reason: String,
}

impl Asker {
    /// Reads the context of a request; the error has a detail for every field that is wrong.
    pub(crate) fn check(context: Option<RequestContext>) -> Result<Self, Error> {
        let Some(context) = context else { return Err(invalid("field-required", "context", "is required")) };
        let mut wrong = Vec::new();
        for (field, value) in [
            ("user", &context.user),
            ("role", &context.role),
            ("organisation", &context.organisation),
            ("purpose", &context.purpose),
            ("reason", &context.reason),
        ] {
            wrong.extend(mistake(field, value));
        }
        let organisation = OdsCode::parse(&context.organisation);
        match organisation {
            Ok(organisation) if wrong.is_empty() => Ok(Self {
                user: context.user,
                role: context.role,
                organisation,
                purpose: context.purpose,
                reason: context.reason,
            }),
            _ => Err(Error::Invalid(wrong)),
        }
    }
}

fn mistake(field: &str, value: &str) -> Option<ErrorDetail> {
    let path = format!("context.{field}");
    if value.trim().is_empty() {
        return Some(detail("field-required", path, "is required"));
    }
    if value.chars().nth(LENGTH_MAX).is_some() {
        return Some(detail("field-too-long", path, format!("is longer than {LENGTH_MAX} characters")));
    }
    (field == "organisation" && OdsCode::parse(value).is_err())
        .then(|| detail("ods-code-invalid", path, "is not an ODS code of 3 to 10 letters and digits"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::error_details;

    fn good() -> RequestContext {
        RequestContext {
            user: "dr.patel".to_owned(),
            role: "clinician".to_owned(),
            organisation: "ryj".to_owned(),
            purpose: "direct-care".to_owned(),
            reason: "clinic today".to_owned(),
        }
    }

    fn check(change: impl FnOnce(&mut RequestContext), wanted: &[(&str, &str)]) {
        let mut context = good();
        change(&mut context);
        let error = Asker::check(Some(context)).unwrap_err();
        let told = error_details(&error.to_status());
        assert_eq!(told.iter().map(|d| (d.code.as_str(), d.field.as_str())).collect::<Vec<_>>(), wanted);
    }

    #[test]
    fn all_five_fields_are_required_and_named() {
        check(|c| c.user.clear(), &[("field-required", "context.user")]);
        check(|c| c.role = "  ".to_owned(), &[("field-required", "context.role")]);
        check(|c| c.organisation.clear(), &[("field-required", "context.organisation")]);
        check(|c| c.purpose.clear(), &[("field-required", "context.purpose")]);
        check(|c| c.reason.clear(), &[("field-required", "context.reason")]);
        check(|c| c.reason = "é".repeat(201), &[("field-too-long", "context.reason")]);
        check(|c| c.organisation = "St Mary's".to_owned(), &[("ods-code-invalid", "context.organisation")]);
        check(
            |c| (c.user, c.reason) = (String::new(), "x".repeat(201)),
            &[("field-required", "context.user"), ("field-too-long", "context.reason")],
        );
    }

    #[test]
    fn a_good_context_is_kept_with_its_organisation_in_upper_case() {
        let asker = Asker::check(Some(RequestContext { reason: "é".repeat(200), ..good() })).unwrap();
        assert_eq!(asker.organisation.as_str(), "RYJ");
        assert!(matches!(Asker::check(None), Err(Error::Invalid(details)) if details[0].field == "context"));
    }
}
