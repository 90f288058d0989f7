//! [`CsvReader`]: rows of CSV (RFC 4180).

use csv_core::{ReadRecordResult, Reader};
use serde_json::{Map, Value};

use super::{BadRow, LONGEST_ROW, ListError, MOST_COLUMNS, OWN, Read, RowError, row};

/// Reads CSV from bytes as they arrive.
#[derive(Debug)]
pub(super) struct CsvReader {
    reader: Reader,
    /// The lines that have ended.
    lines: u64,
    /// The record that is being read.
    record: Record,
    /// The names of the columns, once the first line is read; empty ones have no name.
    names: Option<Vec<String>>,
}

/// A record as far as it is read.
#[derive(Debug)]
struct Record {
    /// The line in which it begins, from 0; `None` before its first byte.
    begins: Option<u64>,
    text: Box<[u8]>,
    text_length: usize,
    /// Where each of its fields ends.
    ends: Box<[usize]>,
    fields: usize,
    is_too_long: bool,
}

impl Default for CsvReader {
    fn default() -> Self {
        let record = Record {
            begins: None,
            text: vec![0; LONGEST_ROW].into_boxed_slice(),
            text_length: 0,
            ends: vec![0; MOST_COLUMNS + 1].into_boxed_slice(),
            fields: 0,
            is_too_long: false,
        };
        Self { reader: Reader::new(), lines: 0, record, names: None }
    }
}

impl CsvReader {
    pub(super) fn feed(&mut self, bytes: &[u8], rows: &mut Vec<Read>) -> Result<(), ListError> {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.piece(piece, rows)?;
            if piece.ends_with(b"\n") {
                self.lines += 1;
            }
        }
        Ok(())
    }

    pub(super) fn end(&mut self, rows: &mut Vec<Read>) -> Result<(), ListError> {
        if self.record.begins.is_some() {
            // No bytes are how the reader is told of the end.
            self.step(&[], rows)?;
        }
        match self.names {
            Some(_) => Ok(()),
            None => Err(ListError::Empty),
        }
    }

    /// Takes a line, or a part of one.
    fn piece(&mut self, mut piece: &[u8], rows: &mut Vec<Read>) -> Result<(), ListError> {
        while !piece.is_empty() {
            let is_blank = piece.iter().all(|byte| matches!(byte, b'\r' | b'\n'));
            if self.record.begins.is_none() && is_blank {
                return Ok(());
            }
            self.record.begins.get_or_insert(self.lines);
            let taken = self.step(piece, rows)?;
            piece = &piece[taken..];
        }
        Ok(())
    }

    /// Goes on with the record, and returns how many bytes were taken.
    fn step(&mut self, piece: &[u8], rows: &mut Vec<Read>) -> Result<usize, ListError> {
        let record = &mut self.record;
        let (text, ends) =
            (&mut record.text[record.text_length..], &mut record.ends[record.fields..]);
        let (result, taken, written, ended) = self.reader.read_record(piece, text, ends);
        record.text_length += written;
        record.fields += ended;
        match result {
            ReadRecordResult::InputEmpty => {}
            // What is left of it is read over.
            ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {
                (record.is_too_long, record.text_length, record.fields) = (true, 0, 0);
            }
            ReadRecordResult::Record => self.complete(rows)?,
            ReadRecordResult::End => self.record.begins = None,
        }
        Ok(taken)
    }

    fn complete(&mut self, rows: &mut Vec<Read>) -> Result<(), ListError> {
        let record = &mut self.record;
        let line = record.begins.take().unwrap_or(self.lines) + 1;
        let is_too_long = std::mem::take(&mut record.is_too_long);
        let (length, fields) = (record.text_length, record.fields);
        (record.text_length, record.fields) = (0, 0);
        let bad = |reason| Err(BadRow { line, reason });
        let text = std::str::from_utf8(&record.text[..length]);
        let Some(names) = &self.names else {
            return match text {
                _ if is_too_long || fields > MOST_COLUMNS => Err(ListError::TooLong),
                Err(_) => Err(ListError::NotUtf8),
                Ok(text) => {
                    self.names = Some(names(&cells(text, &record.ends[..fields]))?);
                    Ok(())
                }
            };
        };
        let read = match text {
            _ if is_too_long => bad(RowError::TooLong),
            Err(_) => bad(RowError::NotUtf8),
            // A spreadsheet writes such lines below its last row.
            Ok(text) if text.trim().is_empty() => return Ok(()),
            Ok(_) if fields != names.len() => {
                bad(RowError::Columns { found: fields, named: names.len() })
            }
            Ok(text) => row(line, values(names, &cells(text, &record.ends[..fields]))),
        };
        rows.push(read);
        Ok(())
    }
}

/// The fields of a record. A border within a character, which bytes that are no text may cause, yields an empty one.
fn cells<'t>(text: &'t str, ends: &[usize]) -> Vec<&'t str> {
    let starts = std::iter::once(0).chain(ends.iter().copied());
    starts.zip(ends).map(|(start, end)| text.get(start..*end).unwrap_or_default()).collect()
}

/// The names of the columns.
fn names(cells: &[&str]) -> Result<Vec<String>, ListError> {
    let name = |cell: &&str| {
        // Spreadsheets begin a file with a byte order mark.
        let name = cell.trim_start_matches('\u{feff}').trim();
        let own = OWN.into_iter().find(|own| own.eq_ignore_ascii_case(name));
        own.unwrap_or(name).to_owned()
    };
    let names: Vec<String> = cells.iter().map(name).collect();
    let is_repeated =
        |place: &usize| !names[*place].is_empty() && names[..*place].contains(&names[*place]);
    if let Some(place) = (1..names.len()).find(is_repeated) {
        return Err(ListError::Twice(place + 1));
    }
    if names.iter().any(|name| name == "to") {
        return Ok(names);
    }
    let separator =
        [';', '\t', '|'].into_iter().find(|it| names.iter().any(|name| name.contains(*it)));
    Err(separator.map_or(ListError::NoRecipients, ListError::Separator))
}

fn values(names: &[String], cells: &[&str]) -> Map<String, Value> {
    let named =
        names.iter().zip(cells).filter(|(name, cell)| !name.is_empty() && !cell.trim().is_empty());
    named.map(|(name, cell)| (name.clone(), Value::from(*cell))).collect()
}
