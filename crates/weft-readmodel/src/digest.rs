//! Digests: two read models hold the same where their digests are equal, whatever the order of their rows and the numbers
//! of their records.
//!
//! The hash of a table is the sum of the hashes of its rows, so that no order is needed; a row is written with the
//! pseudonym of a record in the place of its number. Tables whose rows carry when they were known can be digested as of
//! any cut, also while events are applied.

use aws_lc_rs::digest::{Context, SHA256};
use futures::TryStreamExt;
use sqlx::{Row as _, TypeInfo, ValueRef};
use weft_model::{Cut, Stream, hex};

use crate::{
    ReadModel,
    cursor::Cursors,
    error::{QueryError, StoreError},
    place::place,
    sql::{self, Row, Session},
};

/// Digest of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableDigest {
    /// Its name.
    pub table: &'static str,
    /// Number of its rows.
    pub rows: u64,
    /// Sum of the hashes of its rows, 64 hexadecimal digits.
    pub hash: String,
}

/// A table that differs between two read models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// In the one.
    pub left: TableDigest,
    /// In the other.
    pub right: TableDigest,
}

/// What is written of a table, partition by partition of the stream that its rows come from. Places of a partition, and
/// numbers of its records, are from $1 on and below $2; $3 is the place of its size.
struct Table {
    name: &'static str,
    stream: Stream,
    /// Its rows say when they were known: it can be digested as of any cut.
    versioned: bool,
    sql: &'static str,
}

