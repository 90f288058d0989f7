//! [`Expire`]: a place in which things grow old, and from which they are deleted in small steps.

use crate::clock::Timestamp;
use crate::pipeline::Cause;

/// What came of a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// This many are gone, and more may be old enough.
    More(u64),
    /// This many are gone, and no others are old enough.
    Done(u64),
    /// Another process is deleting there.
    Taken,
}

impl Step {
    /// How many are gone.
    #[must_use]
    pub fn deleted(self) -> u64 {
        match self {
            Self::More(deleted) | Self::Done(deleted) => deleted,
            Self::Taken => 0,
        }
    }
}

/// What is known of a place before something is deleted from it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Outlook {
    /// The time, by the clock that gave things their times; `None` if that is this process's own.
    pub now: Option<Timestamp>,
    /// When the newest item came; `None` if there is no item, or if all of them may well be old.
    pub newest: Option<Timestamp>,
    /// Until when the clocks were trusted: what was last given to [`Expire::trust`], by any process.
    pub trusted: Option<Timestamp>,
}

/// A place in which things grow old.
pub trait Expire: Send + 'static {
    /// Deletes some of what is older than `cutoff`, and nothing that is not. A step looks at a
    /// bounded number of things, in bounded time, so that a writer waits for
    /// milliseconds. Steps go on where the last one stopped, and begin anew after [`Step::Done`].
    /// A step that fails or is killed has deleted all of its things or none.
    fn step(&mut self, cutoff: Timestamp) -> impl Future<Output = Result<Step, Cause>> + Send;

    /// What is known of it before something is deleted.
    fn outlook(&mut self) -> impl Future<Output = Result<Outlook, Cause>> + Send;

    /// Keeps until when the clocks were trusted, where a restart finds it; `None` forgets it.
    fn trust(&mut self, until: Option<Timestamp>)
    -> impl Future<Output = Result<(), Cause>> + Send;

    /// The time of the oldest item.
    fn oldest(&mut self) -> impl Future<Output = Result<Option<Timestamp>, Cause>> + Send;

    /// Whether a step would delete something.
    fn is_old(&mut self, cutoff: Timestamp) -> impl Future<Output = Result<bool, Cause>> + Send {
        async move { Ok(self.oldest().await?.is_some_and(|oldest| oldest < cutoff)) }
    }
}
