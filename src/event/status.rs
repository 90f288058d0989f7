//! Which status is current: [`Position`] orders the events of one SID, [`Current`] is one row of
//! the store, and [`Current::merge`] is the law by which rows are made.
//!
//! Twilio never guarantees an order, so the law must not depend on one: merging is commutative,
//! associative and idempotent, and every permutation and batching of a SID's events gives the
//! same row. The Postgres store says the same law in SQL; `tests/it/sink_battery.rs` holds them
//! against each other.

use crate::clock::Timestamp;

/// What has a current status.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Resource {
    /// A phone call, `CA…`.
    Call,
    /// A message, `SM…` or `MM…`.
    Message,
    /// A recording, `RE…`.
    Recording,
    /// A conference, `CF…`.
    Conference,
    /// A transcription, `GT…` or `TR…`.
    Transcription,
}

/// A status that nobody knows stands below all that are known, so that it never hides one.
const UNKNOWN: u8 = 1;
/// Terminal statuses start here.
const TERMINAL: u8 = 80;

impl Resource {
    /// Every resource.
    pub const ALL: [Self; 5] =
        [Self::Call, Self::Message, Self::Recording, Self::Conference, Self::Transcription];

    /// The name in the stream and the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Message => "message",
            Self::Recording => "recording",
            Self::Conference => "conference",
            Self::Transcription => "transcription",
        }
    }

    /// The resource of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|resource| resource.as_str() == name)
    }

    /// How far along `status` is; terminal statuses rank highest. For a message `delivered`
    /// outranks the other terminal statuses, and `read` outranks `delivered`.
    #[must_use]
    pub fn rank(self, status: &str) -> u8 {
        match (self, status) {
            (Self::Call, "queued") => 10,
            (Self::Call, "initiated") => 20,
            (Self::Call, "ringing") => 30,
            (Self::Call, "in-progress") => 40,
            (Self::Call, "completed" | "busy" | "failed" | "no-answer" | "canceled") => TERMINAL,

            (Self::Message, "accepted") => 10,
            (Self::Message, "scheduled") => 15,
            (Self::Message, "queued") => 20,
            (Self::Message, "sending") => 30,
            (Self::Message, "sent") => 40,
            (Self::Message, "receiving") => 50,
            (Self::Message, "received") => 60,
            (Self::Message, "undelivered" | "failed" | "canceled") => TERMINAL,
            (Self::Message, "delivered") => TERMINAL + 10,
            (Self::Message, "read") => TERMINAL + 20,

            (Self::Recording, "in-progress") => 40,
            (Self::Recording, "paused") => 40,
            (Self::Recording, "stopped") => 50,
            (Self::Recording, "processing") => 60,
            (Self::Recording, "completed" | "absent" | "failed") => TERMINAL,
            (Self::Recording, "deleted") => TERMINAL + 10,

            (Self::Conference, "conference-end") => TERMINAL,
            // The rest of a conference is ordered by its SequenceNumber alone.
            (Self::Conference, _) => 40,

            (Self::Transcription, "transcription-started") => 20,
            (Self::Transcription, "transcription-content" | "in-progress") => 40,
            (Self::Transcription, "transcription-stopped" | "completed") => TERMINAL,
            (Self::Transcription, "transcription-error" | "failed") => TERMINAL,

            _ => UNKNOWN,
        }
    }

    /// Whether nothing follows `status`, but for `delivered`, which `read` may follow.
    #[must_use]
    pub fn is_final(self, status: &str) -> bool {
        self.rank(status) >= TERMINAL
    }

    /// Every terminal status. A closed set: it is a metric label.
    #[must_use]
    pub fn terminals(self) -> &'static [&'static str] {
        match self {
            Self::Call => &["completed", "busy", "failed", "no-answer", "canceled"],
            Self::Message => &["delivered", "undelivered", "failed", "canceled", "read"],
            Self::Recording => &["completed", "absent", "failed", "deleted"],
            Self::Conference => &["conference-end"],
            Self::Transcription => {
                &["transcription-stopped", "completed", "transcription-error", "failed"]
            }
        }
    }

    /// Whether a terminal status says that something went wrong. A call that nobody answered went
    /// as calls go.
    #[must_use]
    pub fn is_failure(self, status: &str) -> bool {
        matches!(status, "failed" | "undelivered" | "absent" | "transcription-error")
    }

    /// The bit of a terminal status in [`Current::terminals`]; 0 for the others.
    fn terminal_bit(self, status: &str) -> i16 {
        match (self, status) {
            _ if !self.is_final(status) => 0,
            (_, "completed" | "delivered" | "conference-end" | "transcription-stopped") => 1,
            // Read says that it was delivered, deleted that it existed: no contradiction.
            (_, "read") => 1,
            (_, "deleted") => 0,
            (_, "failed" | "transcription-error") => 2,
            (_, "undelivered" | "busy" | "absent") => 4,
            (_, "canceled") => 8,
            (_, "no-answer") => 16,
            _ => 0,
        }
    }
}

