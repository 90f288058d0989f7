//! The local log: what is answered lies on this process's disk, and goes on from there.

mod directory;

use std::path::Path;
use std::sync::Arc;

use offhook::backend::local_log::{Bounds, LocalLog, OpenError, Release};
use offhook::backend::{Action, DeadLetters};
use offhook::clock::Timestamp;
use offhook::event::{Batch, Event, EventKey, Kind};
use offhook::pipeline::spooled::{AnswerAfter, Circuit, CircuitLog, LogWithSpool};
use offhook::pipeline::{CommitError, Observer, Outcome, Pending, Sink, Source};

use crate::harness::copy_all;

const BOUNDS: Bounds = Bounds { max_bytes: 1 << 20, min_free_bytes: 0 };

async fn open(directory: &Path) -> LocalLog {
    LocalLog::open(directory, BOUNDS).await.expect("nobody else has it")
}

fn event(n: usize, body: &[u8]) -> Event {
    Event {
        sid: Some(format!("CA{n:04}")),
        received_at: Timestamp::from_micros(1_795_500_000_000_000),
        body: body.to_vec().into(),
        ..Event::new(
            EventKey::parse(&format!("CA{n:04}-ringing")).expect("printable"),
            Kind::Call,
            "AC1",
        )
    }
}

fn batch(numbers: std::ops::Range<usize>) -> Batch {
    let mut events = numbers.map(|n| event(n, b"a=%00&b=\xff")).collect();
    Batch::take_from(&mut events).expect("not empty")
}

/// What the drainer reads, in its order, without settling any of it.
async fn waiting(spool: &LocalLog) -> Vec<Event> {
    let deliveries =
        spool.reader(Release::AtOnce).read(Batch::MAX_EVENTS).await.expect("the disk works");
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
    let mut drainer = spool.reader(Release::AtOnce);
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
    let spool = LocalLog::open(directory.path(), bounds).await.expect("nobody else has it");
    spool.commit(&batch(0..10)).await.expect("there is room");
    let refused = spool.commit(&batch(10..30)).await;
    assert!(matches!(refused, Err(CommitError::Full(_))), "{refused:?}");
    assert_eq!(waiting(&spool).await.len(), 10, "nothing of a batch that was refused is there");

    let mut drainer = spool.reader(Release::AtOnce);
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
    let spool = LocalLog::open(directory.path(), bounds).await.expect("nobody else has it");
    let refused = spool.commit(&batch(0..1)).await;
    assert!(matches!(&refused, Err(CommitError::Full(why)) if why.contains("bytes free")));
    assert!(spool.check().is_err_and(|error| error.to_string().contains("bytes free")));
    assert!(spool.check_disk().is_ok());
}

#[tokio::test]
async fn a_directory_belongs_to_one_process() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let _spool = open(directory.path()).await;
    let second = LocalLog::open(directory.path(), BOUNDS).await;
    assert!(matches!(second, Err(OpenError::InUse(_))), "{second:?}");
}

#[tokio::test]
async fn while_the_log_is_down_batches_go_to_the_spool_and_do_not_ask_it() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (spool, log, circuit) = (open(directory.path()).await, Log::default(), Circuit::default());
    let drain = || CircuitLog::new(log.clone(), circuit.clone(), Arc::new(Silent));
    let sink = LogWithSpool::new(drain(), spool.clone(), AnswerAfter::Log);
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
    let pending =
        Pending::new(spool.reader(Release::AtOnce).read(9).await.expect("the disk works"));
    pending.expect("two").commit(&drain()).await.expect("the log is up");
    assert!(!circuit.is_open());
    sink.commit(&batch(3..4)).await.expect("the log is up");
    assert_eq!((log.taken(), spool.fill().events), (4, 2));
}

