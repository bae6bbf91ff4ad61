//! A person's timeline: the entries of all their records, newest first, merged while they are read.

use std::{collections::HashSet, fmt, str::FromStr};

use bytes::{Buf, Bytes};
use prost::{
    Message,
    encoding::{decode_key, decode_varint},
};
use sqlx::{AssertSqlSafe, SqliteConnection};
use weft_model::{
    Cut, EventId, PersonId, Position, Stream,
    proto::api::{TimelineEntry, TimelineFilter},
};

use super::members::{self, Member};
use crate::{
    ReadModel,
    batch::entry_key,
    bulk,
    error::{QueryError, StoreError},
    model::Sizes,
};

/// Some lines of a timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimelinePage {
    /// Encoded [`TimelineEntry`]s, by time of occurrence, newest first, then by identifier.
    pub entries: Vec<Bytes>,
    /// Where the next page starts; `None` after the last.
    pub next: Option<PageKey>,
    /// What was known to the answer: give it with `next` to walk through one state.
    pub known_at: Cut,
    /// Records of the person that are parked: the timeline is incomplete for them.
    pub parked_records: u32,
}

/// What is new on a timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimelineChanges {
    /// Encoded [`TimelineEntry`]s that are new or have a new version, in the order in which they became known; also
    /// those that were withdrawn.
    pub entries: Vec<Bytes>,
    /// What was known to the answer: the place to ask from next.
    pub known_at: Cut,
    /// Records of the person that are parked.
    pub parked_records: u32,
}

/// One line, and where its resource is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Encoded [`TimelineEntry`].
    pub entry: Bytes,
    /// The message that told it.
    pub position: Position,
    /// Place of its fact in the message: the index into `MessageReceived.facts`.
    pub fact_index: usize,
}

/// The last line of a page. Written as text for a page token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageKey {
    occurred_us: i64,
    entry_key: i64,
}

/// A text that is no page key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a page key")]
pub struct PageKeyError;

