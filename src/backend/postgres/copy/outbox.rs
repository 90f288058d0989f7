//! Takes another store's outbox. Each call can be repeated: a row that is there stays as it is, unless the source has
//! gone further with it.

use sqlx::{AssertSqlSafe, PgConnection};

use super::{CopyTarget, classify};
use crate::backend::BackendError;
use crate::backend::copy::{COPIED, OutboxKeys, OutboxRow, OutboxTable};
use crate::pipeline::CommitError;

/// The same entry of the log of suppressions; its id is another one in each store.
const SAME: &str = "there.to_hash = row.to_hash AND there.stop = row.stop AND there.source = row.source \
                    AND there.at = row.at";

/// The same entry of the log of consents.
const SAME_CONSENT: &str = "there.to_hash = row.to_hash AND there.purpose = row.purpose AND there.at = row.at \
                            AND there.given = row.given AND there.source = row.source \
                            AND there.shown IS NOT DISTINCT FROM row.shown";

/// Whether a person, or the campaign itself, has stopped here what goes on in the source.
const HELD_HERE: &str = "(campaigns.state = 'cancelled' OR campaigns.state IN ('paused', 'stopped') \
                         AND excluded.state = 'running')";

/// Whether a notification has ended in the source, and nothing of it is on its way here, or has arrived.
const ENDED: &str = "(notifications.state = 'open' AND excluded.state <> 'open' AND NOT EXISTS (SELECT 1 \
                     FROM attempts AS a WHERE a.notification = notifications.id \
                     AND a.state IN ('writing', 'accepted', 'confirmed')))";

/// Whether an attempt that waits here does not wait in the source any more.
fn further(here: &str, source: &str) -> String {
    format!("{here}.state IN ('due', 'claimed') AND {source}.state NOT IN ('due', 'claimed')")
}

