//! [`read`]: what the store has of what was sent.

use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};

use super::sent::{Kept, KeptAttempt, KeptSid};
use super::verdict::Store;
use crate::clock::Timestamp;

const NOTIFICATIONS: &str = "SELECT id, state FROM notifications";
const FINALS: &str = "SELECT sid, status FROM statuses WHERE final";

fn sids(time: impl Fn(&str) -> String) -> String {
    format!("SELECT attempt, sid, proof, {} FROM attempt_sids", time("at"))
}

/// When the first step of each was over.
fn over(time: impl Fn(&str) -> String) -> String {
    format!(
        "SELECT notification, {} FROM steps WHERE number = 1 AND ended_at IS NOT NULL",
        time("ended_at")
    )
}

const WAKES: &str = "SELECT count(*) FROM wakes";

/// Every attempt; `time`: a column with a time, as text.
fn attempts(time: impl Fn(&str) -> String) -> String {
    let times = ["created_at", "send_at", "written_at", "settled_at"].map(time).join(", ");
    let numbers =
        ["number", "step", "units", "tries", "looks"].map(|name| format!("CAST({name} AS bigint)"));
    format!(
        "SELECT id, notification, state, reason, {}, \
         CAST(CASE WHEN state = 'unknown' AND look_at IS NOT NULL THEN 1 ELSE 0 END AS bigint), {times} FROM attempts",
        numbers.join(", ")
    )
}

fn in_postgres(column: &str) -> String {
    format!("to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
}

/// Everything that is judged.
pub(super) async fn read(store: &Store) -> anyhow::Result<Kept> {
    type Text = Option<String>;
    type Row = (String, String, String, Text, i64, i64, i64, i64, i64, i64, Text, Text, Text, Text);
    type Sid = (String, String, String, Text);
    type Over = (String, Text);
    let (notifications, attempts, sids, over, finals, wakes) = match store {
        Store::Sqlite(path) => {
            let mut on = SqliteConnectOptions::new().filename(path).connect().await?;
            let attempts = AssertSqlSafe(attempts(str::to_owned));
            (
                sqlx::query_as(NOTIFICATIONS).fetch_all(&mut on).await?,
                sqlx::query_as::<_, Row>(attempts).fetch_all(&mut on).await?,
                sqlx::query_as::<_, Sid>(AssertSqlSafe(sids(str::to_owned)))
                    .fetch_all(&mut on)
                    .await?,
                sqlx::query_as::<_, Over>(AssertSqlSafe(over(str::to_owned)))
                    .fetch_all(&mut on)
                    .await?,
                sqlx::query_as(FINALS).fetch_all(&mut on).await?,
                sqlx::query_scalar(WAKES).fetch_one(&mut on).await?,
            )
        }
        Store::Postgres(url) => {
            let mut on = PgConnection::connect(url).await?;
            let attempts = AssertSqlSafe(attempts(in_postgres));
            (
                sqlx::query_as(NOTIFICATIONS).fetch_all(&mut on).await?,
                sqlx::query_as::<_, Row>(attempts).fetch_all(&mut on).await?,
                sqlx::query_as::<_, Sid>(AssertSqlSafe(sids(in_postgres)))
                    .fetch_all(&mut on)
                    .await?,
                sqlx::query_as::<_, Over>(AssertSqlSafe(over(in_postgres)))
                    .fetch_all(&mut on)
                    .await?,
                sqlx::query_as(FINALS).fetch_all(&mut on).await?,
                sqlx::query_scalar(WAKES).fetch_one(&mut on).await?,
            )
        }
    };
    let notifications: Vec<(String, String)> = notifications;
    let finals: Vec<(String, String)> = finals;
    let time = |text: Text| Some(Timestamp::parse_rfc3339(text.as_deref()?)?.micros());
    let attempt = |row: Row| {
        let (
            id,
            notification,
            state,
            reason,
            number,
            step,
            units,
            tries,
            looks,
            sought,
            created_at,
            send_at,
            written_at,
            settled_at,
        ) = row;
        KeptAttempt {
            id,
            notification,
            number,
            step,
            state,
            reason,
            created_at: time(created_at),
            send_at: time(send_at),
            written_at: time(written_at),
            settled_at: time(settled_at),
            units,
            tries,
            looks,
            is_sought: sought != 0,
        }
    };
    Ok(Kept {
        notifications: notifications.into_iter().collect(),
        attempts: attempts.into_iter().map(attempt).collect(),
        sids: sids
            .into_iter()
            .map(|(attempt, sid, proof, at)| KeptSid { attempt, sid, proof, at: time(at) })
            .collect(),
        over: over.into_iter().filter_map(|(id, at)| Some((id, time(at)?))).collect(),
        finals: finals.into_iter().collect(),
        wakes,
    })
}
