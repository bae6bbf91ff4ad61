//! Visits: what the Encounter facts of a record, each one movement, say together.

use std::collections::{HashMap, hash_map::Entry};

use jiff::{Timestamp, civil, tz::TimeZone};
use prost::Message;
use serde::Deserialize;
use weft_model::proto::event::Fact;

use crate::{
    batch::{ToldFact, entry_key, indexable, storable},
    bulk::{self, Multi},
    current::Current,
    error::StoreError,
    sql::{self, Column, Session},
};

/// One Encounter fact, as the fold of a visit keeps it.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Movement {
    /// Entry key of its fact.
    #[prost(sfixed64, tag = "1")]
    pub(crate) key: i64,
    #[prost(int64, tag = "2")]
    pub(crate) occurred_us: i64,
    #[prost(int64, tag = "3")]
    pub(crate) recorded_us: i64,
    #[prost(bool, tag = "4")]
    pub(crate) withdrawn: bool,
    #[prost(string, tag = "5")]
    pub(crate) status: String,
    #[prost(string, tag = "6")]
    pub(crate) class: String,
    #[prost(string, tag = "7")]
    pub(crate) location: String,
    #[prost(int64, optional, tag = "8")]
    pub(crate) start_us: Option<i64>,
    #[prost(int64, optional, tag = "9")]
    pub(crate) end_us: Option<i64>,
    /// Number of `weft.event.v1.LineKind`; 0 where the fact has no line.
    #[prost(int32, tag = "10")]
    pub(crate) kind: i32,
}

/// The column `encounter.movements`: in the order in which they occurred.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Movements {
    #[prost(message, repeated, tag = "1")]
    pub(crate) all: Vec<Movement>,
}

/// What the movements come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Visit {
    pub(crate) status: String,
    pub(crate) class: String,
    pub(crate) location: String,
    pub(crate) start_us: Option<i64>,
    pub(crate) end_us: Option<i64>,
}

/// What a fact says of a visit; `None` where it is no Encounter.
pub(crate) fn movement(told: &ToldFact, fact: &Fact) -> Option<(String, Movement)> {
    if fact.resource_type != "Encounter" {
        return None;
    }
    let line = fact.line.as_ref();
    let visit = line.map(|l| l.encounter.as_str()).filter(|v| !v.is_empty()).unwrap_or(&fact.id);
    // JSON that is no Encounter says nothing of the visit but that something happened.
    let resource: Resource = serde_json::from_slice(&fact.resource).unwrap_or_default();
    let location = resource.location.iter().rfind(|l| l.status == "active").or(resource.location.last());
    let movement = Movement {
        key: entry_key(told.id),
        occurred_us: told.occurred_us,
        recorded_us: told.recorded_us,
        withdrawn: told.withdrawn,
        location: location.map(|l| storable(l.location.name()).into_owned()).unwrap_or_default(),
        status: storable(&resource.status).into_owned(),
        class: storable(&resource.class.code).into_owned(),
        start_us: resource.period.start.as_deref().and_then(instant_us),
        end_us: resource.period.end.as_deref().and_then(instant_us),
        kind: line.map_or(0, |l| l.kind),
    };
    Some((indexable(visit).into_owned(), movement))
}

impl Movements {
    /// False where a movement is known, or older than what is known of the same fact.
    fn is_news(&self, new: &Movement) -> bool {
        let held = self.all.iter().find(|m| m.key == new.key);
        held.is_none_or(|held| new.recorded_us >= held.recorded_us && new != held)
    }

    /// Takes in a movement; false where it is no news.
    pub(crate) fn fold(&mut self, new: &Movement) -> bool {
        if !self.is_news(new) {
            return false;
        }
        match self.all.iter_mut().find(|m| m.key == new.key) {
            Some(held) => held.clone_from(new),
            None => self.all.push(new.clone()),
        }
        self.all.sort_by_key(|m| (m.occurred_us, m.recorded_us, m.key));
        true
    }

    /// The visit as it stands: later movements overrule earlier ones in what they say. Withdrawn ones say nothing.
    pub(crate) fn visit(&self) -> Visit {
        let mut visit = Visit::default();
        for movement in self.all.iter().filter(|m| !m.withdrawn) {
            for (held, said) in [
                (&mut visit.status, &movement.status),
                (&mut visit.class, &movement.class),
                (&mut visit.location, &movement.location),
            ] {
                if !said.is_empty() {
                    held.clone_from(said);
                }
            }
            visit.start_us = movement.start_us.or(visit.start_us);
            visit.end_us = movement.end_us.or(visit.end_us);
        }
        if visit.status.is_empty() {
            let all_withdrawn = self.all.iter().all(|m| m.withdrawn);
            visit.status = if all_withdrawn { "entered-in-error" } else { "unknown" }.to_owned();
        }
        visit
    }
}

