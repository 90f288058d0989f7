//! The spool: what the log does not take waits on this process's disk, and goes on from there.

use std::path::Path;
use std::sync::Arc;

use offhook::backend::sqlite::{Bounds, OpenError, Spool};
use offhook::clock::Timestamp;
use offhook::event::{Batch, Event, EventKey, Format, Kind};
use offhook::pipeline::spooled::{Circuit, Drain, First, Spooled};
use offhook::pipeline::{CommitError, Observer, Outcome, Pending, Sink, Source};

const BOUNDS: Bounds = Bounds { max_bytes: 1 << 20, min_free_bytes: 0 };

async fn open(directory: &Path) -> Spool {
    Spool::open(directory, BOUNDS).await.expect("nobody else has it")
}

fn event(n: usize, body: &[u8]) -> Event {
    Event {
        key: EventKey::parse(&format!("CA{n:04}-ringing")).expect("printable"),
        kind: Kind::Call,
        account: "AC1".to_owned(),
        sid: Some(format!("CA{n:04}")),
        resource: None,
        status: None,
        sequence: None,
        occurred_at: None,
        received_at: Timestamp::from_micros(1_795_500_000_000_000),
        trace: None,
        format: Format::Form,
        query: String::new(),
        body: body.to_vec().into(),
    }
}

fn batch(numbers: std::ops::Range<usize>) -> Batch {
    let mut events = numbers.map(|n| event(n, b"a=%00&b=\xff")).collect();
    Batch::take_from(&mut events).expect("not empty")
}

/// What the drainer reads, in its order, without settling any of it.
async fn waiting(spool: &Spool) -> Vec<Event> {
    let deliveries = spool.drainer().read(Batch::MAX_EVENTS).await.expect("the disk works");
    deliveries.into_iter().map(|delivery| delivery.event.expect("an event")).collect()
}

/// A log that takes or refuses, as it is told.
#[derive(Clone, Default)]
struct Log(Arc<std::sync::Mutex<(bool, usize)>>);

impl Log {
    fn go(&self, up: bool) {
        self.0.lock().expect("no panic").0 = up;
    }

    fn taken(&self) -> usize {
        self.0.lock().expect("no panic").1
    }
}

impl Sink for Log {
    async fn commit(&self, batch: &Batch) -> Result<Outcome, CommitError> {
        let mut log = self.0.lock().expect("no panic");
        if !log.0 {
            return Err(CommitError::Transient("away".to_owned()));
        }
        log.1 += batch.events().len();
        Ok(Outcome::Appended)
    }
}

struct Silent;

impl Observer for Silent {}

#[tokio::test]
async fn what_is_spooled_outlives_its_process_and_comes_out_as_it_went_in() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let spool = open(directory.path()).await;
    spool.commit(&batch(0..3)).await.expect("there is room");
    spool.commit(&batch(3..100)).await.expect("there is room");
    let fill = spool.fill();
    assert_eq!(fill.events, 100);
    drop(spool);
    let spool = open(directory.path()).await;
    assert_eq!(spool.fill(), fill);
    assert_eq!(waiting(&spool).await, batch(0..100).events());
}

#[tokio::test]
async fn what_is_acked_is_gone_and_what_is_put_aside_waits_no_more() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (spool, log) = (open(directory.path()).await, Log::default());
    log.go(true);
    spool.commit(&batch(0..10)).await.expect("there is room");
    let mut drainer = spool.drainer();
    let mut deliveries = drainer.read(6).await.expect("the disk works");
    let last = deliveries.pop().expect("six");
    drainer.dead_letter(&last.id, 1, "no event").await.expect("the disk works");
    let pending = Pending::new(deliveries).expect("five");
    let commit = pending.commit(&log).await.expect("the log is up");
    drainer.ack(&commit.settled).await.expect("the disk works");
    assert_eq!((spool.fill().events, log.taken()), (4, 5));
    assert_eq!(waiting(&spool).await, batch(6..10).events());
}

