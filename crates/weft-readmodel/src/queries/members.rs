//! Who belongs to whom: a person's records are those linked to them, and those merged into such a record.
//!
//! A retired record follows its survivor for as long as that, or one that it follows itself, is linked to anyone; until
//! then its own link stands.

use std::collections::HashMap;

use sqlx::{AssertSqlSafe, SqliteConnection};
use weft_model::PersonId;

use crate::{
    bulk::{self, Multi},
    error::StoreError,
    model::Sizes,
};

/// A record of a person.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) record_no: i64,
    pub(super) organisation: Option<String>,
    pub(super) parked: bool,
}

/// The table `member (record_no, organisation, parked)` of a person's records. ?1 person, ?2 identity size, ?3 feed size.
pub(super) const MEMBER: &str = "
    RECURSIVE tree (record_no) AS (
        SELECT record_no FROM link
        WHERE person = ?1 AND known_from < ?2 AND (known_to IS NULL OR known_to >= ?2)
        UNION
        SELECT m.retired_no FROM tree JOIN merge AS m ON m.survivor_no = tree.record_no
        WHERE m.known_from < ?2 AND (m.known_to IS NULL OR m.known_to >= ?2)
    ),
    member (record_no, organisation, parked) AS MATERIALIZED (
        SELECT tree.record_no, r.organisation, EXISTS (
            SELECT 1 FROM parked AS p
            WHERE p.record_no = tree.record_no AND p.known_from < iif(p.stream = 'feed', ?3, ?2)
        )
        FROM tree CROSS JOIN record AS r ON r.record_no = tree.record_no
        WHERE NOT EXISTS (
            SELECT 1 FROM merge AS m
            WHERE m.retired_no = tree.record_no
              AND m.known_from < ?2 AND (m.known_to IS NULL OR m.known_to >= ?2)
        ) OR ?1 = (
            WITH RECURSIVE above (record_no, height) AS (
                SELECT tree.record_no, 0
                UNION ALL
                SELECT m.survivor_no, height + 1 FROM above JOIN merge AS m ON m.retired_no = above.record_no
                WHERE m.known_from < ?2 AND (m.known_to IS NULL OR m.known_to >= ?2)
            )
            SELECT l.person FROM above JOIN link AS l ON l.record_no = above.record_no
            WHERE l.known_from < ?2 AND (l.known_to IS NULL OR l.known_to >= ?2)
            ORDER BY height DESC LIMIT 1
        )
    )";

/// The records of `person`, by number; empty where nobody has the identifier.
pub(super) async fn of(conn: &mut SqliteConnection, person: PersonId, sizes: Sizes) -> Result<Vec<Member>, StoreError> {
    let sql = format!("WITH {MEMBER} SELECT record_no, organisation, parked FROM member ORDER BY record_no");
    let query = sqlx::query(AssertSqlSafe(sql)).bind(person.0.as_slice()).bind(sizes.identity).bind(sizes.feed);
    let rows = query.fetch_all(conn).await?;
    let members = rows.iter().map(|row| {
        Ok(Member { record_no: bulk::get(row, 0)?, organisation: bulk::get(row, 1)?, parked: bulk::get(row, 2)? })
    });
    members.collect()
}

/// The person of each of `records` that has one.
pub(super) async fn persons_of(
    conn: &mut SqliteConnection,
    records: &[i64],
    sizes: Sizes,
) -> Result<HashMap<i64, PersonId>, StoreError> {
    const PERSONS: Multi = Multi {
        before: "WITH RECURSIVE above (record_no, identity, at, height) AS (
                     SELECT column1, column2, column1, 0 FROM (VALUES ",
        columns: 2,
        after: ")
                     UNION
                     SELECT above.record_no, identity, m.survivor_no, height + 1
                     FROM above JOIN merge AS m ON m.retired_no = above.at
                     WHERE m.known_from < identity AND (m.known_to IS NULL OR m.known_to >= identity)
                 )
                 SELECT above.record_no, l.person FROM above JOIN link AS l ON l.record_no = above.at
                 WHERE l.known_from < identity AND (l.known_to IS NULL OR l.known_to >= identity)
                 ORDER BY height",
    };
    let rows = bulk::read(conn, &PERSONS, records, |values, record_no| {
        values.put(*record_no).put(sizes.identity);
    })
    .await?;
    // The highest comes last, and overrules.
    rows.iter().map(|row| Ok((bulk::get(row, 0)?, read_person(bulk::get(row, 1)?)?))).collect()
}

/// The column `link.person`.
pub(super) fn read_person(bytes: &[u8]) -> Result<PersonId, StoreError> {
    PersonId::from_bytes(bytes).map_err(|_| StoreError::Unreadable { table: "link", column: "person" })
}
