//! [`RecentRefusals`]: the last requests that a listener refused, for the people who run it. Bounded by
//! reason, by whether it is of a configured account, and by whether its cause was found: so that neither a scan
//! of the URL space nor a flood of forgeries takes the place of what says that a secret or a URL is wrong.
//! Holds no body, no signature, no secret, and of a query only the names.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use super::Refusal;
use crate::clock::Timestamp;

/// The last ones that are remembered of each group.
pub const REMEMBERED: usize = 32;
/// Longest URL that is shown, in characters.
const SHOWN: usize = 300;
/// This many bytes contain at least that many characters.
const ENOUGH: usize = 4 * SHOWN;

/// A request that was refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecentRefusal {
    /// When.
    pub at: Timestamp,
    /// The route of the request.
    pub route: &'static str,
    /// Why.
    pub reason: Refusal,
    /// What it was answered with.
    pub status: u16,
    /// The account that it names, if that is configured.
    pub account: Option<String>,
    /// The URLs against which its signature was tried; if none was, the requested one.
    pub urls: Vec<String>,
    /// Whether its own cause was looked for and found.
    pub explained: bool,
    /// The usual cause of that; of a wrong signature the very cause, if it was looked for and found.
    pub hint: &'static str,
}

/// The last refusals of a process.
#[derive(Debug, Default)]
pub struct RecentRefusals(Mutex<RememberedRefusals>);

#[derive(Debug, Default)]
struct RememberedRefusals {
    last: BTreeMap<Group, VecDeque<RecentRefusal>>,
    counted: BTreeMap<Refusal, RefusalCount>,
}

/// What has places of its own: the reason, whether the account is configured, whether a cause was found.
type Group = (Refusal, bool, bool);

/// How many there were, which is more than are remembered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RefusalCount {
    /// Since the process started.
    pub times: u64,
    /// When the first one came.
    pub since: Timestamp,
}

impl RecentRefusals {
    /// Remembers one.
    pub fn push(&self, refused: RecentRefusal) {
        let mut memory = self.memory();
        let first = RefusalCount { times: 0, since: refused.at };
        memory.counted.entry(refused.reason).or_insert(first).times += 1;
        let group = (refused.reason, refused.account.is_some(), refused.explained);
        let same = memory.last.entry(group).or_default();
        if same.len() == REMEMBERED {
            same.pop_front();
        }
        same.push_back(refused);
    }

    /// How many there were of each reason.
    #[must_use]
    pub fn counted(&self) -> BTreeMap<Refusal, RefusalCount> {
        self.memory().counted.clone()
    }

