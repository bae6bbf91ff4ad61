//! Naming a record on the command line, and showing one.

use std::{fmt, str::FromStr};

use weft_model::{
    Position, Stream,
    proto::{
        api::{Effect, Subject, subject::Of},
        event::{self, Evidence, SourceRecordId},
    },
};

use crate::table;

/// A question of the review queue (`identity/0/17`), or a record (`RYJ/RYJ-MRN/1234`).
#[derive(Debug, Clone)]
pub(super) struct About(Of);

/// A record: `ORGANISATION/SYSTEM/NUMBER`.
#[derive(Debug, Clone)]
pub(super) struct RecordName(pub(super) SourceRecordId);

/// Neither of the two.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("a question such as identity/0/17, or a record as ORGANISATION/SYSTEM/NUMBER")]
pub(super) struct NotAbout;

impl FromStr for About {
    type Err = NotAbout;
    fn from_str(text: &str) -> Result<Self, NotAbout> {
        match text.parse::<Position>() {
            Ok(position) if position.partition.stream == Stream::Identity => Ok(Self(Of::Review(position.to_proto()))),
            _ => Ok(Self(Of::Record(RecordName::from_str(text)?.0))),
        }
    }
}

impl FromStr for RecordName {
    type Err = NotAbout;
    fn from_str(text: &str) -> Result<Self, NotAbout> {
        let mut parts = text.splitn(3, '/').map(str::to_owned);
        match (parts.next(), parts.next(), parts.next()) {
            (Some(organisation), Some(system), Some(value))
                if ![&organisation, &system, &value].iter().any(|p| p.is_empty()) =>
            {
                Ok(Self(SourceRecordId { organisation, system, value }))
            }
            _ => Err(NotAbout),
        }
    }
}

impl From<About> for Subject {
    fn from(about: About) -> Self {
        Self { of: Some(about.0) }
    }
}

/// A record as [`RecordName`] reads it.
pub(super) struct Shown<'a>(pub(super) Option<&'a SourceRecordId>);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(id) => write!(f, "{}/{}/{}", id.organisation, id.system, id.value),
            None => f.write_str("(not told of yet)"),
        }
    }
}

pub(super) fn position_text(position: Option<&event::Position>) -> String {
    position.and_then(|p| Position::from_proto(p).ok()).map(|p| p.to_string()).unwrap_or_default()
}

/// A waterfall: every weight, and the sum that they come to.
pub(super) fn waterfall(evidence: &[Evidence], score: i64, threshold: i64) -> String {
    let mut text = String::new();
    for row in evidence {
        text.push_str(&format!("    {:>8}  {} {}\n", row.weight, row.field, row.level));
    }
    if !evidence.is_empty() {
        text.push_str(&format!("    {score:>8}  = score; links from {threshold} on\n"));
    }
    text
}

/// What moves, as a table with its sum.
pub(super) fn effect_text(effect: &Effect) -> String {
    let rows: Vec<Vec<String>> = effect
        .moves
        .iter()
        .map(|moved| {
            let stays = moved.from_person_id == moved.to_person_id;
            vec![
                Shown(moved.record.as_ref()).to_string(),
                moved.from_person_id.clone(),
                if stays { "stays".to_owned() } else { moved.to_person_id.clone() },
                moved.entries.to_string(),
            ]
        })
        .collect();
    let mut text = table::render(&["RECORD", "FROM", "TO", "ENTRIES"], &rows);
    let (entries, organisations) = (effect.entries, effect.organisations.len());
    text.push_str(&format!("{entries} entries of {organisations} organisation(s) move\n"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_and_records_are_told_apart() {
        assert!(matches!("identity/0/17".parse::<About>().unwrap().0, Of::Review(p) if p.offset == 17));
        let Of::Record(record) = "RYJ/RYJ-MRN/12/34".parse::<About>().unwrap().0 else { panic!("a record") };
        assert_eq!(Shown(Some(&record)).to_string(), "RYJ/RYJ-MRN/12/34");
        for wrong in ["", "RYJ/1", "RYJ//1", "17"] {
            assert!(wrong.parse::<About>().is_err(), "{wrong}");
        }
    }
}
