//! Forwards: how each stands, and, after a question, what may be done about it.

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};

use super::form::Form;
use super::format::{self, number_of};
use super::layout::{self, NavPage};
use crate::admin::Admin;
use crate::admin::api::{Problem, act_on_forward};
use crate::admin::auth::Visitor;
use crate::admin::forward_doors::{ConfiguredForward, Deed};
use crate::admin::help;
use crate::backend::forwards::{Disabled, ForwardState, Replay};
use crate::clock::Timestamp;

/// `GET /forwards`
pub(super) async fn page(
    State(admin): State<Arc<Admin>>,
    Extension(visitor): Extension<Visitor>,
) -> Response {
    let listed = match admin.forwards.all().await {
        Ok(forwards) if forwards.is_empty() => html! {
            p class="empty" {
                "No forwards. A [[forward]] in the configuration sends stored changes to a URL of yours. "
                (about())
            }
        },
        Ok(forwards) => list(&admin, &visitor, &forwards),
        Err(error) => {
            let problem = Problem::from(error);
            html! { p class="error" role="alert" { "No answer: " (problem.detail) "." } }
        }
    };
    let body = html! { h1 { "Forwards" } (listed) };
    layout::page(&admin, &visitor, NavPage::Forwards, "Forwards", &body)
}

/// Leads to the page about forwarding.
fn about() -> Markup {
    html! { a href=(help::path("forwarding")) { "How forwarding works" } }
}

type Listed = (ForwardState, Option<ConfiguredForward>);

fn list(admin: &Admin, visitor: &Visitor, forwards: &[Listed]) -> Markup {
    let now = admin.clock.now();
    html! {
        p { "Stored changes are sent to these URLs. " (about()) }
        ul class="letters" {
            @for (state, configured) in forwards {
                li {
                    div class="head" {
                        span class="sid" { (state.name) }
                        @if let Some(ConfiguredForward { url, form, .. }) = configured {
                            span { (form) " to " (url) }
                        }
                    }
                    p class="reason" { (sentence(state, configured.is_some(), now)) }
                    p class="note" { (figures(state, now)) }
                    @if visitor.may_change() { (deeds(admin, visitor, state)) }
                }
            }
        }
        @if !visitor.may_change() {
            p { "This login is read-only. To change something, log in with admin.token." }
        }
    }
}

/// Fact, consequence, action.
fn sentence(state: &ForwardState, configured: bool, now: Timestamp) -> String {
    let since = |at: Option<Timestamp>| {
        at.map_or_else(String::new, |at| format!(" since {}", format::minute(at, now)))
    };
    let disabled = since(state.disabled_at);
    match state.disabled {
        Some(Disabled::Operator) => format!(
            "Disabled by an operator{disabled}. Nothing is sent; changes wait until it is enabled."
        ),
        Some(Disabled::Gone) => format!(
            "Disabled{disabled}: the endpoint answered 410 Gone. Nothing is sent. Correct the endpoint, then enable \
             the forward."
        ),
        Some(Disabled::Failing) => format!(
            "Disabled{disabled}: every request had failed for too long. Nothing is sent. Repair the endpoint, then \
             enable the forward."
        ),
        Some(Disabled::OtherFeed) => format!(
            "Disabled{disabled}: this store is not the one that the forward has read so far. Once enabled, it continues \
             with what is stored from then on."
        ),
        None if !configured => "Not in the configuration of this process.".to_owned(),
        None if state.failing_since.is_some() => format!(
            "Every request has failed{}. Changes wait, and are sent again.",
            since(state.failing_since)
        ),
        None if state.holder.is_none() => "No process is sending at the moment.".to_owned(),
        None => "All is well.".to_owned(),
    }
}

fn figures(state: &ForwardState, now: Timestamp) -> String {
    let behind = match state.behind_since {
        Some(at) => format!(" for {}", format::duration(now.since(at))),
        None => String::new(),
    };
    let changes = |number| number_of(number, "change", "changes");
    format!(
        "{} not looked at yet{behind}. {} for another try. {} given up.",
        changes(state.behind),
        number_of(state.waiting, "change waits", "changes wait"),
        changes(state.given_up)
    )
}

fn deeds(admin: &Admin, visitor: &Visitor, state: &ForwardState) -> Markup {
    html! {
        form class="actions" method="post" action="/forwards/confirm" {
            (layout::proof(admin, visitor))
            input type="hidden" name="forward" value=(state.name);
            @if state.disabled.is_some() {
                button name="deed" value="enable" { "Enable…" }
            } @else {
                button name="deed" value="disable" class="danger" { "Disable…" }
            }
            @if state.given_up > 0 {
                button name="deed" value="replay" { "Replay what was given up…" }
            }
        }
    }
}

/// What is to be done, its verb, and what follows.
fn asked(form: &Form) -> Option<(Deed, &'static str, &'static str)> {
    Some(match form.get("deed") {
        "enable" => (Deed::Enable, "Enable", "It continues where it stopped."),
        "disable" => (
            Deed::Disable,
            "Disable",
            "Nothing is sent until you enable it again. Changes that are stored meanwhile are sent then.",
        ),
        "replay" => (
            Deed::Replay(Replay::All),
            "Replay",
            "The changes that were given up are sent again, behind later ones.",
        ),
        _ => return None,
    })
}

/// `POST /forwards/confirm`: the question.
pub(super) async fn confirm(
    State(admin): State<Arc<Admin>>,
    Extension(visitor): Extension<Visitor>,
    body: Bytes,
) -> Response {
    let form = match Form::of_ours(&body, &admin, &visitor) {
        Ok(form) => form,
        Err(problem) => return layout::failure(&admin, &visitor, &problem),
    };
    let Some((_, verb, follows)) = asked(&form) else {
        return layout::failure(
            &admin,
            &visitor,
            &Problem::bad("The form names no action. Go back and try again."),
        );
    };
    let name = form.get("forward");
    let body = html! {
        h1 { (verb) " " (name) "?" }
        p class="lead" { (follows) }
        form class="actions" method="post" action="/forwards/act" {
            (layout::proof(&admin, &visitor))
            input type="hidden" name="forward" value=(name);
            button name="deed" value=(form.get("deed")) { (verb) }
            a class="button quiet" href="/forwards" { "Cancel" }
        }
    };
    layout::page(&admin, &visitor, NavPage::Forwards, verb, &body)
}

/// `POST /forwards/act`
pub(super) async fn act(
    State(admin): State<Arc<Admin>>,
    Extension(visitor): Extension<Visitor>,
    body: Bytes,
) -> Response {
    /// Pages of one request: what is left is replayed by another.
    const MOST: usize = 100;
    let form = match Form::of_ours(&body, &admin, &visitor) {
        Ok(form) => form,
        Err(problem) => return layout::failure(&admin, &visitor, &problem),
    };
    let Some((deed, ..)) = asked(&form) else {
        return layout::failure(
            &admin,
            &visitor,
            &Problem::bad("The form names no action. Go back and try again."),
        );
    };
    let times = if matches!(deed, Deed::Replay(_)) { MOST } else { 1 };
    for _ in 0..times {
        match act_on_forward(&admin, form.get("forward"), &deed).await {
            Ok(0) => break,
            Ok(_) => {}
            Err(problem) => return layout::failure(&admin, &visitor, &problem),
        }
    }
    Redirect::to("/forwards").into_response()
}
