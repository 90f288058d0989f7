//! Search: by what people know, to the SID that they look for.

use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};

use super::format;
use super::layout::{self, NavPage};
use crate::admin::Admin;
use crate::admin::api::{Problem, StatusAsk, next_status};
use crate::admin::auth::Visitor;
use crate::backend::search::{Needle, StatusSearch};
use crate::clock::Timestamp;
use crate::event::{CurrentStatus, Resource};

const SPANS: [(&str, &str); 5] = [
    ("", "any time"),
    ("15m", "15 minutes"),
    ("1h", "an hour"),
    ("24h", "a day"),
    ("7d", "a week"),
];

/// `GET /search?q=…`
pub(super) async fn page(
    State(admin): State<Arc<Admin>>,
    Extension(visitor): Extension<Visitor>,
    query: Result<Query<StatusAsk>, QueryRejection>,
) -> Response {
    let asked = match query {
        Ok(Query(asked)) => asked,
        Err(rejection) => {
            let problem = Problem::from(rejection);
            return layout::failure(&admin, &visitor, &problem);
        }
    };
    let now = admin.clock.now();
    let found = match find(&admin, &asked).await {
        Ok(Found::Sid(sid)) => {
            return Redirect::to(&format!("/sid/{}", format::in_path(&sid))).into_response();
        }
        Ok(Found::Page(found, next)) => html! { (results(&found, now)) (more(&asked, next)) },
        Err(problem) => {
            html! { p class="error" role="alert" { "No answer: " (problem.detail) "." } }
        }
    };
    let body = html! { h1 { "Search" } (form(&asked)) (found) };
    layout::page(&admin, &visitor, NavPage::Search, "Search", &body)
}

enum Found {
    /// It was a whole SID.
    Sid(String),
    Page(Vec<CurrentStatus>, Option<String>),
}

async fn find(admin: &Admin, asked: &StatusAsk) -> Result<Found, Problem> {
    let search = asked.search(&admin.privacy.now(), admin.clock.now())?;
    let found = admin.reader.find_statuses(&search).await?;
    if let Some(Needle::Prefix(sid)) = &search.needle {
        // Several, if several accounts have reported it.
        let exact = !found.is_empty() && found.iter().all(|current| current.sid == *sid);
        // What moves no status has events all the same.
        let only_events =
            found.is_empty() && !admin.reader.events_of(sid, None, 1).await?.is_empty();
        if exact || only_events {
            return Ok(Found::Sid(sid.clone()));
        }
    }
    let StatusSearch { limit, .. } = search;
    let next = next_status(&found, limit);
    Ok(Found::Page(found, next))
}

fn form(asked: &StatusAsk) -> Markup {
    html! {
        form class="search" method="get" action="/search" role="search" {
            div class="field wide" {
                label for="q" { "SID, part of one, or number" }
                input id="q" type="search" name="q" value=(asked.q) autocomplete="off"
                    spellcheck="false" placeholder="CA… or +1555…" autofocus[asked.q.is_empty()];
            }
            div class="field" {
                label for="kind" { "Kind" }
                select id="kind" name="kind" {
                    option value="" { "any" }
                    @for kind in Resource::ALL.map(Resource::as_str) {
                        option value=(kind) selected[asked.kind == kind] { (kind) }
                    }
                }
            }
            (field("status", "Status", &asked.status, "failed"))
            (field("error", "Error", &asked.error, "30003"))
            (field("account", "Account", &asked.account, "AC…"))
            (field("own", "Your parameter", &asked.own, "order_id=A-1"))
            div class="field" {
                label for="since" { "First seen within" }
                select id="since" name="since" {
                    @for (value, name) in SPANS {
                        option value=(value) selected[asked.since == value] { (name) }
                    }
                    @if !SPANS.iter().any(|(value, _)| *value == asked.since) {
                        option value=(asked.since) selected { "since " (asked.since) }
                    }
                }
            }
            button { "Search" }
        }
    }
}

fn field(name: &str, label: &str, value: &str, example: &str) -> Markup {
    html! {
        div class="field" {
            label for=(name) { (label) }
            input id=(name) name=(name) value=(value) placeholder=(example) autocomplete="off"
                spellcheck="false";
        }
    }
}

fn results(found: &[CurrentStatus], now: Timestamp) -> Markup {
    if found.is_empty() {
        return html! {
            p class="empty" { "Nothing was found. Give a number in full; part of a SID is enough." }
        };
    }
    html! {
        table class="rows found" {
            caption class="hidden" { "What was found, the latest first" }
            thead {
                tr {
                    th scope="col" { "First seen" }
                    th scope="col" { "Kind" }
                    th scope="col" { "Status" }
                    th scope="col" { "SID" }
                    th scope="col" { "From" }
                    th scope="col" { "To" }
                    th scope="col" { "Error" }
                    th scope="col" { "Last event" }
                }
            }
            tbody { @for current in found { (row(current, now)) } }
        }
    }
}

fn row(current: &CurrentStatus, now: Timestamp) -> Markup {
    html! {
        tr {
            td class="at" { (format::time(current.first_seen, now)) }
            td class="kind-of" { (current.resource.as_str()) }
            td class="now" {
                (format::status(&current.position.status))
                @if current.is_contradicted() { " " span class="tag" { "contradicted" } }
            }
            td class="which" { (format::sid(&current.sid)) }
            td class="from address" { (current.from.as_deref().unwrap_or_default()) }
            td class="to address" { (current.to.as_deref().unwrap_or_default()) }
            td class="why" { @if let Some(error) = &current.error { (format::error_code(&error.code)) } }
            td class="last" { (format::time(current.updated, now)) }
        }
    }
}

fn more(asked: &StatusAsk, next: Option<String>) -> Markup {
    let Some(next) = next else { return html! {} };
    let mut query = form_urlencoded::Serializer::new(String::new());
    let all = [
        ("q", &asked.q),
        ("kind", &asked.kind),
        ("status", &asked.status),
        ("account", &asked.account),
        ("error", &asked.error),
        ("own", &asked.own),
        ("since", &asked.since),
        ("until", &asked.until),
        ("after", &next),
    ];
    query.extend_pairs(all.iter().filter(|(_, value)| !value.is_empty()));
    html! { p class="more" { a href={ "/search?" (query.finish()) } rel="next" { "Older" } } }
}
