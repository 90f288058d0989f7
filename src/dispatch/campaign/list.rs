//! [`ListReader`]: the rows of a list of recipients, CSV or a JSON object a line, from bytes as they arrive. It holds one
//! row at a time, so that the length of a list does not matter. A row that cannot be read is named by its line and a
//! reason without its values, and the next one is read all the same.

mod csv;
mod json;

use serde_json::{Map, Value};
use thiserror::Error;

use self::csv::CsvReader;
use self::json::JsonReader;
use super::super::quiet_hours::Zone;

/// Most bytes of a row.
pub const LONGEST_ROW: usize = 64 * 1024;
/// Most columns.
pub const MOST_COLUMNS: usize = 200;
/// Longest `key`, in bytes.
const LONGEST_KEY: usize = 255;

/// How a list is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// CSV (RFC 4180) in UTF-8, whose first line names the columns.
    Csv,
    /// A JSON object in each line.
    Ndjson,
}

/// A row that can be read: a recipient, unless its address or its texts are wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// The line in which it begins, from 1.
    pub line: u64,
    /// The number, or the email address where only emails are sent.
    pub to: String,
    /// The email address.
    pub email: Option<String>,
    /// The zone that the recipient is in: one of [`Zone`].
    pub time_zone: Option<String>,
    /// What the recipient is known by to the one who sends.
    pub key: Option<String>,
    /// Every column by its name, for templates. An empty cell of CSV has no value: it must not leave a gap in a text.
    pub values: Map<String, Value>,
}

/// A row that cannot be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadRow {
    /// The line in which it begins, from 1.
    pub line: u64,
    /// Why.
    pub reason: RowError,
}

/// Why a row cannot be read, without what is in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum RowError {
    /// It has more, or fewer, columns than the first line.
    #[error("it has {found} columns, and the first line names {named}")]
    Columns {
        /// How many it has.
        found: usize,
        /// How many there should be.
        named: usize,
    },
    /// Its bytes are no text.
    #[error("it is not UTF-8: save the list as CSV UTF-8")]
    NotUtf8,
    /// It is too long.
    #[error("it has more than {LONGEST_ROW} bytes, or a quotation mark in it is not closed")]
    TooLong,
    /// A line that is not JSON.
    #[error("it is not a JSON object")]
    NotAnObject,
    /// Something else than a text in the place of one.
    #[error("`{0}`: it is not a text: put it in quotation marks")]
    NotAText(&'static str),
    /// No recipient.
    #[error("`to`: it is empty")]
    NoRecipient,
    /// A name that is not a zone.
    #[error("`time_zone`: it is not a place such as America/New_York")]
    Zone,
    /// A key that the store does not take.
    #[error("`key`: it has more than {LONGEST_KEY} bytes, or a NUL character")]
    Key,
}

/// Why a list cannot be read at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum ListError {
    /// It is empty.
    #[error("it is empty: its first line names the columns, of which one is `to`")]
    Empty,
    /// Its first line is no text.
    #[error("its first line is not UTF-8: save the list as CSV UTF-8")]
    NotUtf8,
    /// Its first line is too long.
    #[error("its first line has more than {LONGEST_ROW} bytes or {MOST_COLUMNS} columns")]
    TooLong,
    /// There are no recipients.
    #[error("its first line names no column `to`, which has the numbers")]
    NoRecipients,
    /// It is separated by something else.
    #[error("its columns are separated by `{0}`: save the list with commas")]
    Separator(char),
    /// Two columns have one name.
    #[error("column {0} has the name of a column before it: give each its own")]
    Twice(usize),
}

/// Reads a list.
#[derive(Debug)]
pub struct ListReader(Reader);

#[derive(Debug)]
enum Reader {
    Csv(Box<CsvReader>),
    Json(JsonReader),
}

/// A row, or what is wrong with it.
pub type Read = Result<Row, BadRow>;

impl ListReader {
    /// A reader of a list from its beginning.
    #[must_use]
    pub fn new(form: Form) -> Self {
        Self(match form {
            Form::Csv => Reader::Csv(Box::default()),
            Form::Ndjson => Reader::Json(JsonReader::default()),
        })
    }

    /// Takes the next bytes, and adds the rows that they complete.
    ///
    /// # Errors
    /// Its first line says that it cannot be read at all.
    pub fn feed(&mut self, bytes: &[u8], rows: &mut Vec<Read>) -> Result<(), ListError> {
        match &mut self.0 {
            Reader::Csv(reader) => reader.feed(bytes, rows),
            Reader::Json(reader) => {
                reader.feed(bytes, rows);
                Ok(())
            }
        }
    }

    /// Adds the last row, if no line end has completed it.
    ///
    /// # Errors
    /// The same, and that it is empty.
    pub fn end(&mut self, rows: &mut Vec<Read>) -> Result<(), ListError> {
        match &mut self.0 {
            Reader::Csv(reader) => reader.end(rows),
            Reader::Json(reader) => {
                reader.end(rows);
                Ok(())
            }
        }
    }
}

/// The columns that say something by themselves. Their names are known in upper case, too.
const OWN: [&str; 4] = ["to", "email", "time_zone", "key"];

/// A row of its values.
fn row(line: u64, values: Map<String, Value>) -> Read {
    let bad = |reason| BadRow { line, reason };
    let text = |name: &'static str| match values.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => {
            let text = text.trim();
            Ok((!text.is_empty()).then(|| text.to_owned()))
        }
        Some(_) => Err(bad(RowError::NotAText(name))),
    };
    let [to, email, time_zone, key] = OWN.map(text);
    let (to, email, time_zone, key) = (to?, email?, time_zone?, key?);
    let to = to.ok_or_else(|| bad(RowError::NoRecipient))?;
    if time_zone.as_deref().is_some_and(|zone| Zone::parse(zone).is_none()) {
        return Err(bad(RowError::Zone));
    }
    if key.as_deref().is_some_and(|key| key.len() > LONGEST_KEY || key.contains('\0')) {
        return Err(bad(RowError::Key));
    }
    Ok(Row { line, to, email, time_zone, key, values })
}

#[cfg(test)]
mod tests;
