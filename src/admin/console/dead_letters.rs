//! Dead letters: looked at, and then replayed or purged, one or many, after a question.

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;

use super::form::Form;
use super::format::{self, count, number_of};
use super::layout::{self, NavPage, what_to_do};
use crate::admin::Admin;
use crate::admin::api::{Problem, Settled, settle as settle_all};
use crate::admin::auth::Visitor;
use crate::backend::{Action, DeadLetter, DeadLetters};
use crate::clock::Timestamp;
use crate::labels::Label as _;
use crate::twilio::params::Params;

/// Dead letters of one page.
const PAGE: usize = 50;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct DeadLettersPageQuery {
    after: String,
    done: Option<usize>,
    missing: Option<usize>,
    action: String,
}

/// `GET /dead-letters`
pub(super) async fn page(
    State(admin): State<Arc<Admin>>,
    Extension(visitor): Extension<Visitor>,
    Query(asked): Query<DeadLettersPageQuery>,
) -> Response {
    let after = Some(asked.after.as_str()).filter(|id| DeadLetters::is_id(id));
    let listed = match admin.dead_letters.list(after, PAGE).await {
        Ok(letters) => list(&admin, &visitor, &letters),
        Err(error) => {
            let problem = Problem::of_letters(error);
            html! { p class="error" role="alert" { "No answer: " (problem.detail) "." } }
        }
    };
    let body = html! { h1 { "Dead letters" } (said(&asked)) (listed) };
    layout::page(&admin, &visitor, NavPage::DeadLetters, "Dead letters", &body)
}

/// What was done a moment ago.
fn said(asked: &DeadLettersPageQuery) -> Markup {
    let Some(done) = asked.done else { return html! {} };
    let verb = match Action::parse(&asked.action) {
        Some(Action::Purge) => "purged",
        Some(Action::Replay) | None => "replayed",
    };
    html! {
        p class="said" role="status" {
            (number_of(done as u64, "dead letter was", "dead letters were")) " " (verb) "."
            @if let Some(missing) = asked.missing.filter(|missing| *missing > 0) {
                " " (number_of(missing as u64, "was", "were")) " already gone."
            }
        }
    }
}

fn list(admin: &Admin, visitor: &Visitor, letters: &[DeadLetter]) -> Markup {
    if letters.is_empty() {
        return html! { p class="empty" { "No dead letters. Every event that was received is stored, or waits to be stored." } };
    }
    let now = admin.clock.now();
    let more = html! {
        @if let Some(last) = letters.last().filter(|_| letters.len() == PAGE) {
            p class="more" { a href={ "/dead-letters?after=" (last.id) } rel="next" { "Next" } }
        }
    };
    let why = "Events that no worker could store, the oldest first.";
    if !visitor.may_change() {
        return html! {
            p { (why) " This login is read-only. To replay or purge them, log in with admin.token." }
            ul class="letters" { @for letter in letters { (item(letter, now, false)) } }
            (more)
        };
    }
    html! {
        p { (why) " Fix the cause first, then replay them. " (what_to_do(admin, "dead-letters")) }
        form method="post" action="/dead-letters/confirm" {
            (layout::proof(admin, visitor))
            div class="actions" {
                label class="all" hidden { input id="all" type="checkbox"; " All on this page" }
                button name="action" value="replay" { "Replay…" }
                button name="action" value="purge" class="danger" { "Purge…" }
            }
            ul class="letters" { @for letter in letters { (item(letter, now, true)) } }
        }
        (more)
    }
}

/// With a box to choose it by, or without.
fn item(letter: &DeadLetter, now: Timestamp, choose: bool) -> Markup {
    let event = letter.event.as_ref().ok();
    let key = event.map_or("not an event", |event| event.key.as_str());
    let head = html! { span class="sid" { (key) } (format::time(letter.at, now)) };
    html! {
        li {
            @if choose {
                label class="head" {
                    input type="checkbox" name="ids" value=(letter.id) aria-label={ "Select " (key) };
                    (head)
                }
            } @else {
                div class="head" { (head) }
            }
            p class="reason" { (letter.reason) }
            p class="note" { "Delivered " (number_of(letter.deliveries.into(), "time", "times")) ". Id " (letter.id) "." }
            details { summary { "Parameters" } (contents(letter)) }
        }
    }
}

/// The parameters of an event, or what lay there.
fn contents(letter: &DeadLetter) -> Markup {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let pairs: Vec<(String, String)> = match &letter.event {
        Ok(event) => {
            let params = Params::parse(&event.body);
            params.iter().map(|(name, value)| (text(name), text(value))).collect()
        }
        Err(_) => letter.fields.iter().map(|(name, value)| (text(name), text(value))).collect(),
    };
    html! {
        dl class="params" { @for (name, value) in pairs { div { dt { (name) } dd { (value) } } } }
    }
}

fn action(form: &Form) -> Option<(Action, &'static str)> {
    let action = Action::parse(form.get("action"))?;
    let verb = match action {
        Action::Replay => "Replay",
        Action::Purge => "Purge",
    };
    Some((action, verb))
}

/// `POST /dead-letters/confirm`: the question.
pub(super) async fn confirm(
    State(admin): State<Arc<Admin>>,
    Extension(visitor): Extension<Visitor>,
    body: Bytes,
) -> Response {
    let form = match Form::of_ours(&body, &admin, &visitor) {
        Ok(form) => form,
        Err(problem) => return layout::failure(&admin, &visitor, &problem),
    };
    let ids = form.all("ids");
    let Some((what, verb)) = action(&form).filter(|_| !ids.is_empty()) else {
        let problem = Problem::bad("No dead letter is selected. Go back and select at least one.");
        return layout::failure(&admin, &visitor, &problem);
    };
    let body = html! {
        h1 { (verb) " " (number_of(ids.len() as u64, "dead letter", "dead letters")) "?" }
        p class="lead" {
            @match what {
                Action::Replay => "They are stored as if they had just arrived. Those that still cannot be stored come back to this page.",
                Action::Purge => "They are deleted for good, and cannot be brought back.",
            }
        }
        form class="actions" method="post" action="/dead-letters/settle" {
            (layout::proof(&admin, &visitor))
            @for id in &ids { input type="hidden" name="ids" value=(id); }
            button name="action" value=(what.as_str()) class=[(what == Action::Purge).then_some("danger")] {
                (verb) " " (count(ids.len() as u64))
            }
            a class="button quiet" href="/dead-letters" { "Cancel" }
        }
        ul { @for id in &ids { li class="sid" { (id) } } }
    };
    layout::page(&admin, &visitor, NavPage::DeadLetters, verb, &body)
}

/// `POST /dead-letters/settle`
pub(super) async fn settle(
    State(admin): State<Arc<Admin>>,
    Extension(visitor): Extension<Visitor>,
    body: Bytes,
) -> Response {
    let form = match Form::of_ours(&body, &admin, &visitor) {
        Ok(form) => form,
        Err(problem) => return layout::failure(&admin, &visitor, &problem),
    };
    let Some((what, _)) = action(&form) else {
        return layout::failure(
            &admin,
            &visitor,
            &Problem::bad("The form names no action. Go back and try again."),
        );
    };
    match settle_all(&admin.dead_letters, what, form.all("ids")).await {
        Ok(Settled { done, missing, .. }) => {
            let (done, missing) = (done.len(), missing.len());
            let name = what.as_str();
            let page = format!("/dead-letters?action={name}&done={done}&missing={missing}");
            Redirect::to(&page).into_response()
        }
        Err(problem) => layout::failure(&admin, &visitor, &problem),
    }
}
