//! A table for people: columns as wide as their widest cell, the last one free.

use std::fmt::Write;

/// Wider cells are cut, so that a line stays a line: `--json` has them whole.
const CELL_CHARS_MAX: usize = 60;

/// Lays out `rows` under `head`. Cells are shown as they are, but for control characters, which become spaces: text
/// from a message must not steer the terminal.
pub(crate) fn render(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = head.iter().map(|h| h.chars().count()).collect();
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| plain(cell)).collect()).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    let head: Vec<String> = head.iter().map(|h| (*h).to_owned()).collect();
    for row in std::iter::once(&head).chain(&rows) {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn plain(cell: &str) -> String {
    let text: String = cell.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match text.char_indices().nth(CELL_CHARS_MAX - 1) {
        Some((end, _)) if text.chars().count() > CELL_CHARS_MAX => text[..end].to_owned() + "…",
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_control_characters_do_not_pass() {
        let rows = vec![vec!["a".into(), "long\u{1b}[31m".into()], vec!["bbb".into(), "c".into()]];
        assert_eq!(render(&["X", "YY"], &rows), "X    YY\na    long [31m\nbbb  c\n");
    }

    #[test]
    fn a_wide_cell_is_cut() {
        let shown = render(&["X"], &[vec!["é".repeat(100)]]);
        assert_eq!(shown, format!("X\n{}…\n", "é".repeat(59)));
    }
}
