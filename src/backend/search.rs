//! What is asked of a store, whichever it is: [`StatusSearch`] and [`EventSearch`], whose answers
//! come in pages, and [`Counts`] of a span of time. The SQL of both stores is made here, so that
//! they cannot differ.

use std::fmt;

use sqlx::{Database, Encode, QueryBuilder, Type};

use crate::clock::Timestamp;
use crate::event::{Kind, Resource};
use crate::twilio::privacy::Privacy;

/// The most of one page.
pub const PAGE: u32 = 500;
/// The most accounts of one SID that are told.
pub const ACCOUNTS: u32 = 100;

/// What somebody typed to find a SID: a whole one, a part of one, or a number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Needle {
    /// The start of a SID, or all of it.
    Prefix(String),
    /// Any part of a SID.
    Part(String),
    /// A number or an address, in each form in which it may be stored: with its channel or without,
    /// and as `[privacy]` makes it.
    Address(Vec<String>),
}

/// As much of an address is in the index. No number is longer; a name may be.
const INDEXED: usize = 64;

impl Needle {
    /// Reads what was typed; `None` if that is nothing.
    ///
    /// Digits alone are a number if there are as many as a number has. Two letters at the start
    /// are those of a SID.
    #[must_use]
    pub fn parse(text: &str, privacy: &Privacy) -> Option<Self> {
        let address = |forms: &[String]| {
            let mut forms: Vec<_> = forms.iter().flat_map(|form| privacy.forms(form)).collect();
            forms.sort();
            forms.dedup();
            Some(Self::Address(forms))
        };
        let text = text.trim();
        if text.is_empty() {
            return None;
        }
        // The last is a number that was masked.
        if text.contains([':', '@', '*']) {
            return address(&[text.to_owned()]);
        }
        let digits: String = text.chars().filter(char::is_ascii_digit).collect();
        let number = text.chars().all(|c| c.is_ascii_digit() || " +-().".contains(c));
        if number && (text.starts_with('+') || (7..=15).contains(&digits.len())) {
            let plain = [format!("+{digits}"), digits];
            let whatsapp = plain.iter().map(|number| format!("whatsapp:{number}"));
            return address(&plain.iter().cloned().chain(whatsapp).collect::<Vec<_>>());
        }
        let head = text.get(..2).filter(|head| head.bytes().all(|b| b.is_ascii_alphabetic()));
        let hexadecimal = |rest: &str| rest.bytes().all(|byte| byte.is_ascii_hexdigit());
        Some(match head {
            Some(head) if !hexadecimal(head) || head.bytes().all(|b| b.is_ascii_uppercase()) => {
                Self::Prefix(format!("{}{}", head.to_ascii_uppercase(), &text[2..]))
            }
            _ => Self::Part(text.to_owned()),
        })
    }
}

/// Where the next page goes on: behind this time and name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cursor {
    /// When the last of a page was first seen, or received.
    pub at: Timestamp,
    /// Its SID, or its key.
    pub id: String,
    /// Its account.
    pub account: String,
}

impl Cursor {
    /// Reads what its `Display` wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (at, rest) = text.split_once('~')?;
        let (account, id) = rest.split_once('~')?;
        let at = Timestamp::parse_rfc3339(at)?;
        Some(Self { at, id: id.to_owned(), account: account.to_owned() })
    }
}

impl Cursor {
    /// Every text of it, to look for what a store cannot hold.
    pub(crate) fn texts(&self) -> [&str; 2] {
        [&self.id, &self.account]
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A key may have the separator in it, so it comes last.
        write!(f, "{}~{}~{}", self.at, self.account, self.id)
    }
}

/// From, inclusive, and until, exclusive.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Span {
    /// Not before.
    pub since: Option<Timestamp>,
    /// Before.
    pub until: Option<Timestamp>,
}

/// Which statuses, the SID that was first seen last at the top. Whatever is set must hold.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct StatusSearch {
    /// Whose.
    pub needle: Option<Needle>,
    /// Of what.
    pub resource: Option<Resource>,
    /// The current status.
    pub status: Option<String>,
    /// Whose account.
    pub account: Option<String>,
    /// The latest `ErrorCode`.
    pub error: Option<String>,
    /// When the SID was first seen.
    pub span: Span,
    /// Behind the last page.
    pub after: Option<Cursor>,
    /// At most so many, and [`PAGE`].
    pub limit: u32,
}

