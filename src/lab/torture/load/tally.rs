//! [`Tally`]: how many callbacks were answered how, and how fast.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::lab::torture::ledger::Answer;

/// Slower than this is worth telling.
const SLOW: Duration = Duration::from_secs(1);

/// How callbacks were answered.
#[derive(Clone, Debug, Default)]
pub(in crate::lab::torture) struct Tally {
    pub(in crate::lab::torture) acked: usize,
    pub(in crate::lab::torture) refused: usize,
    pub(in crate::lab::torture) unknown: usize,
    /// Answers that there should be none of, by status code.
    pub(in crate::lab::torture) other: BTreeMap<u16, usize>,
    /// Answers that took over a second, 2xx and 503.
    pub(in crate::lab::torture) slow: usize,
    /// Of what was acked during a fault, in microseconds.
    latencies: Vec<u32>,
    /// Why one of the unknown got no answer, and its causes.
    pub(in crate::lab::torture) why_unknown: Option<String>,
}

impl Tally {
    pub(super) fn count(&mut self, answer: Answer, other: Option<u16>, took: Option<Duration>) {
        match (answer, other) {
            (_, Some(status)) => *self.other.entry(status).or_default() += 1,
            (Answer::Acked, _) => self.acked += 1,
            (Answer::Refused, _) => self.refused += 1,
            (Answer::Unknown, _) => self.unknown += 1,
        }
        let Some(took) = took else { return };
        self.slow += usize::from(took > SLOW);
        if answer == Answer::Acked {
            self.latencies.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
        }
    }

    pub(in crate::lab::torture) fn sent(&self) -> usize {
        self.acked + self.refused + self.unknown + self.other.values().sum::<usize>()
    }

    /// Milliseconds below which these shares of the acks during a fault stayed.
    pub(in crate::lab::torture) fn quantiles<const N: usize>(&self, shares: [f64; N]) -> [f64; N] {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        shares.map(|share| {
            let last = sorted.len().saturating_sub(1);
            let micros = sorted.get((last as f64 * share).round() as usize).copied();
            f64::from(micros.unwrap_or_default()) / 1000.0
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_tells_how_many_and_how_fast() {
        let mut tally = Tally::default();
        for millis in 1..=100 {
            tally.count(Answer::Acked, None, Some(Duration::from_millis(millis)));
        }
        tally.count(Answer::Refused, None, Some(Duration::from_secs(2)));
        tally.count(Answer::Refused, Some(403), None);
        tally.count(Answer::Unknown, None, None);
        assert_eq!((tally.acked, tally.refused, tally.unknown, tally.slow), (100, 1, 1, 1));
        assert_eq!(tally.sent(), 103);
        assert_eq!(tally.quantiles([0.0, 0.5, 1.0]), [1.0, 51.0, 100.0]);
    }
}
