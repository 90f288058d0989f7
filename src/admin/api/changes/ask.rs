//! What is asked of the change feed.

use std::time::Duration;

use serde::Deserialize;

use super::super::ask::{one_of, text};
use super::Problem;
use crate::backend::feed::CHANGES_PER_PAGE;
use crate::event::{Change, Cursor, Kind, Resource};
use crate::labels::Label as _;

/// Of a page that says nothing else.
const LIMIT: u32 = 100;
/// Longest wait: proxies close what is silent for a minute.
const LONGEST_WAIT: u64 = 30;

/// The query. All of it is text, so that each parameter is named if it is wrong.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::admin) struct ChangeAsk {
    after: String,
    limit: String,
    wait: String,
    account: String,
    kind: String,
    resource: String,
    status: String,
    r#final: String,
    moved: String,
}

/// Where to begin.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Start {
    /// With the oldest change that is kept.
    Oldest,
    /// With what is committed from now on.
    Now,
    /// Behind a change.
    After(Cursor),
}

/// Which changes. Whatever is set must hold.
#[derive(Default, Clone, PartialEq, Eq, Debug)]
pub(super) struct Filter {
    account: Option<String>,
    kind: Option<Kind>,
    resource: Option<Resource>,
    status: Option<String>,
    r#final: Option<bool>,
    moved: Option<bool>,
}

impl ChangeAsk {
    pub(super) fn start(&self) -> Result<Start, Problem> {
        start("after", &self.after)
    }

    pub(super) fn filter(&self) -> Result<Filter, Problem> {
        Ok(Filter {
            account: text(&self.account),
            kind: one_of("kind", &self.kind, Kind::parse_typed, &Kind::ALL.map(Kind::as_str))?,
            resource: one_of(
                "resource",
                &self.resource,
                Resource::parse,
                &Resource::ALL.map(Resource::as_str),
            )?,
            status: text(&self.status),
            r#final: yes_or_no("final", &self.r#final)?,
            moved: yes_or_no("moved", &self.moved)?,
        })
    }

    pub(super) fn limit(&self) -> Result<u32, Problem> {
        let number = number("limit", &self.limit, 1..=u64::from(CHANGES_PER_PAGE))?;
        Ok(number.map_or(LIMIT, |limit| limit as u32))
    }

    pub(super) fn wait(&self) -> Result<Duration, Problem> {
        let seconds = number("wait", &self.wait, 0..=LONGEST_WAIT)?;
        Ok(Duration::from_secs(seconds.unwrap_or_default()))
    }

    /// What only pages take.
    pub(super) fn is_of_pages(&self) -> Result<(), Problem> {
        let given = [("limit", &self.limit), ("wait", &self.wait)];
        match given.into_iter().find(|(_, text)| !text.is_empty()) {
            Some((name, _)) => Err(Problem::bad(format!("`{name}` is of /api/changes only"))),
            None => Ok(()),
        }
    }
}

/// Where a parameter, or a header, of this name says to begin.
pub(super) fn start(name: &str, text: &str) -> Result<Start, Problem> {
    match text {
        "" => Ok(Start::Oldest),
        "now" => Ok(Start::Now),
        text => Cursor::parse(text).map(Start::After).ok_or_else(|| {
            Problem::bad(format!("`{name}` is not a cursor of the change feed, nor `now`"))
        }),
    }
}

fn yes_or_no(name: &str, text: &str) -> Result<Option<bool>, Problem> {
    one_of(name, text, |text| text.parse().ok(), &["true", "false"])
}

fn number(
    name: &str,
    text: &str,
    range: std::ops::RangeInclusive<u64>,
) -> Result<Option<u64>, Problem> {
    if text.is_empty() {
        return Ok(None);
    }
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.map(Some).ok_or_else(|| {
        let (least, most) = range.into_inner();
        Problem::bad(format!("`{name}` is not a number from {least} to {most}"))
    })
}

impl Filter {
    /// Whether it takes everything.
    pub(super) fn is_open(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn takes(&self, change: &Change) -> bool {
        self.account.as_ref().is_none_or(|account| *account == change.account)
            && self.kind.is_none_or(|kind| kind == change.kind)
            && self.resource.is_none_or(|resource| Some(resource) == change.resource)
            && (self.status.is_none() || self.status == change.status)
            && self.r#final.is_none_or(|wanted| wanted == is_final(change))
            && self.moved.is_none_or(|wanted| wanted == change.moved)
    }
}

/// Whether no other status follows the one that the change reports.
pub(super) fn is_final(change: &Change) -> bool {
    let reported = change.resource.zip(change.status.as_deref());
    reported.is_some_and(|(resource, status)| resource.is_final(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_that_is_wrong_is_named() {
        let ask = |name: &str, value: &str| -> ChangeAsk {
            serde_json::from_value(serde_json::json!({ name: value })).expect("a parameter")
        };
        let check = |problem: Result<(), Problem>, name: &str| {
            let problem = problem.expect_err("it is wrong");
            assert!(problem.detail.starts_with(&format!("`{name}`")), "{}", problem.detail);
        };
        for value in ["x", "a.b", "1", "NOW", "a.-1", "now "] {
            check(ask("after", value).start().map(|_| ()), "after");
        }
        for value in ["0", "1001", "-1", "x", "1.5"] {
            check(ask("limit", value).limit().map(|_| ()), "limit");
        }
        for value in ["31", "-1", "x"] {
            check(ask("wait", value).wait().map(|_| ()), "wait");
        }
        for name in ["kind", "resource", "final", "moved"] {
            check(ask(name, "x").filter().map(|_| ()), name);
        }
        for name in ["limit", "wait"] {
            check(ask(name, "1").is_of_pages(), name);
        }
        let nothing = ChangeAsk::default();
        assert_eq!(nothing.start().expect("fine"), Start::Oldest);
        assert_eq!(nothing.limit().expect("fine"), LIMIT);
        assert!(nothing.filter().expect("fine").is_open());
        assert_eq!(ask("after", "now").start().expect("fine"), Start::Now);
    }
}
