//! [`Retention`]: deletes dead letters of a local log that are old. What waits never is.

use tokio::task::spawn_blocking;

use super::LocalLog;
use super::dead_letters::LocalDeadLetters;
use crate::clock::Timestamp;
use crate::pipeline::Cause;
use crate::pipeline::expiry::{Expire, Outlook, Step};

/// Letters that one step looks at.
const DEAD_LETTERS_PER_STEP: usize = 200;

/// Deletes by when they became dead letters.
#[derive(Debug)]
pub struct Retention {
    dead_letters: LocalDeadLetters,
    /// The last one that was looked at: they lie in the order in which their events came.
    after: Option<(u64, u64)>,
}

impl Retention {
    /// The dead letters of a local log.
    #[must_use]
    pub fn new(log: &LocalLog) -> Self {
        Self { dead_letters: log.dead_letters(), after: None }
    }
}

impl Expire for Retention {
    async fn step(&mut self, cutoff: Timestamp) -> Result<Step, Cause> {
        let (dead_letters, after) = (self.dead_letters.clone(), self.after);
        let deleting = spawn_blocking(move || {
            let ids = dead_letters.ids()?;
            let page: Vec<_> = ids
                .into_iter()
                .filter(|id| Some(*id) > after)
                .take(DEAD_LETTERS_PER_STEP)
                .collect();
            let mut deleted = 0;
            for id in &page {
                if dead_letters.dead_since(*id)?.is_some_and(|at| at < cutoff) {
                    deleted += u64::from(dead_letters.delete(*id)?);
                }
            }
            Ok::<_, std::io::Error>((page, deleted))
        });
        let done = deleting.await.map_err(|error| error.to_string())?;
        let (page, deleted) = done.map_err(|error| error.to_string())?;
        self.after = page.last().copied().filter(|_| page.len() == DEAD_LETTERS_PER_STEP);
        Ok(if self.after.is_some() { Step::More(deleted) } else { Step::Done(deleted) })
    }

    async fn outlook(&mut self) -> Result<Outlook, Cause> {
        let dead_letters = self.dead_letters.clone();
        let trusted = spawn_blocking(move || dead_letters.trusted()).await;
        let trusted = trusted.map_err(|error| error.to_string())?;
        let trusted = trusted.map_err(|error| error.to_string())?;
        // It was this process's own clock that said when they were put aside.
        Ok(Outlook { now: None, newest: None, trusted })
    }

    async fn trust(&mut self, until: Option<Timestamp>) -> Result<(), Cause> {
        let dead_letters = self.dead_letters.clone();
        let noted = spawn_blocking(move || dead_letters.trust(until)).await;
        noted.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }

    async fn oldest(&mut self) -> Result<Option<Timestamp>, Cause> {
        let dead_letters = self.dead_letters.clone();
        let looking = spawn_blocking(move || {
            let mut oldest: Option<Timestamp> = None;
            for id in dead_letters.ids()? {
                let at = dead_letters.dead_since(id)?;
                oldest = oldest.into_iter().chain(at).min();
            }
            Ok::<_, std::io::Error>(oldest)
        });
        let oldest = looking.await.map_err(|error| error.to_string())?;
        oldest.map_err(|error| error.to_string())
    }
}
