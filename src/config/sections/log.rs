//! `[log]`: how the log is written.

use std::str::FromStr as _;

use serde::Deserialize;
use tracing::Level;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::Targets;

use super::named;
use crate::config::ConfigError;
use crate::config::layers::Loaded;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawLog {
    #[serde(deserialize_with = "named")]
    pub(crate) format: LogFormat,
    pub(crate) filter: String,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// How the log is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Text or JSON.
    pub format: LogFormat,
    /// Which lines.
    pub filter: String,
}

/// How the log is written.
pub(crate) fn resolve(loaded: &Loaded) -> Result<Log, ConfigError> {
    let RawLog { format, filter } = &loaded.raw.log;
    match EnvFilter::try_new(filter) {
        Ok(_) => Ok(Log { format: *format, filter: filter.clone() }),
        Err(_) => {
            Err(loaded.error("log.filter", "it is not a filter: write `info`, or `offhook=debug`"))
        }
    }
}

/// A filter that hides every line.
pub(crate) fn warning(loaded: &Loaded) -> Option<ConfigError> {
    let problem = "no line of offhook passes it, as if there were no log: write `info`, or \
                   `offhook=debug`. Errors and warnings are logged all the same";
    let passes = lets_errors_through(&loaded.raw.log.filter);
    (!passes).then(|| loaded.error("log.filter", problem))
}

/// Whether a line about an error would be logged.
#[must_use]
pub fn lets_errors_through(filter: &str) -> bool {
    // A filter with spans and fields was written by an expert.
    filter.contains('[')
        || Targets::from_str(filter)
            .is_ok_and(|targets| targets.would_enable("offhook", &Level::ERROR))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::{MINIMAL, check_error, check_warning, load};

    #[test]
    fn a_filter_that_lets_nothing_through_is_found() {
        for good in [
            "info",
            "debug",
            "offhook=debug",
            "warn,offhook::http=trace",
            "offhook[span]=info",
            "error",
        ] {
            assert!(lets_errors_through(good), "{good}");
        }
        for bad in ["offhok=debug", "verbose!!", "off", "sqlx=info", "offhook=off"] {
            assert!(!lets_errors_through(bad), "{bad}");
        }
    }

    #[test]
    fn a_filter_can_be_read_and_is_warned_of_if_it_hides_every_line() {
        check_error(
            load(&MINIMAL, "public_url = 'x'\n[log]\nfilter = 'a=b=c'"),
            &["log.filter", "my.toml"],
        );
        for filter in ["offhok=debug", "verbose!!"] {
            let filter = [("OFFHOOK_LOG__FILTER", filter)];
            check_warning(&filter, "", "log.filter", "no line of offhook");
        }
    }
}
