//! Suppressions: who must not be reached. Only a list: what may change it is a token that may send.

use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::format;
use super::layout::{self, NavPage};
use crate::admin::Admin;
use crate::admin::api::Problem;
use crate::admin::auth::Visitor;
use crate::backend::outbox::Suppression;
use crate::dispatch::suppression::Source;
use crate::labels::Label as _;

/// Addresses of a page.
const PER_PAGE: u32 = 200;

/// The query of the page.
#[derive(Debug, Deserialize)]
pub(super) struct Ask {
    after: Option<String>,
}

/// `GET /suppressions?after=…`
pub(super) async fn page(
    State(admin): State<Arc<Admin>>,
    Extension(visitor): Extension<Visitor>,
    query: Result<Query<Ask>, QueryRejection>,
) -> Response {
    let Query(ask) = match query {
        Ok(query) => query,
        Err(rejection) => return layout::failure(&admin, &visitor, &rejection.into()),
    };
    let after = ask.after.unwrap_or_default();
    let shown = match admin.sending.outbox.suppressions(&after, PER_PAGE).await {
        Ok((found, next)) => html! {
            (entries(&admin, &found))
            @if let Some(next) = next {
                p { a href={ "/suppressions?after=" (format::in_path(&next)) } { "More" } }
            }
        },
        Err(error) => {
            let problem = Problem::from(error);
            html! { p class="error" role="alert" { "No answer: " (problem.detail) "." } }
        }
    };
    let body = html! {
        h1 { "Suppressions" }
        p {
            "Nothing is sent to these addresses. A token that may send changes them: "
            code { "offhook suppressions add" } ", " code { "remove" } ", " code { "import" } "."
        }
        (shown)
    };
    layout::page(&admin, &visitor, NavPage::Senders, "Suppressions", &body)
}

fn entries(admin: &Admin, found: &[Suppression]) -> Markup {
    if found.is_empty() {
        return html! { p class="empty" { "None here." } };
    }
    let now = admin.clock.now();
    html! {
        table {
            thead { tr { th { "Address" } th { "By" } th { "Since" } } }
            tbody {
                @for entry in found {
                    tr {
                        td {
                            @match &entry.to {
                                Some(to) => a href={ "/search?q=" (format::in_path(to)) } { (to) },
                                None => { span class="note" { "not kept; hash " } code { (entry.to_hash) } },
                            }
                        }
                        td { (by(&entry.source)) }
                        td { (format::time(entry.at, now)) }
                    }
                }
            }
        }
    }
}

/// Who said so.
fn by(source: &str) -> &str {
    match Source::parse(source) {
        Some(Source::Hand) => "a person",
        Some(Source::Import) => "a list",
        Some(Source::StopWord) => "the recipient, by a word",
        Some(Source::OptOutType) => "the recipient, by Advanced Opt-Out",
        Some(Source::OptedOut) => "Twilio: opted out (21610)",
        Some(Source::Unsubscribe) => "the recipient of an email, by unsubscribing",
        Some(Source::Complaint) => "the recipient of an email, who calls it spam",
        Some(Source::Bounce) => "the recipient's mail server: no such address",
        None => source,
    }
}
