//! [`Window`]: which changes a forward may send now, and how far its cursor may go. Pure: the time and
//! the result of each change are arguments.
//!
//! Changes of one SID go out one after the other, in the feed's order. One that fails waits, and the later ones of its
//! SID wait behind it: they are written down beside the cursor, which then passes them all. Where no more may wait, the
//! cursor stops before what is not written down.

mod group;
mod health;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

pub use self::group::Group;
use self::health::Health;
use crate::backend::forwards::{GivenUp, Progress, Waiting};

/// A time by a clock that never goes back, counted from [`ORIGIN`].
pub type Moment = Duration;
/// What a process calls the time at which it began, so that earlier times can be said.
pub const ORIGIN: Moment = Duration::from_secs(400 * 24 * 3600);

/// Most changes behind the cursor that are neither done nor waiting: what is sent twice after a crash, at most. More
/// than an endpoint takes while one request to it runs into its time-out.
pub const READ_AHEAD: usize = 4096;

/// The wait after the first failure. It doubles up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_secs(5);
/// The longest wait, before jitter.
const LONGEST_WAIT: Duration = Duration::from_secs(4 * 3600);
/// Tries of one change: the last one is about a day after the first.
pub const MOST_TRIES: u32 = 17;

/// Bounds of a window.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Requests at one time.
    pub in_flight: usize,
    /// Changes that wait.
    pub max_waiting: usize,
}

/// A change that was read.
#[derive(Clone, Debug)]
pub struct Read {
    /// The id of the change.
    pub id: i64,
    /// What it belongs to.
    pub group: Group,
    /// Whether it is to be sent: one that is not counts as done.
    pub wanted: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Window {
    limits: Limits,
    /// How far the cursor was when it was last written.
    written: i64,
    /// The last change that was read.
    read: i64,
    /// Changes up to there that are neither done nor written down. The cursor stays before the first of them.
    open: BTreeSet<i64>,
    groups: HashMap<Group, Queue>,
    /// The group of each change in a queue.
    group_of: HashMap<i64, Group>,
    /// First of their group, and never tried.
    fresh: BTreeSet<i64>,
    /// First of their group, and tried before: by when they may be tried again.
    retries: BTreeSet<(Moment, i64)>,
    /// How many are taken, and how many of these were tried before.
    taken: usize,
    retrying: usize,
    /// How many are written down, or will be with the next progress.
    stored: usize,
    /// Changes that should be written down but for which there is no room.
    held: BTreeSet<i64>,
    /// Written down before, and not read again yet: what precedes them in their SID may not have been, either.
    early: BTreeMap<i64, Waiting>,
    marks: BTreeMap<i64, Mark>,
    replayed: BTreeSet<i64>,
    health: Health,
}

/// The changes of a group that are to be sent, in order.
#[derive(Debug, Default)]
struct Queue {
    items: BTreeMap<i64, Item>,
    /// The one that is being sent, and whether it was tried before.
    taken: Option<(i64, bool)>,
    /// Since the first one failed: when it may be tried again.
    due: Option<Moment>,
    /// The place in `fresh` or in `retries`.
    place: Option<Place>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Fresh(i64),
    Retry(Moment, i64),
}

#[derive(Clone, Copy, Default, Debug)]
struct Item {
    tries: u32,
    /// Whether it is written down, or will be with the next progress.
    stored: bool,
}

/// What is to be written of a change.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Mark {
    Waits,
    Settled,
    GivenUp(GivenUp),
}

impl Window {
    /// Continues a forward: from its cursor, with what waits.
    #[must_use]
    pub fn resume(
        limits: Limits,
        cursor: i64,
        waiting: Vec<Waiting>,
        failing_for: Option<Duration>,
        now: Moment,
    ) -> Self {
        let failing_since = failing_for.map(|long| now.saturating_sub(long));
        let mut window = Self {
            limits,
            written: cursor,
            read: cursor,
            open: BTreeSet::new(),
            groups: HashMap::new(),
            group_of: HashMap::new(),
            fresh: BTreeSet::new(),
            retries: BTreeSet::new(),
            taken: 0,
            retrying: 0,
            stored: waiting.len(),
            held: BTreeSet::new(),
            early: BTreeMap::new(),
            marks: BTreeMap::new(),
            replayed: BTreeSet::new(),
            health: Health { failing_since, ..Health::default() },
        };
        for row in waiting {
            if row.change > cursor {
                window.early.insert(row.change, row);
            } else {
                window.restore(&row, now);
            }
        }
        window
    }

    /// How many more changes may be read.
    #[must_use]
    pub fn room(&self) -> usize {
        READ_AHEAD.saturating_sub(self.open.len())
    }

