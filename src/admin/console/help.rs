//! Help: the documentation of this version, page by page.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use maud::{PreEscaped, html};

use super::layout::{self, NavPage};
use crate::admin::Admin;
use crate::admin::api::Problem;
use crate::admin::auth::Visitor;
use crate::admin::help::{self, PAGES, ROOT};

/// `GET /help`
pub(super) async fn index(
    State(admin): State<Arc<Admin>>,
    Extension(visitor): Extension<Visitor>,
) -> Response {
    let body = html! {
        h1 { "Help" }
        p { "The documentation of offhook " (env!("CARGO_PKG_VERSION")) ", which is the version of this process." }
        dl class="pages" {
            @for page in PAGES {
                @let (path, outline) = (help::path(page.name), page.outline());
                dt { a href=(path) { (outline.title) } }
                dd {
                    @for (place, section) in outline.sections.iter().enumerate() {
                        @if place > 0 { " · " }
                        a href={ (path) "#" (section.anchor) } { (section.text) }
                    }
                }
            }
        }
    };
    layout::page(&admin, &visitor, NavPage::Help, "Help", &body)
}

/// `GET /help/{page}`
pub(super) async fn page(
    State(admin): State<Arc<Admin>>,
    Extension(visitor): Extension<Visitor>,
    Path(name): Path<String>,
) -> Response {
    let Some(page) = help::page(&name) else {
        let text = "This version has no such page. All of them are listed under Help.";
        return layout::failure(&admin, &visitor, &Problem::new(StatusCode::NOT_FOUND, text));
    };
    let body = html! {
        p class="kind" { a href=(ROOT) { "Help" } }
        article class="help" { (PreEscaped(page.html())) }
    };
    layout::page(&admin, &visitor, NavPage::Help, &page.outline().title, &body)
}
