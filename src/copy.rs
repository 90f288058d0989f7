//! `offhook copy`: copies an embedded store into Postgres, which may be in use already.
//!
//! ```text
//! source: its file and its log are locked; what waits in the log is stored in the file
//!    │
//!    ├─► outbox                  held on both sides first
//!    ├─► statuses ─► events      page by page, each with the progress in the same transaction
//!    ├─► dead letters            to files of the target's local log
//!    ▼
//! check: the target has each row of the source
//! ```
//!
//! A copy that is killed at any point continues where it stopped, because a page and its progress are both in the target
//! or neither is. The target keeps an event that it has, and merges a status by the law of all statuses: so order and
//! repetition do not matter, nor does what the target stores meanwhile. Copied rows make no changes in its feed.
//!
//! Nothing is taken out of the source, which can be served again. It sends nothing then until a person lets it.

mod check;
mod outbox;
mod pages;
mod report;
mod source;
mod target;

use std::path::{Path, PathBuf};
use std::time::Duration;

use self::check::Check;
use self::pages::{patiently, put};
pub use self::report::{Compared, Refused, Report};
use self::source::StoppedSource;
pub use self::source::{DrainError, SourceError};
pub use self::target::TargetError;
use crate::backend::BackendError;
use crate::backend::copy::{CarriedEvent, CopiedStatus, Origin, Place, Progress, Step};
use crate::backend::local_log::Bounds;
use crate::backend::postgres::{CopyTarget, Postgres};
use crate::clock::Clock;
use crate::crash_points::{self, Point};
use crate::pipeline::CommitError;

/// What is copied, and where to.
#[derive(Debug)]
pub struct Copy {
    /// The source's file: its path, or a `sqlite:` URL.
    pub source: String,
    /// The directory of the source's local log.
    pub log: PathBuf,
    /// How much may be in a local log.
    pub bounds: Bounds,
    /// The store that is copied into.
    pub target: Postgres,
    /// The directory of the target's local log, which takes the dead letters.
    pub target_log: PathBuf,
    /// How long the target keeps rows.
    pub kept: Kept,
    /// What their age is measured by.
    pub clock: Clock,
    /// What is to be done.
    pub task: Task,
}

/// How long the target keeps rows. The check does not miss older ones, which the target may have deleted.
#[derive(Clone, Copy, Debug)]
pub struct Kept {
    /// Rows of `statuses`; `None` is for ever.
    pub statuses: Option<Duration>,
    /// Rows of `events`; `None` is for ever.
    pub events: Option<Duration>,
}

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Task {
    /// Copy, then check.
    Copy,
    /// Only check.
    Verify,
}

/// How far a copy is, for the person who waits for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Milestone {
    /// What is being done; [`Step::Done`] is the check.
    pub step: Step,
    /// Rows of the source that were dealt with.
    pub rows: u64,
    /// Rows of the source.
    pub of: u64,
}

/// Why a copy stopped.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The target is not fit.
    #[error("the target: {0}")]
    Target(#[from] TargetError),
    /// The source cannot be had.
    #[error("the source: {0}")]
    Source(#[from] SourceError),
    /// The source cannot be read.
    #[error("the source cannot be read: {0}")]
    Read(BackendError),
    /// The source cannot be held.
    #[error("the source cannot be held, and might send what its copy sends: {0}")]
    Hold(BackendError),
    /// The target has an outbox already. By its keys, what the source suppresses would not be found.
    #[error(
        "the target: a process that sends has used it already, and made keys other than the source's: copy before the \
         new deployment has a `[[sender]]`. If nothing was asked of it, stop it, take the sender out of its \
         configuration, run `DELETE FROM outbox` in its database, and copy again"
    )]
    OtherKeys,
    /// The target does not take it.
    #[error("the target cannot be written: {0}")]
    Write(#[from] CommitError),
    /// The dead letters cannot be copied.
    #[error("dead letters: {0}")]
    DeadLetters(BackendError),
    /// What the target has cannot be read.
    #[error("the target cannot be read: {0}")]
    Check(BackendError),
}

impl CopyError {
    /// Whether the copy has begun, so that another run continues it.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        !matches!(self, Self::Target(_) | Self::Source(_) | Self::OtherKeys)
    }
}

impl Copy {
    /// Copies and checks. `watch` is called after each page.
    ///
    /// # Errors
    /// See [`CopyError`]; a report that is not [whole](Report::is_whole) is no error.
    pub async fn run(self, watch: impl FnMut(Milestone)) -> Result<Report, CopyError> {
        target::check_log(&self.log, &self.target_log)?;
        target::check(&self.target).await?;
        let (mut source, waited) =
            StoppedSource::open(&self.source, &self.log, self.bounds).await?;
        let origin = source.rows.origin().await.map_err(CopyError::Read)?;
        let (statuses, events) = source.rows.counts().await.map_err(CopyError::Read)?;
        let mut report = Report::new(&source, waited, &origin);
        report.unforwarded = source.rows.unforwarded().await.map_err(CopyError::Read)?;
        let target = CopyTarget::new(self.target.clone());
        let mut run = Run { source, target, origin, watch, sizes: [statuses, events] };
        if self.task == Task::Copy {
            run.outbox(&mut report).await?;
            run.copy(&self.target_log, &mut report).await?;
        }
        let check = Check { kept: self.kept, clock: self.clock };
        run.check_outbox(&check, &mut report).await?;
        run.check(&check, &mut report).await?;
        Ok(report)
    }
}

