//! How many rows become one statement. However many there are, they travel as one blob with all their bytes and, for each
//! table, one JSON array with a number or a list of numbers for each row. So there is one text, always prepared, and a whole
//! batch is one round trip to SQLite's thread.

use std::fmt::Write;

use crate::error::Cause;

/// SQLite's primary result codes for a file that is not what it should be.
const CORRUPT: i64 = 11;
const NOT_A_DATABASE: i64 = 26;
/// SQLite's extended result codes for what a trigger, a primary key or another unique key refuses.
const CONSTRAINT_TRIGGER: i64 = 1811;
const CONSTRAINT_PRIMARYKEY: i64 = 1555;
const CONSTRAINT_UNIQUE: i64 = 2067;
/// Bits of a length in [`Array::slice`].
const LENGTH_BITS: u32 = 28;

/// The bytes that rows speak of, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Blob(pub(crate) Vec<u8>);

impl Blob {
    pub(crate) fn reserve(&mut self, bytes: usize) {
        self.0.reserve(bytes);
    }

    /// Adds bytes; returns where they start. SQL counts from 1.
    pub(crate) fn add(&mut self, bytes: &[u8]) -> i64 {
        let start = self.0.len() as i64 + 1;
        self.0.extend_from_slice(bytes);
        start
    }
}

/// Rows of one table, as a JSON array without its end.
#[derive(Debug, Default)]
pub(crate) struct Array(String);

impl Array {
    /// Adds a row of numbers: in SQL `value ->> 0` and so on.
    pub(crate) fn row(&mut self, numbers: &[i64]) {
        self.0.push_str(if self.0.is_empty() { "[[" } else { ",[" });
        for (i, number) in numbers.iter().enumerate() {
            // Writing to a string does not fail.
            let _ = write!(self.0, "{}{number}", if i == 0 { "" } else { "," });
        }
        self.0.push(']');
    }

    /// Adds a row of one number: in SQL `value`.
    pub(crate) fn number(&mut self, number: i64) {
        let _ = write!(self.0, "{}{number}", if self.0.is_empty() { "[" } else { "," });
    }

    /// Adds a row of where bytes start and how many they are: in SQL `value >> 28` and `value & 268435455`. One number,
    /// because a list must be parsed again for each row.
    pub(crate) fn slice(&mut self, start: i64, bytes: usize) {
        self.number(start << LENGTH_BITS | bytes as i64);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The array; None where there are no rows, which is no row for `json_each` too.
    pub(crate) fn finish(mut self) -> Option<String> {
        (!self.0.is_empty()).then(|| {
            self.0.push(']');
            self.0
        })
    }
}

/// Where the file itself is damaged: trying again does not help.
pub(crate) fn is_damage(error: &sqlx::Error) -> bool {
    // The low byte of an extended result code is the primary one.
    matches!(code(error).map(|code| code & 0xff), Some(CORRUPT | NOT_A_DATABASE))
}

/// Where something was to be written that is there already.
pub(crate) fn is_repeat(error: &sqlx::Error) -> bool {
    matches!(code(error), Some(CONSTRAINT_TRIGGER | CONSTRAINT_PRIMARYKEY | CONSTRAINT_UNIQUE))
}

fn code(error: &sqlx::Error) -> Option<i64> {
    error.as_database_error()?.code()?.parse().ok()
}

/// The error without sqlx's words around SQLite's own.
pub(crate) fn cause(error: sqlx::Error) -> Cause {
    match error {
        sqlx::Error::Database(error) => Cause::new(error.into_error()),
        error => Cause::new(error),
    }
}
