//! A person's timeline: the entries of all their records, newest first, merged while they are read.

use std::{collections::HashSet, fmt, str::FromStr, sync::LazyLock};

use bytes::{Buf, Bytes};
use prost::{
    Message,
    encoding::{decode_key, decode_varint},
};
use weft_model::{
    Cut, EventId, PersonId, Position, Stream,
    proto::api::{TimelineEntry, TimelineFilter},
};

use super::members::{self, Member};
use crate::{
    ReadModel,
    batch::entry_key,
    error::{QueryError, StoreError},
    place::{Sizes, position},
    sql::{self, Dialect, Session, Value},
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
        let window = Window::new(filter, after, filter.include_withdrawn, &sizes);
        let more = limit.saturating_add(1);
        let page = read_page(&mut conn.session(), person, filter, &window, more).await?;
        let Some(Page { mut entries, parked_records }) = page else { return Ok(None) };
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
        let mut conn = conn.session();
        let members = members::of(&mut conn, person, &sizes).await?;
        if members.is_empty() {
            return Ok(None);
        }
        let parked_records = parked(&members);
        let mut held: HashSet<i64> = numbers(&members).collect();
        if before.identity != sizes.identity {
            held = numbers(&members::of(&mut conn, person, &before).await?).collect();
        }
        let window = Window::new(filter, None, true, &sizes);
        let mut rows = Vec::new();
        for record_no in wanted(&members, filter) {
            let from = if held.contains(&record_no) { before.of_record(record_no) } else { 0 };
            rows.extend(read_changes(&mut conn, (person, record_no), &window, from).await?);
        }
        // Within a partition in the order of the log; between partitions there is none but that of their numbers.
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
            SELECT substr(t.bodies, e.body_at + 1, e.body_length), e.known_from, CAST(e.fact_index AS bigint)
            FROM entry AS e {lookup} told AS t ON t.known_from = e.known_from
            WHERE e.record_no = $1 AND e.entry_key = $2 AND e.known_from < $3
              AND (e.known_to IS NULL OR e.known_to >= $3)";
        let Ok(id) = entry_id.parse::<EventId>() else { return Ok(None) };
        let key = entry_key(u128::from_be_bytes(id.0));
        let (_, sizes) = self.visible(as_of)?;
        let mut conn = self.readers().acquire().await?;
        let mut conn = conn.session();
        for record_no in numbers(&members::of(&mut conn, person, &sizes).await?) {
            let given = vec![record_no.into(), key.into(), sizes.of_record(record_no).into()];
            let Some(row) = conn.first(ENTRY, given).await? else { continue };
            let Some(entry) = entries(sql::get(&row, 0)?)?.pop() else { continue };
            if decode(&entry)?.entry_id.parse() == Ok(id) {
                let position = position(Stream::Feed, sql::get(&row, 1)?);
                let fact_index = usize::try_from(sql::get_u64(&row, 2)?).unwrap_or(usize::MAX);
                return Ok(Some(Entry { entry, position, fact_index }));
            }
        }
        Ok(None)
    }
}

/// What a filter lets through, as numbers that a database compares.
struct Window<'s> {
    sizes: &'s Sizes,
    /// Bit n: lines of kind n. 0: all kinds.
    kinds: i64,
    withdrawn: bool,
    oldest_us: i64,
    newest_us: i64,
    after: PageKey,
}

impl<'s> Window<'s> {
    fn new(filter: &TimelineFilter, after: Option<PageKey>, withdrawn: bool, sizes: &'s Sizes) -> Self {
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

    /// The values $1 to $9 of an [`arm`].
    fn given(&self, person: PersonId) -> Vec<Value<'s>> {
        let mut given = members::given(person, self.sizes);
        given.extend([self.newest_us, self.oldest_us, self.after.occurred_us].map(Value::from));
        given.extend([self.after.entry_key.into(), self.kinds.into(), self.withdrawn.into()]);
        given
    }
}