#[tokio::test]
async fn when_the_spool_is_full_the_log_is_asked_even_while_the_circuit_is_open() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let bounds = Bounds { max_bytes: 0, ..BOUNDS };
    let spool = LocalLog::open(directory.path(), bounds).await.expect("nobody else has it");
    let (log, circuit) = (Log::default(), Circuit::default());
    let drain = CircuitLog::new(log.clone(), circuit.clone(), Arc::new(Silent));
    let sink = LogWithSpool::new(drain, spool, AnswerAfter::Log);
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
    let spool = LocalLog::open(directory.path(), bounds).await.expect("nobody else has it");
    let drain = CircuitLog::new(log.clone(), circuit, Arc::new(Silent));
    let sink = LogWithSpool::new(drain, spool.clone(), AnswerAfter::Spool);
    sink.commit(&batch(0..10)).await.expect("there is room");
    assert_eq!((log.taken(), spool.fill().events), (0, 10));
    let refused = sink.commit(&batch(10..30)).await;
    assert!(matches!(refused, Err(CommitError::Full(_))), "{refused:?}");
    assert_eq!(log.taken(), 0);
}

/// The one file with events.
fn file(directory: &Path) -> std::path::PathBuf {
    let entries = std::fs::read_dir(directory).expect("it is there");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("it can be read").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    paths.sort();
    paths.swap_remove(0)
}

#[tokio::test]
async fn what_was_settled_before_a_crash_does_not_come_again() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (spool, log) = (open(directory.path()).await, Log::default());
    log.go(true);
    spool.commit(&batch(0..10)).await.expect("there is room");
    let mut reader = spool.reader(Release::AtOnce);
    let pending = Pending::new(reader.read(6).await.expect("the disk works")).expect("six");
    let commit = pending.commit(&log).await.expect("the log is up");
    reader.ack(&commit.settled).await.expect("in memory");
    // With the next read it is noted; with the next process it is known.
    reader.read(2).await.expect("the disk works");
    // As a crash does: nothing of it ends well.
    let copy = tempfile::tempdir().expect("a temporary directory");
    copy_all(directory.path(), copy.path());
    let spool = open(copy.path()).await;
    assert_eq!(spool.fill().events, 4);
    assert_eq!(waiting(&spool).await, batch(6..10).events());
}

#[tokio::test]
async fn what_is_settled_and_not_released_comes_again_after_a_crash() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (spool, log) = (open(directory.path()).await, Log::default());
    log.go(true);
    spool.commit(&batch(0..10)).await.expect("there is room");
    let mut reader = spool.reader(Release::WhenTold);
    let settle = async |reader: &mut offhook::backend::local_log::Reader, count| {
        let pending = Pending::new(reader.read(count).await.expect("the disk works"));
        let commit = pending.expect("some").commit(&log).await.expect("the log is up");
        reader.ack(&commit.settled).await.expect("in memory");
    };
    settle(&mut reader, 4).await;
    let mark = spool.settled();
    settle(&mut reader, 3).await;
    spool.release(mark).await;
    assert_eq!(spool.fill().events, 3);
    drop((reader, spool));
    let spool = open(directory.path()).await;
    assert_eq!(waiting(&spool).await, batch(4..10).events());
}

#[tokio::test]
async fn files_that_are_done_with_go_and_what_waits_is_read_through_all_of_them() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let bounds = Bounds { max_bytes: 1 << 30, ..BOUNDS };
    let spool = LocalLog::open(directory.path(), bounds).await.expect("nobody else has it");
    let body = vec![b'x'; 60_000];
    // Three files of 16 MiB.
    for start in 0..100 {
        let mut events = (start * 8..start * 8 + 8).map(|n| event(n, &body)).collect();
        let batch = Batch::take_from(&mut events).expect("not empty");
        spool.commit(&batch).await.expect("there is room");
    }
    let logs = || {
        let entries = std::fs::read_dir(directory.path()).expect("it is there");
        let names = entries.map(|entry| entry.expect("it can be read").file_name());
        names.filter(|name| name.to_string_lossy().ends_with(".log")).count()
    };
    assert!(logs() >= 3, "{}", logs());
    let (mut reader, log) = (spool.reader(Release::AtOnce), Log::default());
    log.go(true);
    while spool.fill().events > 0 {
        let pending = Pending::new(reader.read(100).await.expect("the disk works")).expect("some");
        let commit = pending.commit(&log).await.expect("the log is up");
        reader.ack(&commit.settled).await.expect("in memory");
    }
    drop(reader);
    assert_eq!(log.taken(), 800);
    assert!(logs() <= 2, "the one that is written, and one that will be: {}", logs());
}

