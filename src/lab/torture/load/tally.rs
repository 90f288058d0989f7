//! [`Tally`]: how many callbacks were answered how, and how fast during a fault.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use crate::lab::load;

/// Slower than this is worth reporting.
const SLOW: Duration = Duration::from_secs(1);
/// Nothing can make the event durable.
const UNAVAILABLE: u16 = 503;

/// How callbacks were answered.
#[derive(Clone, Debug, Default)]
pub(in crate::lab::torture) struct Tally {
    /// Its latencies are those of a fault.
    answers: load::Tally,
    /// Answers during a fault that took over a second, 2xx and 503.
    pub(in crate::lab::torture) slow: usize,
    /// Why one of the unknown got no answer, and its causes.
    pub(in crate::lab::torture) why_unknown: Option<String>,
}

impl Tally {
    /// Records a callback with this many events, its answer, and whether there was a fault when it was sent.
    pub(super) fn record(
        &mut self,
        response: reqwest::Result<(u16, Duration)>,
        fault: bool,
        events: u64,
    ) {
        let took = response.as_ref().ok().map(|(_, took)| *took).filter(|_| fault);
        let answer = response.map(|(status, _)| status).map_err(|error| {
            self.why_unknown = Some(format!("{:#}", anyhow::Error::from(error)));
            io::ErrorKind::Other.into()
        });
        let must_be_fast = matches!(answer, Ok(200..300 | UNAVAILABLE));
        self.slow += usize::from(must_be_fast && took.is_some_and(|took| took > SLOW));
        self.answers.record(&answer, took, events);
    }

    pub(in crate::lab::torture) fn acked(&self) -> u64 {
        self.answers.accepted()
    }

    /// By a 503.
    pub(in crate::lab::torture) fn refused(&self) -> u64 {
        self.answers.statuses.get(&UNAVAILABLE).copied().unwrap_or_default()
    }

    /// Without an answer.
    pub(in crate::lab::torture) fn unknown(&self) -> u64 {
        self.answers.failed()
    }

    /// Answers that no scenario expects, by status code.
    pub(in crate::lab::torture) fn other(&self) -> BTreeMap<u16, u64> {
        let expected = |status: u16| matches!(status, 200..300 | UNAVAILABLE);
        let mut other = self.answers.statuses.clone();
        other.retain(|status, _| !expected(*status));
        other
    }

    pub(in crate::lab::torture) fn sent(&self) -> u64 {
        self.answers.answered() + self.answers.failed()
    }

    /// Of the acks during a fault.
    pub(in crate::lab::torture) fn quantiles(&self) -> load::Quantiles {
        self.answers.latencies.quantiles()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_answered_during_a_fault_has_a_latency() {
        let mut tally = Tally::default();
        let (fast, slow) = (Duration::from_millis(1), Duration::from_secs(2));
        tally.record(Ok((200, fast)), true, 1);
        tally.record(Ok((200, slow)), false, 1);
        tally.record(Ok((UNAVAILABLE, slow)), true, 1);
        tally.record(Ok((403, slow)), true, 1);
        assert_eq!((tally.acked(), tally.refused(), tally.unknown(), tally.slow), (2, 1, 0, 1));
        assert_eq!((tally.other(), tally.sent()), (BTreeMap::from([(403, 1)]), 4));
        assert!((0.99..1.01).contains(&tally.quantiles().max), "{tally:?}");
    }
}
