//! What is asked of the sending half over HTTP, on the private listener: notifications, campaigns, senders, suppressions and
//! consents. Its tokens are its own, because asking costs money.

mod ask;
mod campaigns;
mod consents;
mod reconcile;
mod request;
mod senders;
mod suppressions;
mod view;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::StatusCode;
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any, get, post};
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::ExposeSecret as _;
use sha2::Sha256;
use tokio::sync::{Mutex, OnceCell, Semaphore, watch};
use tokio::time::sleep;
use tracing::{debug, warn};

use super::asks::Asks;
use super::{Hashes, InForce};
use crate::backend::{BackendError, Outbox};
use crate::clock::Clock;
use crate::http::Caller;
use crate::http::problem::Problem;
use crate::spans::Spans;

/// Most bytes of a request: the longest HTML, with what it is escaped by, and a text.
const LONGEST_BODY: usize = 256 * 1024;

/// How long a wrong token waits, all of them one after the other: more connections guess no faster.
const PAUSE: Duration = Duration::from_millis(200);

/// What answers.
#[derive(Debug)]
pub struct Api {
    /// What is configured.
    pub config: InForce,
    /// Where it is kept what is to be sent.
    pub outbox: Outbox,
    /// What keeps it.
    pub asks: Asks,
    /// What defaults of deadlines are measured by.
    pub clock: Clock,
    /// Where traces go.
    pub spans: Spans,
    /// Is sent when there is something more to send.
    pub news: watch::Sender<()>,
    /// Whose turn it is to be refused.
    refusals: Mutex<()>,
    /// The store's keys never change.
    hashes: OnceCell<Hashes>,
    /// How many lists may be read at a time.
    lists: Semaphore,
}

impl Api {
    /// Answers with what is configured and kept.
    #[must_use]
    pub fn new(
        config: InForce,
        outbox: Outbox,
        asks: Asks,
        clock: Clock,
        spans: Spans,
        news: watch::Sender<()>,
    ) -> Self {
        let (refusals, hashes) = (Mutex::new(()), OnceCell::new());
        let lists = Semaphore::new(campaigns::LISTS_AT_ONCE);
        Self { config, outbox, asks, clock, spans, news, refusals, hashes, lists }
    }
}

/// The id of the token that a request brought.
#[derive(Clone, Debug)]
pub(super) struct TokenId(pub(super) String);

