//! Comma separated values as they come: quoted or not, any line ends, a byte order mark, short lines; also tabs or semicolons.

/// A table with a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Csv {
    /// Names of the columns, trimmed.
    pub header: Vec<String>,
    /// Rows of trimmed cells, each with the number of the line that it begins on; short rows are filled with empty cells.
    pub rows: Vec<(usize, Vec<String>)>,
}

/// Why a file is no table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CsvError {
    /// Nothing in it.
    #[error("no header: the file is empty")]
    Empty,
    /// A quote that is never closed.
    #[error("line {line}: a quote that begins here is not closed")]
    OpenQuote {
        /// Counted from 1.
        line: usize,
    },
    /// More cells than the header has columns.
    #[error("line {line}: {cells} cells under {columns} columns")]
    TooManyCells {
        /// Counted from 1.
        line: usize,
        /// In the line.
        cells: usize,
        /// In the header.
        columns: usize,
    },
}

impl Csv {
    /// Reads a table. The separator is the one of comma, tab and semicolon that the first line has most of.
    ///
    /// # Errors
    /// [`CsvError`] names the line.
    pub fn parse(text: &str) -> Result<Self, CsvError> {
        let text = text.trim_start_matches('\u{feff}');
        let first = text.lines().next().unwrap_or_default();
        let count = |separator: char| first.matches(separator).count();
        let separator = [',', '\t', ';'].into_iter().rev().max_by_key(|s| count(*s)).unwrap_or(',');
        let mut rows = Rows { rest: text, line: 1, separator };
        let (_, header) = rows.next().ok_or(CsvError::Empty)??;
        let mut all = Vec::new();
        for row in rows {
            let (line, mut cells) = row?;
            let is_blank = cells.iter().all(String::is_empty);
            while cells.len() > header.len() && cells.last().is_some_and(String::is_empty) {
                cells.pop();
            }
            if cells.len() > header.len() {
                return Err(CsvError::TooManyCells { line, cells: cells.len(), columns: header.len() });
            }
            if !is_blank {
                cells.resize(header.len(), String::new());
                all.push((line, cells));
            }
        }
        Ok(Self { header, rows: all })
    }

    /// Place of a column, whatever its case.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<usize> {
        let exact = self.header.iter().position(|held| held == name.trim());
        exact.or_else(|| self.header.iter().position(|held| held.eq_ignore_ascii_case(name.trim())))
    }
}

struct Rows<'a> {
    rest: &'a str,
    line: usize,
    separator: char,
}

impl Iterator for Rows<'_> {
    type Item = Result<(usize, Vec<String>), CsvError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let start = self.line;
        let mut cells = Vec::new();
        loop {
            let (cell, ends_row) = match self.cell() {
                Ok(cell) => cell,
                Err(line) => {
                    self.rest = "";
                    return Some(Err(CsvError::OpenQuote { line }));
                }
            };
            cells.push(cell);
            if ends_row {
                return Some(Ok((start, cells)));
            }
        }
    }
}

impl Rows<'_> {
    /// Takes one cell, and says whether its row ends with it. The line of a quote that is not closed where there is one.
    fn cell(&mut self) -> Result<(String, bool), usize> {
        let mut cell = String::new();
        let trimmed = self.rest.trim_start_matches(' ');
        let mut chars = self.rest.char_indices().peekable();
        let mut quoted = trimmed.starts_with('"').then_some(self.line);
        let mut skip = if quoted.is_some() { self.rest.len() - trimmed.len() + 1 } else { 0 };
        while let Some((at, c)) = chars.next() {
            if skip > 0 {
                skip -= 1;
                continue;
            }
            let next = chars.peek().map(|(_, c)| *c);
            match c {
                '"' if quoted.is_some() && next == Some('"') => {
                    cell.push('"');
                    skip = 1;
                }
                '"' if quoted.is_some() => quoted = None,
                '\n' => {
                    self.line += 1;
                    if quoted.is_none() {
                        self.rest = self.rest.get(at + 1..).unwrap_or_default();
                        return Ok((cell.trim().to_owned(), true));
                    }
                    cell.push(' ');
                }
                c if c == self.separator && quoted.is_none() => {
                    self.rest = self.rest.get(at + 1..).unwrap_or_default();
                    // A separator that ends the text leaves one empty cell, which is as good as none.
                    return Ok((cell.trim().to_owned(), self.rest.is_empty()));
                }
                c => cell.push(c),
            }
        }
        self.rest = "";
        match quoted {
            Some(line) => Err(line),
            None => Ok((cell.trim().to_owned(), true)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, wanted: &[&[&str]]) {
        let csv = Csv::parse(text).unwrap();
        let rows = std::iter::once(&csv.header).chain(csv.rows.iter().map(|(_, cells)| cells));
        assert_eq!(rows.collect::<Vec<_>>(), wanted, "{text:?}");
    }

    #[test]
    fn tables_are_read_as_they_come() {
        check("a,b\n1,2\n", &[&["a", "b"], &["1", "2"]]);
        check("\u{feff}a;b\r\n1;2", &[&["a", "b"], &["1", "2"]]);
        check("a\tb\n 1 \t\n", &[&["a", "b"], &["1", ""]]);
        check("a,b\n\"x, \"\"y\"\"\",\" z\"\n", &[&["a", "b"], &["x, \"y\"", "z"]]);
        check("a, b\n1, \"2,3\"\n\n4\n", &[&["a", "b"], &["1", "2,3"], &["4", ""]]);
        check("a,b\n\"two\nlines\",2\n", &[&["a", "b"], &["two lines", "2"]]);
        check("a,b\n1,2,\n", &[&["a", "b"], &["1", "2"]]);
        check("é,b\nü,\"ö\"\n", &[&["é", "b"], &["ü", "ö"]]);
        assert_eq!(Csv::parse("a,B \n").unwrap().column("b"), Some(1));
    }

    #[test]
    fn what_is_no_table_says_where() {
        assert_eq!(Csv::parse(""), Err(CsvError::Empty));
        assert_eq!(Csv::parse("a\n1\n\"2\n3\n"), Err(CsvError::OpenQuote { line: 3 }));
        assert_eq!(Csv::parse("a\n1,2\n"), Err(CsvError::TooManyCells { line: 2, cells: 2, columns: 1 }));
    }
}
