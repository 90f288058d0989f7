//! Notifications: a list by state, reference and route, and each of them as one line in time.

mod cancel;
mod line;
mod sentence;

use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

pub(super) use self::cancel::{cancel, confirm};
use self::line::Whole;
use super::format;
use super::layout::{self, NavPage};
use crate::admin::Admin;
use crate::admin::api::{Problem, one_of};
use crate::admin::auth::Visitor;
use crate::admin::help;
use crate::backend::outbox::{self, Notification, NotificationSearch, place_text};
use crate::clock::Timestamp;
use crate::dispatch::{NotificationState, OnUnknown};
use crate::labels::Label as _;
use crate::twilio::error::meaning;

/// Notifications of a page.
const PER_PAGE: u32 = 100;

/// The query of the list. An empty field of its form asks for nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Ask {
    state: String,
    reference: String,
    route: String,
    campaign: String,
    after: String,
}

/// `GET /notifications?state=…&reference=…&route=…&after=…`
pub(super) async fn list(
    State(admin): State<Arc<Admin>>,
    Extension(visitor): Extension<Visitor>,
    query: Result<Query<Ask>, QueryRejection>,
) -> Response {
    let Query(ask) = match query {
        Ok(query) => query,
        Err(rejection) => return layout::failure(&admin, &visitor, &rejection.into()),
    };
    let shown = match find(&admin, &ask).await {
        Ok(found) => html! { (results(&admin, &ask, &found)) (more(&ask, &found)) },
        Err(problem) => {
            html! { p class="error" role="alert" { "No answer: " (problem.detail) "." } }
        }
    };
    let body = html! {
        h1 { "Notifications" }
        p { "Those of a list are also shown as a " a href="/campaigns" { "campaign" } "." }
        (form(&ask))
        (shown)
    };
    layout::page(&admin, &visitor, NavPage::Notifications, "Notifications", &body)
}

async fn find(admin: &Admin, ask: &Ask) -> Result<Vec<Notification>, Problem> {
    let states = NotificationState::ALL.map(NotificationState::as_str);
    let search = NotificationSearch {
        state: one_of("state", &ask.state, NotificationState::parse, &states)?,
        reference: given(&ask.reference),
        route: given(&ask.route),
        campaign: given(&ask.campaign),
        after: place(&ask.after)?,
        limit: PER_PAGE,
    };
    Ok(admin.sending.outbox.list(&search).await?)
}

/// What a field of the form asks for.
fn given(field: &str) -> Option<String> {
    Some(field.trim().to_owned()).filter(|text| !text.is_empty())
}

/// Behind which notification a page begins, as the API's `after` has it.
pub(super) fn place(text: &str) -> Result<Option<(Timestamp, String)>, Problem> {
    if text.is_empty() {
        return Ok(None);
    }
    let place = outbox::place(text);
    place.map(Some).ok_or_else(|| Problem::bad("`after` is not what a page gave as `next`"))
}

fn form(ask: &Ask) -> Markup {
    html! {
        form class="search" method="get" action="/notifications" role="search" {
            div class="field" {
                label for="state" { "State" }
                select id="state" name="state" {
                    option value="" { "any" }
                    @for state in NotificationState::ALL.map(NotificationState::as_str) {
                        option value=(state) selected[ask.state == state] { (state) }
                    }
                }
            }
            div class="field" {
                label for="reference" { "Your reference, in full" }
                input id="reference" name="reference" value=(ask.reference) placeholder="order-7" autocomplete="off"
                    spellcheck="false";
            }
            div class="field" {
                label for="route" { "Route" }
                input id="route" name="route" value=(ask.route) placeholder="on-call" autocomplete="off"
                    spellcheck="false";
            }
            @if !ask.campaign.is_empty() {
                input type="hidden" name="campaign" value=(ask.campaign);
            }
            button { "Show" }
        }
    }
}

fn results(admin: &Admin, ask: &Ask, found: &[Notification]) -> Markup {
    if found.is_empty() {
        return nothing(admin, ask);
    }
    html! {
        table class="rows found" {
            caption class="hidden" { "What was asked for, the latest first" }
            thead {
                tr {
                    th scope="col" { "Asked" }
                    th scope="col" { "State" }
                    th scope="col" { "Notification" }
                    th scope="col" { "To" }
                    th scope="col" { "Sender, or route" }
                    th scope="col" { "Purpose" }
                    th scope="col" { "Reference" }
                }
            }
            tbody { @for one in found { (row(admin, one)) } }
        }
    }
}

