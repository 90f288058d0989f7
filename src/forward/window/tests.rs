use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::health::LONGEST_PROBE_WAIT;
use super::*;

const LIMITS: Limits = Limits { in_flight: 4, max_waiting: 3 };
const SECOND: Duration = Duration::from_secs(1);

fn read(id: i64, sid: &str) -> Read {
    Read { id, group: Group::of(id, "AC1", Some(sid)), wanted: true }
}

fn window(limits: Limits) -> Window {
    Window::resume(limits, 0, Vec::new(), None, ORIGIN)
}

/// A window that has read changes 1, 2, … of these SIDs.
fn with(limits: Limits, sids: &[&str]) -> Window {
    let mut window = window(limits);
    let page = sids.iter().zip(1..).map(|(sid, id)| read(id, sid));
    window.admit(page, sids.len() as i64, ORIGIN);
    window
}

#[test]
fn one_change_of_a_sid_at_a_time_in_order() {
    let mut window = with(LIMITS, &["a", "a", "b"]);
    assert_eq!(window.take(9, ORIGIN), [1, 3]);
    assert_eq!(window.take(9, ORIGIN), [0; 0]);
    window.done(1);
    assert_eq!(window.take(9, ORIGIN), [2]);
}

#[test]
fn the_cursor_goes_as_far_as_everything_is_done() {
    let mut window = with(LIMITS, &["a", "b", "c"]);
    assert_eq!(window.take(9, ORIGIN), [1, 2, 3]);
    window.done(2);
    window.done(3);
    assert_eq!(window.progress(ORIGIN), None);
    window.done(1);
    let progress = window.progress(ORIGIN).expect("the cursor moved");
    assert_eq!(progress, Progress { cursor: 3, ..Progress::default() });
    window.written(&progress);
    assert_eq!(window.progress(ORIGIN), None);
}

#[test]
fn a_change_that_is_not_wanted_counts_as_done() {
    let mut window = window(LIMITS);
    window.admit([Read { wanted: false, ..read(4, "a") }], 4, ORIGIN);
    assert_eq!(window.take(9, ORIGIN), [0; 0]);
    assert_eq!(window.progress(ORIGIN).map(|progress| progress.cursor), Some(4));
}

#[test]
fn the_cursor_passes_a_sid_that_fails_and_its_later_changes_wait_behind_it() {
    let mut window = with(LIMITS, &["a", "b", "a"]);
    assert_eq!(window.take(9, ORIGIN), [1, 2]);
    assert!(!window.failed(1, "timeout", ORIGIN, 0.5));
    window.done(2);
    let progress = window.progress(ORIGIN).expect("something waits");
    assert_eq!(progress.cursor, 3);
    let waits: Vec<_> =
        progress.waiting.iter().map(|row| (row.change, row.tries, row.due_in)).collect();
    assert_eq!(waits, [(1, 1, Some(FIRST_WAIT)), (3, 0, None)]);
    window.written(&progress);

    window.admit([read(4, "a")], 4, ORIGIN);
    let progress = window.progress(ORIGIN).expect("it waits, too");
    assert_eq!((progress.cursor, progress.waiting.len()), (4, 1));
    assert_eq!(window.wakes_at(ORIGIN), Some(ORIGIN + FIRST_WAIT));
    assert_eq!(window.take(9, ORIGIN), [0; 0]);
    let later = ORIGIN + FIRST_WAIT;
    for id in [1, 3, 4] {
        assert_eq!(window.take(9, later), [id]);
        window.done(id);
    }
    let progress = window.progress(later).expect("nothing waits");
    assert_eq!((progress.settled, window.waiting()), (vec![1, 3, 4], 0));
}