/// Which events, the one that was received last at the top. Whatever is set must hold.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct EventSearch {
    /// About what.
    pub sid: Option<String>,
    /// Of what kind.
    pub kind: Option<Kind>,
    /// The status that it reports.
    pub status: Option<String>,
    /// Whose account.
    pub account: Option<String>,
    /// When it was received.
    pub span: Span,
    /// Behind the last page.
    pub after: Option<Cursor>,
    /// At most so many, and [`PAGE`].
    pub limit: u32,
}

/// What the store got since some time.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    /// Events by kind.
    pub events: Vec<(String, i64)>,
    /// SIDs that were first seen since then, by what they are and by their status now.
    pub statuses: Vec<(String, String, i64)>,
    /// Of these, the most frequent errors, at most [`Counts::ERRORS`].
    pub errors: Vec<(String, i64)>,
}

impl Counts {
    /// The most errors that are told.
    pub const ERRORS: u32 = 20;
}

impl StatusSearch {
    /// Every text of it, to look for what a store cannot hold.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        let needle: Vec<&str> = match &self.needle {
            Some(Needle::Prefix(text) | Needle::Part(text)) => vec![text],
            Some(Needle::Address(forms)) => forms.iter().map(String::as_str).collect(),
            None => Vec::new(),
        };
        let rest = [&self.status, &self.account, &self.error];
        let after = self.after.iter().flat_map(Cursor::texts);
        needle.into_iter().chain(rest.into_iter().filter_map(Option::as_deref)).chain(after)
    }

    /// What follows `FROM statuses`.
    pub(crate) fn push<DB: Dialect>(&self, sql: &mut QueryBuilder<DB>)
    where
        String: for<'q> Encode<'q, DB> + Type<DB>,
    {
        sql.push(" WHERE TRUE");
        match &self.needle {
            None => {}
            Some(Needle::Prefix(prefix)) => {
                sql.push(" AND sid >= ").push_bind(prefix.clone());
                sql.push(" AND sid < ").push_bind(format!("{prefix}\u{10FFFF}"));
            }
            Some(Needle::Part(part)) => {
                sql.push(format_args!(" AND {}(sid, ", DB::POSITION)).push_bind(part.clone());
                sql.push(") > 0");
            }
            Some(Needle::Address(forms)) => push_addresses(sql, forms),
        }
        equal(sql, "resource", self.resource.map(|resource| resource.as_str().to_owned()));
        equal(sql, "status", self.status.clone());
        equal(sql, "account", self.account.clone());
        equal(sql, "error_code", self.error.clone());
        push_page(sql, ["statuses.first_seen", "sid"], self.span, &self.after, self.limit);
    }
}

impl EventSearch {
    /// Every text of it, to look for what a store cannot hold.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        let all = [&self.sid, &self.status, &self.account];
        let after = self.after.iter().flat_map(Cursor::texts);
        all.into_iter().filter_map(Option::as_deref).chain(after)
    }

    /// What follows `FROM events`.
    pub(crate) fn push<DB: Dialect>(&self, sql: &mut QueryBuilder<DB>)
    where
        String: for<'q> Encode<'q, DB> + Type<DB>,
    {
        sql.push(" WHERE TRUE");
        equal(sql, "sid", self.sid.clone());
        equal(sql, "kind", self.kind.map(|kind| kind.as_str().to_owned()));
        equal(sql, "status", self.status.clone());
        equal(sql, "account", self.account.clone());
        push_page(sql, ["events.received_at", "key"], self.span, &self.after, self.limit);
    }
}

/// In what the two databases differ.
pub(crate) trait Dialect: Database {
    /// The function that says where a text is in another, counted from 1, or 0.
    const POSITION: &str;
    /// Makes a time of text.
    const TIME: &str;

    /// Makes text of a time: RFC 3339 in UTC with six decimals.
    fn time_as_text(column: &str) -> String;
}

impl Dialect for sqlx::Sqlite {
    const POSITION: &str = "instr";
    const TIME: &str = "";

    fn time_as_text(column: &str) -> String {
        column.to_owned()
    }
}

impl Dialect for sqlx::Postgres {
    const POSITION: &str = "strpos";
    const TIME: &str = "::timestamptz";

