//! Identifiers of facts and resources, made from what a message says, so that the same thing told again has the same one.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use crate::hl7v2::Segment;

/// FHIR's limit.
const LENGTH_MAX: usize = 64;

/// `text` as a FHIR `id`: itself where it is one, else with hyphens for what an `id` cannot hold, and a digest of the whole.
pub(crate) fn fhir_id(text: &str) -> Cow<'_, str> {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.');
    if !text.is_empty() && text.len() <= LENGTH_MAX && text.bytes().all(good) {
        return Cow::Borrowed(text);
    }
    let readable = text.bytes().take(LENGTH_MAX - 17).map(|b| if good(b) { char::from(b) } else { '-' });
    Cow::Owned(format!("{}-{:016x}", readable.collect::<String>(), digest(text)))
}

/// A short name for a text that has no code.
pub(crate) fn text_id(text: &str) -> String {
    format!("{:016x}", digest(text))
}

/// FNV-1a of 64 bits: no secret is kept by it, it only has to be the same for ever.
fn digest(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Makes identifiers unique within a message: the second of a kind is `id.2`, the third `id.3`.
#[derive(Debug, Default)]
pub(crate) struct Unique(BTreeMap<u64, u32>);

impl Unique {
    /// `id`, or `id` with its number where it was asked for before.
    pub(crate) fn number(&mut self, id: String) -> String {
        let count = self.0.entry(digest(&id)).or_default();
        *count += 1;
        if *count == 1 { id } else { fhir_id(&format!("{id}.{count}")).into_owned() }
    }
}

/// What segments say whose first field is their number in the message.
#[derive(Debug, Default)]
pub(crate) struct Said<'a>(BTreeSet<&'a str>);

impl<'a> Said<'a> {
    /// False where an earlier one says the same under another number.
    pub(crate) fn is_new(&mut self, segment: Segment<'a>) -> bool {
        let number = "DG1|".len() + segment.field(1).raw().len();
        self.0.insert(segment.raw().get(number..).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_as_written_where_fhir_allows() {
        assert_eq!(fhir_id("4262718364.us-0003"), "4262718364.us-0003");
        assert_eq!(fhir_id("V 1/2"), "V-1-2-5a0e3ac173757693");
        assert_ne!(fhir_id("V 1/2"), fhir_id("V 1_2"));
        assert_eq!(fhir_id(&"é".repeat(80)).len(), LENGTH_MAX);
        assert_eq!(fhir_id("").len(), 17);
    }

    #[test]
    fn repeats_are_numbered() {
        let mut unique = Unique::default();
        let ids = ["a", "b", "a", "a"].map(|id| unique.number(id.to_owned()));
        assert_eq!(ids, ["a", "b", "a.2", "a.3"]);
    }
}
