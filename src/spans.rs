//! [`Spans`]: durations within a trace, sent over a channel to an exporter. Knows no OpenTelemetry and no HTTP;
//! sending never waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::clock::{Clock, Timestamp};
use crate::event::{Batch, TraceContext};
use crate::pipeline::CommitError;

/// Most spans that wait to be sent, some megabytes. More are dropped, and counted.
const QUEUE: usize = 8192;

/// Something that took a while.
#[derive(Clone, Debug)]
pub struct Span {
    /// What it is: one of few.
    pub name: &'static str,
    /// The span's part in a conversation.
    pub role: Role,
    /// Which one it is.
    pub context: TraceContext,
    /// The span of the same trace that it is a part of.
    pub parent: Option<u64>,
    /// Spans of other traces that it has to do with.
    pub links: Vec<TraceContext>,
    /// How long it took, until now.
    pub took: Duration,
    /// What is known about it: nothing that a log must not hold.
    pub attributes: Vec<(&'static str, Value)>,
    /// Why it failed, if it did.
    pub error: Option<String>,
}

/// A span's part in a conversation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Answers a request.
    Server,
    /// Hands something to the readers of a log.
    Producer,
    /// Takes something from a log.
    Consumer,
    /// Makes a request.
    Client,
    /// No part: it stays within the process.
    Internal,
}

/// What an attribute says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// A text.
    Text(String),
    /// A count.
    Number(u64),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        Self::Number(number as u64)
    }
}

/// Receives spans. Cheap to clone; by default there is no listener, nothing is traced, and reporting costs nothing.
#[derive(Clone, Debug, Default)]
pub struct Spans(Option<Arc<Listened>>);

#[derive(Debug)]
struct Listened {
    queue: mpsc::Sender<(Timestamp, Span)>,
    sample_ratio: f64,
    clock: Clock,
    dropped: AtomicU64,
}

/// The receiving end: spans, each with the time at which it ended.
pub type Told = mpsc::Receiver<(Timestamp, Span)>;

/// Spans with a listener, of this share of all requests.
#[must_use]
pub fn channel(sample_ratio: f64, clock: Clock) -> (Spans, Told) {
    let (queue, told) = mpsc::channel(QUEUE);
    let listened = Listened { queue, sample_ratio, clock, dropped: AtomicU64::new(0) };
    (Spans(Some(Arc::new(listened))), told)
}

impl Spans {
    fn listened(&self) -> Option<&Listened> {
        // Without the feature the compiler sees that there is no listener, and removes everything.
        if cfg!(feature = "otel") { self.0.as_deref() } else { None }
    }

    /// A new trace with its first span, if this request is sampled.
    #[must_use]
    pub fn begin(&self) -> Option<TraceContext> {
        let sample = rand::random::<f64>() < self.listened()?.sample_ratio;
        sample.then(|| TraceContext { trace: id128(), span: id64() })
    }

    /// A span of the same trace, which is a part of another one.
    #[must_use]
    pub fn part(of: TraceContext) -> TraceContext {
        TraceContext { trace: of.trace, span: id64() }
    }

    /// A span has ended.
    pub fn tell(&self, span: Span) {
        if let Some(listened) = self.listened()
            && listened.queue.try_send((listened.clock.now(), span)).is_err()
        {
            listened.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many spans there was no room for since this was asked last.
    #[must_use]
    pub fn take_dropped(&self) -> u64 {
        self.listened().map_or(0, |listened| listened.dropped.swap(0, Ordering::Relaxed))
    }

    /// A commit has ended: a span of its own, and one in the trace of each event, linked to each other.
    pub fn committed(&self, commit: &Commit<'_>) {
        let Commit { name, role, backend, batch, took, error } = *commit;
        if self.listened().is_none() || batch.events().iter().all(|event| event.trace.is_none()) {
            return;
        }
        let size = ("batch.size", batch.events().len().into());
        let whole = TraceContext { trace: id128(), span: id64() };
        let mut links = Vec::new();
        for event in batch.events() {
            let Some(request) = event.trace else { continue };
            let context = TraceContext { trace: request.trace, span: id64() };
            links.push(context);
            let attributes = vec![
                ("backend", backend.into()),
                ("event.key", event.key.as_str().into()),
                ("event.kind", event.kind.as_str().into()),
                size.clone(),
            ];
            let (parent, error) = (Some(request.span), error.map(ToString::to_string));
            let links = vec![whole];
            self.tell(Span { name, role, context, parent, links, took, attributes, error });
        }
        self.tell(Span {
            name: "batch",
            role: Role::Internal,
            context: whole,
            parent: None,
            links,
            took,
            attributes: vec![("backend", backend.into()), size],
            error: error.map(ToString::to_string),
        });
    }
}

/// A commit, as its spans tell it.
#[derive(Clone, Copy, Debug)]
pub struct Commit<'a> {
    /// What it is to an event.
    pub name: &'static str,
    /// An event's part in it.
    pub role: Role,
    /// The backend of the commit.
    pub backend: &'static str,
    /// What was committed.
    pub batch: &'a Batch,
    /// How long it took.
    pub took: Duration,
    /// Why it failed, if it did.
    pub error: Option<&'a CommitError>,
}

/// An id is never 0.
fn id64() -> u64 {
    rand::random::<u64>().max(1)
}

fn id128() -> u128 {
    rand::random::<u128>().max(1)
}

#[cfg(test)]
#[cfg(feature = "otel")]
mod tests {
    use super::*;

    fn span(context: TraceContext) -> Span {
        Span {
            name: "callback",
            role: Role::Server,
            context,
            parent: None,
            links: Vec::new(),
            took: Duration::ZERO,
            attributes: Vec::new(),
            error: None,
        }
    }

    #[test]
    fn what_there_is_no_room_for_is_dropped_and_counted() {
        let (spans, mut told) = channel(1.0, Clock::System);
        for _ in 0..QUEUE + 3 {
            spans.tell(span(spans.begin().expect("each is sampled")));
        }
        assert_eq!((spans.take_dropped(), spans.take_dropped()), (3, 0));
        assert!(told.try_recv().is_ok());
        spans.tell(span(spans.begin().expect("each is sampled")));
        assert_eq!(spans.take_dropped(), 0);
    }

    #[test]
    fn a_share_of_the_requests_is_traced() {
        assert_eq!(Spans::default().begin(), None);
        assert_eq!(channel(0.0, Clock::System).0.begin(), None);
        let (some, _told) = channel(0.5, Clock::System);
        let traced = (0..1000).filter(|_| some.begin().is_some()).count();
        assert!((300..700).contains(&traced), "{traced}");
    }
}
