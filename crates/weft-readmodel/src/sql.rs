//! Two databases, one set of statements.
//!
//! Statements are written once, with `$1` for their values. Where the two databases have no common word for a thing, the
//! text has a word in braces, which each dialect fills in:
//!
//! | in the text | SQLite | PostgreSQL |
//! |---|---|---|
//! | `{rows}` | `VALUES (?,?),…` | `SELECT * FROM UNNEST($1::bigint[],…)`, columns `column1`, `column2`, … |
//! | `{lookup}` | `CROSS JOIN`: the left side is read first | `JOIN` |
//! | `{concat(}x{)concat}` | bytes of all rows, one after the other | the same |
//! | `{list(}a, b{)list}` | the rows as one JSON array of arrays | the same |
//! | `{hex(}x{)hex}` | bytes as hexadecimal digits | the same |
//! | `{any(}$1{)any}` | `IN` a list of texts ([`Value::Texts`]) | the same |
//! | `{nth(}n{)nth}` | element n, from 0, of the list of numbers `$3` ([`Value::Numbers`]) | the same |

use std::borrow::Cow;

use futures::{StreamExt, stream::BoxStream};
use sqlx::{
    Arguments, AssertSqlSafe, Decode, Executor, PgConnection, PgPool, Postgres, Row as _, Sqlite, SqliteConnection,
    SqlitePool, Transaction, Type,
    pool::PoolConnection,
    postgres::{PgArguments, PgRow},
    sqlite::{SqliteArguments, SqliteRow},
};

use crate::{
    error::StoreError,
    fill::{Load, Queue},
    postgres,
};

/// Which database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
}

/// A connection, lent for some statements.
pub(crate) enum Session<'c> {
    Sqlite(&'c mut SqliteConnection),
    Postgres(&'c mut PgConnection),
    /// Rows for a database that is filled at once: only written, with [`bulk::write`](crate::bulk::write).
    Load(&'c mut Load),
    /// The same, for a file.
    Queue(&'c mut Queue),
}

/// A transaction: rolled back where it is dropped.
pub(crate) enum Tx<'c> {
    Sqlite(Transaction<'c, Sqlite>),
    Postgres(Transaction<'c, Postgres>),
}

/// Connections that only read.
#[derive(Debug)]
pub(crate) enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// A connection of a [`Pool`], given back where it is dropped.
pub(crate) enum Lent {
    Sqlite(PoolConnection<Sqlite>),
    Postgres(PoolConnection<Postgres>),
}

/// A row of an answer.
#[derive(Debug)]
pub(crate) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

/// A value that a statement is given.
#[derive(Debug, Clone)]
pub(crate) enum Value<'v> {
    Int(Option<i64>),
    Bool(bool),
    Text(Option<Cow<'v, str>>),
    Bytes(Option<Cow<'v, [u8]>>),
    /// For `{any(}`.
    Texts(Option<&'v [String]>),
    /// For `{nth(}`.
    Numbers(&'v [i64]),
}

/// What a column holds, for `{rows}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Column {
    Int,
    Text,
    Bytes,
}

impl Dialect {
    /// `sql` in the words of this database.
    pub(crate) fn text(self, sql: &str) -> String {
        let mut text = String::with_capacity(sql.len() + 64);
        let mut rest = sql;
        while let Some((before, after)) = rest.split_once('{') {
            text.push_str(before);
            let (word, after) = after.split_once('}').unwrap_or((after, ""));
            text.push_str(self.word(word));
            rest = after;
        }
        text.push_str(rest);
        text
    }

    fn word(self, word: &str) -> &'static str {
        let [sqlite, postgres] = match word {
            "lookup" => ["CROSS JOIN", "JOIN"],
            "concat(" => ["CAST(group_concat(", "string_agg("],
            ")concat" => [", '') AS BLOB)", ", ''::bytea)"],
            "list(" => ["json_group_array(json_array(", "json_agg(json_build_array("],
            ")list" => ["))", "))::text"],
            "hex(" => ["hex(", "encode("],
            ")hex" => [")", ", 'hex')"],
            "any(" => ["IN (SELECT value FROM json_each(", "= ANY ("],
            ")any" => ["))", ")"],
            "nth(" => ["($3 ->> (", "($3)[CAST("],
            ")nth" => ["))", " AS int) + 1]"],
            _ => ["", ""],
        };
        if self == Self::Sqlite { sqlite } else { postgres }
    }
}

impl Session<'_> {
    pub(crate) fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) | Self::Queue(_) => Dialect::Sqlite,
            Self::Postgres(_) | Self::Load(_) => Dialect::Postgres,
        }
    }

    /// True where an empty database is filled: nothing can be read of it.
    pub(crate) fn only_writes(&self) -> bool {
        matches!(self, Self::Load(_) | Self::Queue(_))
    }

    /// Runs a statement.
    pub(crate) async fn execute(&mut self, sql: &str, values: Vec<Value<'_>>) -> Result<(), StoreError> {
        let text = AssertSqlSafe(self.dialect().text(sql));
        match self {
            Self::Sqlite(conn) => {
                sqlx::query_with(text, sqlite_arguments(values)?).execute(&mut **conn).await?;
            }
            Self::Postgres(conn) => {
                sqlx::query_with(text, postgres_arguments(values)?).execute(&mut **conn).await?;
            }
            Self::Load(_) | Self::Queue(_) => return Err(only_written()),
        }
        Ok(())
    }

    /// Every row of the answer.
    pub(crate) async fn all(&mut self, sql: &str, values: Vec<Value<'_>>) -> Result<Vec<Row>, StoreError> {
        let text = self.dialect().text(sql);
        self.all_of(text.into(), values).await
    }

    /// The same for a text that is in the words of the dialect already.
    pub(crate) async fn all_of(
        &mut self,
        text: Cow<'static, str>,
        values: Vec<Value<'_>>,
    ) -> Result<Vec<Row>, StoreError> {
        let text = AssertSqlSafe(text);
        Ok(match self {
            Self::Sqlite(conn) => {
                let rows = sqlx::query_with(text, sqlite_arguments(values)?).fetch_all(&mut **conn).await?;
                rows.into_iter().map(Row::Sqlite).collect()
            }
            Self::Postgres(conn) => {
                let rows = sqlx::query_with(text, postgres_arguments(values)?).fetch_all(&mut **conn).await?;
                rows.into_iter().map(Row::Postgres).collect()
            }
            Self::Load(_) | Self::Queue(_) => return Err(only_written()),
        })
    }

    /// The first row of the answer, where there is one.
    pub(crate) async fn first(&mut self, sql: &str, values: Vec<Value<'_>>) -> Result<Option<Row>, StoreError> {
        Ok(self.all(sql, values).await?.into_iter().next())
    }

    /// The one value of the one row of the answer.
    pub(crate) async fn value<T: for<'r> Read<'r>>(
        &mut self,
        sql: &str,
        values: Vec<Value<'_>>,
    ) -> Result<T, StoreError> {
        let row = self.first(sql, values).await?;
        get(&row.ok_or_else(|| StoreError::Damaged(sqlx::Error::RowNotFound))?, 0)
    }

    /// The rows of a long answer, as they come.
    pub(crate) fn stream<'s>(
        &'s mut self,
        sql: &str,
        values: Vec<Value<'_>>,
    ) -> Result<BoxStream<'s, Result<Row, StoreError>>, StoreError> {
        let text = AssertSqlSafe(self.dialect().text(sql));
        Ok(match self {
            Self::Sqlite(conn) => {
                let rows = conn.fetch(sqlx::query_with(text, sqlite_arguments(values)?));
                rows.map(|row| Ok(Row::Sqlite(row?))).boxed()
            }
            Self::Postgres(conn) => {
                let rows = conn.fetch(sqlx::query_with(text, postgres_arguments(values)?));
                rows.map(|row| Ok(Row::Postgres(row?))).boxed()
            }
            Self::Load(_) | Self::Queue(_) => return Err(only_written()),
        })
    }
}

