//! A session that cannot write is thrown away. Kept, it would fail for as long as the pool lives, long after
//! its cause is gone.

use std::os::unix::fs::symlink;
use std::path::Path;

use offhook::config::Role;

use super::{all_ready, misses};
use crate::harness::{Callback, Offhook, Testbed, run, until};
use crate::services::{Durability, needs};

/// It has tried to store, and could not.
async fn has_failed(worker: &Offhook) {
    let failed = "offhook_commit_errors_total{backend=\"postgres\",error=\"transient\"}";
    until("the worker has tried", async || {
        (worker.client.metric(failed).await > 0.0).then_some(())
    })
    .await;
}

/// A worker on sessions that were spoilt by one setting of the role, which is then taken back.
async fn recovers(spoil: &str, mend: &str, said: &[&str]) {
    let mut testbed = Testbed::scale_out(Durability::Unsynced);
    run(&testbed.settings, &["migrate"]).well();
    testbed.settings = testbed.settings.clone().set("OFFHOOK_STORE__MIGRATE", "false");
    testbed.postgres().execute(spoil).await;
    // One consumer, since with more a second session may be opened, and hide it.
    let worker = testbed.role(Role::Worker).set("OFFHOOK_WORKER__CONSUMERS", "1");
    let receiver = Offhook::start(&testbed.role(Role::Receiver));
    let worker = Offhook::start(&worker);
    receiver.client.accepts(&Callback::call(1).0).await;
    misses(&worker.client, "postgres", said, false).await;
    has_failed(&worker).await;
    testbed.postgres().execute(mend).await;
    all_ready(&worker.client).await;
    testbed.contents_of(1).await;
    receiver.client.accepts(&Callback::call(2).0).await;
    testbed.contents_of(2).await;
}

#[tokio::test]
async fn sessions_that_were_read_only_are_not_kept() {
    needs!(Redis, Postgres);
    recovers(
        "ALTER ROLE offhook SET default_transaction_read_only = on",
        "BEGIN READ WRITE; ALTER ROLE offhook RESET default_transaction_read_only; COMMIT",
        &["read-only"],
    )
    .await;
}

#[tokio::test]
async fn sessions_that_look_for_the_tables_elsewhere_are_not_kept() {
    needs!(Redis, Postgres);
    recovers(
        "ALTER ROLE offhook SET search_path = elsewhere",
        "ALTER ROLE offhook RESET search_path",
        &["events", "42P01"],
    )
    .await;
}

#[tokio::test]
async fn sessions_whose_statements_may_take_too_little_are_not_kept() {
    needs!(Redis, Postgres);
    let mut testbed = Testbed::scale_out(Durability::Unsynced);
    run(&testbed.settings, &["migrate"]).well();
    let slow = "CREATE FUNCTION slow () RETURNS trigger LANGUAGE plpgsql AS \
                $$ BEGIN PERFORM pg_sleep(0.2); RETURN NEW; END $$; \
                CREATE TRIGGER slow BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION slow (); \
                ALTER ROLE offhook SET statement_timeout = 100";
    testbed.postgres().execute(slow).await;
    testbed.settings = testbed.settings.clone().set("OFFHOOK_STORE__MIGRATE", "false");
    let offhook = Offhook::start(&testbed.settings.clone().set("OFFHOOK_WORKER__CONSUMERS", "1"));
    offhook.client.accepts(&Callback::call(1).0).await;
    has_failed(&offhook).await;
    testbed.postgres().execute("ALTER ROLE offhook RESET statement_timeout").await;
    testbed.contents_of(1).await;
}

#[tokio::test]
async fn a_name_that_led_to_a_standby_for_a_while_is_followed() {
    needs!(Redis, Postgres);
    let mut testbed = Testbed::scale_out(Durability::Unsynced);
    run(&testbed.settings, &["migrate"]).well();
    let standby = testbed.postgres().standby().expect("a standby starts");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let name = directory.path().join("name");
    let point = |to: &Path| {
        let next = directory.path().join("next");
        symlink(to, &next).expect("the directory is ours");
        std::fs::rename(&next, &name).expect("the directory is ours");
    };
    point(standby.directory());
    let host = name.display().to_string().replace('/', "%2F");
    let settings = testbed.settings.clone().set("OFFHOOK_STORE__MIGRATE", "false");
    let settings = settings.set("DATABASE_URL", format!("postgres://offhook@{host}/postgres"));
    let receiver = Offhook::start(&settings.clone().with_role(Role::Receiver));
    let worker = settings.with_role(Role::Worker).set("OFFHOOK_WORKER__CONSUMERS", "1");
    let worker = Offhook::start(&worker);
    receiver.client.accepts(&Callback::call(1).0).await;
    misses(&worker.client, "postgres", &["standby"], false).await;
    has_failed(&worker).await;
    // Sessions that are open stay with the standby.
    point(testbed.postgres().directory());
    all_ready(&worker.client).await;
    testbed.contents_of(1).await;
}
