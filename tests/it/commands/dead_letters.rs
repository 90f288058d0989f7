//! `offhook dead-letters`: looked at, replayed and purged while no server runs.

use crate::harness::{ACCOUNT, Callback, Testbed, run, until};
use crate::services::{Durability, needs};

/// What no worker could store: calls that are busy.
async fn put_aside(testbed: &mut Testbed, calls: usize) -> Vec<String> {
    // Two would put them aside in whatever order.
    testbed.settings = testbed.settings.clone().set("OFFHOOK_WORKER__CONSUMERS", "1");
    let offhook = testbed.start();
    // Once it can be read, there are tables.
    testbed.contents_with(&[]).await;
    let poison = "ALTER TABLE events ADD CONSTRAINT poison CHECK (status <> 'busy')";
    testbed.postgres().execute(poison).await;
    for n in 0..calls {
        let body = format!(
            "CallSid=CA{n}&AccountSid={ACCOUNT}&CallStatus=busy&CallbackSource=call-progress-events&To=%2B15550100"
        );
        offhook.client.accepts(&Callback::form(body)).await;
        // One after the other: the halves of a batch, and a worker's consumers, have no order.
        until("it is put aside", async || {
            let put_aside = offhook.client.metric("offhook_dead_letters_total").await;
            (put_aside == (n + 1) as f64).then_some(())
        })
        .await;
    }
    drop(offhook);
    testbed.postgres().execute("ALTER TABLE events DROP CONSTRAINT poison").await;
    listed(testbed)
}

/// Their ids, oldest first, as the command lists them.
fn listed(testbed: &Testbed) -> Vec<String> {
    let printed = run(&testbed.settings, &["dead-letters", "list"]).well();
    let lines = printed.lines().filter(|line| line.contains("-busy"));
    lines.filter_map(|line| line.split_whitespace().next().map(str::to_owned)).collect()
}

fn dead_letters(testbed: &Testbed, arguments: &[&str]) -> String {
    run(&testbed.settings, &[&["dead-letters"], arguments].concat()).well()
}

#[tokio::test]
async fn dead_letters_are_listed_shown_replayed_and_purged() {
    needs!(Redis, Postgres);
    let mut testbed = Testbed::scale_out(Durability::Unsynced);
    let ids = put_aside(&mut testbed, 3).await;
    assert_eq!(ids.len(), 3);

    let printed = dead_letters(&testbed, &["list", "--limit", "2"]);
    assert!(printed.contains("CA0-busy") && printed.contains("2 of 3 dead letters"), "{printed}");
    assert!(printed.contains("poison"), "the reason: {printed}");
    assert!(!printed.contains("15550100"), "a number: {printed}");
    let printed = dead_letters(&testbed, &["show", &ids[1]]);
    assert!(printed.contains("poison") && printed.contains("CallSid=CA1"), "{printed}");

    // Nothing is done but what is asked for.
    for action in ["replay", "purge"] {
        let printed = dead_letters(&testbed, &[action, "--all", "--dry-run"]);
        assert!(printed.contains("would be done") && printed.contains("3 of 3"), "{printed}");
    }
    assert_eq!(listed(&testbed), ids);
    let printed = dead_letters(&testbed, &["purge", "--yes", &ids[0]]);
    assert!(printed.contains(&format!("purge {}: done", ids[0])), "{printed}");
    dead_letters(&testbed, &["replay", &ids[2]]);
    assert_eq!(listed(&testbed), ids[1..2]);

    let offhook = testbed.start();
    assert_eq!(testbed.contents_of(1).await.keys(), ["CA2-busy"]);
    drop(offhook);
    dead_letters(&testbed, &["replay", "--all"]);
    let _offhook = testbed.start();
    assert_eq!(testbed.contents_of(2).await.keys(), ["CA1-busy", "CA2-busy"]);
    assert_eq!(listed(&testbed), Vec::<String>::new());
}

#[tokio::test]
async fn a_dead_letter_that_is_not_there_is_said_to_be_missing() {
    needs!(Redis, Postgres);
    let testbed = Testbed::scale_out(Durability::Unsynced);
    for arguments in [&["replay", "1-1"][..], &["purge", "1-1", "--dry-run"], &["show", "1-1"]] {
        let ended = run(&testbed.settings, &[&["dead-letters"], arguments].concat());
        let said = format!("{}{}", ended.out, ended.error);
        assert_eq!(ended.code, Some(1), "{said}");
        assert!(said.contains("1-1") && said.contains("there"), "{said}");
    }
    let ended = run(&testbed.settings, &["dead-letters", "purge"]);
    assert_eq!(ended.code, Some(2), "it says which, or --all: {ended:?}");
}

#[test]
fn where_there_are_none_none_are_listed() {
    let testbed = Testbed::embedded();
    assert!(dead_letters(&testbed, &["list"]).contains("0 of 0 dead letters"));
}
