//! `[retention]`: how old what is stored may become.

use std::time::Duration;

use serde::Deserialize;

use crate::config::ConfigError;
use crate::config::layers::Loaded;
use crate::upkeep::retention;

/// Days; 0 is for ever.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawRetention {
    pub(crate) events_days: u32,
    pub(crate) statuses_days: u32,
    pub(crate) changes_days: u32,
    pub(crate) dead_letters_days: u32,
}

/// How old what is stored may become.
pub(crate) fn resolve(loaded: &Loaded) -> Result<retention::Config, ConfigError> {
    const DAY: u64 = 24 * 60 * 60;
    let raw = &loaded.raw.retention;
    let age = |days: u32| (days > 0).then(|| Duration::from_secs(u64::from(days) * DAY));
    let statuses = u64::from(raw.statuses_days);
    let wrong = |problem| Err(loaded.error("retention.statuses_days", problem));
    // Of a status that is gone, an old event that comes again would make one that is wrong.
    if statuses > 0 && (raw.events_days == 0 || statuses < u64::from(raw.events_days)) {
        let events = match raw.events_days {
            0 => "for ever".to_owned(),
            days => format!("for {days} days"),
        };
        return wrong(format!(
            "a status must not go before its events, which are kept {events}: raise it, or lower \
             retention.events_days"
        ));
    }
    let calls = loaded.raw.calls.max_age_s;
    if statuses > 0 && statuses * DAY < calls {
        return wrong(format!(
            "a call counts as being in progress for {calls} s (calls.max_age_s), and its status must \
             not go before: raise it, or lower calls.max_age_s"
        ));
    }
    Ok(retention::Config {
        events: age(raw.events_days),
        statuses: age(raw.statuses_days),
        changes: age(raw.changes_days),
        dead_letters: age(raw.dead_letters_days),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::{MINIMAL, check_error, load};

    #[test]
    fn a_status_is_never_kept_for_less_time_than_its_events() {
        let retention = |text: &str| load(&MINIMAL, &format!("[retention]\n{text}"));
        let days = |days: u64| Some(Duration::from_secs(days * 24 * 60 * 60));
        let config = load(&MINIMAL, "").expect("complete").retention;
        let (none, changes) = (None, days(30));
        let expected =
            retention::Config { events: none, statuses: none, changes, dead_letters: none };
        assert_eq!(config, expected);
        let config = retention("events_days = 30\nstatuses_days = 30\ndead_letters_days = 7");
        let (events, dead_letters) = (days(30), days(7));
        let expected = retention::Config { events, statuses: events, changes, dead_letters };
        assert_eq!(config.expect("complete").retention, expected);
        assert!(retention("events_days = 30").is_ok());
        let key = "retention.statuses_days";
        check_error(retention("statuses_days = 400"), &[key, "my.toml", "for ever"]);
        let shorter = "events_days = 30\nstatuses_days = 29";
        check_error(retention(shorter), &[key, "kept for 30 days", "retention.events_days"]);
        let calls = "events_days = 1\nstatuses_days = 1\n[calls]\nmax_age_s = 86401";
        check_error(retention(calls), &[key, "calls.max_age_s"]);
        check_error(retention("events_days = -1"), &["events_days", "my.toml"]);
    }
}
