//! Retention of places in memory.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use prometheus::Registry;

use super::*;
use crate::pipeline::expiry::Outlook;

/// Answers in turn, then stops.
struct Script(VecDeque<Result<Step, Cause>>, CancellationToken);

impl Expire for Script {
    async fn step(&mut self, cutoff: Timestamp) -> Result<Step, Cause> {
        assert_eq!(cutoff, Timestamp::from_micros(40_000_000));
        let step = self.0.pop_front().expect("it was told to stop");
        if self.0.is_empty() {
            self.1.cancel();
        }
        step
    }

    async fn outlook(&mut self) -> Result<Outlook, Cause> {
        Ok(Outlook::default())
    }

    async fn trust(&mut self, _: Option<Timestamp>) -> Result<(), Cause> {
        Ok(())
    }

    async fn oldest(&mut self) -> Result<Option<Timestamp>, Cause> {
        Ok(Some(Timestamp::from_micros(50_000_000)))
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

#[test]
fn where_a_clock_may_be_wrong_nothing_is_deleted() {
    const DAY: i64 = 24 * 60 * 60;
    let age = Duration::from_secs(30 * DAY.unsigned_abs());
    let judge = |now: Option<i64>, newest: Option<i64>, trusted: Option<i64>, ours: i64| {
        let outlook =
            Outlook { now: now.map(at), newest: newest.map(at), trusted: trusted.map(at) };
        Trust::of(outlook, at(ours), age)
    };
    let today = 1000 * DAY;
    let lesser = judge(Some(today), Some(today - 5), None, today + 60);
    assert_eq!(lesser, Trust::Until(at(today)));
    assert_eq!(judge(Some(today + 60), None, None, today), Trust::Until(at(today)));
    assert_eq!(judge(None, None, Some(today - DAY), today), Trust::Until(at(today)));
    for wrong in [today + 400 * DAY, today - 400 * DAY, today + 301] {
        assert_eq!(judge(Some(today), Some(today), Some(today), wrong), Trust::Apart);
    }
    // Both are wrong, or nothing came for that long.
    let later = today + 400 * DAY;
    let leapt = Trust::Leapt { now: at(later), from: at(today) };
    assert_eq!(judge(Some(later), Some(today), None, later), leapt);
    assert_eq!(judge(Some(later), Some(later), Some(today), later), leapt, "whatever is new");
    assert_eq!(judge(None, None, Some(today), later), leapt, "no clock but ours");
    // It is set right: what came meanwhile has times in the future.
    let mended = judge(Some(today + 9), Some(later), Some(today), today + 9);
    assert_eq!(mended, Trust::Until(at(today + 9)));
}

/// A place whose times lie in memory, and that outlives a keeper.
#[derive(Clone)]
struct Place(Arc<Mutex<(Option<Timestamp>, Vec<Timestamp>)>>);

impl Expire for Place {
    async fn step(&mut self, cutoff: Timestamp) -> Result<Step, Cause> {
        let rows = &mut self.0.lock().unwrap().1;
        let before = rows.len();
        rows.retain(|at| *at >= cutoff);
        Ok(Step::Done((before - rows.len()) as u64))
    }

    async fn outlook(&mut self) -> Result<Outlook, Cause> {
        let (trusted, rows) = &*self.0.lock().unwrap();
        Ok(Outlook { now: None, newest: rows.iter().max().copied(), trusted: *trusted })
    }

    async fn trust(&mut self, until: Option<Timestamp>) -> Result<(), Cause> {
        self.0.lock().unwrap().0 = until;
        Ok(())
    }

    async fn oldest(&mut self) -> Result<Option<Timestamp>, Cause> {
        Ok(self.0.lock().unwrap().1.iter().min().copied())
    }
}

#[tokio::test]
async fn a_restart_does_not_make_it_forget_that_a_clock_is_wrong() {
    let place = Place(Arc::default());
    place.0.lock().unwrap().1 = vec![at(0), at(90)];
    let keeper = |now: i64| Keeper {
        needed: None,
        place: place.clone(),
        table: Table::Events,
        age: Duration::from_secs(60),
        clock: Clock::Fixed(at(now)),
        metrics: Metrics::register(&Registry::new()).expect("new names").of(Table::Events),
        guard: ClockGuard::default(),
        run: None,
        first: true,
        outage: Outage::default(),
    };
    let rows = || place.0.lock().unwrap().1.len();
    let step = async |now| {
        let turn = keeper(now).step().await.expect("it is in memory");
        matches!(turn, Turn::Held)
    };
    assert!(!step(100).await && rows() == 1, "what is old is gone");
    // The clock leaps between two looks, and something is stored before the next one.
    place.0.lock().unwrap().1.push(at(9_000));
    assert!(step(9_001).await && step(9_002).await && rows() == 2);
    // It is set right.
    assert!(!step(120).await && rows() == 2);
    // It leaps again, and this time it is right: the operator says so.
    assert!(step(9_003).await);
    place.0.lock().unwrap().1.retain(|row| *row > at(90));
    assert!(!step(9_004).await);
    assert_eq!(place.0.lock().unwrap().0, Some(at(9_004)));
}

#[tokio::test]
async fn it_goes_on_after_errors_and_says_what_it_did() {
    let metrics = Metrics::register(&Registry::new()).expect("new names");
    let stop = CancellationToken::new();
    let away = Err("away".to_owned());
    let steps = [Ok(Step::More(5)), away, Ok(Step::More(5)), Ok(Step::Done(1))];
    let aging = Script(steps.into(), stop.clone());
    let clock = Clock::Fixed(Timestamp::from_micros(100_000_000));
    let age = Some(Duration::from_secs(60));
    let retention = Retention {
        place: aging,
        table: Table::Events,
        age,
        needed: None,
        clock,
        metrics: metrics.clone(),
    };
    retention.run(stop).await;
    let told = metrics.of(Table::Events);
    assert_eq!((told.deleted.get(), told.errors.get(), told.oldest.get()), (11, 1, 50.0));
}

#[tokio::test]
async fn what_is_kept_for_ever_is_never_touched() {
    let metrics = Metrics::register(&Registry::new()).expect("new names");
    let stop = CancellationToken::new();
    let aging = Script(VecDeque::new(), stop.clone());
    let clock = Clock::Fixed(at(0));
    let retention =
        Retention { place: aging, table: Table::Statuses, age: None, needed: None, clock, metrics };
    retention.run(stop).await;
}
