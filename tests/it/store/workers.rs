//! Workers share a stream, and one that is killed takes nothing with it.

use offhook::config::Role;
use sqlx::Executor as _;
use sqlx::postgres::PgConnection;
use tokio::task::JoinSet;

use crate::harness::{ACCOUNT, Callback, Client, Mode, Offhook, Spawned, Testbed, run, until};
use crate::services::needs;

const FRESH: &str = "offhook_events_total{freshness=\"fresh\",kind=\"call\"}";
const DUPLICATE: &str = "offhook_events_total{freshness=\"duplicate\",kind=\"call\"}";
/// Less than a worker reads at once.
const BATCH: usize = 50;

/// Callbacks of one status about so many calls, which are all accepted; their keys.
async fn accept(receiver: &Client, round: usize, status: &str, calls: usize) -> Vec<String> {
    let mut keys = Vec::new();
    for n in 0..calls {
        let sid = format!("CA{round:04x}{n:028x}");
        let body = format!(
            "CallSid={sid}&AccountSid={ACCOUNT}&CallStatus={status}&CallbackSource=call-progress-events"
        );
        receiver.accepts(&Callback::form(body)).await;
        keys.push(format!("{sid}-{status}"));
    }
    keys
}

/// Until so many entries are in the hands of workers.
async fn pending(receiver: &Client, entries: usize) {
    until("the workers take what there is, and no more", async || {
        let pending = receiver.metric("offhook_stream_pending").await;
        (pending == entries as f64).then_some(())
    })
    .await;
}

/// Until nothing waits for a worker.
async fn settled(receiver: &Client) {
    until("all of it is settled", async || {
        (receiver.metric("offhook_stream_depth").await == 0.0).then_some(())
    })
    .await;
}

/// A transaction that others have to wait for.
async fn hold(testbed: &mut Testbed, what: &'static str) -> PgConnection {
    let mut holder = testbed.postgres().connection().await;
    holder.execute("BEGIN").await.expect("it runs");
    holder.execute(what).await.expect("the tables are there");
    holder
}

async fn release(mut holder: PgConnection) {
    holder.execute("ROLLBACK").await.expect("it runs");
}

#[tokio::test]
async fn two_workers_share_a_stream_and_each_event_is_stored_by_one_of_them() {
    needs!(all Mode::ScaleOut.needs());
    let mut testbed = Testbed::of(Mode::ScaleOut);
    // Neither takes the other, which has to wait here, for dead. Each holds one batch.
    let patience = |role| {
        let role = testbed.role(role).set("OFFHOOK_WORKER__RECLAIM_IDLE_MS", "120000");
        role.set("OFFHOOK_WORKER__CONSUMERS", "1")
    };
    let (receives, works) = (patience(Role::Receiver), patience(Role::Worker));
    let receiver = Offhook::start(&receives);
    run(&works.clone().with_role(Role::All), &["migrate"]).well();

    let holder = hold(&mut testbed, "LOCK TABLE events IN SHARE MODE").await;
    let mut keys = accept(&receiver.client, 0, "completed", BATCH).await;
    let one = Spawned::start(&works);
    pending(&receiver.client, BATCH).await;
    keys.extend(accept(&receiver.client, 1, "completed", BATCH).await);
    let other = Spawned::start(&works);
    pending(&receiver.client, 2 * BATCH).await;
    release(holder).await;

    settled(&receiver.client).await;
    let contents = testbed.contents().await;
    assert_eq!(contents.keys(), keys);
    assert_eq!(contents.statuses.len(), keys.len());
    for worker in [one, other] {
        let stored = [worker.client.metric(FRESH).await, worker.client.metric(DUPLICATE).await];
        assert_eq!(stored, [BATCH as f64, 0.0]);
    }
}

/// What becomes of a commit whose worker is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Commit {
    /// It is undone: the worker died within it.
    Lost,
    /// It is completed: the worker died between it and the ack, which Redis did not take.
    Done,
}

