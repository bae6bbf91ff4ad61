//! One person: the records that are linked, and why.

use std::collections::HashMap;

use prost::Message;
use weft_model::{
    Cut, PersonId, Pseudonym, Stream,
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
    place::{Sizes, position},
    records::{birth_date, decode_demographics, read_pseudonym},
    sql::{self, Column, Row, Session},
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
        let mut records = linked_records(&mut conn.session(), person, &sizes).await?;
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
    said: Option<(i64, i64)>,
}

/// The records of `person`; none where nobody has the identifier.
pub(super) async fn linked_records(
    conn: &mut Session<'_>,
    person: PersonId,
    sizes: &Sizes,
) -> Result<Vec<Record>, StoreError> {
    // column1 record, column2 the feed size that it is seen at, column3 identity size, column4 the record's number.
    const RECORDS: Multi = Multi {
        sql: "
            SELECT k.column1,
                   r.organisation, r.system, r.value,
                   v.demographics, v.recorded_us, v.known_from,
                   l.decision, l.known_from, l.decided_us,
                   m.survivor, m.known_from, m.decided_us,
                   p.known_from
            FROM ({rows}) AS k
            LEFT JOIN record AS r ON r.record_no = k.column4
            LEFT JOIN record_version AS v ON v.record_no = r.record_no
                AND v.known_from < k.column2 AND (v.known_to IS NULL OR v.known_to >= k.column2)
            LEFT JOIN link AS l ON l.pseudonym = k.column1
                AND l.known_from < k.column3 AND (l.known_to IS NULL OR l.known_to >= k.column3)
            LEFT JOIN merge AS m ON m.retired = k.column1
                AND m.known_from < k.column3 AND (m.known_to IS NULL OR m.known_to >= k.column3)
            LEFT JOIN parked AS p ON p.pseudonym = k.column1 AND p.stream = 'feed' AND p.known_from < k.column2",
        columns: &[Column::Bytes, Column::Int, Column::Int, Column::Int],
    };
    let members = members::of(conn, person, sizes).await?;
    let rows = bulk::read(conn, &RECORDS, &members, |values, member| {
        let record_no = member.told.as_ref().map(|told| told.record_no);
        // A record that no message has told of is parked, if it is, in a partition that only its place tells of.
        let seen = record_no.map_or(i64::MAX, |record_no| sizes.of_record(record_no));
        values.put(member.pseudonym.0.as_slice()).put(seen).put(sizes.identity).put(record_no);
    })
    .await?;
    let mut seen = std::collections::HashSet::new();
    let mut records = Vec::new();
    let mut survivors = Vec::new();
    for row in &rows {
        let pseudonym = read_pseudonym(sql::get(row, 0)?, "link")?;
        if seen.insert(pseudonym) {
            let survivor =
                sql::get::<Option<&[u8]>>(row, 10)?.map(|bytes| read_pseudonym(bytes, "merge")).transpose()?;
            records.push(read(row, sizes)?);
            survivors.push(survivor);
        }
    }
    let names = names(conn, survivors.iter().flatten().copied().collect(), sizes).await?;
    for (record, survivor) in records.iter_mut().zip(survivors) {
        record.linked.merged_into = survivor.and_then(|survivor| names.get(&survivor).cloned());
    }
    Ok(records)
}

/// What organisations call `records`, where messages have told of them.
pub(super) async fn names(
    conn: &mut Session<'_>,
    records: Vec<Pseudonym>,
    sizes: &Sizes,
) -> Result<HashMap<Pseudonym, SourceRecordId>, StoreError> {
    const NAMES: Multi = Multi {
        sql: "SELECT r.pseudonym, r.organisation, r.system, r.value, r.record_no, r.known_from
              FROM ({rows}) AS k {lookup} record AS r ON r.pseudonym = k.column1",
        columns: &[Column::Bytes],
    };
    let mut names = HashMap::new();
    let rows = bulk::read(conn, &NAMES, &records, |values, record| {
        values.put(record.0.as_slice());
    });
    for row in &rows.await? {
        if sql::get::<i64>(row, 5)? < sizes.of_record(sql::get(row, 4)?)
            && let Some(id) = read_id(row, 1)?
        {
            names.insert(read_pseudonym(sql::get(row, 0)?, "record")?, id);
        }
    }
    Ok(names)
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

fn read(row: &Row, sizes: &Sizes) -> Result<Record, StoreError> {
    let mut linked = LinkedRecord { record: read_id(row, 1)?, ..Default::default() };
    let mut said = None;
    if let Some(demographics) = sql::get::<Option<&[u8]>>(row, 4)? {
        linked.demographics = Some(decode_demographics(demographics)?);
        said = Some((sql::get(row, 5)?, sql::get(row, 6)?));
    }
    if let Some(decision) = sql::get::<Option<&[u8]>>(row, 7)? {
        let decision =
            RecordLinked::decode(decision).map_err(|_| StoreError::Unreadable { table: "link", column: "decision" })?;
        linked.record = linked.record.or(decision.record);
        linked.method = decision.method;
        linked.score = decision.score;
        linked.evidence = decision.evidence;
        linked.model = decision.model;
        linked.review = decision.review;
        linked.decided_at = Some(position(Stream::Identity, sql::get(row, 8)?).to_proto());
        linked.decided_us = sql::get(row, 9)?;
    } else if let Some(merged_at) = sql::get::<Option<i64>>(row, 11)? {
        // Here by the merge alone.
        linked.method = LinkMethod::SenderMerge.into();
        linked.decided_at = Some(position(Stream::Identity, merged_at).to_proto());
        linked.decided_us = sql::get(row, 12)?;
    }
    let parked_at: Option<i64> = sql::get(row, 13)?;
    let parked_at = parked_at.filter(|at| *at < sizes.of_record(*at));
    linked.parked_at = parked_at.map(|at| position(Stream::Feed, at).to_proto());
    Ok(Record { linked, said })
}

fn read_id(row: &Row, column: usize) -> Result<Option<SourceRecordId>, StoreError> {
    let Some(organisation) = sql::get(row, column)? else { return Ok(None) };
    let (system, value) = (sql::get(row, column + 1)?, sql::get(row, column + 2)?);
    Ok(Some(SourceRecordId { organisation, system, value }))
}

fn sort_key(record: &LinkedRecord) -> Option<(&str, &str, &str)> {
    record.record.as_ref().map(|id| (id.organisation.as_str(), id.system.as_str(), id.value.as_str()))
}
