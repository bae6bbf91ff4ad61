//! Statements over many rows at once: one trip to the database for all of them.
//!
//! SQLite is given its rows as `VALUES (?,?),…`, in chunks whose sizes are powers of two: the few texts that this makes
//! stay prepared. PostgreSQL is given one array a column, so that one text serves any number of rows.

use std::borrow::Cow;

use sqlx::{Arguments, AssertSqlSafe, postgres::PgArguments};

use crate::{
    error::StoreError,
    sql::{Column, Dialect, Row, Session, Value, only_written, sqlite_arguments},
};

/// A statement with a list of rows in it, at the word `{rows}`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Multi {
    pub(crate) sql: &'static str,
    /// What a row holds.
    pub(crate) columns: &'static [Column],
}

/// Values of the rows, in order.
pub(crate) struct Values<'v>(Vec<Value<'v>>);

const SQLITE_ROWS_MAX: usize = 256;
const POSTGRES_ROWS_MAX: usize = 16_384;
/// Rows whose values are held before they are put where COPY takes them from: few enough to stay near the processor.
const LOAD_ROWS_MAX: usize = 256;

impl<'v> Values<'v> {
    /// Adds the next value.
    pub(crate) fn put(&mut self, value: impl Into<Value<'v>>) -> &mut Self {
        self.0.push(value.into());
        self
    }
}

/// Executes `statement` for all `rows`; the number of rows that it changed.
pub(crate) async fn write<'r, T>(
    conn: &mut Session<'_>,
    statement: &Multi,
    rows: &'r [T],
    bind: impl Fn(&mut Values<'r>, &'r T),
) -> Result<u64, StoreError> {
    let mut changed = 0;
    let mut rest = rows;
    while !rest.is_empty() {
        let (chunk, later) = rest.split_at(chunk_len(conn, rest.len()));
        rest = later;
        let values = values(chunk, statement.columns.len(), &bind);
        changed += execute(conn, statement, values).await?;
    }
    Ok(changed)
}

/// Executes `statement` once, for rows whose values are given one after the other: no more than [`write`] gives at once.
pub(crate) async fn execute(
    conn: &mut Session<'_>,
    statement: &Multi,
    values: Vec<Value<'_>>,
) -> Result<u64, StoreError> {
    let rows = values.len() / statement.columns.len().max(1);
    Ok(match conn {
        Session::Sqlite(conn) => {
            let text = AssertSqlSafe(statement.sqlite_text(rows));
            sqlx::query_with(text, sqlite_arguments(values)?).execute(&mut **conn).await?.rows_affected()
        }
        Session::Postgres(conn) => {
            let text = AssertSqlSafe(statement.postgres_text());
            sqlx::query_with(text, statement.arrays(values)?).execute(&mut **conn).await?.rows_affected()
        }
        Session::Load(load) => {
            load.add(statement, values);
            rows as u64
        }
        Session::Queue(queue) => {
            queue.add(statement, values);
            rows as u64
        }
    })
}

/// Runs the query `statement` for all `keys`. Rows may come twice.
pub(crate) async fn read<'r, T>(
    conn: &mut Session<'_>,
    statement: &Multi,
    keys: &'r [T],
    bind: impl Fn(&mut Values<'r>, &'r T),
) -> Result<Vec<Row>, StoreError> {
    let mut rows = Vec::new();
    let most = if conn.dialect() == Dialect::Sqlite { SQLITE_ROWS_MAX } else { POSTGRES_ROWS_MAX };
    for chunk in keys.chunks(most) {
        let mut values = values(chunk, statement.columns.len(), &bind);
        match conn {
            Session::Sqlite(conn) => {
                // Filled up with the last key.
                let padded = chunk.len().next_power_of_two();
                let last = values.len() - statement.columns.len();
                for _ in chunk.len()..padded {
                    values.extend_from_within(last..last + statement.columns.len());
                }
                let text = AssertSqlSafe(statement.sqlite_text(padded));
                let query = sqlx::query_with(text, sqlite_arguments(values)?);
                rows.extend(query.fetch_all(&mut **conn).await?.into_iter().map(Row::Sqlite));
            }
            Session::Postgres(conn) => {
                let text = AssertSqlSafe(statement.postgres_text());
                let query = sqlx::query_with(text, statement.arrays(values)?);
                rows.extend(query.fetch_all(&mut **conn).await?.into_iter().map(Row::Postgres));
            }
            Session::Load(_) | Session::Queue(_) => return Err(only_written()),
        }
    }
    Ok(rows)
}

