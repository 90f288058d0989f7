//! The store, and what this process sees, over JSON. Described by `api/openapi.json`, which a test
//! holds against the answers.

mod ask;
mod changes;
mod dead_letters;
mod events;
mod forwards;
mod live;
mod problem;
mod purge;
mod refusals;
mod stats;
mod statuses;
mod timeline;
mod verdict;

use std::sync::Arc;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};

use self::ask::EventAsk;
pub(super) use self::ask::{AccountAsk, StatusAsk, one_of};
pub(crate) use self::dead_letters::DeadLetterView;
pub(super) use self::dead_letters::{Settled, settle};
pub(super) use self::forwards::act as act_on_forward;
pub(super) use self::live::Line;
pub(super) use self::problem::Problem;
pub(super) use self::statuses::next as next_status;
pub(super) use self::timeline::EVENTS;
use super::Admin;

type Route = (&'static str, fn() -> MethodRouter<Arc<Admin>>);

/// Every route of the API.
const ROUTES: [Route; 22] = [
    ("/api/openapi.json", || get(openapi)),
    ("/api/statuses", || get(statuses::list)),
    ("/api/statuses/{sid}", || get(statuses::show)),
    ("/api/timeline/{sid}", || get(timeline::show)),
    ("/api/events", || get(events::list)),
    ("/api/changes", || get(changes::list)),
    ("/api/changes/events", || get(changes::stream)),
    ("/api/live", || get(live::stream)),
    ("/api/stats", || get(stats::show)),
    ("/api/verdict", || get(verdict::show)),
    ("/api/refusals", || get(refusals::list)),
    ("/api/dead-letters", || get(dead_letters::list)),
    ("/api/dead-letters/{id}", || get(dead_letters::show)),
    ("/api/dead-letters/replay", || post(dead_letters::replay)),
    ("/api/dead-letters/purge", || post(dead_letters::purge)),
    ("/api/forwards", || get(forwards::list)),
    ("/api/forwards/{name}/waiting", || get(forwards::waiting)),
    ("/api/forwards/{name}/given-up", || get(forwards::given_up)),
    ("/api/forwards/{name}/replay", || post(forwards::replay)),
    ("/api/forwards/{name}/enable", || post(forwards::enable)),
    ("/api/forwards/{name}/disable", || post(forwards::disable)),
    ("/api/purge", || post(purge::purge)),
];

pub(super) fn router() -> Router<Arc<Admin>> {
    let routes = ROUTES.into_iter();
    routes.fold(Router::new(), |router, (path, method)| router.route(path, method()))
}

/// `GET /api/openapi.json`
async fn openapi() -> Response {
    ([(CONTENT_TYPE, "application/json")], include_str!("api/openapi.json")).into_response()
}

#[cfg(test)]
mod tests;
