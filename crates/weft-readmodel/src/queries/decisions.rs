//! Why a record is where it is, and what a steward's decision would move.

use std::collections::HashMap;

use prost::Message;
use weft_model::{
    Payload, PersonId, Position, Pseudonym, SCHEMA_VERSION, Stream,
    proto::event::{Header, LinkMethod, RecordLinked, SourceRecordId, StewardDecided},
};

use super::{members, persons::names};
use crate::{
    ReadModel,
    error::{QueryError, StoreError},
    place::{self, Sizes},
    records::read_pseudonym,
    sql::{self, Row, Session},
};

/// Decisions about one record that are shown; there are rarely five.
const DECISIONS_MAX: i64 = 200;

/// A record and everything that was decided about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Explained {
    /// What its organisation calls it; `None` where no message has told of it.
    pub record: Option<SourceRecordId>,
    /// Whom it is with now, merges followed; `None` where it was never linked.
    pub person: Option<PersonId>,
    /// A steward has placed it.
    pub held: bool,
    /// The newest first.
    pub decisions: Vec<Decision>,
}

/// One decision about a record.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// Where it is in the log.
    pub position: Position,
    /// Microseconds since 1970-01-01T00:00:00Z.
    pub decided_us: i64,
    /// What was decided: of a steward's decision, the part that is about the record.
    pub linked: RecordLinked,
    /// The whole of it, where a steward decided.
    pub steward: Option<StewardDecided>,
}

/// A record with what follows it since a merge, and the lines that it brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weight {
    /// The record.
    pub pseudonym: Pseudonym,
    /// What its organisation calls it; `None` where no message has told of it.
    pub record: Option<SourceRecordId>,
    /// Organisations that have told lines of it.
    pub organisations: Vec<String>,
    /// Lines of its timeline, and of those of its followers.
    pub entries: u32,
}

impl ReadModel {
    /// Everything that was decided about `record`.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn explain(&self, record: Pseudonym) -> Result<Explained, QueryError> {
        const DECISIONS: &str = "
            SELECT known_from, decided_us, decision FROM link
            WHERE pseudonym = $1 AND known_from < $2 ORDER BY known_from DESC LIMIT $3";
        let (_, sizes) = self.visible(None)?;
        let mut conn = self.readers().acquire().await?;
        let mut conn = conn.session();
        let given = vec![record.to_vec().into(), sizes.identity.into(), DECISIONS_MAX.into()];
        let mut decisions = Vec::new();
        for row in conn.all(DECISIONS, given).await? {
            let unreadable = |_| StoreError::Unreadable { table: "link", column: "decision" };
            let linked = RecordLinked::decode(sql::get::<&[u8]>(&row, 2)?).map_err(unreadable)?;
            let position = place::position(Stream::Identity, sql::get(&row, 0)?);
            let mut steward = None;
            if linked.method() == LinkMethod::Steward
                && let Some(Payload::StewardDecided(decided)) = ruling(&mut conn, position).await?
            {
                steward = Some(decided);
            }
            decisions.push(Decision { position, decided_us: sql::get(&row, 1)?, linked, steward });
        }
        let person = members::persons_of(&mut conn, &[record], &sizes).await?.remove(&record);
        let held = decisions.first().is_some_and(|newest| newest.linked.method() == LinkMethod::Steward);
        let record = names(&mut conn, vec![record], &sizes).await?.remove(&record);
        Ok(Explained { record, person, held, decisions })
    }

    /// The records that are linked to `person` themselves, ascending: those that merely follow another are not among them.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn records_linked(&self, person: PersonId) -> Result<Vec<Pseudonym>, QueryError> {
        const LINKED: &str = "
            SELECT l.pseudonym FROM link AS l
            WHERE l.person = $1 AND l.known_from < $2 AND (l.known_to IS NULL OR l.known_to >= $2)
            AND NOT EXISTS (
                SELECT 1 FROM merge AS m WHERE m.retired = l.pseudonym
                AND m.known_from < $2 AND (m.known_to IS NULL OR m.known_to >= $2)
            )
            ORDER BY l.pseudonym";
        let (_, sizes) = self.visible(None)?;
        let rows = self.ask(LINKED, vec![person.to_vec().into(), sizes.identity.into()]).await?;
        Ok(rows.iter().map(|row| read_pseudonym(sql::get(row, 0)?, "link")).collect::<Result<_, _>>()?)
    }

    /// Whom each of `records` is with now, merges followed; one that was never linked is not among them.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn persons_of(&self, records: &[Pseudonym]) -> Result<HashMap<Pseudonym, PersonId>, QueryError> {
        let (_, sizes) = self.visible(None)?;
        let mut conn = self.readers().acquire().await?;
        Ok(members::persons_of(&mut conn.session(), records, &sizes).await?)
    }

    /// The event at `position` of the identity stream, where it is one that outranks scores.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn ruling_at(&self, position: Position) -> Result<Option<Payload>, QueryError> {
        if position.partition != Stream::Identity.partition(0) {
            return Ok(None);
        }
        let mut conn = self.readers().acquire().await?;
        Ok(ruling(&mut conn.session(), position).await?)
    }

    /// Every event that outranks scores, in the order of the log, with its offset.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn rulings(&self) -> Result<Vec<(u64, Payload)>, QueryError> {
        let (_, sizes) = self.visible(None)?;
        let mut conn = self.readers().acquire().await?;
        Ok(rulings(&mut conn.session(), &sizes).await?)
    }

    /// What moves with each of `records`.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn weigh(&self, records: &[Pseudonym]) -> Result<Vec<Weight>, QueryError> {
        const LINES: &str = "
            SELECT r.organisation, count(*) FROM record AS r JOIN entry AS e ON e.record_no = r.record_no
            WHERE r.pseudonym = $1 AND e.known_to IS NULL AND e.withdrawn = 0 GROUP BY r.organisation";
        let (_, sizes) = self.visible(None)?;
        let mut conn = self.readers().acquire().await?;
        let mut conn = conn.session();
        let mut ids = names(&mut conn, records.to_vec(), &sizes).await?;
        let mut weights = Vec::with_capacity(records.len());
        for pseudonym in records {
            let (mut organisations, mut entries) = (Vec::new(), 0);
            for record in with_followers(&mut conn, *pseudonym, &sizes).await? {
                for row in conn.all(LINES, vec![record.to_vec().into()]).await? {
                    organisations.push(sql::get(&row, 0)?);
                    entries += u32::try_from(sql::get::<i64>(&row, 1)?).unwrap_or(u32::MAX);
                }
            }
            organisations.sort_unstable();
            organisations.dedup();
            weights.push(Weight { pseudonym: *pseudonym, record: ids.remove(pseudonym), organisations, entries });
        }
        Ok(weights)
    }
}

