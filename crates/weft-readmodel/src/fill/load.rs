//! Rows on their way into PostgreSQL tables that are filled at once: by COPY, without an index in the way.
//!
//! Rows that are inserted go straight to their table. What changes a row that went before (the end of a version) cannot look
//! it up yet: such rows go to a table of their own, and are applied by one statement at the end.

use std::{
    collections::{BTreeMap, HashMap},
    mem,
};

use crate::{
    bulk::Multi,
    sql::{Column, Dialect, Value},
};

/// A statement that is executed once everything is in its table.
#[derive(Debug, Clone)]
pub(crate) struct Later {
    pub(crate) statement: Multi,
    /// The table that holds its rows.
    pub(crate) table: String,
}

/// Rows of one table in PostgreSQL's binary COPY format, without what is before the first and after the last.
#[derive(Debug)]
pub(crate) struct Rows {
    pub(crate) into: Target,
    /// One after the other.
    pub(crate) pieces: Vec<Vec<u8>>,
}

/// Where rows are copied to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) table: String,
    /// The statement that makes the table, where it is none of the read model's.
    pub(crate) create: Option<String>,
    /// ` (a, b)`, or nothing where it is all of them, in order.
    columns: String,
}

/// What is to be loaded.
#[derive(Debug)]
pub(crate) struct Load {
    /// Bytes of an integer, by table and column, where they are not eight.
    widths: HashMap<(String, String), i16>,
    /// By text of the statement.
    buffers: BTreeMap<&'static str, Buffer>,
    later: Vec<Later>,
    /// Statements of few rows, in order.
    small: Vec<(Multi, Vec<Value<'static>>)>,
}

#[derive(Debug)]
struct Buffer {
    into: Target,
    columns: &'static [Column],
    widths: Vec<i16>,
    full: Vec<Vec<u8>>,
    /// The piece that is written to; empty where there are no rows.
    last: Vec<u8>,
}

/// Bytes of a piece, the row that it ends with aside: pieces are freed and made again, as one long buffer would not be.
const PIECE_BYTES: usize = 128 << 10;

/// What stands before the first row.
pub(crate) const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// And after the last.
pub(crate) const TRAILER: [u8; 2] = (-1i16).to_be_bytes();

impl Load {
    pub(crate) fn new(widths: HashMap<(String, String), i16>) -> Self {
        Self { widths, buffers: BTreeMap::new(), later: Vec::new(), small: Vec::new() }
    }

    /// Adds rows of `statement`.
    pub(crate) fn add(&mut self, statement: &Multi, values: Vec<Value<'_>>) {
        if statement.sql.contains("DO UPDATE") {
            self.small.push((*statement, values.into_iter().map(owned).collect()));
            return;
        }
        if !self.buffers.contains_key(statement.sql) {
            let buffer = self.buffer(statement);
            self.buffers.insert(statement.sql, buffer);
        }
        if let Some(buffer) = self.buffers.get_mut(statement.sql) {
            buffer.add(&values);
        }
    }

    /// What has been added since the last call.
    pub(crate) fn take(&mut self) -> Vec<Rows> {
        let filled = self.buffers.values_mut().filter(|buffer| !buffer.last.is_empty());
        filled.map(|buffer| Rows { into: buffer.into.clone(), pieces: buffer.take() }).collect()
    }

    /// Statements that are executed once everything is in its table.
    pub(crate) fn later(&self) -> &[Later] {
        &self.later
    }

    /// Statements of few rows, in the order in which they were added.
    pub(crate) fn take_small(&mut self) -> Vec<(Multi, Vec<Value<'static>>)> {
        mem::take(&mut self.small)
    }

    fn buffer(&mut self, statement: &Multi) -> Buffer {
        let columns = statement.columns;
        let table_of_insert = statement.sql.strip_prefix("INSERT INTO ").and_then(|rest| rest.split_once(" {rows}"));
        let (into, widths) = match table_of_insert.and_then(|(target, _)| target.split_once(" (")) {
            Some((table, names)) => {
                let names = names.trim_end().trim_end_matches(')');
                let width = |name: &str| self.widths.get(&(table.to_owned(), name.to_owned())).copied().unwrap_or(8);
                let widths = names.split(',').map(|name| width(name.trim())).collect();
                (Target { table: table.to_owned(), create: None, columns: format!(" ({names})") }, widths)
            }
            None => {
                let later = Later { statement: *statement, table: format!("later_{}", self.later.len()) };
                let into = Target { table: later.table.clone(), create: Some(later.create()), columns: String::new() };
                self.later.push(later);
                (into, vec![8; columns.len()])
            }
        };
        Buffer { into, columns, widths, full: Vec::new(), last: Vec::new() }
    }
}

impl Target {
    /// The statement that copies.
    pub(crate) fn copy(&self) -> String {
        let Self { table, columns, .. } = self;
        format!("COPY {table}{columns} FROM STDIN BINARY")
    }
}

impl Later {
    /// The statement that makes its table.
    fn create(&self) -> String {
        let columns: Vec<String> = (1..)
            .zip(self.statement.columns)
            .map(|(n, column)| {
                let kind = match column {
                    Column::Int => "bigint",
                    Column::Text => "text",
                    Column::Bytes => "bytea",
                };
                format!("column{n} {kind}")
            })
            .collect();
        format!("CREATE UNLOGGED TABLE {} ({})", self.table, columns.join(", "))
    }

