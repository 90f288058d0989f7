//! [`Place`]: where a purge goes on.

use std::fmt;

use crate::backend::DeadLetters;
use crate::backend::search::Cursor;

/// Where a purge continues. In this order: what is planned is cancelled first, and the numbers in `statuses` say which
/// events to delete.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// What is to be sent and what was, behind this id.
    Notifications(Option<String>),
    /// The history, behind this row.
    Events(Option<Cursor>),
    /// What is true now.
    Statuses(Option<Cursor>),
    /// The dead letters, behind this id.
    DeadLetters(Option<String>),
    /// The dead letters of the local log, behind this id.
    Spool(Option<String>),
}

impl Place {
    /// Where every purge begins.
    pub const START: Self = Self::Notifications(None);

    /// What is looked at behind all of this; `None` at the end.
    pub(super) fn next(&self) -> Option<Self> {
        match self {
            Self::Notifications(_) => Some(Self::Events(None)),
            Self::Events(_) => Some(Self::Statuses(None)),
            Self::Statuses(_) => Some(Self::DeadLetters(None)),
            Self::DeadLetters(_) => Some(Self::Spool(None)),
            Self::Spool(_) => None,
        }
    }

    /// Reads what its `Display` wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (place, after) = text.split_once(':')?;
        let cursor = || match after {
            "" => Some(None),
            after => Cursor::parse(after).map(Some),
        };
        match place {
            "notifications" => notification_id(after).map(Self::Notifications),
            "events" => cursor().map(Self::Events),
            "statuses" => cursor().map(Self::Statuses),
            "dead_letters" => dead_letter_id(after).map(Self::DeadLetters),
            "spool" => dead_letter_id(after).map(Self::Spool),
            _ => None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let after = |cursor: &Option<Cursor>| cursor.as_ref().map(Cursor::to_string);
        match self {
            Self::Notifications(id) => {
                write!(f, "notifications:{}", id.as_deref().unwrap_or_default())
            }
            Self::Events(cursor) => write!(f, "events:{}", after(cursor).unwrap_or_default()),
            Self::Statuses(cursor) => write!(f, "statuses:{}", after(cursor).unwrap_or_default()),
            Self::DeadLetters(id) => {
                write!(f, "dead_letters:{}", id.as_deref().unwrap_or_default())
            }
            Self::Spool(id) => write!(f, "spool:{}", id.as_deref().unwrap_or_default()),
        }
    }
}

/// Behind which notification.
fn notification_id(after: &str) -> Option<Option<String>> {
    let fits = after.len() <= 64 && after.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then(|| (!after.is_empty()).then(|| after.to_owned()))
}

/// Behind which dead letter.
fn dead_letter_id(after: &str) -> Option<Option<String>> {
    match after {
        "" => Some(None),
        id => DeadLetters::is_id(id).then(|| Some(id.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    #[test]
    fn every_place_is_visited_once_statuses_after_the_events_that_they_select() {
        let places: Vec<_> = std::iter::successors(Some(Place::START), Place::next).collect();
        let names: Vec<_> = places.iter().map(Place::to_string).collect();
        assert_eq!(names, ["notifications:", "events:", "statuses:", "dead_letters:", "spool:"]);
    }

    #[test]
    fn a_place_is_read_as_it_was_written() {
        let at = Timestamp::from_micros(17);
        let (id, account) = ("CA1-x:~y".to_owned(), "AC1".to_owned());
        let cursor = || Some(Cursor { at, id: id.clone(), account: account.clone() });
        for place in [
            Place::START,
            Place::Notifications(Some("nt_1".to_owned())),
            Place::Events(None),
            Place::Events(cursor()),
            Place::Statuses(None),
            Place::Statuses(cursor()),
            Place::DeadLetters(None),
            Place::DeadLetters(Some("17-0".to_owned())),
            Place::Spool(None),
            Place::Spool(Some("17-4294967296".to_owned())),
        ] {
            assert_eq!(Place::parse(&place.to_string()), Some(place));
        }
        for wrong in
            ["", "events", "events:x", "notifications:a b", "dead_letters:x", "spool:-3", "calls:"]
        {
            assert_eq!(Place::parse(wrong), None, "{wrong}");
        }
    }
}
