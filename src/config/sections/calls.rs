//! `[calls]`: which calls are in progress, and how many may be.

use std::time::Duration;

use serde::Deserialize;

use crate::config::ConfigError;
use crate::config::layers::Loaded;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawCalls {
    pub(crate) limit: u64,
    pub(crate) max_age_s: u64,
}

/// Calls in progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Calls {
    /// The account's limit; 0 if it is not known.
    pub limit: u64,
    /// How long a call counts as in progress before its final callback is presumed lost.
    pub max_age: Duration,
}

/// Which calls are in progress.
pub(crate) fn resolve(raw: &RawCalls) -> Calls {
    Calls { limit: raw.limit, max_age: Duration::from_secs(raw.max_age_s) }
}

/// An age of 0.
pub(crate) fn warning(loaded: &Loaded) -> Option<ConfigError> {
    let problem = "with 0 no call counts as being in progress: give it a value, or leave it out";
    loaded.zero("calls.max_age_s", loaded.raw.calls.max_age_s, problem)
}

#[cfg(test)]
mod tests {
    use crate::config::testing::check_warning;

    #[test]
    fn a_bound_of_0_is_warned_of() {
        let key = "calls.max_age_s";
        check_warning(&[], "[calls]\nmax_age_s = 0", key, "with 0");
    }
}