#[tokio::test]
async fn a_worker_killed_in_mid_batch_loses_nothing_and_doubles_nothing() {
    needs!(all Mode::ScaleOut.needs());
    let mut testbed = Testbed::of(Mode::ScaleOut);
    let receiver = Offhook::start(&testbed.role(Role::Receiver));
    let works = testbed.role(Role::Worker).set("OFFHOOK_WORKER__CONSUMERS", "1");
    let mut keys = Vec::new();
    for (round, commit) in
        [Commit::Lost, Commit::Done, Commit::Lost, Commit::Done].into_iter().enumerate()
    {
        let worker = Spawned::start(&works);
        keys.extend(accept(&receiver.client, round, "ringing", BATCH).await);
        testbed.contents_with(&keys).await;
        settled(&receiver.client).await;
        worker.kill();

        // Each of the next callbacks changes one of these rows, in the middle of the commit.
        let holder = hold(&mut testbed, "SELECT FROM statuses FOR UPDATE").await;
        keys.extend(accept(&receiver.client, round, "completed", BATCH).await);
        let worker = Spawned::start(&works);
        pending(&receiver.client, BATCH).await;
        until("the commit is under way", async || (waiting(&testbed).await == 1).then_some(()))
            .await;
        match commit {
            Commit::Lost => {
                worker.kill();
                release(holder).await;
            }
            Commit::Done => {
                let acks = |allowed| {
                    redis::cmd("ACL").arg("SETUSER").arg("default").arg(allowed).to_owned()
                };
                testbed.redis().query::<()>(&acks("-xack"));
                release(holder).await;
                testbed.contents_with(&keys).await;
                worker.kill();
                testbed.redis().query::<()>(&acks("+xack"));
            }
        }

        let rescuer = Spawned::start(&works);
        settled(&receiver.client).await;
        let figures = async |name| rescuer.client.metric(name).await as usize;
        assert_eq!(figures("offhook_claimed_deliveries_total").await, BATCH, "all are reclaimed");
        let stored = (figures(FRESH).await, figures(DUPLICATE).await);
        match commit {
            Commit::Lost => assert_eq!(stored, (BATCH, 0)),
            Commit::Done => assert_eq!(stored, (0, BATCH)),
        }
        rescuer.kill();
    }
    keys.sort();
    let contents = testbed.contents().await;
    assert_eq!(contents.keys(), keys);
    assert!(contents.statuses.iter().all(|row| row.position.status == "completed"));
}

/// Commits that wait for a row.
async fn waiting(testbed: &Testbed) -> usize {
    let waiting = "SELECT pid::text FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    testbed.column(waiting).await.len()
}

#[tokio::test]
async fn workers_killed_again_and_again_under_load_lose_nothing_and_double_nothing() {
    needs!(all Mode::ScaleOut.needs());
    let testbed = Testbed::of(Mode::ScaleOut);
    let receiver = Offhook::start(&testbed.role(Role::Receiver));
    // Some may die with the same entry in hand.
    let works = testbed.role(Role::Worker).set("OFFHOOK_WORKER__MAX_DELIVERIES", "1000");
    let mut senders = JoinSet::new();
    let load = senders.spawn({
        let client = receiver.client.clone();
        async move {
            let mut keys = Vec::new();
            for round in 0..20 {
                for status in ["ringing", "in-progress", "completed"] {
                    keys.extend(accept(&client, round, status, 10).await);
                }
            }
            keys
        }
    });
    let mut killed = 0;
    while !load.is_finished() {
        let worker = Spawned::start(&works);
        until("it stores something, or there is no more", async || {
            let stored = worker.client.metric(FRESH).await + worker.client.metric(DUPLICATE).await;
            (stored > 0.0 || load.is_finished()).then_some(())
        })
        .await;
        worker.kill();
        killed += 1;
    }
    assert!(killed > 1, "the load is over too soon");
    let mut keys = senders.join_all().await.concat();
    keys.sort();
    let _last = Offhook::start(&works);
    settled(&receiver.client).await;
    let contents = testbed.contents().await;
    assert_eq!(contents.keys(), keys);
    assert_eq!(contents.statuses.len(), keys.len() / 3);
    assert!(contents.statuses.iter().all(|row| row.position.status == "completed"));
}