/// Visits that a set of batches touches, and the versions that folding makes.
#[derive(Debug, Default)]
pub(crate) struct Encounters {
    held: HashMap<(i64, String), Held>,
    /// Where an empty store is filled, a version becomes a row when its end is known, and nothing changes a row.
    filling: bool,
    /// What stands at the end of a fill and is no row yet, the last in the order of the table first.
    standing: Vec<((i64, String), Held)>,
    round: u32,
    new: Vec<Version>,
    closed: Vec<Closed>,
}

#[derive(Debug)]
struct Held {
    movements: Movements,
    current: Current,
}

impl Held {
    /// Its row.
    fn version(&self, record_no: i64, visit: &str, known_to: Option<i64>) -> Version {
        let (visit, movements) = (visit.to_owned(), self.movements.clone());
        Version { record_no, visit, known_from: self.current.known_from, known_to, movements }
    }
}

#[derive(Debug)]
struct Version {
    record_no: i64,
    visit: String,
    known_from: i64,
    known_to: Option<i64>,
    movements: Movements,
}

#[derive(Debug)]
struct Closed {
    record_no: i64,
    visit: String,
    known_from: i64,
    known_to: i64,
}

impl Encounters {
    /// Takes in one movement, known from `at` on.
    pub(crate) fn fold(&mut self, record_no: i64, visit: &str, movement: &Movement, at: i64) {
        let held = match self.held.entry((record_no, visit.to_owned())) {
            Entry::Occupied(held) => held.into_mut(),
            Entry::Vacant(new) => {
                let mut movements = Movements::default();
                movements.fold(movement);
                let held = new.insert(Held { movements, current: Current::stored(at) });
                if !self.filling {
                    held.current = Current::new(at, self.round, self.new.len());
                    self.new.push(held.version(record_no, visit, None));
                }
                return;
            }
        };
        if !held.movements.is_news(movement) {
            return;
        }
        let same_message = held.current.known_from == at;
        if self.filling && !same_message {
            self.new.push(held.version(record_no, visit, Some(at)));
        }
        held.movements.fold(movement);
        if self.filling {
            held.current = Current::stored(at);
            return;
        }
        match held.current.index_in(self.round).and_then(|index| self.new.get_mut(index)) {
            // It speaks of the visit twice.
            Some(version) if same_message => {
                version.movements.clone_from(&held.movements);
                return;
            }
            Some(version) => version.known_to = Some(at),
            None => {
                let known_from = held.current.known_from;
                self.closed.push(Closed { record_no, visit: visit.to_owned(), known_from, known_to: at });
            }
        }
        held.current = Current::new(at, self.round, self.new.len());
        self.new.push(held.version(record_no, visit, None));
    }

    /// For a store that is empty.
    pub(crate) fn filling() -> Self {
        Self { filling: true, ..Self::default() }
    }

    /// Makes rows of what stands at the end of a fill, of no more than `most` visits; false where there is none left.
    pub(crate) fn end(&mut self, most: usize) -> bool {
        if !self.held.is_empty() {
            self.standing = std::mem::take(&mut self.held).into_iter().collect();
            self.standing.sort_unstable_by(|(a, _), (b, _)| b.cmp(a));
        }
        let some = self.standing.split_off(self.standing.len().saturating_sub(most));
        self.new.extend(some.iter().map(|((record_no, visit), held)| held.version(*record_no, visit, None)));
        !some.is_empty()
    }

    /// What is held, for a next round whose loads it spares.
    pub(crate) fn next_round(self) -> Self {
        let Self { held, filling, standing, round, .. } = self;
        Self { held, filling, standing, round: round + 1, ..Self::default() }
    }

    pub(crate) async fn load(&mut self, conn: &mut Session<'_>, keys: &[(i64, &str)]) -> Result<(), StoreError> {
        const CURRENT: Multi = Multi {
            sql: "SELECT e.record_no, e.visit, e.known_from, e.movements FROM ({rows}) AS k \
                  {lookup} encounter AS e ON e.record_no = k.column1 AND e.visit = k.column2 AND e.known_to IS NULL",
            columns: &[Column::Int, Column::Text],
        };
        let rows = bulk::read(conn, &CURRENT, keys, |values, (record_no, visit)| {
            values.put(*record_no).put(*visit);
        });
        for row in rows.await? {
            let movements = Movements::decode(sql::get::<&[u8]>(&row, 3)?)
                .map_err(|_| StoreError::Unreadable { table: "encounter", column: "movements" })?;
            let current = Current::stored(sql::get(&row, 2)?);
            self.held.insert((sql::get(&row, 0)?, sql::get(&row, 1)?), Held { movements, current });
        }
        Ok(())
    }

