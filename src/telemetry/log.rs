//! The log's own thread. A reader of standard error that stalls, as a full pipe does, blocks the
//! thread that writes: that must not be one that answers callbacks. So lines wait in a bounded queue. Lines that do not
//! fit are dropped and counted, and the log says so once there is room again.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use prometheus::{IntCounter, Registry};
use tracing::warn;
use tracing_subscriber::fmt::MakeWriter;

/// Lines that wait: some seconds of a busy process.
const LINES: usize = 4096;
/// Most bytes that wait, in any number of lines: the queue is memory, too.
const BYTES: usize = 2 * 1024 * 1024;

/// Lines that were dropped, by all of the process: there is one log, as there is one subscriber of
/// `tracing`, and it begins before anything that has a registry.
static DROPPED: OnceLock<IntCounter> = OnceLock::new();

fn dropped() -> &'static IntCounter {
    DROPPED.get_or_init(|| {
        let name = "offhook_log_lines_dropped_total";
        let help = "Lines of the log that were dropped, since its reader is slower than they come.";
        IntCounter::new(name, help).expect("the name is a good one")
    })
}

/// Shows how many lines were dropped.
///
/// # Errors
/// The name is registered already.
pub fn register(registry: &Registry) -> prometheus::Result<()> {
    registry.register(Box::new(dropped().clone()))
}

/// Where lines go: into the queue before the thread. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Queue {
    lines: SyncSender<Vec<u8>>,
    waiting: Arc<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: AtomicUsize,
    bytes: AtomicUsize,
}

impl Queue {
    /// Starts the thread, which writes to standard error. It ends with the process.
    pub(super) fn start() -> Self {
        let (lines, queue) = sync_channel(LINES);
        let waiting = Arc::<Waiting>::default();
        let written = Arc::clone(&waiting);
        // Not through `io::stderr`, whose lock this thread would hold while it waits for the reader:
        // a panic elsewhere is written through it.
        let out = io::stderr().as_fd().try_clone_to_owned().map(File::from);
        let write = move || match out {
            Ok(mut out) => drain(&queue, &written, &mut out),
            // Without a standard error there is no log.
            Err(_) => drain(&queue, &written, &mut io::sink()),
        };
        // Without a thread every line counts as dropped.
        let _ = std::thread::Builder::new().name("log".to_owned()).spawn(write);
        Self { lines, waiting }
    }

    fn push(&self, line: &[u8]) {
        let Waiting { lines, bytes } = &*self.waiting;
        if bytes.load(Ordering::Relaxed) + line.len() > BYTES {
            return dropped().inc();
        }
        bytes.fetch_add(line.len(), Ordering::Relaxed);
        lines.fetch_add(1, Ordering::Relaxed);
        if self.lines.try_send(line.to_vec()).is_err() {
            self.waiting.took(line.len());
            dropped().inc();
        }
    }

    /// Waits until all lines are written, for as long as that: the last ones say why it ends.
    pub fn flush(&self, patience: Duration) {
        /// Against `patience` it is nothing.
        const POLL: Duration = Duration::from_millis(2);
        let deadline = Instant::now() + patience;
        while self.waiting.lines.load(Ordering::Relaxed) > 0 && Instant::now() < deadline {
            std::thread::sleep(POLL);
        }
    }
}

impl Waiting {
    fn took(&self, length: usize) {
        self.bytes.fetch_sub(length, Ordering::Relaxed);
        self.lines.fetch_sub(1, Ordering::Relaxed);
    }
}

fn drain(queue: &Receiver<Vec<u8>>, waiting: &Waiting, out: &mut impl Write) {
    let mut told = dropped().get();
    while let Ok(line) = queue.recv() {
        // A log that cannot be written cannot report it either.
        let _ = out.write_all(&line);
        waiting.took(line.len());
        let lost = dropped().get() - told;
        if lost > 0 && waiting.lines.load(Ordering::Relaxed) < LINES / 2 {
            told += lost;
            warn!(lines = lost, "lines of the log were dropped: its reader is too slow");
        }
    }
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(self)
    }
}

/// Takes one line, which is written at once.
#[derive(Debug)]
pub struct Line<'q>(&'q Queue);

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(lines: usize) -> (Queue, Receiver<Vec<u8>>) {
        let (sender, receiver) = sync_channel(lines);
        (Queue { lines: sender, waiting: Arc::default() }, receiver)
    }

    #[test]
    fn what_does_not_fit_is_dropped_and_counted_and_nobody_waits() {
        let (queue, reader) = queue(2);
        let before = dropped().get();
        for line in ["a\n", "b\n", "c\n"] {
            let written = queue.make_writer().write(line.as_bytes());
            assert_eq!(written.expect("it never fails"), 2);
        }
        assert_eq!(dropped().get() - before, 1);
        assert_eq!([reader.recv(), reader.recv()], [Ok(b"a\n".to_vec()), Ok(b"b\n".to_vec())]);
        assert_eq!(queue.waiting.lines.load(Ordering::Relaxed), 2, "until they are written");
    }

    #[test]
    fn what_was_written_makes_room() {
        let (queue, reader) = queue(1);
        queue.push(b"a\n");
        let waiting = Arc::clone(&queue.waiting);
        drop(queue);
        let mut out = Vec::new();
        drain(&reader, &waiting, &mut out);
        assert_eq!(out, b"a\n");
        let left = (&waiting.lines, &waiting.bytes);
        assert_eq!((left.0.load(Ordering::Relaxed), left.1.load(Ordering::Relaxed)), (0, 0));
    }

    #[test]
    fn long_lines_are_bounded_by_their_bytes() {
        let (queue, _reader) = queue(LINES);
        for _ in 0..4 {
            queue.push(&vec![b'x'; BYTES / 2]);
        }
        assert_eq!(queue.waiting.lines.load(Ordering::Relaxed), 2);
    }
}
