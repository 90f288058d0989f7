//! A connection pooler before Postgres, which gives each transaction whichever connection is free.

use offhook::config::Role;

use crate::harness::{Callback, Offhook, Testbed, fixture, until};
use crate::services::{Durability, PgBouncer, needs};

fn call(n: usize, status: &str) -> (Callback, String) {
    let sid = format!("CA{n:032x}");
    let body = format!(
        "CallSid={sid}&CallStatus={status}&CallbackSource=call-progress-events&From=%2B15550001111"
    );
    (Callback::form(body), format!("{sid}-{status}"))
}

/// Several workers, each of which reads and writes at once, on connections that change under them.
async fn works_through(more: &str) {
    let mut testbed = Testbed::scale_out(Durability::Unsynced);
    let pooler = PgBouncer::before(testbed.postgres(), more);
    testbed.settings = testbed.settings.clone().set("DATABASE_URL", pooler.url());
    let workers = [(); 3].map(|()| Offhook::start(&testbed.role(Role::Worker)));
    for worker in &workers {
        until("it is ready", async || worker.client.is_ready().await.then_some(())).await;
    }
    let receiver = Offhook::start(&testbed.role(Role::Receiver));
    let mut keys = Vec::new();
    for n in 0..60 {
        for status in ["ringing", "completed"] {
            let (callback, key) = call(n, status);
            receiver.client.accepts(&callback).await;
            keys.push(key);
        }
        for worker in &workers {
            let path = format!("/api/statuses/CA{n:032x}");
            let (code, answer) = worker.client.json(&path).await;
            assert!(code == 200 || code == 404, "{code}: {answer}\n{}", pooler.log());
        }
    }
    let contents = testbed.contents_with(&keys).await;
    assert_eq!(contents.events.len(), keys.len());
    assert!(contents.statuses.iter().all(|row| row.position.status == "completed"));
    for worker in &workers {
        let errors = "offhook_commit_errors_total{backend=\"postgres\",error=\"transient\"}";
        assert_eq!(worker.client.metric(errors).await, 0.0, "{}", pooler.log());
        assert!(worker.client.is_ready().await, "{}", pooler.log());
    }
    Offhook::stop_all(workers.into_iter().chain([receiver]));

    // The next ones find what the first ones left on the connections.
    let next = testbed.start();
    next.client.accepts(&Callback::form(fixture("message.form"))).await;
    until("it is stored", async || {
        let path = "/api/statuses/SM00000000000000000000000000000020";
        (next.client.json(path).await.0 == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_pooler_that_refuses_what_it_does_not_know_is_worked_through() {
    needs!(Redis, Postgres, PgBouncer);
    works_through("").await;
}

#[tokio::test]
async fn a_pooler_that_ignores_what_it_does_not_know_is_worked_through() {
    needs!(Redis, Postgres, PgBouncer);
    works_through("ignore_startup_parameters = extra_float_digits,options").await;
}

#[tokio::test]
async fn what_is_old_and_what_is_purged_goes_through_a_pooler() {
    needs!(Redis, Postgres, PgBouncer);
    let mut testbed = Testbed::scale_out(Durability::Unsynced);
    let pooler = PgBouncer::before(testbed.postgres(), "");
    testbed.settings = testbed.settings.clone().set("DATABASE_URL", pooler.url());
    let offhook = testbed.start();
    let callbacks = [call(1, "completed"), call(2, "completed"), call(3, "completed")];
    for (callback, _) in &callbacks {
        offhook.client.accepts(callback).await;
    }
    testbed.contents_of(3).await;
    drop(offhook);
    testbed.execute("UPDATE events SET stored_at = '2020-01-01Z' WHERE sid LIKE '%1'").await;
    let statuses = "UPDATE statuses SET first_seen = '2020-01-01Z', stored_at = '2020-01-01Z' \
                    WHERE sid LIKE '%1'";
    testbed.execute(statuses).await;

    let days = ["EVENTS", "STATUSES"].map(|table| format!("OFFHOOK_RETENTION__{table}_DAYS"));
    let settings = days.iter().fold(testbed.role(Role::All), |all, name| all.set(name, "30"));
    let offhooks = [(); 2].map(|()| Offhook::start(&settings));
    until("the old rows are gone", async || {
        let contents = testbed.contents().await;
        (contents.events.len() == 2 && contents.statuses.len() == 2).then_some(())
    })
    .await;
    let client = &offhooks[0].client;
    let wanted = serde_json::json!({ "sid": format!("CA{:032x}", 2) });
    let (code, answer) = client.post_json("/api/purge", &wanted).await;
    assert_eq!(
        (code.as_u16(), &answer["events"], &answer["statuses"]),
        (200, &1.into(), &1.into())
    );
    let contents = testbed.contents().await;
    assert_eq!((contents.keys(), contents.statuses.len()), (vec![callbacks[2].1.clone()], 1));
    for table in ["events", "statuses"] {
        let errors = format!("offhook_retention_errors_total{{table=\"{table}\"}}");
        assert_eq!(client.metric(&errors).await, 0.0, "{}", pooler.log());
    }
}

#[tokio::test]
async fn processes_that_start_together_behind_a_pooler_make_the_tables_once() {
    needs!(Redis, Postgres, PgBouncer);
    let mut testbed = Testbed::scale_out(Durability::Unsynced);
    let pooler = PgBouncer::before(testbed.postgres(), "");
    testbed.settings = testbed.settings.clone().set("DATABASE_URL", pooler.url());
    for _ in 0..3 {
        let workers = [(); 4].map(|()| Offhook::start(&testbed.role(Role::Worker)));
        for worker in &workers {
            until("it is ready", async || worker.client.is_ready().await.then_some(())).await;
        }
        Offhook::stop_all(workers);
    }
    let locks = testbed.column("SELECT mode FROM pg_locks WHERE locktype = 'advisory'").await;
    assert_eq!(locks, Vec::<String>::new(), "none is left on a connection");
}