/// Rows of one record: $1 to $9 are those of [`members::MEMBER`] and [`Window`].
fn arm(columns: &str, record: &str, size: &str) -> String {
    format!(
        "SELECT {columns} FROM entry WHERE record_no = {record} AND occurred_us <= $4 AND occurred_us >= $5 \
         AND (occurred_us <> $6 OR entry_key > $7) AND known_from < {size} AND (known_to IS NULL OR known_to >= {size}) \
         AND ($8 = 0 OR (($8 >> kind) & 1) <> 0) AND (withdrawn = 0 OR $9)"
    )
}

const COLUMNS: &str = "occurred_us, entry_key, known_from, body_at, body_length";

/// Lines in timeline order, of records whose orders SQLite merges, reading no more than it returns: the rows first, then
/// the bodies of those. They come as one value: each row costs more on its way than its bytes do. The limit is no bare
/// parameter: SQLite would prepare the statement anew for each value of it.
fn merged(arms: impl Iterator<Item = (String, String)>) -> String {
    let arms: Vec<String> = arms.map(|(record, size)| arm(COLUMNS, &record, &size)).collect();
    let arms = arms.join(" UNION ALL ");
    format!(
        "SELECT {{concat(}}substr(t.bodies, e.body_at + 1, e.body_length){{)concat}}
         FROM ({arms} ORDER BY occurred_us DESC, entry_key LIMIT $10 + 0) AS e
         {{lookup}} told AS t ON t.known_from = e.known_from"
    )
}

/// The same on PostgreSQL, of any number of records.
fn merged_laterally() -> String {
    const ORDER: &str = "occurred_us DESC, entry_key";
    let arm = arm(COLUMNS, "w.record_no", "w.size");
    format!(
        "SELECT string_agg(substr(t.bodies, e.body_at + 1, e.body_length), ''::bytea ORDER BY e.occurred_us DESC, e.entry_key)
         FROM (SELECT l.* FROM wanted AS w CROSS JOIN LATERAL ({arm} ORDER BY {ORDER} LIMIT $10) AS l
               ORDER BY {ORDER} LIMIT $10) AS e
         JOIN told AS t ON t.known_from = e.known_from"
    )
}

struct Page {
    entries: Vec<Bytes>,
    parked_records: u32,
}

/// Nearly every person has no more records: so many are read in one question on SQLite.
const RECORDS_AT_ONCE: usize = 4;

/// A page of the timeline of `person`, in one question; `None` where nobody has the identifier.
async fn read_page(
    conn: &mut Session<'_>,
    person: PersonId,
    filter: &TimelineFilter,
    window: &Window<'_>,
    limit: usize,
) -> Result<Option<Page>, StoreError> {
    let mut given = window.given(person);
    let organisations = (!filter.organisations.is_empty()).then_some(filter.organisations.as_slice());
    given.extend([(limit as u64).into(), Value::Texts(organisations)]);
    let row = conn.all_of(page_text(conn.dialect()).into(), given).await?.pop();
    let row = row.ok_or(StoreError::Damaged(sqlx::Error::RowNotFound))?;
    if sql::get::<i64>(&row, 0)? == 0 {
        return Ok(None);
    }
    let parked_records = u32::try_from(sql::get::<i64>(&row, 2)?).unwrap_or(u32::MAX);
    let whole = conn.dialect() == Dialect::Postgres || sql::get::<i64>(&row, 1)? <= RECORDS_AT_ONCE as i64;
    let entries = if whole {
        entries(sql::get::<Option<Vec<u8>>>(&row, 3)?.unwrap_or_default())?
    } else {
        read_many(conn, person, filter, window, limit).await?
    };
    Ok(Some(Page { entries, parked_records }))
}

/// The question of [`read_page`]. It is long, and asked more often than any other: its text is made once.
fn page_text(dialect: Dialect) -> &'static str {
    static SQLITE: LazyLock<String> = LazyLock::new(|| {
        let nth = |column, n| format!("(SELECT {column} FROM wanted ORDER BY record_no LIMIT 1 OFFSET {n})");
        let records = (0..RECORDS_AT_ONCE).map(|n| (nth("record_no", n), nth("size", n)));
        Dialect::Sqlite.text(&page_of(&merged(records)))
    });
    static POSTGRES: LazyLock<String> = LazyLock::new(|| Dialect::Postgres.text(&page_of(&merged_laterally())));
    match dialect {
        Dialect::Sqlite => &SQLITE,
        Dialect::Postgres => &POSTGRES,
    }
}

