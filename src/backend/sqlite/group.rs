//! [`Group`]: transactions of the outbox that come at once, as one of the file, so that one sync does for all of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Mutex, OwnedMutexGuard, watch};

use super::writer::{HeldConnection, Writer, in_time};
use crate::backend::sql::error::cause;
use crate::backend::sql::outbox::is_malformed;
use crate::backend::sql::session::SqliteSession;
use crate::pipeline::CommitError;

/// Synced before it returns, unlike transactions of events.
const BEGIN: &str = "PRAGMA synchronous = FULL; BEGIN IMMEDIATE";
const COMMIT: &str = "COMMIT; PRAGMA synchronous = NORMAL";
/// What a part is rolled back to that is refused. The one before it needs its own no more.
const SECOND: &str = "SAVEPOINT part";
const NEXT: &str = "RELEASE part; SAVEPOINT part";
const ROLL_BACK: &str = "ROLLBACK TO part";

/// Most parts: each may take as long as a transaction of its own.
const MOST_PARTS: usize = 64;

/// What came of a commit.
type Outcome = Option<Result<(), CommitError>>;

/// How soon work is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Urgency {
    /// A client waits for it: it comes before all others, and is committed at once.
    Asked,
    /// It may share its commit with what comes after it.
    Background,
}

/// The transaction that is open. Its lock is fair: those that wait for it when a part ends come before the commit.
#[derive(Clone, Debug, Default)]
pub(super) struct Group {
    open: Arc<Mutex<Option<Open>>>,
    /// How much urgent work waits for its turn.
    asked: Arc<AtomicUsize>,
}

/// Urgent work, as long as it waits for its turn.
struct Waits<'g>(&'g AtomicUsize);

impl<'g> Waits<'g> {
    fn new(asked: &'g AtomicUsize) -> Self {
        asked.fetch_add(1, Ordering::Relaxed);
        Self(asked)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A transaction with the parts that are done.
#[derive(Debug)]
struct Open {
    held: HeldConnection,
    parts: usize,
    outcome: watch::Sender<Outcome>,
}

/// A part that is being done. The transaction is not in its place meanwhile: work that is given up takes it along, which
/// rolls it back.
struct Part {
    turn: OwnedMutexGuard<Option<Open>>,
    open: Open,
    urgency: Urgency,
}

impl Part {
    /// Waits until what was done is committed; or takes it back, if it failed, and lets the transaction go on without it.
    ///
    /// # Errors
    /// What was done is not committed.
    async fn end(self, group: &Group, failure: Option<&CommitError>) -> Result<(), CommitError> {
        let Self { mut turn, mut open, urgency } = self;
        let is_first = open.parts == 0;
        open.parts += 1;
        match failure {
            None => {
                let mut outcome = open.outcome.subscribe();
                match urgency {
                    Urgency::Asked => open.commit().await,
                    Urgency::Background => *turn = Some(open),
                }
                drop(turn);
                if is_first && urgency == Urgency::Background {
                    group.closes();
                }
                let committed = outcome.wait_for(Option::is_some).await;
                let committed = committed.ok().and_then(|outcome| outcome.clone());
                committed.unwrap_or_else(given_up)
            }
            // The connection goes with it, which rolls back.
            Some(_) if is_first => Ok(()),
            Some(failure) => {
                match open.roll_back(failure).await {
                    Ok(()) => *turn = Some(open),
                    Err(failure) => open.fail(failure),
                }
                Ok(())
            }
        }
    }
}

impl Group {
    /// Does some work in a transaction, and returns once that is committed and synced. Work that is refused takes
    /// nothing of the others back; if the file fails, all of them fail.
    pub(super) async fn run<T>(
        &self,
        writer: &Writer,
        urgency: Urgency,
        work: impl AsyncFnOnce(&mut SqliteSession<'_>) -> Result<T, sqlx::Error>,
    ) -> Result<T, CommitError> {
        let mut part = self.begin(writer, urgency).await?;
        let done = in_time(work(&mut SqliteSession(&mut part.open.held.connection))).await;
        let done = done.and_then(|done| done.map_err(|error| part.open.classify(&error)));
        part.end(self, done.as_ref().err()).await?;
        done
    }

    /// A part of the transaction that is open, or of a new one.
    async fn begin(&self, writer: &Writer, urgency: Urgency) -> Result<Part, CommitError> {
        let mut turn = self.turn(urgency).await;
        let mut open = match turn.take() {
            Some(open) if open.parts < MOST_PARTS => open,
            full => {
                if let Some(full) = full {
                    full.commit().await;
                }
                Open::begin(writer).await?
            }
        };
        match open.parts {
            0 => {}
            1 => open.held.execute(SECOND).await?,
            _ => open.held.execute(NEXT).await?,
        }
        Ok(Part { turn, open, urgency })
    }

    /// Its turn: of urgent work before that of others, which let it by once.
    async fn turn(&self, urgency: Urgency) -> OwnedMutexGuard<Option<Open>> {
        let waits = (urgency == Urgency::Asked).then(|| Waits::new(&self.asked));
        let turn = Arc::clone(&self.open).lock_owned().await;
        if waits.is_some() || self.asked.load(Ordering::Relaxed) == 0 {
            return turn;
        }
        drop(turn);
        Arc::clone(&self.open).lock_owned().await
    }

    /// In a task of its own, since the work that began it may be given up while it waits.
    #[expect(
        clippy::disallowed_methods,
        reason = "what is stopped waits for its commit, and so for this"
    )]
    fn closes(&self) {
        tokio::spawn(self.clone().close());
    }

    /// Commits what is open once those had their turn that waited for it.
    async fn close(self) {
        let mut turn = Arc::clone(&self.open).lock_owned().await;
        if let Some(open) = turn.take() {
            open.commit().await;
        }
    }
}

/// A part that was stopped in the middle took the transaction along.
fn given_up() -> Result<(), CommitError> {
    Err(CommitError::Transient("what was written beside it was given up".to_owned()))
}

impl Open {
    async fn begin(writer: &Writer) -> Result<Self, CommitError> {
        let mut held = writer.hold().await?;
        held.execute(BEGIN).await?;
        Ok(Self { held, parts: 0, outcome: watch::Sender::new(None) })
    }