/// A record and all that follow it.
async fn with_followers(
    conn: &mut Session<'_>,
    record: Pseudonym,
    sizes: &Sizes,
) -> Result<Vec<Pseudonym>, StoreError> {
    const FOLLOWERS: &str = "
        SELECT retired FROM merge
        WHERE survivor = $1 AND known_from < $2 AND (known_to IS NULL OR known_to >= $2)";
    let mut all = vec![record];
    let mut next = 0;
    while let Some(record) = all.get(next).copied() {
        next += 1;
        for row in conn.all(FOLLOWERS, vec![record.to_vec().into(), sizes.identity.into()]).await? {
            let follower = read_pseudonym(sql::get(&row, 0)?, "merge")?;
            if !all.contains(&follower) {
                all.push(follower);
            }
        }
    }
    Ok(all)
}

async fn ruling(conn: &mut Session<'_>, position: Position) -> Result<Option<Payload>, StoreError> {
    let text = "SELECT kind, body FROM ruling WHERE known_from = $1";
    let row = conn.first(text, vec![place::place(0, position.offset).into()]).await?;
    row.map(|row| payload(&row, 0)).transpose()
}

/// Every ruling that `sizes` lets see.
pub(super) async fn rulings(conn: &mut Session<'_>, sizes: &Sizes) -> Result<Vec<(u64, Payload)>, StoreError> {
    let text = "SELECT known_from, kind, body FROM ruling WHERE known_from < $1 ORDER BY known_from";
    let rows = conn.all(text, vec![sizes.identity.into()]).await?;
    let read = rows.iter().map(|row| {
        let position = place::position(Stream::Identity, sql::get(row, 0)?);
        Ok((position.offset, payload(row, 1)?))
    });
    read.collect()
}

/// The columns `ruling.kind` and `ruling.body`.
fn payload(row: &Row, column: usize) -> Result<Payload, StoreError> {
    let unreadable = || StoreError::Unreadable { table: "ruling", column: "body" };
    let kind = i32::try_from(sql::get::<i64>(row, column)?).map_err(|_| unreadable())?;
    let header = Header { schema: SCHEMA_VERSION, kind, ..Header::default() };
    let body = bytes::Bytes::copy_from_slice(sql::get::<&[u8]>(row, column + 1)?);
    Payload::decode(&header, body).map_err(|_| unreadable())
}
