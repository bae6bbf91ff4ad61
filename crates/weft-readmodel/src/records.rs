//! Source records: their numbers in this store, and what each says of its person, version by version.

use std::collections::{BTreeSet, HashMap, HashSet};

use prost::Message;
use serde::Deserialize;
use weft_model::{
    NhsNumber, Pseudonym,
    proto::event::{Demographics, IdentifierKind, SourceRecordId},
};

use crate::{
    batch::Told,
    bulk::{self, Multi},
    current::Current,
    error::StoreError,
    names::search_key,
    of_digest::OfDigest,
    place::{partition_of, place},
    sql::{self, Column, Session},
};

/// Records that a set of batches touches, and the rows that folding makes.
#[derive(Debug, Default)]
pub(crate) struct Records {
    held: HashMap<Pseudonym, Record, OfDigest>,
    /// Where an empty store is filled, a version becomes a row when its end is known, and nothing changes a row.
    filling: bool,
    /// What stands at the end of a fill and is no row yet, the highest number first.
    standing: Vec<(i64, Said)>,
    round: u32,
    /// The last number given out in each partition.
    last_no: HashMap<u32, i64>,
    new: Vec<New>,
    versions: Vec<Version>,
    closed: Vec<Closed>,
    numbers: HashSet<(i64, i64)>,
    names: HashSet<(String, String, i64)>,
}

#[derive(Debug)]
struct Record {
    no: i64,
    said: Option<Said>,
}

/// The current version of what a record says.
#[derive(Debug)]
struct Said {
    recorded_us: i64,
    demographics: Demographics,
    current: Current,
}

impl Said {
    /// Its row.
    fn version(&self, record_no: i64, known_to: Option<i64>) -> Version {
        let demographics = self.demographics.encode_to_vec();
        Version {
            record_no,
            known_from: self.current.known_from,
            known_to,
            recorded_us: self.recorded_us,
            demographics,
        }
    }
}

/// A row of `record`.
#[derive(Debug)]
struct New {
    no: i64,
    pseudonym: Pseudonym,
    id: SourceRecordId,
    feed: String,
    known_from: i64,
}

/// Pseudonym and number; of the current version known from, recorded, and the demographics.
#[derive(Debug, Deserialize)]
struct HeldRow<'a>(&'a str, i64, Option<i64>, Option<i64>, Option<&'a str>);

impl HeldRow<'_> {
    fn read(&self) -> Result<(Pseudonym, Record), StoreError> {
        let Self(pseudonym, no, known_from, recorded_us, demographics) = self;
        let mut said = None;
        if let (Some(known_from), Some(recorded_us), Some(demographics)) = (*known_from, *recorded_us, demographics) {
            let bytes = unhex(demographics);
            let unreadable = StoreError::Unreadable { table: "record_version", column: "demographics" };
            let demographics = decode_demographics(&bytes.ok_or(unreadable)?)?;
            said = Some(Said { recorded_us, demographics, current: Current::stored(known_from) });
        }
        let pseudonym =
            pseudonym.parse().map_err(|_| StoreError::Unreadable { table: "record", column: "pseudonym" })?;
        Ok((pseudonym, Record { no: *no, said }))
    }
}

