//! [`Refusals`]: the last requests that a listener refused, for the people who run it. Bounded by
//! reason, so that a scan of the whole URL space leaves in place what says that a secret is wrong.
//! Holds no body, no signature, no secret, and of a query only the names.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Timestamp;

/// The last ones that are remembered of each reason.
const REMEMBERED: usize = 32;
/// Explaining one costs as much as verifying some requests, so it is not done more often than this.
const EXPLAIN_EVERY: Duration = Duration::from_millis(200);
/// Longest URL that is shown.
const SHOWN: usize = 300;

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
    /// The usual cause of that; of a wrong signature the very cause, if it was looked for and found.
    pub hint: &'static str,
}

/// The last refusals of a process.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<Memory>);

#[derive(Debug, Default)]
struct Memory {
    by_reason: BTreeMap<&'static str, VecDeque<Refused>>,
    explained: Option<Timestamp>,
}

impl Refusals {
    /// Remembers one.
    pub fn push(&self, refused: Refused) {
        let mut memory = self.memory();
        let same = memory.by_reason.entry(refused.reason).or_default();
        if same.len() == REMEMBERED {
            same.pop_front();
        }
        same.push_back(refused);
    }

    /// Whether one may be explained now, which it then must be.
    pub fn may_explain(&self, now: Timestamp) -> bool {
        let mut memory = self.memory();
        // A clock that was set back must not stop it for as long.
        let rested = |last: Timestamp| now < last || now.since(last) >= EXPLAIN_EVERY;
        let may = memory.explained.is_none_or(rested);
        if may {
            memory.explained = Some(now);
        }
        may
    }

    /// The last ones of every reason, the latest first.
    #[must_use]
    pub fn last(&self) -> Vec<Refused> {
        let memory = self.memory();
        let mut all: Vec<Refused> = memory.by_reason.values().flatten().cloned().collect();
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
    for (place, pair) in query.into_iter().flat_map(|query| query.split('&')).enumerate() {
        text.push(if place == 0 { '?' } else { '&' });
        match pair.split_once('=') {
            Some((name, _)) => text.extend([name, "=…"]),
            // It may be all value.
            None => text.push('…'),
        }
    }
    if text.chars().count() > SHOWN {
        text = text.chars().take(SHOWN).chain(['…']).collect();
    }
    text
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
    }

    #[test]
    fn explanations_are_rationed() {
        let refusals = Refusals::default();
        let at = |millis: i64| Timestamp::from_micros(millis * 1000);
        assert!(refusals.may_explain(at(1000)));
        assert!(!refusals.may_explain(at(1199)));
        assert!(refusals.may_explain(at(1200)));
        assert!(refusals.may_explain(at(0)), "the clock was set back");
    }

    #[test]
    fn of_a_query_only_the_names_are_shown() {
        let check = |url: &str, expected: &str| assert_eq!(shown(url), expected);
        check("https://h.example/status", "https://h.example/status");
        check("https://h.example/s?From=%2B1555&x=", "https://h.example/s?From=…&x=…");
        check("https://h.example/s?%2B15550100", "https://h.example/s?…");
        check("https://u:p@h.example:1/a@b", "https://h.example:1/a@b");
        assert_eq!(shown(&"é".repeat(1000)).chars().count(), SHOWN + 1);
    }
}
