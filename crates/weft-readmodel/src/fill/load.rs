//! Rows on their way into PostgreSQL tables that are filled at once: by COPY, without an index in the way.
//!
//! Rows that are inserted go straight to their table. What changes a row that went before (the end of a version) cannot look
//! it up yet: such rows go to a table of their own, and are applied by one statement at the end.

use std::collections::{BTreeMap, HashMap};

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

/// Rows of one table in PostgreSQL's binary COPY format.
#[derive(Debug)]
pub(crate) struct Copy {
    /// `COPY table (columns) FROM STDIN BINARY`.
    pub(crate) sql: String,
    pub(crate) bytes: Vec<u8>,
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
    copy: String,
    columns: &'static [Column],
    widths: Vec<i16>,
    bytes: Vec<u8>,
}

const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const TRAILER: [u8; 2] = (-1i16).to_be_bytes();

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
    pub(crate) fn take(&mut self) -> Vec<Copy> {
        let full = self.buffers.values_mut().filter(|buffer| !buffer.bytes.is_empty());
        full.map(|buffer| {
            let mut bytes = std::mem::take(&mut buffer.bytes);
            bytes.extend_from_slice(&TRAILER);
            Copy { sql: buffer.copy.clone(), bytes }
        })
        .collect()
    }

    /// Statements that are executed once everything is in its table.
    pub(crate) fn later(&self) -> &[Later] {
        &self.later
    }

    /// Statements of few rows, in the order in which they were added.
    pub(crate) fn take_small(&mut self) -> Vec<(Multi, Vec<Value<'static>>)> {
        std::mem::take(&mut self.small)
    }

    fn buffer(&mut self, statement: &Multi) -> Buffer {
        let columns = statement.columns;
        let table_of_insert = statement.sql.strip_prefix("INSERT INTO ").and_then(|rest| rest.split_once(" {rows}"));
        let (copy, widths) = match table_of_insert.and_then(|(target, _)| target.split_once(" (")) {
            Some((table, names)) => {
                let names = names.trim_end().trim_end_matches(')');
                let width = |name: &str| self.widths.get(&(table.to_owned(), name.to_owned())).copied().unwrap_or(8);
                let widths = names.split(',').map(|name| width(name.trim())).collect();
                (format!("COPY {table} ({names}) FROM STDIN BINARY"), widths)
            }
            None => {
                let table = format!("later_{}", self.later.len());
                let copy = format!("COPY {table} FROM STDIN BINARY");
                self.later.push(Later { statement: *statement, table });
                (copy, vec![8; columns.len()])
            }
        };
        Buffer { copy, columns, widths, bytes: Vec::new() }
    }
}

impl Later {
    /// The statements that make its table.
    pub(crate) fn create(&self) -> String {
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
        format!("CREATE UNLOGGED TABLE IF NOT EXISTS {} ({})", self.table, columns.join(", "))
    }

    /// The statement over all rows of its table.
    pub(crate) fn execute(&self) -> String {
        self.statement.with_rows(Dialect::Postgres, &format!("SELECT * FROM {}", self.table))
    }
}

impl Buffer {
    fn add(&mut self, values: &[Value<'_>]) {
        if self.bytes.is_empty() {
            self.bytes.extend_from_slice(HEADER);
        }
        let fields = i16::try_from(self.columns.len()).unwrap_or(i16::MAX);
        for row in values.chunks(self.columns.len().max(1)) {
            self.bytes.extend_from_slice(&fields.to_be_bytes());
            for (value, width) in row.iter().zip(&self.widths) {
                match value {
                    Value::Int(Some(value)) => put_int(&mut self.bytes, *value, *width),
                    Value::Bool(value) => put_int(&mut self.bytes, i64::from(*value), *width),
                    Value::Text(Some(text)) => put(&mut self.bytes, text.as_bytes()),
                    Value::Bytes(Some(bytes)) => put(&mut self.bytes, bytes),
                    _ => self.bytes.extend_from_slice(&(-1i32).to_be_bytes()),
                }
            }
        }
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
        let copies = load.take();
        assert_eq!(copies.len(), 1);
        assert_eq!(copies[0].sql, "COPY t (a, b) FROM STDIN BINARY");
        let rows = copies[0].bytes.strip_prefix(HEADER).unwrap().strip_suffix(&TRAILER).unwrap();
        assert_eq!(rows, b"\0\x02\0\0\0\x02\0\x07\0\0\0\x02\x01\x02\0\x02\xff\xff\xff\xff\0\0\0\0");
        assert!(load.take().is_empty());
    }

    #[test]
    fn what_changes_rows_waits_for_them() {
        let mut load = Load::new(HashMap::new());
        load.add(&CLOSE, vec![7i64.into(), vec![1u8].into()]);
        assert_eq!(load.take()[0].sql, "COPY later_0 FROM STDIN BINARY");
        let later = &load.later()[0];
        assert_eq!(later.create(), "CREATE UNLOGGED TABLE IF NOT EXISTS later_0 (column1 bigint, column2 bytea)");
        assert_eq!(later.execute(), "UPDATE t SET b = k.column2 FROM (SELECT * FROM later_0) AS k WHERE a = k.column1");
    }
}
