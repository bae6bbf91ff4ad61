//! Filling a schema of PostgreSQL: COPY into tables without indexes; at the end the ends of versions, indexes and cursors.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use futures::{StreamExt, stream::FuturesUnordered};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, PgPool, postgres::PgConnectOptions};
use tokio::{sync::mpsc, task::JoinSet};
use weft_log::SharedLog;
use weft_model::Cut;

use super::{
    Limits, ROUNDS_AHEAD, Sink, fill_partition,
    load::{HEADER, Later, Load, Rows, TRAILER, Target},
    move_cursors,
};
use crate::{
    bulk,
    error::{ProjectError, StoreError},
    postgres,
    rebuild::EVENTS_MAX,
    repeats::Repeats,
    sql::{Session, Tx},
};

const LIMITS: Limits = Limits { events: EVENTS_MAX, facts: usize::MAX };

/// What the connections of a fill are told: it reads and sorts whole tables, and is thrown away if it ends early.
const SETTINGS: &str = "SET synchronous_commit = off; SET enable_seqscan = on; SET enable_hashjoin = on;
     SET enable_mergejoin = on; SET plan_cache_mode = force_custom_plan; SET work_mem = '256MB';
     SET maintenance_work_mem = '512MB'; SET idle_in_transaction_session_timeout = 0; SET statement_timeout = 0";

/// Applies `log` from its start up to `ends` to the empty read model of `pool`.
pub(crate) async fn fill(pool: &PgPool, log: &SharedLog, ends: &Cut, repeats: Repeats) -> Result<(), ProjectError> {
    postgres::mark(&mut *pool.acquire().await.map_err(StoreError::from)?, false).await?;
    let tables = Table::strip_all(pool).await?;
    let options = Arc::unwrap_or_clone(pool.connect_options());
    let load = Load::new(widths(pool).await?);
    let mut copies = Copies { load, options: options.clone(), streams: HashMap::new(), copying: JoinSet::new() };
    let mut read = Ok(());
    for (partition, end) in &ends.0 {
        read = fill_partition(log, (*partition, *end), repeats, LIMITS, &mut copies).await.map(drop);
        if read.is_err() {
            break;
        }
    }
    // Where copying failed, that is why reading ended.
    let mut load = copies.end().await?;
    read?;
    finish(&options, tables, load.later()).await?;
    let mut conn = connect(&options).await?;
    for (statement, values) in load.take_small() {
        bulk::execute(&mut Session::Postgres(&mut conn), &statement, values).await?;
    }
    conn.close().await.map_err(StoreError::from)?;
    let mut tx = pool.begin().await.map_err(StoreError::from)?;
    postgres::mark(&mut tx, true).await?;
    move_cursors(Tx::Postgres(tx), ends).await
}

/// Rows as COPY wants them, and a connection for each table that copies them from the first to the last in one go: the
/// driver leaves Nagle's algorithm on, so that the end of a COPY may wait 40 ms for the server's system to confirm what came
/// before it.
struct Copies {
    load: Load,
    options: PgConnectOptions,
    /// By table.
    streams: HashMap<String, mpsc::Sender<Vec<Vec<u8>>>>,
    copying: JoinSet<Result<(), StoreError>>,
}

impl Sink for Copies {
    fn session(&mut self) -> Session<'_> {
        Session::Load(&mut self.load)
    }

    async fn send(&mut self) -> Result<(), ProjectError> {
        for Rows { into, pieces } in self.load.take() {
            let stream = match self.streams.entry(into.table.clone()) {
                Entry::Occupied(stream) => stream.into_mut(),
                Entry::Vacant(new) => {
                    let (stream, rounds) = mpsc::channel(ROUNDS_AHEAD);
                    self.copying.spawn(copy(self.options.clone(), into, rounds));
                    new.insert(stream)
                }
            };
            stream.send(pieces).await.map_err(|_| StoreError::Unavailable(sqlx::Error::WorkerCrashed))?;
        }
        Ok(())
    }
}

impl Copies {
    /// Waits until every table has all of its rows.
    async fn end(mut self) -> Result<Load, ProjectError> {
        self.streams.clear();
        while let Some(copied) = self.copying.join_next().await {
            copied??;
        }
        Ok(self.load)
    }
}

/// Copies rounds of rows as they come.
async fn copy(
    options: PgConnectOptions,
    into: Target,
    mut rounds: mpsc::Receiver<Vec<Vec<u8>>>,
) -> Result<(), StoreError> {
    let mut conn = connect(&options).await?;
    if let Some(create) = &into.create {
        sqlx::raw_sql(AssertSqlSafe(create.clone())).execute(&mut conn).await?;
    }
    let mut to = conn.copy_in_raw(&into.copy()).await?;
    to.send(HEADER).await?;
    while let Some(pieces) = rounds.recv().await {
        for piece in pieces {
            to.send(piece).await?;
        }
    }
    to.send(&TRAILER[..]).await?;
    to.finish().await?;
    Ok(conn.close().await?)
}

