//! The read model in a schema of a PostgreSQL database: connections, the tables, and news of what others commit.

use std::{str::FromStr, sync::Arc, time::Duration};

use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgListener, PgPoolOptions},
};
use tokio::time::{sleep, timeout};
use tracing::warn;
use weft_log::postgres::THROUGH_INDEXES;
use weft_model::{Cut, Partition, Stream};

use crate::{
    cursor::{self, Cursors},
    error::{OpenModelError, StoreError},
    location::Location,
    model::{Known, VERSION},
    place::place,
    sql::Session,
};

const SCHEMA: &str = include_str!("../../../schemas/readmodel-postgres.sql");
const READERS: u32 = 8;
const WRITERS: u32 = 2;

/// Where nobody tells of a commit, the cursors are looked at so often.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// From one failure to the next attempt.
const PAUSE: Duration = Duration::from_secs(1);

/// What every connection is told beside [`THROUGH_INDEXES`].
const SETTINGS: [(&str, &str); 1] = [("random_page_cost", "1.1")];

/// What those that write are told too. A commit is waited for (`synchronous_commit`): a server that died and came back with
/// older cursors would leave a partition in which nothing more happens unread, and answers short of what they claim to know.
/// A projector that stops in the middle of a transaction must not hold up the one that takes over.
const WRITER_SETTINGS: [(&str, &str); 2] =
    [("synchronous_commit", "on"), ("idle_in_transaction_session_timeout", "10s")];

/// Undoes [`THROUGH_INDEXES`] in a transaction that reads whole tables.
pub(crate) const READ_WHOLE_TABLES: &str = "SET LOCAL enable_seqscan = on; SET LOCAL enable_hashjoin = on; \
     SET LOCAL enable_mergejoin = on; SET LOCAL plan_cache_mode = force_custom_plan; SET LOCAL work_mem = '64MB'";

/// An open store.
pub(crate) struct Store {
    pub(crate) writer: PgPool,
    pub(crate) readers: PgPool,
}

/// Opens the read model in `schema`, or makes it: once, however many try at the same time.
pub(crate) async fn open(url: &str, schema: &str, location: &Location) -> Result<Store, OpenModelError> {
    let failed = |error: sqlx::Error| OpenModelError::Store { location: location.clone(), source: error.into() };
    let options = options(url, schema)?.map_err(failed)?;
    let mut conn = options.connect().await.map_err(failed)?;
    create_or_check(&mut conn, schema, location).await?;
    conn.close().await.map_err(failed)?;
    let pool = |most| PgPoolOptions::new().max_connections(most).acquire_timeout(Duration::from_secs(10));
    let writer = pool(WRITERS).connect_lazy_with(options.clone().options(WRITER_SETTINGS));
    Ok(Store { writer, readers: pool(READERS).connect_lazy_with(options) })
}

/// How to connect to `schema`. The address is never part of an error: it may hold a password.
pub(crate) fn options(url: &str, schema: &str) -> Result<Result<PgConnectOptions, sqlx::Error>, OpenModelError> {
    let letters = |c: char| c.is_ascii_lowercase() || c == '_';
    let named = schema.starts_with(letters) && schema.chars().all(|c| letters(c) || c.is_ascii_digit());
    if !named || schema.len() > 40 {
        return Err(OpenModelError::SchemaName { schema: schema.to_owned() });
    }
    Ok(PgConnectOptions::from_str(url).map(|options| {
        let options = options.application_name("weft").statement_cache_capacity(256).disable_statement_logging();
        options.options([("search_path", schema)]).options(THROUGH_INDEXES).options(SETTINGS)
    }))
}

/// What a database says that a read model is, or would be, kept in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inspection {
    /// Version of the read model that is there; `None` where there is none yet.
    pub version: Option<i64>,
    /// What the server's clock says, microseconds since 1970-01-01T00:00:00Z.
    pub server_us: i64,
    /// Whether this account may make a schema where there is none.
    pub may_create: bool,
}

/// Looks at a database, and changes nothing.
pub(crate) async fn inspect(url: &str, schema: &str, location: &Location) -> Result<Inspection, OpenModelError> {
    const SERVER: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
                                 has_database_privilege(current_database(), 'CREATE')";
    let failed = |error: sqlx::Error| OpenModelError::Store { location: location.clone(), source: error.into() };
    let mut conn = options(url, schema)?.map_err(failed)?.connect().await.map_err(failed)?;
    let found = state(&mut conn, schema).await;
    let version = match found.map_err(|source| OpenModelError::Store { location: location.clone(), source })? {
        State::Nothing => None,
        State::Unfinished => return Err(OpenModelError::Unfinished { location: location.clone() }),
        State::Version(version) => Some(version),
        State::Foreign => return Err(OpenModelError::Foreign { location: location.clone() }),
    };
    let (server_us, may_create) = sqlx::query_as(SERVER).fetch_one(&mut conn).await.map_err(failed)?;
    conn.close().await.map_err(failed)?;
    Ok(Inspection { version, server_us, may_create })
}

