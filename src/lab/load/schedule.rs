//! [`Schedule`]: when the next request is due, and whether there is one.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, Semaphore};
use tokio::time::sleep_until;

use super::Turn;

/// How late Linux may wake a thread up. Sleeping less by as much makes requests a few microseconds
/// early rather than late.
const SLACK: Duration = Duration::from_micros(50);
/// How far requests may lag behind the rate if overdue ones are skipped: runtimes wake tasks up a
/// little late, and that is made up for.
const CATCH_UP: Duration = Duration::from_millis(10);

/// How much is sent, and how fast. The default is without end, as fast as answers come.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Plan {
    /// Requests a second, however long the answers take; `None` sends as fast as answers come.
    pub(crate) rate: Option<f64>,
    /// For how long.
    pub(crate) time: Option<Duration>,
    /// How many at most.
    pub(crate) requests: Option<u64>,
    /// What happens to requests that are due while every lane is busy.
    pub(crate) overdue: Overdue,
}

/// What happens to requests that are due while every lane is busy.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) enum Overdue {
    /// They are sent as soon as one is free, and timed from when they were due.
    #[default]
    Sent,
    /// They are not sent: the rate falls while every lane is busy or the runtime of the lanes is, and a machine
    /// that fell behind does not send the rest at once.
    Skipped,
}

/// Hands out turns, to many lanes.
#[derive(Debug)]
pub(crate) struct Schedule {
    started: Instant,
    time: Option<Duration>,
    overdue: Overdue,
    /// How many requests there are in all.
    planned: Option<u64>,
    /// For requests that are sent at a rate.
    interval: Option<Duration>,
    /// Requests that are due; closed when it has ended.
    due: Arc<Semaphore>,
    /// When the next request is due if overdue ones are skipped. The lane that holds it waits.
    next: Mutex<Instant>,
    taken: AtomicU64,
}

impl Schedule {
    /// Starts the clock.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn start(plan: Plan) -> io::Result<Self> {
        let fit = plan.rate.zip(plan.time).map(|(rate, time)| (time.as_secs_f64() * rate).ceil());
        let planned = fit.map(|fit| fit as u64).into_iter().chain(plan.requests).min();
        let started = Instant::now();
        let schedule = Self {
            started,
            time: plan.time,
            overdue: plan.overdue,
            planned,
            interval: plan.rate.map(|rate| Duration::from_secs_f64(1.0 / rate)),
            due: Arc::new(Semaphore::new(0)),
            next: Mutex::new(started),
            taken: AtomicU64::new(0),
        };
        if let (Some(interval), Overdue::Sent) = (schedule.interval, plan.overdue) {
            let due = Arc::clone(&schedule.due);
            // A thread of its own, since the runtime's timers tick in milliseconds.
            let tick = move || tick(&due, started, interval, planned);
            thread::Builder::new().name("schedule".to_owned()).spawn(tick)?;
        }
        Ok(schedule)
    }

    /// Waits until a request is due; `None` if there are no more.
    pub(crate) async fn next(&self) -> Option<Turn> {
        let number = self.taken.fetch_add(1, Ordering::Relaxed);
        if self.planned.is_some_and(|planned| number >= planned) {
            return None;
        }
        let Some(interval) = self.interval else {
            let due = Instant::now();
            let in_time = self.time.is_none_or(|time| due.duration_since(self.started) < time);
            return (in_time && !self.is_stopped()).then_some(Turn { number, due });
        };
        let due = match self.overdue {
            Overdue::Sent => {
                self.due.acquire().await.ok()?.forget();
                self.started + interval.mul_f64(number as f64)
            }
            Overdue::Skipped => {
                let mut next = self.next.lock().await;
                sleep_until((*next).into()).await;
                let now = Instant::now();
                *next = following(*next, now, interval);
                now
            }
        };
        (!self.is_stopped()).then_some(Turn { number, due })
    }

    /// Hands out no more turns.
    pub(crate) fn stop(&self) {
        self.due.close();
    }

    /// Whether it hands out no more turns, because it was stopped.
    pub(crate) fn is_stopped(&self) -> bool {
        self.due.is_closed()
    }

    /// How many requests there should be in all; 0 if that was left open.
    pub(crate) fn planned(&self) -> u64 {
        self.planned.unwrap_or_default()
    }

    /// Since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

impl Drop for Schedule {
    /// Ends its thread.
    fn drop(&mut self) {
        self.stop();
    }
}

/// When the request after this one is due if overdue ones are skipped.
fn following(next: Instant, now: Instant, interval: Duration) -> Instant {
    (next + interval).max(now.checked_sub(CATCH_UP).unwrap_or(now))
}

fn tick(due: &Semaphore, started: Instant, interval: Duration, planned: Option<u64>) {
    for number in 0..planned.unwrap_or(u64::MAX) {
        let at = started + interval.mul_f64(number as f64);
        thread::sleep(at.saturating_duration_since(Instant::now()).saturating_sub(SLACK));
        if due.is_closed() {
            return;
        }
        due.add_permits(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_number_of_requests_is_all_there_is() {
        let plan = Plan { requests: Some(2), ..Plan::default() };
        let schedule = Schedule::start(plan).expect("no thread is needed");
        assert!(schedule.next().await.is_some() && schedule.next().await.is_some());
        assert_eq!(schedule.next().await, None);
    }

    #[tokio::test]
    async fn at_a_rate_requests_are_due_whenever_a_lane_asks() {
        let plan = Plan { rate: Some(1000.0), requests: Some(3), ..Plan::default() };
        let schedule = Schedule::start(plan).expect("a thread can be had");
        for number in 0..3 {
            let due = schedule.started + Duration::from_millis(number);
            assert_eq!(schedule.next().await, Some(Turn { number, due }));
        }
        assert_eq!(schedule.next().await, None);
    }

    #[tokio::test]
    async fn when_the_time_is_over_there_is_nothing_more() {
        let plan = Plan { time: Some(Duration::ZERO), ..Plan::default() };
        let schedule = Schedule::start(plan).expect("no thread is needed");
        assert_eq!(schedule.next().await, None);
    }

    #[tokio::test]
    async fn one_that_is_stopped_hands_out_no_more_turns() {
        for rate in [None, Some(1000.0)] {
            let plan = Plan { rate, overdue: Overdue::Skipped, ..Plan::default() };
            let schedule = Schedule::start(plan).expect("a thread can be had");
            assert!(schedule.next().await.is_some());
            schedule.stop();
            assert_eq!(schedule.next().await, None);
        }
    }

    #[test]
    fn where_what_is_overdue_is_skipped_only_a_little_is_made_up_for() {
        let (next, interval) = (Instant::now(), Duration::from_millis(2));
        assert_eq!(following(next, next, interval), next + interval);
        assert_eq!(following(next, next + 2 * interval, interval), next + interval);
        let late = next + Duration::from_secs(1);
        assert_eq!(following(next, late, interval), late - CATCH_UP);
    }
}
