//! What is done with is freed, what is not stays, and the numbers say which is which.

use std::time::Duration;

use offhook::backend::redis::{Backlog, TRIMMED_AT_ONCE};
use offhook::clock::Timestamp;
use offhook::pipeline::Source as _;
use redis::cmd;

use super::reader::{GROUP, STREAM, Stream};
use crate::harness::{settled, until};
use crate::services::needs;

/// Makes a group that is none of ours.
fn make_group(stream: &Stream, name: &str) {
    let create = cmd("XGROUP").arg("CREATE").arg(STREAM).arg(name).arg("0").to_owned();
    stream.redis.query::<()>(&create);
}

/// Nodes of one entry, so that trimming, which spares part of a node, is exact.
async fn stream_with(entries: u32) -> Stream {
    let stream = Stream::start();
    let one = cmd("CONFIG").arg("SET").arg("stream-node-max-entries").arg(1).to_owned();
    stream.redis.query::<()>(&one);
    stream.append(0..entries).await;
    stream
}

fn time_of(id: &str) -> Timestamp {
    let (millis, _) = id.split_once('-').expect("an id");
    Timestamp::from_micros(millis.parse::<i64>().expect("a number") * 1000)
}

#[tokio::test]
async fn what_every_group_has_acked_is_freed() {
    needs!(Redis);
    let stream = stream_with(10).await;
    let (mut reader, mut housekeeping) = (stream.reader("one"), stream.housekeeping());
    let read = reader.read(6).await.expect("Redis is there");
    assert_eq!(housekeeping.trim().await, Ok(0), "nothing is acked");
    reader.ack(&settled(read[..4].to_vec())).await.expect("Redis is there");
    assert_eq!(housekeeping.trim().await, Ok(4));
    assert_eq!(stream.redis.ids(STREAM)[0], read[4].id);
}

#[tokio::test]
async fn an_entry_in_the_middle_keeps_all_after_it() {
    needs!(Redis);
    let stream = stream_with(10).await;
    let mut reader = stream.reader("one");
    let mut read = reader.read(10).await.expect("Redis is there");
    let kept = read.remove(2);
    reader.ack(&settled(read)).await.expect("Redis is there");
    assert_eq!(stream.housekeeping().trim().await, Ok(2));
    assert_eq!(stream.redis.ids(STREAM)[0], kept.id);
}

#[tokio::test]
async fn a_group_of_somebody_else_is_waited_for() {
    needs!(Redis);
    let stream = stream_with(10).await;
    make_group(&stream, "theirs");
    let (mut reader, mut housekeeping) = (stream.reader("one"), stream.housekeeping());
    let read = reader.read(10).await.expect("Redis is there");
    reader.ack(&settled(read.clone())).await.expect("Redis is there");
    assert_eq!(housekeeping.trim().await, Ok(0), "they have read nothing");

    let mut read_three = cmd("XREADGROUP");
    read_three.arg("GROUP").arg("theirs").arg("them").arg("COUNT").arg(3);
    read_three.arg("STREAMS").arg(STREAM).arg(">");
    stream.redis.query::<redis::Value>(&read_three);
    assert_eq!(housekeeping.trim().await, Ok(0), "they have acked nothing");

    let ack = cmd("XACK").arg(STREAM).arg("theirs").arg(&read[0].id).arg(&read[1].id).to_owned();
    stream.redis.query::<u64>(&ack);
    assert_eq!(housekeeping.trim().await, Ok(2));
    assert_eq!(stream.redis.ids(STREAM).len(), 8);
}

