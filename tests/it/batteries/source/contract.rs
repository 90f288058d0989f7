//! What every source promises, whatever it reads: the consumer group, and the local log's reader.
//!
//! Where the two differ, and why: a local log has one reader in one process, so nothing is ever idle in
//! another's hands. Its `claim` hands out nothing; what was not settled comes again by a `read`, of the same
//! reader or the next. Nobody else stores what it holds, so there are no marks. How often it handed something
//! out it does not count: that would be a write for each event.

use std::ops::Range;
use std::time::{Duration, Instant};

use bytes::Bytes;
use offhook::backend::local_log::{Bounds, LocalLog, Reader, Release};
use offhook::backend::redis::RedisConsumer;
use offhook::backend::{DeadLetter, DeadLetters};
use offhook::event::{Batch, Event, EventKey};
use offhook::pipeline::{Delivery, Sink as _, Source, SourceError};
use redis::cmd;
use tempfile::TempDir;

use super::reader::{STREAM, Stream, event};
use crate::harness::{settled, until};
use crate::services::Need;

/// What a source reads from.
trait Origin: Sized {
    type Source: Source;
    const NEEDS: &[Need];

    async fn start() -> Self;
    /// Appends one entry each, in their order.
    async fn append(&self, range: Range<u32>);
    /// Appends an entry that is no event.
    async fn append_other(&self, name: &'static str, value: &'static str);
    /// The next reader; the one before is gone.
    async fn reader(&mut self) -> Self::Source;
    /// What a reader is handed out of what was read before and is not settled.
    async fn again(reader: &mut Self::Source) -> Result<Vec<Handed<Self>>, SourceError>;
    async fn letters(&self) -> Vec<DeadLetter>;
    fn take_away(&mut self);
    fn bring_back(&mut self);
}

type Handed<O> = Delivery<<<O as Origin>::Source as Source>::Id>;

struct RedisOrigin {
    stream: Stream,
    readers: u32,
}

impl Origin for RedisOrigin {
    type Source = RedisConsumer;
    const NEEDS: &[Need] = &[Need::Redis];

    async fn start() -> Self {
        Self { stream: Stream::start(), readers: 0 }
    }

    async fn append(&self, range: Range<u32>) {
        self.stream.append(range).await;
    }

    async fn append_other(&self, name: &'static str, value: &'static str) {
        self.stream.redis.query::<String>(cmd("XADD").arg(STREAM).arg("*").arg(name).arg(value));
    }

    async fn reader(&mut self) -> RedisConsumer {
        self.readers += 1;
        self.stream.reader(&self.readers.to_string())
    }

    async fn again(reader: &mut RedisConsumer) -> Result<Vec<Handed<Self>>, SourceError> {
        reader.claim(100).await.map(|claimed| claimed.deliveries)
    }

    async fn letters(&self) -> Vec<DeadLetter> {
        self.stream.dead_letters().list(None, 100).await.expect("Redis is there")
    }

    fn take_away(&mut self) {
        self.stream.redis.kill();
    }

    fn bring_back(&mut self) {
        self.stream.redis.restart();
    }
}

struct LocalOrigin {
    directory: TempDir,
    /// `None` while nobody has it.
    log: Option<LocalLog>,
}

impl LocalOrigin {
    async fn open(directory: &TempDir) -> LocalLog {
        let bounds = Bounds { max_bytes: 1 << 30, min_free_bytes: 0 };
        let log = LocalLog::open(&directory.path().join("log"), bounds).await;
        log.expect("nobody else has it")
    }

    fn log(&self) -> &LocalLog {
        self.log.as_ref().expect("it is open")
    }
}

impl Origin for LocalOrigin {
    type Source = Reader;
    const NEEDS: &[Need] = &[];