/// A copy that runs.
struct Run<W> {
    source: StoppedSource,
    target: CopyTarget,
    origin: Origin,
    watch: W,
    /// How many statuses and events the source has.
    sizes: [u64; 2],
}

impl<W: FnMut(Milestone)> Run<W> {
    /// Copies everything, from the step at which an earlier run stopped.
    async fn copy(&mut self, target_log: &Path, report: &mut Report) -> Result<(), CopyError> {
        let begin = async || self.target.begin(&self.origin).await;
        let Progress { mut step, mut after, copied } = patiently(begin).await?;
        report.copied = Some(copied);
        loop {
            let next = match step {
                Step::Statuses => {
                    self.statuses(after, report).await?;
                    Step::Events
                }
                Step::Events => {
                    self.events(after, report).await?;
                    Step::DeadLetters
                }
                Step::DeadLetters => {
                    let dead_letters = self.source.log.dead_letters();
                    let copied = dead_letters.copy_to(target_log).await;
                    report.dead_letters = copied.map_err(CopyError::DeadLetters)?;
                    Step::Done
                }
                Step::Done => return Ok(()),
            };
            patiently(async || self.target.enter(&self.origin, next).await).await?;
            crash_points::point(Point::Copied);
            (step, after) = (next, Place::new());
        }
    }

    async fn statuses(&mut self, mut after: Place, report: &mut Report) -> Result<(), CopyError> {
        let mut rows = report.copied.unwrap_or_default().statuses;
        loop {
            let page = self.source.rows.statuses(&after).await.map_err(CopyError::Read)?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.place();
            rows += page.len() as u64;
            let page: Vec<_> = page.into_iter().map(CopiedStatus::for_target).collect();
            let (target, origin) = (&self.target, &self.origin);
            let commit = async |rows: &[CopiedStatus]| target.put_statuses(origin, rows).await;
            let name = |row: &CopiedStatus| row.current.id().0.to_owned();
            let copied = put(&page, commit, name, &mut report.refused).await?;
            report.add(copied);
            self.tell(Step::Statuses, rows, 0);
        }
    }

    async fn events(&mut self, mut after: Place, report: &mut Report) -> Result<(), CopyError> {
        let earlier = report.copied.unwrap_or_default();
        let mut rows = earlier.events + earlier.duplicates;
        loop {
            let page = self.source.rows.events(&after).await.map_err(CopyError::Read)?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.place();
            rows += page.len() as u64;
            let (target, origin) = (&self.target, &self.origin);
            let commit = async |rows: &[CarriedEvent]| target.put_events(origin, rows).await;
            let name = |row: &CarriedEvent| row.id().0.to_owned();
            let copied = put(&page, commit, name, &mut report.refused).await?;
            report.add(copied);
            self.tell(Step::Events, rows, 1);
        }
    }

    /// Compares each row of the source with that of the target.
    async fn check(&mut self, check: &Check, report: &mut Report) -> Result<(), CopyError> {
        let (mut after, mut rows) = (Place::new(), 0);
        loop {
            let page = self.source.rows.statuses(&after).await.map_err(CopyError::Read)?;
            let Some(last) = page.last() else { break };
            after = last.place();
            rows += page.len() as u64;
            let page: Vec<_> = page.into_iter().map(CopiedStatus::for_target).collect();
            let ids: Vec<_> = page.iter().map(|row| row.current.id()).collect();
            let there = self.target.statuses(&ids).await.map_err(CopyError::Check)?;
            check.statuses(&page, &there, &mut report.statuses);
            self.tell(Step::Done, rows, 0);
        }
        after = Place::new();
        loop {
            let page = self.source.rows.events(&after).await.map_err(CopyError::Read)?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.place();
            rows += page.len() as u64;
            let ids: Vec<_> = page.iter().map(CarriedEvent::id).collect();
            let there = self.target.events(&ids).await.map_err(CopyError::Check)?;
            check.events(&page, &there, &mut report.events);
            self.tell(Step::Done, rows, 1);
        }
    }

    fn tell(&mut self, step: Step, rows: u64, table: usize) {
        let of = if step == Step::Done { self.sizes.iter().sum() } else { self.sizes[table] };
        (self.watch)(Milestone { step, rows, of });
    }
}