    pub(crate) async fn store(&mut self, conn: &mut Session<'_>) -> Result<(), StoreError> {
        const CLOSE: Multi = Multi {
            sql: "UPDATE encounter SET known_to = k.column4 FROM ({rows}) AS k \
                  WHERE record_no = k.column1 AND visit = k.column2 AND known_from = k.column3",
            columns: &[Column::Int, Column::Text, Column::Int, Column::Int],
        };
        const INSERT: Multi = Multi {
            sql: "INSERT INTO encounter (record_no, visit, known_from, known_to, status, class, start_us, end_us, \
                  location, movements) {rows}",
            columns: &[
                Column::Int,
                Column::Text,
                Column::Int,
                Column::Int,
                Column::Text,
                Column::Text,
                Column::Int,
                Column::Int,
                Column::Text,
                Column::Bytes,
            ],
        };
        bulk::write(conn, &CLOSE, &self.closed, |values, row| {
            values.put(row.record_no).put(row.visit.as_str()).put(row.known_from).put(row.known_to);
        })
        .await?;
        self.new.sort_by(|a, b| (a.record_no, &a.visit, a.known_from).cmp(&(b.record_no, &b.visit, b.known_from)));
        bulk::write(conn, &INSERT, &self.new, |values, row| {
            let visit = row.movements.visit();
            values.put(row.record_no).put(row.visit.as_str()).put(row.known_from).put(row.known_to);
            values.put(visit.status).put(visit.class).put(visit.start_us).put(visit.end_us).put(visit.location);
            values.put(row.movements.encode_to_vec());
        })
        .await?;
        Ok(())
    }
}

/// The parts of a FHIR R4 Encounter that a visit is made of; what is missing or of another shape says nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Resource {
    status: String,
    class: Coding,
    period: Period,
    location: Vec<AtLocation>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Coding {
    code: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Period {
    start: Option<String>,
    end: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct AtLocation {
    status: String,
    location: Reference,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Reference {
    display: String,
    reference: String,
}

impl Reference {
    fn name(&self) -> &str {
        if self.display.is_empty() { &self.reference } else { &self.display }
    }
}

/// Microseconds of a FHIR dateTime; a date is its first moment in UTC, a year or month alone is none.
fn instant_us(text: &str) -> Option<i64> {
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Some(instant.as_microsecond());
    }
    let date: civil::Date = text.parse().ok()?;
    Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp().as_microsecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(key: i64, occurred_us: i64, status: &str, location: &str) -> Movement {
        let (status, location) = (status.to_owned(), location.to_owned());
        Movement { key, occurred_us, recorded_us: occurred_us, status, location, ..Movement::default() }
    }

    fn check(movements: &[Movement], status: &str, location: &str) {
        let mut all = Movements::default();
        for movement in movements {
            all.fold(movement);
        }
        let visit = all.visit();
        assert_eq!((visit.status.as_str(), visit.location.as_str()), (status, location));
    }

    #[test]
    fn the_last_movement_that_stands_says_where_the_patient_is() {
        let (admitted, moved) = (at(1, 10, "in-progress", "6B"), at(2, 20, "in-progress", "7A"));
        let discharged = at(3, 30, "finished", "");
        let cancelled = Movement { withdrawn: true, recorded_us: 40, ..discharged.clone() };
        check(&[], "entered-in-error", "");
        check(&[moved.clone(), admitted.clone()], "in-progress", "7A");
        check(&[admitted.clone(), moved.clone(), discharged.clone()], "finished", "7A");
        check(&[admitted.clone(), moved.clone(), discharged.clone(), cancelled.clone()], "in-progress", "7A");
        // Told late: the cancellation is the newer word.
        check(&[admitted.clone(), cancelled, discharged], "in-progress", "6B");
        check(&[Movement { withdrawn: true, ..admitted }], "entered-in-error", "");
    }

    #[test]
    fn fhir_times() {
        assert_eq!(instant_us("2024-05-01T10:30:00+01:00"), Some(1_714_555_800_000_000));
        assert_eq!(instant_us("2024-05-01"), Some(1_714_521_600_000_000));
        assert_eq!(instant_us("2024"), None);
        assert_eq!(instant_us("yesterday"), None);
    }
}
