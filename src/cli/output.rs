//! What commands print: text for people, JSON for programs, and errors that end in their last cause.

use std::error::Error;

use clap::Args;
use serde::Serialize;
use serde_json::Value;

use super::terminal::out;
pub(super) use super::terminal::say;
use crate::backend::certificate;

/// `--json` of a command that prints text otherwise, on a terminal and elsewhere.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Format {
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

impl Format {
    /// Prints a result as one line of JSON, or as its text, which ends in a line end.
    pub(super) fn print<T: Serialize>(self, result: &T, text: impl FnOnce(&T) -> String) {
        match self.json {
            true => out!("{}\n", json(result)),
            false => out!("{}", text(result)),
        }
    }
}

/// One line of JSON.
pub(super) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("what commands print has keys of text and no failing parts")
}

/// `1 event`, `2 events`.
pub(super) fn count(number: impl Into<u64>, what: &str) -> String {
    match number.into() {
        1 => format!("1 {what}"),
        number => format!("{number} {what}s"),
    }
}

/// Why there is no answer to a request: its last cause. Those before it name the URL, which is known, and the layers
/// of the HTTP client.
pub(super) fn no_answer(error: &reqwest::Error) -> String {
    let causes: Vec<String> = chain(error).map(ToString::to_string).collect();
    let last = causes.last().expect("the error itself");
    match certificate::explain(&causes.join(" ")) {
        Some(meaning) => meaning.to_owned(),
        None if error.is_timeout() => "no answer in time".to_owned(),
        None => without_number(last),
    }
}

/// An error as it is printed: each part, but of a request without an answer only the last cause.
pub(super) fn explain(error: &anyhow::Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    for cause in error.chain() {
        if let Some(request) = cause.downcast_ref::<reqwest::Error>() {
            parts.push(no_answer(request));
            break;
        }
        let part = without_number(&cause.to_string());
        // Some errors repeat their cause in their own text.
        if !parts.iter().any(|known| known.ends_with(&part)) {
            parts.push(part);
        }
    }
    parts.join(": ")
}

fn chain<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&cause| cause.source())
}

/// `Connection refused (os error 111)`, without what only programs need.
fn without_number(text: &str) -> String {
    const START: &str = " (os error ";
    let mut parts = text.split(START);
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(')') {
            Some((digits, rest)) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                shown.push_str(rest);
            }
            _ => shown.extend([START, part]),
        }
    }
    shown
}

/// How the kind of an event is printed for people: `event-stream`. JSON has `event_stream`, as tables do.
pub(super) fn kind(value: &Value) -> String {
    text(value).replace('_', "-")
}

/// Whether a command ended because the reader of its output closed the pipe.
pub(super) fn is_enough(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<std::io::Error>();
    error.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

/// A value as people read it: text without quotes, nothing for null.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Rows as columns, below their names.
pub(super) fn table<const N: usize>(names: [&str; N], rows: &[[String; N]]) -> String {
    let names = names.map(str::to_uppercase);
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([names[column].chars().count()]).max().unwrap_or_default()
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for row in std::iter::once(&names).chain(rows) {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// The time of day with milliseconds, of an RFC 3339 time in UTC.
pub(super) fn time_of_day(value: &Value) -> String {
    value.as_str().and_then(|at| at.get(11..23)).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn the_number_of_an_error_is_left_out() {
        let check = |text: &str, shown: &str| assert_eq!(without_number(text), shown);
        check("Connection refused (os error 111)", "Connection refused");
        check("a (os error 1); b (os error 2), c", "a; b, c");
        check("no (os error x)", "no (os error x)");
        check("plain", "plain");
    }

    #[test]
    fn an_error_does_not_say_one_thing_twice() {
        let cause = std::io::Error::from_raw_os_error(2);
        let text = format!("x.toml: {cause}");
        let error =
            Err::<(), _>(cause).context(text).context("nothing to do").expect_err("it is one");
        assert_eq!(explain(&error), "nothing to do: x.toml: No such file or directory");
    }

    #[test]
    fn one_thing_is_not_several() {
        assert_eq!(count(1_u64, "dead letter"), "1 dead letter");
        assert_eq!(count(0_u64, "dead letter"), "0 dead letters");
    }

    #[test]
    fn a_table_is_as_wide_as_its_widest_cells() {
        let rows = [["1".to_owned(), "é".to_owned()], ["22".to_owned(), String::new()]];
        assert_eq!(table(["a", "long"], &rows), "A   LONG\n1   é\n22\n");
    }
}