#[tokio::test]
async fn a_torn_end_costs_what_was_not_acknowledged_and_nothing_else() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let spool = open(directory.path()).await;
    spool.commit(&batch(0..10)).await.expect("there is room");
    let end = spool.fill().bytes;
    spool.commit(&batch(10..20)).await.expect("there is room");
    drop(spool);
    let path = file(directory.path());
    let whole = std::fs::read(&path).expect("it is there");
    for torn in [end + 1, end + 20, end + 200] {
        let mut bytes = whole.clone();
        bytes[torn as usize..].fill(0);
        std::fs::write(&path, bytes).expect("it is ours");
        let copy = tempfile::tempdir().expect("a temporary directory");
        copy_all(directory.path(), copy.path());
        let spool = open(copy.path()).await;
        assert_eq!(spool.damaged(), 0, "torn at {torn}");
        let waits = waiting(&spool).await;
        assert_eq!(waits[..10], *batch(0..10).events(), "torn at {torn}");
        // It is written to all the same, and a later process reads both.
        spool.commit(&batch(30..31)).await.expect("there is room");
        drop(spool);
        let spool = open(copy.path()).await;
        assert_eq!(waiting(&spool).await.len(), waits.len() + 1, "torn at {torn}");
    }
}

#[tokio::test]
async fn a_damaged_file_is_put_aside_and_what_can_be_read_of_it_is_appended_when_told() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let spool = open(directory.path()).await;
    for start in 0..50 {
        spool.commit(&batch(start * 10..start * 10 + 10)).await.expect("there is room");
    }
    let held = spool.fill().bytes;
    drop(spool);
    let path = file(directory.path());
    let mut bytes = std::fs::read(&path).expect("it is there");
    let middle = held as usize / 2;
    bytes[middle..middle + 4096].fill(0xaa);
    std::fs::write(&path, bytes).expect("it is ours");

    let spool = open(directory.path()).await;
    assert_eq!((spool.damaged(), spool.fill().events), (1, 0));
    spool.commit(&batch(600..610)).await.expect("a new file takes it");
    let letters = spool.dead_letters();
    let damaged = letters.damaged().await.expect("the disk works");
    // 4096 bytes are some twenty events of this size, and the two that are cut.
    assert!((440..500).contains(&damaged[0].events), "{damaged:?}");
    assert!(!letters.replay_damaged("nothing.log").await.expect("the disk works"));
    assert!(letters.replay_damaged(&damaged[0].name).await.expect("the disk works"));
    let replayed = spool.replay().await.expect("there is room");
    assert_eq!(replayed.events, damaged[0].events);
    assert_eq!((spool.damaged(), spool.fill().events), (0, 10 + replayed.events));
    assert_eq!(spool.replay().await.expect("there is room").events, 0, "only once");
}

#[tokio::test]
async fn a_wait_that_is_given_up_loses_nothing() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (spool, log) = (open(directory.path()).await, Log::default());
    log.go(true);
    let mut reader = spool.reader(Release::AtOnce);
    for n in [0, 3] {
        tokio::select! {
            biased;
            // The notice of what was read before.
            there = reader.ready() => assert!(!there),
            () = std::future::ready(()) => {}
        }
        spool.commit(&batch(n..n + 3)).await.expect("there is room");
        assert!(reader.ready().await);
        let read = reader.read(9).await.expect("the disk works");
        assert_eq!(read.len(), 3);
        let pending = Pending::new(read).expect("three");
        let commit = pending.commit(&log).await.expect("the log is up");
        reader.ack(&commit.settled).await.expect("the disk works");
    }
}

