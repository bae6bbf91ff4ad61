//! Digests: two read models hold the same where their digests are equal, whatever the order of their rows and the numbers
//! of their records.
//!
//! The hash of a table is the sum of the hashes of its rows, so that no order is needed; a row is written with the
//! pseudonym of a record in the place of its number. Tables whose rows carry when they were known can be digested as of
//! any cut, also while events are applied.

use aws_lc_rs::digest::{Context, SHA256};
use futures::TryStreamExt;
use sqlx::{Connection, Row, SqliteConnection, TypeInfo, ValueRef, sqlite::SqliteRow};
use weft_model::{Cut, Stream};

use crate::{
    ReadModel, bulk, cursor,
    error::{QueryError, StoreError},
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

/// What is written of a table. ?1 is the size of the stream that its rows come from.
struct Table {
    name: &'static str,
    stream: Stream,
    /// Its rows say when they were known: it can be digested as of any cut.
    versioned: bool,
    sql: &'static str,
}

const TABLES: [Table; 15] = [
    Table {
        name: "record",
        stream: Stream::Feed,
        versioned: false,
        sql: "SELECT pseudonym, organisation, system, value, feed, first_offset FROM record",
    },
    Table {
        name: "record_version",
        stream: Stream::Feed,
        versioned: true,
        sql: "SELECT r.pseudonym, known_from, iif(known_to < ?1, known_to, NULL), recorded_us, demographics
              FROM record_version JOIN record AS r USING (record_no) WHERE known_from < ?1",
    },
    Table {
        name: "record_nhs",
        stream: Stream::Feed,
        versioned: false,
        sql: "SELECT r.pseudonym, nhs_number FROM record_nhs JOIN record AS r USING (record_no)",
    },
    Table {
        name: "record_name",
        stream: Stream::Feed,
        versioned: false,
        sql: "SELECT r.pseudonym, family_key, birth_date FROM record_name JOIN record AS r USING (record_no)",
    },
    Table {
        name: "entry",
        stream: Stream::Feed,
        versioned: true,
        sql: "SELECT r.pseudonym, occurred_us, entry_key, known_from, fact_index, iif(known_to < ?1, known_to, NULL),
                     kind, withdrawn, body
              FROM entry JOIN record AS r USING (record_no) WHERE known_from < ?1",
    },
    Table {
        name: "fact",
        stream: Stream::Feed,
        versioned: false,
        sql: "SELECT r.pseudonym, entry_key, state FROM fact JOIN record AS r USING (record_no)",
    },
    Table {
        name: "encounter",
        stream: Stream::Feed,
        versioned: true,
        sql: "SELECT r.pseudonym, visit, known_from, iif(known_to < ?1, known_to, NULL), status, class, start_us,
                     end_us, location, movements
              FROM encounter JOIN record AS r USING (record_no) WHERE known_from < ?1",
    },
    Table {
        name: "link",
        stream: Stream::Identity,
        versioned: true,
        sql: "SELECT r.pseudonym, known_from, iif(known_to < ?1, known_to, NULL), person, method, score, decided_us,
                     decision
              FROM link JOIN record AS r USING (record_no) WHERE known_from < ?1",
    },
    Table {
        name: "merge",
        stream: Stream::Identity,
        versioned: true,
        sql: "SELECT r.pseudonym, s.pseudonym, known_from, iif(known_to < ?1, known_to, NULL), decided_us
              FROM merge JOIN record AS r ON r.record_no = retired_no JOIN record AS s ON s.record_no = survivor_no
              WHERE known_from < ?1",
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
        sql: "SELECT feed, accepted, conflict, quarantined, last_received_us, last_offset FROM feed_health",
    },
    Table {
        name: "quarantine",
        stream: Stream::Feed,
        versioned: true,
        sql: "SELECT known_from, feed, body FROM quarantine WHERE known_from < ?1",
    },
    Table {
        name: "parked",
        stream: Stream::Feed,
        versioned: true,
        sql: "SELECT r.pseudonym, stream, known_from, code FROM parked JOIN record AS r USING (record_no)
              WHERE stream = 'feed' AND known_from < ?1",
    },
    Table {
        name: "parked_event",
        stream: Stream::Feed,
        versioned: true,
        sql: "SELECT r.pseudonym, stream, known_from, code FROM parked_event LEFT JOIN record AS r USING (record_no)
              WHERE stream = 'feed' AND known_from < ?1",
    },
    Table {
        name: "parked_event (identity)",
        stream: Stream::Identity,
        versioned: true,
        sql: "SELECT r.pseudonym, stream, known_from, code FROM parked_event LEFT JOIN record AS r USING (record_no)
              WHERE stream = 'identity' AND known_from < ?1",
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
        let mut transaction = conn.begin().await?;
        let known = cursor::load(&mut transaction).await?;
        let size = |stream: Stream| {
            let partition = stream.partition(0);
            known.size(partition).min(as_of.map_or(u64::MAX, |cut| cut.size(partition)))
        };
        let whole = known.0.iter().all(|(partition, next)| size(partition.stream) == *next);
        let mut digests = Vec::new();
        for table in TABLES.iter().filter(|table| table.versioned || whole) {
            digests.push(table.digest(&mut transaction, size(table.stream)).await?);
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
    async fn digest(&self, conn: &mut SqliteConnection, size: u64) -> Result<TableDigest, StoreError> {
        let mut sum = [0u8; 32];
        let mut count = 0;
        let mut rows = sqlx::query(self.sql).bind(bulk::sql(size)).fetch(conn);
        while let Some(row) = rows.try_next().await? {
            add(&mut sum, hash(&row)?.as_ref());
            count += 1;
        }
        let hash = sum.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(TableDigest { table: self.name, rows: count, hash })
    }
}

/// Every value with its type and length in front.
fn hash(row: &SqliteRow) -> Result<aws_lc_rs::digest::Digest, StoreError> {
    let mut context = Context::new(&SHA256);
    let mut put = |kind: u8, bytes: &[u8]| {
        context.update(&[kind]);
        context.update(&(bytes.len() as u64).to_be_bytes());
        context.update(bytes);
    };
    for column in 0..row.len() {
        let value = row.try_get_raw(column)?;
        match value.type_info().name() {
            _ if value.is_null() => put(0, &[]),
            "INTEGER" => put(1, &bulk::get::<i64>(row, column)?.to_be_bytes()),
            "TEXT" => put(2, bulk::get::<&str>(row, column)?.as_bytes()),
            _ => put(3, bulk::get::<&[u8]>(row, column)?),
        }
    }
    Ok(context.finish())
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