impl ReadModel {
    /// At most `limit` lines of the timeline of `person`, from after `after` on; `None` where nobody has the identifier.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn timeline(
        &self,
        person: PersonId,
        filter: &TimelineFilter,
        limit: usize,
        after: Option<PageKey>,
        as_of: Option<&Cut>,
    ) -> Result<Option<TimelinePage>, QueryError> {
        let (known_at, sizes) = self.visible(as_of)?;
        let mut conn = self.readers().acquire().await?;
        let window = Window::new(filter, after, filter.include_withdrawn, sizes);
        let more = limit.saturating_add(1);
        let Some(page) = read_page(&mut conn, person, filter, &window, more).await? else { return Ok(None) };
        let Page { mut entries, parked_records } = page;
        let mut next = None;
        if entries.len() > limit {
            entries.truncate(limit);
            next = entries.last().map(|body| PageKey::of(body)).transpose()?;
        }
        Ok(Some(TimelinePage { entries, next, known_at, parked_records }))
    }

    /// Lines of the timeline of `person` that became known since `since`, also because a record has joined the person
    /// since; `None` where nobody has the identifier. A withdrawn line is always among them: it was shown before.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn entries_changed_since(
        &self,
        person: PersonId,
        filter: &TimelineFilter,
        since: &Cut,
    ) -> Result<Option<TimelineChanges>, QueryError> {
        let (known_at, sizes) = self.visible(None)?;
        let (_, before) = self.visible(Some(since))?;
        let mut conn = self.readers().acquire().await?;
        let members = members::of(&mut conn, person, sizes).await?;
        if members.is_empty() {
            return Ok(None);
        }
        let parked_records = parked(&members);
        let mut held: HashSet<i64> = members.iter().map(|m| m.record_no).collect();
        if before.identity != sizes.identity {
            held = members::of(&mut conn, person, before).await?.iter().map(|m| m.record_no).collect();
        }
        let wanted: HashSet<i64> = wanted(&members, filter).into_iter().collect();
        let window = Window::new(filter, None, true, sizes);
        let mut rows = Vec::new();
        for member in members.iter().filter(|m| wanted.contains(&m.record_no)) {
            let from = if held.contains(&member.record_no) { before.feed } else { 0 };
            rows.extend(read_changes(&mut conn, (person, member.record_no), &window, from).await?);
        }
        rows.sort_by_key(|(known_from, _)| *known_from);
        let entries = rows.into_iter().map(|(_, body)| body).collect();
        Ok(Some(TimelineChanges { entries, known_at, parked_records }))
    }

    /// One line of the timeline of `person`, by the identifier that the line carries.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn entry(
        &self,
        person: PersonId,
        entry_id: &str,
        as_of: Option<&Cut>,
    ) -> Result<Option<Entry>, QueryError> {
        const ENTRY: &str = "
            SELECT body, known_from, fact_index FROM entry
            WHERE record_no = ?1 AND entry_key = ?2 AND known_from < ?3 AND (known_to IS NULL OR known_to >= ?3)";
        let Ok(id) = entry_id.parse::<EventId>() else { return Ok(None) };
        let (_, sizes) = self.visible(as_of)?;
        let mut conn = self.readers().acquire().await?;
        for member in members::of(&mut conn, person, sizes).await? {
            let query =
                sqlx::query(ENTRY).bind(member.record_no).bind(entry_key(u128::from_be_bytes(id.0))).bind(sizes.feed);
            let Some(row) = query.fetch_optional(&mut *conn).await? else { continue };
            let Some(entry) = entries(bulk::get(&row, 0)?)?.pop() else { continue };
            if decode(&entry)?.entry_id.parse() == Ok(id) {
                let position = Stream::Feed.partition(0).at(bulk::get_u64(&row, 1)?);
                let fact_index = usize::try_from(bulk::get_u64(&row, 2)?).unwrap_or(usize::MAX);
                return Ok(Some(Entry { entry, position, fact_index }));
            }
        }
        Ok(None)
    }
}

/// What a filter lets through, as numbers that SQLite compares.
struct Window {
    sizes: Sizes,
    /// Bit n: lines of kind n. 0: all kinds.
    kinds: i64,
    withdrawn: bool,
    oldest_us: i64,
    newest_us: i64,
    after: PageKey,
}

impl Window {
    fn new(filter: &TimelineFilter, after: Option<PageKey>, withdrawn: bool, sizes: Sizes) -> Self {
        // Nothing occurs at the last microsecond of i64: a key there is before every line.
        let start = PageKey { occurred_us: i64::MAX, entry_key: i64::MAX };
        let newest_us = filter.occurred_to_us.map_or(i64::MAX, |to| to.saturating_sub(1));
        let after_us = after.map_or(i64::MAX - 1, |after| after.occurred_us);
        Self {
            sizes,
            kinds: filter.kinds.iter().filter(|kind| (0..63).contains(*kind)).fold(0, |all, kind| all | 1 << kind),
            withdrawn,
            oldest_us: filter.occurred_from_us.unwrap_or(i64::MIN),
            newest_us: newest_us.min(after_us),
            after: after.unwrap_or(start),
        }
    }
}

/// The lines of one record: ?1 to ?9 are those of [`members::MEMBER`] and [`Window`].
fn arm(columns: &str, record: &str) -> String {
    format!(
        "SELECT {columns} FROM entry WHERE record_no = {record} AND occurred_us <= ?4 AND occurred_us >= ?5 \
         AND (occurred_us <> ?6 OR entry_key > ?7) AND known_from < ?3 AND (known_to IS NULL OR known_to >= ?3) \
         AND (?8 = 0 OR (?8 >> kind) & 1) AND (withdrawn = 0 OR ?9)"
    )
}