    fn time_as_text(column: &str) -> String {
        format!("to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
    }
}

fn equal<DB: Dialect>(sql: &mut QueryBuilder<DB>, column: &str, value: Option<String>)
where
    String: for<'q> Encode<'q, DB> + Type<DB>,
{
    if let Some(value) = value {
        sql.push(format_args!(" AND {column} = ")).push_bind(value);
    }
}

/// By what is in the index, as it is written there; then by the whole.
pub(super) fn push_addresses<DB: Dialect>(sql: &mut QueryBuilder<DB>, forms: &[String])
where
    String: for<'q> Encode<'q, DB> + Type<DB>,
{
    sql.push(" AND (");
    for (place, form) in forms.iter().enumerate() {
        for column in ["\"from\"", "\"to\""] {
            sql.push(if place == 0 && column == "\"from\"" { "" } else { " OR " });
            let start: String = form.chars().take(INDEXED).collect();
            sql.push(format_args!("(substr({column}, 1, {INDEXED}) = ")).push_bind(start);
            sql.push(format_args!(" AND {column} = ")).push_bind(form.clone()).push(")");
        }
    }
    sql.push(")");
}

fn push_page<DB: Dialect>(
    sql: &mut QueryBuilder<DB>,
    [time, id]: [&str; 2],
    span: Span,
    after: &Option<Cursor>,
    limit: u32,
) where
    String: for<'q> Encode<'q, DB> + Type<DB>,
{
    for (comparison, bound) in [(">=", span.since), ("<", span.until)] {
        if let Some(bound) = bound {
            sql.push(format_args!(" AND {time} {comparison} ")).push_bind(bound.to_string());
            sql.push(DB::TIME);
        }
    }
    if let Some(after) = after {
        push_after(sql, [time, id], "<", after);
    }
    let limit = limit.clamp(1, PAGE);
    sql.push(format_args!(" ORDER BY {time} DESC, {id} DESC, account DESC LIMIT {limit}"));
}

/// Behind a row in the order of time, name and account. The first two are in the index.
pub(super) fn push_after<DB: Dialect>(
    sql: &mut QueryBuilder<DB>,
    [time, id]: [&str; 2],
    comparison: &str,
    after: &Cursor,
) where
    String: for<'q> Encode<'q, DB> + Type<DB>,
{
    sql.push(format_args!(" AND ({time}, {id}, account) {comparison} ("));
    sql.push_bind(after.at.to_string()).push(DB::TIME).push(", ");
    sql.push_bind(after.id.clone()).push(", ").push_bind(after.account.clone()).push(")");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::twilio::privacy::{Treatment, Treatments};

    fn check(typed: &str, expected: Option<Needle>) {
        assert_eq!(Needle::parse(typed, &Privacy::default()), expected, "{typed}");
    }

    #[test]
    fn what_is_typed_is_a_sid_a_part_of_one_or_a_number() {
        let prefix = |text: &str| Some(Needle::Prefix(text.to_owned()));
        let part = |text: &str| Some(Needle::Part(text.to_owned()));
        check("", None);
        check("  ", None);
        check(" CA0123 ", prefix("CA0123"));
        check("sm00", prefix("SM00"));
        check("CA", prefix("CA"));
        check("ca0f", part("ca0f"));
        check("0f3c", part("0f3c"));
        check("1234", part("1234"));
        check("é", part("é"));
        let number = |plus: &str, digits: &str| {
            let forms = [plus.to_owned(), digits.to_owned()];
            let whatsapp = forms.clone().map(|form| format!("whatsapp:{form}"));
            let mut forms = [forms, whatsapp].concat();
            forms.sort();
            Some(Needle::Address(forms))
        };
        check("+1 (555) 010-0", number("+15550100", "15550100"));
        check("15550100", number("+15550100", "15550100"));
        check("client:ana", Some(Needle::Address(vec!["client:ana".to_owned()])));
        check("****0100", Some(Needle::Address(vec!["****0100".to_owned()])));
    }

    #[test]
    fn a_number_is_also_sought_as_it_is_hashed() {
        let key = "0123456789abcdef0123456789abcdef".into();
        let treatments = Treatments { numbers: Treatment::Hash, ..Treatments::default() };
        let privacy = Privacy::new(treatments, [], Some(&key)).expect("the key is long enough");
        let Some(Needle::Address(forms)) = Needle::parse("15550100", &privacy) else {
            panic!("it is a number")
        };
        let hashed: Vec<_> = forms.iter().filter(|form| form.contains("hash:")).collect();
        // One for the number, however it is typed, and one for it on WhatsApp.
        assert_eq!((forms.len(), hashed.len()), (6, 2), "{forms:?}");
        assert_eq!(*hashed[1], format!("whatsapp:{}", hashed[0]));
    }

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        let at = Timestamp::from_micros(17);
        let cursor = Cursor { at, id: "a~b".to_owned(), account: "AC1".to_owned() };
        assert_eq!(Cursor::parse(&cursor.to_string()), Some(cursor));
        for wrong in ["", "~", "CA1", "2026-11-24T08:00:00Z", "2026-11-24T08:00:00Z~CA1"] {
            assert_eq!(Cursor::parse(wrong), None, "{wrong}");
        }
    }
}
