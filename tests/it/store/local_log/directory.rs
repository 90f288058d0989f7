//! What can be wrong with the directory of a local log and with the files in it: it starts all the same,
//! hands out what can be read, and takes nothing that it cannot keep.

use std::fs::File;
use std::path::{Path, PathBuf};

use offhook::backend::local_log::{LocalLog, OpenError, Release};
use offhook::event::Event;
use offhook::pipeline::{CommitError, Sink as _, Source as _};
use tempfile::TempDir;

use super::{BOUNDS, batch, file, open, waiting};
use crate::harness::copy_all;

fn directory() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

/// Three files with ten events each, of three processes.
async fn three(directory: &Path) -> Vec<PathBuf> {
    for start in [0, 10, 20] {
        let log = open(directory).await;
        log.commit(&batch(start..start + 10)).await.expect("there is room");
    }
    let files = files(directory);
    assert!(files.len() >= 3, "{files:?}");
    files
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("it is there");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("it can be read").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    paths.sort();
    paths
}

fn events(numbers: impl IntoIterator<Item = usize>) -> Vec<Event> {
    numbers.into_iter().flat_map(|n| batch(n..n + 1)).collect()
}

#[tokio::test]
async fn a_file_that_is_missing_between_others_costs_its_own_events_alone() {
    let directory = directory();
    let files = three(directory.path()).await;
    std::fs::remove_file(&files[1]).expect("it is ours");
    let log = open(directory.path()).await;
    assert_eq!((log.damaged(), log.fill().events), (0, 20));
    assert_eq!(waiting(&log).await, events((0..10).chain(20..30)));
}

#[tokio::test]
async fn a_file_that_somebody_deletes_while_it_waits_holds_nothing_up() {
    let directory = directory();
    three(directory.path()).await;
    let log = open(directory.path()).await;
    std::fs::remove_file(&files(directory.path())[0]).expect("it is ours");
    let mut reader = log.reader(Release::AtOnce);
    assert!(reader.read(100).await.expect("the disk works").is_empty());
    assert_eq!(log.fill().events, 20);
    let read = reader.read(100).await.expect("the disk works");
    assert_eq!(read.len(), 20);
}

#[tokio::test]
async fn a_file_that_is_empty_or_all_zeros_is_none() {
    let directory = directory();
    let all = three(directory.path()).await;
    File::create(&all[0]).expect("it is ours");
    let zeros = vec![0; 100_000];
    std::fs::write(&all[1], &zeros).expect("it is ours");
    let log = open(directory.path()).await;
    assert_eq!((log.damaged(), log.fill().events), (0, 10));
    assert_eq!(waiting(&log).await, events(20..30));
    let left = files(directory.path());
    assert!(!left.contains(&all[0]) && !left.contains(&all[1]), "{left:?}");
}

#[tokio::test]
async fn of_a_file_that_was_cut_off_what_is_left_is_handed_out() {
    let directory = directory();
    let files = three(directory.path()).await;
    let end = std::fs::metadata(&files[0]).expect("it is there").len();
    let middle = File::options().write(true).open(&files[0]).expect("it is ours");
    middle.set_len(end / 2).expect("it is ours");
    let log = open(directory.path()).await;
    assert_eq!(log.damaged(), 0, "as if the last write was torn");
    let waits = waiting(&log).await;
    assert!((21..30).contains(&waits.len()), "{}", waits.len());
    assert_eq!(waits[..2], events(0..2));
    assert_eq!(waits[waits.len() - 20..], events(10..30));

    // One that is cut off while it waits was whole: that is damage.
    middle.set_len(end / 4).expect("it is ours");
    let mut reader = log.reader(Release::AtOnce);
    assert!(reader.read(100).await.expect("the disk works").is_empty());
    assert_eq!(log.damaged(), 1);
    assert_eq!(reader.read(100).await.expect("the disk works").len(), 20);
}

#[tokio::test]
async fn what_is_not_its_own_in_its_directory_is_left_alone() {
    let directory = directory();
    three(directory.path()).await;
    let foreign = [
        "5.log",
        "notes.txt",
        "00000000000000000001.copy.log",
        "00000000000000000002.log.gz",
        "18446744073709551615.log",
        "x.log",
    ];
    for name in foreign {
        std::fs::write(directory.path().join(name), "hello").expect("it is ours");
    }
    for name in ["00000000000000000099.log", "replay/lost+found", "damaged/lost+found"] {
        std::fs::create_dir(directory.path().join(name)).expect("it is ours");
    }
    let log = open(directory.path()).await;
    assert_eq!((log.damaged(), log.fill().events), (0, 30));
    log.commit(&batch(30..31)).await.expect("there is room");
    assert_eq!(log.replay().await.expect("nothing is to be replayed").events, 0);
    assert!(log.dead_letters().damaged().await.expect("the disk works").is_empty());
    assert_eq!(waiting(&log).await, events(0..31));
    for name in foreign {
        let left = std::fs::read_to_string(directory.path().join(name)).expect("it is there");
        assert_eq!(left, "hello", "{name}");
    }
}

