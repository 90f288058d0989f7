//! Which status is current: [`Position`] orders the events of one SID, [`CurrentStatus`] is one row of
//! the store, and [`CurrentStatus::merge`] is the law by which rows are made.
//!
//! Twilio never guarantees an order, so the law must not depend on one: merging is commutative,
//! associative and idempotent, and every permutation and batching of a SID's events gives the
//! same row. The Postgres store says the same law in SQL; `tests/it/batteries/sink.rs` holds them
//! against each other.

use super::own::LatestOwn;
use crate::clock::Timestamp;
use crate::labels::labels;
use crate::sendgrid::kind as email;
use crate::twilio::kind::{call, conference, message, recording, transcription};

labels! {
    /// What has a current status.
    pub enum Resource {
        /// A phone call, `CA…`.
        Call = "call",
        /// A message, `SM…` or `MM…`.
        Message = "message",
        /// A recording, `RE…`.
        Recording = "recording",
        /// A conference, `CF…`.
        Conference = "conference",
        /// A transcription, `GT…` or `TR…`.
        Transcription = "transcription",
        /// An email to one recipient, under SendGrid's message id.
        Email = "email",
    }
}

impl Resource {
    /// The resource's statuses and their order, which the file of its kind has.
    fn lifecycle(self) -> &'static Lifecycle {
        match self {
            Self::Call => &call::LIFECYCLE,
            Self::Message => &message::LIFECYCLE,
            Self::Recording => &recording::LIFECYCLE,
            Self::Conference => &conference::LIFECYCLE,
            Self::Transcription => &transcription::LIFECYCLE,
            Self::Email => &email::LIFECYCLE,
        }
    }

    /// How far along `status` is; terminal statuses rank highest. For a message `delivered`
    /// outranks the other terminal statuses, and `read` outranks `delivered`.
    #[must_use]
    pub fn rank(self, status: &str) -> u8 {
        let lifecycle = self.lifecycle();
        lifecycle.find(status).map_or(lifecycle.others, |known| known.rank)
    }

    /// Whether nothing follows `status`, but for `delivered`, which `read` may follow.
    #[must_use]
    pub fn is_final(self, status: &str) -> bool {
        self.rank(status) >= TERMINAL
    }

    /// Every terminal status. A closed set: it is a metric label.
    pub fn terminals(self) -> impl Iterator<Item = &'static str> {
        let terminal = |status: &&Status| status.rank >= TERMINAL;
        self.lifecycle().statuses.iter().filter(terminal).map(|status| status.name)
    }

    /// Whether a terminal status says that something went wrong. A call that was not answered went
    /// as calls go.
    #[must_use]
    pub fn is_failure(self, status: &str) -> bool {
        self.lifecycle().find(status).is_some_and(|known| known.failure)
    }

    /// The bit of a terminal status in [`CurrentStatus::terminals`]; 0 for the others.
    fn terminal_bit(self, status: &str) -> i16 {
        self.lifecycle().find(status).map_or(0, |known| known.bit)
    }
}

/// The statuses of a resource in their order.
#[derive(Debug)]
pub struct Lifecycle {
    /// The known statuses.
    pub statuses: &'static [Status],
    /// The rank of all others. [`Lifecycle::UNKNOWN`] unless they are no surprise.
    pub others: u8,
}

impl Lifecycle {
    /// An unknown status stands below all that are known, so that it never hides one.
    pub const UNKNOWN: u8 = 1;

    /// Whether a status is one of them.
    #[must_use]
    pub fn knows(&self, status: &str) -> bool {
        self.find(status).is_some()
    }

    fn find(&self, status: &str) -> Option<&'static Status> {
        self.statuses.iter().find(|known| known.name == status)
    }
}

/// A status of a [`Lifecycle`].
#[derive(Debug)]
pub struct Status {
    name: &'static str,
    rank: u8,
    /// The bit in [`CurrentStatus::terminals`].
    bit: i16,
    failure: bool,
}

