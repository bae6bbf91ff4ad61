//! The review queue: what waits for a steward. The newest question about a record stands until it is settled.

use std::collections::HashMap;

use prost::Message;
use weft_model::{Pseudonym, proto::event::RecordLinked};

use crate::{
    batch::storable,
    bulk::{self, Multi},
    current::Current,
    error::StoreError,
    records::read_pseudonym,
    sql::{self, Column, Session},
};

/// A question for the review queue.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) risk: i64,
    /// Each code with a space before and after it.
    pub(crate) codes: String,
    /// Encoded `RecordLinked`.
    pub(crate) decision: Vec<u8>,
}

impl Asked {
    /// What a decision asks; `None` where it asks nothing.
    pub(crate) fn of(decision: &RecordLinked) -> Option<Self> {
        let codes = decision.review.iter().fold(String::from(" "), |all, code| all + &storable(code) + " ");
        (!decision.review.is_empty()).then(|| Self { risk: risk(decision), codes, decision: decision.encode_to_vec() })
    }
}

/// Questions that a set of batches touches, and the versions that folding makes.
#[derive(Debug, Default)]
pub(crate) struct Reviews<'a> {
    /// Where the question that waits is.
    held: HashMap<Pseudonym, Current>,
    round: u32,
    new: Vec<Version<'a>>,
    closed: Vec<(Pseudonym, i64, i64)>,
}

#[derive(Debug)]
struct Version<'a> {
    record: Pseudonym,
    known_from: i64,
    known_to: Option<i64>,
    asked_us: i64,
    asked: &'a Asked,
}

/// How urgent a question is. An overlay shows a stranger's record and comes before contradicting numbers, and those before
/// the rest; within each, the nearer the score came to the threshold, the sooner.
pub(crate) fn risk(decision: &RecordLinked) -> i64 {
    const CLASS: i64 = 1_000_000;
    let has = |code: &str| decision.review.iter().any(|asked| asked == code);
    let class = if has("nhs-number-demographics-disagree") || has("nhs-number-frozen") {
        3
    } else if decision.review.iter().any(|code| code.starts_with("nhs-number")) {
        2
    } else {
        1
    };
    // A veto outweighs everything, so a refused score says little: the runner-up's does.
    let best = decision.score.max(decision.runner_up_score);
    let distance = (best - decision.threshold).abs().min(CLASS - 1);
    class * CLASS + (CLASS - 1 - distance)
}

impl<'a> Reviews<'a> {
    /// Takes in what a decision about `record` asks, known from `at` on: nothing, where it asks nothing.
    pub(crate) fn fold(&mut self, record: Pseudonym, asked: Option<&'a Asked>, asked_us: i64, at: i64) {
        if let Some(current) = self.held.remove(&record) {
            match current.index_in(self.round).and_then(|index| self.new.get_mut(index)) {
                Some(version) => version.known_to = Some(at),
                None => self.closed.push((record, current.known_from, at)),
            }
        }
        if let Some(asked) = asked {
            self.held.insert(record, Current::new(at, self.round, self.new.len()));
            self.new.push(Version { record, known_from: at, known_to: None, asked_us, asked });
        }
    }

    /// What is held, for a next round whose loads it spares.
    pub(crate) fn next_round<'b>(self) -> Reviews<'b> {
        Reviews { held: self.held, round: self.round + 1, new: Vec::new(), closed: Vec::new() }
    }

    pub(crate) async fn load(&mut self, conn: &mut Session<'_>, records: &[Pseudonym]) -> Result<(), StoreError> {
        const CURRENT: Multi = Multi {
            sql: "SELECT v.pseudonym, v.known_from FROM ({rows}) AS k \
                  {lookup} review AS v ON v.pseudonym = k.column1 AND v.known_to IS NULL",
            columns: &[Column::Bytes],
        };
        let rows = bulk::read(conn, &CURRENT, records, |values, record| {
            values.put(record.0.as_slice());
        });
        for row in rows.await? {
            let record = read_pseudonym(sql::get(&row, 0)?, "review")?;
            self.held.insert(record, Current::stored(sql::get(&row, 1)?));
        }
        Ok(())
    }

    pub(crate) async fn store(&self, conn: &mut Session<'_>) -> Result<(), StoreError> {
        const CLOSE: Multi = Multi {
            sql: "UPDATE review SET known_to = k.column3 FROM ({rows}) AS k \
                  WHERE pseudonym = k.column1 AND known_from = k.column2",
            columns: &[Column::Bytes, Column::Int, Column::Int],
        };
        const INSERT: Multi = Multi {
            sql: "INSERT INTO review (pseudonym, known_from, known_to, risk, codes, asked_us, body) {rows}",
            columns: &[Column::Bytes, Column::Int, Column::Int, Column::Int, Column::Text, Column::Int, Column::Bytes],
        };
        bulk::write(conn, &CLOSE, &self.closed, |values, (record, known_from, known_to)| {
            values.put(record.0.as_slice()).put(*known_from).put(*known_to);
        })
        .await?;
        bulk::write(conn, &INSERT, &self.new, |values, row| {
            values.put(row.record.0.as_slice()).put(row.known_from).put(row.known_to);
            values.put(row.asked.risk).put(row.asked.codes.as_str()).put(row.asked_us);
            values.put(row.asked.decision.as_slice());
        })
        .await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(codes: &[&str], score: i64) -> i64 {
        let review = codes.iter().map(|code| (*code).to_owned()).collect();
        risk(&RecordLinked { review, score, threshold: 950, ..RecordLinked::default() })
    }

    #[test]
    fn overlays_come_first_and_then_what_is_nearest_to_the_threshold() {
        let order = [
            check(&["nhs-number-demographics-disagree"], -9000),
            check(&["nhs-numbers-differ"], 949),
            check(&["nhs-numbers-differ"], 900),
            check(&["several-persons-agree"], 950),
            check(&["several-persons-agree"], 1200),
        ];
        assert!(order.is_sorted_by(|a, b| a > b), "{order:?}");
        assert!(order.iter().all(|risk| (0..4_000_000).contains(risk)));
    }
}
