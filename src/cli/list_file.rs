//! [`ListFile`]: a list as CSV, read a line at a time, so that its size does not matter.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::Path;

use anyhow::{Context as _, bail};
use csv::{ReaderBuilder, StringRecord, WriterBuilder};

use super::terminal::errln;

/// Most bytes of a line.
const LONGEST_LINE: u64 = 16 * 1024;

/// A line of a list.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Line<const N: usize> {
    /// Its number.
    pub(super) number: u64,
    /// The columns that were wanted, without blanks around them; empty for one that is not there.
    pub(super) fields: [String; N],
}

impl<const N: usize> Line<N> {
    /// Why it is no entry.
    pub(super) fn bad(&self, reason: &'static str) -> BadLine {
        BadLine { line: self.number, reason }
    }
}

/// A line that is no entry.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct BadLine {
    pub(super) line: u64,
    pub(super) reason: &'static str,
}

/// Bad lines that are named; the others are counted.
const MOST_NAMED: u64 = 20;

/// The bad lines of a list, named as they are found.
#[derive(Default)]
pub(super) struct BadLines(u64);

impl BadLines {
    /// Names one.
    pub(super) fn name(&mut self, line: u64, reason: &str) {
        self.0 += 1;
        match self.0 {
            MOST_NAMED => errln!("line {line}: {reason}; further lines are only counted"),
            wrong if wrong < MOST_NAMED => errln!("line {line}: {reason}"),
            _ => {}
        }
    }

    /// How many there were.
    pub(super) fn count(&self) -> u64 {
        self.0
    }

    /// What a person does about them.
    ///
    /// # Errors
    /// There were some.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        match self.0 {
            0 => Ok(()),
            1 => bail!("1 line is wrong: correct it, and import the list again"),
            wrong => bail!("{wrong} lines are wrong: correct them, and import the list again"),
        }
    }
}

/// The lines of a list, as far as certain columns go.
pub(super) struct ListFile<const N: usize> {
    lines: Box<dyn BufRead + Send>,
    /// The number of the line that was read last.
    line: u64,
    /// The places of the columns.
    columns: [Option<usize>; N],
}

impl<const N: usize> ListFile<N> {
    /// Opens a file, or standard input, and reads its first line, which names the columns.
    ///
    /// # Errors
    /// The file cannot be read, or its first line names none of the columns.
    pub(super) fn open(path: &Path, columns: [&str; N]) -> anyhow::Result<Self> {
        if path == Path::new("-") {
            return Self::read(Box::new(BufReader::new(io::stdin())), columns);
        }
        let shown = path.display();
        let file = File::open(path).with_context(|| format!("{shown} cannot be read"))?;
        Self::read(Box::new(BufReader::new(file)), columns).with_context(|| shown.to_string())
    }

    pub(super) fn read(lines: Box<dyn BufRead + Send>, columns: [&str; N]) -> anyhow::Result<Self> {
        let mut list = Self { lines, line: 0, columns: [None; N] };
        let names = list.next_line()?.and_then(Result::ok).and_then(|line| record_of(&line));
        let names = names.unwrap_or_default();
        let column = |wanted: &str| {
            // Spreadsheets begin a file with a byte order mark.
            let name = |name: &str| name.trim_start_matches('\u{feff}').trim().to_lowercase();
            names.iter().position(|it| name(it) == wanted)
        };
        list.columns = columns.map(column);
        if list.columns == [None; N] {
            let columns = columns.map(|column| format!("`{column}`")).join(" or ");
            bail!("its first line must name the columns, of which one is {columns}");
        }
        Ok(list)
    }

    /// Whether there are all of the columns.
    pub(super) fn has_all(&self) -> bool {
        self.columns.iter().all(Option::is_some)
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

    fn fields(&self, line: &[u8]) -> Result<Line<N>, BadLine> {
        if ends_in_quotes(line) {
            return Err(self.bad("a quote is not closed: an entry is one line"));
        }
        let record = record_of(line).ok_or_else(|| self.bad("it is not a record of CSV"))?;
        let field = |column: Option<usize>| {
            column.and_then(|column| record.get(column)).unwrap_or_default().trim().to_owned()
        };
        Ok(Line { number: self.line, fields: self.columns.map(field) })
    }
}

impl<const N: usize> Iterator for ListFile<N> {
    type Item = io::Result<Result<Line<N>, BadLine>>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let line = match self.next_line() {
                Ok(line) => line?,
                Err(error) => return Some(Err(error)),
            };
            match line {
                Ok(line) if line.trim_ascii().is_empty() => {}
                Ok(line) => return Some(Ok(self.fields(&line))),
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

/// Whether a line ends within a quoted field, which goes on in the next one.
fn ends_in_quotes(line: &[u8]) -> bool {
    let (mut quoted, mut begins) = (false, true);
    let mut bytes = line.iter().peekable();
    while let Some(byte) = bytes.next() {
        match (byte, quoted) {
            (b'"', true) => quoted = bytes.next_if_eq(&&b'"').is_some(),
            (b'"', false) => quoted = begins,
            _ => {}
        }
        begins = !quoted && *byte == b',';
    }
    quoted
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn read(text: impl Into<Vec<u8>>) -> anyhow::Result<Vec<Result<Line<2>, BadLine>>> {
        let list = ListFile::read(Box::new(Cursor::new(text.into())), ["to", "hash"])?;
        Ok(list.collect::<io::Result<_>>()?)
    }

    #[test]
    fn each_line_has_its_columns_or_is_named_with_a_reason() {
        let list = "\u{feff}name, To ,hash\r\n\"Doe, J.\",+12125550100,\r\n\r\nx,\" a \"\"b\"\" \"\n\
                    x,5\" pipe,0a\nx,\"not\n closed\"\nx";
        let line = |number, [to, hash]: [&str; 2]| {
            Ok(Line { number, fields: [to.to_owned(), hash.to_owned()] })
        };
        let reason = "a quote is not closed: an entry is one line";
        let expected = [
            line(2, ["+12125550100", ""]),
            line(4, ["a \"b\"", ""]),
            line(5, ["5\" pipe", "0a"]),
            Err(BadLine { line: 6, reason }),
            line(7, ["", ""]),
            line(8, ["", ""]),
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
