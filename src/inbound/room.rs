//! [`Room`]: the memory for bodies whose signature is not known yet, all of them together. Without a bound,
//! as many connections as there may be could each hold one, and the system would kill the process.
//!
//! When it is used up, the body that has held its share for the longest gives way: an honest body arrives within
//! milliseconds, so it is never the oldest.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, Semaphore, SemaphorePermit};

/// The memory, in bytes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Room(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    bytes: usize,
    /// A permit is a byte. Bytes are free once the body that held them is gone, not before: when thousands of
    /// bodies come at once, those that were asked to give way are polled long after.
    free: Semaphore,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    holders: HashMap<u64, Holder>,
    /// The bodies that hold bytes and were not asked to give way, the oldest first, so that none of thousands is
    /// looked at twice.
    unasked: BTreeSet<u64>,
    /// Bytes of those that were asked to give way.
    owed: usize,
    /// Bytes that are waited for.
    wanted: usize,
}

#[derive(Debug)]
struct Holder {
    bytes: usize,
    asked: bool,
    gives_way: Arc<Notify>,
}

/// What one body holds, until this is dropped or released.
#[derive(Debug)]
pub(super) struct Held {
    room: Room,
    number: u64,
    gives_way: Arc<Notify>,
}

/// The body would not fit even if everything else gave way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct NoRoom;

impl Room {
    /// A room of this many bytes.
    #[must_use]
    pub fn of(bytes: usize) -> Self {
        let bytes = bytes.min(Semaphore::MAX_PERMITS);
        let free = Semaphore::new(bytes);
        Self(Arc::new(Shared { bytes, free, state: Mutex::default() }))
    }

    /// A hold on nothing yet.
    pub(super) fn hold(&self) -> Held {
        let gives_way = Arc::<Notify>::default();
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        let holder = Holder { bytes: 0, asked: false, gives_way: Arc::clone(&gives_way) };
        state.holders.insert(number, holder);
        drop(state);
        Held { room: self.clone(), number, gives_way }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn release(&self, number: u64) {
        let mut state = self.state();
        let Some(Holder { bytes, asked, .. }) = state.holders.remove(&number) else { return };
        state.unasked.remove(&number);
        if asked {
            state.owed -= bytes;
        }
        drop(state);
        self.0.free.add_permits(bytes);
    }
}

impl State {
    /// Asks the oldest but this one to give way, until there will be enough for everything that waits.
    fn ask(&mut self, number: u64, free: usize) {
        while free + self.owed < self.wanted {
            let oldest = self.unasked.iter().copied().find(|other| *other != number);
            let Some(oldest) = oldest else { return };
            self.unasked.remove(&oldest);
            if let Some(holder) = self.holders.get_mut(&oldest) {
                holder.asked = true;
                holder.gives_way.notify_one();
                self.owed += holder.bytes;
            }
        }
    }
}

/// Bytes that are waited for, until they are there or the wait is given up.
struct Waiting<'a> {
    room: &'a Room,
    bytes: usize,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.room.state().wanted -= self.bytes;
    }
}

impl Held {
    /// Takes this many more bytes; waits, if necessary, until others have given way.
    pub(super) async fn grow(&self, bytes: usize) -> Result<(), NoRoom> {
        let permits = u32::try_from(bytes).map_err(|_| NoRoom)?;
        let taken = match self.room.0.free.try_acquire_many(permits) {
            Ok(taken) => taken,
            Err(_) => self.wait_for(permits).await?,
        };
        let mut state = self.room.state();
        let holder = state.holders.get_mut(&self.number).ok_or(NoRoom)?;
        holder.bytes += bytes;
        match holder.asked {
            true => state.owed += bytes,
            false => {
                state.unasked.insert(self.number);
            }
        }
        taken.forget();
        Ok(())
    }

    async fn wait_for(&self, permits: u32) -> Result<SemaphorePermit<'_>, NoRoom> {
        let (room, bytes) = (&self.room, permits as usize);
        let _waiting = {
            let mut state = room.state();
            let holder = state.holders.get(&self.number).ok_or(NoRoom)?;
            if holder.bytes + bytes > room.0.bytes {
                return Err(NoRoom);
            }
            state.wanted += bytes;
            state.ask(self.number, room.0.free.available_permits());
            Waiting { room, bytes }
        };
        room.0.free.acquire_many(permits).await.map_err(|_| NoRoom)
    }

    /// Waits until it must give way.
    pub(super) async fn gives_way(&self) {
        self.gives_way.notified().await;
    }

    /// Gives it back early, because something else bounds the body from here on.
    pub(super) fn release(&self) {
        self.room.release(self.number);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn free(room: &Room) -> usize {
        room.0.free.available_permits()
    }

    #[tokio::test]
    async fn the_oldest_gives_way_and_what_it_held_is_free_once_it_is_gone() {
        let room = Room::of(100);
        let (empty, one, two) = (room.hold(), room.hold(), room.hold());
        assert_eq!([one.grow(60).await, two.grow(40).await], [Ok(()); 2]);
        let newest = room.hold();
        let mut growing = Box::pin(newest.grow(10));
        assert_eq!(growing.as_mut().now_or_never(), None, "the memory is still in use");
        assert!(one.gives_way().now_or_never().is_some());
        assert!(two.gives_way().now_or_never().is_none());
        assert!(empty.gives_way().now_or_never().is_none(), "it has nothing to give");
        drop(one);
        assert_eq!(growing.await, Ok(()));
        assert_eq!(free(&room), 50);
        // No body gives way to one that would never fit.
        assert_eq!(newest.grow(91).await, Err(NoRoom));
        assert!(two.gives_way().now_or_never().is_none());
        drop((empty, two, newest));
        assert_eq!((free(&room), room.state().holders.len()), (100, 0));
    }

    #[tokio::test]
    async fn as_many_give_way_as_all_that_wait_need() {
        let room = Room::of(100);
        let old: Vec<_> = (0..10).map(|_| room.hold()).collect();
        for held in &old {
            assert_eq!(held.grow(10).await, Ok(()));
        }
        let new: Vec<_> = (0..3).map(|_| room.hold()).collect();
        let mut growing: Vec<_> = new.iter().map(|held| Box::pin(held.grow(10))).collect();
        for growing in &mut growing {
            assert_eq!(growing.as_mut().now_or_never(), None);
        }
        let asked = |held: &Held| held.gives_way().now_or_never().is_some();
        assert_eq!(old.iter().filter(|held| asked(held)).count(), 3);
        // One that waits no longer needs nothing.
        drop(growing.pop());
        assert_eq!(room.state().wanted, 20);
        drop(old);
        for growing in growing {
            assert_eq!(growing.await, Ok(()));
        }
        let state = room.state();
        assert_eq!((state.wanted, state.owed, state.unasked.len()), (0, 0, 2));
    }

    #[tokio::test]
    async fn what_is_released_is_free_once() {
        let room = Room::of(10);
        let held = room.hold();
        assert_eq!(held.grow(10).await, Ok(()));
        held.release();
        drop(held);
        assert_eq!(free(&room), 10);
    }
}