/// What takes the rows in `$1`, a JSON array.
fn put(table: OutboxTable) -> String {
    let (name, conflict) = (table.as_str(), "ON CONFLICT DO NOTHING");
    let rows = format!("jsonb_populate_recordset(NULL::{name}, $1::jsonb) AS row");
    let all = |condition: &str| {
        format!("INSERT INTO {name} SELECT row.* FROM {rows} WHERE {condition} {conflict}")
    };
    match table {
        OutboxTable::Senders | OutboxTable::SendingAccounts => all("true"),
        // The source may have run since it was copied before: what it has sent or cancelled must not be sent here again. What
        // was sent from here stays as it is.
        OutboxTable::Notifications => format!(
            "INSERT INTO notifications SELECT row.* FROM {rows} WHERE NOT EXISTS (SELECT 1 FROM notifications AS there \
             WHERE there.id <> row.id AND there.token = row.token AND there.idempotency_key = row.idempotency_key) \
             ON CONFLICT (id) DO UPDATE SET cancelled_at = coalesce(notifications.cancelled_at, excluded.cancelled_at), \
             state = CASE WHEN {ENDED} THEN excluded.state ELSE notifications.state END, \
             reason = CASE WHEN {ENDED} THEN excluded.reason ELSE notifications.reason END, \
             settled_at = CASE WHEN {ENDED} THEN excluded.settled_at ELSE notifications.settled_at END \
             WHERE {ENDED} OR notifications.state IN ('open', 'unknown') AND notifications.cancelled_at IS NULL \
             AND excluded.cancelled_at IS NOT NULL"
        ),
        OutboxTable::Attempts => format!(
            "INSERT INTO attempts SELECT row.* FROM {rows} WHERE EXISTS (SELECT 1 FROM notifications AS n \
             WHERE n.id = row.notification) AND NOT EXISTS (SELECT 1 FROM attempts AS there WHERE there.id <> row.id \
             AND there.notification = row.notification AND there.number = row.number) \
             ON CONFLICT (id) DO UPDATE SET state = excluded.state, reason = excluded.reason, due_at = excluded.due_at, \
             held = excluded.held, holder = excluded.holder, send_at = excluded.send_at, \
             lease_until = excluded.lease_until, tries = excluded.tries, throttled = excluded.throttled, \
             written_at = excluded.written_at, sid = excluded.sid, look_at = excluded.look_at, looks = excluded.looks, \
             settled_at = excluded.settled_at, permit_until = excluded.permit_until, over_at = excluded.over_at, \
             hang_up_at = excluded.hang_up_at, hang_ups = excluded.hang_ups WHERE {} \
             OR attempts.state = 'unknown' AND excluded.state = 'unknown' AND excluded.look_at IS NULL",
            further("attempts", "excluded")
        ),
        OutboxTable::Steps => format!(
            "INSERT INTO steps SELECT row.* FROM {rows} WHERE EXISTS (SELECT 1 FROM notifications AS n \
             WHERE n.id = row.notification) ON CONFLICT (notification, number) DO UPDATE SET state = excluded.state, \
             begun_at = excluded.begun_at, over_at = excluded.over_at, ask_at = excluded.ask_at, \
             ended_at = excluded.ended_at WHERE steps.state = 'waiting' AND excluded.state <> 'waiting'"
        ),
        OutboxTable::Paces => format!(
            "INSERT INTO paces SELECT row.* FROM {rows} ON CONFLICT (name) \
             DO UPDATE SET free_at = greatest(paces.free_at, excluded.free_at)"
        ),
        OutboxTable::InvalidRows => {
            all("EXISTS (SELECT 1 FROM campaigns AS c WHERE c.id = row.campaign)")
        }
        // The source may have run since it was copied before: what it has handed over must not be handed over here again. Of a
        // campaign, what has gone on further counts.
        OutboxTable::Campaigns => format!(
            "INSERT INTO campaigns SELECT row.* FROM {rows} ON CONFLICT (id) DO UPDATE SET \
             state = CASE WHEN {HELD_HERE} THEN campaigns.state ELSE excluded.state END, \
             deadline = excluded.deadline, spent = excluded.spent, recipients = excluded.recipients, \
             doubles = excluded.doubles, invalid = excluded.invalid, handed_over = excluded.handed_over, \
             reason = CASE WHEN {HELD_HERE} THEN campaigns.reason ELSE excluded.reason END, \
             evidence = CASE WHEN {HELD_HERE} THEN campaigns.evidence ELSE excluded.evidence END, started_at = excluded.started_at, \
             judged_from = excluded.judged_from, trial_until = excluded.trial_until, trial_over = excluded.trial_over, \
             swept = excluded.swept, finished_at = excluded.finished_at WHERE campaigns.finished_at IS NULL \
             AND campaigns.handed_over <= excluded.handed_over \
             AND (campaigns.started_at IS NULL OR excluded.started_at IS NOT NULL)"
        ),
        OutboxTable::Recipients => format!(
            "INSERT INTO recipients SELECT row.* FROM {rows} WHERE EXISTS (SELECT 1 FROM campaigns AS c \
             WHERE c.id = row.campaign) ON CONFLICT (campaign, number) DO UPDATE SET state = excluded.state, \
             \"to\" = excluded.\"to\", email = excluded.email, body = excluded.body, subject = excluded.subject, \
             html = excluded.html, due_at = excluded.due_at, held = excluded.held, reason = excluded.reason, \
             notification = excluded.notification, settled_at = excluded.settled_at WHERE recipients.state = 'waiting'"
        ),
        OutboxTable::AttemptSids => {
            all("EXISTS (SELECT 1 FROM attempts AS a WHERE a.id = row.attempt)")
        }
        // The latest entry counts by its place, so what lifts a suppression must not come behind a later stop.
        OutboxTable::Suppressions => format!(
            "INSERT INTO suppressions (to_hash, \"to\", stop, source, at) \
             SELECT row.to_hash, row.\"to\", row.stop, row.source, row.at FROM {rows} \
             WHERE NOT EXISTS (SELECT 1 FROM suppressions AS there WHERE {SAME}) \
             AND (row.stop OR NOT EXISTS (SELECT 1 FROM suppressions AS there \
             WHERE there.to_hash = row.to_hash AND there.at > row.at)) ORDER BY row.id"
        ),
        OutboxTable::Consents => format!(
            "INSERT INTO consents (to_hash, \"to\", purpose, given, source, shown, at, stored_at, treated) \
             SELECT row.to_hash, row.\"to\", row.purpose, row.given, row.source, row.shown, row.at, row.stored_at, \
             row.treated FROM {rows} \
             WHERE NOT EXISTS (SELECT 1 FROM consents AS there WHERE {SAME_CONSENT}) ORDER BY row.id"
        ),
    }
}