#[test]
fn where_no_more_may_wait_the_cursor_stops_and_goes_on_when_the_endpoint_is_back() {
    let mut window = with(LIMITS, &["a", "b", "c", "d", "e"]);
    let mut now = ORIGIN;
    let mut all = window.take(9, now);
    all.iter().for_each(|id| _ = window.failed(*id, "connect", now, 0.5));
    assert!(window.is_full() && window.is_restrained());
    let progress = window.progress(now).expect("three wait");
    assert_eq!((progress.cursor, progress.waiting.len()), (3, 3));
    window.written(&progress);

    now += 100 * SECOND;
    // The first of them shows that it is; from then on not one by one.
    let mut sizes = Vec::new();
    while !all.is_empty() {
        let taken = window.take(9, now);
        sizes.push(taken.len());
        taken.iter().for_each(|id| window.done(*id));
        all.retain(|id| !taken.contains(id));
    }
    assert_eq!(sizes[0], 1);
    assert!(sizes.len() < 5, "{sizes:?}");
    assert_eq!((all.len(), window.waiting(), window.is_full()), (0, 0, false));
    assert_eq!(window.progress(now).map(|progress| progress.cursor), Some(5));
}

#[test]
fn an_endpoint_that_fails_is_asked_by_one_request_at_a_time_and_no_try_counts() {
    let sids: Vec<String> = (0..9).map(|n| n.to_string()).collect();
    let sids: Vec<&str> = sids.iter().map(String::as_str).collect();
    let mut window = with(Limits { in_flight: 8, max_waiting: 100 }, &sids);
    let mut now = ORIGIN;
    for id in window.take(8, now) {
        window.failed(id, "connect", now, 0.5);
    }
    assert!(window.is_restrained());
    for _ in 0..50 {
        assert_eq!(window.take(9, now), [0; 0]);
        now = window.wakes_at(now).expect("a probe");
        let [id] = window.take(9, now)[..] else { panic!("one at a time") };
        assert_eq!(window.take(9, now + LONGEST_WAIT), [0; 0]);
        assert!(!window.failed(id, "connect", now, 0.5));
    }
    assert_eq!(window.failing_for(now), Some(now - ORIGIN));
    now += LONGEST_PROBE_WAIT;
    let [id] = window.take(9, now)[..] else { panic!("one at a time") };
    window.done(id);
    assert_eq!((window.failing_for(now), window.take(3, now).len()), (None, 3));
}

#[test]
fn one_sid_that_fails_restrains_nothing_and_is_given_up_after_a_day() {
    let mut window = with(LIMITS, &["a", "a"]);
    let mut now = ORIGIN;
    let mut tries = 0;
    loop {
        assert_eq!(window.take(9, now), [1]);
        tries += 1;
        if window.failed(1, "status_5xx", now, 0.5) {
            break;
        }
        assert!(!window.is_restrained());
        now = window.wakes_at(now).expect("another try");
    }
    let hours = (now - ORIGIN).as_secs() / 3600;
    assert_eq!((tries, hours), (MOST_TRIES, 21));
    let progress = window.progress(now).expect("it is given up");
    assert_eq!(progress.given_up[0].failure, "status_5xx");
    assert_eq!(window.take(9, now), [2]);
}

#[test]
fn those_that_failed_before_leave_requests_for_the_others() {
    let mut window = with(Limits { in_flight: 4, max_waiting: 100 }, &["a", "b", "c", "d"]);
    for id in window.take(4, ORIGIN) {
        window.failed(id, "timeout", ORIGIN, 0.0);
    }
    window.admit((5..9).map(|id| read(id, &id.to_string())), 8, ORIGIN);
    assert_eq!(window.take(4, ORIGIN + 10 * SECOND), [1, 2, 5, 6]);
}