/// What to do where there is nothing to see.
fn nothing(admin: &Admin, ask: &Ask) -> Markup {
    let about = html! { a href=(help::path("sending")) { "How sending works" } };
    html! {
        p class="empty" {
            @if [&ask.state, &ask.reference, &ask.route, &ask.campaign, &ask.after].iter().any(|field| !field.is_empty()) {
                "No notification matches. Give reference and route in full, or choose any state."
            } @else if admin.sends() {
                "No notifications yet. " code { "offhook notify" } " and " code { "POST /api/notifications" }
                " request a message or a call. " (about)
            } @else {
                "Nothing is sent. With a [[sender]] in the configuration, offhook sends messages and makes calls. " (about)
            }
        }
    }
}

fn row(admin: &Admin, one: &Notification) -> Markup {
    html! {
        tr {
            td class="at" { (format::time(one.created_at, admin.clock.now())) }
            td class="now" {
                (format::status(one.state.as_str()))
                @if let Some(reason) = &one.reason { " " span class="note" { (why(reason)) } }
            }
            td class="which" { (format::notification(&one.id)) }
            td class="to address" { (format::address(&one.to, &admin.privacy.now())) }
            td class="from" { (one.route.as_ref().unwrap_or(&one.sender)) }
            td class="kind-of" { (one.purpose.as_str()) }
            td class="notes address" { (one.reference.as_deref().unwrap_or_default()) }
        }
    }
}

/// A reason: Twilio's code, which leads to Twilio's page about it, or one of offhook's words.
fn why(reason: &str) -> Markup {
    html! {
        @if meaning(reason).is_some() { (format::error_code(reason)) } @else { (reason.replace('_', " ")) }
    }
}

fn more(ask: &Ask, found: &[Notification]) -> Markup {
    let Some(last) = found.last().filter(|_| found.len() == PER_PAGE as usize) else {
        return html! {};
    };
    let after = place_text(last.created_at, &last.id);
    let mut query = form_urlencoded::Serializer::new(String::new());
    let all = [
        ("state", &ask.state),
        ("reference", &ask.reference),
        ("route", &ask.route),
        ("campaign", &ask.campaign),
        ("after", &after),
    ];
    query.extend_pairs(all.iter().filter(|(_, value)| !value.is_empty()));
    html! { p class="more" { a href={ "/notifications?" (query.finish()) } rel="next" { "Older" } } }
}

/// `GET /notifications/{id}`
pub(super) async fn page(
    State(admin): State<Arc<Admin>>,
    Extension(visitor): Extension<Visitor>,
    id: Result<Path<String>, PathRejection>,
) -> Response {
    let whole = match id {
        Ok(Path(id)) => Whole::read(&admin, &id).await,
        Err(rejection) => Err(rejection.into()),
    };
    let whole = match whole {
        Ok(whole) => whole,
        Err(problem) => return layout::failure(&admin, &visitor, &problem),
    };
    let one = &whole.notification;
    let body = html! {
        p class="kind" { (one.purpose.as_str()) }
        h1 class="sid" { (one.id) }
        (sentence::of(&admin, &whole))
        (facts(&admin, one))
        (cancel::offer(&admin, &visitor, one))
        h2 { "What happened" }
        (line::shown(&admin, &whole))
    };
    layout::page(&admin, &visitor, NavPage::Notifications, &one.id, &body)
}

/// There is no notification of this id.
fn missing() -> Problem {
    Problem::missing(
        "There is no such notification. It may be deleted: [retention] and a purge delete notifications, too.",
    )
}

fn facts(admin: &Admin, one: &Notification) -> Markup {
    let now = admin.clock.now();
    html! {
        dl class="facts" {
            div { dt { "To" } dd { (format::address(&one.to, &admin.privacy.now())) } }
            @if let Some(email) = &one.email {
                div { dt { "Email" } dd { (format::address(email, &admin.privacy.now())) } }
            }
            @match &one.route {
                Some(route) => {
                    @let all = format!("/notifications?route={}", format::in_path(route));
                    div { dt { "Route" } dd { a href=(all) { (route) } } }
                }
                None => div { dt { "Sender" } dd { (one.sender) } },
            }
            div { dt { "Account" } dd { (one.account) } }
            @if let Some(reference) = &one.reference {
                @let all = format!("/notifications?reference={}", format::in_path(reference));
                div { dt { "Reference" } dd { a href=(all) { (reference) } } }
            }
            div { dt { "Segments" } dd { (format::count(one.segments)) } }
            div { dt { "Deadline" } dd { (format::time(one.deadline, now)) } }
            @if let Some(zone) = &one.time_zone { div { dt { "Time zone" } dd { (zone) } } }
            div {
                dt { "If it is not known whether it was sent" }
                dd {
                    @match one.on_unknown {
                        OnUnknown::Report => "it is reported",
                        OnUnknown::Resend => "it is sent again",
                    }
                }
            }
        }
    }
}
