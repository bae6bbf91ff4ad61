//! The schema in PostgreSQL: made once, however many nodes start at once, and bound to the topics that it belongs to.

use std::{str::FromStr, time::Duration};

use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::KafkaOptions;
use crate::{OpenLogError, postgres::THROUGH_INDEXES};

/// Versions of the schema, oldest first: each is applied once, in its own transaction.
const VERSIONS: [&str; 1] = [include_str!("../../../../schemas/log-postgres.sql")];
/// `Weft`, in ASCII: whoever makes or changes the schema holds this lock.
const LOCK: i64 = 0x5765_6674;
/// Decisions, completions and questions at once.
const CONNECTIONS_MAX: u32 = 8;
/// How long to wait for a connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// A connection that was idle for so long is asked whether it still works before it is used. One that was in use a moment ago
/// is not: that would be a second round trip for every statement.
const TEST_AFTER: Duration = Duration::from_secs(1);

/// Connections into the schema, which exists and belongs to these topics.
pub(super) async fn open(options: &KafkaOptions, cluster: &str, create: bool) -> Result<PgPool, OpenLogError> {
    let place = || format!("PostgreSQL (schema {})", options.schema);
    let failed = |error: sqlx::Error| OpenLogError::Unavailable { place: place(), source: error.into() };
    let connect = PgConnectOptions::from_str(&options.postgres)
        .map_err(failed)?
        .options([("search_path", options.schema.as_str())])
        .options(THROUGH_INDEXES)
        .application_name("weft-log")
        .disable_statement_logging();
    let mut connection = connect.connect().await.map_err(failed)?;
    let known = VERSIONS.len() as i64;
    let mut version = version(&mut connection, &options.schema).await.map_err(failed)?;
    if create && version < known {
        version = migrate(&mut connection, &options.schema).await.map_err(failed)?;
    }
    match version {
        0 => return Err(OpenLogError::Missing { place: place() }),
        format if format > known => return Err(OpenLogError::NewerFormat { place: place(), format, known }),
        format if format < known => return Err(OpenLogError::OlderFormat { place: place(), format, known }),
        _ => {}
    }
    if create {
        sqlx::query("INSERT INTO log (cluster, prefix, feed_partitions) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING")
            .bind(cluster)
            .bind(&options.prefix)
            .bind(options.feed_partitions.cast_signed())
            .execute(&mut connection)
            .await
            .map_err(failed)?;
    }
    let bound: Option<(String, String, i32)> = sqlx::query_as("SELECT cluster, prefix, feed_partitions FROM log")
        .fetch_optional(&mut connection)
        .await
        .map_err(failed)?;
    // It is about to be thrown away.
    let _ = connection.close().await;
    match bound {
        None => Err(OpenLogError::Missing { place: place() }),
        Some((of, prefix, partitions))
            if of != cluster || prefix != options.prefix || partitions != options.feed_partitions.cast_signed() =>
        {
            let belongs_to = format!("{prefix}.* with {partitions} feed partitions in cluster {of}");
            Err(OpenLogError::OtherLog { place: place(), belongs_to })
        }
        Some(_) => Ok(PgPoolOptions::new()
            .max_connections(CONNECTIONS_MAX)
            .acquire_timeout(CONNECT_WITHIN)
            .test_before_acquire(false)
            .before_acquire(|connection, used| {
                Box::pin(async move {
                    if used.idle_for > TEST_AFTER {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .connect_lazy_with(connect)),
    }
}

/// The version of the schema; 0 where there is none.
async fn version(connection: &mut PgConnection, schema: &str) -> Result<i64, sqlx::Error> {
    // From the catalogue itself: `to_regclass` may answer from what this connection knew before it waited for the lock.
    let exists: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM pg_class JOIN pg_namespace ON pg_namespace.oid = pg_class.relnamespace
         WHERE pg_namespace.nspname = $1 AND pg_class.relname = 'format')",
    )
    .bind(schema)
    .fetch_one(&mut *connection)
    .await?;
    if !exists {
        return Ok(0);
    }
    let version: Option<i32> = sqlx::query_scalar("SELECT max(version) FROM format").fetch_one(connection).await?;
    Ok(version.unwrap_or(0).into())
}

/// Applies the versions that are missing; returns the newest.
async fn migrate(connection: &mut PgConnection, schema: &str) -> Result<i64, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut *transaction).await?;
    // Whoever held the lock before may have done everything.
    let from = version(&mut transaction, schema).await?;
    if from == 0 {
        let name: String =
            sqlx::query_scalar("SELECT quote_ident($1)").bind(schema).fetch_one(&mut *transaction).await?;
        let make =
            format!("CREATE SCHEMA IF NOT EXISTS {name}; CREATE TABLE {name}.format (version integer PRIMARY KEY)");
        sqlx::raw_sql(AssertSqlSafe(make)).execute(&mut *transaction).await?;
    }
    for (version, statements) in (1i64..).zip(VERSIONS).filter(|(version, _)| *version > from) {
        sqlx::raw_sql(statements).execute(&mut *transaction).await?;
        sqlx::query("INSERT INTO format (version) VALUES ($1::bigint)")
            .bind(version)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(from.max(VERSIONS.len() as i64))
}
