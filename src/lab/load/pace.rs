//! [`Pace`]: when the next request is due, and whether there is one.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::Plan;

/// How late Linux may wake a thread up. Sleeping less by as much makes requests a few microseconds
/// early rather than late.
const SLACK: Duration = Duration::from_micros(50);

/// Hands out turns, to many connections.
#[derive(Debug)]
pub(super) struct Pace {
    started: Instant,
    time: Duration,
    /// How many requests there are in all.
    planned: Option<u64>,
    /// Of those that are sent at a rate.
    interval: Option<Duration>,
    /// Requests that are due.
    due: Arc<Semaphore>,
    taken: AtomicU64,
}

impl Pace {
    /// Starts the clock.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start(plan: Plan) -> io::Result<Self> {
        let fit = plan.rate.map(|rate| (plan.time.as_secs_f64() * rate).ceil() as u64);
        let planned = fit.into_iter().chain(plan.requests).min();
        let pace = Self {
            started: Instant::now(),
            time: plan.time,
            planned,
            interval: plan.rate.map(|rate| Duration::from_secs_f64(1.0 / rate)),
            due: Arc::new(Semaphore::new(0)),
            taken: AtomicU64::new(0),
        };
        if let Some((interval, planned)) = pace.interval.zip(planned) {
            let (due, started) = (Arc::clone(&pace.due), pace.started);
            // A thread of its own, since the runtime's timers tick in milliseconds.
            let tick = move || tick(&due, started, interval, planned);
            thread::Builder::new().name("pace".to_owned()).spawn(tick)?;
        }
        Ok(pace)
    }

    /// Waits until a request is due, and says since when; `None` if there are no more.
    pub(super) async fn next(&self) -> Option<Instant> {
        let number = self.taken.fetch_add(1, Ordering::Relaxed);
        if self.planned.is_some_and(|planned| number >= planned) {
            return None;
        }
        let Some(interval) = self.interval else {
            let now = Instant::now();
            return (now.duration_since(self.started) < self.time).then_some(now);
        };
        self.due.acquire().await.ok()?.forget();
        Some(self.started + interval.mul_f64(number as f64))
    }

    /// How many requests there should be in all; 0 if that was left open.
    pub(super) fn planned(&self) -> u64 {
        self.planned.unwrap_or_default()
    }

    /// Since the start.
    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

fn tick(due: &Semaphore, started: Instant, interval: Duration, planned: u64) {
    for number in 0..planned {
        let at = started + interval.mul_f64(number as f64);
        thread::sleep(at.saturating_duration_since(Instant::now()).saturating_sub(SLACK));
        due.add_permits(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: Plan =
        Plan { connections: 1, rate: None, time: Duration::from_secs(60), requests: None };

    #[tokio::test]
    async fn a_number_of_requests_is_all_there_is() {
        let pace = Pace::start(Plan { requests: Some(2), ..PLAN }).expect("no thread is needed");
        assert!(pace.next().await.is_some() && pace.next().await.is_some());
        assert_eq!(pace.next().await, None);
    }

    #[tokio::test]
    async fn at_a_rate_requests_are_due_when_they_are_whoever_asks_and_when() {
        let plan = Plan { rate: Some(1000.0), requests: Some(3), ..PLAN };
        let pace = Pace::start(plan).expect("a thread can be had");
        for millis in 0..3 {
            let due = pace.next().await;
            assert_eq!(due, Some(pace.started + Duration::from_millis(millis)));
        }
        assert_eq!(pace.next().await, None);
    }

    #[tokio::test]
    async fn when_the_time_is_over_there_is_nothing_more() {
        let pace = Pace::start(Plan { time: Duration::ZERO, ..PLAN }).expect("no thread is needed");
        assert_eq!(pace.next().await, None);
    }
}