const TABLES: [Table; 18] = [
    Table {
        name: "record",
        stream: Stream::Feed,
        versioned: true,
        sql: "SELECT pseudonym, organisation, system, value, feed, known_from FROM record
              WHERE record_no >= $1 AND record_no < $2 AND known_from < $3",
    },
    Table {
        name: "record_version",
        stream: Stream::Feed,
        versioned: true,
        sql:
            "SELECT r.pseudonym, v.known_from, CASE WHEN v.known_to < $3 THEN v.known_to END, recorded_us, demographics
              FROM record_version AS v JOIN record AS r ON r.record_no = v.record_no
              WHERE v.record_no >= $1 AND v.record_no < $2 AND v.known_from < $3",
    },
    Table {
        name: "record_nhs",
        stream: Stream::Feed,
        versioned: false,
        sql: "SELECT r.pseudonym, nhs_number FROM record_nhs AS n JOIN record AS r ON r.record_no = n.record_no
              WHERE n.record_no >= $1 AND n.record_no < $2",
    },
    Table {
        name: "record_name",
        stream: Stream::Feed,
        versioned: false,
        sql: "SELECT r.pseudonym, family_key, birth_date FROM record_name AS n
              JOIN record AS r ON r.record_no = n.record_no WHERE n.record_no >= $1 AND n.record_no < $2",
    },
    Table {
        name: "entry",
        stream: Stream::Feed,
        versioned: true,
        sql: "SELECT r.pseudonym, occurred_us, entry_key, e.known_from, fact_index,
                     CASE WHEN known_to < $3 THEN known_to END, kind, withdrawn,
                     substr(t.bodies, body_at + 1, body_length)
              FROM entry AS e JOIN record AS r ON r.record_no = e.record_no
              JOIN told AS t ON t.known_from = e.known_from
              WHERE e.record_no >= $1 AND e.record_no < $2 AND e.known_from < $3",
    },
    Table {
        name: "fact",
        stream: Stream::Feed,
        versioned: false,
        sql: "SELECT r.pseudonym, entry_key, state FROM fact AS f JOIN record AS r ON r.record_no = f.record_no
              WHERE f.record_no >= $1 AND f.record_no < $2",
    },
    Table {
        name: "encounter",
        stream: Stream::Feed,
        versioned: true,
        sql: "SELECT r.pseudonym, visit, e.known_from, CASE WHEN known_to < $3 THEN known_to END, status, class,
                     start_us, end_us, location, movements
              FROM encounter AS e JOIN record AS r ON r.record_no = e.record_no
              WHERE e.record_no >= $1 AND e.record_no < $2 AND e.known_from < $3",
    },
    Table {
        name: "link",
        stream: Stream::Identity,
        versioned: true,
        sql:
            "SELECT pseudonym, known_from, CASE WHEN known_to < $3 THEN known_to END, person, method, score, decided_us,
                     decision
              FROM link WHERE known_from >= $1 AND known_from < $2 AND known_from < $3",
    },
    Table {
        name: "merge",
        stream: Stream::Identity,
        versioned: true,
        sql: "SELECT retired, survivor, known_from, CASE WHEN known_to < $3 THEN known_to END, decided_us
              FROM merge WHERE known_from >= $1 AND known_from < $2 AND known_from < $3",
    },
    Table {
        name: "review",
        stream: Stream::Identity,
        versioned: true,
        sql: "SELECT pseudonym, known_from, CASE WHEN known_to < $3 THEN known_to END, risk, codes, asked_us, body
              FROM review WHERE known_from >= $1 AND known_from < $2 AND known_from < $3",
    },
    Table {
        name: "ruling",
        stream: Stream::Identity,
        versioned: true,
        sql: "SELECT known_from, kind, decided_us, body
              FROM ruling WHERE known_from >= $1 AND known_from < $2 AND known_from < $3",
    },
    Table {
        name: "feed",
        stream: Stream::Control,
        versioned: false,
        sql: "SELECT feed, state, profile_toml, revision, registered_us FROM feed",
    },
    Table {
        name: "feed_health",
        stream: Stream::Feed,
        versioned: false,
        sql: "SELECT feed, partition, accepted, conflict, quarantined, redriven, held, last_received_us, last_offset
              FROM feed_health WHERE partition = ($1 >> 40)",
    },
    Table {
        name: "quarantine",
        stream: Stream::Feed,
        versioned: true,
        sql: "SELECT known_from, feed, received_us, body FROM quarantine
              WHERE known_from >= $1 AND known_from < $2 AND known_from < $3",
    },
    Table {
        name: "redrive",
        stream: Stream::Feed,
        versioned: true,
        sql: "SELECT known_from, held, redriven_us, resent FROM redrive
              WHERE known_from >= $1 AND known_from < $2 AND known_from < $3",
    },
    Table {
        name: "parked",
        stream: Stream::Feed,
        versioned: true,
        sql: "SELECT pseudonym, stream, known_from, code FROM parked
              WHERE stream = 'feed' AND known_from >= $1 AND known_from < $2 AND known_from < $3",
    },
    Table {
        name: "parked_event",
        stream: Stream::Feed,
        versioned: true,
        sql: "SELECT pseudonym, stream, known_from, code FROM parked_event
              WHERE stream = 'feed' AND known_from >= $1 AND known_from < $2 AND known_from < $3",
    },
    Table {
        name: "parked_event (identity)",
        stream: Stream::Identity,
        versioned: true,
        sql: "SELECT pseudonym, stream, known_from, code FROM parked_event
              WHERE stream = 'identity' AND known_from >= $1 AND known_from < $2 AND known_from < $3",
    },
];

impl ReadModel {
    /// A digest of every table, as it stands; or, as of a cut, of those whose rows carry when they were known (of every
    /// table, where the cut is all that is projected). Reads everything.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn digest(&self, as_of: Option<&Cut>) -> Result<Vec<TableDigest>, QueryError> {
        self.visible(as_of)?;
        let mut conn = self.readers().acquire().await?;
        // One transaction: the tables that say nothing of when they were known must be of one moment.
        let mut tx = conn.one_moment().await?;
        let mut conn = tx.session();
        let known = Cursors::load(&mut conn).await?.cut();
        let seen = known
            .0
            .iter()
            .map(|(partition, next)| (*partition, (*next).min(as_of.map_or(u64::MAX, |cut| cut.size(*partition)))));
        let seen = Cut(seen.collect());
        let mut digests = Vec::new();
        for table in TABLES.iter().filter(|table| table.versioned || seen == known) {
            digests.push(table.digest(&mut conn, &seen).await?);
        }
        Ok(digests)
    }

    /// Compares the tables that both hold as of `cut`; none are returned where they hold the same.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn differences(&self, other: &Self, cut: &Cut) -> Result<Vec<Difference>, QueryError> {
        let (left, right) = (self.digest(Some(cut)).await?, other.digest(Some(cut)).await?);
        let pairs = left.into_iter().filter_map(|left| {
            let right = right.iter().find(|right| right.table == left.table)?;
            (left != *right).then(|| Difference { left, right: right.clone() })
        });
        Ok(pairs.collect())
    }
}