/// Terminal statuses start here.
const TERMINAL: u8 = 80;

impl Status {
    /// One that another follows. `rank` is less than 80.
    #[must_use]
    pub const fn passing(name: &'static str, rank: u8) -> Self {
        assert!(rank < TERMINAL, "a status that another follows ranks below the terminal ones");
        Self { name, rank, bit: 0, failure: false }
    }

    /// One that ends it. Two that share a `bit` do not contradict each other, and 0 contradicts none.
    #[must_use]
    pub const fn terminal(name: &'static str, bit: i16) -> Self {
        Self { name, rank: TERMINAL, bit, failure: false }
    }

    /// The same, `by` above other terminal statuses.
    #[must_use]
    pub const fn above(self, by: u8) -> Self {
        Self { rank: TERMINAL + by, ..self }
    }

    /// The same, and it says that something went wrong.
    #[must_use]
    pub const fn failure(self) -> Self {
        Self { failure: true, ..self }
    }
}

/// The place of an event among those of its SID. The greatest is current.
///
/// Receive time is not part of it: a late callback about an early status must not win. The status
/// itself comes last, so that the order is total and ties do not depend on arrival.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Position {
    /// [`Resource::rank`] of the status.
    pub rank: u8,
    /// Twilio's sequence number; an event without one stands before those with one.
    pub sequence: Option<i64>,
    /// Twilio's time; an event without one stands before those with one.
    pub occurred_at: Option<Timestamp>,
    /// The status.
    pub status: String,
}

impl Position {
    /// Bytes whose order is the order of positions, so that a database can compare them.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        /// Flips the sign bit, so that unsigned order is signed order; 0 first marks `None`.
        fn push(bytes: &mut Vec<u8>, value: Option<i64>) {
            bytes.push(u8::from(value.is_some()));
            let flipped = value.unwrap_or(i64::MIN).cast_unsigned() ^ (1 << 63);
            bytes.extend(flipped.to_be_bytes());
        }
        let mut bytes = Vec::with_capacity(19 + self.status.len());
        bytes.push(self.rank);
        push(&mut bytes, self.sequence);
        push(&mut bytes, self.occurred_at.map(Timestamp::micros));
        bytes.extend(self.status.as_bytes());
        bytes
    }

    /// Reads what [`Position::to_bytes`] wrote.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        fn pull(bytes: &[u8]) -> Option<i64> {
            let flipped = u64::from_be_bytes(bytes[1..9].try_into().ok()?);
            (bytes[0] == 1).then(|| (flipped ^ (1 << 63)).cast_signed())
        }
        let (fixed, status) = bytes.split_at_checked(19)?;
        Some(Self {
            rank: fixed[0],
            sequence: pull(&fixed[1..10]),
            occurred_at: pull(&fixed[10..19]).map(Timestamp::from_micros),
            status: String::from_utf8(status.to_vec()).ok()?,
        })
    }
}

/// The error of the latest event that reported one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct LatestError {
    /// The place of that event.
    pub position: Position,
    /// Twilio's `ErrorCode`.
    pub code: String,
}

/// The current truth about one SID of one account: a row of `statuses`. A SID that two accounts
/// report has two rows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CurrentStatus {
    /// The resource's SID.
    pub sid: String,
    /// What it is.
    pub resource: Resource,
    /// The account of the SID.
    pub account: String,
    /// The greatest position seen; its `status` is the current one.
    pub position: Position,
    /// The number or address of the sender.
    pub from: Option<String>,
    /// The number or address of the recipient.
    pub to: Option<String>,
    /// Which way the call or message went, by Twilio's words.
    pub direction: Option<String>,
    /// Seconds that the call or recording took.
    pub duration: Option<i64>,
    /// The latest error; a later event without one does not erase it.
    pub error: Option<LatestError>,
    /// The application's own parameters; a later event without any does not erase them.
    pub own: Option<LatestOwn>,
    /// The terminal statuses seen, one bit each. Two say that Twilio contradicted itself.
    pub terminals: i16,
    /// When the first event of the SID came.
    pub first_seen: Timestamp,
    /// When the last event of the SID came.
    pub updated: Timestamp,
}

