//! [`PostgresStore`]: history and current status in one transaction.

use std::collections::BTreeMap;

use sqlx::{PgConnection, Row};
use time::OffsetDateTime;

use super::Postgres;
use crate::backend::sql::batch::{self, Statuses};
use crate::backend::sql::error::cause;
use crate::event::{Batch, CurrentStatus, Differing, Event, Fingerprint, Resource};
use crate::pipeline::{CommitError, Outcome, Sink};
use crate::twilio::details::EventDetails;

/// See the files for what they do, and why they cannot deadlock.
const INSERT: &str = include_str!("insert.sql");
const MERGE: &str = include_str!("merge.sql");

/// The scale-out store, as a sink.
#[derive(Clone, Debug)]
pub struct PostgresStore(Postgres);

impl PostgresStore {
    /// Connects when first asked. The tables must be there.
    #[must_use]
    pub fn new(postgres: Postgres) -> Self {
        Self(postgres)
    }
}

impl Sink for PostgresStore {
    async fn commit(&self, batch: &Batch) -> Result<Outcome, CommitError> {
        let details = batch::details(batch).await;
        let work = async |connection: &mut PgConnection, keep| {
            store(connection, batch, details, keep).await
        };
        self.0.transact(work).await.map_err(|error| classify(&error))
    }
}

/// The events that are new, and what they say of their SIDs. `keep`: the statements stay prepared.
async fn store(
    connection: &mut PgConnection,
    batch: &Batch,
    details: Vec<EventDetails>,
    keep: bool,
) -> Result<Outcome, sqlx::Error> {
    let fresh = insert(connection, batch, &details, keep).await?;
    let differing = differing(connection, batch, &fresh, keep).await?;
    let updates = batch::fold(details, &fresh);
    let (contradicted, late) = match updates.is_empty() {
        true => (0, 0),
        false => merge(connection, &updates, keep).await?,
    };
    Ok(Outcome::Stored { fresh, contradicted, late, differing })
}

/// Which of the events are new.
async fn insert(
    connection: &mut PgConnection,
    batch: &Batch,
    details: &[EventDetails],
    keep: bool,
) -> Result<Vec<bool>, sqlx::Error> {
    let columns = EventColumns::of(batch.events(), details);
    let inserted = columns.bind().persistent(keep).fetch_all(connection).await?;
    let mut fresh = vec![false; batch.events().len()];
    for row in inserted {
        if let Some(at) = batch.position(row.try_get("key")?, row.try_get("account")?) {
            fresh[at] = true;
        }
    }
    Ok(fresh)
}

/// The duplicates that say something else than what is stored. Asks only if there are any, which is
/// seldom: marks have filtered them before.
async fn differing(
    connection: &mut PgConnection,
    batch: &Batch,
    fresh: &[bool],
    keep: bool,
) -> Result<Vec<Differing>, sqlx::Error> {
    let duplicates = batch.events().iter().zip(fresh).filter(|(_, fresh)| !**fresh);
    let (keys, accounts): (Vec<&str>, Vec<&str>) =
        duplicates.map(|(event, _)| (event.key.as_str(), event.account.as_str())).unzip();
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let stored = "SELECT key, account, fingerprint FROM events \
                  WHERE (key, account) IN (SELECT * FROM unnest($1::text[], $2::text[]))";
    let stored = sqlx::query(stored).bind(keys).bind(accounts).persistent(keep);
    // By position: the database gives rows in the order of its plan, which changes as tables grow.
    let mut differing = BTreeMap::new();
    for row in stored.fetch_all(connection).await? {
        let Some(at) = batch.position(row.try_get("key")?, row.try_get("account")?) else {
            continue;
        };
        let kept: Option<i64> = row.try_get("fingerprint")?;
        let kept = kept.map(Fingerprint::from_i64);
        differing.extend(Differing::of(&batch.events()[at], kept).map(|found| (at, found)));
    }
    Ok(differing.into_values().collect())
}

/// How many rows ended in a contradiction, and how many updates came late.
async fn merge(
    connection: &mut PgConnection,
    updates: &Statuses,
    keep: bool,
) -> Result<(usize, usize), sqlx::Error> {
    let columns = StatusColumns::of(updates);
    let (mut contradicted, mut late) = (0, 0);
    for row in columns.bind().persistent(keep).fetch_all(connection).await? {
        let id = (row.try_get("sid")?, row.try_get("account")?);
        let Some(update) = updates.get(&id) else { continue };
        contradicted += usize::from(update.terminals != 0 && row.try_get("contradicted")?);
        late += usize::from(row.try_get::<&[u8], _>("position")? > &*update.position.to_bytes());
    }
    Ok((contradicted, late))
}

/// Data that Postgres refuses, as opposed to a Postgres that is away: by the class of SQLSTATE.
fn classify(error: &sqlx::Error) -> CommitError {
    let cause = cause(error);
    let code = error.as_database_error().and_then(|error| error.code()).unwrap_or_default();
    match (code.get(..2), &*code) {
        // Data exception, integrity violation, limit of a program (an index entry too large).
        (Some("22" | "23" | "54"), _) => CommitError::Refused(cause),
        (_, "53100") => CommitError::Full(cause),
        // Query canceled, as by `statement_timeout`.
        (_, "57014") => CommitError::Late(cause),
        _ if is_late(error) => CommitError::Late(cause),
        _ if matches!(error, sqlx::Error::Encode(_)) => CommitError::Refused(cause),
        _ => CommitError::Transient(cause),
    }
}

