//! Filling a schema of PostgreSQL: COPY into tables without indexes; at the end the ends of versions, indexes and cursors.

use std::collections::HashMap;

use futures::{StreamExt, stream::FuturesUnordered};
use sqlx::{AssertSqlSafe, PgPool};
use tokio::{sync::mpsc, task::JoinHandle};
use weft_log::SharedLog;
use weft_model::Cut;

use super::{
    Limits, ROUNDS_AHEAD, Sink, fill_partition,
    load::{Copy, Load},
    move_cursors,
};
use crate::{
    bulk,
    error::{ProjectError, StoreError},
    rebuild::EVENTS_MAX,
    repeats::Repeats,
    sql::{Session, Tx},
};

const LIMITS: Limits = Limits { events: EVENTS_MAX, facts: usize::MAX };

/// What the connections of a fill are told: it reads and sorts whole tables, and is thrown away if it ends early.
const SETTINGS: &str = "SET synchronous_commit = off; SET enable_seqscan = on; SET enable_hashjoin = on;
     SET enable_mergejoin = on; SET plan_cache_mode = force_custom_plan; SET work_mem = '256MB';
     SET maintenance_work_mem = '512MB'; SET idle_in_transaction_session_timeout = 0";

/// Applies `log` from its start up to `ends` to the empty read model of `pool`.
pub(crate) async fn fill(pool: &PgPool, log: &SharedLog, ends: &Cut, repeats: Repeats) -> Result<(), ProjectError> {
    let indexes = Indexes::drop(pool).await?;
    let load = Load::new(widths(pool).await?);
    let (copies, copying) = start_copying(pool.clone());
    let mut sink = Copies { load, to: copies };
    let read = async {
        for (partition, end) in &ends.0 {
            fill_partition(log, (*partition, *end), repeats, LIMITS, &mut sink).await?;
        }
        Ok::<(), ProjectError>(())
    }
    .await;
    let Copies { mut load, to } = sink;
    drop(to);
    // Where copying failed, that is why reading ended.
    copying.await??;
    read?;
    finish(pool, &mut load).await?;
    indexes.make(pool).await?;
    move_cursors(Tx::Postgres(pool.begin().await.map_err(StoreError::from)?), ends).await
}

/// Rows as COPY wants them, and the task that copies.
struct Copies {
    load: Load,
    to: mpsc::Sender<Vec<Copy>>,
}

impl Sink for Copies {
    fn session(&mut self) -> Session<'_> {
        Session::Load(&mut self.load)
    }

    async fn send(&mut self) -> Result<(), ProjectError> {
        let mut some = Vec::new();
        for later in self.load.later() {
            some.push(Copy { sql: later.create(), bytes: Vec::new() });
        }
        some.extend(self.load.take());
        self.to.send(some).await.map_err(|_| StoreError::Unavailable(sqlx::Error::WorkerCrashed).into())
    }
}

/// Copies what is sent, in order, in a task of its own.
fn start_copying(pool: PgPool) -> (mpsc::Sender<Vec<Copy>>, JoinHandle<Result<(), StoreError>>) {
    let (sender, mut rounds) = mpsc::channel::<Vec<Copy>>(ROUNDS_AHEAD);
    let copying = tokio::spawn(async move {
        let mut conn = pool.acquire().await?;
        sqlx::raw_sql(SETTINGS).execute(&mut *conn).await?;
        while let Some(round) = rounds.recv().await {
            for copy in round {
                if copy.bytes.is_empty() {
                    sqlx::raw_sql(AssertSqlSafe(copy.sql)).execute(&mut *conn).await?;
                    continue;
                }
                let mut to = conn.copy_in_raw(&copy.sql).await?;
                to.send(copy.bytes).await?;
                to.finish().await?;
            }
        }
        // Its settings are not for others.
        conn.close_on_drop();
        Ok(())
    });
    (sender, copying)
}