    /// What a part failed for: its data, or the file.
    fn classify(&self, error: &sqlx::Error) -> CommitError {
        match is_malformed(error) {
            true => CommitError::Refused(cause(error)),
            false => self.held.classify(error),
        }
    }

    /// Takes back what a part wrote, if only that part is at fault.
    async fn roll_back(&mut self, error: &CommitError) -> Result<(), CommitError> {
        match error {
            CommitError::Refused(_) => self.held.execute(ROLL_BACK).await,
            CommitError::Transient(_) | CommitError::Late(_) | CommitError::Full(_) => {
                Err(error.clone())
            }
        }
    }

    async fn commit(mut self) {
        match self.held.execute(COMMIT).await {
            Ok(()) => {
                self.held.give_back();
                self.outcome.send_replace(Some(Ok(())));
            }
            Err(error) => self.fail(error),
        }
    }

    /// On an error the connection is closed, which rolls back.
    fn fail(self, error: CommitError) {
        self.outcome.send_replace(Some(Err(error)));
    }
}

#[cfg(test)]
mod tests {
    use std::future::{Future as _, pending};
    use std::ops::ControlFlow;

    use sqlx::{Executor as _, query_scalar};
    use tempfile::TempDir;
    use tokio::sync::oneshot;

    use super::super::Database;
    use super::*;

    async fn writer() -> (Writer, TempDir) {
        let directory = tempfile::tempdir().expect("a directory");
        let url = format!("sqlite:{}", directory.path().join("offhook.db").display());
        let writer = Writer::new(Arc::new(Database::lock(&url).expect("a file")));
        let table = "CREATE TABLE numbers (number INTEGER PRIMARY KEY)";
        put(&writer, async |on| on.0.execute(table).await.map(|_| ())).await.expect("it is made");
        (writer, directory)
    }

