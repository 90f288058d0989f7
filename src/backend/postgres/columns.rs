//! Rows as columns: the parameters of the statements that store a batch.

use time::OffsetDateTime;

use crate::backend::sql::changes::NewChange;
use crate::event::{Callee, CurrentStatus, Event, Fingerprint, Own, Resource};
use crate::twilio::details::EventDetails;

/// See the files for what they do, and why they cannot deadlock.
const INSERT: &str = include_str!("insert.sql");
const MERGE: &str = concat!(include_str!("insert_statuses.sql"), include_str!("merge.sql"));
const COPY: &str = concat!(include_str!("copy_statuses.sql"), include_str!("merge.sql"));
const CHANGES: &str = include_str!("changes.sql");

type Statement<'q> = sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>;

/// Events as columns, the parameters of [`INSERT`].
#[derive(Default)]
pub(super) struct EventColumns<'a> {
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
    own: Vec<Option<&'a str>>,
    attempt: Vec<Option<String>>,
    callee: Vec<Option<&'static str>>,
}

impl<'a> EventColumns<'a> {
    pub(super) fn of(events: &'a [Event], details: &'a [EventDetails]) -> Self {
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
        self.own.push(details.own.as_ref().map(Own::as_str));
        self.attempt.push(event.attempt.map(|attempt| attempt.to_string()));
        self.callee.push(event.callee.map(Callee::as_str));
    }

    pub(super) fn bind(&self) -> Statement<'_> {
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
            .bind(&self.own)
            .bind(&self.attempt)
            .bind(&self.callee)
    }
}

/// Rows of `statuses` as columns, the parameters of [`MERGE`] and of [`COPY`].
#[derive(Default)]
pub(super) struct StatusColumns<'a> {
    sid: Vec<&'a str>,
    resource: Vec<&'static str>,
    account: Vec<&'a str>,
    status: Vec<&'a str>,
    is_final: Vec<bool>,
    from: Vec<Option<&'a str>>,
    to: Vec<Option<&'a str>>,
    direction: Vec<Option<&'a str>>,
    duration: Vec<Option<i64>>,
    error_code: Vec<Option<&'a str>>,
    terminals: Vec<i16>,
    first_seen: Vec<OffsetDateTime>,
    updated: Vec<OffsetDateTime>,
    position: Vec<Vec<u8>>,
    error_position: Vec<Option<Vec<u8>>>,
    own: Vec<Option<&'a str>>,
    own_order: Vec<Option<&'a [u8]>>,
}

impl<'a> StatusColumns<'a> {
    /// The rows must come sorted by SID and account.
    pub(super) fn of(rows: impl IntoIterator<Item = &'a CurrentStatus>) -> Self {
        let mut columns = Self::default();
        rows.into_iter().for_each(|row| columns.push(row));
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
        self.direction.push(row.direction.as_deref());
        self.duration.push(row.duration);
        self.error_code.push(row.error.as_ref().map(|error| error.code.as_str()));
        self.terminals.push(row.terminals);
        self.first_seen.push(row.first_seen.datetime());
        self.updated.push(row.updated.datetime());
        self.position.push(row.position.to_bytes());
        self.error_position.push(row.error.as_ref().map(|error| error.position.to_bytes()));
        self.own.push(row.own.as_ref().map(|own| own.parameters.as_str()));
        self.own_order.push(row.own.as_ref().map(|own| &*own.order));
    }

    pub(super) fn bind(&self) -> Statement<'_> {
        self.bind_to(MERGE)
    }

    /// `stored_at`: when each was stored where it is copied from.
    pub(super) fn bind_copied<'s>(
        &'s self,
        stored_at: &'s [Option<OffsetDateTime>],
    ) -> Statement<'s> {
        self.bind_to(COPY).bind(stored_at)
    }

    fn bind_to(&self, sql: &'static str) -> Statement<'_> {
        sqlx::query(sql)
            .bind(&self.sid)
            .bind(&self.resource)
            .bind(&self.account)
            .bind(&self.status)
            .bind(&self.is_final)
            .bind(&self.from)
            .bind(&self.to)
            .bind(&self.direction)
            .bind(&self.duration)
            .bind(&self.error_code)
            .bind(&self.terminals)
            .bind(&self.first_seen)
            .bind(&self.updated)
            .bind(&self.position)
            .bind(&self.error_position)
            .bind(&self.own)
            .bind(&self.own_order)
    }
}

/// Rows of `changes` as columns, the parameters of [`CHANGES`].
#[derive(Default)]
pub(super) struct ChangeColumns<'a> {
    account: Vec<&'a str>,
    key: Vec<&'a str>,
    kind: Vec<&'static str>,
    sid: Vec<Option<&'a str>>,
    resource: Vec<Option<&'static str>>,
    status: Vec<Option<&'a str>>,
    previous: Vec<Option<&'a str>>,
    current: Vec<Option<&'a str>>,
    moved: Vec<bool>,
    error_code: Vec<Option<&'a str>>,
    own: Vec<Option<&'a str>>,
}

impl<'a> ChangeColumns<'a> {
    pub(super) fn of(changes: &'a [NewChange<'a>]) -> Self {
        let mut columns = Self::default();
        changes.iter().for_each(|change| columns.push(change));
        columns
    }

    fn push(&mut self, change: &NewChange<'a>) {
        let event = change.event;
        self.account.push(&event.account);
        self.key.push(event.key.as_str());
        self.kind.push(event.kind.as_str());
        self.sid.push(event.sid.as_deref());
        self.resource.push(event.resource.map(Resource::as_str));
        self.status.push(event.status.as_deref());
        self.previous.push(change.previous);
        self.current.push(change.current);
        self.moved.push(change.moved);
        self.error_code.push(change.error_code);
        self.own.push(change.own.map(Own::as_str));
    }

    /// `notify`: whether the commit notifies the clients that listen.
    pub(super) fn bind(&self, notify: bool) -> Statement<'_> {
        sqlx::query(CHANGES)
            .bind(notify)
            .bind(&self.account)
            .bind(&self.key)
            .bind(&self.kind)
            .bind(&self.sid)
            .bind(&self.resource)
            .bind(&self.status)
            .bind(&self.previous)
            .bind(&self.current)
            .bind(&self.moved)
            .bind(&self.error_code)
            .bind(&self.own)
    }
}