/// What could not be done row by row: the ends of versions, counts and registrations, and keys that were told twice.
async fn finish(pool: &PgPool, load: &mut Load) -> Result<(), ProjectError> {
    const TWICE: [(&str, &str); 2] =
        [("record_nhs", "nhs_number, record_no"), ("record_name", "family_key, birth_date, record_no")];
    let mut conn = pool.acquire().await.map_err(StoreError::from)?;
    conn.close_on_drop();
    let run = async {
        sqlx::raw_sql(SETTINGS).execute(&mut *conn).await?;
        for later in load.later() {
            sqlx::raw_sql(AssertSqlSafe(format!("ANALYZE {}", later.table))).execute(&mut *conn).await?;
            sqlx::raw_sql(AssertSqlSafe(later.execute())).execute(&mut *conn).await?;
            sqlx::raw_sql(AssertSqlSafe(format!("DROP TABLE {}", later.table))).execute(&mut *conn).await?;
        }
        for (table, columns) in TWICE {
            let sql = format!(
                "DELETE FROM {table} WHERE ctid IN (SELECT ctid FROM
                 (SELECT ctid, row_number() OVER (PARTITION BY {columns}) AS n FROM {table}) AS t WHERE n > 1)"
            );
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *conn).await?;
        }
        Ok::<(), sqlx::Error>(())
    };
    run.await.map_err(StoreError::from)?;
    for (statement, values) in load.take_small() {
        bulk::execute(&mut Session::Postgres(&mut conn), &statement, values).await?;
    }
    Ok(())
}

/// Bytes of the integers that are not eight long, by table and column.
async fn widths(pool: &PgPool) -> Result<HashMap<(String, String), i16>, StoreError> {
    const WIDTHS: &str = "SELECT c.relname::text, a.attname::text, a.attlen FROM pg_attribute AS a
         JOIN pg_class AS c ON c.oid = a.attrelid
         WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') AND a.attnum > 0
           AND a.attlen IN (2, 4)";
    let rows: Vec<(String, String, i16)> = sqlx::query_as(WIDTHS).fetch_all(pool).await?;
    Ok(rows.into_iter().map(|(table, column, width)| ((table, column), width)).collect())
}

/// The indexes of the tables that are filled, while they are away.
struct Indexes(Vec<String>);

impl Indexes {
    /// Drops them.
    async fn drop(pool: &PgPool) -> Result<Self, StoreError> {
        // Small tables that are changed by their keys keep theirs.
        const FIND: &str = "
            SELECT i.indexrelid::regclass::text,
                   CASE WHEN c.oid IS NULL THEN pg_get_indexdef(i.indexrelid)
                        ELSE format('ALTER TABLE %s ADD %s', i.indrelid::regclass, pg_get_constraintdef(c.oid)) END,
                   CASE WHEN c.oid IS NULL THEN format('DROP INDEX %s', i.indexrelid::regclass)
                        ELSE format('ALTER TABLE %s DROP CONSTRAINT %I', i.indrelid::regclass, c.conname) END
            FROM pg_index AS i JOIN pg_class AS t ON t.oid = i.indrelid
            LEFT JOIN pg_constraint AS c ON c.conindid = i.indexrelid AND c.contype IN ('p', 'u')
            WHERE t.relnamespace = current_schema()::regnamespace AND NOT t.relispartition
              AND t.relname IN ('record', 'record_version', 'record_nhs', 'record_name', 'entry', 'told', 'fact',
                                'encounter', 'link', 'merge', 'review', 'ruling', 'applied_event', 'quarantine', 'redrive',
                                'parked_event')
            ORDER BY 1";
        let found: Vec<(String, String, String)> = sqlx::query_as(FIND).fetch_all(pool).await?;
        let mut definitions = Vec::new();
        for (_, define, drop) in found {
            sqlx::raw_sql(AssertSqlSafe(drop)).execute(pool).await?;
            // An index of a partitioned table is told without those of its parts.
            definitions.push(define.replacen(" ON ONLY ", " ON ", 1));
        }
        Ok(Self(definitions))
    }

    /// Makes them anew, two at a time.
    async fn make(self, pool: &PgPool) -> Result<(), StoreError> {
        const AT_ONCE: usize = 2;
        let make = |definition: String| async {
            let mut conn = pool.acquire().await?;
            conn.close_on_drop();
            sqlx::raw_sql(SETTINGS).execute(&mut *conn).await?;
            sqlx::raw_sql(AssertSqlSafe(definition)).execute(&mut *conn).await?;
            Ok::<(), StoreError>(())
        };
        let mut waiting = self.0.into_iter();
        let mut making: FuturesUnordered<_> = waiting.by_ref().take(AT_ONCE).map(make).collect();
        while let Some(made) = making.next().await {
            made?;
            making.extend(waiting.next().map(make));
        }
        Ok(())
    }
}