#[test]
fn what_was_given_up_is_sent_again_before_what_follows_it() {
    let mut window = with(LIMITS, &["b", "b", "a"]);
    assert_eq!(window.take(9, ORIGIN), [1, 3]);
    let row = |change| Waiting {
        change,
        account: "AC1".into(),
        sid: Some("a".into()),
        tries: 0,
        due_in: None,
    };
    // Beyond what was read: not yet.
    window.replay(vec![row(2), row(9)], ORIGIN);
    // It is known.
    assert_eq!(window.waiting(), 0);
    let mut window = with(LIMITS, &["b"]);
    window.admit([read(5, "a")], 5, ORIGIN);
    window.replay(vec![row(3)], ORIGIN);
    assert_eq!(window.take(9, ORIGIN), [1, 3]);
    let progress = window.progress(ORIGIN).expect("it waits");
    assert_eq!((progress.waiting.len(), progress.replayed), (1, vec![3]));
    window.done(3);
    assert_eq!(window.take(9, ORIGIN), [5]);
}

/// What is written, as a database has it.
#[derive(Default)]
struct Written {
    cursor: i64,
    waiting: BTreeMap<i64, Waiting>,
    given_up: BTreeSet<i64>,
}

impl Written {
    fn apply(&mut self, progress: &Progress) {
        assert!(progress.cursor >= self.cursor);
        self.cursor = progress.cursor;
        for row in &progress.waiting {
            self.waiting.insert(row.change, row.clone());
        }
        for id in &progress.settled {
            self.waiting.remove(id);
        }
        for row in &progress.given_up {
            self.waiting.remove(&row.change);
            self.given_up.insert(row.change);
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Read(usize),
    Take(usize),
    /// One of those that are taken, and how it went.
    Ends(usize, bool),
    GiveBack(usize),
    Waits(u64),
    Writes,
    /// It is written, but the result does not arrive.
    WritesUnheard,
    Crashes,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1_usize..6).prop_map(Step::Read),
        4 => (1_usize..6).prop_map(Step::Take),
        6 => (0_usize..9, prop::bool::weighted(0.6)).prop_map(|(which, ok)| Step::Ends(which, ok)),
        1 => (0_usize..9).prop_map(Step::GiveBack),
        2 => (1_u64..20_000).prop_map(Step::Waits),
        2 => Just(Step::Writes),
        1 => Just(Step::WritesUnheard),
        1 => Just(Step::Crashes),
    ]
}

/// A feed, what an endpoint got of it, and a forward between the two.
struct World {
    feed: Vec<Read>,
    limits: Limits,
    window: Window,
    written: Written,
    now: Moment,
    taken: Vec<i64>,
    /// What the endpoint took, in order.
    delivered: Vec<i64>,
}

impl World {
    fn new(sids: &[(u8, bool)], limits: Limits) -> Self {
        let feed = sids.iter().zip(1..).map(|((sid, wanted), id)| {
            // Some have no SID.
            let sid = (*sid > 0).then(|| sid.to_string());
            Read { id, group: Group::of(id, "AC1", sid.as_deref()), wanted: *wanted }
        });
        let feed = feed.collect();
        let written = Written::default();
        let window = window(limits);
        let (taken, delivered) = (Vec::new(), Vec::new());
        Self { feed, limits, window, written, now: ORIGIN, taken, delivered }
    }

