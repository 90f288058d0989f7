//! The contract of [`Source`](offhook::pipeline::Source): what holds for each of them is in `contract`, the
//! rest is of the consumer group.

mod contract;
mod dead_letters;
mod housekeeping;
mod reader;

use std::time::{Duration, Instant};

use offhook::event::Event;
use offhook::pipeline::{Delivery, Mark, Source as _};
use redis::cmd;

use self::reader::{GROUP, STREAM, Stream};
use crate::harness::{settled, until};
use crate::services::needs;

fn ids(deliveries: &[Delivery<String>]) -> Vec<String> {
    deliveries.iter().map(|delivery| delivery.id.clone()).collect()
}

fn counts(deliveries: &[Delivery<String>]) -> Vec<u32> {
    deliveries.iter().map(|delivery| delivery.count).collect()
}

#[tokio::test]
async fn what_is_appended_is_read_once_and_in_order() {
    needs!(Redis);
    let stream = Stream::start();
    stream.append(0..5).await;
    let (mut one, mut other) = (stream.reader("one"), stream.reader("other"));
    let first = one.read(3).await.expect("Redis is there");
    let second = other.read(10).await.expect("Redis is there");
    assert_eq!((first.len(), second.len()), (3, 2));
    assert_eq!([ids(&first), ids(&second)].concat(), stream.redis.ids(STREAM));
    assert_eq!(counts(&first), [1, 1, 1]);
    let keys = first.iter().map(|delivery| delivery.event.as_ref().expect("an event").key.clone());
    let written = stream.events(0..3);
    assert_eq!(keys.collect::<Vec<_>>(), written.map(|event| event.key).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_left_idle_is_claimed_and_its_count_grows() {
    needs!(Redis);
    let stream = Stream::start();
    stream.append(0..3).await;
    let read = stream.reader("the one that dies").read(10).await.expect("Redis is there");
    let mut readers = [stream.reader("second"), stream.reader("third")];
    for count in 2..5 {
        let reader = &mut readers[count as usize % 2];
        let claimed = until("they are idle for long enough", async || {
            let claimed = reader.claim(10).await.expect("Redis is there").deliveries;
            (!claimed.is_empty()).then_some(claimed)
        })
        .await;
        let mut claimed_ids = ids(&claimed);
        claimed_ids.sort();
        assert_eq!(claimed_ids, ids(&read));
        assert_eq!(counts(&claimed), [count; 3]);
    }
}

#[tokio::test]
async fn what_is_not_idle_yet_cannot_be_claimed() {
    needs!(Redis);
    let stream = Stream::start();
    stream.append(0..3).await;
    let mut patient = stream.reader_with("patient", Duration::from_secs(3600));
    assert_eq!(patient.read(10).await.expect("Redis is there").len(), 3);
    let mut other = stream.reader_with("other", Duration::from_secs(3600));
    assert!(other.claim(10).await.expect("Redis is there").deliveries.is_empty());
}

#[tokio::test]
async fn what_is_acked_is_settled_for_good_and_marked() {
    needs!(Redis);
    let stream = Stream::start();
    stream.append(0..4).await;
    let mut reader = stream.reader("one");
    let read = reader.read(10).await.expect("Redis is there");
    let events: Vec<_> = stream.events(0..5).collect();
    let marked = reader.marked(&events).await.expect("Redis is there");
    assert_eq!(marked, [None; 5]);

    reader.ack(&settled(read[..3].to_vec())).await.expect("Redis is there");
    let marked = reader.marked(&events).await.expect("Redis is there");
    let mark = |at: usize| Some(Mark { fingerprint: events[at].fingerprint });
    assert_eq!(marked, [mark(0), mark(1), mark(2), None, None]);
    assert!(events[0].fingerprint.is_some());
    // Another account's event of the same key is another event.
    let theirs = Event { account: "AC99".to_owned(), ..events[0].clone() };
    assert_eq!(reader.marked(&[theirs]).await, Ok(vec![None]));
    assert_eq!(stream.pending(), [read[3].id.clone()]);
    let ttl: i64 = stream.redis.query(cmd("TTL").arg(Stream::names().mark(&events[0].id())));
    assert!((3500..=3600).contains(&ttl), "a mark lives for {ttl} s");

    // Only the last one comes back.
    let claimed = until("it is idle for long enough", async || {
        let claimed = stream.reader("two").claim(10).await.expect("Redis is there").deliveries;
        (!claimed.is_empty()).then_some(claimed)
    })
    .await;
    assert_eq!(ids(&claimed), [read[3].id.clone()]);
}

#[tokio::test]
async fn what_is_released_can_be_claimed_at_once_and_was_not_delivered() {
    needs!(Redis);
    let stream = Stream::start();
    stream.append(0..3).await;
    let hour = Duration::from_secs(3600);
    let mut reader = stream.reader_with("one", hour);
    let read = reader.read(10).await.expect("Redis is there");
    let all: Vec<_> = read.iter().map(|delivery| (delivery.id.clone(), delivery.count)).collect();
    reader.release(&all).await.expect("Redis is there");
    let claimed =
        stream.reader_with("two", hour).claim(10).await.expect("Redis is there").deliveries;
    assert_eq!(claimed.len(), 3);
    assert_eq!(counts(&claimed), [1; 3], "the delivery that was given back does not count");
}

#[tokio::test]
async fn what_is_renewed_cannot_be_claimed_and_does_not_count() {
    needs!(Redis);
    let stream = Stream::start();
    stream.append(0..3).await;
    let mut reader = stream.reader("one");
    let read = reader.read(10).await.expect("Redis is there");
    let patience = Duration::from_secs(2);
    let mut other = stream.reader_with("other", patience);
    let until_then = Instant::now() + patience + patience / 4;
    while Instant::now() < until_then {
        reader.renew(&ids(&read)).await.expect("Redis is there");
        assert!(other.claim(10).await.expect("Redis is there").deliveries.is_empty());
    }
    let pending: Vec<(String, String, u64, u32)> =
        stream.redis.query(cmd("XPENDING").arg(STREAM).arg(GROUP).arg("-").arg("+").arg(9));
    let owners: Vec<_> = pending.iter().map(|(_, owner, _, count)| (&**owner, *count)).collect();
    assert_eq!(owners, [("one", 1); 3]);
}

#[tokio::test]
async fn a_stream_that_is_gone_is_read_again_from_its_start() {
    needs!(Redis);
    let stream = Stream::start();
    let mut reader = stream.reader("one");
    for command in ["FLUSHALL", "DEL", "XGROUP"] {
        stream.append(0..2).await;
        let read = reader.read(10).await.expect("Redis is there");
        reader.ack(&settled(read)).await.expect("Redis is there");
        let mut lose = cmd(command);
        match command {
            "DEL" => lose.arg(STREAM),
            "XGROUP" => lose.arg("DESTROY").arg(STREAM).arg(GROUP),
            _ => &mut lose,
        };
        stream.redis.query::<redis::Value>(&lose);
        // Before the reader knows, and so that a group that started at the end would miss it.
        stream.append(7..9).await;
        let read = until("a read that heals", async || {
            reader.read(10).await.ok().filter(|read| !read.is_empty())
        })
        .await;
        let last = read.last().expect("not empty").event.as_ref().expect("an event");
        assert_eq!(last.key, stream.event(8).key, "after {command}");
        reader.ack(&settled(read)).await.expect("Redis is there");
    }
}

#[tokio::test]
async fn a_claim_heals_too() {
    needs!(Redis);
    let stream = Stream::start();
    let mut reader = stream.reader("one");
    assert!(reader.claim(10).await.expect("a claim makes the group").deliveries.is_empty());
    stream.redis.query::<redis::Value>(&cmd("FLUSHALL"));
    until("a claim that heals", async || reader.claim(10).await.ok()).await;
    stream.append(0..1).await;
    assert_eq!(reader.read(10).await.expect("the group is there").len(), 1);
}

#[tokio::test]
async fn a_reader_leaves_only_with_nothing_in_hand() {
    needs!(Redis);
    let stream = Stream::start();
    stream.append(0..2).await;
    let mut reader = stream.reader("one");
    let read = reader.read(10).await.expect("Redis is there");
    reader.leave().await.expect("Redis is there");
    assert_eq!(stream.consumers(), ["one"], "what it holds would go with it");
    assert_eq!(stream.pending(), ids(&read));
    reader.ack(&settled(read)).await.expect("Redis is there");
    reader.leave().await.expect("Redis is there");
    assert!(stream.consumers().is_empty());
}

#[tokio::test]
async fn a_redis_that_is_gone_or_silent_is_an_error_soon_and_then_works_again() {
    needs!(Redis);
    let mut stream = Stream::start();
    stream.append(0..2).await;
    let mut reader = stream.reader("one");
    let read = reader.read(1).await.expect("Redis is there");
    stream.redis.kill();
    let soon = Instant::now() + Duration::from_secs(5);
    reader.read(1).await.expect_err("nobody is there");
    reader.claim(1).await.expect_err("nobody is there");
    reader.ack(&settled(read.clone())).await.expect_err("nobody is there");
    assert!(Instant::now() < soon);
    stream.redis.restart();
    reader.ack(&settled(read)).await.expect("a new connection");

    stream.redis.pause();
    let soon = Instant::now() + Duration::from_secs(12);
    reader.claim(1).await.expect_err("nobody answers");
    assert!(Instant::now() < soon);
    stream.redis.go_on();
    let rest = reader.read(10).await.expect("a new connection");
    assert_eq!(rest.len(), 1);
}

#[tokio::test]
async fn a_claim_counts_what_was_deleted_and_lets_go_of_it() {
    needs!(Redis);
    let stream = Stream::start();
    stream.append(0..3).await;
    let read = stream.reader("one").read(10).await.expect("Redis is there");
    stream.redis.query::<u64>(cmd("XDEL").arg(STREAM).arg(&read[1].id));
    let mut two = stream.reader("two");
    let claimed = until("they are idle for long enough", async || {
        let claimed = two.claim(10).await.expect("Redis is there");
        (!claimed.deliveries.is_empty()).then_some(claimed)
    })
    .await;
    let mut left = ids(&claimed.deliveries);
    left.sort();
    assert_eq!(left, [read[0].id.clone(), read[2].id.clone()]);
    assert_eq!(claimed.vanished, 1);
    assert_eq!(stream.pending(), left, "it is not looked for again");
}

#[tokio::test]
async fn marks_are_given_up_while_events_need_the_room() {
    needs!(Redis);
    let stream = Stream::start();
    let mut reader = stream.reader("one");
    let set = |limit: u64| {
        stream.redis.query::<()>(cmd("CONFIG").arg("SET").arg("maxmemory").arg(limit));
    };
    // So much that nothing else counts.
    stream.redis.query::<()>(cmd("SET").arg("ballast").arg(vec![b'x'; 16 << 20]));
    let info: String = stream.redis.query(cmd("INFO").arg("memory"));
    let used = info.lines().find_map(|line| line.strip_prefix("used_memory:")?.trim().parse().ok());
    let used: u64 = used.expect("Redis tells");
    let events: Vec<_> = stream.events(0..3).collect();
    for (n, (limit, marked)) in
        [(used * 4, true), (used * 3 / 2, false), (0, true)].into_iter().enumerate()
    {
        set(limit);
        stream.rehearse().await.expect("Redis is there");
        let n = u32::try_from(n).expect("three");
        stream.append(n..n + 1).await;
        let read = reader.read(10).await.expect("Redis is there");
        reader.ack(&settled(read)).await.expect("Redis is there");
        assert!(stream.pending().is_empty(), "it is acked with and without a mark");
        let marks = reader.marked(&events).await.expect("Redis is there");
        let is_marked = marks[n as usize].is_some();
        assert_eq!(is_marked, marked, "with a limit of {limit} of which {used} are used");
    }
}
