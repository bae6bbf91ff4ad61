//! Timeline entries: the versions of every fact that makes a line.
//!
//! The newest word of the source stands. A fact told again word for word adds nothing; one that the source recorded
//! before what is known of it is kept, and never was current.

use std::collections::HashMap;

use prost::Message;

use crate::{
    batch::{ToldFact, ToldLine, entry_key},
    bulk::{self, Multi},
    error::StoreError,
    of_digest::OfDigest,
    sql::{self, Column, Session},
};

/// Facts that a set of batches touches, and the versions that folding makes.
#[derive(Debug, Default)]
pub(crate) struct Entries<'a> {
    /// By identifier of the entry.
    held: HashMap<u128, Held, OfDigest>,
    round: u32,
    new: Vec<Version<'a>>,
    closed: Vec<Closed>,
    /// The lines of the messages that made a version.
    told: Vec<Lines>,
}

/// A row of `told`.
#[derive(Debug)]
struct Lines {
    known_from: i64,
    bodies: Vec<u8>,
}

/// The current version of a fact.
#[derive(Debug)]
struct Held {
    state: State,
    record_no: i64,
    /// Whether its state is to be written.
    changed: bool,
    /// Round and place of its row of `entry` among the new ones; `None` where it is stored, or makes no line.
    new: Option<(u32, usize)>,
}

/// The column `fact.state`, as the one element of [`States`].
#[derive(Clone, Copy, PartialEq, Eq, Message)]
struct State {
    /// The halves of the entry's identifier.
    #[prost(fixed64, tag = "1")]
    id_high: u64,
    #[prost(fixed64, tag = "2")]
    id_low: u64,
    #[prost(sint64, tag = "3")]
    occurred_us: i64,
    #[prost(int64, tag = "4")]
    known_from: i64,
    #[prost(uint64, tag = "5")]
    index: u64,
    #[prost(sint64, tag = "6")]
    recorded_us: i64,
    #[prost(bool, tag = "7")]
    withdrawn: bool,
    #[prost(bool, tag = "8")]
    has_line: bool,
    /// The halves of the resource's digest.
    #[prost(fixed64, tag = "9")]
    content_high: u64,
    #[prost(fixed64, tag = "10")]
    content_low: u64,
}

/// Columns `fact.state` one after the other.
#[derive(Clone, PartialEq, Eq, Message)]
struct States {
    #[prost(message, repeated, tag = "1")]
    all: Vec<State>,
}

impl State {
    fn new(fact: &ToldFact, known_from: i64) -> Self {
        let (id_high, id_low) = halves(fact.id);
        let (content_high, content_low) = halves(fact.content);
        Self {
            id_high,
            id_low,
            occurred_us: fact.occurred_us,
            known_from,
            index: fact.index,
            recorded_us: fact.recorded_us,
            withdrawn: fact.withdrawn,
            has_line: fact.line.is_some(),
            content_high,
            content_low,
        }
    }

    fn id(&self) -> u128 {
        u128::from(self.id_high) << 64 | u128::from(self.id_low)
    }

    fn tells_the_same(&self, fact: &ToldFact) -> bool {
        (self.content_high, self.content_low) == halves(fact.content) && self.withdrawn == fact.withdrawn
    }
}

fn halves(number: u128) -> (u64, u64) {
    ((number >> 64) as u64, number as u64)
}

#[derive(Debug)]
struct Version<'a> {
    record_no: i64,
    fact: &'a ToldFact,
    line: &'a ToldLine,
    known_from: i64,
    known_to: Option<i64>,
    body_at: usize,
}

#[derive(Debug)]
struct Closed {
    record_no: i64,
    state: State,
    known_to: i64,
}

impl<'a> Entries<'a> {
    /// Takes in one fact of a record, known from `at` on.
    pub(crate) fn fold(&mut self, record_no: i64, fact: &'a ToldFact, at: i64) {
        match self.held.get_mut(&fact.id) {
            // A fact that never made a line is no entry; once it has made one, every word about it counts.
            None if fact.line.is_none() => return,
            None => {}
            Some(held) if held.state.tells_the_same(fact) => {
                if held.state.recorded_us < fact.recorded_us {
                    held.state.recorded_us = fact.recorded_us;
                    held.record_no = record_no;
                    held.changed = true;
                }
                return;
            }
            Some(held) if fact.recorded_us < held.state.recorded_us => {
                self.add(record_no, fact, at, Some(at));
                return;
            }
            Some(held) => match held.new_in(self.round).and_then(|index| self.new.get_mut(index)) {
                Some(version) => version.known_to = Some(at),
                None if held.state.has_line => {
                    self.closed.push(Closed { record_no, state: held.state, known_to: at });
                }
                None => {}
            },
        }
        let new = self.add(record_no, fact, at, None).map(|index| (self.round, index));
        self.held.insert(fact.id, Held { state: State::new(fact, at), record_no, changed: true, new });
    }

    /// What is held, for a next round whose loads it spares.
    pub(crate) fn next_round<'b>(self) -> Entries<'b> {
        Entries { held: self.held, round: self.round + 1, ..Entries::default() }
    }

