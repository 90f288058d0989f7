//! The timeline of a SID: what happened, when, and what was odd about it.

use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use serde_json::Value;

use super::format::{self, StatusTone, duration, number_of, seconds};
use super::layout::{self, NavPage};
use crate::admin::Admin;
use crate::admin::api::{AccountAsk, EVENTS, Problem};
use crate::admin::auth::Visitor;
use crate::admin::timeline::{Entry, Known, entries};
use crate::backend::BackendError;
use crate::backend::outbox::{Attempt, Notification};
use crate::clock::Timestamp;
use crate::event::{CurrentStatus, Own};
use crate::twilio::error::{self, meaning};

/// `GET /sid/{sid}`
pub(super) async fn page(
    State(admin): State<Arc<Admin>>,
    Extension(visitor): Extension<Visitor>,
    sid: Result<Path<String>, PathRejection>,
    account: Result<Query<AccountAsk>, QueryRejection>,
) -> Response {
    match look(&admin, sid, account).await {
        Ok((sid, Known::Several(accounts))) => {
            let body = choice(&sid, &accounts);
            layout::page(&admin, &visitor, NavPage::Elsewhere, &sid, &body).into_response()
        }
        Ok((sid, Known::One(current, events))) => {
            let entries = entries(&sid, events, |event| admin.live.came_again(event));
            let asked = match asked(&admin, &entries).await {
                Ok(asked) => asked,
                Err(error) => return layout::failure(&admin, &visitor, &Problem::from(error)),
            };
            let body = whole(&sid, current.as_deref(), asked.as_ref(), &entries, admin.clock.now());
            let shown = layout::page(&admin, &visitor, NavPage::Elsewhere, &sid, &body);
            let known = current.is_some() || !entries.is_empty();
            let status = if known { StatusCode::OK } else { StatusCode::NOT_FOUND };
            (status, shown).into_response()
        }
        Err(problem) => layout::failure(&admin, &visitor, &problem),
    }
}

async fn look(
    admin: &Admin,
    sid: Result<Path<String>, PathRejection>,
    account: Result<Query<AccountAsk>, QueryRejection>,
) -> Result<(String, Known), Problem> {
    let (Path(sid), Query(AccountAsk { account })) = (sid?, account?);
    let known = Known::of(&admin.reader, &sid, &account, EVENTS).await?;
    Ok((sid, known))
}

/// What was asked for, if offhook sent it: the events of a message carry the id of their attempt.
async fn asked(admin: &Admin, entries: &[Entry]) -> Result<Option<AskedFor>, BackendError> {
    let Some(id) = entries.iter().find_map(|entry| entry.stored.event.attempt) else {
        return Ok(None);
    };
    let found = admin.sending.outbox.find_by_attempt(id).await?;
    Ok(found.and_then(|(notification, attempts)| {
        let attempt = attempts.into_iter().find(|attempt| attempt.id == id)?;
        Some(AskedFor { notification, attempt })
    }))
}

/// A notification, and the attempt whose message is shown.
struct AskedFor {
    notification: Notification,
    attempt: Attempt,
}

/// Which account's is meant.
fn choice(sid: &str, accounts: &[String]) -> Markup {
    html! {
        p class="kind" { "SID" }
        h1 class="sid" { (sid) }
        p class="lead" { "Several accounts have reported this SID. Each has a history of its own:" }
        ul {
            @for account in accounts {
                li { a href={ "/sid/" (format::in_path(sid)) "?account=" (format::in_path(account)) } { (account) } }
            }
        }
    }
}

fn whole(
    sid: &str,
    current: Option<&CurrentStatus>,
    asked: Option<&AskedFor>,
    entries: &[Entry],
    now: Timestamp,
) -> Markup {
    html! {
        p class="kind" { (current.map_or("SID", |current| current.resource.as_str())) }
        h1 class="sid" { (sid) }
        @if let Some(current) = current { (summary(current, now)) }
        @if let Some(asked) = asked { (attempt(asked, now)) }
        @if entries.is_empty() {
            p class="empty" { "No event of this SID is stored. Its callbacks may still be on their way." }
        } @else {
            h2 { (number_of(entries.len() as u64, "event", "events")) ", as they were received" }
            ol class="timeline" { @for entry in entries { (event(entry, now)) } }
            @if entries.len() == EVENTS as usize {
                p class="note" { "These are the first " (EVENTS) "; there may be more." }
            }
        }
    }
}

/// What happened before the first callback.
fn attempt(asked: &AskedFor, now: Timestamp) -> Markup {
    let AskedFor { notification, attempt } = asked;
    html! {
           h2 { "Sent by offhook" }
           ol class="timeline" {
               li class="plain" {
                   div class="head" {
                       (format::time(notification.created_at, now))
                       span class="status plain" { "asked" }
                       span class="note" { (notification.purpose.as_str()) " from " (notification.sender) }
                   }
                   p class="note" {
    "Notification " (format::notification(&notification.id)) " is " (notification.state.as_str())
                       @if let Some(why) = &notification.reason { " (" (why) ")" }
                       @if let Some(reference) = &notification.reference { ". Reference: " code { (reference) } }
                   }
               }
               @if let Some(written_at) = attempt.written_at {
                   li class="plain" {
                       div class="head" {
                           (format::time(written_at, now))
                           span class="status plain" { @if attempt.confirm.is_some() { "called" } @else { "sent" } }
                           span class="note" {
                               "attempt " (attempt.number) " is " (attempt.state.as_str())
                               @if let Some(confirm) = attempt.confirm { ", confirmed by: " (confirm.as_str()) }
                               @if attempt.tries > 1 { ", after " (number_of(attempt.tries, "request", "requests")) }
                           }
                       }
                       @if attempt.sids.len() > 1 {
                           p class="odd" { "Twilio has it under several SIDs: " (attempt.sids.join(", ")) }
                       }
                   }
               }
           }
       }
}

