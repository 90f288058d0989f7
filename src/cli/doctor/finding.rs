//! [`Finding`]: the result of one check, and the fix.

use std::fmt;

use serde::Serialize;

use crate::clock::{Clock, Timestamp};

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and will cause trouble.
    Warning,
    /// It does not work, or loses what was promised.
    Failure,
}

/// What was found of one thing.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Finding {
    pub(super) verdict: Verdict,
    subject: &'static str,
    text: String,
    /// Empty where there is nothing to do, or the text has it.
    fix: String,
}

impl Finding {
    pub(super) fn ok(subject: &'static str, text: impl Into<String>) -> Self {
        Self { verdict: Verdict::Ok, subject, text: text.into(), fix: String::new() }
    }

    pub(super) fn warning(
        subject: &'static str,
        text: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { verdict: Verdict::Warning, subject, text: text.into(), fix: fix.into() }
    }

    pub(super) fn failure(
        subject: &'static str,
        text: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { verdict: Verdict::Failure, subject, text: text.into(), fix: fix.into() }
    }

    /// Of another machine's clock. Only the times in the tables and the ages in the metrics suffer.
    pub(super) fn of_clock(subject: &'static str, theirs: Timestamp) -> Self {
        /// More than a slow answer makes.
        const MOST_S: u64 = 5;
        let ours = Clock::System.now();
        let apart = ours.since(theirs).max(theirs.since(ours)).as_secs();
        if apart <= MOST_S {
            return Self::ok(subject, "its clock agrees with ours");
        }
        let which = if ours > theirs { "ahead of" } else { "behind" };
        let text = format!(
            "our clock is {apart} s {which} its clock: times in the tables and ages in the metrics are wrong by that, \
             and so is what [retention] deletes"
        );
        let fix =
            "let NTP set the clocks of both machines; the one that all others agree with is right";
        Self::warning(subject, text, fix)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Ok => "ok",
            Verdict::Warning => "warning",
            Verdict::Failure => "failure",
        };
        write!(f, "{verdict:<8} {:<14} {}", self.subject, self.text)?;
        if !self.fix.is_empty() {
            write!(f, "\n{:24}fix: {}", "", self.fix)?;
        }
        Ok(())
    }
}