/// Takes `schema` for one rebuild: nobody else has it until the connection that is returned ends, with or without its process.
/// `None` where another has it.
pub(crate) async fn claim(
    url: &str,
    schema: &str,
    location: &Location,
) -> Result<Option<PgConnection>, OpenModelError> {
    const CLAIM: &str =
        "SELECT pg_try_advisory_lock(hashtextextended('weft rebuild ' || current_setting('search_path'), 0))";
    let failed = |error: sqlx::Error| OpenModelError::Store { location: location.clone(), source: error.into() };
    let mut conn = options(url, schema)?.map_err(failed)?.connect().await.map_err(failed)?;
    let claimed: bool = sqlx::query_scalar(CLAIM).fetch_one(&mut conn).await.map_err(failed)?;
    Ok(claimed.then_some(conn))
}

/// Makes way for a rebuild in `schema`: what one before it left there that did not come to its end is dropped. False where
/// there is anything else.
pub(crate) async fn make_way(url: &str, schema: &str, location: &Location) -> Result<bool, OpenModelError> {
    let failed = |error: sqlx::Error| OpenModelError::Store { location: location.clone(), source: error.into() };
    let mut conn = options(url, schema)?.map_err(failed)?.connect().await.map_err(failed)?;
    let found = state(&mut conn, schema).await;
    match found.map_err(|source| OpenModelError::Store { location: location.clone(), source })? {
        State::Nothing => Ok(true),
        State::Unfinished => remove(url, schema, location).await.map(|()| true),
        State::Version(_) | State::Foreign => Ok(false),
    }
}

/// Says that the read model is being rebuilt, so that nobody takes it for one, or that it has come to its end: in the
/// transaction of the cursors, which stand at the start until then.
pub(crate) async fn mark(conn: &mut PgConnection, finished: bool) -> Result<(), StoreError> {
    let version = if finished { VERSION } else { UNFINISHED };
    sqlx::query("UPDATE projection SET version = $1").bind(version).execute(conn).await?;
    Ok(())
}

/// Drops `schema` and all that is in it.
pub(crate) async fn remove(url: &str, schema: &str, location: &Location) -> Result<(), OpenModelError> {
    let failed = |error: sqlx::Error| OpenModelError::Store { location: location.clone(), source: error.into() };
    let mut conn = options(url, schema)?.map_err(failed)?.connect().await.map_err(failed)?;
    let sql = format!("DROP SCHEMA IF EXISTS {schema} CASCADE");
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut conn).await.map(drop).map_err(failed)
}

/// Lets the schema of `rebuilt`, which stands at `cut`, take the name of the live one, and drops that; false, and nothing is
/// changed, where the live one has gone on. The live cursors are locked until then, also against being read, with which every
/// transaction of a projector begins: one that has begun ends first, and is not divided between the two; whoever comes after
/// waits, finds the epoch that it owns in the new cursors, and goes on.
pub(crate) async fn replace(rebuilt: &Location, live: &Location, cut: &Cut) -> Result<bool, OpenModelError> {
    let (Location::Postgres { url, schema: old }, Location::Postgres { schema: new, .. }) = (live, rebuilt) else {
        return Err(OpenModelError::Foreign { location: rebuilt.clone() });
    };
    let failed = |error: sqlx::Error| OpenModelError::Store { location: live.clone(), source: error.into() };
    let store = |source: StoreError| OpenModelError::Store { location: live.clone(), source };
    let mut conn = options(url, old)?.map_err(failed)?.connect().await.map_err(failed)?;
    let mut tx = conn.begin().await.map_err(failed)?;
    lock(&mut tx).await.map_err(store)?;
    sqlx::raw_sql("LOCK TABLE cursor, linker IN ACCESS EXCLUSIVE MODE").execute(&mut *tx).await.map_err(failed)?;
    if Cursors::load(&mut Session::Postgres(&mut tx)).await.map_err(store)?.cut() != *cut {
        return Ok(false);
    }
    let sql = format!(
        "UPDATE {new}.cursor AS n SET epoch = o.epoch FROM {old}.cursor AS o
             WHERE o.stream = n.stream AND o.partition = n.partition;
         INSERT INTO {new}.linker SELECT * FROM {old}.linker
             ON CONFLICT (partition) DO UPDATE SET next = excluded.next;
         ALTER SCHEMA {old} RENAME TO {old}_replaced;
         ALTER SCHEMA {new} RENAME TO {old};"
    );
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *tx).await.map_err(failed)?;
    tx.commit().await.map_err(failed)?;
    let sql = format!("DROP SCHEMA {old}_replaced CASCADE");
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut conn).await.map_err(failed)?;
    Ok(true)
}