#[tokio::test]
async fn a_full_spool_takes_nothing_more_until_it_is_drained() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let bounds = Bounds { max_bytes: 5_000, ..BOUNDS };
    let spool = Spool::open(directory.path(), bounds).await.expect("nobody else has it");
    spool.commit(&batch(0..10)).await.expect("there is room");
    let refused = spool.commit(&batch(10..30)).await;
    assert!(matches!(refused, Err(CommitError::Full(_))), "{refused:?}");
    assert_eq!(waiting(&spool).await.len(), 10, "nothing of a batch that was refused is there");

    let mut drainer = spool.drainer();
    let pending = Pending::new(drainer.read(10).await.expect("the disk works")).expect("ten");
    let log = Log::default();
    log.go(true);
    let commit = pending.commit(&log).await.expect("the log is up");
    drainer.ack(&commit.settled).await.expect("the disk works");
    assert_eq!(spool.fill().bytes, 0);
    spool.commit(&batch(10..20)).await.expect("there is room again");
}

#[tokio::test]
async fn a_disk_that_is_nearly_full_is_left_alone() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let bounds = Bounds { min_free_bytes: u64::MAX, ..BOUNDS };
    let spool = Spool::open(directory.path(), bounds).await.expect("nobody else has it");
    let refused = spool.commit(&batch(0..1)).await;
    assert!(matches!(&refused, Err(CommitError::Full(why)) if why.contains("bytes free")));
    assert!(spool.check().is_err_and(|error| error.to_string().contains("bytes free")));
    assert!(spool.check_disk().is_ok());
}

#[tokio::test]
async fn a_directory_belongs_to_one_process() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let _spool = open(directory.path()).await;
    let second = Spool::open(directory.path(), BOUNDS).await;
    assert!(matches!(second, Err(OpenError::InUse(_))), "{second:?}");
}

#[tokio::test]
async fn while_the_log_is_down_batches_go_to_the_spool_and_do_not_ask_it() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (spool, log, circuit) = (open(directory.path()).await, Log::default(), Circuit::default());
    let drain = || Drain::new(log.clone(), circuit.clone(), Arc::new(Silent));
    let sink = Spooled::new(drain(), spool.clone(), First::Log);
    log.go(true);
    sink.commit(&batch(0..1)).await.expect("the log is up");
    assert_eq!((log.taken(), spool.fill().events, circuit.is_open()), (1, 0, false));
    log.go(false);
    sink.commit(&batch(1..2)).await.expect("the spool takes it");
    assert!(circuit.is_open());
    // It is up again, but nobody has found out yet.
    log.go(true);
    sink.commit(&batch(2..3)).await.expect("the spool takes it");
    assert_eq!((log.taken(), spool.fill().events), (1, 2));
    // The drainer does.
    let pending = Pending::new(spool.drainer().read(9).await.expect("the disk works"));
    pending.expect("two").commit(&drain()).await.expect("the log is up");
    assert!(!circuit.is_open());
    sink.commit(&batch(3..4)).await.expect("the log is up");
    assert_eq!((log.taken(), spool.fill().events), (4, 2));
}

#[tokio::test]
async fn when_the_spool_is_full_the_log_is_asked_even_while_the_circuit_is_open() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let bounds = Bounds { max_bytes: 0, ..BOUNDS };
    let spool = Spool::open(directory.path(), bounds).await.expect("nobody else has it");
    let (log, circuit) = (Log::default(), Circuit::default());
    let drain = Drain::new(log.clone(), circuit.clone(), Arc::new(Silent));
    let sink = Spooled::new(drain, spool, First::Log);
    let refused = sink.commit(&batch(0..1)).await;
    assert!(matches!(refused, Err(CommitError::Full(_))), "nobody takes it: {refused:?}");
    assert!(circuit.is_open());
    log.go(true);
    sink.commit(&batch(0..1)).await.expect("the log takes it");
    assert!(!circuit.is_open(), "with nothing to drain, nobody else would close it");
}

#[tokio::test]
async fn with_the_spool_first_the_log_alone_is_not_enough() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (log, circuit) = (Log::default(), Circuit::default());
    log.go(true);
    let bounds = Bounds { max_bytes: 5_000, ..BOUNDS };
    let spool = Spool::open(directory.path(), bounds).await.expect("nobody else has it");
    let drain = Drain::new(log.clone(), circuit, Arc::new(Silent));
    let sink = Spooled::new(drain, spool.clone(), First::Spool);
    sink.commit(&batch(0..10)).await.expect("there is room");
    assert_eq!((log.taken(), spool.fill().events), (0, 10));
    let refused = sink.commit(&batch(10..30)).await;
    assert!(matches!(refused, Err(CommitError::Full(_))), "{refused:?}");
    assert_eq!(log.taken(), 0);
}
