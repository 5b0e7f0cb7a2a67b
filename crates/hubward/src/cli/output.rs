//! What commands print on standard output.

use std::io::{IsTerminal, Write};

use serde::Serialize;

use super::Failure;

/// Prints one line; a reader that went away (`| head`) ends the command quietly.
pub fn line(text: &str) -> Result<(), Failure> {
    part(&format!("{text}\n"))
}

/// Prints text that brings its own line ends.
pub fn part(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Err(Failure { problem: None, code: 0 }),
        Err(error) => Err(Failure::unexpected("writing to standard output", error)),
    }
}

/// Prints `value` as one line of JSON.
pub fn json<T: Serialize>(value: &T) -> Result<(), Failure> {
    line(&serde_json::to_string(value).map_err(|error| Failure::unexpected("writing JSON", error))?)
}

/// Prints columns that line up; `none` if there are no rows.
pub fn table(head: &[&str], rows: &[Vec<String>], none: &str) -> Result<(), Failure> {
    if rows.is_empty() {
        return line(none);
    }
    for text in columns(head, rows) {
        line(&text)?;
    }
    Ok(())
}

fn columns(head: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let mut widths: Vec<usize> = head.iter().map(|h| h.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: Vec<&str>| {
        let mut text = String::new();
        for (cell, width) in cells.iter().zip(&widths) {
            text.push_str(cell);
            text.extend(std::iter::repeat_n(' ', width - cell.chars().count() + 2));
        }
        text.trim_end().to_owned()
    };
    let mut lines = vec![line(head.to_vec())];
    lines.extend(rows.iter().map(|row| line(row.iter().map(String::as_str).collect())));
    lines
}

/// Whether a person looks at standard output.
#[must_use]
pub fn is_terminal() -> bool {
    std::io::stdout().is_terminal()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_by_characters_and_lines_have_no_tail() {
        let rows = vec![vec!["küche".into(), "mqtt".into()], vec!["a".into(), "pycom".into()]];
        assert_eq!(columns(&["NAME", "KIND"], &rows), ["NAME   KIND", "küche  mqtt", "a      pycom"]);
    }
}