async fn create_or_check(conn: &mut PgConnection, schema: &str, location: &Location) -> Result<(), OpenModelError> {
    let failed = |source: StoreError| OpenModelError::Store { location: location.clone(), source };
    let mut tx = conn.begin().await.map_err(|error| failed(error.into()))?;
    lock(&mut tx).await.map_err(failed)?;
    match state(&mut tx, schema).await.map_err(failed)? {
        State::Nothing => create(&mut tx, schema).await.map_err(failed)?,
        State::Unfinished => return Err(OpenModelError::Unfinished { location: location.clone() }),
        State::Version(VERSION) => {}
        State::Version(found) => {
            return Err(OpenModelError::Version { location: location.clone(), found, wanted: VERSION });
        }
        State::Foreign => return Err(OpenModelError::Foreign { location: location.clone() }),
    }
    tx.commit().await.map_err(|error| failed(error.into()))
}

/// The version of a read model whose rebuild has not come to its end.
const UNFINISHED: i64 = 0;

/// What a schema holds.
enum State {
    Nothing,
    /// What a rebuild left whose process or server was killed, or is filling.
    Unfinished,
    Version(i64),
    Foreign,
}

async fn state(conn: &mut PgConnection, schema: &str) -> Result<State, StoreError> {
    const TABLES: &str = "SELECT count(*), count(*) FILTER (WHERE tablename = 'projection') FROM pg_tables
                          WHERE schemaname = $1";
    let (tables, ours): (i64, i64) = sqlx::query_as(TABLES).bind(schema).fetch_one(&mut *conn).await?;
    Ok(match (tables, ours) {
        (0, _) => State::Nothing,
        (_, 0) => State::Foreign,
        _ => match sqlx::query_scalar("SELECT max(version) FROM projection").fetch_one(conn).await? {
            UNFINISHED => State::Unfinished,
            version => State::Version(version),
        },
    })
}

/// Until the end of the transaction nobody else makes or changes tables of this schema.
pub(crate) async fn lock(conn: &mut PgConnection) -> Result<(), StoreError> {
    const LOCK: &str =
        "SELECT pg_advisory_xact_lock(hashtextextended('weft read model ' || current_setting('search_path'), 0))";
    sqlx::query(LOCK).execute(conn).await?;
    Ok(())
}

async fn create(conn: &mut PgConnection, schema: &str) -> Result<(), StoreError> {
    let sql = format!("CREATE SCHEMA IF NOT EXISTS {schema}; {SCHEMA}");
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *conn).await?;
    sqlx::query("INSERT INTO projection (name, version) VALUES ('weft', $1)").bind(VERSION).execute(&mut *conn).await?;
    make_partitions(conn, &cursor::first_partitions()).await?;
    cursor::follow(&mut Session::Postgres(conn), &cursor::first_partitions()).await
}

/// Makes the parts of the tables that are partitioned as the feed stream is.
pub(crate) async fn make_partitions(conn: &mut PgConnection, partitions: &[Partition]) -> Result<(), StoreError> {
    lock(conn).await?;
    for partition in partitions.iter().filter(|partition| partition.stream == Stream::Feed) {
        let number = partition.number;
        let range = format!("FOR VALUES FROM ({}) TO ({})", place(number, 0), place(number + 1, 0));
        // The lines of a message stay in its row: fetching them is one read.
        let sql = format!(
            "CREATE TABLE IF NOT EXISTS entry_{number} PARTITION OF entry {range} WITH (fillfactor = 95);
             CREATE TABLE IF NOT EXISTS fact_{number} PARTITION OF fact {range} WITH (fillfactor = 90);
             CREATE TABLE IF NOT EXISTS told_{number} PARTITION OF told {range} WITH (toast_tuple_target = 8160)"
        );
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *conn).await?;
    }
    Ok(())
}

/// Tells everybody who listens that the transaction, once it is committed, has moved the cursors.
pub(crate) async fn tell(conn: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query("SELECT pg_notify('weft_' || current_schema(), '')").execute(conn).await?;
    Ok(())
}

/// Learns for ever how far others have come.
pub(crate) async fn learn(readers: PgPool, schema: String, known: Arc<Known>) {
    loop {
        if let Err(error) = listen(&readers, &schema, &known).await {
            warn!(%error, "read model cannot be followed now");
        }
        sleep(PAUSE).await;
    }
}

async fn listen(readers: &PgPool, schema: &str, known: &Known) -> Result<(), StoreError> {
    let mut listener = PgListener::connect_with(readers).await?;
    listener.listen(&format!("weft_{schema}")).await?;
    loop {
        let mut conn = readers.acquire().await?;
        known.learn(&Cursors::load(&mut Session::Postgres(&mut conn)).await?.cut());
        drop(conn);
        // A notification that was lost with its connection is made up for by looking.
        if let Ok(heard) = timeout(LOOK_EVERY, listener.recv()).await {
            heard?;
        }
    }
}
