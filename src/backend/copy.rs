//! What `offhook copy` moves from an embedded store into Postgres, and its progress, as values.
//!
//! A status is decoded, because it is merged with what the target knows of its SID. An event is carried column by column
//! as text, so that a copy neither loses nor changes one, and a row of the outbox as JSON.

mod event;
mod outbox;

pub use self::event::{CarriedEvent, Cell};
pub use self::outbox::{COPIED, OutboxKeys, OutboxRow, OutboxTable};
use crate::clock::Timestamp;
use crate::event::{CurrentStatus, Cursor};
use crate::labels::labels;
use crate::twilio::address::kept;

/// Most rows of one transaction. A worker that stores the same SIDs waits for it, and it takes some 30 ms.
pub(super) const ROWS_PER_PAGE: u32 = 500;
/// Bytes after which a page takes no further row. A body may have 64 KiB, and its parameters are stored beside it.
pub(super) const BYTES_PER_PAGE: usize = 4 * 1024 * 1024;

labels! {
    /// What is being copied. The order is that of the variants.
    pub enum Step {
        /// The statuses. They come first, so that callbacks that the target stores meanwhile find the status of their SID.
        Statuses = "statuses",
        /// The events.
        Events = "events",
        /// The dead letters.
        DeadLetters = "dead_letters",
        /// Nothing more: everything was copied.
        Done = "done",
    }
}

/// The last row of a page: the columns that rows are ordered by.
pub type Place = Vec<String>;

/// How far a copy has come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Progress {
    /// What is being copied.
    pub step: Step,
    /// The last row of the step that was copied; empty before the first.
    pub after: Place,
    /// How much was copied.
    pub copied: Copied,
}

/// How many rows were copied, over all runs of one copy.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Copied {
    /// Statuses that were merged into the target's.
    pub statuses: u64,
    /// Events that the target did not have.
    pub events: u64,
    /// Events that the target had already.
    pub duplicates: u64,
}

impl std::ops::AddAssign for Copied {
    fn add_assign(&mut self, more: Self) {
        self.statuses += more.statuses;
        self.events += more.events;
        self.duplicates += more.duplicates;
    }
}

/// Which source it is, and in which state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Origin {
    /// The end of its change feed, whose id no other store has.
    pub feed: Cursor,
    /// The last id that it ever gave to a change. Each event that it stores makes one, so that another number shows that
    /// the source has run since.
    pub state: i64,
    /// Until when retention trusted its clock, by table.
    pub trusted: Vec<(String, Timestamp)>,
}

/// A row of `statuses`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CopiedStatus {
    /// What is known of the SID.
    pub current: CurrentStatus,
    /// When something was last stored about it; `None` if a version wrote it that did not keep this.
    pub stored_at: Option<Timestamp>,
}

impl CopiedStatus {
    /// The row as the target stores it, whose indexes have no room for a very long address.
    #[must_use]
    pub fn for_target(mut self) -> Self {
        for end in [&mut self.current.from, &mut self.current.to] {
            *end = end.as_deref().map(|address| kept(address).into_owned());
        }
        self
    }

    /// Its place among the rows of the source.
    #[must_use]
    pub fn place(&self) -> Place {
        vec![self.current.sid.clone(), self.current.account.clone()]
    }

    /// The time that retention counts its age from.
    #[must_use]
    pub fn age_from(&self) -> Timestamp {
        self.stored_at.unwrap_or(self.current.updated)
    }

    /// Whether the target knows everything that this row says: merging it again would change nothing.
    #[must_use]
    pub fn is_in(&self, target: &CurrentStatus) -> bool {
        target.clone().merge(self.current.clone()) == *target
    }
}

/// What the source has not forwarded yet to one of its endpoints.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unforwarded {
    /// The name of the forward.
    pub name: String,
    /// Changes that it has not come to.
    pub behind: u64,
    /// Changes that the endpoint did not take and that are tried again.
    pub waiting: u64,
    /// Changes that were given up.
    pub given_up: u64,
}

impl Unforwarded {
    /// Whether there is anything that the endpoint has not got.
    #[must_use]
    pub fn is_some(&self) -> bool {
        self.behind + self.waiting + self.given_up > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Position, Resource};

    fn row(status: &str, rank: u8) -> CopiedStatus {
        let at = Timestamp::from_micros(1_000_000);
        let position =
            Position { rank, sequence: None, occurred_at: None, status: status.to_owned() };
        let current = CurrentStatus {
            sid: "CA1".to_owned(),
            resource: Resource::Call,
            account: "AC1".to_owned(),
            position,
            from: Some(format!("sip:{}", "a".repeat(300))),
            to: None,
            direction: None,
            duration: None,
            error: None,
            own: None,
            terminals: 0,
            first_seen: at,
            updated: at,
        };
        CopiedStatus { current, stored_at: None }
    }

    #[test]
    fn a_status_is_in_the_target_if_merging_it_again_would_change_nothing() {
        let check = |source: &CopiedStatus, target: &CopiedStatus, expected: bool| {
            assert_eq!(source.is_in(&target.current), expected, "{source:?} in {target:?}");
        };
        let (ringing, completed) = (row("ringing", 20), row("completed", 80));
        check(&ringing, &ringing, true);
        check(&ringing, &completed, true);
        check(&completed, &ringing, false);
        let mut later = completed.clone();
        later.current.first_seen = Timestamp::from_micros(2_000_000);
        check(&completed, &later, false);
    }

    #[test]
    fn an_address_is_cut_to_what_an_index_of_the_target_takes() {
        let from = row("ringing", 20).for_target().current.from.expect("it has one");
        assert_eq!(from.chars().count(), 256);
    }

    #[test]
    fn a_row_grows_old_by_when_it_was_stored() {
        let mut row = row("ringing", 20);
        assert_eq!(row.age_from(), row.current.updated);
        row.stored_at = Some(Timestamp::from_micros(7));
        assert_eq!(row.age_from(), Timestamp::from_micros(7));
    }
}
