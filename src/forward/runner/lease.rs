//! [`Lease`]: until when this process may send, by its own clock.

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::LEASE;

/// How long before the lease sending ends: requests are on their way for a while, and clocks differ.
const GUARD: Duration = Duration::from_secs(2);

/// How long this process may send. Cheap to clone; all clones share one state.
#[derive(Clone, Debug)]
pub(super) struct Lease(watch::Sender<Instant>);

impl Lease {
    /// A lease that was requested at this time.
    pub(super) fn asked_at(asked: Instant) -> Self {
        Self(watch::Sender::new(asked + LEASE - GUARD))
    }

    /// Extends it, because it was requested again at this time.
    pub(super) fn renewed(&self, asked: Instant) {
        self.0.send_replace(asked + LEASE - GUARD);
    }

    /// When it ends.
    pub(super) fn until(&self) -> Instant {
        *self.0.borrow()
    }

    /// Whether it has ended.
    pub(super) fn has_ended(&self) -> bool {
        Instant::now() >= self.until()
    }

    /// Does some work, as long as it is held: a process that wakes up after it has ended does none of the rest.
    pub(super) async fn held<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        std::future::poll_fn(|context| {
            if self.has_ended() {
                return Poll::Ready(None);
            }
            work.as_mut().poll(context).map(Some)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_goes_on_only_while_the_lease_is_held() {
        let (now, long) = (Instant::now(), Duration::from_secs(3600));
        let lease = Lease::asked_at(now + long);
        assert_eq!(lease.held(async { 1 }).await, Some(1));
        // It ends between two steps of the work, as in a process that stands still.
        let mut polls = 0;
        let work = std::future::poll_fn(|context: &mut std::task::Context<'_>| {
            polls += 1;
            lease.renewed(now.checked_sub(LEASE).expect("the machine has run for longer"));
            context.waker().wake_by_ref();
            Poll::<()>::Pending
        });
        assert_eq!(lease.held(work).await, None);
        assert_eq!(polls, 1);
        assert!(lease.has_ended());
    }
}
