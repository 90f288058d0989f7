//! What is done with is freed, what is not stays, and the numbers say which is which.

use offhook::backend::redis::Backlog;
use offhook::clock::Timestamp;
use offhook::pipeline::Source as _;
use redis::cmd;

use super::reader::{GROUP, STREAM, Stream, settled};
use crate::services::needs;

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
    let mut theirs = cmd("XGROUP");
    theirs.arg("CREATE").arg(STREAM).arg("theirs").arg("0");
    stream.redis.query::<()>(&theirs);
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