    fn add(&mut self, record_no: i64, fact: &'a ToldFact, known_from: i64, known_to: Option<i64>) -> Option<usize> {
        let line = fact.line.as_ref()?;
        if self.told.last().is_none_or(|lines| lines.known_from != known_from) {
            self.told.push(Lines { known_from, bodies: Vec::new() });
        }
        let bodies = self.told.last_mut().map(|lines| &mut lines.bodies)?;
        let body_at = bodies.len();
        bodies.extend_from_slice(&line.body);
        self.new.push(Version { record_no, fact, line, known_from, known_to, body_at });
        Some(self.new.len() - 1)
    }

    /// Loads the facts named by record number and entry key.
    pub(crate) async fn load(&mut self, conn: &mut Session<'_>, keys: &[(i64, i64)]) -> Result<(), StoreError> {
        // One row for all: each costs more on its way than its bytes do.
        const CURRENT: Multi = Multi {
            sql: "SELECT {concat(}f.state{)concat} FROM ({rows}) AS k \
                  {lookup} fact AS f ON f.record_no = k.column1 AND f.entry_key = k.column2",
            columns: &[Column::Int, Column::Int],
        };
        let rows = bulk::read(conn, &CURRENT, keys, |values, (record_no, key)| {
            values.put(*record_no).put(*key);
        });
        for row in rows.await? {
            let states = States::decode(sql::get::<Option<&[u8]>>(&row, 0)?.unwrap_or_default())
                .map_err(|_| StoreError::Unreadable { table: "fact", column: "state" })?;
            // Of which record it is is told once it changes.
            let held = |state| Held { state, record_no: 0, changed: false, new: None };
            self.held.extend(states.all.into_iter().map(|state| (state.id(), held(state))));
        }
        Ok(())
    }

    pub(crate) async fn store(&mut self, conn: &mut Session<'_>) -> Result<(), StoreError> {
        const CLOSE: Multi = Multi {
            sql: "UPDATE entry SET known_to = k.column6 FROM ({rows}) AS k \
                  WHERE record_no = k.column1 AND occurred_us = k.column2 AND entry_key = k.column3 \
                  AND known_from = k.column4 AND fact_index = k.column5",
            columns: &[Column::Int; 6],
        };
        const TOLD: Multi =
            Multi { sql: "INSERT INTO told (known_from, bodies) {rows}", columns: &[Column::Int, Column::Bytes] };
        const INSERT: Multi = Multi {
            sql: "INSERT INTO entry (record_no, occurred_us, entry_key, known_from, fact_index, known_to, \
                  kind, withdrawn, body_at, body_length) {rows}",
            columns: &[Column::Int; 10],
        };
        bulk::write(conn, &CLOSE, &self.closed, |values, row| {
            values.put(row.record_no).put(row.state.occurred_us).put(entry_key(row.state.id()));
            values.put(row.state.known_from).put(row.state.index).put(row.known_to);
        })
        .await?;
        bulk::write(conn, &TOLD, &self.told, |values, lines| {
            values.put(lines.known_from).put(lines.bodies.as_slice());
        })
        .await?;
        self.new.sort_unstable_by_key(|v| {
            (v.record_no, std::cmp::Reverse(v.fact.occurred_us), entry_key(v.fact.id), v.known_from, v.fact.index)
        });
        bulk::write(conn, &INSERT, &self.new, |values, row| {
            let fact = row.fact;
            values.put(row.record_no).put(fact.occurred_us).put(entry_key(fact.id));
            values.put(row.known_from).put(fact.index).put(row.known_to);
            values.put(row.line.kind).put(i64::from(fact.withdrawn));
            values.put(row.body_at as u64).put(row.line.body.len() as u64);
        })
        .await?;
        Ok(())
    }

    /// Writes the states that changed.
    pub(crate) async fn store_facts(&mut self, conn: &mut Session<'_>) -> Result<(), StoreError> {
        const PUT: Multi = Multi {
            sql: "INSERT INTO fact (record_no, entry_key, state) {rows} \
                  ON CONFLICT (record_no, entry_key) DO UPDATE SET state = excluded.state",
            columns: &[Column::Int, Column::Int, Column::Bytes],
        };
        let changed = self.held.values_mut().filter_map(|h| std::mem::take(&mut h.changed).then_some(h));
        let mut changed: Vec<_> = changed.map(|h| ((h.record_no, entry_key(h.state.id())), h.state)).collect();
        changed.sort_unstable_by_key(|(key, _)| *key);
        bulk::write(conn, &PUT, &changed, |values, ((record_no, key), state)| {
            values.put(*record_no).put(*key).put(States { all: vec![*state] }.encode_to_vec());
        })
        .await?;
        Ok(())
    }

    /// Number of facts that are held.
    pub(crate) fn held(&self) -> usize {
        self.held.len()
    }

    /// Takes out the state of every fact, in the order of the table `fact`: record number, entry key and state.
    pub(crate) fn into_facts(self) -> impl Iterator<Item = (i64, i64, Vec<u8>)> {
        let mut facts: Vec<_> =
            self.held.into_values().map(|h| (h.record_no, entry_key(h.state.id()), h.state)).collect();
        facts.sort_unstable_by_key(|(record_no, key, _)| (*record_no, *key));
        facts.into_iter().map(|(record_no, key, state)| (record_no, key, States { all: vec![state] }.encode_to_vec()))
    }
}

impl Held {
    fn new_in(&self, round: u32) -> Option<usize> {
        self.new.filter(|(made, _)| *made == round).map(|(_, index)| index)
    }
}
