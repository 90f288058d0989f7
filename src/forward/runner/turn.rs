//! [`Turn`]: what one process forwards from when it took the lease until it loses it, or stops.
//!
//! Reading the feed, loading events, requests and writing progress are tasks side by side, so that none waits for
//! another. One loop decides what begins; it is the only place that knows the window.

mod take;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::lease::Lease;
use super::{LEASE, Observer, Runner};
use crate::backend::feed::{FeedError, FeedPage, From, Gone};
use crate::backend::forwards::{Claim, Disabled, Held, Progress, Waiting, Written};
use crate::backend::{BackendError, Feed};
use crate::clock::Timestamp;
use crate::crash_points::{Point, point};
use crate::event::{Change, Cursor, Event, FeedId};
use crate::forward::Delivery;
use crate::forward::window::{Limits, Moment, ORIGIN, Window};
use crate::retry::Backoff;

/// Most changes of one read.
const PAGE: usize = 500;
/// Most changes whose events are loaded at one time, and wait for a request: as many bodies are in memory.
const LOAD_AHEAD: usize = 64;
/// Progress is written no more often than that. It is what is sent twice after a crash.
const WRITE_INTERVAL: Duration = Duration::from_millis(50);
/// The lease is renewed so often, if no progress is written.
const RENEW_INTERVAL: Duration = Duration::from_secs(3);
/// How often it is looked whether something is to be replayed.
const REPLAY_INTERVAL: Duration = Duration::from_secs(1);
/// How often it is looked what is not in the feed any more.
const FORGET_INTERVAL: Duration = Duration::from_secs(60);
/// How often the feed is looked at though nothing woke the forward.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// The longest wait for requests that are under way when this process is to stop.
const STOP_WITHIN: Duration = Duration::from_secs(8);
/// The longest wait for the last write.
const LAST_WRITE: Duration = Duration::from_secs(4);

/// Why it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ended {
    /// The lease is not held any more, or may not be.
    Lost,
    /// The forward is disabled.
    Disabled(Disabled),
    /// This process stops.
    Stopped,
}

impl Ended {
    /// The same where the last write may not have been kept: what disables the forward is then found out again.
    const fn unwritten(self) -> Self {
        match self {
            Self::Disabled(_) => Self::Lost,
            how => how,
        }
    }
}

/// What a task came to.
enum Done {
    /// A page of the feed, and whether something before it was cut.
    Read(Result<FeedPage, FeedError>, bool),
    /// The loaded changes, and the first change that retention has cut.
    Loaded(Vec<i64>, Result<Vec<(Change, Option<Event>)>, BackendError>, Option<i64>),
    /// `None`: the lease ended meanwhile.
    Sent(i64, Option<Delivery>, Timestamp),
    Wrote(Box<Progress>, Instant, Result<Written, BackendError>),
    Replays(Result<Vec<Waiting>, BackendError>),
    /// The changes that wait and are not in the feed any more, and the first of them if retention has cut it.
    Forgot(Result<Vec<i64>, BackendError>, Option<i64>),
}

/// Which of the tasks run of which there is one at a time.
#[derive(Default)]
struct Busy {
    reading: bool,
    loading: bool,
    writing: bool,
    replays: bool,
    forgetting: bool,
}

/// When the periodic work is due.
struct Due {
    read: Instant,
    load: Instant,
    write: Instant,
    renew: Instant,
    replays: Instant,
    forget: Instant,
}

/// How it is to end.
#[derive(Clone, Copy)]
struct Ending {
    how: Ended,
    by: Instant,
}

/// See the module.
pub(super) struct Turn<'r, O> {
    runner: &'r Runner<O>,
    claim: &'r Claim,
    feed: String,
    window: Window,
    lease: Lease,
    began: Instant,
    tasks: JoinSet<Done>,
    busy: Busy,
    due: Due,
    /// Requests under way.
    sending: usize,
    /// Changes with their events, that wait for a request.
    loaded: VecDeque<(Change, Option<Event>)>,
    /// How many requests in a row have failed.
    failed: u32,
    /// What is being loaded is not to be sent.
    recall: bool,
    /// There may be more of the feed than the last read has seen.
    grown: bool,
    /// When changes were stored that are neither done nor waiting.
    stored: BTreeMap<i64, Timestamp>,
    ending: Option<Ending>,
    backoff: Backoff,
    /// What was already reported: that the store fails, the endpoint is down, no more may wait, some cannot be sent.
    told: Told,
}

