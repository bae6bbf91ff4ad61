//! The fields of requests, read once: each function names the field in its error and never repeats the value.

use weft_model::{
    AsOf, Cut, NhsNumber, NhsNumberError, OdsCode, PersonId, Position, Stream,
    proto::{
        api::{self, TimelineFilter},
        event::{self, LineKind},
    },
};

use crate::{
    error::{Error, detail, invalid},
    moments::Moments,
};

/// Values in one list of a filter.
const LIST_MAX: usize = 100;

/// `person_id`.
pub(crate) fn person_id(text: &str) -> Result<PersonId, Error> {
    if text.is_empty() {
        return Err(required("person_id"));
    }
    text.parse().map_err(|_| invalid("person-id-invalid", "person_id", "is not an identifier of a person (a UUID)"))
}

/// A field that must be said and is no longer than `length_max` characters.
pub(crate) fn text<'a>(field: &str, value: &'a str, length_max: usize) -> Result<&'a str, Error> {
    let value = value.trim();
    if value.is_empty() {
        return Err(required(field));
    }
    optional_text(field, value, length_max)
}

/// A field that is no longer than `length_max` characters.
pub(crate) fn optional_text<'a>(field: &str, value: &'a str, length_max: usize) -> Result<&'a str, Error> {
    if value.chars().nth(length_max).is_some() {
        return Err(invalid("field-too-long", field, format!("is longer than {length_max} characters")));
    }
    Ok(value.trim())
}

/// `page_size` or `limit`: 0 means `default`.
pub(crate) fn size(field: &str, given: u32, default: usize, most: usize) -> Result<usize, Error> {
    match usize::try_from(given) {
        Ok(0) => Ok(default),
        Ok(given) if given <= most => Ok(given),
        _ => Err(invalid("number-too-large", field, format!("is more than {most}"))),
    }
}

/// `nhs_number`.
pub(crate) fn nhs_number(text: &str) -> Result<NhsNumber, Error> {
    NhsNumber::parse(text).map_err(|error| match error {
        NhsNumberError::NotTenDigits => invalid("nhs-number-invalid", "nhs_number", "is not ten digits"),
        NhsNumberError::CheckDigit => invalid("nhs-number-invalid", "nhs_number", "has a wrong check digit"),
    })
}

/// An ODS code.
pub(crate) fn ods_code(field: &str, text: &str) -> Result<OdsCode, Error> {
    if text.trim().is_empty() {
        return Err(required(field));
    }
    OdsCode::parse(text)
        .map_err(|_| invalid("ods-code-invalid", field, "is not an ODS code of 3 to 10 letters and digits"))
}

/// `YYYY-MM-DD`, a day that the calendar has.
pub(crate) fn date(field: &str, text: &str) -> Result<(i16, i8, i8), Error> {
    if text.trim().is_empty() {
        return Err(required(field));
    }
    let wrong = || invalid("date-invalid", field, "is not a date such as 1980-02-28");
    let mut parts = text.trim().splitn(3, '-');
    let mut part = |digits: usize| -> Option<i16> {
        let part = parts.next()?;
        let plain = part.len() == digits && part.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| part.parse().ok()).flatten()
    };
    let (Some(year), Some(month), Some(day)) = (part(4), part(2), part(2)) else { return Err(wrong()) };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    if year == 0 || !(1..=days).contains(&day) {
        return Err(wrong());
    }
    // Month and day fit: they are at most 31.
    Ok((year, month as i8, day as i8))
}

/// `filter`, with its organisations in upper case.
pub(crate) fn filter(given: Option<TimelineFilter>) -> Result<TimelineFilter, Error> {
    let mut filter = given.unwrap_or_default();
    let mut wrong = Vec::new();
    for (i, kind) in filter.kinds.iter().enumerate() {
        if matches!(LineKind::try_from(*kind), Err(_) | Ok(LineKind::Unspecified)) {
            wrong.push(detail("kind-unknown", format!("filter.kinds[{i}]"), "is not a kind of line"));
        }
    }
    for (i, organisation) in filter.organisations.iter_mut().enumerate() {
        match OdsCode::parse(organisation) {
            Ok(code) => code.as_str().clone_into(organisation),
            Err(_) => wrong.push(detail(
                "ods-code-invalid",
                format!("filter.organisations[{i}]"),
                "is not an ODS code of 3 to 10 letters and digits",
            )),
        }
    }
    for (field, length) in [("filter.kinds", filter.kinds.len()), ("filter.organisations", filter.organisations.len())]
    {
        if length > LIST_MAX {
            wrong.push(detail("list-too-long", field, format!("has more than {LIST_MAX} values")));
        }
    }
    if let (Some(from), Some(to)) = (filter.occurred_from_us, filter.occurred_to_us)
        && from >= to
    {
        wrong.push(detail("period-empty", "filter.occurred_to_us", "is not after occurred_from_us"));
    }
    if wrong.is_empty() { Ok(filter) } else { Err(Error::Invalid(wrong)) }
}

/// `position`.
pub(crate) fn position(given: Option<&event::Position>) -> Result<Position, Error> {
    let given = given.ok_or_else(|| required("position"))?;
    Position::from_proto(given).map_err(|_| invalid("position-invalid", "position.stream", "is not one of the streams"))
}