#[tokio::test]
async fn a_group_that_was_set_back_reads_everything_again() {
    needs!(Redis);
    let stream = stream_with(10).await;
    let mut reader = stream.reader("one");
    let mut read = reader.read(10).await.expect("Redis is there");
    let (ids, pending) = (stream.redis.ids(STREAM), read.pop().expect("ten"));
    reader.ack(&settled(read)).await.expect("Redis is there");
    // Somebody wants to see it all again, from the third entry on.
    let back = cmd("XGROUP").arg("SETID").arg(STREAM).arg(GROUP).arg(&ids[2]).to_owned();
    stream.redis.query::<()>(&back);
    stream.housekeeping().trim().await.expect("Redis is there");
    assert_eq!(stream.redis.ids(STREAM)[..], ids[2..], "the tenth is not the lowest: {pending:?}");
}

#[tokio::test]
async fn without_a_group_or_a_stream_nothing_is_freed() {
    needs!(Redis);
    let stream = Stream::start();
    let mut housekeeping = stream.housekeeping();
    assert_eq!(housekeeping.trim().await, Ok(0), "there is no stream");
    stream.append(0..10).await;
    assert_eq!(housekeeping.trim().await, Ok(0), "no worker has started yet");
    assert_eq!(stream.redis.ids(STREAM).len(), 10);
}

#[tokio::test]
async fn the_backlog_says_what_waits_at_every_step() {
    needs!(Redis);
    let stream = Stream::start();
    let mut housekeeping = stream.housekeeping();
    assert_eq!(housekeeping.backlog().await, Ok(Backlog::default()), "there is no stream");

    stream.append(0..5).await;
    let times: Vec<_> = stream.redis.ids(STREAM).iter().map(|id| time_of(id)).collect();
    let of =
        |length, unread, pending, oldest| Ok(Backlog { length, unread, pending, dead: 0, oldest });
    let backlog = housekeeping.backlog().await;
    assert_eq!(backlog, of(5, 5, 0, Some(times[0])), "there is no group");

    let mut reader = stream.reader("one");
    let read = reader.read(3).await.expect("Redis is there");
    assert_eq!(housekeeping.backlog().await, of(5, 2, 3, Some(times[0])));
    reader.ack(&settled(read[..1].to_vec())).await.expect("Redis is there");
    assert_eq!(housekeeping.backlog().await, of(5, 2, 2, Some(times[1])));
    reader.ack(&settled(read[1..].to_vec())).await.expect("Redis is there");
    assert_eq!(housekeeping.backlog().await, of(5, 2, 0, Some(times[3])));

    let rest = reader.read(10).await.expect("Redis is there");
    reader.ack(&settled(rest)).await.expect("Redis is there");
    assert_eq!(housekeeping.backlog().await, of(5, 0, 0, None), "drained, and not yet freed");
}

#[tokio::test]
async fn what_was_deleted_in_the_middle_leaves_a_bound_that_comes_down_to_nothing() {
    needs!(Redis);
    let stream = Stream::start();
    stream.append(0..5).await;
    let ids = stream.redis.ids(STREAM);
    let (mut reader, mut housekeeping) = (stream.reader("one"), stream.housekeeping());
    let read = reader.read(1).await.expect("Redis is there");
    stream.redis.query::<u64>(cmd("XDEL").arg(STREAM).arg(&ids[2]));
    // Redis says that it does not know how many are unread.
    let backlog = housekeeping.backlog().await.expect("Redis is there");
    assert_eq!((backlog.unread, backlog.pending), (3, 1));
    let rest = reader.read(10).await.expect("Redis is there");
    reader.ack(&settled([read, rest].concat())).await.expect("Redis is there");
    let backlog = housekeeping.backlog().await.expect("Redis is there");
    assert_eq!((backlog.unread, backlog.pending, backlog.oldest), (0, 0, None));
}

