//! [`ListFile`]: a list of numbers and email addresses as CSV, read a line at a time, so that its size does not matter.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::Path;

use anyhow::{Context as _, bail};
use csv::{ReaderBuilder, StringRecord, WriterBuilder};
use serde_json::{Value, json};

use crate::dispatch::recipient::Recipient;
use crate::event::consent::is_hash;

/// Why a line has neither a number nor an address.
const NO_ADDRESS: &str = "`to` is not a number in E.164, such as +15550100, nor an email address";
/// Most bytes of a line.
const LONGEST_LINE: u64 = 16 * 1024;

/// A line of a list.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Entry {
    To(String),
    Hash(String),
}

impl Entry {
    /// As the API takes it.
    pub(super) fn into_json(self) -> Value {
        match self {
            Self::To(to) => json!({ "to": to }),
            Self::Hash(hash) => json!({ "hash": hash }),
        }
    }
}

/// A line that is no entry.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct BadLine {
    pub(super) line: u64,
    pub(super) reason: &'static str,
}

/// The entries of a list.
pub(super) struct ListFile {
    lines: Box<dyn BufRead + Send>,
    /// The number of the line that was read last.
    line: u64,
    /// The places of the columns `to` and `hash`.
    columns: [Option<usize>; 2],
}

impl ListFile {
    /// Opens a file, or standard input, and reads its first line.
    ///
    /// # Errors
    /// The file cannot be read, or its first line names no column that is needed.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        if path == Path::new("-") {
            return Self::read(Box::new(BufReader::new(io::stdin())));
        }
        let shown = path.display();
        let file = File::open(path).with_context(|| format!("{shown} cannot be read"))?;
        Self::read(Box::new(BufReader::new(file))).with_context(|| shown.to_string())
    }

    fn read(lines: Box<dyn BufRead + Send>) -> anyhow::Result<Self> {
        let mut list = Self { lines, line: 0, columns: [None; 2] };
        let names = list.next_line()?.and_then(Result::ok).and_then(|line| record_of(&line));
        let names = names.unwrap_or_default();
        let column = |wanted: &str| {
            // Spreadsheets begin a file with a byte order mark.
            let name = |name: &str| name.trim_start_matches('\u{feff}').trim().to_lowercase();
            names.iter().position(|it| name(it) == wanted)
        };
        list.columns = ["to", "hash"].map(column);
        if list.columns == [None; 2] {
            bail!("its first line must name the columns, of which one is `to` or `hash`");
        }
        Ok(list)
    }

    /// The next line, or why it cannot be one; `None` at the end.
    fn next_line(&mut self) -> io::Result<Option<Result<Vec<u8>, BadLine>>> {
        let mut line = Vec::new();
        let read = (&mut self.lines).take(LONGEST_LINE).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(None);
        }
        self.line += 1;
        if line.ends_with(b"\n") || (read as u64) < LONGEST_LINE {
            return Ok(Some(Ok(line)));
        }
        self.skip_line()?;
        Ok(Some(Err(self.bad("it has more than 16384 bytes"))))
    }

    /// Passes over the rest of a line, however long it is.
    fn skip_line(&mut self) -> io::Result<()> {
        loop {
            let mut rest = Vec::new();
            let read = (&mut self.lines).take(LONGEST_LINE).read_until(b'\n', &mut rest)?;
            if read == 0 || rest.ends_with(b"\n") {
                return Ok(());
            }
        }
    }

    fn bad(&self, reason: &'static str) -> BadLine {
        BadLine { line: self.line, reason }
    }

    fn entry(&self, line: &[u8]) -> Result<Entry, BadLine> {
        let record = record_of(line).ok_or_else(|| self.bad("it is not a record of CSV"))?;
        let [to, hash] = self.columns.map(|column| {
            column.and_then(|column| record.get(column)).unwrap_or_default().trim().to_owned()
        });
        match (to.is_empty(), hash.is_empty()) {
            (false, _) => match Recipient::parse(&to) {
                Some(Recipient::Number(number)) => Ok(Entry::To(number.as_str().to_owned())),
                Some(Recipient::Email(address)) => Ok(Entry::To(address.as_str().to_owned())),
                None => Err(self.bad(NO_ADDRESS)),
            },
            (true, false) if is_hash(&hash) => Ok(Entry::Hash(hash)),
            (true, false) => Err(self.bad("`hash` is not a hash of an export")),
            (true, true) => Err(self.bad("it has no number")),
        }
    }
}

impl Iterator for ListFile {
    type Item = io::Result<Result<Entry, BadLine>>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let line = match self.next_line() {
                Ok(line) => line?,
                Err(error) => return Some(Err(error)),
            };
            match line {
                Ok(line) if line.trim_ascii().is_empty() => {}
                Ok(line) => return Some(Ok(self.entry(&line))),
                Err(bad) => return Some(Ok(Err(bad))),
            }
        }
    }
}

fn record_of(line: &[u8]) -> Option<StringRecord> {
    let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(line);
    reader.records().next()?.ok()
}

/// A line of CSV.
///
/// # Errors
/// None that can occur: it is written to memory.
pub(super) fn record(fields: &[impl AsRef<[u8]>]) -> anyhow::Result<String> {
    let mut writer = WriterBuilder::new().from_writer(Vec::new());
    writer.write_record(fields)?;
    let written = writer.into_inner().map_err(|error| error.into_error())?;
    Ok(String::from_utf8(written)?)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn read(text: impl Into<Vec<u8>>) -> anyhow::Result<Vec<Result<Entry, BadLine>>> {
        let list = ListFile::read(Box::new(Cursor::new(text.into())))?;
        Ok(list.collect::<io::Result<_>>()?)
    }

    fn to(number: &str) -> Result<Entry, BadLine> {
        Ok(Entry::To(number.to_owned()))
    }

    #[test]
    fn each_line_is_an_entry_or_is_named_with_a_reason() {
        let hash = "0a".repeat(32);
        let list = format!(
            "\u{feff}name, To ,hash\r\n\"Doe, J.\",+12125550100,\r\n\r\nx,whatsapp:+12125550101,\n\
             x,,{hash}\nx,5550100,\nx,,0a\nx\n\"x\",+12125550102\nx,Ana@Example.com"
        );
        let wrong = |line, reason| Err(BadLine { line, reason });
        let expected = [
            to("+12125550100"),
            to("+12125550101"),
            Ok(Entry::Hash(hash)),
            wrong(6, NO_ADDRESS),
            wrong(7, "`hash` is not a hash of an export"),
            wrong(8, "it has no number"),
            to("+12125550102"),
            to("ana@example.com"),
        ];
        assert_eq!(read(list).expect("it names its columns"), expected);
    }

    #[test]
    fn a_line_of_any_length_is_one_bad_line() {
        let long = "x".repeat(50_000);
        let found = read(format!("to\n{long}\n+12125550100\n{long}")).expect("it has a column");
        let lines: Vec<_> = found.iter().map(|it| it.as_ref().err().map(|bad| bad.line)).collect();
        assert_eq!(lines, [Some(2), None, Some(4)]);
    }

    #[test]
    fn a_list_names_its_columns() {
        for none in ["", "+12125550100\n", "number\n+12125550100\n"] {
            let error = read(none).expect_err("it names none").to_string();
            assert!(error.contains("first line must name the columns"), "{error}");
        }
    }

    #[test]
    fn what_is_exported_is_one_line_whatever_is_in_it() {
        assert_eq!(record(&["+1", "a,b\"c", ""]).expect("in memory"), "+1,\"a,b\"\"c\",\n");
    }
}