fn is_late(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::TimedOut)
}

type Statement<'q> = sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>;

/// Events as columns, the parameters of [`INSERT`].
#[derive(Default)]
struct EventColumns<'a> {
    key: Vec<&'a str>,
    kind: Vec<&'static str>,
    account: Vec<&'a str>,
    sid: Vec<Option<&'a str>>,
    resource: Vec<Option<&'static str>>,
    status: Vec<Option<&'a str>>,
    rank: Vec<Option<i16>>,
    sequence: Vec<Option<i64>>,
    occurred_at: Vec<Option<OffsetDateTime>>,
    received_at: Vec<OffsetDateTime>,
    format: Vec<&'static str>,
    query: Vec<&'a str>,
    params: Vec<&'a str>,
    body: Vec<&'a [u8]>,
    about_account: Vec<Option<&'a str>>,
    call_sid: Vec<Option<&'a str>>,
    fingerprint: Vec<Option<i64>>,
    method: Vec<Option<&'static str>>,
    route: Vec<Option<&'static str>>,
    idempotency_token: Vec<Option<&'a str>>,
}

impl<'a> EventColumns<'a> {
    fn of(events: &'a [Event], details: &'a [EventDetails]) -> Self {
        let mut columns = Self::default();
        for (event, details) in events.iter().zip(details) {
            columns.push(event, details);
        }
        columns
    }

    fn push(&mut self, event: &'a Event, details: &'a EventDetails) {
        let request = event.request.as_ref();
        self.key.push(event.key.as_str());
        self.kind.push(event.kind.as_str());
        self.account.push(&event.account);
        self.sid.push(event.sid.as_deref());
        self.resource.push(event.resource.map(Resource::as_str));
        self.status.push(event.status.as_deref());
        self.rank.push(event.position().map(|position| i16::from(position.rank)));
        self.sequence.push(event.sequence);
        self.occurred_at.push(event.occurred_at.map(|at| at.datetime()));
        self.received_at.push(event.received_at.datetime());
        self.format.push(event.format.as_str());
        self.query.push(&event.query);
        self.params.push(&details.params);
        self.body.push(&event.body);
        self.about_account.push(event.about_account.as_deref());
        self.call_sid.push(details.call_sid.as_deref());
        self.fingerprint.push(event.fingerprint.map(Fingerprint::to_i64));
        self.method.push(request.map(|request| request.method.as_str()));
        self.route.push(request.map(|request| request.route.as_str()));
        let token = request.and_then(|request| request.idempotency_token.as_deref());
        self.idempotency_token.push(token);
    }

    fn bind(&self) -> Statement<'_> {
        sqlx::query(INSERT)
            .bind(&self.key)
            .bind(&self.kind)
            .bind(&self.account)
            .bind(&self.sid)
            .bind(&self.resource)
            .bind(&self.status)
            .bind(&self.rank)
            .bind(&self.sequence)
            .bind(&self.occurred_at)
            .bind(&self.received_at)
            .bind(&self.format)
            .bind(&self.query)
            .bind(&self.params)
            .bind(&self.body)
            .bind(&self.about_account)
            .bind(&self.call_sid)
            .bind(&self.fingerprint)
            .bind(&self.method)
            .bind(&self.route)
            .bind(&self.idempotency_token)
    }
}

/// Rows of `statuses` as columns, the parameters of [`MERGE`].
#[derive(Default)]
struct StatusColumns<'a> {
    sid: Vec<&'a str>,
    resource: Vec<&'static str>,
    account: Vec<&'a str>,
    status: Vec<&'a str>,
    is_final: Vec<bool>,
    from: Vec<Option<&'a str>>,
    to: Vec<Option<&'a str>>,
    duration: Vec<Option<i64>>,
    error_code: Vec<Option<&'a str>>,
    terminals: Vec<i16>,
    first_seen: Vec<OffsetDateTime>,
    updated: Vec<OffsetDateTime>,
    position: Vec<Vec<u8>>,
    error_position: Vec<Option<Vec<u8>>>,
}

impl<'a> StatusColumns<'a> {
    fn of(updates: &'a Statuses) -> Self {
        let mut columns = Self::default();
        updates.values().for_each(|row| columns.push(row));
        columns
    }

    fn push(&mut self, row: &'a CurrentStatus) {
        self.sid.push(&row.sid);
        self.resource.push(row.resource.as_str());
        self.account.push(&row.account);
        self.status.push(&row.position.status);
        self.is_final.push(row.is_final());
        self.from.push(row.from.as_deref());
        self.to.push(row.to.as_deref());
        self.duration.push(row.duration);
        self.error_code.push(row.error.as_ref().map(|error| error.code.as_str()));
        self.terminals.push(row.terminals);
        self.first_seen.push(row.first_seen.datetime());
        self.updated.push(row.updated.datetime());
        self.position.push(row.position.to_bytes());
        self.error_position.push(row.error.as_ref().map(|error| error.position.to_bytes()));
    }

    fn bind(&self) -> Statement<'_> {
        sqlx::query(MERGE)
            .bind(&self.sid)
            .bind(&self.resource)
            .bind(&self.account)
            .bind(&self.status)
            .bind(&self.is_final)
            .bind(&self.from)
            .bind(&self.to)
            .bind(&self.duration)
            .bind(&self.error_code)
            .bind(&self.terminals)
            .bind(&self.first_seen)
            .bind(&self.updated)
            .bind(&self.position)
            .bind(&self.error_position)
    }
}
