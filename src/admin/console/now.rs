//! Now: whether everything is well, in a sentence, in numbers, and as it comes.

mod figures;

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use maud::{Markup, html};

use self::figures::figures;
use super::format::{self, count};
use super::layout::{self, NavPage};
use crate::admin::Admin;
use crate::admin::api::Line;
use crate::admin::auth::Visitor;
use crate::admin::last_hour::Vitals;
use crate::admin::runbook::Runbook;
use crate::admin::verdict::{Finding, name, verdict};
use crate::clock::Timestamp;
use crate::recent::events::EventStage;

/// Rows of what came last; the script keeps as many.
const ROWS: usize = 20;

/// `GET /`
pub(super) async fn page(
    State(admin): State<Arc<Admin>>,
    Extension(visitor): Extension<Visitor>,
) -> Response {
    let vitals = admin.last_hour.vitals(&admin).await;
    let body = html! {
        div id="vitals" data-refresh="/fragment/now" { (vital(&admin, &vitals)) }
        (live(&admin, vitals.now.at))
    };
    layout::page(&admin, &visitor, NavPage::Now, "Now", &body)
}

/// `GET /fragment/now`: what the script puts in the place of its older self.
pub(super) async fn fragment(State(admin): State<Arc<Admin>>) -> Response {
    let vitals = admin.last_hour.vitals(&admin).await;
    Html(vital(&admin, &vitals).into_string()).into_response()
}

fn vital(admin: &Admin, vitals: &Vitals) -> Markup {
    let durability: Vec<_> = admin.durabilities.all().into_iter().collect();
    let findings = verdict(vitals, &durability);
    html! {
        (sentence(&findings, &admin.runbook))
        (figures(admin, vitals))
        div class="columns" { (parts(vitals)) (refusals(vitals)) }
    }
}

fn sentence(findings: &[Finding], runbook: &Runbook) -> Markup {
    let (first, others) = findings.split_first().expect("a verdict is never empty");
    let text = |finding: &Finding| {
        html! {
            @match finding.page {
                Some(page) => { a href=(page) { (finding.text) } }
                None => { (finding.text) }
            }
            @if let Some(help) = finding.help(runbook) { " " a class="what" href=(help) { "What to do" } }
        }
    };
    html! {
        section class={ "verdict " (first.tone.as_str()) } aria-label="Verdict" {
            p class="word" { (first.tone.word()) }
            h1 { (text(first)) }
            @for other in others { p { (text(other)) } }
        }
    }
}

/// Since when we count, for people: an hour at most.
fn since(vitals: &Vitals) -> String {
    format::minute(vitals.hour.at, vitals.now.at)
}

fn parts(vitals: &Vitals) -> Markup {
    html! {
        section aria-label="Parts" {
            h2 { "Parts" }
            ul class="parts" {
                @for part in &vitals.dependencies {
                    @let tone = if part.away.is_some() { "bad" } else { "good" };
                    li class=(tone) {
                        span class="capital" { (name(part.dependency, vitals.log())) }
                        @match part.away {
                            None => { " works." }
                            Some(at) => {
                                " has been down since " (format::time(at, vitals.now.at))
                                @if let Some(error) = &part.error { ": " (error) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn refusals(vitals: &Vitals) -> Markup {
    let counts = vitals.refusals_since(&vitals.hour);
    html! {
        section aria-label="Refusals by reason" {
            h2 { "Refused since " (since(vitals)) }
            @if counts.is_empty() {
                p class="empty" { "No request was refused." }
            } @else {
                table class="narrow" {
                    tbody {
                        @for (reason, number) in counts {
                            tr {
                                th scope="row" { a href="/refusals" { (reason.as_str().replace('_', " ")) } }
                                td class="number" { (count(number)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn live(admin: &Admin, now: Timestamp) -> Markup {
    let last = admin.live.last();
    let stage = match admin.live.stage() {
        EventStage::Stored => "as they are stored",
        EventStage::Received => "as this receiver takes them, not yet in the store",
    };
    let number = last.last().map_or(0, |seen| seen.number);
    html! {
        section class="live" aria-label="Last events" {
            div class="head" {
                h2 { "Last events" }
                p class="note" { (stage) ". " span id="live-state" {} }
                button id="pause" type="button" class="quiet" hidden { "Pause" }
            }
            table class="rows" data-live={ "/api/live" } data-rows=(ROWS) data-last=(number) {
                thead {
                    tr {
                        th scope="col" { "Time" }
                        th scope="col" { "Kind" }
                        th scope="col" { "Status" }
                        th scope="col" { "SID" }
                        th scope="col" { "Error" }
                        th scope="col" { "Notes" }
                    }
                }
                tbody id="live" {
                    @for seen in last.iter().rev().take(ROWS) { (row(&Line::of(admin, seen), now)) }
                }
            }
            p id="nothing" class="empty" hidden[!last.is_empty()] {
                "No event has arrived since this process started. What was stored before is in "
                a href="/search" { "Search" } "."
            }
        }
    }
}

/// The script makes the same.
fn row(line: &Line, now: Timestamp) -> Markup {
    html! {
        tr {
            td class="at" { (format::time(line.at, now)) }
            td class="kind-of" { (line.kind.replace('_', " ")) }
            td class="now" { @if let Some(status) = &line.status { (format::status(status)) } }
            td class="which" {
                @match &line.sid {
                    Some(sid) => (format::sid(sid)),
                    None => span class="sid" title=(line.key) { (format::parts(&line.key)) },
                }
            }
            td class="why" { @if let Some(code) = &line.error_code { (format::error_code(code)) } }
            td class="notes" { @if line.duplicate == Some(true) { span class="tag" { "duplicate" } } }
        }
    }
}