type Route = (&'static str, fn() -> MethodRouter<Arc<Api>>);

/// Every route.
pub const ROUTES: [Route; 26] = [
    ("/api/notifications", || get(ask::list).post(ask::ask)),
    ("/api/notifications/{id}", || get(ask::show)),
    ("/api/notifications/{id}/cancel", || post(ask::cancel)),
    ("/api/attempts/unknown", || get(ask::unknown)),
    ("/api/campaigns", || {
        // A list is longer than any other body.
        let create = post(campaigns::create).layer(DefaultBodyLimit::max(campaigns::LONGEST_LIST));
        get(campaigns::list).merge(create)
    }),
    ("/api/campaigns/{id}", || get(campaigns::show)),
    ("/api/campaigns/{id}/preflight", || get(campaigns::preflight)),
    ("/api/campaigns/{id}/invalid", || get(campaigns::invalid)),
    ("/api/campaigns/{id}/results", || get(campaigns::results)),
    ("/api/campaigns/{id}/start", || post(campaigns::start)),
    ("/api/campaigns/{id}/pause", || post(campaigns::pause)),
    ("/api/campaigns/{id}/resume", || post(campaigns::resume)),
    ("/api/campaigns/{id}/cancel", || post(campaigns::cancel)),
    ("/api/senders", || get(senders::list)),
    ("/api/senders/hold-all", || post(senders::hold_all)),
    ("/api/senders/resume-all", || post(senders::resume_all)),
    ("/api/senders/adopt", || post(senders::adopt)),
    ("/api/senders/{name}/pause", || post(senders::pause)),
    ("/api/senders/{name}/resume", || post(senders::resume)),
    ("/api/suppressions", || get(suppressions::list).post(suppressions::add)),
    ("/api/suppressions/import", || post(suppressions::import)),
    ("/api/suppressions/lift", || post(suppressions::lift)),
    ("/api/consents", || get(consents::list).post(consents::add)),
    ("/api/consents/import", || post(consents::import)),
    ("/api/consents/withdraw", || post(consents::withdraw)),
    ("/api/reconcile", || get(reconcile::list).post(reconcile::start)),
];

/// The routes, each of which asks for a token.
pub fn router(api: Api) -> Router {
    let api = Arc::new(api);
    let routes = ROUTES.into_iter();
    let router = routes.fold(Router::new(), |router, (path, method)| router.route(path, method()));
    router
        .route_layer(from_fn(refuse_nul))
        .route_layer(from_fn_with_state(Arc::clone(&api), require_token))
        .layer(DefaultBodyLimit::max(LONGEST_BODY))
        .with_state(api)
}

/// No row of these has a NUL character, and Postgres refuses a value that has one, as if it could not be asked.
async fn refuse_nul(request: Request, next: Next) -> Response {
    let url = request.uri().path_and_query().map_or("", |url| url.as_str());
    match url.contains("%00") {
        true => Problem::bad("the URL has a NUL character, which is in no row").into_response(),
        false => next.run(request).await,
    }
}

/// The same routes in a process that only receives, which has nothing to do with sending.
pub fn elsewhere() -> Router {
    let paths = ROUTES.into_iter().map(|(path, _)| path);
    paths.fold(Router::new(), |router, path| router.route(path, any(misdirected)))
}

async fn misdirected() -> Problem {
    let detail = "this process only receives: ask the private listener of one whose role is `sender`, `worker` or `all`";
    Problem::new(StatusCode::MISDIRECTED_REQUEST, detail)
}

async fn require_token(State(api): State<Arc<Api>>, mut request: Request, next: Next) -> Response {
    let bearer = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = bearer.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    // In constant time, and without revealing the length: MACs are compared.
    let key = rand::random::<[u8; 32]>();
    let mac = |text: &str| {
        let mac = Hmac::<Sha256>::new_from_slice(&key).expect("HMAC takes a key of any length");
        mac.chain_update(text.as_bytes())
    };
    let is = |token: &&super::config::Token| {
        let expected = mac(token.token.expose_secret()).finalize().into_bytes();
        mac(bearer).verify_slice(&expected).is_ok()
    };
    let config = api.config.now();
    let Some(token) = config.tokens.iter().find(is) else {
        let detail = match config.tokens.is_empty() {
            true => "no token may ask to send: configure outbound.tokens",
            false => "this needs one of outbound.tokens as `Authorization: Bearer …`",
        };
        if !bearer.is_empty() {
            let _turn = api.refusals.lock().await;
            sleep(PAUSE).await;
        }
        let problem = Problem::new(StatusCode::UNAUTHORIZED, detail);
        return ([(WWW_AUTHENTICATE, "Bearer")], problem).into_response();
    };
    let id = TokenId(token.id.clone());
    if let Some(caller) = request.extensions().get::<Caller>() {
        caller.vouch();
    }
    request.extensions_mut().insert(id);
    // The same to its end, whatever is reloaded meanwhile.
    request.extensions_mut().insert(config);
    next.run(request).await
}

impl Api {
    /// Keyed hashes. With another key than the store's, a suppressed recipient would not be found.
    async fn hashes(&self) -> Result<&Hashes, Problem> {
        let find = async || {
            let found = Hashes::of(&self.config.now(), &self.outbox).await;
            let (hashes, identity) = found.map_err(unavailable)?;
            match hashes.fits(&identity) {
                true => Ok(hashes),
                false => {
                    warn!(
                        "a request to send is refused: outbound.suppression_key is not the store's"
                    );
                    let detail = "outbound.suppression_key is not the one that this store's hashes were made with: \
                                  configure that one";
                    Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail))
                }
            }
        };
        self.hashes.get_or_try_init(find).await
    }
}

/// The cause may name what is not the client's business.
fn unavailable(error: BackendError) -> Problem {
    debug!(error = %error, "a request to the API cannot use the outbox");
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the store does not answer")
}
