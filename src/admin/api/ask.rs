//! What is asked, from the query of a URL: the same for the API and for the console.

use serde::Deserialize;

use super::Problem;
use crate::backend::search::{
    Cursor, EventSearch, Needle, OwnParameter, ROWS_PER_PAGE, StatusSearch, TimeRange,
};
use crate::clock::{self, Timestamp};
use crate::event::{Kind, Resource};
use crate::labels::Label as _;
use crate::twilio::privacy::Privacy;

/// As many as fit a screen or two.
const LIMIT: u32 = 100;

/// Which statuses. An empty field of a form asks for nothing.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::admin) struct StatusAsk {
    pub(in crate::admin) q: String,
    pub(in crate::admin) kind: String,
    pub(in crate::admin) status: String,
    pub(in crate::admin) account: String,
    pub(in crate::admin) error: String,
    pub(in crate::admin) own: String,
    pub(in crate::admin) since: String,
    pub(in crate::admin) until: String,
    pub(in crate::admin) after: String,
    pub(in crate::admin) limit: Option<u32>,
}

/// Which events.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::admin) struct EventAsk {
    pub(in crate::admin) sid: String,
    pub(in crate::admin) kind: String,
    pub(in crate::admin) status: String,
    pub(in crate::admin) account: String,
    pub(in crate::admin) own: String,
    pub(in crate::admin) since: String,
    pub(in crate::admin) until: String,
    pub(in crate::admin) after: String,
    pub(in crate::admin) limit: Option<u32>,
}

/// Which account's, of a SID that several have reported.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::admin) struct AccountAsk {
    pub(in crate::admin) account: String,
}

impl StatusAsk {
    pub(in crate::admin) fn search(
        &self,
        privacy: &Privacy,
        now: Timestamp,
    ) -> Result<StatusSearch, Problem> {
        let known = Resource::ALL.map(Resource::as_str);
        Ok(StatusSearch {
            needle: Needle::parse(&self.q, privacy),
            resource: one_of("kind", &self.kind, Resource::parse, &known)?,
            status: text(&self.status),
            account: text(&self.account),
            error: text(&self.error),
            own: own(&self.own, privacy)?,
            span: span(&self.since, &self.until, now)?,
            after: cursor(&self.after)?,
            limit: limit(self.limit),
        })
    }
}

impl EventAsk {
    pub(in crate::admin) fn search(
        &self,
        privacy: &Privacy,
        now: Timestamp,
    ) -> Result<EventSearch, Problem> {
        Ok(EventSearch {
            sid: text(&self.sid),
            kind: kind(&self.kind)?,
            status: text(&self.status),
            account: text(&self.account),
            own: own(&self.own, privacy)?,
            span: span(&self.since, &self.until, now)?,
            after: cursor(&self.after)?,
            limit: limit(self.limit),
        })
    }
}

/// The kind of events that is asked for.
pub(super) fn kind(text: &str) -> Result<Option<Kind>, Problem> {
    one_of("kind", text, Kind::parse_typed, &Kind::ALL.map(Kind::as_str))
}

/// A name of a closed set, or nothing.
pub(in crate::admin) fn one_of<T>(
    what: &str,
    text: &str,
    parse: impl Fn(&str) -> Option<T>,
    known: &[&str],
) -> Result<Option<T>, Problem> {
    match text.trim() {
        "" => Ok(None),
        name => parse(name)
            .map(Some)
            .ok_or_else(|| Problem::bad(format!("`{what}` must be one of: {}", known.join(", ")))),
    }
}

pub(super) fn text(text: &str) -> Option<String> {
    Some(text.trim()).filter(|text| !text.is_empty()).map(str::to_owned)
}

fn own(text: &str, privacy: &Privacy) -> Result<Option<OwnParameter>, Problem> {
    match text.trim() {
        "" => Ok(None),
        text => OwnParameter::parse(text, privacy)
            .map(Some)
            .ok_or_else(|| Problem::bad("`own` must be NAME=VALUE, such as order_id=A-1")),
    }
}

fn span(since: &str, until: &str, now: Timestamp) -> Result<TimeRange, Problem> {
    let at = |name: &str, text: &str| {
        match text.trim() {
        "" => Ok(None),
        text => when(text, now).map(Some).ok_or_else(|| {
            Problem::bad(format!(
                "`{name}` is not a time (2026-11-24T08:00:00Z), a date (2026-11-24) or an age (15m, 2h, 7d)"
            ))
        }),
    }
    };
    Ok(TimeRange { since: at("since", since)?, until: at("until", until)? })
}

/// A time, a date, or an age.
pub(super) fn when(text: &str, now: Timestamp) -> Option<Timestamp> {
    if let Some(ago) = clock::age(text) {
        let micros = i64::try_from(ago.as_micros()).ok()?;
        return Some(Timestamp::from_micros(now.micros().saturating_sub(micros)));
    }
    // Browsers' own fields for a time and a date have neither seconds nor a zone.
    let zoned =
        [text.to_owned(), format!("{text}Z"), format!("{text}:00Z"), format!("{text}T00:00:00Z")];
    zoned.iter().find_map(|text| Timestamp::parse_rfc3339(text))
}

fn cursor(text: &str) -> Result<Option<Cursor>, Problem> {
    match text {
        "" => Ok(None),
        text => Cursor::parse(text)
            .map(Some)
            .ok_or_else(|| Problem::bad("`after` is not what a page gave as `next`")),
    }
}

fn limit(asked: Option<u32>) -> u32 {
    asked.unwrap_or(LIMIT).clamp(1, ROWS_PER_PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_absolute_or_ago() {
        let now = Timestamp::parse_rfc3339("2026-11-24T08:00:00Z").expect("a time");
        let check = |text: &str, expected: Option<&str>| {
            let expected = expected.and_then(Timestamp::parse_rfc3339);
            assert_eq!(when(text, now), expected, "{text}");
        };
        check("2h", Some("2026-11-24T06:00:00Z"));
        check("30s", Some("2026-11-24T07:59:30Z"));
        check("1d", Some("2026-11-23T08:00:00Z"));
        check("2026-11-24T09:00:00+01:00", Some("2026-11-24T08:00:00Z"));
        check("2026-11-24T07:30", Some("2026-11-24T07:30:00Z"));
        for wrong in ["", "yesterday", "h", "-1h", "5y", "é", "1é"] {
            check(wrong, None);
        }
    }
}
