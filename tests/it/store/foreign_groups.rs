//! What others do to the stream: groups of their own, and deleting what is not theirs.

use offhook::config::Role;
use redis::cmd;

use crate::harness::{Callback, Offhook, Spawned, Testbed, fixture, until};
use crate::services::{Durability, needs};

const STREAM: &str = "offhook:events";

#[tokio::test]
async fn a_group_that_nobody_reads_is_warned_about_by_name() {
    needs!(Redis, Postgres);
    let mut testbed = Testbed::scale_out(Durability::Unsynced);
    // Appended long ago, by its id.
    let mut add = cmd("XADD");
    add.arg(STREAM).arg("1000-0").arg("some").arg("thing");
    testbed.redis().query::<String>(&add);
    let theirs = cmd("XGROUP").arg("CREATE").arg(STREAM).arg("theirs").arg("0").to_owned();
    testbed.redis().query::<()>(&theirs);
    let offhook = Spawned::start(&testbed.settings);
    let blocking = async || offhook.client.metric("offhook_stream_blocking_groups").await;
    until("it blocks", async || (blocking().await == 1.0).then_some(())).await;
    until("it is named", async || offhook.log().contains("\"group\":\"theirs\"").then_some(()))
        .await;
    assert!(offhook.client.metric("offhook_stream_kept_age_seconds").await > 300.0);
    let destroy = cmd("XGROUP").arg("DESTROY").arg(STREAM).arg("theirs").to_owned();
    testbed.redis().query::<u64>(&destroy);
    until("nobody blocks", async || (blocking().await == 0.0).then_some(())).await;
    assert_eq!(offhook.client.metric("offhook_stream_kept_age_seconds").await, 0.0);
}

#[tokio::test]
async fn entries_that_somebody_deletes_while_they_are_pending_are_counted_and_forgotten() {
    needs!(Redis, Postgres);
    let mut testbed = Testbed::scale_out(Durability::Unsynced);
    let receiver = Offhook::start(&testbed.role(Role::Receiver));
    receiver.client.accepts(&Callback::form(fixture("call.form"))).await;
    receiver.client.accepts(&Callback::form(fixture("message.form"))).await;
    // A worker took both, and died.
    let group = cmd("XGROUP").arg("CREATE").arg(STREAM).arg("offhook").arg("0").to_owned();
    testbed.redis().query::<()>(&group);
    let mut read = cmd("XREADGROUP");
    read.arg("GROUP").arg("offhook").arg("dead").arg("STREAMS").arg(STREAM).arg(">");
    testbed.redis().query::<redis::Value>(&read);
    let first = testbed.redis().ids(STREAM).swap_remove(0);
    testbed.redis().query::<u64>(cmd("XDEL").arg(STREAM).arg(first));

    let worker = Offhook::start(&testbed.role(Role::Worker));
    let contents = testbed.contents_of(1).await;
    assert_eq!(contents.keys().len(), 1, "the other one is stored");
    let metric = async |name: &str| worker.client.metric(name).await;
    until("it is counted", async || {
        (metric("offhook_stream_vanished_total").await == 1.0).then_some(())
    })
    .await;
    until("nothing is pending", async || {
        (metric("offhook_stream_depth").await == 0.0).then_some(())
    })
    .await;
    assert_eq!(metric("offhook_stream_vanished_total").await, 1.0, "once");
    assert_eq!(metric("offhook_dead_letters_total").await, 0.0);
}