/// A connection that is told [`SETTINGS`].
async fn connect(options: &PgConnectOptions) -> Result<PgConnection, StoreError> {
    let mut conn = options.connect().await?;
    sqlx::raw_sql(SETTINGS).execute(&mut conn).await?;
    Ok(conn)
}

/// What cannot be done with rows on their way in: the ends of versions that were rows already, keys that were told twice,
/// indexes, and what the planner must know.
async fn finish(options: &PgConnectOptions, tables: Vec<Table>, later: &[Later]) -> Result<(), StoreError> {
    const AT_ONCE: usize = 2;
    let finish = |table: Table| async move {
        let mut conn = connect(options).await?;
        for statement in table.statements(later) {
            sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut conn).await?;
        }
        Ok::<(), StoreError>(conn.close().await?)
    };
    let mut waiting = tables.into_iter();
    let mut finishing: FuturesUnordered<_> = waiting.by_ref().take(AT_ONCE).map(finish).collect();
    while let Some(finished) = finishing.next().await {
        finished?;
        finishing.extend(waiting.next().map(finish));
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

/// A table that is filled while it has no index.
struct Table {
    name: String,
    /// Statements that make its indexes anew.
    indexes: Vec<String>,
    /// The columns of which the planner must know more than how many rows there are.
    planned: String,
}

impl Table {
    /// Takes the indexes of all tables that grow with the log away: small tables that are changed by their keys keep theirs.
    async fn strip_all(pool: &PgPool) -> Result<Vec<Self>, StoreError> {
        // Those that most is to be done about first.
        const TABLES: [&str; 16] = [
            "entry",
            "fact",
            "applied_event",
            "told",
            "record_version",
            "encounter",
            "record",
            "link",
            "record_name",
            "record_nhs",
            "review",
            "merge",
            "ruling",
            "quarantine",
            "redrive",
            "parked_event",
        ];
        // Of tables that are large and only looked up by a unique key there is nothing to know; nor of long columns without
        // an index.
        const FIND: &str = "
            SELECT t.relname::text,
                   array_agg(CASE WHEN c.oid IS NULL THEN pg_get_indexdef(i.indexrelid)
                             ELSE format('ALTER TABLE %s ADD %s', t.oid::regclass, pg_get_constraintdef(c.oid)) END),
                   string_agg(CASE WHEN c.oid IS NULL THEN format('DROP INDEX %s', i.indexrelid::regclass)
                              ELSE format('ALTER TABLE %s DROP CONSTRAINT %I', t.oid::regclass, c.conname) END, ';'),
                   CASE WHEN t.relname NOT IN ('fact', 'told', 'applied_event') THEN (
                       SELECT string_agg(quote_ident(a.attname), ', ') FROM pg_attribute AS a
                       WHERE a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
                         AND (a.atttypid <> 'bytea'::regtype
                              OR EXISTS (SELECT FROM pg_index AS i WHERE i.indrelid = t.oid AND a.attnum = ANY (i.indkey)))
                   ) ELSE '' END
            FROM pg_index AS i JOIN pg_class AS t ON t.oid = i.indrelid
            LEFT JOIN pg_constraint AS c ON c.conindid = i.indexrelid AND c.contype IN ('p', 'u')
            WHERE t.relnamespace = current_schema()::regnamespace AND t.relname = ANY ($1)
            GROUP BY t.oid, t.relname ORDER BY array_position($1, t.relname::text)";
        let found: Vec<(String, Vec<String>, String, String)> =
            sqlx::query_as(FIND).bind(&TABLES[..]).fetch_all(pool).await?;
        let drop: Vec<&str> = found.iter().map(|(_, _, drop, _)| drop.as_str()).collect();
        // Statements that are sent together are one transaction.
        sqlx::raw_sql(AssertSqlSafe(drop.join(";"))).execute(pool).await?;
        let table = |(name, indexes, _, planned): (String, Vec<String>, String, String)| {
            // An index of a partitioned table is told without those of its parts.
            let indexes = indexes.iter().map(|define| define.replacen(" ON ONLY ", " ON ", 1)).collect();
            Self { name, indexes, planned }
        };
        Ok(found.into_iter().map(table).collect())
    }

    /// What is left to do once it has all of its rows.
    fn statements(&self, later: &[Later]) -> Vec<String> {
        let name = &self.name;
        let mut statements = Vec::new();
        for later in later.iter().filter(|later| later.changes(name)) {
            statements.push(format!("ANALYZE {}", later.table));
            statements.push(later.execute());
            statements.push(format!("DROP TABLE {}", later.table));
        }
        let key = match name.as_str() {
            "record_nhs" => Some("nhs_number, record_no"),
            "record_name" => Some("family_key, birth_date, record_no"),
            _ => None,
        };
        // A record may have gone back to what it was called before.
        statements.extend(key.map(|key| {
            format!(
                "DELETE FROM {name} WHERE ctid IN (SELECT ctid FROM
                 (SELECT ctid, row_number() OVER (PARTITION BY {key}) AS n FROM {name}) AS t WHERE n > 1)"
            )
        }));
        statements.extend(self.indexes.iter().cloned());
        if !self.planned.is_empty() {
            statements.push(format!("ANALYZE {name} ({})", self.planned));
        }
        statements
    }
}