    fn run(&mut self, step: &Step) {
        match step {
            Step::Read(most) => {
                let after = usize::try_from(self.window.read()).expect("a place");
                let most = (*most).min(self.window.room());
                let page: Vec<_> = self.feed.iter().skip(after).take(most).cloned().collect();
                if let Some(last) = page.last().map(|change| change.id) {
                    self.window.admit(page, last, self.now);
                }
            }
            Step::Take(most) => {
                let most = (*most).min(self.limits.in_flight - self.taken.len());
                for id in self.window.take(most, self.now) {
                    self.is_next(id);
                    self.taken.push(id);
                }
            }
            Step::Ends(which, ok) if !self.taken.is_empty() => {
                let id = self.taken.swap_remove(which % self.taken.len());
                if *ok {
                    self.delivered.push(id);
                    self.window.done(id);
                } else {
                    self.window.failed(id, "timeout", self.now, 0.5);
                }
            }
            Step::GiveBack(which) if !self.taken.is_empty() => {
                let id = self.taken.swap_remove(which % self.taken.len());
                self.window.give_back(id);
            }
            Step::Ends(..) | Step::GiveBack(_) => {}
            Step::Waits(seconds) => self.now += Duration::from_secs(*seconds),
            Step::Writes => {
                if let Some(progress) = self.window.progress(self.now) {
                    self.written.apply(&progress);
                    self.window.written(&progress);
                }
            }
            Step::WritesUnheard => {
                if let Some(progress) = self.window.progress(self.now) {
                    self.written.apply(&progress);
                    self.window.unwritten(progress);
                }
            }
            Step::Crashes => {
                self.taken.clear();
                let waiting = self.written.waiting.values().cloned().collect();
                let cursor = self.written.cursor;
                self.window = Window::resume(self.limits, cursor, waiting, None, self.now);
            }
        }
        self.holds();
    }

    /// No other of its group is being sent, and each before it has arrived, or was given up.
    fn is_next(&self, id: i64) {
        let group = &self.of(id).group;
        assert!(self.taken.iter().all(|other| self.of(*other).group != *group));
        let before = self.feed.iter().filter(|other| other.id < id && other.group == *group);
        for other in before.filter(|other| other.wanted) {
            let given_up = self.window.marks.get(&other.id);
            let given_up = matches!(given_up, Some(Mark::GivenUp(_)))
                || self.written.given_up.contains(&other.id);
            assert!(self.delivered.contains(&other.id) || given_up, "{other:?} before {id}");
        }
    }

    fn of(&self, id: i64) -> &Read {
        &self.feed[usize::try_from(id - 1).expect("a place")]
    }

    /// At any moment, nothing is lost, and no more changes wait than may.
    fn holds(&self) {
        for change in self.feed.iter().filter(|change| change.id <= self.written.cursor) {
            let id = change.id;
            let kept = self.written.waiting.contains_key(&id)
                || self.written.given_up.contains(&id)
                || self.delivered.contains(&id);
            assert!(!change.wanted || kept, "{change:?} is lost");
        }
        assert!(self.window.waiting() <= self.limits.max_waiting);
        assert_eq!(self.taken.len(), self.window.taken);
        assert!(self.window.room() <= READ_AHEAD);
        let stored = self.window.groups.values().flat_map(|queue| queue.items.values());
        let stored = stored.filter(|item| item.stored).count() + self.window.early.len();
        assert_eq!(stored, self.window.stored);
    }

    /// An endpoint that takes everything gets the rest.
    fn finish(&mut self) {
        self.run(&Step::Crashes);
        for _ in 0..20 * self.feed.len() + 20 {
            for step in [Step::Read(9), Step::Take(9), Step::Writes, Step::Waits(20_000)] {
                self.run(&step);
            }
            while !self.taken.is_empty() {
                self.run(&Step::Ends(0, true));
            }
        }
        self.run(&Step::Writes);
        assert_eq!(self.written.cursor, self.feed.len() as i64);
        assert!(self.written.waiting.is_empty());
        for change in self.feed.iter().filter(|change| change.wanted) {
            let id = change.id;
            assert!(self.delivered.contains(&id) || self.written.given_up.contains(&id));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Through any sequence of crashes, failures and writes whose result does not arrive.
    #[test]
    fn nothing_is_lost_and_the_order_of_each_sid_is_kept(
        sids in prop::collection::vec((0_u8..5, prop::bool::weighted(0.8)), 1..40),
        (in_flight, max_waiting) in (1_usize..5, 0_usize..6),
        steps in prop::collection::vec(step(), 0..200),
    ) {
        let mut world = World::new(&sids, Limits { in_flight, max_waiting });
        for step in &steps {
            world.run(step);
        }
        world.finish();
    }
}