    async fn put(
        writer: &Writer,
        work: impl AsyncFnOnce(&mut SqliteSession<'_>) -> Result<(), sqlx::Error>,
    ) -> Result<(), CommitError> {
        writer.group.run(writer, Urgency::Background, work).await
    }

    async fn insert(on: &mut SqliteSession<'_>, number: i64) -> Result<(), sqlx::Error> {
        let insert = sqlx::query("INSERT INTO numbers VALUES (?)").bind(number);
        insert.execute(&mut *on.0).await.map(|_| ())
    }

    /// What is committed: on a connection of its own.
    async fn committed(writer: &Writer) -> Vec<i64> {
        let mut reader = writer.database().connect().await.expect("a connection");
        let numbers = query_scalar("SELECT number FROM numbers ORDER BY number");
        numbers.fetch_all(&mut reader).await.expect("numbers")
    }

    #[tokio::test]
    async fn what_waits_while_one_works_is_committed_with_it_and_what_is_refused_is_not() {
        let (writer, _directory) = writer().await;
        let (begin, waits) = oneshot::channel();
        let first = put(&writer, async |on| {
            waits.await.expect("it is told");
            insert(on, 1).await
        });
        let refused = put(&writer, async |on| {
            insert(on, 2).await?;
            insert(on, 1).await
        });
        let third = put(&writer, async |on| {
            assert!(committed(&writer).await.is_empty(), "the first one is not committed yet");
            let seen: Vec<i64> =
                query_scalar("SELECT number FROM numbers").fetch_all(&mut *on.0).await?;
            assert_eq!(seen, [1], "it is in the same transaction, without what was refused");
            insert(on, 3).await
        });
        let tell = async { begin.send(()).expect("it waits") };
        // Polled in this order, so that all wait when the first one goes on.
        let (first, refused, third, ()) = tokio::join!(first, refused, third, tell);
        assert_eq!((first, third), (Ok(()), Ok(())));
        assert!(matches!(refused, Err(CommitError::Refused(_))), "{refused:?}");
        assert_eq!(committed(&writer).await, [1, 3]);
    }

    #[tokio::test]
    async fn what_is_asked_for_goes_before_what_waited_longer_and_is_committed_at_once() {
        let (writer, _directory) = writer().await;
        let (begin, waits) = oneshot::channel();
        let first = put(&writer, async |on| {
            waits.await.expect("it is told");
            insert(on, 1).await
        });
        let second = put(&writer, async |on| {
            assert_eq!(committed(&writer).await, [1, 3]);
            insert(on, 2).await
        });
        let asked = writer.group.run(&writer, Urgency::Asked, async |on| {
            assert!(committed(&writer).await.is_empty());
            insert(on, 3).await
        });
        let tell = async { begin.send(()).expect("it waits") };
        let done = tokio::join!(first, second, asked, tell);
        assert_eq!(done, (Ok(()), Ok(()), Ok(()), ()));
        assert_eq!(committed(&writer).await, [1, 2, 3]);
    }

    #[tokio::test]
    async fn what_is_given_up_in_the_middle_takes_back_what_was_written_beside_it() {
        let (writer, _directory) = writer().await;
        let (begin, waits) = oneshot::channel();
        let first = put(&writer, async |on| {
            waits.await.expect("it is told");
            insert(on, 1).await
        });
        let (working, works) = oneshot::channel::<()>();
        let given_up = async {
            let put = put(&writer, async |on| {
                insert(on, 2).await?;
                drop(working);
                pending().await
            });
            tokio::select! {
                _ = put => ControlFlow::Continue(()),
                _ = works => ControlFlow::Break(()),
            }
        };
        let tell = async { begin.send(()).expect("it waits") };
        let (first, given_up, ()) = tokio::join!(first, given_up, tell);
        assert!(matches!(first, Err(CommitError::Transient(_))), "{first:?}");
        assert!(given_up.is_break());
        put(&writer, async |on| insert(on, 4).await).await.expect("a new one");
        assert_eq!(committed(&writer).await, [4]);
    }

    #[tokio::test]
    async fn work_that_is_done_is_committed_although_its_asker_is_gone() {
        let (writer, _directory) = writer().await;
        let (done, is_done) = oneshot::channel::<()>();
        let put = put(&writer, async |on| {
            insert(on, 1).await?;
            drop(done);
            Ok(())
        });
        // The work ends, and what asked for it is gone before the commit.
        let mut put = Box::pin(put);
        let mut is_done = Box::pin(is_done);
        std::future::poll_fn(|context| {
            let _ = put.as_mut().poll(context);
            is_done.as_mut().poll(context).map(|_| ())
        })
        .await;
        drop(put);
        // It waits for the connection, and so for the commit.
        writer.hold().await.expect("the connection").give_back();
        assert_eq!(committed(&writer).await, [1]);
    }
}
