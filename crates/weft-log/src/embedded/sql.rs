//! How many rows become one statement. However many there are, they travel as three arguments: a blob with all their
//! bytes, a JSON array with a number or a list of numbers for each row, and one number for all of them. So every table
//! has one statement, always prepared, and a whole batch is one round trip to SQLite's thread.

use std::{collections::HashMap, fmt::Write};

use crate::error::Cause;
use sqlx::{AssertSqlSafe, Sqlite, query::Query, sqlite::SqliteArguments};

/// SQLite's primary result codes for a file that is not what it should be.
const CORRUPT: i64 = 11;
const NOT_A_DATABASE: i64 = 26;
/// Bits of a length in [`Pack::slice`].
const LENGTH_BITS: u32 = 28;

/// Rows on their way to one statement.
#[derive(Debug, Default)]
pub(crate) struct Pack {
    bytes: Vec<u8>,
    rows: String,
    /// One number for all rows.
    pub(crate) first: i64,
}

impl Pack {
    pub(crate) fn reserve(&mut self, bytes: usize) {
        self.bytes.reserve(bytes);
    }

    /// Adds bytes; returns where they start. SQL counts from 1.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> i64 {
        let start = self.bytes.len() as i64 + 1;
        self.bytes.extend_from_slice(bytes);
        start
    }

    /// Adds a row of numbers: in SQL `value ->> 0` and so on.
    pub(crate) fn row(&mut self, numbers: &[i64]) {
        self.rows.push_str(if self.rows.is_empty() { "[[" } else { ",[" });
        for (i, number) in numbers.iter().enumerate() {
            // Writing to a string does not fail.
            let _ = write!(self.rows, "{}{number}", if i == 0 { "" } else { "," });
        }
        self.rows.push(']');
    }

    /// Adds a row of one number: in SQL `value`.
    pub(crate) fn number(&mut self, number: i64) {
        let _ = write!(self.rows, "{}{number}", if self.rows.is_empty() { "[" } else { "," });
    }

    /// Adds a row of where bytes start and how many they are: in SQL `value >> 28` and `value & 268435455`. One number,
    /// because a list must be parsed again for each row.
    pub(crate) fn slice(&mut self, start: i64, bytes: usize) {
        self.number(start << LENGTH_BITS | bytes as i64);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// The text of a statement with a part for each pack that has rows. In a part `$B`, `$R` and `$F` stand for the bytes, the
/// rows and the first number of its pack.
pub(crate) struct Parts<const N: usize> {
    pub(crate) before: &'static str,
    pub(crate) parts: [&'static str; N],
    pub(crate) between: &'static str,
    pub(crate) after: &'static str,
}

/// Texts by the packs that have rows, one bit each.
#[derive(Default)]
pub(crate) struct Texts(HashMap<u32, String>);

impl<const N: usize> Parts<N> {
    /// The statement for these packs.
    pub(crate) fn query<'q>(&self, texts: &mut Texts, packs: [Pack; N]) -> Query<'q, Sqlite, SqliteArguments> {
        let filled = packs.iter().zip(0..).fold(0, |bits, (pack, n)| bits | u32::from(!pack.is_empty()) << n);
        let text = texts.0.entry(filled).or_insert_with(|| self.text(filled)).clone();
        let mut query = sqlx::query(AssertSqlSafe(text));
        for mut pack in packs.into_iter().filter(|pack| !pack.is_empty()) {
            pack.rows.push(']');
            query = query.bind(pack.bytes).bind(pack.rows).bind(pack.first);
        }
        query
    }

    fn text(&self, filled: u32) -> String {
        let wanted = self.parts.iter().zip(0..).filter(|(_, n)| filled & 1 << n != 0);
        let numbered = wanted.zip(0..).map(|((part, _), n)| {
            let argument = |k: i32| format!("${}", 3 * n + k);
            part.replace("$B", &argument(1)).replace("$R", &argument(2)).replace("$F", &argument(3))
        });
        format!("{}{}{}", self.before, numbered.collect::<Vec<_>>().join(self.between), self.after)
    }
}

/// Where the file itself is damaged: trying again does not help.
pub(crate) fn is_damage(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<i64>().ok());
    // The low byte of an extended result code is the primary one.
    matches!(code.map(|code| code & 0xff), Some(CORRUPT | NOT_A_DATABASE))
}

/// The error without sqlx's words around SQLite's own.
pub(crate) fn cause(error: sqlx::Error) -> Cause {
    match error {
        sqlx::Error::Database(error) => Cause::new(error.into_error()),
        error => Cause::new(error),
    }
}
