//! What nobody could store is put aside, once, with all that is known of it.

use std::collections::HashMap;

use offhook::backend::Action;
use offhook::event::codec;
use offhook::pipeline::Source as _;
use redis::cmd;

use super::ids;
use super::reader::{STREAM, Stream};
use crate::harness::until;
use crate::services::needs;

type Entry = (String, HashMap<String, String>);

fn dead(stream: &Stream) -> Vec<Entry> {
    stream.redis.query(cmd("XRANGE").arg(format!("{{{STREAM}}}:dead")).arg("-").arg("+"))
}

#[tokio::test]
async fn a_dead_letter_moves_with_its_fields_and_the_reason() {
    needs!(Redis);
    let stream = Stream::start();
    stream.append(0..2).await;
    let mut reader = stream.reader("one");
    let read = reader.read(10).await.expect("Redis is there");
    reader.dead_letter(&read[0].id, 11, "a reason, with 'quotes'").await.expect("Redis is there");

    assert_eq!(stream.pending(), ids(&read[1..]), "it is settled, and only it");
    let dead = dead(&stream);
    assert_eq!(dead.len(), 1);
    let fields = &dead[0].1;
    codec::encode(&stream.event(0), |name, value| {
        assert_eq!(fields[name].as_bytes(), value, "{name}");
    });
    assert_eq!(fields["dead_id"], read[0].id);
    assert_eq!(fields["dead_deliveries"], "11");
    assert_eq!(fields["dead_reason"], "a reason, with 'quotes'");
}

#[tokio::test]
async fn what_is_no_event_keeps_its_bytes_as_a_dead_letter() {
    needs!(Redis);
    let stream = Stream::start();
    let mut add = cmd("XADD");
    add.arg(STREAM).arg("*").arg("some").arg("thing").arg("some").arg("thing else");
    stream.redis.query::<String>(&add);
    let mut reader = stream.reader("one");
    let read = reader.read(10).await.expect("Redis is there");
    reader.dead_letter(&read[0].id, 1, "no event").await.expect("Redis is there");
    let entries: Vec<(String, Vec<(String, String)>)> =
        stream.redis.query(cmd("XRANGE").arg(format!("{{{STREAM}}}:dead")).arg("-").arg("+"));
    let own: Vec<_> = entries[0].1.iter().take(2).map(|(a, b)| (&**a, &**b)).collect();
    assert_eq!(own, [("some", "thing"), ("some", "thing else")]);
}

#[tokio::test]
async fn what_an_older_version_put_aside_is_found_where_it_lies_now() {
    needs!(Redis);
    let stream = Stream::start();
    let put = |key: &str, id: &str, n: u32| {
        let mut add = cmd("XADD");
        add.arg(key).arg(id);
        codec::encode(&stream.event(n), |name, value| {
            add.arg(name).arg(value);
        });
        add.arg("dead_id").arg("1-1").arg("dead_deliveries").arg(1).arg("dead_reason").arg("old");
        stream.redis.query::<String>(&add);
    };
    let old = format!("{STREAM}:dead");
    put(&old, "1000-0", 0);
    put(&old, "2000-0", 1);
    let mut housekeeping = stream.housekeeping();
    assert_eq!(housekeeping.backlog().await.expect("Redis is there").dead, 2);
    let ids: Vec<_> = dead(&stream).into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids, ["1000-0", "2000-0"], "they keep their ids");
    assert_eq!(stream.redis.query::<u64>(cmd("EXISTS").arg(&old)), 0);
    // A worker of the older version is still there, and later ones are there already.
    put(&old, "1500-0", 2);
    let letters = stream.dead_letters();
    let listed = letters.list(None, 10).await.expect("Redis is there");
    let times: Vec<_> = listed.iter().map(|letter| letter.at.micros() / 1000).collect();
    assert_eq!(times, [1000, 2000, 1500], "when it was put aside is not forgotten");
    let key = |n| stream.event(n).key;
    let moved = listed[2].event.as_ref().expect("it is an event");
    assert_eq!((&moved.key, &*listed[2].reason), (&key(2), "old"));
    assert!(letters.resolve(&listed[2].id, Action::Replay).await.expect("Redis is there"));
    let again = stream.reader("one").read(10).await.expect("Redis is there");
    assert_eq!(again[0].event.as_ref().expect("it is an event").key, key(2));
    assert_eq!(dead(&stream).len(), 2);
}

#[tokio::test]
async fn what_two_readers_put_aside_is_one_dead_letter() {
    needs!(Redis);
    let stream = Stream::start();
    stream.append(0..1).await;
    let mut stalled = stream.reader("thought dead");
    let read = stalled.read(1).await.expect("Redis is there");
    let mut other = stream.reader("takes over");
    let claimed = until("it is idle for long enough", async || {
        let claimed = other.claim(1).await.expect("Redis is there").deliveries;
        (claimed.len() == 1).then_some(claimed)
    })
    .await;
    other.dead_letter(&claimed[0].id, 2, "the first").await.expect("Redis is there");
    stalled.dead_letter(&read[0].id, 1, "the second").await.expect("Redis is there");
    let dead = dead(&stream);
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].1["dead_reason"], "the first");
}

#[tokio::test]
async fn an_entry_that_is_gone_is_settled_and_leaves_no_dead_letter() {
    needs!(Redis);
    let stream = Stream::start();
    stream.append(0..1).await;
    let mut reader = stream.reader("one");
    let read = reader.read(10).await.expect("Redis is there");
    stream.redis.query::<u64>(cmd("XDEL").arg(STREAM).arg(&read[0].id));
    reader.dead_letter(&read[0].id, 2, "too late").await.expect("Redis is there");
    assert!(stream.pending().is_empty());
    assert!(dead(&stream).is_empty());
}

#[tokio::test]
async fn an_entry_with_very_many_fields_can_be_put_aside() {
    needs!(Redis);
    let stream = Stream::start();
    let mut add = cmd("XADD");
    add.arg(STREAM).arg("*");
    for n in 0..20_000 {
        add.arg(n).arg("x");
    }
    stream.redis.query::<String>(&add);
    let mut reader = stream.reader("one");
    let read = reader.read(10).await.expect("Redis is there");
    reader.dead_letter(&read[0].id, 1, "no event").await.expect("or it blocks all after it");
    assert!(stream.pending().is_empty());
    let entries: Vec<(String, HashMap<String, Vec<u8>>)> =
        stream.redis.query(cmd("XRANGE").arg(format!("{{{STREAM}}}:dead")).arg("-").arg("+"));
    let fields = &entries[0].1;
    assert_eq!(fields["dead_reason"], b"no event");
    // MessagePack: an array of 40,000 strings, the last of which is an x.
    let packed = &fields["dead_fields"];
    assert_eq!(packed[..3], [0xdc, 0x9c, 0x40]);
    assert_eq!(packed.last(), Some(&b'x'));
}