    async fn start() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        Self { log: Some(Self::open(&directory).await), directory }
    }

    async fn append(&self, range: Range<u32>) {
        for n in range {
            self.log().commit(&Batch::from(event(n))).await.expect("there is room");
        }
    }

    async fn append_other(&self, name: &'static str, value: &'static str) {
        let fields = vec![(Bytes::from(name), Bytes::from(value))];
        self.log().append_fields(&[fields]).await.expect("there is room");
    }

    /// Of another process on the same directory.
    async fn reader(&mut self) -> Reader {
        drop(self.log.take());
        self.log = Some(Self::open(&self.directory).await);
        self.log().reader(Release::AtOnce)
    }

    async fn again(reader: &mut Reader) -> Result<Vec<Handed<Self>>, SourceError> {
        reader.read(100).await
    }

    async fn letters(&self) -> Vec<DeadLetter> {
        let letters = DeadLetters { stream: None, local: Some(self.log().dead_letters()) };
        letters.list(None, 100).await.expect("the disk works")
    }

    fn take_away(&mut self) {
        let place = self.directory.path();
        std::fs::rename(place.join("log"), place.join("away")).expect("it is ours");
    }

    fn bring_back(&mut self) {
        let place = self.directory.path();
        std::fs::rename(place.join("away"), place.join("log")).expect("it is ours");
    }
}

macro_rules! every_source {
    ($($name:ident),+ $(,)?) => {
        every_source!(@ consumer_group, RedisOrigin: $($name),+);
        every_source!(@ local_log, LocalOrigin: $($name),+);
    };
    (@ $module:ident, $origin:ident: $($name:ident),+) => {
        mod $module {
            use super::*;
            $(#[tokio::test]
            async fn $name() {
                $crate::services::needs!(all $origin::NEEDS);
                super::$name::<$origin>().await;
            })+
        }
    };
}

every_source! {
    what_is_appended_is_read_in_order_and_no_more_than_was_asked_for,
    a_read_where_nothing_is_ends_by_itself,
    what_is_not_settled_comes_to_the_next_reader_and_what_is_does_not,
    what_is_released_comes_again_and_was_not_delivered,
    what_is_no_event_is_delivered_as_such,
    what_is_put_aside_comes_no_more_and_is_one_letter_with_the_reason,
    what_is_settled_twice_is_settled_once,
    a_backend_that_is_gone_is_an_error_soon_and_nothing_is_lost_by_it,
}

fn keys<I>(deliveries: &[Delivery<I>]) -> Vec<EventKey> {
    let event = |delivery: &Delivery<I>| delivery.event.clone().expect("an event");
    deliveries.iter().map(|delivery| event(delivery).key).collect()
}

fn keys_of(range: Range<u32>) -> Vec<EventKey> {
    range.map(|n| event(n).key).collect()
}

async fn what_is_appended_is_read_in_order_and_no_more_than_was_asked_for<O: Origin>() {
    let mut origin = O::start().await;
    let mut reader = origin.reader().await;
    origin.append(0..7).await;
    let mut read = Vec::new();
    for most in [3, 1, 100] {
        let part = reader.read(most).await.expect("the backend is there");
        assert!(!part.is_empty() && part.len() <= most);
        assert!(part.iter().all(|delivery| delivery.count == 1));
        read.extend(part.iter().map(|delivery| delivery.event.clone().expect("an event")));
        reader.ack(&settled(part)).await.expect("the backend is there");
    }
    assert_eq!(read, (0..7).map(event).collect::<Vec<Event>>());
}

async fn a_read_where_nothing_is_ends_by_itself<O: Origin>() {
    let mut origin = O::start().await;
    let mut reader = origin.reader().await;
    assert!(reader.read(10).await.expect("the backend is there").is_empty());
    assert!(reader.claim(10).await.expect("the backend is there").deliveries.is_empty());
}

async fn again<O: Origin>(reader: &mut O::Source) -> Vec<Handed<O>> {
    until("it is idle for long enough", async || {
        let again = O::again(reader).await.expect("the backend is there");
        (!again.is_empty()).then_some(again)
    })
    .await
}

