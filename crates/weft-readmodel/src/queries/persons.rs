//! One person: the records that are linked, and why.

use prost::Message;
use sqlx::{SqliteConnection, sqlite::SqliteRow};
use weft_model::{
    Cut, PersonId, Stream,
    proto::{
        api::{LinkedRecord, PersonSummary},
        event::{Demographics, LinkMethod, RecordLinked, SourceRecordId},
    },
};

use super::members;
use crate::{
    ReadModel,
    bulk::{self, Multi},
    error::{QueryError, StoreError},
    model::Sizes,
    records::{birth_date, decode_demographics},
};

/// A person.
#[derive(Debug, Clone, PartialEq)]
pub struct Person {
    /// Who they are.
    pub summary: PersonSummary,
    /// Their records, by organisation, system and value.
    pub records: Vec<LinkedRecord>,
    /// What was known to the answer.
    pub known_at: Cut,
}

impl ReadModel {
    /// The person with this identifier, if there is one.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn person(&self, person: PersonId, as_of: Option<&Cut>) -> Result<Option<Person>, QueryError> {
        let (known_at, sizes) = self.visible(as_of)?;
        let mut conn = self.readers().acquire().await?;
        let mut records = linked_records(&mut conn, person, sizes).await?;
        if records.is_empty() {
            return Ok(None);
        }
        let summary = summary(person, &records);
        records.sort_by(|a, b| sort_key(&a.linked).cmp(&sort_key(&b.linked)));
        let records = records.into_iter().map(|record| record.linked).collect();
        Ok(Some(Person { summary, records, known_at }))
    }
}

/// A record of a person, with the time of what it says.
pub(super) struct Record {
    linked: LinkedRecord,
    /// When it was said, and its place in the feed stream; `None` where it says nothing of the person.
    said: Option<(i64, u64)>,
}