#[derive(Default)]
struct Told {
    store_fails: bool,
    down: bool,
    full: bool,
    unsendable: bool,
}

impl<'r, O: Observer> Turn<'r, O> {
    pub(super) fn new(
        runner: &'r Runner<O>,
        claim: &'r Claim,
        held: Held,
        waiting: Vec<Waiting>,
        asked: Instant,
    ) -> Self {
        let limits = Limits {
            in_flight: runner.config.in_flight as usize,
            max_waiting: runner.config.max_waiting as usize,
        };
        let now = Instant::now();
        let due = Due {
            read: now,
            load: now,
            write: now,
            renew: asked + RENEW_INTERVAL,
            replays: now,
            forget: now + FORGET_INTERVAL,
        };
        Self {
            runner,
            claim,
            feed: held.feed,
            window: Window::resume(limits, held.cursor, waiting, held.failing_for, ORIGIN),
            lease: Lease::asked_at(asked),
            began: now,
            tasks: JoinSet::new(),
            busy: Busy::default(),
            due,
            sending: 0,
            loaded: VecDeque::new(),
            failed: 0,
            recall: false,
            grown: true,
            stored: BTreeMap::new(),
            ending: None,
            backoff: Backoff::default(),
            told: Told::default(),
        }
    }

    /// Forwards until the lease is lost, nothing is to be forwarded, or `stop`.
    pub(super) async fn run(mut self, stop: &CancellationToken) -> Ended {
        let how = self.forward(stop).await;
        match (self.halt().await, how) {
            (None, Ended::Stopped | Ended::Disabled(_)) => self.end(how).await,
            _ => Ended::Lost,
        }
    }

    /// Begins what is to be done and takes what it came to, until it is over.
    async fn forward(&mut self, stop: &CancellationToken) -> Ended {
        let mut reader = self.runner.watch.reader();
        loop {
            let now = Instant::now();
            if now >= self.lease.until() {
                return Ended::Lost;
            }
            if let Some(ending) = self.ending
                && now >= ending.by
            {
                return ending.how;
            }
            self.begin(now);
            if let Some(ending) = self.ending
                && self.sending == 0
                && !self.busy.writing
            {
                return ending.how;
            }
            let wake = self.wakes_at(now);
            tokio::select! {
                Some(done) = self.tasks.join_next() => {
                    let mut next = Some(done);
                    while let Some(done) = next {
                        // A task that panicked has logged why, and what it held is sent again.
                        let Ok(done) = done else { return Ended::Lost };
                        if let Some(ended) = self.take(done) {
                            return ended;
                        }
                        next = self.tasks.try_join_next();
                    }
                }
                () = reader.grown() => self.grown = true,
                () = sleep_until(wake) => {}
                () = stop.cancelled(), if self.ending.is_none() => self.finish(Ended::Stopped),
            }
        }
    }

    /// From now on nothing begins except writing.
    fn finish(&mut self, how: Ended) {
        if self.ending.is_none() {
            self.loaded.clear();
            self.ending = Some(Ending { how, by: Instant::now() + STOP_WITHIN });
            self.due.renew = Instant::now();
        }
    }

    fn disable(&mut self, why: Disabled) {
        self.finish(Ended::Disabled(why));
    }

    /// Aborts every request, and returns whether the lease is lost. The next holder of the lease sends later changes of the
    /// same SIDs, so no request may be under way by then. Answers that have arrived count; the rest is sent again.
    async fn halt(&mut self) -> Option<Ended> {
        let mut lost = None;
        self.tasks.abort_all();
        while let Some(done) = self.tasks.join_next().await {
            if let Ok(done) = done {
                lost = self.take(done).or(lost);
            }
        }
        lost
    }

