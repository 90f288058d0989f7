//! [`FeedWatch`]: who waits for the feed to grow, and how they are woken.

use std::sync::Arc;

use tokio::sync::watch;

/// Wakes the readers that wait for the feed to grow. Cheap to clone; all clones share one state.
///
/// A wake says that there may be more to read, never how much: a reader reads on from its own cursor, so a wake too
/// many costs a read of an empty page, and those of a burst are one.
#[derive(Clone, Debug)]
pub struct FeedWatch(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    grown: watch::Sender<()>,
    waiting: watch::Sender<usize>,
}

impl Default for FeedWatch {
    fn default() -> Self {
        Self(Arc::new(Shared { grown: watch::Sender::new(()), waiting: watch::Sender::new(0) }))
    }
}

impl FeedWatch {
    /// A reader. It is made before the first read: what grows after that wakes it.
    #[must_use]
    pub fn reader(&self) -> FeedReader {
        FeedReader { grown: self.0.grown.subscribe(), shared: Arc::clone(&self.0) }
    }

    /// The feed may have grown.
    pub fn grew(&self) {
        self.0.grown.send_replace(());
    }

    /// Waits until a reader waits.
    pub async fn awaited(&self) {
        let mut waiting = self.0.waiting.subscribe();
        // It ends with its sender, which is ours.
        let _ = waiting.wait_for(|readers| *readers > 0).await;
    }

    /// How many wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        *self.0.waiting.borrow()
    }
}

/// Waits for the feed to grow.
#[derive(Debug)]
pub struct FeedReader {
    grown: watch::Receiver<()>,
    shared: Arc<Shared>,
}

impl FeedReader {
    /// Waits until the feed may have grown since the last wait ended, or since the reader was made. A reader that reads
    /// to the end of the feed between two waits misses nothing. Waits for ever unless [`FeedWatchKeeper`] runs; may be
    /// given up at any time.
    ///
    /// [`FeedWatchKeeper`]: crate::upkeep::feed_watch::FeedWatchKeeper
    pub async fn grown(&mut self) {
        let _waits = Waits::begin(&self.shared);
        // It ends with its sender, which is ours.
        let _ = self.grown.changed().await;
    }
}

/// One that waits, until it is dropped.
struct Waits<'s>(&'s Shared);

impl<'s> Waits<'s> {
    fn begin(shared: &'s Shared) -> Self {
        shared.waiting.send_modify(|readers| *readers += 1);
        Self(shared)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.waiting.send_modify(|readers| *readers -= 1);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn what_grows_between_a_read_and_the_wait_after_it_wakes_the_reader() {
        let watch = FeedWatch::default();
        let (mut first, mut second) = (watch.reader(), watch.reader());
        assert!(first.grown().now_or_never().is_none());
        watch.grew();
        watch.grew();
        first.grown().await;
        assert!(first.grown().now_or_never().is_none(), "several are one");
        second.grown().await;
        assert!(watch.reader().grown().now_or_never().is_none(), "it has not read yet");
    }

    #[tokio::test]
    async fn it_is_known_whether_a_reader_waits() {
        let watch = FeedWatch::default();
        let mut reader = watch.reader();
        assert!(watch.awaited().now_or_never().is_none());
        {
            let mut waits = std::pin::pin!(reader.grown());
            assert!(waits.as_mut().now_or_never().is_none());
            watch.awaited().await;
            assert_eq!(watch.waiting(), 1);
        }
        assert_eq!(watch.waiting(), 0, "one that has gone");
        assert!(watch.awaited().now_or_never().is_none());
    }
}
