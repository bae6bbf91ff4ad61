//! Source records: their numbers in this file, and what each says of its person, version by version.

use std::collections::{HashMap, HashSet};

use prost::Message;
use serde::Deserialize;
use sqlx::SqliteConnection;
use weft_model::{
    NhsNumber, Pseudonym,
    proto::event::{Demographics, IdentifierKind, SourceRecordId},
};

use crate::{
    batch::Told,
    bulk::{self, Multi},
    error::StoreError,
    names::search_key,
};

/// Records that a set of batches touches, and the rows that folding makes.
#[derive(Debug, Default)]
pub(crate) struct Records {
    held: HashMap<Pseudonym, Record>,
    next_no: i64,
    versions: Vec<Version>,
    closed: Vec<Closed>,
    numbers: HashSet<(i64, i64)>,
    names: HashSet<(String, String, i64)>,
}

#[derive(Debug)]
struct Record {
    no: i64,
    /// There is a row for it already.
    stored: bool,
    /// What the row tells of it once a message has.
    told: Option<(SourceRecordId, String, u64)>,
    told_before: bool,
    current: Option<Current>,
}

#[derive(Debug)]
struct Current {
    recorded_us: i64,
    demographics: Demographics,
    place: Place,
}

/// Where the current version is.
#[derive(Debug, Clone, Copy)]
enum Place {
    Stored { known_from: u64 },
    New { index: usize },
}

/// Pseudonym, number, told of by a message; of the current version known from, recorded, and the demographics.
#[derive(Debug, Deserialize)]
struct HeldRow<'a>(&'a str, i64, bool, Option<u64>, Option<i64>, Option<&'a str>);

impl HeldRow<'_> {
    fn read(&self) -> Result<(Pseudonym, Record), StoreError> {
        let Self(pseudonym, no, told_before, known_from, recorded_us, demographics) = self;
        let mut current = None;
        if let (Some(known_from), Some(recorded_us), Some(demographics)) = (*known_from, *recorded_us, demographics) {
            let bytes = unhex(demographics);
            let unreadable = StoreError::Unreadable { table: "record_version", column: "demographics" };
            let demographics = decode_demographics(&bytes.ok_or(unreadable)?)?;
            current = Some(Current { recorded_us, demographics, place: Place::Stored { known_from } });
        }
        let pseudonym =
            pseudonym.parse().map_err(|_| StoreError::Unreadable { table: "record", column: "pseudonym" })?;
        Ok((pseudonym, Record { no: *no, stored: true, told: None, told_before: *told_before, current }))
    }
}