#[tokio::test]
async fn a_file_that_is_spoilt_while_it_is_read_holds_nothing_up() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let spool = open(directory.path()).await;
    spool.commit(&batch(0..10)).await.expect("there is room");
    spool.commit(&batch(10..20)).await.expect("there is room");
    let path = file(directory.path());
    let mut bytes = std::fs::read(&path).expect("it is there");
    bytes[5] ^= 1;
    std::fs::write(&path, bytes).expect("it is ours");
    let mut reader = spool.reader(Release::AtOnce);
    assert!(reader.read(10).await.expect("the disk works").is_empty());
    assert_eq!((spool.damaged(), spool.fill().events), (1, 0));
    spool.commit(&batch(20..30)).await.expect("a new file takes it");
    assert_eq!(reader.read(100).await.expect("the disk works").len(), 10);
}

#[tokio::test]
async fn dead_letters_are_listed_shown_replayed_and_purged_by_any_process() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let spool = open(directory.path()).await;
    spool.commit(&batch(0..3)).await.expect("there is room");
    spool.append_fields(&[vec![("some".into(), "thing".into())]]).await.expect("there is room");
    let mut reader = spool.reader(Release::AtOnce);
    let deliveries = reader.read(9).await.expect("the disk works");
    assert!(deliveries[3].event.is_err());
    for delivery in &deliveries {
        // As after a crash between the two steps.
        reader.dead_letter(&delivery.id, 1, "it is refused").await.expect("the disk works");
    }
    assert_eq!(spool.fill().events, 0);
    let local = offhook::backend::local_log::LocalDeadLetters::new(directory.path().to_owned());
    let letters = DeadLetters { stream: None, local: Some(local) };
    let all = letters.list(None, 10).await.expect("the disk works");
    let count = letters.count().await.expect("the disk works");
    assert_eq!((all.len(), count), (4, 4));
    assert!(all.iter().all(|letter| letter.reason == "it is refused"), "{all:?}");
    let events: Vec<_> = all.iter().filter_map(|letter| letter.event.clone().ok()).collect();
    assert_eq!(events, batch(0..3).events());
    let page = letters.list(Some(&all[0].id), 2).await.expect("the disk works");
    let ids = |letters: &[offhook::backend::DeadLetter]| -> Vec<String> {
        letters.iter().map(|letter| letter.id.clone()).collect()
    };
    assert_eq!(ids(&page), ids(&all[1..3]));

    let ours = &all[1].id;
    assert_eq!(letters.get(ours).await.expect("the disk works").expect("there").id, *ours);
    assert!(letters.resolve(ours, Action::Replay).await.expect("the disk works"));
    assert!(!letters.resolve(ours, Action::Replay).await.expect("the disk works"));
    assert_eq!(spool.replay().await.expect("there is room").events, 1);
    let again = reader.read(9).await.expect("the disk works");
    assert_eq!(again[0].event, all[1].event);
    assert!(letters.resolve(&all[2].id, Action::Purge).await.expect("the disk works"));
    assert_eq!(letters.count().await.expect("the disk works"), 2);
    assert!(letters.get("1-1").await.expect("the disk works").is_none());
}

#[tokio::test]
async fn nothing_that_was_settled_can_be_read_in_the_files_after_it_was_forgotten() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (spool, log) = (open(directory.path()).await, Log::default());
    log.go(true);
    let mut events = vec![event(1, b"From=%2B15550100")];
    spool.commit(&Batch::take_from(&mut events).expect("one")).await.expect("there is room");
    let mut reader = spool.reader(Release::AtOnce);
    let pending = Pending::new(reader.read(9).await.expect("the disk works")).expect("one");
    let commit = pending.commit(&log).await.expect("the log is up");
    reader.ack(&commit.settled).await.expect("in memory");
    let holds = || {
        let entries = std::fs::read_dir(directory.path()).expect("it is there");
        entries
            .filter(|entry| {
                let path = entry.as_ref().expect("it can be read").path();
                let bytes = std::fs::read(path).unwrap_or_default();
                bytes.windows(8).any(|bytes| bytes == b"15550100")
            })
            .count()
    };
    assert_eq!(holds(), 1);
    spool.forget().await.expect("the disk works");
    assert_eq!(holds(), 1, "it is perhaps not synced");
    spool.release(spool.settled()).await;
    spool.forget().await.expect("the disk works");
    assert_eq!(holds(), 0);
    spool.commit(&batch(0..1)).await.expect("a new file takes it");
    assert_eq!(waiting(&spool).await, batch(0..1).events());
}