    /// The last ones of every group, the latest first.
    #[must_use]
    pub fn last(&self) -> Vec<RecentRefusal> {
        let memory = self.memory();
        let mut all: Vec<RecentRefusal> = memory.last.values().flatten().cloned().collect();
        all.sort_by_key(|refused| std::cmp::Reverse(refused.at));
        all
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, RememberedRefusals> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A URL as it may be shown: the values of its query may be a person's number, and the part before its host is a
/// password.
#[must_use]
pub fn shown(url: &str) -> String {
    let (path, query) =
        url.split_once('?').map_or((url, None), |(path, query)| (path, Some(query)));
    let (origin, path) = without_userinfo(path);
    let mut text = origin + &without_numbers(path);
    for (place, pair) in query.into_iter().flat_map(|query| query.split('&')).enumerate() {
        if text.len() > ENOUGH {
            break;
        }
        text.push(if place == 0 { '?' } else { '&' });
        match pair.split_once('=') {
            Some((name, _)) => text.extend([&without_numbers(name), "=…"]),
            // It may be all value.
            None => text.push('…'),
        }
    }
    if text.chars().count() > SHOWN {
        text = text.chars().take(SHOWN).chain(['…']).collect();
    }
    text
}

/// A number or an address may stand in a path, or be the name of a parameter: `/status/+15550100`. Its digits
/// are left out; of what is not seen before it is decoded, all that is between two slashes. What is longer than is shown is
/// not looked at: it costs the thread that answers, and an unsigned request can have it.
fn without_numbers(text: &str) -> String {
    let mut shown = String::new();
    for (place, segment) in text.split('/').enumerate() {
        if place > 0 {
            shown.push('/');
        }
        if shown.len() > ENOUGH {
            break;
        }
        if segment.len() > ENOUGH {
            shown.push('…');
            continue;
        }
        let segment = without_digits(segment);
        let meant = decoded(&segment);
        let is_hidden = meant.contains('@') || next_number(&meant, 0).is_some();
        shown.push_str(if is_hidden { "…" } else { &segment });
    }
    shown
}

fn without_digits(text: &str) -> String {
    let (mut shown, mut copied) = (String::with_capacity(text.len()), 0);
    while let Some(number) = next_number(text, copied) {
        shown.push_str(&text[copied..number.start]);
        shown.push('…');
        copied = number.end;
    }
    shown + &text[copied..]
}

/// What may be a telephone number: seven digits or more, also in groups, as in `1-555-010-0002`, but not those of a
/// SID.
fn next_number(text: &str, from: usize) -> Option<std::ops::Range<usize>> {
    /// Fewer are a port, a year, a code.
    const FEWEST: usize = 7;
    /// `) ` and ` (`
    const APART: usize = 2;
    let (mut found, mut digits, mut apart): (Option<std::ops::Range<usize>>, _, _) = (None, 0, 0);
    let mut at = from;
    let is_enough = |digits: usize| digits >= FEWEST;
    while let Some(next) = text[at..].chars().next() {
        if let Some(end) = end_of_sid(text, at) {
            if is_enough(digits) {
                break;
            }
            (found, digits, apart, at) = (None, 0, 0, end);
            continue;
        }
        let end = at + next.len_utf8();
        if next.is_numeric() {
            found = Some(found.map_or(at, |found| found.start)..end);
            (digits, apart) = (digits + 1, 0);
        } else if " -._()+".contains(next) && apart < APART {
            apart += 1;
        } else if is_enough(digits) {
            break;
        } else {
            (found, digits, apart) = (None, 0, 0);
        }
        at = end;
    }
    found.filter(|_| is_enough(digits))
}

/// The end of the SID that begins here, if one does: two letters and 32 hexadecimal digits.
fn end_of_sid(text: &str, at: usize) -> Option<usize> {
    const LENGTH: usize = 34;
    let (text, end) = (text.as_bytes(), at + LENGTH);
    let sid = text.get(at..end)?;
    let begins = at.checked_sub(1).is_none_or(|before| !text[before].is_ascii_alphanumeric());
    let ends = text.get(end).is_none_or(|after| !after.is_ascii_alphanumeric());
    let is_one = begins
        && ends
        && sid[..2].iter().all(u8::is_ascii_uppercase)
        && sid[2..].iter().all(u8::is_ascii_hexdigit);
    is_one.then_some(end)
}

/// The meaning of a text that was encoded several times, as an attacker does to get past a filter.
fn decoded(text: &str) -> String {
    const TIMES: usize = 4;
    (0..TIMES).fold(text.to_owned(), |text, _| match text.contains('%') {
        true => percent_encoding::percent_decode_str(&text).decode_utf8_lossy().into_owned(),
        false => text,
    })
}

/// Scheme and host, and the path.
fn without_userinfo(url: &str) -> (String, &str) {
    let Some((scheme, rest)) = url.split_once("://") else { return (String::new(), url) };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    (format!("{scheme}://{host}"), path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(at: i64, reason: Refusal) -> RecentRefusal {
        RecentRefusal {
            at: Timestamp::from_micros(at),
            route: "status",
            reason,
            status: 403,
            account: None,
            urls: Vec::new(),
            explained: false,
            hint: "",
        }
    }

    #[test]
    fn a_flood_of_one_reason_does_not_wash_another_away() {
        let refusals = RecentRefusals::default();
        refusals.push(refused(0, Refusal::WrongSignature));
        (1..1000).for_each(|at| refusals.push(refused(at, Refusal::UnknownRoute)));
        let last = refusals.last();
        assert_eq!(last.len(), REMEMBERED + 1);
        assert_eq!(last[0].at.micros(), 999);
        assert_eq!(last[REMEMBERED].reason, Refusal::WrongSignature);
        let counted = refusals.counted()[&Refusal::UnknownRoute];
        assert_eq!((counted.times, counted.since.micros()), (999, 1));
    }

    #[test]
    fn a_flood_of_forgeries_does_not_wash_away_what_is_of_an_account_or_was_explained() {
        let refusals = RecentRefusals::default();
        let known = Some("AC1".to_owned());
        refusals
            .push(RecentRefusal { account: known.clone(), ..refused(0, Refusal::WrongSignature) });
        let cause = RecentRefusal {
            account: known.clone(),
            explained: true,
            ..refused(1, Refusal::WrongSignature)
        };
        refusals.push(cause);
        (2..1000).for_each(|at| refusals.push(refused(at, Refusal::WrongSignature)));
        let kept = refusals.last().into_iter().filter(|refused| refused.account == known).count();
        assert_eq!(kept, 2);
        let of_the_account =
            |at| RecentRefusal { account: known.clone(), ..refused(at, Refusal::WrongSignature) };
        (1000..2000).for_each(|at| refusals.push(of_the_account(at)));
        assert!(refusals.last().iter().any(|refused| refused.explained));
    }

    #[test]
    fn of_a_query_only_the_names_are_shown() {
        let check = |url: &str, expected: &str| assert_eq!(shown(url), expected);
        check("https://h.example/status", "https://h.example/status");
        check("https://h.example/s?From=%2B1555&x=", "https://h.example/s?From=…&x=…");
        check("https://h.example/s?%2B15550100", "https://h.example/s?…");
        check("https://h.example/s?%2B15550100=1&15550100=", "https://h.example/s?%2B…=…&…=…");
        check("https://h.example/s/+15550100/x", "https://h.example/s/+…/x");
        check("https://h.example/s/%2B15550100", "https://h.example/s/%2B…");
        check("https://h.example/15550100", "https://h.example/…");
        let sid = "https://h.example/s/CA00000000000000000000000000000001";
        check(sid, sid);
        check("https://u:p@h.example:1/a", "https://h.example:1/a");
        // However it is written.
        for path in [
            "1-555-010-0002",
            "+1%20555%20010%200002",
            "%2B1%20(555)%20010-0002",
            "%252B15550100002",
            "%25252B1%2525205550100002",
            "%31%35%35%35%30%31%30%30%30%30%32",
            "%EF%BC%91%EF%BC%95%EF%BC%95%EF%BC%95%EF%BC%90%EF%BC%91%EF%BC%90%EF%BC%90",
            "to15550100002",
            "n15550100002x",
            "1555010000215550100003",
            "a,15550100002",
            "To=15550100002;x",
            "ana@h.example",
            "ana%2540h.example",
        ] {
            for url in [
                format!("https://h.example/s/{path}"),
                format!("https://h.example/s?{path}=1"),
                format!("https://h.example/s?{path}"),
            ] {
                let shown = shown(&url);
                let left = shown.chars().filter(char::is_ascii_digit).count();
                assert!(shown.contains('…') && !shown.contains("ana"), "{url}: {shown}");
                assert!(!shown.contains("0002") && left < 12, "{url}: {shown}");
                assert!(!shown.contains("%35"), "{url}: {shown}");
            }
        }
        for same in [
            "http://127.100.200.100:8080/status",
            "https://h.example/2010-04/v1.2.3/404",
            "https://h.example/s/caf%C3%A9/a%20b",
        ] {
            check(same, same);
        }
        assert_eq!(shown(&"é".repeat(400)).chars().count(), SHOWN + 1);
        check(&format!("https://h.example/{}/x", "A1".repeat(15_000)), "https://h.example/…/x");
        check(&format!("https://h.example/x?{}=1", "A1".repeat(15_000)), "https://h.example/x?…=…");
        assert_eq!(shown(&"/a".repeat(15_000)).chars().count(), SHOWN + 1);
    }
}
