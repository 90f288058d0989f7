//! [`LogState`]: what waits in which file, and how far all of it is settled. Values only, no I/O.

use std::collections::BTreeMap;

/// A place in a local log: a file, and where in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub(super) struct RecordPlace {
    pub(super) number: u64,
    pub(super) offset: u64,
}

/// A record of a local log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct RecordId {
    pub(super) place: RecordPlace,
    pub(super) length: u64,
}

/// What waits.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Fill {
    /// Events.
    pub events: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// How far everything is settled. Records before it are no longer needed once the store has synced them.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Watermark {
    pub(super) place: RecordPlace,
    /// What lies before it and was not released yet.
    pub(super) bytes: u64,
}

impl Watermark {
    /// How many bytes were settled before it and are not released.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// A file with events.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct LogFile {
    /// The end of its last record, which is synced.
    pub(super) end: u64,
    pub(super) waits: Fill,
}

#[derive(Debug, Default)]
pub(super) struct LogState {
    pub(super) parts: BTreeMap<u64, LogFile>,
    /// The one that is written.
    pub(super) active: Option<u64>,
    waits: Fill,
    settled: Watermark,
    /// Bytes that are settled behind the watermark.
    ahead: u64,
    released: RecordPlace,
}

impl LogState {
    /// Goes on where an earlier process was.
    pub(super) fn starting_at(released: RecordPlace) -> Self {
        let settled = Watermark { place: released, bytes: 0 };
        Self { settled, released, ..Self::default() }
    }

    /// A file that an earlier process left.
    pub(super) fn found(&mut self, number: u64, part: LogFile) {
        self.parts.insert(number, part);
        self.waits += part.waits;
    }

    /// Records were appended and synced.
    pub(super) fn appended(&mut self, number: u64, end: u64, more: Fill) {
        self.active = Some(number);
        let part = self.parts.entry(number).or_default();
        part.end = end;
        part.waits += more;
        self.waits += more;
    }

    pub(super) fn waits(&self) -> Fill {
        self.waits
    }

    /// What it takes on the disk, as far as that is bounded.
    pub(super) fn held(&self) -> u64 {
        self.waits.bytes + self.ahead + self.settled.bytes
    }

    /// The place to read next, and the end of what may be read.
    pub(super) fn next(&self, from: RecordPlace) -> Option<(RecordPlace, u64)> {
        self.parts.range(from.number..).find_map(|(&number, part)| {
            let offset = if number == from.number { from.offset } else { 0 };
            (offset < part.end).then_some((RecordPlace { number, offset }, part.end))
        })
    }

    /// These records are stored, or dead letters.
    pub(super) fn settle(&mut self, ids: impl Iterator<Item = RecordId>) {
        for RecordId { place, length } in ids {
            let one = Fill { events: 1, bytes: length };
            // A file in quarantine no longer counts.
            if let Some(part) = self.parts.get_mut(&place.number) {
                part.waits -= one;
                self.waits -= one;
                self.ahead += length;
            }
        }
    }

    /// Everything before this place is settled.
    pub(super) fn advance(&mut self, to: RecordPlace) {
        self.settled.place = to;
        self.settled.bytes += std::mem::take(&mut self.ahead);
    }

    /// What is settled no longer counts as held, though its file is still there.
    pub(super) fn forgive(&mut self) {
        self.settled.bytes = 0;
    }

    pub(super) fn settled(&self) -> Watermark {
        self.settled
    }

    /// Whether something is settled and not released.
    pub(super) fn is_behind(&self) -> bool {
        self.settled.place > self.released
    }

    /// Ends the file that is written, if all of it is released; up to where that is.
    pub(super) fn finish_active(&mut self) -> Option<Watermark> {
        let place = self.released;
        let number = self.active?;
        let end = self.parts.get(&number).map_or(0, |part| part.end);
        let is_done = number < place.number || (number == place.number && end <= place.offset);
        is_done.then(|| {
            self.active = None;
            Watermark { place, bytes: 0 }
        })
    }

