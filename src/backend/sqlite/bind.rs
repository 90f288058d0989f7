//! Events and statuses as the parameters of an INSERT, in the order of
//! [`columns`](crate::backend::sql::columns).

use super::writer::Statement;
use crate::backend::sql::changes::NewChange;
use crate::event::{Callee, CurrentStatus, Event, Fingerprint, Own, Resource};
use crate::twilio::details::EventDetails;

pub(super) fn bind_event<'q>(
    query: Statement<'q>,
    event: &'q Event,
    details: &'q EventDetails,
) -> Statement<'q> {
    let request = event.request.as_ref();
    query
        .bind(event.key.as_str())
        .bind(event.kind.as_str())
        .bind(event.account.as_str())
        .bind(event.sid.as_deref())
        .bind(event.resource.map(Resource::as_str))
        .bind(event.status.as_deref())
        .bind(event.position().map(|position| i64::from(position.rank)))
        .bind(event.sequence)
        .bind(event.occurred_at.map(|at| at.to_string()))
        .bind(event.received_at.to_string())
        .bind(event.format.as_str())
        .bind(event.query.as_str())
        .bind(details.params.as_str())
        .bind(&event.body[..])
        .bind(event.about_account.as_deref())
        .bind(details.call_sid.as_deref())
        .bind(event.fingerprint.map(Fingerprint::to_i64))
        .bind(request.map(|request| request.method.as_str()))
        .bind(request.map(|request| request.route.as_str()))
        .bind(request.and_then(|request| request.idempotency_token.as_deref()))
        .bind(details.own.as_ref().map(Own::as_str))
        .bind(event.attempt.map(|attempt| attempt.to_string()))
        .bind(event.callee.map(Callee::as_str))
}

pub(super) fn bind_status<'q>(query: Statement<'q>, row: &'q CurrentStatus) -> Statement<'q> {
    query
        .bind(row.sid.as_str())
        .bind(row.resource.as_str())
        .bind(row.account.as_str())
        .bind(row.position.status.as_str())
        .bind(row.is_final())
        .bind(row.from.as_deref())
        .bind(row.to.as_deref())
        .bind(row.direction.as_deref())
        .bind(row.duration)
        .bind(row.error.as_ref().map(|error| error.code.as_str()))
        .bind(row.terminals)
        .bind(row.first_seen.to_string())
        .bind(row.updated.to_string())
        .bind(row.position.to_bytes())
        .bind(row.error.as_ref().map(|error| error.position.to_bytes()))
        .bind(row.own.as_ref().map(|own| own.parameters.as_str()))
        .bind(row.own.as_ref().map(|own| &*own.order))
}

pub(super) fn bind_change<'q>(query: Statement<'q>, change: &NewChange<'q>) -> Statement<'q> {
    let event = change.event;
    query
        .bind(event.account.as_str())
        .bind(event.key.as_str())
        .bind(event.kind.as_str())
        .bind(event.sid.as_deref())
        .bind(event.resource.map(Resource::as_str))
        .bind(event.status.as_deref())
        .bind(change.previous)
        .bind(change.current)
        .bind(change.moved)
        .bind(change.error_code)
        .bind(change.own.map(Own::as_str))
}