impl CurrentStatus {
    /// Whether the status is terminal.
    #[must_use]
    pub fn is_final(&self) -> bool {
        self.resource.is_final(&self.position.status)
    }

    /// Whether terminal statuses that exclude each other were reported.
    #[must_use]
    pub fn is_contradicted(&self) -> bool {
        contradicts(self.terminals)
    }

    /// The bit that `status` sets in [`CurrentStatus::terminals`].
    #[must_use]
    pub fn terminal_bit(resource: Resource, status: &str) -> i16 {
        resource.terminal_bit(status)
    }

    /// The key of the row: the SID and the account.
    #[must_use]
    pub fn id(&self) -> (&str, &str) {
        (&self.sid, &self.account)
    }

    /// What is known of a SID by both. Commutative, associative and idempotent; both must be of
    /// one SID and one account.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        debug_assert_eq!(self.id(), other.id(), "only rows of one SID and account merge");
        Self {
            resource: self.resource.max(other.resource),
            position: self.position.max(other.position),
            from: self.from.max(other.from),
            to: self.to.max(other.to),
            direction: self.direction.max(other.direction),
            duration: self.duration.max(other.duration),
            error: self.error.max(other.error),
            own: self.own.max(other.own),
            terminals: self.terminals | other.terminals,
            first_seen: self.first_seen.min(other.first_seen),
            updated: self.updated.max(other.updated),
            sid: self.sid,
            account: self.account,
        }
    }
}