/// The bytes that SQLite's `hex` wrote.
fn unhex(digits: &str) -> Option<Vec<u8>> {
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    rest.is_empty().then_some(())?;
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

#[derive(Debug)]
struct Version {
    record_no: i64,
    known_from: u64,
    known_to: Option<u64>,
    recorded_us: i64,
    demographics: Vec<u8>,
}

#[derive(Debug)]
struct Closed {
    record_no: i64,
    known_from: u64,
    known_to: u64,
}

impl Records {
    /// The number of a record that was loaded.
    pub(crate) fn number(&self, record: Pseudonym) -> Option<i64> {
        self.held.get(&record).map(|r| r.no)
    }

    /// The number of a record that has a row already: only of such can anything be stored.
    pub(crate) fn stored_number(&self, record: Pseudonym) -> Option<i64> {
        self.held.get(&record).filter(|r| r.stored).map(|r| r.no)
    }

    /// Takes in what a message tells of its record and of the person.
    pub(crate) fn fold(&mut self, told: &Told, feed: &str, offset: u64) {
        let Some(record) = self.held.get_mut(&told.record) else { return };
        if !record.told_before && record.told.is_none() {
            record.told = Some((told.id.clone(), feed.to_owned(), offset));
        }
        let Some(said) = &told.demographics else { return };
        if record.current.as_ref().is_some_and(|current| told.said_us < current.recorded_us) {
            // Late: it stays on record, and nothing that is known changes.
            let (record_no, demographics) = (record.no, said.encode_to_vec());
            let known_to = Some(offset);
            let recorded_us = told.said_us;
            self.versions.push(Version { record_no, known_from: offset, known_to, recorded_us, demographics });
            return;
        }
        let mut demographics = record.current.as_ref().map(|c| c.demographics.clone()).unwrap_or_default();
        demographics.update(said);
        match &record.current {
            Some(current) if current.demographics == demographics => return,
            Some(Current { place: Place::Stored { known_from }, .. }) => {
                self.closed.push(Closed { record_no: record.no, known_from: *known_from, known_to: offset });
            }
            Some(Current { place: Place::New { index }, .. }) => {
                if let Some(version) = self.versions.get_mut(*index) {
                    version.known_to = Some(offset);
                }
            }
            None => {}
        }
        let version = Version {
            record_no: record.no,
            known_from: offset,
            known_to: None,
            recorded_us: told.said_us,
            demographics: demographics.encode_to_vec(),
        };
        self.numbers.extend(nhs_numbers(&demographics).map(|number| (number, record.no)));
        self.names.extend(name_keys(&demographics).map(|(family, birth)| (family, birth, record.no)));
        let place = Place::New { index: self.versions.len() };
        record.current = Some(Current { recorded_us: told.said_us, demographics, place });
        self.versions.push(version);
    }

    /// Loads `records`, and numbers those that are new in the order given.
    pub(crate) async fn load(&mut self, conn: &mut SqliteConnection, records: &[Pseudonym]) -> Result<(), StoreError> {
        // One row for all: each costs more on its way than its values do.
        const HELD: Multi = Multi {
            before: "SELECT json_group_array(json_array(hex(r.pseudonym), r.record_no, \
                     json(iif(r.first_offset IS NULL, 'false', 'true')), v.known_from, v.recorded_us, \
                     hex(v.demographics))) FROM (VALUES ",
            columns: 1,
            after: ") AS k CROSS JOIN record AS r ON r.pseudonym = k.column1 \
                    LEFT JOIN record_version AS v ON v.record_no = r.record_no AND v.known_to IS NULL",
        };
        let rows = bulk::read(conn, &HELD, records, |values, record| {
            values.put(record.0.as_slice());
        });
        for row in rows.await? {
            let held: Vec<HeldRow<'_>> = serde_json::from_str(bulk::get(&row, 0)?)
                .map_err(|_| StoreError::Unreadable { table: "record", column: "record_no" })?;
            for row in held {
                let (pseudonym, record) = row.read()?;
                self.held.insert(pseudonym, record);
            }
        }
        if self.held.len() < records.len() {
            self.next_no =
                sqlx::query_scalar("SELECT coalesce(max(record_no), 0) + 1 FROM record").fetch_one(conn).await?;
            for record in records {
                self.number_new(*record);
            }
        }
        Ok(())
    }

    fn number_new(&mut self, record: Pseudonym) {
        self.held.entry(record).or_insert_with(|| {
            let no = self.next_no;
            self.next_no += 1;
            Record { no, stored: false, told: None, told_before: false, current: None }
        });
    }

    pub(crate) async fn store(&mut self, conn: &mut SqliteConnection) -> Result<(), StoreError> {
        self.store_records(conn).await?;
        self.store_versions(conn).await?;
        const NUMBER: Multi =
            Multi { before: "INSERT OR IGNORE INTO record_nhs (nhs_number, record_no) VALUES ", columns: 2, after: "" };
        const NAME: Multi = Multi {
            before: "INSERT OR IGNORE INTO record_name (family_key, birth_date, record_no) VALUES ",
            columns: 3,
            after: "",
        };
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
        .await
    }

    async fn store_records(&self, conn: &mut SqliteConnection) -> Result<(), StoreError> {
        const INSERT: Multi = Multi {
            before: "INSERT INTO record (record_no, pseudonym, organisation, system, value, feed, first_offset) \
                     VALUES ",
            columns: 7,
            after: "",
        };
        const TELL: Multi = Multi {
            before: "UPDATE record SET organisation = k.column2, system = k.column3, value = k.column4, \
                     feed = k.column5, first_offset = k.column6 FROM (VALUES ",
            columns: 6,
            after: ") AS k WHERE record_no = k.column1",
        };
        let mut all: Vec<(&Pseudonym, &Record)> = self.held.iter().collect();
        all.sort_unstable_by_key(|(_, record)| record.no);
        let (stored, new): (Vec<_>, Vec<_>) = all.into_iter().partition(|(_, record)| record.stored);
        bulk::write(conn, &INSERT, &new, |values, (pseudonym, record)| {
            values.put(record.no).put(pseudonym.0.as_slice());
            put_told(values, record);
        })
        .await?;
        let told: Vec<_> = stored.iter().filter(|(_, record)| record.told.is_some()).collect();
        bulk::write(conn, &TELL, &told, |values, (_, record)| {
            values.put(record.no);
            put_told(values, record);
        })
        .await
    }

    async fn store_versions(&mut self, conn: &mut SqliteConnection) -> Result<(), StoreError> {
        const CLOSE: Multi = Multi {
            before: "UPDATE record_version SET known_to = k.column3 FROM (VALUES ",
            columns: 3,
            after: ") AS k WHERE record_no = k.column1 AND known_from = k.column2",
        };
        const INSERT: Multi = Multi {
            before: "INSERT INTO record_version (record_no, known_from, known_to, recorded_us, demographics) VALUES ",
            columns: 5,
            after: "",
        };
        bulk::write(conn, &CLOSE, &self.closed, |values, row| {
            values.put(row.record_no).put_u64(row.known_from).put_u64(row.known_to);
        })
        .await?;
        self.versions.sort_unstable_by_key(|v| (v.record_no, v.known_from));
        bulk::write(conn, &INSERT, &self.versions, |values, row| {
            values.put(row.record_no).put_u64(row.known_from).put(row.known_to.map(bulk::sql));
            values.put(row.recorded_us).put(row.demographics.as_slice());
        })
        .await
    }
}

fn put_told(values: &mut bulk::Values, record: &Record) {
    let told = record.told.as_ref();
    let id = told.map(|(id, ..)| id);
    values.put(id.map(|id| id.organisation.as_str())).put(id.map(|id| id.system.as_str()));
    values.put(id.map(|id| id.value.as_str())).put(told.map(|(_, feed, _)| feed.as_str()));
    values.put(told.map(|(.., offset)| bulk::sql(*offset)));
}

/// The column `record_version.demographics`.
pub(crate) fn decode_demographics(bytes: &[u8]) -> Result<Demographics, StoreError> {
    Demographics::decode(bytes).map_err(|_| StoreError::Unreadable { table: "record_version", column: "demographics" })
}

/// The column `record.pseudonym`.
pub(crate) fn read_pseudonym(bytes: &[u8]) -> Result<Pseudonym, StoreError> {
    Pseudonym::from_bytes(bytes).map_err(|_| StoreError::Unreadable { table: "record", column: "pseudonym" })
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