#[tokio::test]
async fn a_reader_that_is_gone_is_forgotten_once_nothing_is_in_its_hands() {
    needs!(Redis);
    let stream = Stream::start();
    stream.append(0..2).await;
    let read = stream.reader("killed").read(1).await.expect("Redis is there");
    let mut other = stream.reader("other");
    let rest = other.read(1).await.expect("Redis is there");
    other.ack(&settled(rest)).await.expect("Redis is there");
    let mut housekeeping = stream.housekeeping();
    assert_eq!(housekeeping.reap(Duration::from_secs(3600)).await, Ok(0), "not for long enough");
    assert_eq!(housekeeping.reap(Duration::ZERO).await, Ok(1));
    assert_eq!(stream.consumers(), ["killed"], "what it holds would go with it");
    assert_eq!(stream.pending(), [read[0].id.clone()]);
    other.ack(&settled(read)).await.expect("Redis is there");
    assert_eq!(housekeeping.reap(Duration::ZERO).await, Ok(1));
    assert!(stream.consumers().is_empty());
}

#[tokio::test]
async fn a_reader_that_was_forgotten_while_it_waited_loses_nothing() {
    needs!(Redis);
    let stream = Stream::start();
    let (mut reader, mut housekeeping) = (stream.reader("stalled"), stream.housekeeping());
    stream.append(0..1).await;
    let read = reader.read(10).await.expect("Redis is there");
    reader.ack(&settled(read)).await.expect("Redis is there");
    let forget = async {
        let blocked = "blocked_clients:1";
        until("it waits", async || {
            let clients: String = stream.redis.query(cmd("INFO").arg("clients"));
            clients.contains(blocked).then_some(())
        })
        .await;
        assert_eq!(housekeeping.reap(Duration::ZERO).await, Ok(1));
        stream.append(1..2).await;
    };
    let (read, ()) = tokio::join!(reader.read(10), forget);
    let mut read = read.expect("Redis is there");
    if read.is_empty() {
        // The wait was over by then.
        read = reader.read(10).await.expect("Redis is there");
    }
    assert_eq!(read.len(), 1);
    assert_eq!(stream.pending(), [read[0].id.clone()], "and it is in its hands");
    assert_eq!(stream.consumers(), ["stalled"]);
}

#[tokio::test]
async fn without_a_group_or_a_stream_nobody_is_forgotten() {
    needs!(Redis);
    let stream = Stream::start();
    assert_eq!(stream.housekeeping().reap(Duration::ZERO).await, Ok(0), "there is no stream");
    stream.append(0..1).await;
    assert_eq!(stream.housekeeping().reap(Duration::ZERO).await, Ok(0), "there is no group");
}

#[tokio::test]
async fn a_group_that_keeps_what_the_workers_are_done_with_is_named() {
    needs!(Redis);
    let stream = Stream::start();
    let mut housekeeping = stream.housekeeping();
    assert_eq!(housekeeping.blockers().await, Ok(vec![]), "there is no stream");
    stream.append(0..2).await;
    make_group(&stream, "theirs");
    assert_eq!(housekeeping.blockers().await, Ok(vec![]), "there are no workers yet");
    let mut reader = stream.reader("one");
    let read = reader.read(10).await.expect("Redis is there");
    assert_eq!(housekeeping.blockers().await, Ok(vec![]), "our workers are no faster");
    reader.ack(&settled(read)).await.expect("Redis is there");
    let blockers = housekeeping.blockers().await.expect("Redis is there");
    assert_eq!(blockers.len(), 1);
    assert_eq!(blockers[0].group, "theirs");

    let mut read = cmd("XREADGROUP");
    read.arg("GROUP").arg("theirs").arg("them").arg("NOACK").arg("STREAMS").arg(STREAM).arg(">");
    stream.redis.query::<redis::Value>(&read);
    assert_eq!(housekeeping.blockers().await, Ok(vec![]), "they have read it all");
}

/// What has been read for long, since Redis was started and last rewrote its file.
async fn read_and_freed(stream: &Stream, entries: u32) {
    let (mut reader, mut housekeeping) = (stream.reader("one"), stream.housekeeping());
    stream.append(0..entries).await;
    for _ in 0..entries.div_ceil(300) {
        let read = reader.read(300).await.expect("Redis is there");
        reader.ack(&settled(read)).await.expect("Redis is there");
    }
    housekeeping.trim().await.expect("Redis is there");
}

