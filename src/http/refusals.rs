//! [`Refusals`]: the last requests that a listener refused, for the people who run it. Bounded by
//! reason, by whether it is of a configured account, and by whether its cause was found: so that neither a scan
//! of the URL space nor a flood of forgeries takes the place of what says that a secret or a URL is wrong.
//! Holds no body, no signature, no secret, and of a query only the names.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Timestamp;

/// The last ones that are remembered of each group.
pub const REMEMBERED: usize = 32;
/// Explaining one costs as much as verifying some requests, so of each reason, of configured accounts and of
/// others, it is not done more often than this.
const EXPLAIN_EVERY: Duration = Duration::from_millis(200);
/// Longest URL that is shown, in characters.
const SHOWN: usize = 300;
/// After so many bytes there are as many characters.
const ENOUGH: usize = 4 * SHOWN;

/// A request that was refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused {
    /// When.
    pub at: Timestamp,
    /// Where it went.
    pub route: &'static str,
    /// Why.
    pub reason: &'static str,
    /// What it was answered with.
    pub status: u16,
    /// The account that it names, if that is configured.
    pub account: Option<String>,
    /// The URLs that its signature was tried against; of others, the one that was asked for.
    pub urls: Vec<String>,
    /// Whether its own cause was looked for and found.
    pub explained: bool,
    /// The usual cause of that; of a wrong signature the very cause, if it was looked for and found.
    pub hint: &'static str,
}

/// The last refusals of a process.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<Memory>);

#[derive(Debug, Default)]
struct Memory {
    last: BTreeMap<Group, VecDeque<Refused>>,
    counted: BTreeMap<&'static str, Counted>,
    /// When one was explained last.
    explained: BTreeMap<(&'static str, bool), Timestamp>,
}

/// What has places of its own: the reason, whether the account is configured, whether a cause was found.
type Group = (&'static str, bool, bool);

/// How many there were, which is more than are remembered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counted {
    /// Since the process started.
    pub times: u64,
    /// When the first one came.
    pub since: Timestamp,
}

impl Refusals {
    /// Remembers one.
    pub fn push(&self, refused: Refused) {
        let mut memory = self.memory();
        let first = Counted { times: 0, since: refused.at };
        memory.counted.entry(refused.reason).or_insert(first).times += 1;
        let group = (refused.reason, refused.account.is_some(), refused.explained);
        let same = memory.last.entry(group).or_default();
        if same.len() == REMEMBERED {
            same.pop_front();
        }
        same.push_back(refused);
    }

    /// Whether one of this reason, of a configured account or not, may be explained now, which it then must be.
    pub fn may_explain(&self, now: Timestamp, reason: &'static str, known: bool) -> bool {
        let mut memory = self.memory();
        // A clock that was set back must not stop it for as long.
        let rested = |last: Timestamp| now < last || now.since(last) >= EXPLAIN_EVERY;
        let may = memory.explained.get(&(reason, known)).copied().is_none_or(rested);
        if may {
            memory.explained.insert((reason, known), now);
        }
        may
    }

    /// How many there were of each reason.
    #[must_use]
    pub fn counted(&self) -> BTreeMap<&'static str, Counted> {
        self.memory().counted.clone()
    }

    /// The last ones of every group, the latest first.
    #[must_use]
    pub fn last(&self) -> Vec<Refused> {
        let memory = self.memory();
        let mut all: Vec<Refused> = memory.last.values().flatten().cloned().collect();
        all.sort_by_key(|refused| std::cmp::Reverse(refused.at));
        all
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A URL as it may be shown: the values of its query may be somebody's number, and what stands
/// before its host is a password.
#[must_use]
pub fn shown(url: &str) -> String {
    let (path, query) =
        url.split_once('?').map_or((url, None), |(path, query)| (path, Some(query)));
    let mut text = without_userinfo(path);
    text = without_numbers(&text);
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

/// A number may stand in a path, or be the name of a parameter: `/status/+15550100`.
fn without_numbers(text: &str) -> String {
    /// Of a telephone number; the digits within a SID have letters beside them.
    const DIGITS: std::ops::RangeInclusive<usize> = 7..=15;
    let (mut shown, mut copied, mut at) = (String::with_capacity(text.len()), 0, 0);
    while let Some(start) = text[at..].find(|c: char| c.is_ascii_digit()).map(|found| at + found) {
        let digits = text[start..].bytes().take_while(u8::is_ascii_digit).count();
        at = start + digits;
        let (before, after) = (&text[..start], &text[at..]);
        // The B of a plus that is encoded is no letter.
        let plus = before.ends_with("%2B") || before.ends_with("%2b");
        let apart = |beside: Option<char>| !beside.is_some_and(char::is_alphanumeric);
        if DIGITS.contains(&digits)
            && (plus || apart(before.chars().next_back()))
            && apart(after.chars().next())
        {
            shown.push_str(&text[copied..start]);
            shown.push('…');
            copied = at;
        }
    }
    shown + &text[copied..]
}

fn without_userinfo(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(at: i64, reason: &'static str) -> Refused {
        Refused {
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
        let refusals = Refusals::default();
        refusals.push(refused(0, "wrong_signature"));
        (1..1000).for_each(|at| refusals.push(refused(at, "unknown_route")));
        let last = refusals.last();
        assert_eq!(last.len(), REMEMBERED + 1);
        assert_eq!(last[0].at.micros(), 999);
        assert_eq!(last[REMEMBERED].reason, "wrong_signature");
        let counted = refusals.counted()["unknown_route"];
        assert_eq!((counted.times, counted.since.micros()), (999, 1));
    }

    #[test]
    fn a_flood_of_forgeries_does_not_wash_away_what_is_of_an_account_or_was_explained() {
        let refusals = Refusals::default();
        let known = Some("AC1".to_owned());
        refusals.push(Refused { account: known.clone(), ..refused(0, "wrong_signature") });
        let cause =
            Refused { account: known.clone(), explained: true, ..refused(1, "wrong_signature") };
        refusals.push(cause);
        (2..1000).for_each(|at| refusals.push(refused(at, "wrong_signature")));
        let kept = refusals.last().into_iter().filter(|refused| refused.account == known).count();
        assert_eq!(kept, 2);
        let of_the_account =
            |at| Refused { account: known.clone(), ..refused(at, "wrong_signature") };
        (1000..2000).for_each(|at| refusals.push(of_the_account(at)));
        assert!(refusals.last().iter().any(|refused| refused.explained));
    }

    #[test]
    fn explanations_are_rationed() {
        let refusals = Refusals::default();
        let at = |millis: i64| Timestamp::from_micros(millis * 1000);
        let may = |millis, known| refusals.may_explain(at(millis), "wrong_signature", known);
        assert!(may(1000, false));
        assert!(!may(1199, false));
        assert!(may(1199, true), "forgeries without an account do not take its turn");
        assert!(may(1200, false));
        assert!(may(0, false), "the clock was set back");
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
        check("https://u:p@h.example:1/a@b", "https://h.example:1/a@b");
        assert_eq!(shown(&"é".repeat(1000)).chars().count(), SHOWN + 1);
    }
}