fn values<'r, T>(rows: &'r [T], columns: usize, bind: impl Fn(&mut Values<'r>, &'r T)) -> Vec<Value<'r>> {
    let mut values = Values(Vec::with_capacity(rows.len() * columns));
    for row in rows {
        bind(&mut values, row);
    }
    values.0
}

fn chunk_len(conn: &Session<'_>, rows: usize) -> usize {
    match conn {
        Session::Load(_) => rows.min(LOAD_ROWS_MAX),
        Session::Postgres(_) => rows.min(POSTGRES_ROWS_MAX),
        Session::Sqlite(_) | Session::Queue(_) if rows >= SQLITE_ROWS_MAX => SQLITE_ROWS_MAX,
        Session::Sqlite(_) | Session::Queue(_) => 1 << rows.max(1).ilog2(),
    }
}

impl Multi {
    fn sqlite_text(&self, rows: usize) -> String {
        let mut list = String::with_capacity(8 + rows * (self.columns.len() * 2 + 2));
        list.push_str("VALUES ");
        for row in 0..rows {
            list.push_str(if row == 0 { "(" } else { ",(" });
            for column in 0..self.columns.len() {
                list.push_str(if column == 0 { "?" } else { ",?" });
            }
            list.push(')');
        }
        let text = self.with_rows(Dialect::Sqlite, &list);
        // A statement that fails ends its transaction here as elsewhere. SQLite would copy every page before it changes it, to
        // undo that statement alone.
        match text.split_once(' ') {
            Some((verb @ ("INSERT" | "UPDATE"), rest)) => format!("{verb} OR ROLLBACK {rest}"),
            _ => text,
        }
    }

    fn postgres_text(&self) -> String {
        let mut arrays = String::new();
        let mut names = String::new();
        for (n, column) in (1..).zip(self.columns) {
            let comma = if n == 1 { "" } else { ", " };
            let kind = match column {
                Column::Int => "bigint",
                Column::Text => "text",
                Column::Bytes => "bytea",
            };
            arrays.push_str(&format!("{comma}${n}::{kind}[]"));
            names.push_str(&format!("{comma}column{n}"));
        }
        self.with_rows(Dialect::Postgres, &format!("SELECT * FROM UNNEST({arrays}) AS given ({names})"))
    }

    /// The text for PostgreSQL, with a query in the place of the rows whose columns are named `column1` and so on.
    pub(crate) fn with_rows(&self, dialect: Dialect, rows: &str) -> String {
        let (before, after) = self.sql.split_once("{rows}").unwrap_or((self.sql, ""));
        format!("{}{rows}{}", dialect.text(before), dialect.text(after))
    }

    /// One array a column, of values that are given row by row.
    fn arrays(&self, values: Vec<Value<'_>>) -> Result<PgArguments, StoreError> {
        let rows = values.len() / self.columns.len().max(1);
        let mut arguments = PgArguments::default();
        for (n, column) in self.columns.iter().enumerate() {
            let of_column = values.iter().skip(n).step_by(self.columns.len());
            let added = match column {
                Column::Int => {
                    let mut array = Vec::with_capacity(rows);
                    array.extend(of_column.map(|value| match value {
                        Value::Int(value) => *value,
                        Value::Bool(value) => Some(i64::from(*value)),
                        _ => None,
                    }));
                    arguments.add(array)
                }
                Column::Text => {
                    let mut array = Vec::with_capacity(rows);
                    array.extend(of_column.map(|value| match value {
                        Value::Text(value) => value.as_ref().map(Cow::as_ref),
                        _ => None,
                    }));
                    arguments.add(array)
                }
                Column::Bytes => {
                    let mut array = Vec::with_capacity(rows);
                    array.extend(of_column.map(|value| match value {
                        Value::Bytes(value) => value.as_ref().map(Cow::as_ref),
                        _ => None,
                    }));
                    arguments.add(array)
                }
            };
            added.map_err(|error| StoreError::from(sqlx::Error::Encode(error)))?;
        }
        Ok(arguments)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_statement_in_both_dialects() {
        const PUT: Multi = Multi {
            sql: "INSERT INTO t (a, b) {rows} ON CONFLICT (a) DO NOTHING",
            columns: &[Column::Int, Column::Bytes],
        };
        assert_eq!(
            PUT.sqlite_text(2),
            "INSERT OR ROLLBACK INTO t (a, b) VALUES (?,?),(?,?) ON CONFLICT (a) DO NOTHING"
        );
        assert_eq!(
            PUT.postgres_text(),
            "INSERT INTO t (a, b) SELECT * FROM UNNEST($1::bigint[], $2::bytea[]) AS given (column1, column2) \
             ON CONFLICT (a) DO NOTHING"
        );
    }
}