impl Tx<'_> {
    pub(crate) fn session(&mut self) -> Session<'_> {
        match self {
            Self::Sqlite(transaction) => Session::Sqlite(transaction),
            Self::Postgres(transaction) => Session::Postgres(transaction),
        }
    }

    pub(crate) async fn commit(self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(transaction) => transaction.commit().await?,
            Self::Postgres(transaction) => transaction.commit().await?,
        }
        Ok(())
    }
}

impl Pool {
    pub(crate) async fn acquire(&self) -> Result<Lent, StoreError> {
        Ok(match self {
            Self::Sqlite(pool) => Lent::Sqlite(pool.acquire().await?),
            Self::Postgres(pool) => Lent::Postgres(pool.acquire().await?),
        })
    }

    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

impl Lent {
    pub(crate) fn session(&mut self) -> Session<'_> {
        match self {
            Self::Sqlite(conn) => Session::Sqlite(conn),
            Self::Postgres(conn) => Session::Postgres(conn),
        }
    }

    /// A transaction in which all reads see one moment, for reading whole tables.
    pub(crate) async fn one_moment(&mut self) -> Result<Tx<'_>, StoreError> {
        use sqlx::Connection;
        Ok(match self {
            Self::Sqlite(conn) => Tx::Sqlite(conn.begin().await?),
            Self::Postgres(conn) => {
                let mut tx = conn.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
                sqlx::raw_sql(postgres::READ_WHOLE_TABLES).execute(&mut *tx).await?;
                Tx::Postgres(tx)
            }
        })
    }
}

/// What can be read of a row of either database.
pub(crate) trait Read<'r>: Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres> {}

impl<'r, T> Read<'r> for T where T: Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres> {}

