//! The public listener: Twilio's callbacks in, and nothing else. Knows no Redis and no SQL, and
//! makes nothing durable itself: it hands events to a [`Recorder`], and answers what comes back.
//!
//! Read in this order: [`Inbound::router`] (the public URL space), [`signed`] (a request becomes a
//! verified one), [`status`] and [`fallback`] (what is answered), [`Refusal`] (what is not).

mod exchange;
mod fallback;
mod metrics;
mod path_prefix;
mod refusal;
mod signed;
mod status;
mod terms;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::HttpBody as _;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use futures_util::FutureExt as _;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::error;

use self::exchange::Exchange;
pub use self::fallback::{Fallback, PerNumber};
pub use self::metrics::{Metrics, Outcome};
pub use self::path_prefix::{PathPrefix, PathPrefixError};
use self::refusal::BodyRead;
pub use self::refusal::Refusal;
use self::signed::Received;
pub use self::terms::{Terms, TermsInForce};
use crate::clock::Clock;
use crate::http::refusals::Refusals;
use crate::http::{self, Limits};
use crate::pipeline::Recorder;
use crate::spans::Spans;
use crate::twilio::public_url::PublicUrl;
use crate::twilio::twiml::{Medium, Twiml};

/// `[inbound]`. Has no defaults of its own: those are in the embedded `offhook.toml`.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// In front of every route.
    pub path_prefix: PathPrefix,
    /// Most bytes of a body.
    pub body_limit: usize,
    /// Longest that a body may take.
    pub body_timeout_ms: u64,
    /// [`Limits::header_timeout`].
    pub header_timeout_ms: u64,
    /// [`Limits::idle_timeout`].
    pub idle_timeout_ms: u64,
    /// [`Limits::request_timeout`].
    pub request_timeout_ms: u64,
    /// [`Limits::max_connections`].
    pub max_connections: NonZeroUsize,
    /// [`Limits::max_connections_per_address`].
    pub max_connections_per_address: usize,
}

impl Config {
    /// What the listener grants its clients.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits {
            header_timeout: millis(self.header_timeout_ms),
            idle_timeout: millis(self.idle_timeout_ms),
            request_timeout: millis(self.request_timeout_ms),
            max_connections: self.max_connections.get(),
            max_connections_per_address: self.max_connections_per_address,
            ..Limits::default()
        }
    }

    fn body_timeout(&self) -> Duration {
        millis(self.body_timeout_ms)
    }
}

/// At most a day, which no time can be too late for.
fn millis(ms: u64) -> Duration {
    const DAY_MS: u64 = 24 * 60 * 60 * 1000;
    Duration::from_millis(ms.min(DAY_MS))
}

/// Where a request went. A closed set: it is a metric label.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Route {
    /// Status callbacks of every kind.
    Status,
    /// Event Streams.
    EventStreams,
    /// Twilio's debugger.
    Debugger,
    /// The fallback URL of calls.
    VoiceFallback,
    /// The fallback URL of messages.
    SmsFallback,
    /// None of ours.
    Other,
}

impl Route {
    /// Every route, so that each metric series exists from the start.
    pub const ALL: [Self; 6] = [
        Self::Status,
        Self::EventStreams,
        Self::Debugger,
        Self::VoiceFallback,
        Self::SmsFallback,
        Self::Other,
    ];

    /// The name in metrics and logs: the path below the prefix.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::EventStreams => "event-streams",
            Self::Debugger => "debugger",
            Self::VoiceFallback => "voice-fallback",
            Self::SmsFallback => "sms-fallback",
            Self::Other => "other",
        }
    }
}

/// The public listener's state.
pub struct Inbound {
    /// Its section of the configuration.
    pub config: Config,
    /// Whose signatures hold, what is answered, and what is kept.
    pub terms: Arc<TermsInForce>,
    /// What the signed URLs start with.
    pub public_url: PublicUrl,
    /// Where events go.
    pub recorder: Recorder,
    /// When they came.
    pub clock: Clock,
    /// What it counts.
    pub metrics: Arc<Metrics>,
    /// Whom it tells what took how long, for traces.
    pub spans: Spans,
    /// What it refused last, for whoever looks.
    pub refusals: Arc<Refusals>,
    /// What goes on after its request was answered; [`run`](Inbound::run) waits for it.
    pub background: TaskTracker,
}

impl Inbound {
    /// Serves until `stop`, then until every request is answered and every recording has ended.
    /// Holds its [`Recorder`] no longer than that.
    pub async fn run(self, listener: TcpListener, stop: CancellationToken) {
        let (limits, metrics) = (self.config.limits(), Arc::clone(&self.metrics));
        let background = self.background.clone();
        http::serve(listener, self.router(), limits, metrics, stop).await;
        background.close();
        background.wait().await;
    }

    /// The public URL space.
    ///
    /// Methods are checked by the handlers, so that a wrong one is refused, counted and logged
    /// like every other wrong thing.
    pub fn router(self) -> Router {
        let to = |route| {
            move |State(inbound): State<Arc<Self>>, request| async move {
                answered(inbound.answer(route, request)).await
            }
        };
        let prefix = self.config.path_prefix.clone();
        let at = |path: &str| format!("{}{path}", prefix.as_str());
        Router::new()
            .route(&at("/status"), any(to(Route::Status)))
            .route(&at("/event-streams"), any(to(Route::EventStreams)))
            .route(&at("/debugger"), any(to(Route::Debugger)))
            .route(&at("/voice-fallback"), any(to(Route::VoiceFallback)))
            .route(&at("/sms-fallback"), any(to(Route::SmsFallback)))
            .fallback(to(Route::Other))
            .with_state(Arc::new(self))
    }

    async fn answer(&self, route: Route, request: Request) -> Response {
        let terms = self.terms.now();
        let mut exchange = Exchange::begin(self, &terms, route, request.uri().clone());
        let body = if request.body().is_end_stream() { BodyRead::Yes } else { BodyRead::No };
        match self.twiml(&mut exchange, route, request).await {
            Ok(twiml) => {
                exchange.accepted();
                ([(CONTENT_TYPE, HeaderValue::from_static("text/xml"))], twiml.bytes())
                    .into_response()
            }
            Err(refusal) => {
                exchange.refused(refusal);
                refusal.response(body)
            }
        }
    }

    async fn twiml(
        &self,
        exchange: &mut Exchange<'_>,
        route: Route,
        request: Request,
    ) -> Result<Twiml, Refusal> {
        if route == Route::Other {
            return Err(Refusal::UnknownRoute);
        }
        let received = Received::read(exchange, request).await?;
        let signed = received.verify(exchange)?;
        received.vouch();
        let medium = match route {
            Route::VoiceFallback => Medium::Voice,
            Route::SmsFallback => Medium::Sms,
            _ => return status::answer(exchange, &signed).await,
        };
        Ok(fallback::answer(exchange, medium, received.token(), &signed).await)
    }
}

/// The answer, and what a bug is answered with instead: the panic hook has said what and where, and
/// the exchange is counted. A layer of the router would do the same for two allocations more.
async fn answered(answer: impl Future<Output = Response>) -> Response {
    AssertUnwindSafe(answer).catch_unwind().await.unwrap_or_else(|_| {
        error!("a handler panicked");
        let json = [(CONTENT_TYPE, "application/json")];
        (StatusCode::INTERNAL_SERVER_ERROR, json, r#"{"error":"internal"}"#).into_response()
    })
}

#[cfg(test)]
mod tests;
