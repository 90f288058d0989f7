//! [`Phase`]: what a connection is doing and since when, noted by the bytes that pass through its
//! [`Watched`] socket, so that each phase has a deadline of its own.
//!
//! ```text
//! Fresh ─┐
//! Idle ──┴─first byte──► Head ──end of head──► Serving ──whole answer made──► Flushing ──written──► Idle
//! ```

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use super::{Cut, Limits};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Doing {
    /// The connection has sent nothing yet.
    Fresh,
    /// The connection has sent nothing since its last request.
    Idle,
    Head,
    Serving,
    Flushing,
}

impl Doing {
    const ALL: [Self; 5] = [Self::Fresh, Self::Idle, Self::Head, Self::Serving, Self::Flushing];

    fn allowance(self, limits: &Limits) -> (Duration, Cut) {
        match self {
            Self::Fresh => (limits.header_timeout, Cut::Silent),
            Self::Idle => (limits.idle_timeout, Cut::Idle),
            Self::Head => (limits.header_timeout, Cut::Head),
            Self::Serving | Self::Flushing => (limits.request_timeout, Cut::Request),
        }
    }
}

/// What one connection is doing. Shared by its socket, its service and its watchdog, which all run
/// in one task: a single word, so that a request costs no lock and no timer.
#[derive(Clone, Debug)]
pub(super) struct Phase {
    /// Microseconds since `origin`, then three bits of [`Doing`].
    word: Arc<AtomicU64>,
    origin: Instant,
}

impl Phase {
    /// A connection that was just opened.
    pub(super) fn new() -> Self {
        Self { word: Arc::new(AtomicU64::new(Doing::Fresh as u64)), origin: Instant::now() }
    }

    /// The head of a request is complete.
    pub(super) fn serving(&self) {
        self.enter(Doing::Serving);
    }

    /// The answer is complete, and has yet to be written. The time of the request goes on.
    pub(super) fn answered(&self) {
        let since = self.word.load(Ordering::Relaxed) & !7;
        self.word.store(since | Doing::Flushing as u64, Ordering::Relaxed);
    }

    /// Returns when what the connection is doing takes longer than it may.
    ///
    /// Phases change far more often than they expire, so it polls them instead of being notified, as often as the
    /// shortest allowance, so that none expires unseen.
    pub(super) async fn expired(&self, limits: &Limits) -> Cut {
        let shortest = limits.header_timeout.min(limits.idle_timeout).min(limits.request_timeout);
        loop {
            let (doing, since) = self.get();
            let (allowance, cut) = doing.allowance(limits);
            let (now, deadline) = (Instant::now(), since + allowance);
            if deadline <= now {
                return cut;
            }
            sleep_until(deadline.min(now + shortest)).await;
        }
    }

    fn get(&self) -> (Doing, Instant) {
        let word = self.word.load(Ordering::Relaxed);
        (Self::doing(word), self.origin + Duration::from_micros(word >> 3))
    }

    fn doing(word: u64) -> Doing {
        Doing::ALL[usize::from(word as u8 & 7)]
    }

    fn is(&self, doing: Doing) -> bool {
        Self::doing(self.word.load(Ordering::Relaxed)) == doing
    }

    fn enter(&self, doing: Doing) {
        // 61 bits of microseconds last for 73,000 years.
        let since = self.origin.elapsed().as_micros() as u64;
        self.word.store(since << 3 | doing as u64, Ordering::Relaxed);
    }
}

/// A socket that notes in the connection's [`Phase`] what passes through it.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) stream: TcpStream,
    pub(super) phase: Phase,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let waited = self.phase.is(Doing::Idle) || self.phase.is(Doing::Fresh);
        if buf.filled().len() > before && waited {
            self.phase.enter(Doing::Head);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper flushes its socket only when nothing of its own is left to write.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        if self.phase.is(Doing::Flushing) {
            self.phase.enter(Doing::Idle);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
