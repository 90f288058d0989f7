//! [`Purge`]: deletes what is known of a person, or of a time, wherever it lies.
//!
//! In steps, each of which looks at a bounded number of rows: the caller says where to go on, so
//! that nothing here remembers anything, and a purge that was cut short is simply repeated.

mod place;
mod selection;

pub use self::place::Place;
pub use self::selection::Selection;
pub(in crate::backend) use self::selection::ignores_case;
use super::local_log::LocalLog;
use super::redis::{Connector, Housekeeping, Names};
use super::{Action, BackendError, DeadLetters, RowPurge};

/// Rows that one step looks at.
pub(super) const ROWS_PER_STEP: u32 = 500;
/// Dead letters that one step looks at: their bodies come along.
const DEAD_LETTERS_PER_STEP: usize = 50;

/// Whether what is found is deleted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Only say what would be.
    Count,
    /// Delete for good.
    Delete,
}

/// How much was deleted, or would be.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Found {
    /// Rows of `events`.
    pub events: u64,
    /// Rows of `statuses`.
    pub statuses: u64,
    /// Dead letters of the stream.
    pub dead_letters: u64,
    /// Dead letters of the local log of this process.
    pub spool: u64,
    /// Notifications, with their attempts.
    pub notifications: u64,
    /// Notifications that were selected and stay for now, because a request to send them is on its way.
    pub in_writing: u64,
}

impl std::ops::AddAssign for Found {
    fn add_assign(&mut self, more: Self) {
        self.events += more.events;
        self.statuses += more.statuses;
        self.dead_letters += more.dead_letters;
        self.spool += more.spool;
        self.notifications += more.notifications;
        self.in_writing += more.in_writing;
    }
}

/// How much is still on its way to the store, of all people: its contents are not looked at.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Waiting {
    /// The number in the stream.
    pub stream: u64,
    /// The number in the local log of this process.
    pub spool: u64,
}

/// Deletes from everything that this process can reach.
#[derive(Clone, Debug)]
pub struct Purge {
    /// The store of events and statuses.
    pub rows: RowPurge,
    /// What could not be stored.
    pub dead_letters: DeadLetters,
    /// The stream before the store, if there is one.
    pub stream: Option<(Connector, Names)>,
    /// The local log of a process that receives.
    pub log: Option<LocalLog>,
}

impl Purge {
    /// Looks at what comes next, and deletes what is selected of it; where to go on, if there is
    /// more to look at.
    ///
    /// # Errors
    /// The backend does not answer in time. What the step has found is deleted or not; asking again
    /// is right.
    pub async fn step(
        &self,
        selection: &Selection,
        place: Place,
        mode: Mode,
    ) -> Result<(Found, Option<Place>), BackendError> {
        let (found, more) = self.page(selection, place.clone(), mode).await?;
        let next = more.or_else(|| place.next());
        if next.is_none() && mode == Mode::Delete {
            self.finish().await?;
        }
        Ok((found, next))
    }

    /// What lies at a place, and where its next page begins, unless that was all.
    async fn page(
        &self,
        selection: &Selection,
        place: Place,
        mode: Mode,
    ) -> Result<(Found, Option<Place>), BackendError> {
        Ok(match place {
            Place::Notifications(after) => {
                let after = after.unwrap_or_default();
                let (found, last) = self.rows.notifications(selection, &after, mode).await?;
                (found, last.map(|id| Place::Notifications(Some(id))))
            }
            Place::Events(after) => {
                let (found, last) = self.rows.events(selection, after, mode).await?;
                (found, last.map(|at| Place::Events(Some(at))))
            }
            Place::Statuses(after) => {
                let (statuses, last) = self.rows.statuses(selection, after, mode).await?;
                let found = Found { statuses, ..Found::default() };
                (found, last.map(|at| Place::Statuses(Some(at))))
            }
            Place::DeadLetters(after) => {
                let from = self.dead_letters.of_stream();
                let (dead_letters, last) =
                    purge_dead_letters(&from, selection, after, mode).await?;
                let found = Found { dead_letters, ..Found::default() };
                (found, last.map(|id| Place::DeadLetters(Some(id))))
            }
            Place::Spool(after) => {
                let from = self.dead_letters.of_local_log();
                let (spool, last) = purge_dead_letters(&from, selection, after, mode).await?;
                let found = Found { spool, ..Found::default() };
                (found, last.map(|id| Place::Spool(Some(id))))
            }
        })
    }

    /// Takes what was deleted out of the files that are done with: of the log it has gone through, and
    /// of the embedded store.
    async fn finish(&self) -> Result<(), BackendError> {
        let settled = self.log.as_ref().map(LocalLog::settled);
        let is_synced = self.rows.finish().await?;
        if let (Some(log), Some(settled)) = (&self.log, settled) {
            if is_synced {
                // Only that: what was settled since then may not be synced.
                log.release(settled).await;
            }
            log.forget().await?;
        }
        Ok(())
    }

    /// What is still on its way.
    pub async fn waiting(&self) -> Result<Waiting, BackendError> {
        let stream = match &self.stream {
            Some((connector, names)) => {
                let backlog = Housekeeping::new(connector, names.clone()).backlog().await?;
                backlog.unread.saturating_add(backlog.pending)
            }
            None => 0,
        };
        let spool = self.log.as_ref().map_or(0, |log| log.fill().events);
        Ok(Waiting { stream, spool })
    }
}

async fn purge_dead_letters(
    from: &DeadLetters,
    selection: &Selection,
    after: Option<String>,
    mode: Mode,
) -> Result<(u64, Option<String>), BackendError> {
    let page = from.list(after.as_deref(), DEAD_LETTERS_PER_STEP).await?;
    let last = page.last().filter(|_| page.len() == DEAD_LETTERS_PER_STEP);
    let last = last.map(|dead_letter| dead_letter.id.clone());
    let mut found = 0;
    for dead_letter in page {
        let selected = match &dead_letter.event {
            Ok(event) => selection.takes(event),
            Err(_) => selection.takes_fields(&dead_letter.fields, dead_letter.at),
        };
        found += u64::from(match (selected, mode) {
            (true, Mode::Delete) => from.resolve(&dead_letter.id, Action::Purge).await?,
            (selected, _) => selected,
        });
    }
    Ok((found, last))
}