/// Lines in timeline order, of records whose orders SQLite merges, reading no more than it returns. They come as one value:
/// each row costs more on its way than its bytes do. The limit is no bare parameter: SQLite would prepare the statement
/// anew for each value of it.
fn merged(arms: impl Iterator<Item = String>) -> String {
    let arms: Vec<String> = arms.map(|record| arm("occurred_us, entry_key, body", &record)).collect();
    let arms = arms.join(" UNION ALL ");
    format!(
        "SELECT CAST(group_concat(body, '') AS BLOB) FROM ({arms} ORDER BY occurred_us DESC, entry_key LIMIT ?10 + 0)"
    )
}

struct Page {
    entries: Vec<Bytes>,
    parked_records: u32,
}

/// A page of the timeline of `person`, in one question; `None` where nobody has the identifier.
async fn read_page(
    conn: &mut SqliteConnection,
    person: PersonId,
    filter: &TimelineFilter,
    window: &Window,
    limit: usize,
) -> Result<Option<Page>, StoreError> {
    /// Nearly every person has no more records.
    const RECORDS: usize = 4;
    let nth = |n| format!("(SELECT record_no FROM wanted ORDER BY record_no LIMIT 1 OFFSET {n})");
    let sql = format!(
        "WITH {}, wanted AS MATERIALIZED (
             SELECT record_no FROM member WHERE ?11 IS NULL OR organisation IN (SELECT value FROM json_each(?11))
         )
         SELECT (SELECT count(*) FROM member), (SELECT sum(parked) FROM member), ({})",
        members::MEMBER,
        merged((0..RECORDS).map(nth))
    );
    let organisations = &filter.organisations;
    let organisations = (!organisations.is_empty()).then(|| serde_json::Value::from(organisations.clone()).to_string());
    let query = window.bind(sqlx::query(AssertSqlSafe(sql)), person);
    let row = query.bind(bulk::sql(limit as u64)).bind(organisations).fetch_one(&mut *conn).await?;
    let records: i64 = bulk::get(&row, 0)?;
    if records == 0 {
        return Ok(None);
    }
    let parked_records = u32::try_from(bulk::get::<i64>(&row, 1)?).unwrap_or(u32::MAX);
    let entries = if records <= RECORDS as i64 {
        entries(bulk::get::<Option<Vec<u8>>>(&row, 2)?.unwrap_or_default())?
    } else {
        read_many(conn, person, filter, window, limit).await?
    };
    Ok(Some(Page { entries, parked_records }))
}

/// The lines of a person of many records: the records are read some at a time.
async fn read_many(
    conn: &mut SqliteConnection,
    person: PersonId,
    filter: &TimelineFilter,
    window: &Window,
    limit: usize,
) -> Result<Vec<Bytes>, StoreError> {
    const RECORDS: usize = 16;
    let records = wanted(&members::of(conn, person, window.sizes).await?, filter);
    let mut all = Vec::new();
    for records in records.chunks(RECORDS) {
        let sql = merged((0..RECORDS).map(|n| format!("?{}", 11 + n)));
        let mut query = window.bind(sqlx::query(AssertSqlSafe(sql)), person).bind(bulk::sql(limit as u64));
        for n in 0..RECORDS {
            query = query.bind(records.get(n).copied());
        }
        let row = query.fetch_one(&mut *conn).await?;
        let chunk = entries(bulk::get::<Option<Vec<u8>>>(&row, 0)?.unwrap_or_default())?;
        if records.len() < RECORDS && all.is_empty() {
            return Ok(chunk);
        }
        for entry in chunk {
            let key = PageKey::of(&entry)?;
            all.push(((std::cmp::Reverse(key.occurred_us), key.entry_key), entry));
        }
    }
    all.sort_by_key(|(key, _)| *key);
    all.truncate(limit);
    Ok(all.into_iter().map(|(_, entry)| entry).collect())
}