/// The cut that `as_of` stands for, which may not lie beyond what is known; `None` asks for what is known now.
///
/// # Errors
/// [`Error::Precondition`] where it names a cut that is not there (yet).
pub(crate) async fn as_of(given: Option<&api::AsOf>, moments: &Moments, known_at: &Cut) -> Result<Option<Cut>, Error> {
    let Some(given) = given else { return Ok(None) };
    let wrong = || invalid("cut-invalid", "as_of", "says no moment, or names something that is not one of the streams");
    let as_of = AsOf::from_proto(given).map_err(|_| wrong())?;
    within(moments.cut(&as_of).await?, known_at).map(Some)
}

/// The same cut, where everything that it names is known.
///
/// No answer depends on the access stream, but a cut may name it (a notary's names every partition).
fn within(mut cut: Cut, known_at: &Cut) -> Result<Cut, Error> {
    cut.0.retain(|partition, _| partition.stream != Stream::Access);
    for (partition, size) in &cut.0 {
        let known = known_at.0.get(partition).copied().unwrap_or_default();
        if *size > known {
            return Err(Error::Precondition(detail(
                "not-yet-known",
                "as_of",
                format!("names events that are not projected yet: {partition} is known to {known}; wait and ask again"),
            )));
        }
    }
    Ok(cut)
}

/// A field that must be said.
pub(crate) fn required(field: &str) -> Error {
    invalid("field-required", field, "is required")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::error_details;

    fn check<T: std::fmt::Debug>(result: Result<T, Error>, code: &str, field: &str) {
        let told = error_details(&result.unwrap_err().to_status());
        assert_eq!(told.iter().map(|d| (d.code.as_str(), d.field.as_str())).collect::<Vec<_>>(), [(code, field)]);
    }

    #[test]
    fn every_wrong_field_is_named() {
        check(person_id(""), "field-required", "person_id");
        check(person_id("12"), "person-id-invalid", "person_id");
        check(text("feed", " ", 9), "field-required", "feed");
        check(text("feed", "0123456789", 9), "field-too-long", "feed");
        check(size("page_size", 1001, 100, 1000), "number-too-large", "page_size");
        check(nhs_number("943 476 591"), "nhs-number-invalid", "nhs_number");
        check(nhs_number("943 476 5918"), "nhs-number-invalid", "nhs_number");
        check(ods_code("organisation", ""), "field-required", "organisation");
        check(ods_code("organisation", "R-1"), "ods-code-invalid", "organisation");
        check(position(None), "field-required", "position");
        check(position(Some(&event::Position::default())), "position-invalid", "position.stream");
        for wrong in
            ["1980", "1980-2-01", "1980-13-01", "1981-02-29", "1900-02-29", "0000-01-01", "1980-01-00", "1980-01-01x"]
        {
            check(date("birth_date", wrong), "date-invalid", "birth_date");
        }
        check(date("birth_date", ""), "field-required", "birth_date");
    }

    #[test]
    fn right_fields_are_read() {
        assert_eq!(size("limit", 0, 20, 50).unwrap(), 20);
        assert_eq!(size("limit", 50, 20, 50).unwrap(), 50);
        assert_eq!(date("birth_date", "2000-02-29").unwrap(), (2000, 2, 29));
        assert_eq!(nhs_number("943 476 5919").unwrap().to_string(), "9434765919");
    }

    fn check_filter(filter: TimelineFilter, code: &str, field: &str) {
        check(super::filter(Some(filter)), code, field);
    }

    #[test]
    fn a_filter_that_lets_nothing_through_is_refused() {
        let empty = TimelineFilter::default;
        check_filter(TimelineFilter { kinds: vec![1, 0], ..empty() }, "kind-unknown", "filter.kinds[1]");
        check_filter(TimelineFilter { kinds: vec![99], ..empty() }, "kind-unknown", "filter.kinds[0]");
        check_filter(TimelineFilter { kinds: vec![1; 101], ..empty() }, "list-too-long", "filter.kinds");
        let organisations = vec!["ryj".to_owned(), "?".to_owned()];
        check_filter(TimelineFilter { organisations, ..empty() }, "ods-code-invalid", "filter.organisations[1]");
        let period = TimelineFilter { occurred_from_us: Some(5), occurred_to_us: Some(5), ..empty() };
        check_filter(period, "period-empty", "filter.occurred_to_us");
        let good = TimelineFilter { organisations: vec!["ryj".to_owned()], ..empty() };
        assert_eq!(super::filter(Some(good)).unwrap().organisations, ["RYJ"]);
    }

    #[test]
    fn a_cut_is_never_beyond_what_is_known() {
        let known: Cut = "feed/0/10,identity/0/5".parse().unwrap();
        let ask = |text: &str| within(text.parse().unwrap(), &known);
        assert_eq!(ask("feed/0/3").unwrap(), "feed/0/3".parse().unwrap());
        assert_eq!(ask("feed/0/10,access/0/99").unwrap(), "feed/0/10".parse().unwrap());
        for ahead in ["feed/0/11", "feed/0/1,identity/0/6", "feed/1/1"] {
            assert!(
                matches!(ask(ahead), Err(Error::Precondition(d)) if d.field == "as_of" && d.text.contains("wait")),
                "{ahead}"
            );
        }
    }
}
