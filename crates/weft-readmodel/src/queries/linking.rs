//! What the linker starts from.

use futures::TryStreamExt;
use weft_model::{Cut, PersonId, Pseudonym, Stream};

use super::members::read_person;
use crate::{ReadModel, bulk, error::QueryError, records::read_pseudonym};

/// The state that linking is decided on: records as of a size of the feed stream, links and merges as known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinkingSnapshot {
    /// Size of the feed stream that `records` are as of: what was asked for, or what is projected where that is less.
    pub feed_size: u64,
    /// Size of the identity stream that `links` and `merges` are as of.
    pub identity_size: u64,
    /// Records of which an accepted message has told.
    pub records: Vec<LinkingRecord>,
    /// Which person each linked record belongs to, merges aside.
    pub links: Vec<(Pseudonym, PersonId)>,
    /// Retired records and their survivors.
    pub merges: Vec<(Pseudonym, Pseudonym)>,
}

/// A record as the linker sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkingRecord {
    /// Its pseudonym.
    pub pseudonym: Pseudonym,
    /// The feed that told of it first.
    pub feed: String,
    /// Encoded [`Demographics`](weft_model::proto::event::Demographics), folded; empty where nothing was said.
    pub demographics: Vec<u8>,
    /// When the newest of that was first said, by the source's clock.
    pub recorded_us: i64,
}

impl ReadModel {
    /// The linking state as of `feed_size` messages (or as many as are projected).
    ///
    /// # Errors
    /// [`QueryError::Store`].
    pub async fn linking_snapshot(&self, feed_size: u64) -> Result<LinkingSnapshot, QueryError> {
        const RECORDS: &str = "
            SELECT r.pseudonym, r.feed, coalesce(v.demographics, x''), coalesce(v.recorded_us, 0)
            FROM record AS r LEFT JOIN record_version AS v ON v.record_no = r.record_no
                AND v.known_from < ?1 AND (v.known_to IS NULL OR v.known_to >= ?1)
            WHERE r.first_offset < ?1 ORDER BY r.record_no";
        const LINKS: &str = "
            SELECT r.pseudonym, l.person FROM link AS l JOIN record AS r ON r.record_no = l.record_no
            WHERE l.known_from < ?1 AND (l.known_to IS NULL OR l.known_to >= ?1) ORDER BY l.record_no";
        const MERGES: &str = "
            SELECT r.pseudonym, s.pseudonym FROM merge AS m JOIN record AS r ON r.record_no = m.retired_no
                JOIN record AS s ON s.record_no = m.survivor_no
            WHERE m.known_from < ?1 AND (m.known_to IS NULL OR m.known_to >= ?1) ORDER BY m.known_from";
        let feed = Stream::Feed.partition(0);
        let projected = self.known_at().size(feed);
        let cut = Cut([(feed, feed_size.min(projected))].into());
        let (known, sizes) = self.visible(Some(&cut))?;
        let mut snapshot = LinkingSnapshot {
            feed_size: known.size(feed),
            identity_size: known.size(Stream::Identity.partition(0)),
            ..LinkingSnapshot::default()
        };
        let mut conn = self.readers().acquire().await?;
        let mut rows = sqlx::query(RECORDS).bind(sizes.feed).fetch(&mut *conn);
        while let Some(row) = rows.try_next().await? {
            snapshot.records.push(LinkingRecord {
                pseudonym: read_pseudonym(bulk::get(&row, 0)?)?,
                feed: bulk::get(&row, 1)?,
                demographics: bulk::get(&row, 2)?,
                recorded_us: bulk::get(&row, 3)?,
            });
        }
        drop(rows);
        let mut rows = sqlx::query(LINKS).bind(sizes.identity).fetch(&mut *conn);
        while let Some(row) = rows.try_next().await? {
            snapshot.links.push((read_pseudonym(bulk::get(&row, 0)?)?, read_person(bulk::get(&row, 1)?)?));
        }
        drop(rows);
        for row in sqlx::query(MERGES).bind(sizes.identity).fetch_all(&mut *conn).await? {
            snapshot.merges.push((read_pseudonym(bulk::get(&row, 0)?)?, read_pseudonym(bulk::get(&row, 1)?)?));
        }
        Ok(snapshot)
    }
}