/// A value of a row.
pub(crate) fn get<'r, T: Read<'r>>(row: &'r Row, column: usize) -> Result<T, StoreError> {
    Ok(match row {
        Row::Sqlite(row) => row.try_get(column)?,
        Row::Postgres(row) => row.try_get(column)?,
    })
}

/// An unsigned value of a row.
pub(crate) fn get_u64(row: &Row, column: usize) -> Result<u64, StoreError> {
    get::<i64>(row, column).map(i64::cast_unsigned)
}

/// An offset or a size as the databases hold it. None comes near 2^63: the sizes of a cut that limits nothing are cut
/// there.
pub(crate) fn sql(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(crate) fn only_written() -> StoreError {
    StoreError::Damaged(sqlx::Error::Protocol("what is being loaded cannot be read".to_owned()))
}

fn encode(error: sqlx::error::BoxDynError) -> StoreError {
    StoreError::from(sqlx::Error::Encode(error))
}

pub(crate) fn sqlite_arguments(values: Vec<Value<'_>>) -> Result<SqliteArguments, StoreError> {
    let mut arguments = SqliteArguments::default();
    arguments.reserve(values.len(), 0);
    for value in values {
        let added = match value {
            Value::Int(value) => arguments.add(value),
            Value::Bool(value) => arguments.add(value),
            Value::Text(value) => arguments.add(value.map(Cow::into_owned)),
            Value::Bytes(value) => arguments.add(value.map(Cow::into_owned)),
            Value::Texts(texts) => arguments.add(texts.map(|texts| serde_json::Value::from(texts).to_string())),
            Value::Numbers(numbers) => arguments.add(serde_json::Value::from(numbers).to_string()),
        };
        added.map_err(encode)?;
    }
    Ok(arguments)
}

fn postgres_arguments(values: Vec<Value<'_>>) -> Result<PgArguments, StoreError> {
    let mut arguments = PgArguments::default();
    arguments.reserve(values.len(), 0);
    for value in values {
        let added = match value {
            Value::Int(value) => arguments.add(value),
            Value::Bool(value) => arguments.add(value),
            Value::Text(value) => arguments.add(value.as_deref()),
            Value::Bytes(value) => arguments.add(value.as_deref()),
            Value::Texts(texts) => arguments.add(texts),
            Value::Numbers(numbers) => arguments.add(numbers),
        };
        added.map_err(encode)?;
    }
    Ok(arguments)
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Self::Int(Some(value))
    }
}

impl From<i32> for Value<'_> {
    fn from(value: i32) -> Self {
        Self::Int(Some(value.into()))
    }
}

impl From<u32> for Value<'_> {
    fn from(value: u32) -> Self {
        Self::Int(Some(value.into()))
    }
}

impl From<u64> for Value<'_> {
    fn from(value: u64) -> Self {
        Self::Int(Some(sql(value)))
    }
}

impl From<Option<i64>> for Value<'_> {
    fn from(value: Option<i64>) -> Self {
        Self::Int(value)
    }
}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl<'v> From<&'v str> for Value<'v> {
    fn from(value: &'v str) -> Self {
        Self::Text(Some(value.into()))
    }
}

impl From<String> for Value<'_> {
    fn from(value: String) -> Self {
        Self::Text(Some(value.into()))
    }
}

impl<'v> From<Option<&'v str>> for Value<'v> {
    fn from(value: Option<&'v str>) -> Self {
        Self::Text(value.map(Cow::from))
    }
}

impl<'v> From<&'v [u8]> for Value<'v> {
    fn from(value: &'v [u8]) -> Self {
        Self::Bytes(Some(value.into()))
    }
}

impl From<Vec<u8>> for Value<'_> {
    fn from(value: Vec<u8>) -> Self {
        Self::Bytes(Some(value.into()))
    }
}

impl<'v> From<Option<&'v [u8]>> for Value<'v> {
    fn from(value: Option<&'v [u8]>) -> Self {
        Self::Bytes(value.map(Cow::from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_in_braces_are_filled_in() {
        let check = |sql, sqlite, postgres| {
            assert_eq!(Dialect::Sqlite.text(sql), sqlite);
            assert_eq!(Dialect::Postgres.text(sql), postgres);
        };
        check("SELECT 1", "SELECT 1", "SELECT 1");
        check("a {lookup} b ON a.x = $1", "a CROSS JOIN b ON a.x = $1", "a JOIN b ON a.x = $1");
        check("{concat(}x{)concat}", "CAST(group_concat(x, '') AS BLOB)", "string_agg(x, ''::bytea)");
        check("x {any(}$2{)any}", "x IN (SELECT value FROM json_each($2))", "x = ANY ($2)");
        check("{nth(}n >> 40{)nth}", "($3 ->> (n >> 40))", "($3)[CAST(n >> 40 AS int) + 1]");
    }
}
