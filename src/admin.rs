//! The private listener: metrics, health, an API that reads the store, and a console for people. Never on the public
//! one.

mod api;
mod auth;
mod conditions;
mod console;
mod feed_doors;
mod forward_doors;
mod health;
pub mod help;
mod last_hour;
mod runbook;
mod send_doors;
mod timeline;
mod verdict;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::HttpBody as _;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::HeaderValue;
use axum::http::header::{CONNECTION, CONTENT_TYPE};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::{Registry, TextEncoder};
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub(crate) use self::api::DeadLetterView;
pub use self::auth::Auth;
pub use self::conditions::{ELSEWHERE, Severity, alerts};
pub use self::feed_doors::FeedDoors;
pub use self::forward_doors::{ConfiguredForward, ForwardDoors};
pub use self::last_hour::{
    AccountHandles, ForwardHandles, Handles, LastHour, Receiving, SendHandles, TableHandles,
};
pub use self::runbook::Runbook;
pub use self::send_doors::{ConfiguredSender, SendDoors};
use crate::backend::purge::Purge;
use crate::backend::{DeadLetters, DurabilityReports, Need, Probe, Reads};
use crate::clock::Clock;
use crate::http::{self, Limits};
use crate::policy::Part;
use crate::recent::events::RecentEvents;
use crate::recent::refusals::RecentRefusals;
use crate::twilio::privacy::Privacy;

/// What the private listener grants. A tail is sent off a little before that.
const LIMITS: Duration = Duration::from_secs(6 * 60);
/// One place in so many is never taken for good, so that a probe always finds one.
const KEPT: usize = 4;

/// Where it listens, and who may ask.
#[derive(Debug, Clone)]
pub struct Config {
    /// On loopback, unless there is a token.
    pub listen: SocketAddr,
    /// Asked for by everything but the health checks.
    pub token: Option<SecretString>,
    /// The same, for those who may look and change nothing.
    pub read_token: Option<SecretString>,
    /// The page with what to do about each condition.
    pub runbook: Runbook,
}

/// What the private listener shows.
#[derive(Debug)]
pub struct Admin {
    /// Every metric of the process, for a scraper.
    pub registry: Registry,
    /// Those that the console reads.
    pub handles: Handles,
    /// The store.
    pub reader: Reads,
    /// What changed in it, in the order of commits.
    pub feed: FeedDoors,
    /// What is sent on of that, and what may be done about it.
    pub forwards: ForwardDoors,
    /// What is sent.
    pub sending: SendDoors,
    /// What no worker could store.
    pub dead_letters: DeadLetters,
    /// What deletes for good.
    pub purge: Purge,
    /// What this process needs to do its job.
    pub probes: Vec<(Need, Probe)>,
    /// Which durability is in force.
    pub durabilities: DurabilityReports,
    /// What is committed right now.
    pub live: RecentEvents,
    /// What the public listener refused last.
    pub refusals: Arc<RecentRefusals>,
    /// As what a number is stored.
    pub privacy: Part<Privacy>,
    /// What this process looked like during the last hour.
    pub last_hour: LastHour,
    /// What is asked of the sending half, with tokens of its own.
    pub send_routes: Router,
    /// Who may ask.
    pub auth: Auth,
    /// Where a finding leads.
    pub runbook: Runbook,
    /// What is shown as ages is measured by it, and when a session ends.
    pub clock: Clock,
    /// Cancelled when the process stops: it is then no longer ready.
    pub stop: CancellationToken,
}

impl Admin {
    /// Whether a sender is configured. If not, the console says nothing about sending.
    fn sends(&self) -> bool {
        !self.sending.configured.load().is_empty()
    }

    /// Serves, and watches, until `stop`.
    ///
    /// `connections` is how many there may be, of which some are always left for health checks.
    pub async fn run(self, listener: TcpListener, connections: usize, stop: CancellationToken) {
        let admin = Arc::new(self);
        let limits = Limits {
            max_connections: connections,
            kept_for_strangers: connections.div_ceil(KEPT),
            request_timeout: LIMITS,
            ..Limits::default()
        };
        let router = Self::router(Arc::clone(&admin));
        let serving = http::serve(listener, router, limits, Arc::new(()), stop.clone());
        tokio::join!(serving, LastHour::run(&admin, stop));
    }

    /// Its routes.
    fn router(admin: Arc<Self>) -> Router {
        let authorized = from_fn_with_state(Arc::clone(&admin), auth::require_auth);
        let same_site = from_fn_with_state(Arc::clone(&admin), auth::require_same_site);
        let guarded = Router::new().route("/metrics", get(metrics));
        let guarded = guarded.merge(api::router()).merge(console::router()).route_layer(authorized);
        let router = guarded
            .merge(console::open_router())
            .route_layer(same_site)
            .route("/livez", get(health::live))
            .route("/readyz", get(health::ready));
        // A page of dead letters, ticked one by one, is the most that is sent.
        let router = router.layer(DefaultBodyLimit::max(64 * 1024));
        // Within the policy, which else would not hold for a path that neither has.
        let router = router.merge(admin.send_routes.clone().with_state(()));
        console::with_policy(router).layer(from_fn(close_if_refused)).with_state(admin)
    }
}

/// A request may be refused before all of its body came, and its connection is then of no more use: a client that is not told
/// would send its next request on it, and be given no answer.
async fn close_if_refused(request: Request, next: Next) -> Response {
    let has_body = !request.body().is_end_stream();
    let mut response = next.run(request).await;
    if has_body && !response.status().is_success() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

async fn metrics(State(admin): State<Arc<Admin>>) -> Response {
    let families = admin.registry.gather();
    match TextEncoder::new().encode_to_string(&families) {
        Ok(text) => ([(CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => {
            tracing::error!(error = %error, "metrics cannot be written");
            axum::http::StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

#[cfg(test)]
mod tests;
