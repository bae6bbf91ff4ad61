//! Statements over many rows at once.
//!
//! Each statement costs a trip to SQLite's thread, so rows go in chunks whose sizes are powers of two: the few texts that
//! this makes stay prepared.

use sqlx::{Arguments, Decode};
use sqlx::{
    AssertSqlSafe, Encode, Row, Sqlite, SqliteConnection, Type,
    sqlite::{SqliteArguments, SqliteRow},
};

use crate::error::StoreError;

/// A statement with a list of rows in it: `before (?,?),(?,?) after`.
pub(crate) struct Multi {
    pub(crate) before: &'static str,
    /// Values in a row.
    pub(crate) columns: usize,
    pub(crate) after: &'static str,
}

/// Values of the rows, in order.
pub(crate) struct Values {
    arguments: SqliteArguments,
    failed: Option<sqlx::error::BoxDynError>,
}

const ROWS_MAX: usize = 256;

impl Values {
    /// Adds the next value.
    pub(crate) fn put<'t>(&mut self, value: impl Encode<'t, Sqlite> + Type<Sqlite>) -> &mut Self {
        if let Err(error) = self.arguments.add(value) {
            self.failed.get_or_insert(error);
        }
        self
    }

    /// Adds an offset, a size or a small number.
    pub(crate) fn put_u64(&mut self, value: u64) -> &mut Self {
        self.put(sql(value))
    }

    fn finish(self) -> Result<SqliteArguments, StoreError> {
        self.failed.map_or(Ok(self.arguments), |error| Err(sqlx::Error::Encode(error).into()))
    }
}

/// Executes `statement` for all `rows`.
pub(crate) async fn write<T>(
    conn: &mut SqliteConnection,
    statement: &Multi,
    rows: &[T],
    bind: impl Fn(&mut Values, &T),
) -> Result<(), StoreError> {
    let mut rest = rows;
    while !rest.is_empty() {
        let (chunk, later) = rest.split_at(power_of_two_below(rest.len()));
        rest = later;
        let arguments = values(chunk, statement.columns, &bind)?;
        sqlx::query_with(AssertSqlSafe(statement.text(chunk.len())), arguments).execute(&mut *conn).await?;
    }
    Ok(())
}

/// Runs the query `statement` for all `keys`. Rows may come twice.
pub(crate) async fn read<T: Clone>(
    conn: &mut SqliteConnection,
    statement: &Multi,
    keys: &[T],
    bind: impl Fn(&mut Values, &T),
) -> Result<Vec<SqliteRow>, StoreError> {
    let mut rows = Vec::new();
    for chunk in keys.chunks(ROWS_MAX) {
        let mut padded = chunk.to_vec();
        if let Some(last) = chunk.last() {
            padded.resize(chunk.len().next_power_of_two(), last.clone());
        }
        let arguments = values(&padded, statement.columns, &bind)?;
        let query = sqlx::query_with(AssertSqlSafe(statement.text(padded.len())), arguments);
        rows.extend(query.fetch_all(&mut *conn).await?);
    }
    Ok(rows)
}

/// A value of a row.
pub(crate) fn get<'r, T: Decode<'r, Sqlite> + Type<Sqlite>>(
    row: &'r SqliteRow,
    column: usize,
) -> Result<T, StoreError> {
    Ok(row.try_get(column)?)
}

/// An unsigned value of a row.
pub(crate) fn get_u64(row: &SqliteRow, column: usize) -> Result<u64, StoreError> {
    get::<i64>(row, column).map(i64::cast_unsigned)
}

/// An offset or a size as SQLite holds it. None comes near 2^63: the sizes of a cut that limits nothing are cut there.
pub(crate) fn sql(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn values<T>(rows: &[T], columns: usize, bind: impl Fn(&mut Values, &T)) -> Result<SqliteArguments, StoreError> {
    let mut values = Values { arguments: SqliteArguments::default(), failed: None };
    values.arguments.reserve(rows.len() * columns, 0);
    for row in rows {
        bind(&mut values, row);
    }
    values.finish()
}

fn power_of_two_below(rows: usize) -> usize {
    if rows >= ROWS_MAX { ROWS_MAX } else { 1 << rows.max(1).ilog2() }
}

impl Multi {
    fn text(&self, rows: usize) -> String {
        let mut text = String::with_capacity(self.before.len() + self.after.len() + rows * (self.columns * 2 + 2));
        text.push_str(self.before);
        for row in 0..rows {
            text.push_str(if row == 0 { "(" } else { ",(" });
            for column in 0..self.columns {
                text.push_str(if column == 0 { "?" } else { ",?" });
            }
            text.push(')');
        }
        text.push_str(self.after);
        text
    }
}