/// The place of an event among those of its SID. The greatest is current.
///
/// Receive time is no part of it: a late callback about an early status must not win. The status
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

/// The current truth about one SID: a row of `statuses`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Current {
    /// The resource's SID.
    pub sid: String,
    /// What it is.
    pub resource: Resource,
    /// Whose it is.
    pub account: String,
    /// The greatest position seen; its `status` is the current one.
    pub position: Position,
    /// Who called or wrote.
    pub from: Option<String>,
    /// Who was called or written to.
    pub to: Option<String>,
    /// Seconds that the call or recording took.
    pub duration: Option<i64>,
    /// The latest error; a later event without one does not erase it.
    pub error: Option<LatestError>,
    /// The terminal statuses seen, one bit each. Two say that Twilio contradicted itself.
    pub terminals: i16,
    /// When the first event of the SID came.
    pub first_seen: Timestamp,
    /// When the last event of the SID came.
    pub updated: Timestamp,
}

impl Current {
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

    /// The bit that `status` sets in [`Current::terminals`].
    #[must_use]
    pub fn terminal_bit(resource: Resource, status: &str) -> i16 {
        resource.terminal_bit(status)
    }

    /// What is known of a SID by both. Commutative, associative and idempotent; both must be of
    /// one SID.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        debug_assert_eq!(self.sid, other.sid, "only rows of one SID merge");
        Self {
            resource: self.resource.max(other.resource),
            account: self.account.max(other.account),
            position: self.position.max(other.position),
            from: self.from.max(other.from),
            to: self.to.max(other.to),
            duration: self.duration.max(other.duration),
            error: self.error.max(other.error),
            terminals: self.terminals | other.terminals,
            first_seen: self.first_seen.min(other.first_seen),
            updated: self.updated.max(other.updated),
            sid: self.sid,
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

    fn current() -> impl Strategy<Value = Current> {
        let text = || prop::option::of("[ab]{0,2}");
        let error = prop::option::of((position(), "[0-9]{2}"));
        (position(), text(), text(), prop::option::of(0i64..3), error, 0i16..32, 0i64..9, 0i64..9)
            .prop_map(|(position, from, to, duration, error, terminals, first, last)| Current {
                sid: "SM1".into(),
                resource: Resource::Message,
                account: "AC1".into(),
                position,
                from,
                to,
                duration,
                error: error.map(|(position, code)| LatestError { position, code }),
                terminals,
                first_seen: Timestamp::from_micros(first),
                updated: Timestamp::from_micros(last),
            })
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
            let (mut listed, mut finals) = (resource.terminals().to_vec(), finals.to_vec());
            listed.sort_unstable();
            finals.sort_unstable();
            assert_eq!(listed, finals);
        };
        same(Resource::Call, &call[4..]);
        same(Resource::Message, &message[7..]);
        for resource in Resource::ALL {
            assert!(resource.terminals().iter().all(|status| resource.is_final(status)));
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
    }
}