/// The bytes that a database wrote as digits.
fn unhex(digits: &str) -> Option<Vec<u8>> {
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    rest.is_empty().then_some(())?;
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

#[derive(Debug)]
struct Version {
    record_no: i64,
    known_from: i64,
    known_to: Option<i64>,
    recorded_us: i64,
    demographics: Vec<u8>,
}

#[derive(Debug)]
struct Closed {
    record_no: i64,
    known_from: i64,
    known_to: i64,
}

impl Records {
    /// The number of a record that has a row: only of such can anything be stored.
    pub(crate) fn number(&self, record: Pseudonym) -> Option<i64> {
        self.held.get(&record).map(|r| r.no)
    }

    /// Takes in what a message tells of its record and of the person, known from `at` on; the record's number.
    pub(crate) fn fold(&mut self, told: &Told, feed: &str, at: i64) -> i64 {
        let record = self.held.entry(told.record).or_insert_with(|| {
            let partition = partition_of(at);
            let no = self.last_no.entry(partition).or_insert_with(|| place(partition, 0));
            *no += 1;
            let (no, id, feed) = (*no, told.id.clone(), feed.to_owned());
            self.new.push(New { no, pseudonym: told.record, id, feed, known_from: at });
            Record { no, said: None }
        });
        let no = record.no;
        let Some(news) = &told.demographics else { return no };
        if record.said.as_ref().is_some_and(|said| told.said_us < said.recorded_us) {
            // Late: it stays on record, and nothing that is known changes.
            let (demographics, recorded_us) = (news.encode_to_vec(), told.said_us);
            let late = Version { record_no: no, known_from: at, known_to: Some(at), recorded_us, demographics };
            self.versions.push(late);
            return no;
        }
        let mut demographics = record.said.as_ref().map(|said| said.demographics.clone()).unwrap_or_default();
        demographics.update(news);
        if let Some(said) = &record.said {
            if said.demographics == demographics {
                return no;
            }
            match said.current.index_in(self.round).and_then(|index| self.versions.get_mut(index)) {
                Some(version) => version.known_to = Some(at),
                None if self.filling => self.versions.push(said.version(no, Some(at))),
                None => {
                    let known_from = said.current.known_from;
                    self.closed.push(Closed { record_no: no, known_from, known_to: at });
                }
            }
        }
        // Under what it said before it is found already.
        let before = record.said.as_ref().map(|said| &said.demographics);
        if before.is_none_or(|before| before.identifiers != demographics.identifiers) {
            self.numbers.extend(nhs_numbers(&demographics).map(|number| (number, no)));
        }
        if before.is_none_or(|before| before.names != demographics.names || before.birth != demographics.birth) {
            self.names.extend(name_keys(&demographics).map(|(family, birth)| (family, birth, no)));
        }
        let mut said = Said { recorded_us: told.said_us, demographics, current: Current::stored(at) };
        if !self.filling {
            said.current = Current::new(at, self.round, self.versions.len());
            self.versions.push(said.version(no, None));
        }
        record.said = Some(said);
        no
    }

    /// For a store that is empty.
    pub(crate) fn filling() -> Self {
        Self { filling: true, ..Self::default() }
    }

    /// Makes rows of what stands at the end of a fill, of no more than `most` records; false where there is none left.
    pub(crate) fn end(&mut self, most: usize) -> bool {
        if !self.held.is_empty() {
            let held = std::mem::take(&mut self.held).into_values();
            self.standing = held.filter_map(|record| Some((record.no, record.said?))).collect();
            self.standing.sort_unstable_by_key(|(no, _)| std::cmp::Reverse(*no));
        }
        let some = self.standing.split_off(self.standing.len().saturating_sub(most));
        self.versions.extend(some.iter().map(|(no, said)| said.version(*no, None)));
        !some.is_empty()
    }

    /// What is held, for a next round whose loads it spares.
    pub(crate) fn next_round(self) -> Self {
        let Self { held, filling, standing, last_no, round, .. } = self;
        Self { held, filling, standing, last_no, round: round + 1, ..Self::default() }
    }

    /// Loads `records`, and what is needed to number those that are new in `partitions`.
    pub(crate) async fn load(
        &mut self,
        conn: &mut Session<'_>,
        records: &[Pseudonym],
        partitions: &BTreeSet<u32>,
    ) -> Result<(), StoreError> {
        // One row for all: each costs more on its way than its values do.
        const HELD: Multi = Multi {
            sql: "SELECT {list(}{hex(}r.pseudonym{)hex}, r.record_no, v.known_from, v.recorded_us, \
                  {hex(}v.demographics{)hex}{)list} FROM ({rows}) AS k {lookup} record AS r ON r.pseudonym = k.column1 \
                  LEFT JOIN record_version AS v ON v.record_no = r.record_no AND v.known_to IS NULL",
            columns: &[Column::Bytes],
        };
        let rows = bulk::read(conn, &HELD, records, |values, record| {
            values.put(record.0.as_slice());
        });
        for row in rows.await? {
            let Some(list) = sql::get::<Option<&str>>(&row, 0)? else { continue };
            let held: Vec<HeldRow<'_>> = serde_json::from_str(list)
                .map_err(|_| StoreError::Unreadable { table: "record", column: "record_no" })?;
            for row in held {
                let (pseudonym, record) = row.read()?;
                self.held.insert(pseudonym, record);
            }
        }
        if self.held.len() < records.len() {
            const LAST: &str =
                "SELECT coalesce(max(record_no), $1) FROM record WHERE record_no >= $1 AND record_no < $2";
            for partition in partitions {
                let (first, end) = (place(*partition, 0), place(*partition + 1, 0));
                let last = conn.value(LAST, vec![first.into(), end.into()]).await?;
                self.last_no.insert(*partition, last);
            }
        }
        Ok(())
    }

    pub(crate) async fn store(&mut self, conn: &mut Session<'_>) -> Result<(), StoreError> {
        const RECORD: Multi = Multi {
            sql: "INSERT INTO record (record_no, pseudonym, organisation, system, value, feed, known_from) {rows}",
            columns: &[Column::Int, Column::Bytes, Column::Text, Column::Text, Column::Text, Column::Text, Column::Int],
        };
        const NUMBER: Multi = Multi {
            sql: "INSERT INTO record_nhs (nhs_number, record_no) {rows} ON CONFLICT DO NOTHING",
            columns: &[Column::Int, Column::Int],
        };
        const NAME: Multi = Multi {
            sql: "INSERT INTO record_name (family_key, birth_date, record_no) {rows} ON CONFLICT DO NOTHING",
            columns: &[Column::Text, Column::Text, Column::Int],
        };
        bulk::write(conn, &RECORD, &self.new, |values, row| {
            values.put(row.no).put(row.pseudonym.0.as_slice()).put(row.id.organisation.as_str());
            values.put(row.id.system.as_str()).put(row.id.value.as_str()).put(row.feed.as_str()).put(row.known_from);
        })
        .await?;
        self.store_versions(conn).await?;
        let mut numbers: Vec<_> = self.numbers.drain().collect();
        numbers.sort_unstable();
        bulk::write(conn, &NUMBER, &numbers, |values, (number, record_no)| {
            values.put(*number).put(*record_no);
        })
        .await?;
        let mut names: Vec<_> = self.names.drain().collect();
        names.sort_unstable();
        bulk::write(conn, &NAME, &names, |values, (family, birth, record_no)| {
            values.put(family.as_str()).put(birth.as_str()).put(*record_no);
        })
        .await?;
        Ok(())
    }

    async fn store_versions(&mut self, conn: &mut Session<'_>) -> Result<(), StoreError> {
        const CLOSE: Multi = Multi {
            sql: "UPDATE record_version SET known_to = k.column3 FROM ({rows}) AS k \
                  WHERE record_no = k.column1 AND known_from = k.column2",
            columns: &[Column::Int, Column::Int, Column::Int],
        };
        const INSERT: Multi = Multi {
            sql: "INSERT INTO record_version (record_no, known_from, known_to, recorded_us, demographics) {rows}",
            columns: &[Column::Int, Column::Int, Column::Int, Column::Int, Column::Bytes],
        };
        bulk::write(conn, &CLOSE, &self.closed, |values, row| {
            values.put(row.record_no).put(row.known_from).put(row.known_to);
        })
        .await?;
        self.versions.sort_unstable_by_key(|v| (v.record_no, v.known_from));
        bulk::write(conn, &INSERT, &self.versions, |values, row| {
            values.put(row.record_no).put(row.known_from).put(row.known_to);
            values.put(row.recorded_us).put(row.demographics.as_slice());
        })
        .await?;
        Ok(())
    }
}

/// The column `record_version.demographics`.
pub(crate) fn decode_demographics(bytes: &[u8]) -> Result<Demographics, StoreError> {
    Demographics::decode(bytes).map_err(|_| StoreError::Unreadable { table: "record_version", column: "demographics" })
}

/// A column that holds a pseudonym.
pub(crate) fn read_pseudonym(bytes: &[u8], table: &'static str) -> Result<Pseudonym, StoreError> {
    Pseudonym::from_bytes(bytes).map_err(|_| StoreError::Unreadable { table, column: "pseudonym" })
}

/// The valid NHS numbers among the identifiers, as the column `record_nhs.nhs_number` has them.
pub(crate) fn nhs_numbers(demographics: &Demographics) -> impl Iterator<Item = i64> {
    let numbers = demographics.identifiers.iter().filter(|i| i.kind() == IdentifierKind::NhsNumber);
    numbers.filter_map(|i| NhsNumber::parse(&i.value).ok()).filter_map(nhs_number_key)
}

/// A number as the column `record_nhs.nhs_number` has it.
pub(crate) fn nhs_number_key(number: NhsNumber) -> Option<i64> {
    number.to_string().parse().ok()
}

/// Every (family key, birth date) under which the person can be searched.
pub(crate) fn name_keys(demographics: &Demographics) -> impl Iterator<Item = (String, String)> {
    let birth = birth_date(demographics);
    let families = demographics.names.iter().map(|name| search_key(&name.family)).filter(|key| !key.is_empty());
    families.filter_map(move |family| Some((family, birth.clone()?)))
}

/// The date of birth as `YYYY-MM-DD`, where it is known to the day.
pub(crate) fn birth_date(demographics: &Demographics) -> Option<String> {
    match demographics.birth.as_ref()?.date_parts() {
        (Some(year), Some(month), Some(day)) => Some(format!("{year:04}-{month:02}-{day:02}")),
        _ => None,
    }
}
