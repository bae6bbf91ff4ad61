//! How a batch becomes one statement text. However many rows a table gets, they travel as two arguments: one blob with
//! all their bytes, and one JSON array of numbers with where each row's bytes are. So there is one text per table, always
//! prepared, and a whole batch is one round trip to SQLite's thread.

use std::fmt::Write;

/// SQLite's primary result codes for a file that is not what it should be.
const CORRUPT: i64 = 11;
const NOT_A_DATABASE: i64 = 26;

/// Rows on their way to one table.
#[derive(Debug, Default)]
pub(crate) struct Pack {
    bytes: Vec<u8>,
    rows: String,
}

impl Pack {
    /// Adds bytes; returns where they start. SQL counts from 1.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> i64 {
        let start = self.bytes.len() as i64 + 1;
        self.bytes.extend_from_slice(bytes);
        start
    }

    /// Adds a row of numbers.
    pub(crate) fn row(&mut self, numbers: &[i64]) {
        self.rows.push_str(if self.rows.is_empty() { "[[" } else { ",[" });
        for (i, number) in numbers.iter().enumerate() {
            // Writing to a string does not fail.
            let _ = write!(self.rows, "{}{number}", if i == 0 { "" } else { "," });
        }
        self.rows.push(']');
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(crate) fn reserve(&mut self, bytes: usize) {
        self.bytes.reserve(bytes);
    }

    /// The blob and the array.
    pub(crate) fn finish(mut self) -> (Vec<u8>, String) {
        self.rows.push_str(if self.rows.is_empty() { "[]" } else { "]" });
        (self.bytes, self.rows)
    }
}

/// Where the file itself is damaged: trying again does not help.
pub(crate) fn is_damage(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<i64>().ok());
    // The low byte of an extended result code is the primary one.
    matches!(code.map(|code| code & 0xff), Some(CORRUPT | NOT_A_DATABASE))
}
