//! [`JsonReader`]: rows of which each line is a JSON object.

use serde_json::{Map, Value};

use super::{BadRow, LONGEST_ROW, Read, RowError, row};

/// Whether there is nothing to be read of a value.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        _ => false,
    }
}

/// Reads a JSON object a line from bytes as they arrive.
#[derive(Debug, Default)]
pub(super) struct JsonReader {
    /// The lines that have ended.
    lines: u64,
    /// The line that is being read, as far as it came.
    line: Vec<u8>,
    is_too_long: bool,
}

impl JsonReader {
    pub(super) fn feed(&mut self, bytes: &[u8], rows: &mut Vec<Read>) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            match self.line.len() + piece.len() > LONGEST_ROW {
                true => self.is_too_long = true,
                false => self.line.extend_from_slice(piece),
            }
            if piece.ends_with(b"\n") {
                self.end(rows);
            }
        }
    }

    pub(super) fn end(&mut self, rows: &mut Vec<Read>) {
        self.lines += 1;
        let line = self.lines;
        let is_too_long = std::mem::take(&mut self.is_too_long);
        let bytes = self.line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&self.line);
        let bad = |reason| Err(BadRow { line, reason });
        let read = match std::str::from_utf8(bytes) {
            _ if is_too_long => Some(bad(RowError::TooLong)),
            Err(_) => Some(bad(RowError::NotUtf8)),
            Ok(text) if text.trim().is_empty() => None,
            Ok(text) => match serde_json::from_str::<Map<String, Value>>(text) {
                Ok(mut values) => {
                    // As an empty cell of a CSV: missing.
                    values.retain(|_, value| !is_empty(value));
                    Some(row(line, values))
                }
                Err(_) => Some(bad(RowError::NotAnObject)),
            },
        };
        self.line.clear();
        rows.extend(read);
    }
}
