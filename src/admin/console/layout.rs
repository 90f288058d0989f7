//! What every page has around it.

use axum::response::{Html, IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};

use super::form::PROOF;
use crate::admin::Admin;
use crate::admin::api::Problem;
use crate::admin::auth::Visitor;
use crate::admin::help;

/// The pages that one goes to, in this order.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum NavPage {
    Now,
    Search,
    DeadLetters,
    Forwards,
    Notifications,
    Campaigns,
    Senders,
    Refusals,
    Help,
    /// None of them.
    Elsewhere,
}

impl NavPage {
    /// Whether it has something to show only where something is sent.
    fn is_of_sending(self) -> bool {
        matches!(self, Self::Notifications | Self::Campaigns | Self::Senders)
    }
}

const PAGES: [(NavPage, &str, &str); 9] = [
    (NavPage::Now, "/", "Now"),
    (NavPage::Search, "/search", "Search"),
    (NavPage::DeadLetters, "/dead-letters", "Dead letters"),
    (NavPage::Forwards, "/forwards", "Forwards"),
    (NavPage::Notifications, "/notifications", "Notifications"),
    (NavPage::Campaigns, "/campaigns", "Campaigns"),
    (NavPage::Senders, "/senders", "Senders"),
    (NavPage::Refusals, "/refusals", "Refusals"),
    (NavPage::Help, help::ROOT, "Help"),
];

/// A page for a visitor who may see it.
pub(super) fn page(
    admin: &Admin,
    visitor: &Visitor,
    current: NavPage,
    title: &str,
    body: &Markup,
) -> Response {
    let top = html! {
        nav aria-label="Pages" {
            @for (page, path, name) in PAGES {
                @if !page.is_of_sending() || admin.sends() {
                    a href=(path) aria-current=[(page == current).then_some("page")] { (name) }
                }
            }
        }
        @if matches!(visitor, Visitor::Session(..)) {
            form class="leave" method="post" action="/logout" {
                (proof(admin, visitor))
                button class="quiet" { "Log out" }
            }
        }
    };
    whole(title, &top, body)
}

/// A page that says why there is no other.
pub(super) fn failure(admin: &Admin, visitor: &Visitor, problem: &Problem) -> Response {
    let body = html! {
        h1 { "This did not work" }
        p class="lead" { (problem.detail) }
    };
    (problem.status, page(admin, visitor, NavPage::Elsewhere, "Failed", &body)).into_response()
}

/// The hidden field of a form that changes something.
pub(super) fn proof(admin: &Admin, visitor: &Visitor) -> Markup {
    html! { input type="hidden" name=(PROOF) value=(admin.auth.form_proof(visitor)); }
}

/// Leads to a section of the runbook.
pub(super) fn what_to_do(admin: &Admin, section: &str) -> Markup {
    html! { a href=(admin.runbook.section(section)) { "What to do" } }
}

/// A page, with what stands beside the name at its top.
pub(super) fn whole(title: &str, top: &Markup, body: &Markup) -> Response {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · offhook" }
                link rel="icon" href="data:,";
                link rel="stylesheet" href="/assets/console.css";
                script src="/assets/console.js" defer {}
            }
            body {
                a class="skip" href="#content" { "Skip to the content" }
                header { a class="name" href="/" { "offhook" } (top) }
                main id="content" { (body) }
                footer { "offhook " (env!("CARGO_PKG_VERSION")) ". All times are UTC." }
            }
        }
    };
    Html(page.into_string()).into_response()
}
