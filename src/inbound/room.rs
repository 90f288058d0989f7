//! [`Room`]: the memory for bodies whose signature is not known yet, all of them together. Without a bound,
//! as many connections as there may be could each hold one, and the system would kill the process.
//!
//! When there is none left, whoever has held some for the longest gives it up: an honest body is there
//! within milliseconds, so that it is never the oldest.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The memory, in bytes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Room(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    free: usize,
    next: u64,
    /// The oldest first.
    holders: BTreeMap<u64, Holder>,
}

#[derive(Debug)]
struct Holder {
    bytes: usize,
    gives_way: Arc<Notify>,
}

/// What one body holds, until this is dropped or released.
#[derive(Debug)]
pub(super) struct Held {
    room: Room,
    number: u64,
    gives_way: Arc<Notify>,
}

/// It gave way, or is larger than all of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct NoRoom;

impl Room {
    /// Of so many bytes.
    #[must_use]
    pub fn of(bytes: usize) -> Self {
        Self(Arc::new(Mutex::new(State { free: bytes, next: 0, holders: BTreeMap::new() })))
    }

    /// A hold on nothing yet.
    pub(super) fn hold(&self) -> Held {
        let gives_way = Arc::<Notify>::default();
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        state.holders.insert(number, Holder { bytes: 0, gives_way: Arc::clone(&gives_way) });
        drop(state);
        Held { room: self.clone(), number, gives_way }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn release(&mut self, number: u64) {
        if let Some(holder) = self.holders.remove(&number) {
            self.free += holder.bytes;
        }
    }

    /// The oldest that holds anything, but for this one.
    fn oldest_but(&self, number: u64) -> Option<u64> {
        let mut holders = self.holders.iter();
        holders
            .find(|(other, holder)| **other != number && holder.bytes > 0)
            .map(|(other, _)| *other)
    }
}

impl Held {
    /// Takes so many more, from others if need be.
    pub(super) fn grow(&self, bytes: usize) -> Result<(), NoRoom> {
        let mut state = self.room.state();
        while state.free < bytes {
            let oldest = state.oldest_but(self.number).ok_or(NoRoom)?;
            if let Some(holder) = state.holders.get(&oldest) {
                holder.gives_way.notify_one();
            }
            state.release(oldest);
        }
        let holder = state.holders.get_mut(&self.number).ok_or(NoRoom)?;
        holder.bytes += bytes;
        state.free -= bytes;
        Ok(())
    }

    /// Until it must give way.
    pub(super) async fn gives_way(&self) {
        self.gives_way.notified().await;
    }

    /// Gives it back before its time: from here on somebody else bounds it.
    pub(super) fn release(&self) {
        self.room.state().release(self.number);
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

    #[test]
    fn the_oldest_gives_way_and_what_it_held_is_free() {
        let room = Room::of(100);
        let (empty, one, two) = (room.hold(), room.hold(), room.hold());
        assert_eq!([one.grow(60), two.grow(40)], [Ok(()); 2]);
        let newest = room.hold();
        assert_eq!(newest.grow(10), Ok(()));
        assert!(one.gives_way().now_or_never().is_some());
        assert!(two.gives_way().now_or_never().is_none());
        assert!(empty.gives_way().now_or_never().is_none(), "it has nothing to give");
        assert_eq!(one.grow(1), Err(NoRoom), "it has given way");
        assert_eq!(room.state().free, 50);
        // Nobody gives way to what would never fit.
        assert_eq!(newest.grow(200), Err(NoRoom));
        drop((empty, one, two, newest));
        let state = room.state();
        assert_eq!((state.free, state.holders.len()), (100, 0));
    }

    #[test]
    fn what_is_released_is_free_once() {
        let room = Room::of(10);
        let held = room.hold();
        assert_eq!(held.grow(10), Ok(()));
        held.release();
        drop(held);
        assert_eq!(room.state().free, 10);
    }
}
