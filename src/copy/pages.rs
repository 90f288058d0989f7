//! Puts a page into the target: repeats it while the target is away, and halves it if the target refuses a row.

use std::time::Duration;

use super::Refused;
use crate::backend::copy::Copied;
use crate::crash_points::{self, Point};
use crate::pipeline::CommitError;
use crate::retry::Backoff;

/// Attempts before a target that is away is given up: with the waits between them half a minute at least, in which a
/// Postgres restarts, or a standby takes over.
const ATTEMPTS: u32 = 12;

/// Puts rows in their order. A row that the target refuses is noted by name, and left out.
///
/// # Errors
/// The target is away for long, full, or too slow for a single row. Rows put before stay there.
pub(super) async fn put<R>(
    page: &[R],
    commit: impl AsyncFn(&[R]) -> Result<Copied, CommitError>,
    name: impl Fn(&R) -> String,
    refused: &mut Refused,
) -> Result<Copied, CommitError> {
    let mut copied = Copied::default();
    let mut stack = vec![page];
    while let Some(rows) = stack.pop() {
        match patiently(async || commit(rows).await).await {
            Ok(more) => {
                copied += more;
                crash_points::point(Point::Copied);
            }
            Err(CommitError::Refused(_) | CommitError::Late(_)) if rows.len() > 1 => {
                let (left, right) = rows.split_at(rows.len() / 2);
                stack.extend([right, left]);
            }
            Err(CommitError::Refused(why)) => {
                rows.iter().for_each(|row| refused.note(name(row), &why))
            }
            Err(error) => return Err(error),
        }
    }
    Ok(copied)
}

/// Tries again while the target is away or full.
///
/// # Errors
/// The last one, after [`ATTEMPTS`]; any other at once.
pub(super) async fn patiently<T>(
    attempt: impl AsyncFn() -> Result<T, CommitError>,
) -> Result<T, CommitError> {
    let mut backoff = Backoff::default();
    for _ in 1..ATTEMPTS {
        match attempt().await {
            Err(CommitError::Transient(_) | CommitError::Full(_)) => {
                rest(backoff.next_wait()).await
            }
            done => return done,
        }
    }
    attempt().await
}

/// Waits, except in tests.
async fn rest(pause: Duration) {
    if cfg!(not(test)) {
        tokio::time::sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// Puts numbers into a target that refuses 3, is late with more than four, and is away at first.
    async fn put_into(target: &RefCell<Vec<u32>>, page: &[u32]) -> (Copied, Refused) {
        let (mut refused, away) = (Refused::default(), RefCell::new(2));
        let commit = async |rows: &[u32]| {
            if *away.borrow() > 0 {
                *away.borrow_mut() -= 1;
                return Err(CommitError::Transient("away".to_owned()));
            }
            if rows.len() > 4 {
                return Err(CommitError::Late("slow".to_owned()));
            }
            if rows.contains(&3) {
                return Err(CommitError::Refused("it is 3".to_owned()));
            }
            target.borrow_mut().extend(rows);
            Ok(Copied { events: rows.len() as u64, ..Copied::default() })
        };
        let put = put(page, commit, u32::to_string, &mut refused).await;
        (put.expect("it is away for a moment only"), refused)
    }

    #[tokio::test]
    async fn all_but_what_is_refused_is_put_in_order() {
        let target = RefCell::default();
        let (copied, refused) = put_into(&target, &[0, 1, 2, 3, 4, 5, 6, 7]).await;
        assert_eq!(target.into_inner(), [0, 1, 2, 4, 5, 6, 7]);
        assert_eq!(copied.events, 7);
        assert_eq!(refused.rows, 1);
        assert_eq!(refused.named, ["3: it is 3"]);
    }

    #[tokio::test]
    async fn a_target_that_stays_away_is_given_up() {
        let attempts = RefCell::new(0);
        let done = patiently(async || {
            *attempts.borrow_mut() += 1;
            Err::<(), _>(CommitError::Transient("away".to_owned()))
        });
        assert_eq!(done.await, Err(CommitError::Transient("away".to_owned())));
        assert_eq!(attempts.into_inner(), ATTEMPTS);
    }
}
