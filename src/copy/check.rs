//! [`Check`]: compares pages of the source with the rows of the target, as values.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Compared, Kept};
use crate::backend::copy::{CarriedEvent, CopiedStatus, OutboxRow};
use crate::clock::{Clock, Timestamp};
use crate::event::CurrentStatus;

/// Compares rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Check {
    /// How long the target keeps rows.
    pub(super) kept: Kept,
    /// What their age is measured by.
    pub(super) clock: Clock,
}

type ById<T> = BTreeMap<(String, String), T>;

/// How a row of the source stands in the target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Found {
    Same,
    Other,
    Missing,
    /// It is missing, and older than the target keeps rows.
    Expired,
}

impl Check {
    /// The target must know all that a status says.
    pub(super) fn statuses(
        &self,
        page: &[CopiedStatus],
        there: &ById<CurrentStatus>,
        compared: &mut Compared,
    ) {
        for row in page {
            let (sid, account) = row.current.id();
            let found = match there.get(&(sid.to_owned(), account.to_owned())) {
                Some(target) if row.is_in(target) => Found::Same,
                Some(_) => Found::Other,
                None => self.missing(Some(row.age_from()), self.kept.statuses),
            };
            note(compared, found, sid);
        }
    }

    /// The target must have each event.
    pub(super) fn events(
        &self,
        page: &[CarriedEvent],
        there: &ById<CarriedEvent>,
        compared: &mut Compared,
    ) {
        for row in page {
            let (key, account) = row.id();
            let found = match there.get(&(key.to_owned(), account.to_owned())) {
                Some(target) if row.is_in(target) => Found::Same,
                Some(_) => Found::Other,
                None => self.missing(row.age_from(), self.kept.events),
            };
            note(compared, found, key);
        }
    }

    /// The target must have each of these; `missing`: the positions of those that it has not.
    pub(super) fn outbox(&self, page: &[OutboxRow], missing: &[usize], compared: &mut Compared) {
        for (at, row) in page.iter().enumerate() {
            let found = match missing.contains(&at) {
                true => self.missing(row.age_from(), self.kept.events),
                false => Found::Same,
            };
            note(compared, found, row.name());
        }
    }

    fn missing(&self, since: Option<Timestamp>, kept: Option<Duration>) -> Found {
        let cutoff = kept.map(|kept| self.clock.now().before(kept));
        match cutoff.zip(since).is_some_and(|(cutoff, since)| since < cutoff) {
            true => Found::Expired,
            false => Found::Missing,
        }
    }
}

fn note(compared: &mut Compared, found: Found, name: &str) {
    compared.rows += 1;
    match found {
        Found::Same => {}
        Found::Expired => compared.expired += 1,
        Found::Missing => {
            compared.missing += 1;
            compared.name(format!("{name} is missing"));
        }
        Found::Other => {
            compared.differing += 1;
            compared.name(format!("{name} differs"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Position, Resource};

    fn status(sid: &str, status: &str, rank: u8, second: i64) -> CopiedStatus {
        let at = Timestamp::from_micros(second * 1_000_000);
        let position =
            Position { rank, sequence: None, occurred_at: None, status: status.to_owned() };
        let current = CurrentStatus {
            sid: sid.to_owned(),
            resource: Resource::Call,
            account: "AC1".to_owned(),
            position,
            from: None,
            to: None,
            direction: None,
            duration: None,
            error: None,
            own: None,
            terminals: 0,
            first_seen: at,
            updated: at,
        };
        CopiedStatus { current, stored_at: Some(at) }
    }

    #[test]
    fn what_is_missing_or_behind_is_named_and_what_grew_too_old_is_not() {
        let clock = Clock::Fixed(Timestamp::from_micros(1_000_000_000));
        let kept = Kept { statuses: Some(Duration::from_secs(100)), events: None };
        let row = |sid: &str, rank, second| status(sid, "ringing", rank, second);
        let source =
            [row("CA1", 20, 950), row("CA2", 30, 950), row("CA3", 20, 950), row("CA4", 20, 800)];
        let target = [row("CA1", 30, 950), row("CA2", 20, 950)];
        let there = target.map(|row| {
            let (sid, account) = row.current.id();
            ((sid.to_owned(), account.to_owned()), row.current)
        });
        let mut compared = Compared::default();
        Check { kept, clock }.statuses(&source, &there.into(), &mut compared);
        assert_eq!(
            (compared.rows, compared.missing, compared.differing, compared.expired),
            (4, 1, 1, 1)
        );
        assert_eq!(compared.named, ["CA2 differs", "CA3 is missing"]);
    }
}
