//! Crash points: places between two steps at which `offhook torture` lets a process abort, since the
//! steps are not atomic. A worker can also be made to do its steps in the wrong order, and what sends to send wrongly.
//!
//! Only with the features `crash-points`, `naive-worker` and `naive-sender`, which no release has. Without them
//! [`point`] does nothing, and nothing is read from the environment.

use std::collections::BTreeMap;

use crate::labels::labels;

/// A place between two steps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Point {
    /// The batcher has a batch, and has not committed it.
    Gathered,
    /// The log did not take a batch, and the spool does not have it yet.
    Unspooled,
    /// The spool has a batch that is not answered yet.
    Spooled,
    /// The local log has a new file to write to.
    Begun,
    /// A batch is written to the local log, and not synced.
    Written,
    /// A batch is synced to the local log, and counts as nothing yet.
    Synced,
    /// It is noted how far the local log is settled, and no file was deleted.
    Released,
    /// The local log has deleted a file of those that it can, or will use it again.
    LetGo,
    /// The batcher's batch is committed, and no request was answered.
    Recorded,
    /// A pump has read deliveries.
    Read,
    /// A pump has taken deliveries over from another reader.
    Claimed,
    /// A delivery was put aside.
    PutAside,
    /// It is known which of the deliveries are stored.
    Filtered,
    /// The deliveries are committed, and not acked.
    Committed,
    /// The deliveries are acked.
    Acked,
    /// A forward's lease is taken, and nothing was sent.
    Leased,
    /// An endpoint has answered, and nothing was written of that.
    Forwarded,
    /// What was forwarded is to be written.
    Progressing,
    /// What was forwarded is written, and the forward does not know yet.
    Progressed,
    /// Attempts have slots, and are not in writing.
    Slotted,
    /// Attempts are in writing, and nothing was sent.
    Writing,
    /// A provider has answered, and nothing was stored of that.
    Sent,
    /// Answers are stored.
    Answered,
    /// Callbacks have settled attempts.
    Settled,
    /// A copy has written a page, and has not committed it.
    Copying,
    /// A copy has committed a page, or that a step is over.
    Copied,
}

impl Point {
    /// In a receiver, drainer included.
    pub const RECEIVER: [Self; 12] = [
        Self::Gathered,
        Self::Unspooled,
        Self::Begun,
        Self::Written,
        Self::Synced,
        Self::Spooled,
        Self::Released,
        Self::Recorded,
        Self::Read,
        Self::Filtered,
        Self::Committed,
        Self::Acked,
    ];
    /// In a process with a local log, from the batch in hand to the store.
    pub const LOCAL: [Self; 11] = [
        Self::Gathered,
        Self::Begun,
        Self::Written,
        Self::Synced,
        Self::Recorded,
        Self::Read,
        Self::Filtered,
        Self::Committed,
        Self::Acked,
        Self::Released,
        Self::LetGo,
    ];
    /// In a worker.
    pub const WORKER: [Self; 6] =
        [Self::Read, Self::Claimed, Self::PutAside, Self::Filtered, Self::Committed, Self::Acked];

    /// In a process that forwards.
    pub const FORWARD: [Self; 4] =
        [Self::Leased, Self::Forwarded, Self::Progressing, Self::Progressed];

    /// In a process that sends.
    pub const SENDER: [Self; 5] =
        [Self::Slotted, Self::Writing, Self::Sent, Self::Answered, Self::Settled];

    /// In a process that copies a store.
    pub const COPY: [Self; 2] = [Self::Copying, Self::Copied];

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gathered => "gathered",
            Self::Unspooled => "unspooled",
            Self::Spooled => "spooled",
            Self::Begun => "begun",
            Self::Written => "written",
            Self::Synced => "synced",
            Self::Released => "released",
            Self::LetGo => "let_go",
            Self::Recorded => "recorded",
            Self::Read => "read",
            Self::Claimed => "claimed",
            Self::PutAside => "put_aside",
            Self::Filtered => "filtered",
            Self::Committed => "committed",
            Self::Acked => "acked",
            Self::Leased => "leased",
            Self::Forwarded => "forwarded",
            Self::Progressing => "progressing",
            Self::Progressed => "progressed",
            Self::Slotted => "slotted",
            Self::Writing => "writing",
            Self::Sent => "sent",
            Self::Answered => "answered",
            Self::Settled => "settled",
            Self::Copying => "copying",
            Self::Copied => "copied",
        }
    }
}