async fn what_is_not_settled_comes_to_the_next_reader_and_what_is_does_not<O: Origin>() {
    let mut origin = O::start().await;
    let mut reader = origin.reader().await;
    origin.append(0..6).await;
    let read = reader.read(6).await.expect("the backend is there");
    reader.ack(&settled(read[..2].to_vec())).await.expect("the backend is there");
    drop(reader);
    let mut next = origin.reader().await;
    // A log that knows only up to where everything is settled may hand out more, and never less.
    let left = keys(&again::<O>(&mut next).await);
    let unsettled = keys_of(2..6);
    assert!(unsettled.iter().all(|key| left.contains(key)), "{left:?}");
}

async fn what_is_released_comes_again_and_was_not_delivered<O: Origin>() {
    let mut origin = O::start().await;
    let mut reader = origin.reader().await;
    origin.append(0..3).await;
    let read = reader.read(3).await.expect("the backend is there");
    let ids: Vec<_> = read.iter().map(|delivery| delivery.id.clone()).collect();
    reader.renew(&ids).await.expect("the backend is there");
    let all: Vec<_> = read.iter().map(|delivery| (delivery.id.clone(), delivery.count)).collect();
    reader.release(&all).await.expect("the backend is there");
    let back = again::<O>(&mut reader).await;
    assert_eq!(keys(&back), keys_of(0..3));
    assert!(back.iter().all(|delivery| delivery.count == 1));
}

async fn what_is_no_event_is_delivered_as_such<O: Origin>() {
    let mut origin = O::start().await;
    let mut reader = origin.reader().await;
    origin.append_other("hello", "world").await;
    origin.append(0..1).await;
    origin.append_other("key", "with blanks").await;
    let read = reader.read(10).await.expect("one bad entry is no error");
    let bad: Vec<_> = read.iter().map(|delivery| delivery.event.is_err()).collect();
    assert_eq!(bad, [true, false, true]);
}

async fn what_is_put_aside_comes_no_more_and_is_one_letter_with_the_reason<O: Origin>() {
    let mut origin = O::start().await;
    let mut reader = origin.reader().await;
    origin.append(0..2).await;
    let read = reader.read(10).await.expect("the backend is there");
    for reason in ["a reason, with 'quotes'", "as after a crash"] {
        reader.dead_letter(&read[0].id, 11, reason).await.expect("the backend is there");
    }
    let letters = origin.letters().await;
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert_eq!(letters[0].event.as_ref(), Ok(&event(0)));
    assert_eq!(letters[0].deliveries, 11);
    reader.ack(&settled(read[1..].to_vec())).await.expect("the backend is there");
    drop(reader);
    let mut next = origin.reader().await;
    origin.append(5..6).await;
    let read = next.read(10).await.expect("the backend is there");
    assert_eq!(keys(&read), keys_of(5..6));
}

async fn what_is_settled_twice_is_settled_once<O: Origin>() {
    let mut origin = O::start().await;
    let mut reader = origin.reader().await;
    origin.append(0..4).await;
    let read = reader.read(2).await.expect("the backend is there");
    for _ in 0..2 {
        reader.ack(&settled(read.clone())).await.expect("the backend is there");
    }
    assert_eq!(keys(&reader.read(10).await.expect("the backend is there")), keys_of(2..4));
}

async fn a_backend_that_is_gone_is_an_error_soon_and_nothing_is_lost_by_it<O: Origin>() {
    let mut origin = O::start().await;
    let mut reader = origin.reader().await;
    origin.append(0..3).await;
    let read = reader.read(1).await.expect("the backend is there");
    origin.take_away();
    let soon = Instant::now() + Duration::from_secs(20);
    reader.read(10).await.expect_err("nobody is there");
    assert!(Instant::now() < soon);
    origin.bring_back();
    let settled = settled(read);
    until("it is back", async || reader.ack(&settled).await.ok()).await;
    let mut left = Vec::new();
    until("all is handed out", async || {
        left.extend(keys(&reader.read(10).await.ok()?));
        (left.len() >= 2).then_some(())
    })
    .await;
    assert_eq!(left, keys_of(1..3));
}