/// Which of the rows in `$1` are not there, by their position, from 1.
fn missing(table: OutboxTable) -> Option<String> {
    let absent = match table {
        OutboxTable::Notifications => {
            "NOT EXISTS (SELECT 1 FROM notifications AS there WHERE there.id = row.id) \
             AND NOT EXISTS (SELECT 1 FROM notifications AS there \
             WHERE there.token = row.token AND there.idempotency_key = row.idempotency_key)"
                .to_owned()
        }
        OutboxTable::Attempts => {
            format!(
                "EXISTS (SELECT 1 FROM notifications AS n WHERE n.id = row.notification) \
                 AND NOT EXISTS (SELECT 1 FROM attempts AS there WHERE there.id = row.id AND NOT ({}))",
                further("there", "row")
            )
        }
        OutboxTable::Steps => {
            "EXISTS (SELECT 1 FROM notifications AS n WHERE n.id = row.notification) \
             AND NOT EXISTS (SELECT 1 FROM steps AS there WHERE there.notification = row.notification \
             AND there.number = row.number)"
                .to_owned()
        }
        OutboxTable::Campaigns => {
            "NOT EXISTS (SELECT 1 FROM campaigns AS there WHERE there.id = row.id)".to_owned()
        }
        OutboxTable::Recipients => {
            "NOT EXISTS (SELECT 1 FROM recipients AS there WHERE there.campaign = row.campaign \
             AND there.number = row.number)"
                .to_owned()
        }
        OutboxTable::Suppressions => {
            format!("row.stop AND NOT EXISTS (SELECT 1 FROM suppressions AS there WHERE {SAME})")
        }
        OutboxTable::Consents => {
            format!("NOT EXISTS (SELECT 1 FROM consents AS there WHERE {SAME_CONSENT})")
        }
        _ => return None,
    };
    let name = table.as_str();
    Some(format!(
        "SELECT place FROM jsonb_array_elements($1::jsonb) WITH ORDINALITY AS input (columns, place), \
         LATERAL jsonb_populate_record(NULL::{name}, input.columns) AS row WHERE {absent} ORDER BY place"
    ))
}

fn json(rows: &[OutboxRow]) -> String {
    let rows: Vec<_> = rows.iter().map(|row| &row.columns).collect();
    serde_json::to_string(&rows).expect("JSON can be written")
}

impl CopyTarget {
    /// Takes over the keys of the source, and holds everything; false: the target has keys of its own.
    ///
    /// # Errors
    /// See [`CommitError`].
    pub async fn take_outbox(&self, keys: &OutboxKeys) -> Result<bool, CommitError> {
        let take = async |connection: &mut PgConnection, keep| {
            let put = "INSERT INTO outbox (one, secret, suppression, identity) VALUES (true, $1, $2, $3) \
                       ON CONFLICT (one) DO NOTHING";
            let put = sqlx::query(put).bind(&keys.secret).bind(&keys.suppression);
            let put = put.bind(&keys.identity).persistent(keep);
            put.execute(&mut *connection).await?;
            let hold = "UPDATE outbox SET held = coalesce(held, $2), held_at = coalesce(held_at, clock_timestamp()) \
                        WHERE secret = $1";
            let hold = sqlx::query(hold).bind(&keys.secret).bind(COPIED).persistent(keep);
            Ok(hold.execute(connection).await?.rows_affected() > 0)
        };
        self.0.transact(take).await.map_err(|error| classify(&error))
    }

    /// Adds the rows of a table that are not there.
    ///
    /// # Errors
    /// As for [`put_statuses`](Self::put_statuses).
    pub async fn put_outbox(
        &self,
        table: OutboxTable,
        rows: &[OutboxRow],
    ) -> Result<(), CommitError> {
        let (sql, rows) = (put(table), json(rows));
        let put = async |connection: &mut PgConnection, keep| {
            sqlx::query(AssertSqlSafe(sql)).bind(rows).persistent(keep).execute(connection).await
        };
        self.0.transact(put).await.map(|_| ()).map_err(|error| classify(&error))
    }

    /// The rows of a page that are not there, by their position.
    ///
    /// # Errors
    /// The store does not answer in time.
    pub async fn missing_of_outbox(
        &self,
        table: OutboxTable,
        rows: &[OutboxRow],
    ) -> Result<Vec<usize>, BackendError> {
        let Some(sql) = missing(table) else { return Ok(Vec::new()) };
        let rows = json(rows);
        let read = async |connection: &mut PgConnection, keep| {
            let query = sqlx::query_scalar(AssertSqlSafe(sql)).bind(rows);
            query.persistent(keep).fetch_all(connection).await
        };
        let places: Vec<i64> = self.0.run(read).await?;
        Ok(places.iter().filter_map(|place| usize::try_from(place - 1).ok()).collect())
    }
}