impl Table {
    async fn digest(&self, conn: &mut Session<'_>, seen: &Cut) -> Result<TableDigest, StoreError> {
        let mut sum = [0u8; 32];
        let mut count = 0;
        for (partition, size) in seen.0.iter().filter(|(partition, _)| partition.stream == self.stream) {
            let (first, end) = (place(partition.number, 0), place(partition.number + 1, 0));
            let given = vec![first.into(), end.into(), place(partition.number, *size).into()];
            let mut rows = conn.stream(self.sql, given)?;
            while let Some(row) = rows.try_next().await? {
                add(&mut sum, hash(&row)?.as_ref());
                count += 1;
            }
        }
        Ok(TableDigest { table: self.name, rows: count, hash: hex(&sum) })
    }
}

/// Every value with its type and length in front.
fn hash(row: &Row) -> Result<aws_lc_rs::digest::Digest, StoreError> {
    let mut context = Context::new(&SHA256);
    let mut put = |kind: u8, bytes: &[u8]| {
        context.update(&[kind]);
        context.update(&(bytes.len() as u64).to_be_bytes());
        context.update(bytes);
    };
    let columns = match row {
        Row::Sqlite(row) => row.len(),
        Row::Postgres(row) => row.len(),
    };
    for column in 0..columns {
        match kind(row, column)? {
            Kind::Null => put(0, &[]),
            Kind::Int => put(1, &sql::get::<i64>(row, column)?.to_be_bytes()),
            Kind::SmallInt(value) => put(1, &value.to_be_bytes()),
            Kind::Text => put(2, sql::get::<&str>(row, column)?.as_bytes()),
            Kind::Bytes => put(3, sql::get::<&[u8]>(row, column)?),
        }
    }
    Ok(context.finish())
}

/// What a value is, whatever the database calls it.
enum Kind {
    Null,
    Int,
    /// Of a column that is narrower than 64 bits.
    SmallInt(i64),
    Text,
    Bytes,
}

fn kind(row: &Row, column: usize) -> Result<Kind, StoreError> {
    let (null, name) = match row {
        Row::Sqlite(row) => {
            let value = row.try_get_raw(column)?;
            (value.is_null(), value.type_info().name().to_owned())
        }
        Row::Postgres(row) => {
            let value = row.try_get_raw(column)?;
            (value.is_null(), value.type_info().name().to_owned())
        }
    };
    Ok(match name.as_str() {
        _ if null => Kind::Null,
        "INTEGER" | "INT8" => Kind::Int,
        "INT4" => Kind::SmallInt(sql::get::<i32>(row, column)?.into()),
        "INT2" => Kind::SmallInt(sql::get::<i16>(row, column)?.into()),
        "TEXT" => Kind::Text,
        _ => Kind::Bytes,
    })
}

/// Addition of 256-bit numbers, big endian, modulo 2^256.
fn add(sum: &mut [u8; 32], hash: &[u8]) {
    let mut carry = 0;
    for (sum, hash) in sum.iter_mut().zip(hash).rev() {
        let all = u16::from(*sum) + u16::from(*hash) + carry;
        *sum = all.to_be_bytes()[1];
        carry = all >> 8;
    }
}