labels! {
    /// A way to send wrongly, which a check of the torture must find.
    pub enum Sabotage {
        /// A request whose outcome is not known is made again.
        RetriesTimeouts = "retries-timeouts",
        /// Nothing is committed before the first byte.
        NoWriteAhead = "no-write-ahead",
        /// What holds or refuses a message is not read again before it is sent.
        GateNotReadAgain = "gate-not-read-again",
        /// Each process has its pace in memory.
        PaceInMemory = "pace-in-memory",
        /// A callback proves an attempt, whichever account has signed it.
        SidWithoutAccount = "sid-without-account",
        /// The next step of a route begins when no callback has come in time, without asking Twilio.
        EscalatesOnSilence = "escalates-on-silence",
        /// A pause of a campaign neither takes back what waits, nor is it read before a message is sent.
        PauseIgnored = "pause-ignored",
    }
}

/// Whether processes can be made to abort at a [`Point`].
pub const CAN_CRASH: bool = cfg!(feature = "crash-points");
/// Whether workers can be made to claim events before they store them.
pub const CAN_BE_NAIVE: bool = cfg!(feature = "naive-worker");
/// Whether processes can be made to send wrongly.
pub const CAN_BE_SABOTAGED: bool = cfg!(feature = "naive-sender");
/// The variable that says where, and at which passing: `committed:3`.
pub const CRASH_AT: &str = "TORTURE_CRASH_AT";
/// The variable that makes a worker naive, if it is there.
pub const NAIVE: &str = "TORTURE_NAIVE_WORKER";

/// The variable that names the [`Sabotage`] of a process.
pub const SABOTAGE: &str = "TORTURE_SABOTAGE";

/// Aborts the process if this crash point is armed.
#[inline]
pub fn point(_point: Point) {
    #[cfg(feature = "crash-points")]
    armed::pass(_point);
}

/// Arms the crash point that the environment names.
#[inline]
pub fn arm(_environment: &BTreeMap<String, String>) {
    #[cfg(feature = "crash-points")]
    armed::arm(_environment);
}

/// Whether this worker is to claim an event before it stores it.
#[cfg(feature = "naive-worker")]
#[must_use]
pub fn is_naive() -> bool {
    armed::is_naive()
}

/// Whether this process is to send wrongly in this way.
#[inline]
#[must_use]
pub fn is_sabotaged(_by: Sabotage) -> bool {
    #[cfg(feature = "naive-sender")]
    let is_sabotaged = armed::is_sabotaged(_by);
    #[cfg(not(feature = "naive-sender"))]
    let is_sabotaged = false;
    is_sabotaged
}

#[cfg(feature = "crash-points")]
mod armed {
    use std::collections::BTreeMap;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::{CRASH_AT, NAIVE, Point, SABOTAGE};

    /// The process's own, as its death is.
    static ARMED: OnceLock<Armed> = OnceLock::new();

    struct Armed {
        point: String,
        /// How often it is passed yet.
        passes: AtomicU32,
        #[cfg_attr(not(feature = "naive-worker"), expect(dead_code, reason = "read by it"))]
        naive: bool,
        #[cfg_attr(not(feature = "naive-sender"), expect(dead_code, reason = "read by it"))]
        sabotage: String,
    }

    pub(super) fn arm(environment: &BTreeMap<String, String>) {
        let at = environment.get(CRASH_AT).and_then(|at| at.split_once(':'));
        let (point, passes) = at.unwrap_or_default();
        ARMED.get_or_init(|| Armed {
            point: point.to_owned(),
            passes: AtomicU32::new(passes.parse().unwrap_or(1)),
            naive: environment.contains_key(NAIVE),
            sabotage: environment.get(SABOTAGE).cloned().unwrap_or_default(),
        });
    }

    pub(super) fn pass(point: Point) {
        let Some(armed) = ARMED.get().filter(|armed| armed.point == point.as_str()) else { return };
        if armed.passes.fetch_sub(1, Ordering::Relaxed) == 1 {
            std::process::abort();
        }
    }

    #[cfg(feature = "naive-worker")]
    pub(super) fn is_naive() -> bool {
        ARMED.get().is_some_and(|armed| armed.naive)
    }

    #[cfg(feature = "naive-sender")]
    pub(super) fn is_sabotaged(by: super::Sabotage) -> bool {
        ARMED.get().is_some_and(|armed| armed.sabotage == by.as_str())
    }
}