fn summary(current: &CurrentStatus, now: Timestamp) -> Markup {
    let took = current.updated.since(current.first_seen);
    html! {
        p class="lead" {
            (format::status(&current.position.status))
            @if current.is_final() { " and final" } @else { " and not final yet" }
            ". Its last event came " (format::time(current.updated, now))
            @if !took.is_zero() { ", " (duration(took)) " after the first" }
            "."
        }
        @if let Some(error) = &current.error {
            @if StatusTone::of(&current.position.status) == StatusTone::Good {
                // In red beside a green status it would contradict it.
                p class="note" { "An earlier event had an error." }
            }
            (error_line(&error.code))
        }
        @if current.is_contradicted() {
            p class="odd" {
                "Twilio reported final statuses that exclude each other. All of them are below."
            }
        }
        dl class="facts" {
            @for (name, value) in [("From", &current.from), ("To", &current.to)] {
                @if let Some(value) = value {
                    div { dt { (name) } dd { a href={ "/search?q=" (format::in_path(value)) } { (value) } } }
                }
            }
            @if let Some(length) = current.duration {
                div { dt { "Duration" } dd { (seconds(length as f64)) } }
            }
            div { dt { "Account" } dd { (current.account) } }
            @if let Some(own) = &current.own { (parameters_of_ones_own(&own.parameters)) }
        }
    }
}

/// Each value leads to all that has it.
fn parameters_of_ones_own(own: &Own) -> Markup {
    let json = own.to_json();
    let pairs = json.as_object().into_iter().flatten();
    let pairs = pairs.flat_map(|(name, value)| match value {
        Value::Array(values) => values.iter().map(|value| (name, value)).collect(),
        value => vec![(name, value)],
    });
    html! {
        @for (name, value) in pairs {
            @let value = value.as_str().unwrap_or_default();
            @let sought = format!("{name}={value}");
            div { dt { (name) } dd { a href={ "/search?own=" (format::in_path(&sought)) } { (value) } } }
        }
    }
}

pub(super) fn error_line(code: &str) -> Markup {
    html! {
        p class="error-code" {
            "Error " (format::error_code(code))
            @if let Some(meaning) = meaning(code) { ": " (meaning) "." }
        }
    }
}

fn event(entry: &Entry, now: Timestamp) -> Markup {
    let event = &entry.stored.event;
    let params: Value = serde_json::from_str(&entry.stored.params).unwrap_or_default();
    let kind = event.kind.as_str().replace('_', " ");
    let code = error::of(event);
    let tone = event.status.as_deref().map_or(StatusTone::Plain, StatusTone::of);
    html! {
        li class=(tone.as_str()) {
            div class="head" {
                (format::time(event.received_at, now))
                @match &event.status {
                    Some(status) => (format::status(status)),
                    None => span class="status plain" { (kind) },
                }
                @if event.status.is_some() && event.resource.is_none() {
                    span class="note" { (kind) }
                }
                @if !entry.gap.is_zero() { span class="note" { (duration(entry.gap)) " later" } }
                @if let Some(delay) = entry.delay {
                    span class="note" title="From Twilio's time, in whole seconds, to its arrival" {
                        "delay " (duration(delay))
                    }
                }
                @if entry.out_of_order {
                    span class="tag" title="A later status arrived before this one" { "out of order" }
                }
                @if !entry.came_again.is_empty() { (again(&entry.came_again, now)) }
            }
            @if let Some(code) = &code { (error_line(code)) }
            details {
                summary { "Parameters" }
                (parameters(&params))
                @if !event.query.is_empty() {
                    p class="note" { "Query of the callback URL: " code { (event.query) } }
                }
                p class="note" { "Key: " code { (event.key.as_str()) } }
            }
        }
    }
}

pub(super) fn again(times: &[Timestamp], now: Timestamp) -> Markup {
    let last = times.last().map(|at| format::minute(*at, now)).unwrap_or_default();
    html! {
        span class="tag" title={ "Last at " (last) ", as far as this process remembers" } {
            "duplicate"
            @if times.len() > 1 { " ×" (times.len()) }
        }
    }
}

/// An object as a list of names and values; anything else as it is.
fn parameters(params: &Value) -> Markup {
    let written = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => serde_json::to_string_pretty(other).unwrap_or_default(),
    };
    html! {
        @match params.as_object() {
            Some(pairs) if pairs.is_empty() => p class="empty" { "None." },
            Some(pairs) => dl class="params" {
                @for (name, value) in pairs { div { dt { (name) } dd { (written(value)) } } }
            },
            None => pre { (written(params)) },
        }
    }
}
