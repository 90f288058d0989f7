//! What is asked of the store all the time must not read what was settled long ago.

use std::time::Duration;

use offhook::backend::outbox::Outcome;
use offhook::backend::postgres::{self, Handles};
use offhook::event::AttemptId;

use super::{ACCOUNT, answer, claim_ask, in_writing, new};
use crate::harness::until;
use crate::services::needs;

/// More often than a prepared statement is planned for its own values.
const OFTEN: usize = 8;

/// How often the tables were read as a whole.
const WHOLE: &str = "SELECT CAST(sum(seq_scan) AS bigint) FROM pg_stat_user_tables \
                     WHERE relname IN ('attempts', 'notifications')";

const SESSIONS: &str = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'offhook'";

#[tokio::test]
async fn what_runs_all_the_time_reads_no_whole_table() {
    needs!(Postgres);
    let store = super::postgres().await;
    in_writing(&store.outbox, &new(1)).await;
    let unknown = Outcome::Unknown { reason: "timeout".to_owned(), look_after: Duration::ZERO };
    answer(&store.outbox, AttemptId::new(1), unknown).await;
    let server = store._home.1.as_ref().expect("it is Postgres");
    server
        .execute(&format!(
            "INSERT INTO notifications (id, created_at, token, request_hash, purpose, on_unknown, sender, account, \
             \"to\", to_hash, body, segments, deadline, state, settled_at) \
             SELECT 'old_' || n, now(), 't', 'h', 'alert', 'report', 'shop', '{ACCOUNT}', '+1' || n, 'h' || n, 'b', 1, \
             now(), 'confirmed', now() FROM generate_series(1, 20000) AS n"
        ))
        .await;
    server
        .execute(&format!(
            "INSERT INTO attempts (id, notification, number, created_at, sender, account, pace, to_hash, units, \
             priority, deadline, state, due_at, written_at, sid, settled_at) \
             SELECT md5(n::text), 'old_' || n, 1, now(), 'shop', '{ACCOUNT}', 'shop', 'h' || n, 1, 2, now(), \
             'confirmed', now(), now(), 'SM' || n, now() FROM generate_series(1, 20000) AS n"
        ))
        .await;
    server.execute("ANALYZE").await;
    let mut looking = server.connection().await;
    let before: i64 = sqlx::query_scalar(WHOLE).fetch_one(&mut looking).await.expect("counts");
    let sessions: i64 = sqlx::query_scalar(SESSIONS).fetch_one(&mut looking).await.expect("it can");

    let pool = postgres::Postgres::with_writers(&server.url(), 1).expect("a good URL");
    let outbox = offhook::backend::Store::Postgres(Handles::new(pool.clone())).outbox();
    for _ in 0..OFTEN {
        outbox.overdue(Duration::ZERO).await.expect("the store");
        outbox.unheard().await.expect("the store");
        assert_eq!(outbox.to_look_for(2, Duration::ZERO).await.expect("the store").len(), 1);
        outbox.sending().await.expect("the store");
        outbox.claim(&claim_ask("a")).await.expect("the store");
        outbox.settle().await.expect("the store");
    }
    // A session counts at its end at the latest.
    pool.close().await;
    until("its sessions have ended", async || {
        let now: i64 =
            sqlx::query_scalar(SESSIONS).fetch_one(&mut looking).await.expect("it can be asked");
        (now <= sessions).then_some(())
    })
    .await;
    let after: i64 = sqlx::query_scalar(WHOLE).fetch_one(&mut looking).await.expect("counts");
    assert_eq!(after, before);
}
