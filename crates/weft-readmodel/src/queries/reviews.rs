//! The review queue, as stewards see it.

use std::{collections::BTreeMap, fmt, str::FromStr};

use prost::Message;
use weft_model::{Cut, Position, Pseudonym, Stream, proto::event::RecordLinked, proto::event::SourceRecordId};

use super::persons::names;
use crate::{
    ReadModel,
    bulk::{self, Multi},
    error::{QueryError, StoreError},
    place::{self, Sizes},
    records::read_pseudonym,
    sql::{self, Column, Row, Session},
};

/// A question that waits for a steward.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiting {
    /// The decision that asks it.
    pub position: Position,
    /// The record that it is about.
    pub pseudonym: Pseudonym,
    /// What its organisation calls it; `None` where no message has told of it.
    pub record: Option<SourceRecordId>,
    /// The decision: `person` is whom the record is with, `runner_up` whom it may be with instead.
    pub decision: RecordLinked,
    /// The higher, the sooner.
    pub risk: u32,
    /// Microseconds since 1970-01-01T00:00:00Z.
    pub asked_us: i64,
}

/// A page of the queue, the most dangerous first.
#[derive(Debug, Clone, PartialEq)]
pub struct ReviewPage {
    /// The questions.
    pub reviews: Vec<Waiting>,
    /// Where the next page starts; `None` after the last.
    pub next: Option<ReviewKey>,
    /// Questions that wait in all.
    pub waiting: u32,
    /// The same by code; one with two codes counts for both.
    pub counts: BTreeMap<String, u32>,
    /// What was known to the answer.
    pub known_at: Cut,
}

/// The last question of a page. Written as text for a page token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReviewKey {
    risk: i64,
    known_from: i64,
}

/// A text that is no [`ReviewKey`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a key of the review queue")]
pub struct ReviewKeyError;

const COLUMNS: &str = "v.pseudonym, v.known_from, v.risk, v.asked_us, v.body";

impl ReadModel {
    /// At most `limit` questions that wait, from after `after` on; only those with `code`, where one is given. A code has
    /// lower-case letters, digits and hyphens.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn reviews(
        &self,
        code: &str,
        limit: usize,
        after: Option<ReviewKey>,
        as_of: Option<&Cut>,
    ) -> Result<ReviewPage, QueryError> {
        let (known_at, sizes) = self.visible(as_of)?;
        let mut conn = self.readers().acquire().await?;
        let mut conn = conn.session();
        let pattern = if code.is_empty() { "%".to_owned() } else { format!("% {code} %") };
        let after = after.unwrap_or(ReviewKey { risk: i64::MAX, known_from: -1 });
        let more = sql::sql(limit.saturating_add(1) as u64);
        let text = format!(
            "SELECT {COLUMNS} FROM review AS v
             WHERE v.known_from < $1 AND (v.known_to IS NULL OR v.known_to >= $1) AND v.codes LIKE $2
             AND (v.risk < $3 OR (v.risk = $3 AND v.known_from > $4))
             ORDER BY v.risk DESC, v.known_from LIMIT $5"
        );
        let given =
            vec![sizes.identity.into(), pattern.into(), after.risk.into(), after.known_from.into(), more.into()];
        let rows = conn.all(&text, given).await?;
        let next = match rows.get(limit.saturating_sub(1)) {
            Some(last) if rows.len() > limit => {
                Some(ReviewKey { risk: sql::get(last, 2)?, known_from: sql::get(last, 1)? })
            }
            _ => None,
        };
        let kept = rows.get(..limit.min(rows.len())).unwrap_or_default();
        let reviews = read(&mut conn, kept, &sizes).await?;
        let counts = counts(&mut conn, &sizes).await?;
        Ok(ReviewPage { reviews, next, waiting: counts.0, counts: counts.1, known_at })
    }

    /// The question that the decision at `position` asks, while it waits.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn review_at(&self, position: Position) -> Result<Option<Waiting>, QueryError> {
        if position.partition != Stream::Identity.partition(0) {
            return Ok(None);
        }
        let (_, sizes) = self.visible(None)?;
        let mut conn = self.readers().acquire().await?;
        let mut conn = conn.session();
        let text = format!("SELECT {COLUMNS} FROM review AS v WHERE v.known_from = $1 AND v.known_to IS NULL");
        let rows = conn.all(&text, vec![place::place(0, position.offset).into()]).await?;
        Ok(read(&mut conn, &rows, &sizes).await?.pop())
    }

    /// The questions about these records that wait.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn reviews_of(&self, records: &[Pseudonym]) -> Result<Vec<Waiting>, QueryError> {
        const OF: Multi = Multi {
            sql: "SELECT v.pseudonym, v.known_from, v.risk, v.asked_us, v.body FROM ({rows}) AS k \
                  {lookup} review AS v ON v.pseudonym = k.column1 AND v.known_to IS NULL",
            columns: &[Column::Bytes],
        };
        let (_, sizes) = self.visible(None)?;
        let mut conn = self.readers().acquire().await?;
        let mut conn = conn.session();
        let rows = bulk::read(&mut conn, &OF, records, |values, record| {
            values.put(record.0.as_slice());
        })
        .await?;
        let mut waiting = read(&mut conn, &rows, &sizes).await?;
        // A row may come twice.
        waiting.sort_by_key(|review| review.position);
        waiting.dedup_by_key(|review| review.position);
        Ok(waiting)
    }
}