    /// Writes what is left, and gives the lease back.
    async fn end(mut self, how: Ended) -> Ended {
        // What is being written has what waits up to its cursor. A write beside it that is committed first would take the
        // cursor behind that, and the one that has it would then be refused.
        if self.busy.writing {
            return how.unwritten();
        }
        let mut progress = self.progress();
        if let Ended::Disabled(why) = how {
            progress.disable = Some(why);
        }
        let forwards = &self.runner.forwards;
        let last = timeout(LAST_WRITE, async {
            let written = forwards.write(self.claim, &progress).await?;
            forwards.release(self.claim).await?;
            Ok::<_, BackendError>(written)
        });
        match last.await {
            Ok(Ok(Written::Kept)) => how,
            // The process that takes over sends some of it again.
            Ok(Ok(Written::Lost)) => Ended::Lost,
            Ok(Err(_)) | Err(_) => how.unwritten(),
        }
    }

    /// Begins every request that may begin now.
    fn begin(&mut self, now: Instant) {
        if self.ending.is_none() {
            self.read(now);
            self.load(now);
            self.send();
            self.look_around(now);
        }
        self.write(now);
        self.tell();
    }

    fn read(&mut self, now: Instant) {
        let room = self.window.room().min(PAGE);
        let is_due = now >= self.due.read;
        if self.busy.reading || room == 0 || !is_due && !self.may_read_at_once() {
            return;
        }
        let Some(from) = self.after(self.window.read()) else {
            return self.disable(Disabled::OtherFeed);
        };
        self.busy.reading = true;
        self.grown = false;
        let (feed, limit) = (self.runner.feed.clone(), u32::try_from(room).unwrap_or(1));
        self.tasks.spawn(async move {
            match feed.changes(&from, limit).await {
                // What is left of it.
                Err(FeedError::Gone(Gone::Cut)) => {
                    Done::Read(feed.changes(&From::Start, limit).await, true)
                }
                page => Done::Read(page, false),
            }
        });
    }

    /// Behind a change of the feed that is forwarded from.
    fn after(&self, id: i64) -> Option<From> {
        Some(From::After(Cursor { feed: FeedId::parse(&self.feed)?, id }))
    }

    /// Whether the feed may be read at once. While the store fails, it is read again after a while.
    fn may_read_at_once(&self) -> bool {
        self.grown && !self.told.store_fails
    }

    fn load(&mut self, now: Instant) {
        if self.busy.loading || self.loaded.len() > LOAD_AHEAD / 2 || now < self.due.load {
            return;
        }
        let ids = self.window.take(LOAD_AHEAD - self.loaded.len(), self.moment(now));
        if ids.is_empty() {
            return;
        }
        self.busy.loading = true;
        let (forwards, feed) = (self.runner.forwards.clone(), self.runner.feed.clone());
        let of = FeedId::parse(&self.feed);
        self.tasks.spawn(async move {
            let loaded = forwards.load(&ids).await;
            let is_missing = loaded.as_ref().is_ok_and(|loaded| loaded.len() < ids.len());
            let missing: &[i64] = if is_missing { &ids } else { &[] };
            let cut = first_cut(&feed, of, missing).await;
            Done::Loaded(ids, loaded, cut)
        });
    }

    fn send(&mut self) {
        while self.sending < self.runner.config.in_flight as usize
            && let Some((change, event)) = self.loaded.pop_front()
        {
            self.sending += 1;
            let (lease, endpoint) = (self.lease.clone(), Arc::clone(&self.runner.endpoint));
            self.tasks.spawn(async move {
                let sent = lease.held(endpoint.deliver(&change, event.as_ref())).await;
                point(Point::Forwarded);
                Done::Sent(change.id, sent, change.stored_at)
            });
        }
    }