/// Whether a set of terminal statuses has more than one member.
#[must_use]
pub fn contradicts(terminals: i16) -> bool {
    terminals.count_ones() > 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::Own;

    fn position() -> impl Strategy<Value = Position> {
        let status = prop::sample::select(vec![
            "queued",
            "initiated",
            "ringing",
            "completed",
            "failed",
            "delivered",
            "undelivered",
            "read",
            "sent",
            "",
        ]);
        (0u8..4, prop::option::of(-3i64..3), prop::option::of(-3i64..3), status).prop_map(
            |(rank, sequence, at, status)| Position {
                rank,
                sequence,
                occurred_at: at.map(Timestamp::from_micros),
                status: status.to_owned(),
            },
        )
    }

    fn current() -> impl Strategy<Value = CurrentStatus> {
        let text = || prop::option::of("[ab]{0,2}");
        let error = prop::option::of((position(), "[0-9]{2}"));
        let own = prop::option::of((position(), "[a-c]"));
        let rest = (0i16..32, 0i64..9, 0i64..9, own);
        let texts = (text(), text(), text());
        (position(), texts, prop::option::of(0i64..3), error, rest).prop_map(
            |(position, (from, to, direction), duration, error, (terminals, first, last, own))| {
                let own = own.and_then(|(position, value)| {
                    let own = Own::parse(&format!("{{\"id\":\"{value}\"}}"))?;
                    Some(LatestOwn::at(&position, own))
                });
                CurrentStatus {
                    sid: "SM1".into(),
                    resource: Resource::Message,
                    account: "AC1".into(),
                    position,
                    from,
                    to,
                    direction,
                    duration,
                    error: error.map(|(position, code)| LatestError { position, code }),
                    own,
                    terminals,
                    first_seen: Timestamp::from_micros(first),
                    updated: Timestamp::from_micros(last),
                }
            },
        )
    }

    proptest! {
        #[test]
        fn merging_is_commutative(a in current(), b in current()) {
            prop_assert_eq!(a.clone().merge(b.clone()), b.merge(a));
        }

        #[test]
        fn merging_is_associative(a in current(), b in current(), c in current()) {
            let left = a.clone().merge(b.clone()).merge(c.clone());
            prop_assert_eq!(left, a.merge(b.merge(c)));
        }

        #[test]
        fn merging_is_idempotent(a in current(), b in current()) {
            prop_assert_eq!(a.clone().merge(a.clone()), a.clone());
            let both = a.merge(b.clone());
            prop_assert_eq!(both.clone().merge(b), both);
        }

        #[test]
        fn a_merge_never_goes_backwards(a in current(), b in current()) {
            let both = a.clone().merge(b);
            prop_assert!(both.position >= a.position);
            prop_assert!(a.error.is_none() || both.error.is_some());
        }

        #[test]
        fn bytes_are_ordered_like_positions(a in position(), b in position()) {
            prop_assert_eq!(a.to_bytes().cmp(&b.to_bytes()), a.cmp(&b));
            prop_assert_eq!(Position::from_bytes(&a.to_bytes()), Some(a));
        }
    }

    #[test]
    fn a_status_ranks_above_what_comes_before_it() {
        let check = |resource: Resource, order: &[&str]| {
            for pair in order.windows(2) {
                assert!(resource.rank(pair[0]) < resource.rank(pair[1]), "{pair:?}");
            }
        };
        check(Resource::Call, &["?", "queued", "initiated", "ringing", "in-progress", "completed"]);
        check(Resource::Call, &["in-progress", "busy"]);
        check(
            Resource::Message,
            &["accepted", "scheduled", "queued", "sending", "sent", "failed", "delivered", "read"],
        );
        check(Resource::Recording, &["in-progress", "completed"]);
        check(Resource::Email, &["?", "processed", "deferred", "dropped", "delivered", "bounce"]);
        check(Resource::Conference, &["participant-join", "conference-end"]);
        check(
            Resource::Transcription,
            &["transcription-started", "transcription-content", "transcription-stopped"],
        );
    }

    #[test]
    fn the_terminal_statuses_are_twilios() {
        let finals = |resource: Resource, all: &[&'static str]| -> Vec<&str> {
            all.iter().copied().filter(|status| resource.is_final(status)).collect()
        };
        let call = [
            "queued",
            "initiated",
            "ringing",
            "in-progress",
            "completed",
            "busy",
            "failed",
            "no-answer",
            "canceled",
        ];
        assert_eq!(finals(Resource::Call, &call), call[4..]);
        let message = [
            "accepted",
            "scheduled",
            "queued",
            "sending",
            "sent",
            "receiving",
            "received",
            "delivered",
            "undelivered",
            "failed",
            "canceled",
            "read",
        ];
        assert_eq!(finals(Resource::Message, &message), message[7..]);
        let same = |resource: Resource, finals: &[&str]| {
            let (mut listed, mut finals) =
                (resource.terminals().collect::<Vec<_>>(), finals.to_vec());
            listed.sort_unstable();
            finals.sort_unstable();
            assert_eq!(listed, finals);
        };
        same(Resource::Call, &call[4..]);
        same(Resource::Message, &message[7..]);
        same(Resource::Email, &["dropped", "delivered", "bounce"]);
        for resource in Resource::ALL {
            assert!(resource.terminals().all(|status| resource.is_final(status)));
        }
    }

    #[test]
    fn read_after_delivered_contradicts_nothing_but_undelivered_does() {
        let bits = |statuses: &[&str]| {
            statuses.iter().fold(0, |bits, status| bits | Resource::Message.terminal_bit(status))
        };
        assert!(!contradicts(bits(&["sent", "delivered", "read"])));
        assert!(contradicts(bits(&["delivered", "undelivered"])));
        assert!(contradicts(bits(&["read", "failed"])));
        let of_email = |status| Resource::Email.terminal_bit(status);
        assert!(!contradicts(of_email("delivered") | of_email("bounce")), "it came back later");
        assert!(contradicts(of_email("delivered") | of_email("dropped")));
    }
}