/// How many files of a directory have this text.
fn files_with(directory: &Path, text: &[u8]) -> usize {
    let entries = std::fs::read_dir(directory).expect("it is there");
    let paths = entries.map(|entry| entry.expect("it can be read").path());
    let holds = |bytes: Vec<u8>| bytes.windows(text.len()).any(|bytes| bytes == text);
    paths.filter(|path| holds(std::fs::read(path).unwrap_or_default())).count()
}

#[tokio::test]
async fn what_was_forgotten_beside_what_waits_goes_with_it() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (spool, log) = (open(directory.path()).await, Log::default());
    log.go(true);
    let mut events = vec![event(1, b"From=%2B15550100"), event(2, b"")];
    spool.commit(&Batch::take_from(&mut events).expect("two")).await.expect("there is room");
    let mut reader = spool.reader(Release::AtOnce);
    for number in [1, 2] {
        let pending = Pending::new(reader.read(1).await.expect("the disk works")).expect("one");
        let commit = pending.commit(&log).await.expect("the log is up");
        reader.ack(&commit.settled).await.expect("in memory");
        spool.release(spool.settled()).await;
        if number == 1 {
            spool.forget().await.expect("the disk works");
            assert_eq!(files_with(directory.path(), b"15550100"), 1, "the other one waits in it");
        }
    }
    assert_eq!(files_with(directory.path(), b"15550100"), 0);
    spool.commit(&batch(0..1)).await.expect("a new file takes it");
    assert_eq!(waiting(&spool).await, batch(0..1).events());
}

/// A file is used again, first as the one that is prepared: its old events lie in it until they are overwritten.
#[tokio::test]
async fn nothing_that_was_forgotten_lies_in_the_file_that_is_prepared() {
    const LONG: usize = 512 * 1024;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let bounds = Bounds { max_bytes: 1 << 30, min_free_bytes: 0 };
    let spool = LocalLog::open(directory.path(), bounds).await.expect("nothing else has it");
    let log = Log::default();
    log.go(true);
    let mut reader = spool.reader(Release::AtOnce);
    let file = |number: u64| directory.path().join(format!("{number:020}.log"));
    let mut number = 0;
    let mut fill = async |body: &[u8], until: &dyn Fn() -> bool| {
        while !until() {
            number += 1;
            let mut events = vec![event(number, &[body, &vec![b'x'; LONG]].concat())];
            spool
                .commit(&Batch::take_from(&mut events).expect("one"))
                .await
                .expect("there is room");
            let pending = Pending::new(reader.read(9).await.expect("the disk works")).expect("one");
            let commit = pending.commit(&log).await.expect("the log is up");
            reader.ack(&commit.settled).await.expect("in memory");
            spool.release(spool.settled()).await;
        }
    };
    // The first file, until the second is written; then that one, until the first is there as the third.
    fill(b"From=%2B15550100", &|| directory.path().join("spare").exists()).await;
    fill(b"", &|| file(3).exists()).await;
    assert!(files_with(directory.path(), b"15550100") > 0, "it lies in a file that is used again");
    spool.forget().await.expect("the disk works");
    assert_eq!(files_with(directory.path(), b"15550100"), 0);
    spool.commit(&batch(0..1)).await.expect("a new file takes it");
    assert_eq!(waiting(&spool).await, batch(0..1).events());
}

#[tokio::test]
async fn its_files_are_for_its_own_user_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let directory = directory.path().join("log");
    let spool = open(&directory).await;
    spool.commit(&batch(0..1)).await.expect("there is room");
    for path in [directory.clone(), file(&directory), directory.join("settled")] {
        let mode = std::fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}", path.display());
    }
}
