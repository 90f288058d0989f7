//! The console: pages for people, made here, with one style sheet and one script beside them.
//!
//! A page works without the script, which only keeps it up to date. Nothing is loaded from
//! elsewhere, and the policy that is sent with each page says so to the browser.

mod campaigns;
mod dead_letters;
mod form;
pub(super) mod format;
mod forwards;
mod help;
mod layout;
mod login;
mod notifications;
mod now;
mod plot;
mod refusals;
mod search;
mod senders;
mod suppressions;
mod timeline;

use std::sync::Arc;

use axum::Router;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tower_http::set_header::SetResponseHeaderLayer;

use super::Admin;

/// What a browser may do with our pages, which is little.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
    img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// The pages for those who may ask.
pub(super) fn router() -> Router<Arc<Admin>> {
    Router::new()
        .route("/", get(now::page))
        .route("/fragment/now", get(now::fragment))
        .route("/search", get(search::page))
        .route("/sid/{sid}", get(timeline::page))
        .route("/dead-letters", get(dead_letters::page))
        .route("/dead-letters/confirm", post(dead_letters::confirm))
        .route("/dead-letters/settle", post(dead_letters::settle))
        .route("/forwards", get(forwards::page))
        .route("/forwards/confirm", post(forwards::confirm))
        .route("/forwards/act", post(forwards::act))
        .route("/campaigns", get(campaigns::list))
        .route("/campaigns/confirm", post(campaigns::confirm))
        .route("/campaigns/act", post(campaigns::act))
        .route("/campaigns/{id}", get(campaigns::page))
        .route("/notifications", get(notifications::list))
        .route("/notifications/confirm", post(notifications::confirm))
        .route("/notifications/cancel", post(notifications::cancel))
        .route("/notifications/{id}", get(notifications::page))
        .route("/senders", get(senders::page))
        .route("/suppressions", get(suppressions::page))
        .route("/refusals", get(refusals::page))
        .route("/help", get(help::index))
        .route("/help/{*page}", get(help::page))
        .route("/logout", post(login::leave))
}

/// What somebody sees who is asked for the token.
pub(super) fn open_router() -> Router<Arc<Admin>> {
    Router::new()
        .route("/login", get(login::page).post(login::enter))
        .route("/assets/console.css", get(style))
        .route("/assets/console.js", get(script))
}

async fn style() -> Response {
    asset("text/css; charset=utf-8", include_str!("console/console.css"))
}

async fn script() -> Response {
    asset("text/javascript; charset=utf-8", include_str!("console/console.js"))
}

fn asset(content_type: &'static str, text: &'static str) -> Response {
    ([(CONTENT_TYPE, content_type), (CACHE_CONTROL, "no-cache")], text).into_response()
}

/// Sends the policy, and what goes with it, with every answer.
pub(super) fn with_policy<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    let set = |name: HeaderName, value: &'static str| {
        SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value))
    };
    router
        .layer(set(CONTENT_SECURITY_POLICY, POLICY))
        .layer(set(X_CONTENT_TYPE_OPTIONS, "nosniff"))
        // A form of ours must say where it comes from; another site must not learn it.
        .layer(set(REFERRER_POLICY, "same-origin"))
        .layer(set(CACHE_CONTROL, "no-store"))
}

#[cfg(test)]
mod tests;