    /// What lies before the watermark is needed no more: the files that can go.
    pub(super) fn release(&mut self, watermark: Watermark) -> Vec<u64> {
        self.settled.bytes = self.settled.bytes.saturating_sub(watermark.bytes);
        self.released = self.released.max(watermark.place);
        let place = self.released;
        let done = |(&number, part): (&u64, &LogFile)| {
            let passed =
                number < place.number || (number == place.number && part.end <= place.offset);
            (passed && self.active != Some(number)).then_some(number)
        };
        let done: Vec<u64> = self.parts.iter().filter_map(done).collect();
        done.iter().for_each(|number| {
            self.parts.remove(number);
        });
        done
    }

    /// A file is there no more.
    pub(super) fn lose(&mut self, number: u64) {
        if let Some(part) = self.parts.remove(&number) {
            self.waits -= part.waits;
        }
        if self.active == Some(number) {
            self.active = None;
        }
    }
}

impl std::ops::AddAssign for Fill {
    fn add_assign(&mut self, more: Self) {
        self.events += more.events;
        self.bytes += more.bytes;
    }
}

impl std::ops::SubAssign for Fill {
    fn sub_assign(&mut self, less: Self) {
        self.events = self.events.saturating_sub(less.events);
        self.bytes = self.bytes.saturating_sub(less.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(number: u64, offset: u64) -> RecordPlace {
        RecordPlace { number, offset }
    }

    fn id(number: u64, offset: u64) -> RecordId {
        RecordId { place: at(number, offset), length: 10 }
    }

    #[test]
    fn a_file_goes_when_all_of_it_is_settled_and_released_and_it_is_not_written() {
        let mut state = LogState::default();
        state.appended(1, 20, Fill { events: 2, bytes: 20 });
        state.appended(2, 10, Fill { events: 1, bytes: 10 });
        state.settle([id(1, 0), id(1, 10)].into_iter());
        assert_eq!((state.waits().events, state.held()), (1, 30));
        state.advance(at(1, 20));
        assert_eq!(state.release(state.settled()), [1]);
        assert_eq!(state.held(), 10);
        state.settle([id(2, 0)].into_iter());
        state.advance(at(2, 10));
        assert!(state.release(state.settled()).is_empty(), "it is written");
        assert_eq!((state.waits(), state.held()), (Fill::default(), 0));
    }

    #[test]
    fn reading_goes_on_in_the_next_file() {
        let mut state = LogState::default();
        state.appended(3, 20, Fill { events: 2, bytes: 20 });
        state.appended(5, 10, Fill { events: 1, bytes: 10 });
        assert_eq!(state.next(RecordPlace::default()), Some((at(3, 0), 20)));
        assert_eq!(state.next(at(3, 10)), Some((at(3, 10), 20)));
        assert_eq!(state.next(at(3, 20)), Some((at(5, 0), 10)));
        assert_eq!(state.next(at(5, 10)), None);
    }

    #[test]
    fn the_file_that_is_written_ends_only_when_all_of_it_is_released() {
        let mut state = LogState::default();
        assert_eq!(state.finish_active(), None);
        state.appended(1, 20, Fill { events: 2, bytes: 20 });
        state.settle([id(1, 0), id(1, 10)].into_iter());
        state.advance(at(1, 20));
        assert_eq!(state.finish_active(), None, "it is settled, and perhaps not synced");
        state.release(state.settled());
        let released = state.finish_active().expect("all of it is released");
        assert_eq!(state.release(released), [1]);
        assert_eq!((state.waits(), state.held()), (Fill::default(), 0));
    }

    #[test]
    fn what_is_lost_waits_no_more() {
        let mut state = LogState::default();
        state.appended(1, 20, Fill { events: 2, bytes: 20 });
        state.settle([id(1, 0)].into_iter());
        state.lose(1);
        state.settle([id(1, 10)].into_iter());
        assert_eq!(state.waits(), Fill::default());
    }
}