    fn look_around(&mut self, now: Instant) {
        let (forwards, name) = (&self.runner.forwards, &self.runner.config.name);
        if !self.busy.replays && now >= self.due.replays {
            self.busy.replays = true;
            let (forwards, name) = (forwards.clone(), name.clone());
            self.tasks
                .spawn(async move { Done::Replays(forwards.replays(&name, PAGE as u32).await) });
        }
        if !self.busy.forgetting && now >= self.due.forget {
            self.busy.forgetting = true;
            let (forwards, name) = (forwards.clone(), name.clone());
            let (feed, of) = (self.runner.feed.clone(), FeedId::parse(&self.feed));
            self.tasks.spawn(async move {
                let gone = forwards.forget(&name).await;
                let cut = first_cut(&feed, of, gone.as_deref().unwrap_or_default()).await;
                Done::Forgot(gone, cut)
            });
        }
    }

    fn write(&mut self, now: Instant) {
        if self.busy.writing || now < self.due.write {
            return;
        }
        if !self.window.has_progress() && now < self.due.renew {
            return;
        }
        let progress = Box::new(self.progress());
        self.busy.writing = true;
        let (forwards, claim) = (self.runner.forwards.clone(), self.claim.clone());
        self.tasks.spawn(async move {
            let asked = Instant::now();
            point(Point::Progressing);
            let written = forwards.write(&claim, &progress).await;
            point(Point::Progressed);
            Done::Wrote(progress, asked, written)
        });
    }

    fn progress(&mut self) -> Progress {
        let now = self.moment(Instant::now());
        self.window.progress(now).unwrap_or_else(|| self.window.no_progress(now))
    }

    /// Says how it stands, in logs only when that changes.
    fn tell(&mut self) {
        let name = &self.runner.config.name;
        let stored = self.window.first_open().and_then(|id| self.stored.get(&id));
        let lag = stored.map_or(Duration::ZERO, |at| self.runner.clock.now().since(*at));
        self.runner.observer.stands(self.window.waiting(), lag);
        let (down, full) = (self.window.is_restrained(), self.window.is_full());
        if down != self.told.down {
            self.runner.observer.is_down(down);
            if down {
                warn!(
                    forward = name,
                    "the endpoint fails: it is asked now and then by one request"
                );
            } else {
                info!(forward = name, "the endpoint takes changes again");
            }
        }
        if full && !self.told.full {
            let waiting = self.window.waiting();
            error!(forward = name, waiting, "max_waiting is reached: forwarding pauses here");
        }
        self.told.down = down;
        self.told.full = full;
    }

    /// When there may next be something to begin.
    fn wakes_at(&self, now: Instant) -> Instant {
        let (busy, due) = (&self.busy, &self.due);
        let retry = self.window.wakes_at(self.moment(now)).map(|at| self.began + (at - ORIGIN));
        let write = if self.window.has_progress() { due.write } else { due.renew.max(due.write) };
        let at = [
            Some(self.lease.until()),
            self.ending.map(|ending| ending.by),
            (!busy.writing).then_some(write),
        ];
        let goes_on = self.ending.is_none();
        let unless_ending = [
            (!busy.reading && self.window.room() > 0).then_some(due.read),
            (!busy.loading).then_some(due.load).filter(|at| *at > now),
            retry.filter(|_| !busy.loading),
            (!busy.replays).then_some(due.replays),
            (!busy.forgetting).then_some(due.forget),
        ];
        let unless_ending = unless_ending.into_iter().filter(|_| goes_on).flatten();
        at.into_iter().flatten().chain(unless_ending).min().unwrap_or(now)
    }

    fn moment(&self, now: Instant) -> Moment {
        ORIGIN + now.saturating_duration_since(self.began)
    }
}

/// The first of these changes, of which some are missing from this feed, if retention has cut it. Else they were purged, which
/// is as it should be.
async fn first_cut(feed: &Feed, of: Option<FeedId>, changes: &[i64]) -> Option<i64> {
    let first = changes.iter().min().copied()?;
    let before = From::After(Cursor { feed: of?, id: first - 1 });
    let is_cut = matches!(feed.changes(&before, 1).await, Err(FeedError::Gone(Gone::Cut)));
    is_cut.then_some(first)
}

#[cfg(test)]
mod tests;
