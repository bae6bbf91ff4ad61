//! What PostgreSQL counts of the tables that grow.

use std::time::Duration;

use sqlx::PgConnection;

/// Since the server started.
#[derive(Clone, Copy)]
pub(crate) struct Counts {
    /// Scans of whole tables.
    pub(crate) scans: i64,
    /// Scans of indexes of parts of `entry`.
    pub(crate) parts: i64,
    /// Pages touched.
    pub(crate) pages: i64,
    /// Those of them that were not in PostgreSQL's memory.
    pub(crate) read: i64,
}

impl Counts {
    /// What has been counted by now: the server's processes tell of it with a second's delay.
    pub(crate) async fn now(watching: &mut PgConnection) -> Self {
        const COUNTED: &str = "
            SELECT sum(t.seq_scan)::bigint, (sum(t.idx_scan) FILTER (WHERE t.relname ~ '^entry'))::bigint,
                   sum(coalesce(i.heap_blks_hit, 0) + coalesce(i.idx_blks_hit, 0) + coalesce(i.toast_blks_hit, 0))::bigint,
                   sum(coalesce(i.heap_blks_read, 0) + coalesce(i.idx_blks_read, 0) + coalesce(i.toast_blks_read, 0))::bigint
            FROM pg_stat_user_tables AS t JOIN pg_statio_user_tables AS i USING (relid)
            WHERE t.schemaname = 'large'
              AND t.relname ~ '^(entry|told|fact|record|link|merge|parked|encounter|quarantine|redrive|applied)'";
        tokio::time::sleep(Duration::from_secs(2)).await;
        let (scans, parts, hit, read): (i64, i64, i64, i64) =
            sqlx::query_as(COUNTED).fetch_one(watching).await.unwrap();
        Self { scans, parts, pages: hit + read, read }
    }

    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            scans: self.scans - before.scans,
            parts: self.parts - before.parts,
            pages: self.pages - before.pages,
            read: self.read - before.read,
        }
    }
}