async fn read_changes(
    conn: &mut SqliteConnection,
    (person, record_no): (PersonId, i64),
    window: &Window,
    from: i64,
) -> Result<Vec<(i64, Bytes)>, StoreError> {
    let sql = format!("{} AND known_from >= ?11", arm("known_from, body", "?10"));
    let query = window.bind(sqlx::query(AssertSqlSafe(sql)), person).bind(record_no).bind(from);
    let rows = query.fetch_all(conn).await?;
    let mut changes = Vec::with_capacity(rows.len());
    for row in &rows {
        let known_from = bulk::get(row, 0)?;
        changes.extend(entries(bulk::get(row, 1)?)?.into_iter().map(|entry| (known_from, entry)));
    }
    Ok(changes)
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>;

impl Window {
    fn bind<'q>(&self, query: Query<'q>, person: PersonId) -> Query<'q> {
        query
            .bind(person.to_vec())
            .bind(self.sizes.identity)
            .bind(self.sizes.feed)
            .bind(self.newest_us)
            .bind(self.oldest_us)
            .bind(self.after.occurred_us)
            .bind(self.after.entry_key)
            .bind(self.kinds)
            .bind(self.withdrawn)
    }
}

fn parked(members: &[Member]) -> u32 {
    u32::try_from(members.iter().filter(|m| m.parked).count()).unwrap_or(u32::MAX)
}

/// The records whose organisation the filter lets through.
fn wanted(members: &[Member], filter: &TimelineFilter) -> Vec<i64> {
    let lets_through = |member: &&Member| {
        filter.organisations.is_empty()
            || member.organisation.as_ref().is_some_and(|organisation| filter.organisations.contains(organisation))
    };
    members.iter().filter(lets_through).map(|m| m.record_no).collect()
}

/// The encoded entries of columns `entry.body`, one after the other: slices of the same bytes.
fn entries(bodies: Vec<u8>) -> Result<Vec<Bytes>, StoreError> {
    let unreadable = || StoreError::Unreadable { table: "entry", column: "body" };
    let mut rest = Bytes::from(bodies);
    let mut entries = Vec::new();
    while rest.has_remaining() {
        decode_key(&mut rest).map_err(|_| unreadable())?;
        let length = decode_varint(&mut rest).map_err(|_| unreadable())?;
        let length = usize::try_from(length).ok().filter(|length| *length <= rest.len()).ok_or_else(unreadable)?;
        entries.push(rest.split_to(length));
    }
    Ok(entries)
}

fn decode(body: &[u8]) -> Result<TimelineEntry, StoreError> {
    TimelineEntry::decode(body).map_err(|_| StoreError::Unreadable { table: "entry", column: "body" })
}

impl PageKey {
    fn of(body: &[u8]) -> Result<Self, StoreError> {
        let entry = decode(body)?;
        let unreadable = || StoreError::Unreadable { table: "entry", column: "body" };
        let id: EventId = entry.entry_id.parse().map_err(|_| unreadable())?;
        let occurred_us = entry.occurred.ok_or_else(unreadable)?.start_us;
        Ok(Self { occurred_us, entry_key: entry_key(u128::from_be_bytes(id.0)) })
    }
}

impl fmt::Display for PageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.occurred_us, self.entry_key)
    }
}

impl FromStr for PageKey {
    type Err = PageKeyError;
    fn from_str(text: &str) -> Result<Self, PageKeyError> {
        let (occurred_us, entry_key) = text.split_once('.').ok_or(PageKeyError)?;
        let number = |text: &str| text.parse().map_err(|_| PageKeyError);
        Ok(Self { occurred_us: number(occurred_us)?, entry_key: number(entry_key)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_keys_read_what_they_write() {
        let key = PageKey { occurred_us: -5, entry_key: i64::MIN };
        assert_eq!(key.to_string().parse(), Ok(key));
        for wrong in ["", "1", "1.", "1.x", "1.2.3"] {
            assert_eq!(wrong.parse::<PageKey>(), Err(PageKeyError), "{wrong}");
        }
    }
}
