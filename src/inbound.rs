//! The public listener: Twilio's callbacks and SendGrid's events in, probes of a load balancer, and nothing else. Knows no Redis and no SQL,
//! and makes nothing durable itself: it hands events to a [`Recorder`], and answers what comes back.
//!
//! Read in this order: [`Inbound::router`] (the public URL space), [`signed`] (a request becomes a
//! verified one), [`status`], [`fallback`] and [`voice_confirm`] (what is answered), [`mod@email`] (SendGrid's events), [`Refusal`] (what is not).

mod aftermath;
mod email;
mod explanation_budget;
mod fallback;
mod health;
mod incoming;
mod metrics;
mod path_prefix;
mod ration;
mod record;
mod refusal;
mod room;
mod signed;
mod status;
mod voice_confirm;

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::HttpBody as _;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use futures_util::FutureExt as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::error;

pub use self::email::EmailCapacity;
pub use self::explanation_budget::ExplanationBudget;
pub use self::health::{Health, HealthPath, HealthPathError};
pub use self::metrics::Metrics;
pub use self::path_prefix::{PathPrefix, PathPrefixError};
pub use self::ration::Ration;
use self::record::RequestRecord;
use self::refusal::BodyRead;
pub use self::refusal::Refusal;
pub use self::room::Room;
use self::signed::Received;
use crate::clock::Clock;
use crate::event::Route;
use crate::http::{self, Limits};
use crate::labels::Label as _;
use crate::pipeline::Recorder;
use crate::policy::{InboundPolicy, Part};
use crate::recent::refusals::RecentRefusals;
use crate::spans::Spans;
use crate::twilio::callback::Arrival;
use crate::twilio::public_url::PublicUrl;
use crate::twilio::twiml::{Medium, Twiml};

/// `[inbound]`, checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The path in front of every route.
    pub path_prefix: PathPrefix,
    /// Where a load balancer asks whether this receiver can take callbacks; without the prefix.
    pub health_path: HealthPath,
    /// Most bytes of a body.
    pub body_limit: usize,
    /// Most bytes of a body of email events.
    pub event_body_limit: usize,
    /// Longest that a body may take.
    pub body_timeout: Duration,
    /// Bytes of all bodies that are not verified yet.
    pub body_memory: usize,
    /// What the listener grants its clients.
    pub limits: Limits,
}

/// The label of where a request went; `None` is to no route.
fn label(route: Option<Route>) -> &'static str {
    route.name()
}

/// The public listener's state.
pub struct Inbound {
    /// The section `[inbound]` of the configuration.
    pub config: Config,
    /// The accepted secrets, the fallback answers, and the privacy in force.
    pub policy: Part<InboundPolicy>,
    /// What the signed URLs start with.
    pub public_url: PublicUrl,
    /// Where events go.
    pub recorder: Recorder,
    /// The clock that gives requests their time of receipt.
    pub clock: Clock,
    /// What it counts.
    pub metrics: Arc<Metrics>,
    /// Where it reports durations, for traces.
    pub spans: Spans,
    /// The last refused requests, for the people who run it.
    pub refusals: Arc<RecentRefusals>,
    /// What a load balancer's probe is answered.
    pub health: Health,
    /// Cancelled when the process stops: the health route then answers 503.
    pub stop: CancellationToken,
    /// What goes on after its request was answered; [`run`](Inbound::run) waits for it.
    pub background: TaskTracker,
    /// How many refusals are explained, and how often.
    pub explanations: ExplanationBudget,
    /// How much of it the log gets.
    pub ration: Ration,
    /// The memory for bodies that are not verified yet.
    pub room: Room,
    /// What email events may take.
    pub email: EmailCapacity,
}

impl Inbound {
    /// Serves until `stop`, then until every request is answered and every recording has ended.
    /// Holds its [`Recorder`] no longer than that.
    pub async fn run(self, listener: TcpListener, stop: CancellationToken) {
        let (limits, metrics) = (self.config.limits, Arc::clone(&self.metrics));
        metrics.limited(limits.max_connections);
        let background = self.background.clone();
        http::serve(listener, self.router(), limits, metrics, stop).await;
        background.close();
        background.wait().await;
    }

    /// The public URL space.
    ///
    /// Methods are checked by the handlers, so that a wrong one is refused, counted and logged
    /// like every other wrong thing. A slash at the end of a route is taken: Twilio signs it as it was
    /// given, and means the same.
    pub fn router(self) -> Router {
        let to = |route| {
            move |State(inbound): State<Arc<Self>>, request| async move {
                answered(inbound.answer(route, request)).await
            }
        };
        let prefix = self.config.path_prefix.clone();
        let at = |path: &str| format!("{}{path}", prefix.as_str());
        let mut router = Router::new();
        for route in Route::ALL {
            for end in ["", "/"] {
                router =
                    router.route(&at(&format!("/{}{end}", route.as_str())), any(to(Some(route))));
            }
        }
        if let Some(path) = self.config.health_path.as_str() {
            router = router.route(path, any(Self::probed));
        }
        router.fallback(to(None)).with_state(Arc::new(self))
    }

