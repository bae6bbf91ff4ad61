//! Who belongs to whom: a person's records are those linked to them, and those merged into such a record.
//!
//! A retired record follows its survivor for as long as that, or one that it follows itself, is linked to anyone; until
//! then its own link stands.

use std::collections::HashMap;

use weft_model::{PersonId, Pseudonym};

use crate::{
    bulk::{self, Multi},
    error::StoreError,
    place::Sizes,
    records::read_pseudonym,
    sql::{self, Column, Session, Value},
};

/// A record of a person.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) pseudonym: Pseudonym,
    /// Of a record that no message has told of, nothing more is known.
    pub(super) told: Option<ToldOf>,
    pub(super) parked: bool,
}

/// What a message made of a record.
#[derive(Debug)]
pub(super) struct ToldOf {
    pub(super) record_no: i64,
    pub(super) organisation: String,
}

/// The table `member (pseudonym, record_no, organisation, size, parked)` of a person's records; size: the place up to which
/// its partition of the feed stream is seen. $1 person, $2 identity size, $3 feed sizes. Merges are counted, for to an EXISTS
/// PostgreSQL may prefer to read all merges that there are.
pub(super) const MEMBER: &str = "
    RECURSIVE tree (pseudonym) AS (
        SELECT pseudonym FROM link
        WHERE person = $1 AND known_from < $2 AND (known_to IS NULL OR known_to >= $2)
        UNION
        SELECT m.retired FROM tree JOIN merge AS m ON m.survivor = tree.pseudonym
        WHERE m.known_from < $2 AND (m.known_to IS NULL OR m.known_to >= $2)
    ),
    member (pseudonym, record_no, organisation, size, parked) AS MATERIALIZED (
        SELECT tree.pseudonym, r.record_no, r.organisation, {nth(}r.record_no >> 40{)nth}, EXISTS (
            SELECT 1 FROM parked AS p
            WHERE p.pseudonym = tree.pseudonym AND p.known_from <
                CASE WHEN p.stream = 'feed' THEN {nth(}p.known_from >> 40{)nth} ELSE $2 END
        )
        FROM tree LEFT JOIN record AS r ON r.pseudonym = tree.pseudonym
            AND r.known_from < {nth(}r.record_no >> 40{)nth}
        WHERE 0 = (
            SELECT count(*) FROM merge AS m
            WHERE m.retired = tree.pseudonym
              AND m.known_from < $2 AND (m.known_to IS NULL OR m.known_to >= $2)
        ) OR $1 = (
            WITH RECURSIVE above (pseudonym, height) AS (
                SELECT tree.pseudonym, 0
                UNION ALL
                SELECT m.survivor, height + 1 FROM above JOIN merge AS m ON m.retired = above.pseudonym
                WHERE m.known_from < $2 AND (m.known_to IS NULL OR m.known_to >= $2)
            )
            SELECT l.person FROM above JOIN link AS l ON l.pseudonym = above.pseudonym
            WHERE l.known_from < $2 AND (l.known_to IS NULL OR l.known_to >= $2)
            ORDER BY height DESC LIMIT 1
        )
    )";

/// What [`MEMBER`] is given.
pub(super) fn given<'v>(person: PersonId, sizes: &'v Sizes) -> Vec<Value<'v>> {
    vec![person.to_vec().into(), sizes.identity.into(), Value::Numbers(&sizes.feed)]
}

/// The records of `person`, by number; none where nobody has the identifier.
pub(super) async fn of(conn: &mut Session<'_>, person: PersonId, sizes: &Sizes) -> Result<Vec<Member>, StoreError> {
    let sql = format!(
        "WITH {MEMBER} SELECT pseudonym, record_no, organisation, parked FROM member ORDER BY record_no, pseudonym"
    );
    let rows = conn.all(&sql, given(person, sizes)).await?;
    let members = rows.iter().map(|row| {
        let told = match sql::get(row, 1)? {
            Some(record_no) => Some(ToldOf { record_no, organisation: sql::get(row, 2)? }),
            None => None,
        };
        Ok(Member { pseudonym: read_pseudonym(sql::get(row, 0)?, "link")?, told, parked: sql::get(row, 3)? })
    });
    members.collect()
}

/// The person of each of `records` that has one.
pub(super) async fn persons_of(
    conn: &mut Session<'_>,
    records: &[Pseudonym],
    sizes: &Sizes,
) -> Result<HashMap<Pseudonym, PersonId>, StoreError> {
    const PERSONS: Multi = Multi {
        sql: "WITH RECURSIVE above (pseudonym, identity, at, height) AS (
                  SELECT column1, column2, column1, 0 FROM ({rows}) AS k
                  UNION
                  SELECT above.pseudonym, identity, m.survivor, height + 1
                  FROM above JOIN merge AS m ON m.retired = above.at
                  WHERE m.known_from < identity AND (m.known_to IS NULL OR m.known_to >= identity)
              )
              SELECT above.pseudonym, l.person FROM above JOIN link AS l ON l.pseudonym = above.at
              WHERE l.known_from < identity AND (l.known_to IS NULL OR l.known_to >= identity)
              ORDER BY height",
        columns: &[Column::Bytes, Column::Int],
    };
    let rows = bulk::read(conn, &PERSONS, records, |values, record| {
        values.put(record.0.as_slice()).put(sizes.identity);
    })
    .await?;
    // The highest comes last, and overrules.
    let persons =
        rows.iter().map(|row| Ok((read_pseudonym(sql::get(row, 0)?, "link")?, read_person(sql::get(row, 1)?)?)));
    persons.collect()
}

/// The column `link.person`.
pub(super) fn read_person(bytes: &[u8]) -> Result<PersonId, StoreError> {
    PersonId::from_bytes(bytes).map_err(|_| StoreError::Unreadable { table: "link", column: "person" })
}