    /// Whether it is rows of this table that it changes.
    pub(crate) fn changes(&self, table: &str) -> bool {
        self.statement.sql.split(' ').nth(1) == Some(table)
    }

    /// The statement over all rows of its table.
    pub(crate) fn execute(&self) -> String {
        self.statement.with_rows(Dialect::Postgres, &format!("SELECT * FROM {}", self.table))
    }
}

impl Buffer {
    fn add(&mut self, values: &[Value<'_>]) {
        let bytes = &mut self.last;
        let fields = i16::try_from(self.columns.len()).unwrap_or(i16::MAX);
        for row in values.chunks(self.columns.len().max(1)) {
            if bytes.len() >= PIECE_BYTES {
                self.full.push(mem::replace(bytes, Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 8)));
            }
            bytes.extend_from_slice(&fields.to_be_bytes());
            for (value, width) in row.iter().zip(&self.widths) {
                match value {
                    Value::Int(Some(value)) => put_int(bytes, *value, *width),
                    Value::Bool(value) => put_int(bytes, i64::from(*value), *width),
                    Value::Text(Some(text)) => put(bytes, text.as_bytes()),
                    Value::Bytes(Some(some)) => put(bytes, some),
                    _ => bytes.extend_from_slice(&(-1i32).to_be_bytes()),
                }
            }
        }
    }

    fn take(&mut self) -> Vec<Vec<u8>> {
        let mut pieces = mem::take(&mut self.full);
        pieces.push(mem::take(&mut self.last));
        pieces
    }
}

fn put(to: &mut Vec<u8>, bytes: &[u8]) {
    to.extend_from_slice(&i32::try_from(bytes.len()).unwrap_or(i32::MAX).to_be_bytes());
    to.extend_from_slice(bytes);
}

fn put_int(to: &mut Vec<u8>, value: i64, width: i16) {
    match width {
        2 => put(to, &i16::try_from(value).unwrap_or(i16::MAX).to_be_bytes()),
        4 => put(to, &i32::try_from(value).unwrap_or(i32::MAX).to_be_bytes()),
        _ => put(to, &value.to_be_bytes()),
    }
}

pub(super) fn owned(value: Value<'_>) -> Value<'static> {
    match value {
        Value::Int(value) => Value::Int(value),
        Value::Bool(value) => Value::Bool(value),
        Value::Text(value) => Value::Text(value.map(|text| text.into_owned().into())),
        Value::Bytes(value) => Value::Bytes(value.map(|bytes| bytes.into_owned().into())),
        // No row has a list in it.
        Value::Texts(_) | Value::Numbers(_) => Value::Int(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INSERT: Multi = Multi { sql: "INSERT INTO t (a, b) {rows}", columns: &[Column::Int, Column::Bytes] };
    const CLOSE: Multi =
        Multi { sql: "UPDATE t SET b = k.column2 FROM ({rows}) AS k WHERE a = k.column1", columns: INSERT.columns };

    #[test]
    fn rows_are_written_as_copy_reads_them() {
        let mut load = Load::new(HashMap::from([(("t".to_owned(), "a".to_owned()), 2)]));
        load.add(&INSERT, vec![7i64.into(), vec![1u8, 2].into(), Value::Int(None), vec![].into()]);
        let rows = load.take();
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].into.copy(), "COPY t (a, b) FROM STDIN BINARY");
        assert_eq!(rows[0].pieces.concat(), b"\0\x02\0\0\0\x02\0\x07\0\0\0\x02\x01\x02\0\x02\xff\xff\xff\xff\0\0\0\0");
        assert!(load.take().is_empty());
    }

    #[test]
    fn what_changes_rows_waits_for_them() {
        let mut load = Load::new(HashMap::new());
        load.add(&CLOSE, vec![7i64.into(), vec![1u8].into()]);
        let into = load.take().remove(0).into;
        assert_eq!(into.copy(), "COPY later_0 FROM STDIN BINARY");
        let later = &load.later()[0];
        assert_eq!(into.create.unwrap(), "CREATE UNLOGGED TABLE later_0 (column1 bigint, column2 bytea)");
        assert!(later.changes("t") && !later.changes("b"));
        assert_eq!(later.execute(), "UPDATE t SET b = k.column2 FROM (SELECT * FROM later_0) AS k WHERE a = k.column1");
    }
}
