//! [`Asks`]: group commit of what is asked for. While one commit runs, the next gathers by itself, so that many requests at
//! a time cost no more commits than a few.

use tokio::sync::{mpsc, oneshot};

use crate::backend::outbox::{Asked, NewNotification};
use crate::backend::{BackendError, Outbox};

/// Most notifications of one commit.
const AT_ONCE: usize = 64;
/// Most that wait; more requests wait for room.
const QUEUE: usize = 1024;

/// A notification that is to be kept.
#[derive(Debug)]
struct ToKeep {
    new: NewNotification,
    done: oneshot::Sender<Result<Asked, BackendError>>,
}

/// Keeps notifications. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Asks(mpsc::Sender<ToKeep>);

impl Asks {
    /// Keeps a notification, unless its key was used before.
    ///
    /// # Errors
    /// The store does not answer, or the process stops: then it may be kept or not.
    pub(super) async fn keep(&self, new: NewNotification) -> Result<Asked, BackendError> {
        let (done, kept) = oneshot::channel();
        let stops = || BackendError("the process stops".to_owned());
        self.0.send(ToKeep { new, done }).await.map_err(|_| stops())?;
        kept.await.unwrap_or_else(|_| Err(stops()))
    }
}

/// What takes requests, and what keeps them in the store until the last [`Asks`] is gone.
pub fn asks(outbox: Outbox) -> (Asks, impl Future<Output = ()> + use<>) {
    let (sender, mut waiting) = mpsc::channel(QUEUE);
    let commit = async move {
        let mut group: Vec<ToKeep> = Vec::new();
        while waiting.recv_many(&mut group, AT_ONCE).await > 0 {
            // In one order in all processes: two that have the same keys would wait for each other.
            group.sort_by(|one, other| key(one).cmp(&key(other)));
            let (news, dones): (Vec<_>, Vec<_>) =
                group.drain(..).map(|one| (one.new, one.done)).unzip();
            let kept = keep_all(&outbox, &news).await;
            for (done, kept) in dones.into_iter().zip(kept) {
                // The client may be gone.
                let _ = done.send(kept);
            }
        }
    };
    (Asks(sender), commit)
}

fn key(one: &ToKeep) -> (&str, Option<&str>) {
    (&one.new.token, one.new.idempotency_key.as_deref())
}

/// Keeps them together, or each by itself, so that one that the store does not take holds no other.
async fn keep_all(outbox: &Outbox, news: &[NewNotification]) -> Vec<Result<Asked, BackendError>> {
    match outbox.ask_all(news).await {
        Ok(asked) => asked.into_iter().map(Ok).collect(),
        Err(error) if news.len() == 1 => vec![Err(error)],
        Err(_) => {
            let mut kept = Vec::with_capacity(news.len());
            for new in news {
                kept.push(outbox.ask(new).await);
            }
            kept
        }
    }
}