/// How many records a person has, how many of them are wanted, how many are parked; and `lines`.
fn page_of(lines: &str) -> String {
    format!(
        "WITH {}, wanted AS MATERIALIZED (
             SELECT record_no, size FROM member
             WHERE record_no IS NOT NULL AND ($11 IS NULL OR organisation {{any(}}$11{{)any}})
         )
         SELECT (SELECT count(*) FROM member), (SELECT count(*) FROM wanted),
                (SELECT count(*) FROM member WHERE parked), ({lines})",
        members::MEMBER,
    )
}

/// The lines of a person of many records: the records are read some at a time.
async fn read_many(
    conn: &mut Session<'_>,
    person: PersonId,
    filter: &TimelineFilter,
    window: &Window<'_>,
    limit: usize,
) -> Result<Vec<Bytes>, StoreError> {
    const RECORDS: usize = 16;
    let records: Vec<i64> = wanted(&members::of(conn, person, window.sizes).await?, filter).collect();
    let sql = merged((0..RECORDS).map(|n| (format!("${}", 11 + n), format!("${}", 11 + RECORDS + n))));
    let mut all = Vec::new();
    for chunk in records.chunks(RECORDS) {
        let mut given = window.given(person);
        given.push((limit as u64).into());
        let nth = |n: usize| chunk.get(n).copied();
        given.extend((0..RECORDS).map(|n| nth(n).into()));
        given.extend((0..RECORDS).map(|n| nth(n).map(|record_no| window.sizes.of_record(record_no)).into()));
        let row = conn.first(&sql, given).await?;
        let bodies = row.map(|row| sql::get::<Option<Vec<u8>>>(&row, 0)).transpose()?.flatten().unwrap_or_default();
        for entry in entries(bodies)? {
            let key = PageKey::of(&entry)?;
            all.push(((std::cmp::Reverse(key.occurred_us), key.entry_key), entry));
        }
    }
    all.sort_by_key(|(key, _)| *key);
    all.truncate(limit);
    Ok(all.into_iter().map(|(_, entry)| entry).collect())
}

async fn read_changes(
    conn: &mut Session<'_>,
    (person, record_no): (PersonId, i64),
    window: &Window<'_>,
    from: i64,
) -> Result<Vec<(i64, Bytes)>, StoreError> {
    let arm = arm("known_from, body_at, body_length", "$10", "$11");
    let sql = format!(
        "SELECT e.known_from, substr(t.bodies, e.body_at + 1, e.body_length)
         FROM ({arm} AND known_from >= $12) AS e {{lookup}} told AS t ON t.known_from = e.known_from"
    );
    let mut given = window.given(person);
    given.extend([record_no, window.sizes.of_record(record_no), from].map(Value::from));
    let rows = conn.all(&sql, given).await?;
    let mut changes = Vec::with_capacity(rows.len());
    for row in &rows {
        let known_from = sql::get(row, 0)?;
        changes.extend(entries(sql::get(row, 1)?)?.into_iter().map(|entry| (known_from, entry)));
    }
    Ok(changes)
}

fn parked(members: &[Member]) -> u32 {
    u32::try_from(members.iter().filter(|m| m.parked).count()).unwrap_or(u32::MAX)
}

fn numbers(members: &[Member]) -> impl Iterator<Item = i64> {
    members.iter().filter_map(|member| member.told.as_ref()).map(|told| told.record_no)
}

/// The records whose organisation the filter lets through.
fn wanted(members: &[Member], filter: &TimelineFilter) -> impl Iterator<Item = i64> {
    let told = members.iter().filter_map(|member| member.told.as_ref());
    let lets_through =
        |told: &&members::ToldOf| filter.organisations.is_empty() || filter.organisations.contains(&told.organisation);
    told.filter(lets_through).map(|told| told.record_no)
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