async fn read(conn: &mut Session<'_>, rows: &[Row], sizes: &Sizes) -> Result<Vec<Waiting>, StoreError> {
    let mut reviews = Vec::with_capacity(rows.len());
    for row in rows {
        let unreadable = |column| StoreError::Unreadable { table: "review", column };
        reviews.push(Waiting {
            position: place::position(Stream::Identity, sql::get(row, 1)?),
            pseudonym: read_pseudonym(sql::get(row, 0)?, "review")?,
            record: None,
            decision: RecordLinked::decode(sql::get::<&[u8]>(row, 4)?).map_err(|_| unreadable("body"))?,
            risk: u32::try_from(sql::get::<i64>(row, 2)?).map_err(|_| unreadable("risk"))?,
            asked_us: sql::get(row, 3)?,
        });
    }
    let ids = names(conn, reviews.iter().map(|review| review.pseudonym).collect(), sizes).await?;
    for review in &mut reviews {
        review.record = ids.get(&review.pseudonym).cloned();
    }
    Ok(reviews)
}

async fn counts(conn: &mut Session<'_>, sizes: &Sizes) -> Result<(u32, BTreeMap<String, u32>), StoreError> {
    const COUNTS: &str = "SELECT codes, count(*) FROM review
        WHERE known_from < $1 AND (known_to IS NULL OR known_to >= $1) GROUP BY codes";
    let (mut all, mut by_code) = (0, BTreeMap::new());
    for row in conn.all(COUNTS, vec![sizes.identity.into()]).await? {
        let count = u32::try_from(sql::get::<i64>(&row, 1)?).unwrap_or(u32::MAX);
        all += count;
        for code in sql::get::<&str>(&row, 0)?.split_whitespace() {
            *by_code.entry(code.to_owned()).or_default() += count;
        }
    }
    Ok((all, by_code))
}

impl fmt::Display for ReviewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.risk, self.known_from)
    }
}

impl FromStr for ReviewKey {
    type Err = ReviewKeyError;
    fn from_str(text: &str) -> Result<Self, ReviewKeyError> {
        let (risk, known_from) = text.split_once('.').ok_or(ReviewKeyError)?;
        let number = |text: &str| text.parse().map_err(|_| ReviewKeyError);
        Ok(Self { risk: number(risk)?, known_from: number(known_from)? })
    }
}