    /// The last change that was read.
    #[must_use]
    pub fn read(&self) -> i64 {
        self.read
    }

    /// How many changes wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.stored
    }

    /// Whether there is no room for changes that should wait: the cursor stops before them.
    #[must_use]
    pub fn is_full(&self) -> bool {
        !self.held.is_empty()
    }

    /// Whether the endpoint itself is taken to fail.
    #[must_use]
    pub fn is_restrained(&self) -> bool {
        self.health.restraint.is_some()
    }

    /// How long no attempt has succeeded while some failed.
    #[must_use]
    pub fn failing_for(&self, now: Moment) -> Option<Duration> {
        self.health.failing_since.map(|since| now.saturating_sub(since))
    }

    /// Takes the next page of the feed, which goes as far as `upto`.
    pub fn admit(&mut self, page: impl IntoIterator<Item = Read>, upto: i64, now: Moment) {
        for change in page {
            if change.id <= self.read {
                continue;
            }
            self.read = change.id;
            if let Some(row) = self.early.remove(&change.id) {
                self.restore(&row, now);
            } else if change.wanted {
                self.open.insert(change.id);
                self.enqueue(change.id, change.group, Item::default());
            }
        }
        self.read = self.read.max(upto);
        // These are not in the feed any more. Their sender will find that out.
        let later = self.early.split_off(&(self.read + 1));
        for row in std::mem::replace(&mut self.early, later).into_values() {
            self.restore(&row, now);
        }
    }

    /// Takes what was given up and is to be sent after all, as far as there is room.
    pub fn replay(&mut self, rows: Vec<Waiting>, now: Moment) {
        for row in rows {
            let known =
                self.group_of.contains_key(&row.change) || self.early.contains_key(&row.change);
            if known || row.change > self.read || self.stored >= self.limits.max_waiting {
                continue;
            }
            self.stored += 1;
            self.replayed.insert(row.change);
            self.marks.insert(row.change, Mark::Waits);
            self.restore(&row, now);
        }
    }

    /// Takes at most `most` changes that may be sent now. The caller must report the result of each.
    pub fn take(&mut self, most: usize, now: Moment) -> Vec<i64> {
        if let Some(restraint) = self.health.restraint {
            if self.taken > 0 || now < restraint.next || most == 0 {
                return Vec::new();
            }
            // A change that was never tried says more about the endpoint than one that it refused before.
            let any = self.fresh.first().or(self.retries.first().map(|(_, id)| id)).copied();
            return any.into_iter().inspect(|id| self.begin(*id)).collect();
        }
        let mut taken = Vec::new();
        while taken.len() < most {
            // Those that failed before may take long again: some requests are left for the others.
            let may_retry = self.retrying < (self.limits.in_flight / 2).max(1);
            let retry = self.retries.first().filter(|(due, _)| may_retry && *due <= now);
            let Some(id) = retry.map(|(_, id)| id).or(self.fresh.first()).copied() else { break };
            self.begin(id);
            taken.push(id);
        }
        taken
    }

    /// One that was taken was not sent.
    pub fn give_back(&mut self, id: i64) {
        let Some(group) = self.end(id) else { return };
        self.arrange(&group);
    }

    /// One that was taken was sent.
    pub fn done(&mut self, id: i64) {
        self.health = Health::default();
        self.settle(id, Mark::Settled);
    }

    /// One that was taken cannot be sent: it is given up. So is one that has failed too often.
    pub fn give_up(&mut self, id: i64, failure: &str) {
        let Some(group) = self.group_of.get(&id) else { return };
        let queue = self.groups.get(group).expect("each change's group has a queue");
        let tries = queue.items.get(&id).expect("which has the change").tries;
        let (account, sid) = (group.account().to_owned(), group.sid().map(str::to_owned));
        let failure = failure.to_owned();
        self.settle(id, Mark::GivenUp(GivenUp { change: id, account, sid, tries, failure }));
    }

    /// One that was taken need not be sent: it is not there any more, or the filter leaves it out.
    pub fn skip(&mut self, id: i64) {
        self.settle(id, Mark::Settled);
    }

    /// Removes a change that is not in the feed any more. If it was taken, its sender finds that out.
    pub fn forget(&mut self, id: i64) {
        if self.early.remove(&id).is_some() {
            self.stored -= 1;
            self.marks.insert(id, Mark::Settled);
            return;
        }
        let queue = self.group_of.get(&id).and_then(|group| self.groups.get(group));
        if queue.is_some_and(|queue| queue.taken.is_none_or(|(taken, _)| taken != id)) {
            self.settle(id, Mark::Settled);
        }
    }

    /// One that was taken failed. `jitter` is a random number between 0 and 1. Whether it was given up.
    pub fn failed(&mut self, id: i64, failure: &str, now: Moment, jitter: f64) -> bool {
        let Some(group) = self.end(id) else { return false };
        self.health.failed(&group, now, self.taken == 0);
        let restrained = self.is_restrained();
        let queue = self.groups.get_mut(&group).expect("the change was taken from it");
        let item = queue.items.get_mut(&id).expect("the change was taken from it");
        // While everything fails, it says nothing about this change.
        item.tries = if restrained { item.tries.max(1) } else { item.tries + 1 };
        let tries = item.tries;
        if tries >= MOST_TRIES {
            self.give_up(id, failure);
            return true;
        }
        queue.due = Some(now + wait_after(tries, jitter));
        if item.stored {
            self.marks.insert(id, Mark::Waits);
        }
        let ids: Vec<i64> = queue.items.keys().copied().collect();
        self.store(ids);
        if self.is_full() {
            self.health.restrain(now);
        }
        self.arrange(&group);
        false
    }

    /// The first change that was read and is neither done nor waiting.
    #[must_use]
    pub fn first_open(&self) -> Option<i64> {
        self.open.first().copied()
    }

    /// Whether there is [progress](Self::progress).
    #[must_use]
    pub fn has_progress(&self) -> bool {
        self.cursor() != self.written || !self.marks.is_empty() || !self.replayed.is_empty()
    }

    /// What has not been written yet, if there is something.
    pub fn progress(&mut self, now: Moment) -> Option<Progress> {
        if !self.has_progress() {
            return None;
        }
        let mut progress = Progress {
            cursor: self.cursor(),
            failing_for: self.failing_for(now),
            replayed: std::mem::take(&mut self.replayed).into_iter().collect(),
            ..Progress::default()
        };
        for (change, mark) in std::mem::take(&mut self.marks) {
            match mark {
                Mark::Settled => progress.settled.push(change),
                Mark::GivenUp(given_up) => progress.given_up.push(given_up),
                Mark::Waits => progress.waiting.extend(self.row(change, now)),
            }
        }
        Some(progress)
    }

    /// Whether it writes nothing except that the lease lasts.
    #[must_use]
    pub fn no_progress(&self, now: Moment) -> Progress {
        Progress { cursor: self.written, failing_for: self.failing_for(now), ..Progress::default() }
    }

    /// The progress was written.
    pub fn written(&mut self, progress: &Progress) {
        self.written = self.written.max(progress.cursor);
    }

    /// Says that it is unknown whether the progress was written: it is written again, unless there is a newer one.
    pub fn unwritten(&mut self, progress: Progress) {
        let settled = progress.settled.into_iter().map(|id| (id, Mark::Settled));
        let given_up = progress.given_up.into_iter().map(|row| (row.change, Mark::GivenUp(row)));
        let waiting = progress.waiting.into_iter().map(|row| (row.change, Mark::Waits));
        for (id, mark) in settled.chain(given_up).chain(waiting) {
            self.marks.entry(id).or_insert(mark);
        }
        self.replayed.extend(progress.replayed);
    }

    /// When there may next be something to take.
    #[must_use]
    pub fn wakes_at(&self, now: Moment) -> Option<Moment> {
        let at = match self.health.restraint {
            Some(restraint) => Some(restraint.next),
            None => self.retries.first().map(|(due, _)| *due),
        };
        at.filter(|at| *at > now)
    }

    /// Each change up to there is done, written down, or will be with the next progress.
    fn cursor(&self) -> i64 {
        self.open.first().map_or(self.read, |first| first - 1).max(self.written)
    }

    fn row(&self, change: i64, now: Moment) -> Option<Waiting> {
        let group = self.group_of.get(&change)?;
        let queue = self.groups.get(group)?;
        let item = queue.items.get(&change).filter(|item| item.stored)?;
        let is_first = queue.items.first_key_value().is_some_and(|(first, _)| *first == change);
        let due = queue.due.filter(|_| is_first);
        Some(Waiting {
            change,
            account: group.account().to_owned(),
            sid: group.sid().map(str::to_owned),
            tries: item.tries,
            due_in: due.map(|due| due.saturating_sub(now)),
        })
    }

    /// Puts a row into its queue.
    fn restore(&mut self, row: &Waiting, now: Moment) {
        let group = Group::of(row.change, &row.account, row.sid.as_deref());
        let queue = self.groups.entry(group.clone()).or_default();
        let mut behind = Vec::new();
        if let Some(due) = row.due_in {
            queue.due.get_or_insert(now + due);
            behind.extend(queue.items.keys().copied());
        }
        self.enqueue(row.change, group, Item { tries: row.tries, stored: true });
        // What came before it in its SID, and is sent again after a crash, would hold the cursor.
        self.store(behind);
    }

    fn enqueue(&mut self, id: i64, group: Group, item: Item) {
        let queue = self.groups.entry(group.clone()).or_default();
        queue.items.insert(id, item);
        let is_failing = queue.due.is_some();
        self.group_of.insert(id, group.clone());
        if is_failing && !item.stored {
            self.store([id]);
        }
        self.arrange(&group);
    }

    /// Writes changes down, in the order in which they came, as far as there is room.
    fn store(&mut self, ids: impl IntoIterator<Item = i64>) {
        self.held.extend(ids);
        while self.stored < self.limits.max_waiting
            && let Some(id) = self.held.pop_first()
        {
            let group = self.group_of.get(&id).expect("what is held is in a queue");
            let queue = self.groups.get_mut(group).expect("and that is its group's");
            let item = queue.items.get_mut(&id).expect("which has it");
            if !item.stored {
                item.stored = true;
                self.stored += 1;
                self.open.remove(&id);
                self.marks.insert(id, Mark::Waits);
            }
        }
        // What is written down needs no room.
        let (groups, group_of) = (&self.groups, &self.group_of);
        self.held.retain(|id| {
            let queue = group_of.get(id).and_then(|group| groups.get(group));
            queue.and_then(|queue| queue.items.get(id)).is_some_and(|item| !item.stored)
        });
    }

    fn begin(&mut self, id: i64) {
        let group = self.group_of.get(&id).expect("it stands first in a queue");
        let queue = self.groups.get_mut(group).expect("that of its group");
        match queue.place.take() {
            Some(Place::Fresh(id)) => _ = self.fresh.remove(&id),
            Some(Place::Retry(due, id)) => _ = self.retries.remove(&(due, id)),
            None => {}
        }
        let retrying = queue.due.is_some();
        queue.taken = Some((id, retrying));
        self.taken += 1;
        self.retrying += usize::from(retrying);
    }

    /// One is not being sent any more. Its group, if it was.
    fn end(&mut self, id: i64) -> Option<Group> {
        let group = self.group_of.get(&id)?.clone();
        let queue = self.groups.get_mut(&group)?;
        let (_, retrying) = queue.taken.take_if(|(taken, _)| *taken == id)?;
        self.taken -= 1;
        self.retrying -= usize::from(retrying);
        Some(group)
    }

    /// One is out of the way; the next of its group follows.
    fn settle(&mut self, id: i64, mark: Mark) {
        let was_taken = self.end(id).is_some();
        let Some(group) = self.group_of.remove(&id) else { return };
        let queue = self.groups.get_mut(&group).expect("each change's group has a queue");
        let was_first = queue.items.first_key_value().is_some_and(|(first, _)| *first == id);
        let item = queue.items.remove(&id).expect("which has the change");
        self.open.remove(&id);
        self.held.remove(&id);
        if was_taken || was_first {
            queue.due = None;
            queue.items.keys().for_each(|id| _ = self.held.remove(id));
        }
        self.stored -= usize::from(item.stored);
        if item.stored || matches!(mark, Mark::GivenUp(_)) {
            self.marks.insert(id, mark);
        }
        self.arrange(&group);
        self.store([]);
    }

    /// Puts a group where it belongs: the first of its changes may be sent now, later, or not until what is being
    /// sent has ended.
    fn arrange(&mut self, group: &Group) {
        let Some(queue) = self.groups.get_mut(group) else { return };
        let first = queue.items.first_key_value().map(|(id, _)| *id);
        let place = first.filter(|_| queue.taken.is_none()).map(|id| match queue.due {
            Some(due) => Place::Retry(due, id),
            None => Place::Fresh(id),
        });
        if queue.place != place {
            match std::mem::replace(&mut queue.place, place) {
                Some(Place::Fresh(id)) => _ = self.fresh.remove(&id),
                Some(Place::Retry(due, id)) => _ = self.retries.remove(&(due, id)),
                None => {}
            }
            match place {
                Some(Place::Fresh(id)) => _ = self.fresh.insert(id),
                Some(Place::Retry(due, id)) => _ = self.retries.insert((due, id)),
                None => {}
            }
        }
        if queue.items.is_empty() {
            self.groups.remove(group);
        }
    }
}

/// The wait after this many tries, with jitter: between three quarters and five quarters of it.
fn wait_after(tries: u32, jitter: f64) -> Duration {
    let doubled = FIRST_WAIT.saturating_mul(1 << tries.saturating_sub(1).min(16));
    doubled.min(LONGEST_WAIT).mul_f64(0.75 + jitter.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests;
