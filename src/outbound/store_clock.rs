//! [`StoreClock`]: which moment of this process a time of the store's clock is.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::clock::Timestamp;

/// For how long a reading counts: two clocks drift by less than a millisecond in it.
const COUNTS_FOR: Duration = Duration::from_secs(10);
/// Most readings that are kept.
const MOST: usize = 64;

/// After which time the clock is read by itself again.
const READ_EVERY: Duration = Duration::from_secs(5);

/// The clock of the store, by what it read in answers. An answer comes some time after the clock was read, for the rest
/// of its transaction, its sync and its way back; of several answers the one that took the least of it says best how
/// the two clocks differ. That is as a rule the last one that was asked for nothing else.
#[derive(Debug)]
pub(super) struct StoreClock {
    origin: Instant,
    /// When it was last due to be read by itself.
    due: Option<Instant>,
    /// When each answer came, and by how many microseconds this process's clock, counted from `origin`, was then ahead of
    /// the reading.
    readings: VecDeque<(Instant, i64)>,
}

impl StoreClock {
    pub(super) fn new(origin: Instant) -> Self {
        Self { origin, due: None, readings: VecDeque::new() }
    }

    /// Whether it is to be read by itself now, which is then not said again for a while.
    pub(super) fn take_due(&mut self, now: Instant) -> bool {
        let is_due = self.due.is_none_or(|due| now - due >= READ_EVERY);
        if is_due {
            self.due = Some(now);
        }
        is_due
    }

    /// When it was `reading`, which was asked for and answered at these moments: between the two, however the store's
    /// clock has leapt.
    pub(super) fn moment(
        &mut self,
        reading: Timestamp,
        asked: Instant,
        answered: Instant,
    ) -> Instant {
        let ahead = self.learn(reading, answered);
        let least = self.readings.iter().map(|(_, ahead)| *ahead).min().unwrap_or(ahead);
        let early = Duration::from_micros((ahead - least).unsigned_abs());
        answered.checked_sub(early).map_or(asked, |moment| moment.max(asked))
    }

    /// Takes a reading that was answered then; returns by how much this process's clock was ahead of it.
    pub(super) fn learn(&mut self, reading: Timestamp, answered: Instant) -> i64 {
        let since_origin = answered.saturating_duration_since(self.origin);
        let ahead = since_origin.as_micros() as i64 - reading.micros();
        while self.readings.front().is_some_and(|(at, _)| answered - *at > COUNTS_FOR) {
            self.readings.pop_front();
        }
        if self.readings.len() == MOST {
            self.readings.pop_front();
        }
        self.readings.push_back((answered, ahead));
        ahead
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The store's clock, `leap` off, was read so long after the question, and the answer came so long after that.
    struct Answer {
        at_ms: u64,
        to_ms: u64,
        back_ms: u64,
        leap_ms: i64,
    }

    /// By how many milliseconds the moment of each reading is taken to be later than it was.
    fn errors(answers: &[Answer]) -> Vec<i64> {
        let origin = Instant::now();
        let mut clock = StoreClock::new(origin);
        let error = |answer: &Answer| {
            let asked = origin + Duration::from_millis(answer.at_ms);
            let read = asked + Duration::from_millis(answer.to_ms);
            let answered = read + Duration::from_millis(answer.back_ms);
            let micros = (read - origin).as_micros() as i64 + answer.leap_ms * 1_000;
            let reading = Timestamp::from_micros(1_700_000_000_000_000 + micros);
            let moment = clock.moment(reading, asked, answered);
            assert!((asked..=answered).contains(&moment));
            let late = moment.saturating_duration_since(read).as_millis() as i64;
            late - read.saturating_duration_since(moment).as_millis() as i64
        };
        answers.iter().map(error).collect()
    }

    fn answer(at_ms: u64, back_ms: u64) -> Answer {
        Answer { at_ms, to_ms: 3, back_ms, leap_ms: 0 }
    }

    #[test]
    fn the_quickest_answer_says_how_the_clocks_differ() {
        let answers =
            [answer(0, 8), answer(100, 2), answer(200, 9), answer(300, 40), answer(400, 1)];
        assert_eq!(errors(&answers), [8, 2, 2, 2, 1]);
    }

    #[test]
    fn an_answer_to_nothing_else_says_it_before_the_first_claim_is_answered() {
        let origin = Instant::now();
        let mut clock = StoreClock::new(origin);
        let at = |ms| origin + Duration::from_millis(ms);
        let reading = |ms: i64| Timestamp::from_micros(1_700_000_000_000_000 + ms * 1_000);
        assert!(clock.take_due(at(0)));
        clock.learn(reading(0), at(1));
        assert_eq!(clock.moment(reading(2), at(0), at(60)), at(3));

        assert!(!clock.take_due(at(4_999)));
        assert!(clock.take_due(at(5_000)));
        assert!(!clock.take_due(at(5_001)));
    }

    #[test]
    fn an_answer_counts_for_a_while_and_not_for_ever() {
        let answers = [answer(0, 1), answer(9_000, 5), answer(12_000, 6), answer(30_000, 7)];
        assert_eq!(errors(&answers), [1, 1, 5, 7]);
    }

    #[test]
    fn of_a_clock_that_leaps_a_reading_is_never_before_its_question_nor_after_its_answer() {
        let leapt = |at_ms, leap_ms| Answer { leap_ms, ..answer(at_ms, 5) };
        let errors =
            errors(&[leapt(0, 0), leapt(100, -50), leapt(200, 50), leapt(300, -3_600_000)]);
        assert_eq!(errors, [5, -3, 5, -3]);
    }
}
