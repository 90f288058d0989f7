//! [`PostgresStore`]: one statement per batch.

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};
use time::OffsetDateTime;

use super::Postgres;
use crate::backend::rows;
use crate::event::{Batch, Current, Event, Resource};
use crate::pipeline::{CommitError, Outcome, Sink};
use crate::twilio::details::Details;

/// See the file for what it does and why it cannot deadlock.
const COMMIT: &str = include_str!("commit.sql");

/// The scale-out store, as a sink.
#[derive(Clone, Debug)]
pub struct PostgresStore(Postgres);

impl PostgresStore {
    /// Connects when first asked. The tables must be there.
    #[must_use]
    pub fn new(postgres: Postgres) -> Self {
        Self(postgres)
    }

    async fn run(&self, columns: &Columns<'_>) -> Result<PgRow, CommitError> {
        let commit = async |connection: &mut PgConnection, keep| {
            columns.bind().persistent(keep).fetch_one(connection).await
        };
        self.0.run(commit).await.map_err(|error| classify(&error))
    }
}

impl Sink for PostgresStore {
    async fn commit(&self, batch: &Batch) -> Result<Outcome, CommitError> {
        let events = batch.events();
        let details: Vec<Details> = events.iter().map(Details::of).collect();
        let row = self.run(&Columns::of(events, &details)).await?;

        let read = |error: sqlx::Error| CommitError::Transient(rows::cause(&error));
        let keys: Vec<String> = row.try_get("fresh").map_err(read)?;
        let count = |name: &str| -> Result<usize, CommitError> {
            let count: i64 = row.try_get(name).map_err(read)?;
            Ok(usize::try_from(count).unwrap_or_default())
        };
        let mut fresh = vec![false; events.len()];
        for key in keys {
            if let Ok(at) = events.binary_search_by(|event| event.key.as_str().cmp(&key)) {
                fresh[at] = true;
            }
        }
        Ok(Outcome::Stored { fresh, contradicted: count("contradicted")?, late: count("late")? })
    }
}

/// Data that Postgres refuses, as opposed to a Postgres that is away: by the class of SQLSTATE.
fn classify(error: &sqlx::Error) -> CommitError {
    let cause = rows::cause(error);
    let code = error.as_database_error().and_then(|error| error.code()).unwrap_or_default();
    match (code.get(..2), &*code) {
        // Data exception, integrity violation, limit of a program (an index entry too large).
        (Some("22" | "23" | "54"), _) => CommitError::Refused(cause),
        (_, "53100") => CommitError::Full(cause),
        _ if matches!(error, sqlx::Error::Encode(_)) => CommitError::Refused(cause),
        _ => CommitError::Transient(cause),
    }
}

/// A batch as columns, the parameters of [`COMMIT`].
#[derive(Default)]
struct Columns<'a> {
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
    position: Vec<Option<Vec<u8>>>,
    is_final: Vec<Option<bool>>,
    from: Vec<Option<&'a str>>,
    to: Vec<Option<&'a str>>,
    duration: Vec<Option<i64>>,
    error_code: Vec<Option<&'a str>>,
    terminals: Vec<Option<i16>>,
}

impl<'a> Columns<'a> {
    fn of(events: &'a [Event], details: &'a [Details]) -> Self {
        let mut columns = Self::default();
        for (event, details) in events.iter().zip(details) {
            columns.push_event(event, &details.params);
            columns.push_current(details.current.as_ref());
        }
        columns
    }

    fn push_event(&mut self, event: &'a Event, params: &'a str) {
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
        self.params.push(params);
        self.body.push(&event.body);
    }

    fn push_current(&mut self, current: Option<&'a Current>) {
        self.position.push(current.map(|row| row.position.to_bytes()));
        self.is_final.push(current.map(Current::is_final));
        self.from.push(current.and_then(|row| row.from.as_deref()));
        self.to.push(current.and_then(|row| row.to.as_deref()));
        self.duration.push(current.and_then(|row| row.duration));
        let error = current.and_then(|row| row.error.as_ref());
        self.error_code.push(error.map(|error| error.code.as_str()));
        self.terminals.push(current.map(|row| row.terminals));
    }

    fn bind(&self) -> sqlx::query::Query<'_, sqlx::Postgres, sqlx::postgres::PgArguments> {
        sqlx::query(COMMIT)
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
            .bind(&self.position)
            .bind(&self.is_final)
            .bind(&self.from)
            .bind(&self.to)
            .bind(&self.duration)
            .bind(&self.error_code)
            .bind(&self.terminals)
    }
}