#[tokio::test]
async fn a_part_of_its_directory_that_somebody_deleted_is_made_again() {
    let directory = directory();
    let log = open(directory.path()).await;
    log.commit(&batch(0..10)).await.expect("there is room");
    let parts = ["aside", "damaged", "replay"].map(|part| directory.path().join(part));
    let remove = || parts.iter().for_each(|part| std::fs::remove_dir(part).expect("it is empty"));
    remove();
    let mut reader = log.reader(Release::AtOnce);
    let read = reader.read(1).await.expect("the disk works");
    reader.dead_letter(&read[0].id, 1, "refused").await.expect("it is put aside");
    let letters = offhook::backend::DeadLetters { stream: None, local: Some(log.dead_letters()) };
    let id = letters.list(None, 1).await.expect("the disk works").swap_remove(0).id;
    let replayed = letters.resolve(&id, offhook::backend::Action::Replay).await;
    assert!(replayed.expect("the disk works"));
    assert_eq!(log.replay().await.expect("there is room").events, 1);
    // A damaged file needs its place, too.
    let path = file(directory.path());
    let mut bytes = std::fs::read(&path).expect("it is there");
    bytes[5] ^= 1;
    std::fs::write(&path, bytes).expect("it is ours");
    drop((reader, letters, log));
    let log = open(directory.path()).await;
    assert_eq!(log.damaged(), 1);
}

#[tokio::test]
async fn what_would_be_synced_to_a_deleted_file_is_not_acknowledged() {
    let directory = directory();
    let log = open(directory.path()).await;
    log.commit(&batch(0..10)).await.expect("there is room");
    for file in files(directory.path()) {
        std::fs::remove_file(file).expect("it is ours");
    }
    let refused = log.commit(&batch(10..20)).await;
    let told = |error: &CommitError| error.to_string().contains("deleted");
    assert!(
        matches!(&refused, Err(error @ CommitError::Transient(_)) if told(error)),
        "{refused:?}"
    );
    log.commit(&batch(20..30)).await.expect("a new file takes it");
    let copy = tempfile::tempdir().expect("a temporary directory");
    copy_all(directory.path(), copy.path());
    assert_eq!(waiting(&open(copy.path()).await).await, events(20..30));
}

#[tokio::test]
async fn a_directory_that_vanishes_takes_nothing_and_goes_on_once_it_is_back() {
    let directory = directory();
    let (place, away) = (directory.path().join("log"), directory.path().join("away"));
    let log = open(&place).await;
    log.commit(&batch(0..10)).await.expect("there is room");
    let mut reader = log.reader(Release::AtOnce);
    std::fs::rename(&place, &away).expect("it is ours");
    let refused = log.commit(&batch(10..20)).await;
    assert!(matches!(&refused, Err(CommitError::Transient(_))), "{refused:?}");
    assert!(log.check().is_err());
    reader.read(100).await.expect_err("nothing can be read");
    assert_eq!(log.fill().events, 10, "it waits all the same");
    std::fs::rename(&away, &place).expect("it is ours");
    log.check().expect("it is back");
    log.commit(&batch(10..20)).await.expect("it is back");
    assert_eq!(reader.read(100).await.expect("it is back").len(), 20);
}

#[tokio::test]
async fn a_directory_that_cannot_be_written_is_named_at_start() {
    // Where nobody can make anything, not even root.
    let place = Path::new("/proc/offhook");
    let opened = LocalLog::open(place, BOUNDS).await;
    assert!(matches!(&opened, Err(OpenError::File { path, .. }) if path == place), "{opened:?}");
}

#[tokio::test]
async fn a_letter_that_a_crash_left_half_written_is_forgotten() {
    let directory = directory();
    drop(open(directory.path()).await);
    let begun = directory.path().join("aside/1795500000000-1.new");
    std::fs::write(&begun, "From=%2B15550100").expect("it is ours");
    let log = open(directory.path()).await;
    assert!(!begun.exists(), "what a purge could not find must not stay");
    assert_eq!(log.fill().events, 0);
}

/// Each file that was lost takes its number with it.
#[tokio::test]
async fn a_file_that_is_used_again_never_shows_what_it_held_before() {
    let directory = directory();
    let log = open(directory.path()).await;
    log.commit(&batch(0..10)).await.expect("there is room");
    drop(log);
    // All but the file that would be used again is gone.
    let written = file(directory.path());
    for path in files(directory.path()) {
        match path == written {
            true => std::fs::rename(&path, directory.path().join("spare")).expect("it is ours"),
            false => std::fs::remove_file(&path).expect("it is ours"),
        }
    }
    std::fs::remove_file(directory.path().join("settled")).expect("it is ours");
    drop(open(directory.path()).await);
    let log = open(directory.path()).await;
    assert_eq!((log.damaged(), log.fill().events), (0, 0));
}
