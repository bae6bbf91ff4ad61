//! What outranks scores, as it was told: stewards' decisions, unlinkings by senders, and what a number is worth. Few rows,
//! kept whole: for those who explain, and for a linker that starts.

use prost::Message;
use weft_model::{
    Payload, PersonId, Pseudonym,
    identity::{self, Change},
    proto::event::{Evidence, Header, LinkMethod, RecordLinked},
};

use crate::{
    batch::{Effect, Linked, code},
    bulk::{self, Multi},
    error::StoreError,
    sql::{Column, Session},
};

/// What an event does to many records at once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ruled {
    pub(crate) links: Vec<Linked>,
    /// Records that follow nobody any more.
    pub(crate) unfollowed: Vec<Pseudonym>,
    /// Records whose question is answered.
    pub(crate) settled: Vec<Pseudonym>,
    /// What is kept of it: an event kind, and the encoded payload. Empty: nothing.
    pub(crate) kind: i32,
    pub(crate) body: Vec<u8>,
}

/// Rows that folding makes.
#[derive(Debug, Default)]
pub(crate) struct Rulings<'a>(Vec<(i64, i64, &'a Ruled)>);

impl<'a> Rulings<'a> {
    /// Takes in one event, known from `at` on.
    pub(crate) fn fold(&mut self, ruled: &'a Ruled, decided_us: i64, at: i64) {
        if !ruled.body.is_empty() {
            self.0.push((at, decided_us, ruled));
        }
    }

    pub(crate) async fn store(&self, conn: &mut Session<'_>) -> Result<(), StoreError> {
        const INSERT: Multi = Multi {
            sql: "INSERT INTO ruling (known_from, kind, decided_us, body) {rows}",
            columns: &[Column::Int, Column::Int, Column::Int, Column::Bytes],
        };
        bulk::write(conn, &INSERT, &self.0, |values, (known_from, decided_us, ruled)| {
            values.put(*known_from).put(ruled.kind).put(*decided_us).put(ruled.body.as_slice());
        })
        .await?;
        Ok(())
    }
}

/// What an event comes to that outranks scores, or that merges persons.
pub(crate) fn rule(header: &Header, payload: &Payload) -> Effect {
    let Ok(changes) = identity::changes(header.pseudonym(), payload) else {
        return Effect::Park { record: header.pseudonym(), code: code::RECORD_MISSING };
    };
    let mut ruled = Ruled::default();
    if !matches!(payload, Payload::PersonsMerged(_)) {
        (ruled.kind, ruled.body) = (payload.kind().into(), payload.encode());
    }
    if let Payload::StewardDecided(decided) = payload {
        ruled.settled.extend(decided.settled.iter().filter_map(|record| Pseudonym::from_bytes(record).ok()));
    }
    for change in changes {
        match change {
            Change::Place { record, person, by_steward } => {
                if by_steward {
                    ruled.unfollowed.push(record);
                }
                ruled.links.push(placed(record, person, payload));
            }
            Change::Unfollow { record } => ruled.unfollowed.push(record),
            // Only a sender's merge ties records, and that is an effect of its own.
            Change::Follow { .. } => {}
        }
    }
    Effect::Rule(ruled)
}

/// The link that a placement makes, told as a decision about the one record.
fn placed(record: Pseudonym, person: PersonId, payload: &Payload) -> Linked {
    let mut decision = RecordLinked { person: person.to_vec(), ..RecordLinked::default() };
    match payload {
        Payload::PersonsMerged(merged) => {
            decision.set_method(LinkMethod::PersonsMerge);
            decision.score = merged.mean_score;
            let (field, level) = ("persons".to_owned(), "mean".to_owned());
            let weight = i32::try_from(merged.mean_score).unwrap_or(i32::MAX);
            decision.evidence = vec![Evidence { field, level, weight }];
            decision.candidates = merged.pairs;
            decision.model.clone_from(&merged.model);
            decision.previous_person.clone_from(&merged.retired);
        }
        _ => decision.set_method(LinkMethod::Steward),
    }
    Linked {
        record,
        person,
        method: decision.method,
        score: decision.score,
        decision: decision.encode_to_vec(),
        asked: None,
    }
}