/// The records of `person`; none where nobody has the identifier.
pub(super) async fn linked_records(
    conn: &mut SqliteConnection,
    person: PersonId,
    sizes: Sizes,
) -> Result<Vec<Record>, StoreError> {
    // column1 record, column2 feed size, column3 identity size.
    const RECORDS: Multi = Multi {
        before: "
            SELECT r.record_no,
                   iif(r.first_offset < k.column2, r.organisation, NULL), r.system, r.value,
                   v.demographics, v.recorded_us, v.known_from,
                   l.decision, l.known_from, l.decided_us,
                   iif(s.first_offset < k.column2, s.organisation, NULL), s.system, s.value,
                   m.known_from, m.decided_us,
                   p.known_from
            FROM (VALUES ",
        columns: 3,
        after: ") AS k
            CROSS JOIN record AS r ON r.record_no = k.column1
            LEFT JOIN record_version AS v ON v.record_no = r.record_no
                AND v.known_from < k.column2 AND (v.known_to IS NULL OR v.known_to >= k.column2)
            LEFT JOIN link AS l ON l.record_no = r.record_no
                AND l.known_from < k.column3 AND (l.known_to IS NULL OR l.known_to >= k.column3)
            LEFT JOIN merge AS m ON m.retired_no = r.record_no
                AND m.known_from < k.column3 AND (m.known_to IS NULL OR m.known_to >= k.column3)
            LEFT JOIN record AS s ON s.record_no = m.survivor_no
            LEFT JOIN parked AS p ON p.record_no = r.record_no AND p.stream = 'feed' AND p.known_from < k.column2",
    };
    let numbers: Vec<i64> = members::of(conn, person, sizes).await?.iter().map(|m| m.record_no).collect();
    let rows = bulk::read(conn, &RECORDS, &numbers, |values, record_no| {
        values.put(*record_no).put(sizes.feed).put(sizes.identity);
    })
    .await?;
    let mut seen = std::collections::HashSet::new();
    let mut records = Vec::new();
    for row in &rows {
        if seen.insert(bulk::get::<i64>(row, 0)?) {
            records.push(read(row)?);
        }
    }
    Ok(records)
}

/// The summary of a person: each thing as the record that was heard last tells it, of those that tell it.
pub(super) fn summary(person: PersonId, records: &[Record]) -> PersonSummary {
    let mut newest_last: Vec<&Record> = records.iter().filter(|record| record.said.is_some()).collect();
    newest_last.sort_by_key(|record| record.said);
    let mut summary = PersonSummary {
        person_id: person.to_string(),
        records: u32::try_from(records.len()).unwrap_or(u32::MAX),
        ..PersonSummary::default()
    };
    for demographics in newest_last.iter().filter_map(|record| record.linked.demographics.as_ref()) {
        tell(&mut summary, demographics);
    }
    summary
}

fn tell(summary: &mut PersonSummary, said: &Demographics) {
    if let Some(name) = best_name(said) {
        summary.name = Some(name.clone());
    }
    let birth = birth_date(said).or_else(|| said.birth.as_ref().and_then(|birth| birth.to_fhir().ok()));
    let postcode = said.addresses.iter().map(|a| &a.postcode).find(|p| !p.is_empty());
    for (held, new) in [
        (&mut summary.birth_date, birth),
        (&mut summary.sex, Some(said.sex.clone())),
        (&mut summary.postcode, postcode.cloned()),
        (&mut summary.nhs_number, said.nhs_number().map(|n| n.value.clone())),
    ] {
        if let Some(new) = new.filter(|new| !new.is_empty()) {
            *held = new;
        }
    }
    if said.location_hidden == Some(true) {
        summary.postcode.clear();
    }
}

/// The official or usual name, else the first.
fn best_name(said: &Demographics) -> Option<&weft_model::proto::event::Name> {
    let current = said.names.iter().find(|name| matches!(name.r#use.as_str(), "official" | "usual" | ""));
    current.or(said.names.first())
}

fn read(row: &SqliteRow) -> Result<Record, StoreError> {
    let identity = Stream::Identity.partition(0);
    let mut linked = LinkedRecord { record: read_id(row, 1)?, merged_into: read_id(row, 10)?, ..Default::default() };
    let mut said = None;
    if let Some(demographics) = bulk::get::<Option<&[u8]>>(row, 4)? {
        linked.demographics = Some(decode_demographics(demographics)?);
        said = Some((bulk::get(row, 5)?, bulk::get_u64(row, 6)?));
    }
    if let Some(decision) = bulk::get::<Option<&[u8]>>(row, 7)? {
        let decision =
            RecordLinked::decode(decision).map_err(|_| StoreError::Unreadable { table: "link", column: "decision" })?;
        linked.record = linked.record.or(decision.record);
        linked.method = decision.method;
        linked.score = decision.score;
        linked.evidence = decision.evidence;
        linked.model = decision.model;
        linked.review = decision.review;
        linked.decided_at = Some(identity.at(bulk::get_u64(row, 8)?).to_proto());
        linked.decided_us = bulk::get(row, 9)?;
    } else if let Some(merged_at) = bulk::get::<Option<i64>>(row, 13)? {
        // Here by the merge alone.
        linked.method = LinkMethod::SenderMerge.into();
        linked.decided_at = Some(identity.at(merged_at.cast_unsigned()).to_proto());
        linked.decided_us = bulk::get(row, 14)?;
    }
    let parked_at: Option<i64> = bulk::get(row, 15)?;
    linked.parked_at = parked_at.map(|offset| Stream::Feed.partition(0).at(offset.cast_unsigned()).to_proto());
    Ok(Record { linked, said })
}

fn read_id(row: &SqliteRow, column: usize) -> Result<Option<SourceRecordId>, StoreError> {
    let Some(organisation) = bulk::get(row, column)? else { return Ok(None) };
    let (system, value) = (bulk::get(row, column + 1)?, bulk::get(row, column + 2)?);
    Ok(Some(SourceRecordId { organisation, system, value }))
}

fn sort_key(record: &LinkedRecord) -> Option<(&str, &str, &str)> {
    record.record.as_ref().map(|id| (id.organisation.as_str(), id.system.as_str(), id.value.as_str()))
}