#[tokio::test]
async fn the_backlog_is_right_after_a_restart_of_redis() {
    needs!(Redis);
    let mut stream = stream_with(0).await;
    read_and_freed(&stream, 900).await;
    stream.append(0..30).await;
    let read = stream.reader("two").read(10).await.expect("Redis is there");
    assert_eq!(read.len(), 10);
    for _ in 0..2 {
        stream.redis.restart();
        let backlog = stream.housekeeping().backlog().await.expect("Redis is there");
        assert_eq!((backlog.unread, backlog.pending), (20, 10));
    }
    // More than are counted one by one: then no more than there are.
    stream.append(0..600).await;
    stream.redis.restart();
    let backlog = stream.housekeeping().backlog().await.expect("Redis is there");
    assert_eq!(backlog.pending, 10);
    let there = stream.redis.ids(STREAM).len() as u64;
    assert!((620..=there).contains(&backlog.unread), "{backlog:?} of {there}");
}

#[tokio::test]
async fn what_one_call_cannot_free_is_told_so_that_the_next_one_follows() {
    needs!(Redis);
    let stream = Stream::start();
    let mut add = cmd("EVAL");
    let script = "for i = 1, 25000 do redis.call('XADD', KEYS[1], '*', 'a', 'b') end";
    add.arg(script).arg(1).arg(STREAM);
    stream.redis.query::<()>(&add);
    let mut join = cmd("XGROUP");
    join.arg("CREATE").arg(STREAM).arg(GROUP).arg("$");
    stream.redis.query::<()>(&join);
    let mut housekeeping = stream.housekeeping();
    let mut freed = Vec::new();
    loop {
        freed.push(housekeeping.trim().await.expect("Redis is there"));
        if freed.last().is_some_and(|freed| *freed < TRIMMED_AT_ONCE) {
            break;
        }
    }
    assert!(freed.len() >= 3 && freed.iter().sum::<u64>() >= 24_900, "{freed:?}");
}

#[tokio::test]
async fn what_was_taken_away_is_told_once() {
    needs!(Redis);
    let stream = Stream::start();
    let (mut reader, mut housekeeping) = (stream.reader("one"), stream.housekeeping());
    assert_eq!(housekeeping.compare().await.expect("Redis is there").1, None, "nothing was there");
    stream.append(0..5).await;
    let read = reader.read(2).await.expect("Redis is there");
    assert_eq!(housekeeping.compare().await.expect("Redis is there").1, None);
    reader.ack(&settled(read)).await.expect("Redis is there");
    assert_eq!(housekeeping.compare().await.expect("Redis is there").1, None);
    for command in ["FLUSHALL", "DEL"] {
        let mut lose = cmd(command);
        if command == "DEL" {
            lose.arg(STREAM);
        }
        stream.redis.query::<redis::Value>(&lose);
        let (now, before) = housekeeping.compare().await.expect("Redis is there");
        let before = before.expect("it is not as far as it was");
        assert_eq!((now.unread, before.unread, before.pending), (0, 3, 0), "{command}");
        assert_eq!(housekeeping.compare().await.expect("Redis is there").1, None, "once");
        stream.append(0..3).await;
        until("the group is made again", async || reader.read(1).await.ok()).await;
        assert_eq!(stream.groups_made_again(), 1, "{command}");
        reader.read(10).await.expect("Redis is there");
        assert_eq!(stream.groups_made_again(), 0);
        let pending = housekeeping.compare().await.expect("Redis is there").0.pending;
        assert_eq!(pending, 3);
        // The next round begins as this one did.
        let ids = stream.pending();
        let ack = cmd("XACK").arg(STREAM).arg(GROUP).arg(&ids).to_owned();
        stream.redis.query::<u64>(&ack);
        stream.append(3..6).await;
        assert_eq!(housekeeping.compare().await.expect("Redis is there").1, None);
    }
}
