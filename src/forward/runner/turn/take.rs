//! What a [`Turn`] does when a task has ended.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, error, info, warn};

use super::{
    Done, Ended, FORGET_INTERVAL, LEASE, LOOK_INTERVAL, Observer, PAGE, RENEW_INTERVAL,
    REPLAY_INTERVAL, Turn, WRITE_INTERVAL,
};
use crate::backend::BackendError;
use crate::backend::feed::{FeedError, FeedPage, Gone};
use crate::backend::forwards::{Disabled, Written};
use crate::clock::Timestamp;
use crate::event::{Change, Event};
use crate::forward::window::{Group, Read};
use crate::forward::{Delivery, Unsendable};

/// Fewest failures in a row after which a forward is disabled, however long ago its last success is.
const FAILURES_THAT_DISABLE: u32 = 5;

impl<O: Observer> Turn<'_, O> {
    /// What came of a task. Why it is over, if it is.
    pub(super) fn take(&mut self, done: Done) -> Option<Ended> {
        let now = Instant::now();
        match done {
            Done::Read(page, cut) => {
                self.busy.reading = false;
                if cut {
                    self.tell_cut(self.window.read() + 1);
                }
                self.took_page(page, now);
            }
            Done::Loaded(ids, loaded, cut) => {
                self.busy.loading = false;
                cut.into_iter().for_each(|from| self.tell_cut(from));
                self.took_events(&ids, loaded, now);
            }
            Done::Sent(_, None, _) => return Some(Ended::Lost),
            Done::Sent(id, Some(delivery), stored_at) => {
                self.sending -= 1;
                self.took_answer(id, delivery, stored_at, now);
            }
            Done::Wrote(progress, asked, Ok(Written::Kept)) => {
                self.busy.writing = false;
                self.answers();
                self.lease.renewed(asked);
                self.due.renew = asked + RENEW_INTERVAL;
                self.due.write = asked + WRITE_INTERVAL;
                self.window.written(&progress);
                self.stored = self.stored.split_off(&(progress.cursor + 1));
            }
            Done::Wrote(_, _, Ok(Written::Lost)) => return Some(Ended::Lost),
            Done::Wrote(progress, _, Err(error)) => {
                self.busy.writing = false;
                self.window.unwritten(*progress);
                self.due.write = now + self.fails(&error);
            }
            Done::Replays(rows) => {
                self.busy.replays = false;
                self.due.replays = now + REPLAY_INTERVAL;
                match rows {
                    Ok(rows) => self.window.replay(rows, self.moment(now)),
                    Err(error) => _ = self.fails(&error),
                }
            }
            Done::Forgot(gone, cut) => {
                self.busy.forgetting = false;
                self.due.forget = now + FORGET_INTERVAL;
                cut.into_iter().for_each(|from| self.tell_cut(from));
                match gone {
                    Ok(gone) => gone.into_iter().for_each(|id| self.window.forget(id)),
                    Err(error) => _ = self.fails(&error),
                }
            }
        }
        None
    }

    /// Retention has deleted changes that were not forwarded, this one or later ones.
    fn tell_cut(&self, from: i64) {
        self.runner.observer.cut();
        let forward = &self.runner.config.name;
        error!(forward, from, "retention has deleted changes that were not forwarded");
    }

    fn took_page(&mut self, page: Result<FeedPage, FeedError>, now: Instant) {
        let page = match page {
            Ok(page) => page,
            Err(FeedError::Gone(Gone::OtherFeed | Gone::BeyondTheEnd)) => {
                return self.disable(Disabled::OtherFeed);
            }
            // It was cut again meanwhile.
            Err(FeedError::Gone(Gone::Cut)) => return,
            Err(FeedError::Backend(error)) => {
                self.due.read = now + self.fails(&error);
                return;
            }
        };
        self.answers();
        let (filter, read) = (&self.runner.config.filter, self.window.read());
        if page.next.feed.as_str() != self.feed {
            return self.disable(Disabled::OtherFeed);
        }
        let full = page.changes.len() >= PAGE;
        let mut reads = Vec::with_capacity(page.changes.len());
        for change in page.changes.iter().filter(|change| change.id > read) {
            let wanted = filter.takes(change);
            if wanted {
                self.stored.insert(change.id, change.stored_at);
            }
            let group = Group::of(change.id, &change.account, change.sid.as_deref());
            reads.push(Read { id: change.id, group, wanted });
        }
        self.window.admit(reads, page.next.id, self.moment(now));
        self.due.read = if full { now } else { now + LOOK_INTERVAL };
    }

    fn took_events(
        &mut self,
        ids: &[i64],
        loaded: Result<Vec<(Change, Option<Event>)>, BackendError>,
        now: Instant,
    ) {
        let recalled = std::mem::take(&mut self.recall) || self.ending.is_some();
        let loaded = match loaded {
            Ok(loaded) if !recalled => loaded,
            failed => {
                if let Err(error) = failed {
                    self.due.load = now + self.fails(&error);
                }
                return ids.iter().for_each(|id| self.window.give_back(*id));
            }
        };
        self.answers();
        let mut found: HashMap<i64, _> =
            loaded.into_iter().map(|loaded| (loaded.0.id, loaded)).collect();
        for id in ids {
            match found.remove(id) {
                // The filter may be another one than when it was written down.
                Some((change, _)) if !self.runner.config.filter.takes(&change) => {
                    self.window.skip(*id);
                }
                Some(loaded) => self.loaded.push_back(loaded),
                None => {
                    debug!(forward = self.runner.config.name, change = id, "a change is gone");
                    self.window.skip(*id);
                }
            }
        }
    }

    fn took_answer(&mut self, id: i64, delivery: Delivery, stored_at: Timestamp, now: Instant) {
        let after = self.runner.clock.now().since(stored_at);
        self.runner.observer.attempted(delivery, after);
        match delivery {
            Delivery::Done => {
                self.failed = 0;
                self.window.done(id);
            }
            Delivery::Skipped(why) => {
                self.window.give_up(id, why.as_str());
                self.runner.observer.gave_up();
                if why == Unsendable::EventGone {
                    self.runner.observer.cut();
                }
                // Once, since it may be so for all of them.
                if !std::mem::replace(&mut self.told.unsendable, true) {
                    let (forward, why) = (&self.runner.config.name, why.as_str());
                    error!(forward, change = id, why, "changes cannot be sent, and are given up");
                }
            }
            Delivery::Gone => {
                self.window.give_back(id);
                self.disable(Disabled::Gone);
            }
            Delivery::Failed(failure) => {
                self.failed += 1;
                let (moment, was_restrained) = (self.moment(now), self.window.is_restrained());
                let jitter = rand::random::<f64>();
                if self.window.failed(id, failure.as_str(), moment, jitter) {
                    self.runner.observer.gave_up();
                    let (forward, failure) = (&self.runner.config.name, failure.as_str());
                    warn!(
                        forward,
                        change = id,
                        failure,
                        "a change was tried for long and is given up"
                    );
                }
                if !was_restrained && self.window.is_restrained() {
                    for (change, _) in self.loaded.drain(..) {
                        self.window.give_back(change.id);
                    }
                    self.recall = self.busy.loading;
                }
                let failing = self.window.failing_for(moment);
                // It may have failed last before a long stop, or before a quiet time.
                let is_proven = self.failed >= FAILURES_THAT_DISABLE;
                if is_proven && failing.is_some_and(|long| long >= self.runner.config.disable_after)
                {
                    self.disable(Disabled::Failing);
                }
            }
        }
    }

    /// The store answers.
    fn answers(&mut self) {
        self.backoff.reset();
        if std::mem::take(&mut self.told.store_fails) {
            info!(forward = self.runner.config.name, "the store answers again");
        }
    }

    /// The store does not answer. When to ask it again.
    fn fails(&mut self, error: &BackendError) -> Duration {
        self.runner.observer.failed();
        // Once, not for each attempt.
        if !std::mem::replace(&mut self.told.store_fails, true) {
            warn!(forward = self.runner.config.name, error = %error, "forwarding waits for the store");
        }
        self.backoff.next_wait().min(LEASE / 10)
    }
}