    /// A probe is not a request of Twilio's: it is neither counted nor refused, and it waits for nothing.
    async fn probed(State(inbound): State<Arc<Self>>, request: Request) -> Response {
        // A callback whose URL has this path by mistake would be lost behind a 200.
        match *request.method() {
            Method::GET | Method::HEAD if !signed::claims_a_signature(&request) => {
                inbound.health.answer(inbound.stop.is_cancelled())
            }
            _ => answered(inbound.answer(None, request)).await,
        }
    }

    async fn answer(self: Arc<Self>, route: Option<Route>, request: Request) -> Response {
        let policy = self.policy.now();
        let mut record = RequestRecord::begin(&self, &policy, route, request.uri().clone());
        let body = if request.body().is_end_stream() { BodyRead::Yes } else { BodyRead::No };
        let answered = match route {
            Some(Route::EmailEvents) => {
                let taken = email::answer(&self, &policy, &mut record, request).await;
                taken.map(|()| StatusCode::OK.into_response())
            }
            _ => self.twiml(&policy, &mut record, route, request).await.map(|twiml| {
                ([(CONTENT_TYPE, HeaderValue::from_static("text/xml"))], twiml.bytes())
                    .into_response()
            }),
        };
        match answered {
            Ok(response) => {
                record.accepted();
                response
            }
            Err(refusal) => {
                record.refused(refusal);
                refusal.response(route, body)
            }
        }
    }

    async fn twiml<'i>(
        &self,
        policy: &'i InboundPolicy,
        record: &mut RequestRecord<'i>,
        route: Option<Route>,
        request: Request,
    ) -> Result<Twiml, Refusal> {
        let Some(route) = route else {
            return Err(self.elsewhere(policy, record, request).await);
        };
        let received = Received::read(self, record, request).await?;
        let signed = match received.verify(self, policy, record).await {
            Ok(signed) => signed,
            Err(refusal) => {
                record.wrongly_signed = Some(received.without_caller());
                return Err(refusal);
            }
        };
        received.vouch();
        let (token, at) = (received.token(), self.clock.now());
        let arrival = Arrival { route, token, at };
        let medium = match route {
            Route::IncomingMessage => {
                return incoming::answer(self, policy, record, arrival, &signed).await;
            }
            Route::VoiceFallback => Medium::Voice,
            Route::SmsFallback => Medium::Sms,
            Route::VoiceConfirm => {
                return Ok(voice_confirm::answer(self, policy, record, arrival, &signed).await);
            }
            Route::Status | Route::EventStreams | Route::Debugger | Route::EmailEvents => {
                return status::answer(self, policy, record, arrival, &signed).await;
            }
        };
        Ok(fallback::answer(self, policy, record, medium, arrival, &signed).await)
    }
}

impl Inbound {
    /// Why a request to no route is refused: a scanner's, unless Twilio signed it, for then callbacks are
    /// being lost. What has no signature is not read.
    async fn elsewhere<'i>(
        &self,
        policy: &'i InboundPolicy,
        record: &mut RequestRecord<'i>,
        request: Request,
    ) -> Refusal {
        if !signed::claims_a_signature(&request) {
            return Refusal::UnknownRoute;
        }
        let Ok(received) = Received::read(self, record, request).await else {
            return Refusal::UnknownRoute;
        };
        let urls = self.meant(received.url());
        match received.is_signed_to(urls, self, policy, record).await {
            true => Refusal::SignedUnknownRoute,
            false => Refusal::UnknownRoute,
        }
    }

    /// The URLs that Twilio may have signed if a request matches no route: the requested one; the same with the prefix,
    /// if a proxy removed it; the same without the path of `public_url`, if that is there twice.
    fn meant(&self, asked: &str) -> Vec<String> {
        let base = self.public_url.as_str();
        let path = asked.strip_prefix(base).unwrap_or_default();
        let mut urls = vec![asked.to_owned()];
        if !self.config.path_prefix.as_str().is_empty() {
            urls.push(format!("{base}{}{path}", self.config.path_prefix.as_str()));
        }
        let host = base.find("://").and_then(|at| base[at + 3..].find('/').map(|end| at + 3 + end));
        urls.extend(host.map(|end| format!("{}{path}", &base[..end])));
        urls
    }
}

/// The answer, or a 500 if the handler panics: the panic hook has logged what and where, and the request is counted. A
/// layer of the router would do the same for two allocations more.
async fn answered(answer: impl Future<Output = Response>) -> Response {
    AssertUnwindSafe(answer).catch_unwind().await.unwrap_or_else(|_| {
        error!("a handler panicked");
        let json = [(CONTENT_TYPE, "application/json")];
        (StatusCode::INTERNAL_SERVER_ERROR, json, r#"{"error":"internal"}"#).into_response()
    })
}

#[cfg(test)]
mod tests;
