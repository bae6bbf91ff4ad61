//! What the linker starts from.

use futures::TryStreamExt;
use prost::Message;
use weft_model::{Cut, Payload, PersonId, Pseudonym, SourceRecordId, Stream, proto::event::RecordLinked};

use super::{decisions, members::read_person};
use crate::{
    ReadModel,
    error::{QueryError, StoreError},
    place::place,
    records::read_pseudonym,
    sql,
};

/// The state that linking is decided on: records as of sizes of the feed stream, links and merges as known.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LinkingSnapshot {
    /// What it is as of. `records` are as of its sizes of the feed stream: what was asked for, or what is projected where
    /// that is less. `links` and `merges` are as of its size of the identity stream.
    pub cut: Cut,
    /// Records of which an accepted message has told.
    pub records: Vec<LinkingRecord>,
    /// Which person each linked record belongs to, merges aside.
    pub links: Vec<(Pseudonym, PersonId)>,
    /// Retired records and their survivors.
    pub merges: Vec<(Pseudonym, Pseudonym)>,
    /// Events that outrank scores, in the order of the log, with their offsets in the identity stream.
    pub rulings: Vec<(u64, Payload)>,
    /// What waits in the review queue: the decision that asks about each record.
    pub questions: Vec<(Pseudonym, RecordLinked)>,
}

/// A record as the linker sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkingRecord {
    /// Its pseudonym.
    pub pseudonym: Pseudonym,
    /// Its own name.
    pub record: SourceRecordId,
    /// The feed that told of it first.
    pub feed: String,
    /// Encoded [`Demographics`](weft_model::proto::event::Demographics), folded; empty where nothing was said.
    pub demographics: Vec<u8>,
    /// When the newest of that was first said, by the source's clock.
    pub recorded_us: i64,
}

impl ReadModel {
    /// The linking state as of the sizes that `asked` gives to partitions of the feed stream (or as many events as are
    /// projected, where that is less or it names none).
    ///
    /// # Errors
    /// [`QueryError::Store`].
    pub async fn linking_snapshot(&self, asked: &Cut) -> Result<LinkingSnapshot, QueryError> {
        // $1 first record number of a partition, $2 of the next one, $3 size.
        const RECORDS: &str = "
            SELECT r.pseudonym, r.feed, v.demographics, coalesce(v.recorded_us, 0), r.organisation, r.system, r.value
            FROM record AS r LEFT JOIN record_version AS v ON v.record_no = r.record_no
                AND v.known_from < $3 AND (v.known_to IS NULL OR v.known_to >= $3)
            WHERE r.record_no >= $1 AND r.record_no < $2 AND r.known_from < $3 ORDER BY r.record_no";
        const LINKS: &str = "
            SELECT pseudonym, person FROM link
            WHERE known_from < $1 AND (known_to IS NULL OR known_to >= $1) ORDER BY pseudonym";
        const MERGES: &str = "
            SELECT retired, survivor FROM merge
            WHERE known_from < $1 AND (known_to IS NULL OR known_to >= $1) ORDER BY known_from";
        const QUESTIONS: &str = "
            SELECT pseudonym, body FROM review
            WHERE known_from < $1 AND (known_to IS NULL OR known_to >= $1) ORDER BY known_from";
        let mut asked = asked.clone();
        let projected = self.known_at();
        asked.0.retain(|partition, _| partition.stream == Stream::Feed);
        for (partition, size) in &mut asked.0 {
            *size = (*size).min(projected.0.get(partition).copied().unwrap_or(0));
        }
        let (cut, sizes) = self.visible(Some(&asked))?;
        let mut snapshot = LinkingSnapshot { cut, ..LinkingSnapshot::default() };
        let mut conn = self.readers().acquire().await?;
        let mut tx = conn.one_moment().await?;
        let mut conn = tx.session();
        for (number, size) in (0..).zip(&sizes.feed) {
            let given = vec![place(number, 0).into(), place(number + 1, 0).into(), (*size).into()];
            let mut rows = conn.stream(RECORDS, given)?;
            while let Some(row) = rows.try_next().await? {
                snapshot.records.push(LinkingRecord {
                    pseudonym: read_pseudonym(sql::get(&row, 0)?, "record")?,
                    feed: sql::get(&row, 1)?,
                    demographics: sql::get::<Option<Vec<u8>>>(&row, 2)?.unwrap_or_default(),
                    recorded_us: sql::get(&row, 3)?,
                    record: SourceRecordId {
                        organisation: sql::get(&row, 4)?,
                        system: sql::get(&row, 5)?,
                        value: sql::get(&row, 6)?,
                    },
                });
            }
        }
        let mut rows = conn.stream(LINKS, vec![sizes.identity.into()])?;
        while let Some(row) = rows.try_next().await? {
            snapshot.links.push((read_pseudonym(sql::get(&row, 0)?, "link")?, read_person(sql::get(&row, 1)?)?));
        }
        drop(rows);
        for row in conn.all(MERGES, vec![sizes.identity.into()]).await? {
            let retired = read_pseudonym(sql::get(&row, 0)?, "merge")?;
            snapshot.merges.push((retired, read_pseudonym(sql::get(&row, 1)?, "merge")?));
        }
        snapshot.rulings = decisions::rulings(&mut conn, &sizes).await?;
        for row in conn.all(QUESTIONS, vec![sizes.identity.into()]).await? {
            let unreadable = |_| StoreError::Unreadable { table: "review", column: "body" };
            let asked = RecordLinked::decode(sql::get::<&[u8]>(&row, 1)?).map_err(unreadable)?;
            snapshot.questions.push((read_pseudonym(sql::get(&row, 0)?, "review")?, asked));
        }
        Ok(snapshot)
    }
}
