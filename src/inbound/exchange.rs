//! [`Exchange`]: one request and its answer, as the log and the metrics see it.

use std::time::Duration;

use axum::http::{StatusCode, Uri};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::metrics::Outcome;
use super::{Inbound, Refusal, Route, Terms};
use crate::event::{Event, TraceContext};
use crate::http::refusals::{Refused, shown};
use crate::spans::{Role, Span};
use crate::twilio::diagnosis::Diagnosis;

/// What is known of a request by the time it ends. Ends exactly once, however it does: a future
/// that is dropped or that panics is counted, too.
///
/// Holds nothing that a log must not: no body, number, query or signature.
pub(super) struct Exchange<'i> {
    pub(super) inbound: &'i Inbound,
    /// What it goes by, whatever is in force when it ends.
    pub(super) terms: &'i Terms,
    pub(super) body_bytes: usize,
    /// The SID of a configured account, never what a request merely claims.
    pub(super) account: Option<&'i str>,
    /// The URLs that the signature was tried against, as they may be shown.
    pub(super) tried: Vec<String>,
    /// Why the signature is wrong, if that was found out.
    pub(super) diagnosis: Option<Diagnosis>,
    /// Of the trace that is taken of it, if one is.
    pub(super) trace: Option<TraceContext>,
    uri: Uri,
    route: Route,
    started: Instant,
    ended: bool,
}

impl<'i> Exchange<'i> {
    pub(super) fn begin(inbound: &'i Inbound, terms: &'i Terms, route: Route, uri: Uri) -> Self {
        Self {
            inbound,
            terms,
            body_bytes: 0,
            account: None,
            tried: Vec::new(),
            diagnosis: None,
            trace: inbound.spans.begin(),
            uri,
            route,
            started: Instant::now(),
            ended: false,
        }
    }

    /// These events are what it brought, in its trace.
    pub(super) fn brought(&self, mut events: Vec<Event>) -> Vec<Event> {
        if self.trace.is_some() {
            events.iter_mut().for_each(|event| event.trace = self.trace);
        }
        events
    }

    pub(super) fn accepted(mut self) {
        let took = self.end(Outcome::Accepted);
        debug!(
            route = self.route.as_str(),
            account.sid = self.account,
            body_bytes = self.body_bytes,
            duration_ms = millis(took),
            "accepted a request"
        );
    }

    pub(super) fn refused(mut self, refusal: Refusal) {
        /// Somebody's configuration is wrong, or somebody forges: an operator wants to know.
        macro_rules! log {
            ($level:ident, $took:expr) => {
                $level!(
                    route = self.route.as_str(),
                    reason = refusal.as_str(),
                    account.sid = self.account,
                    body_bytes = self.body_bytes,
                    duration_ms = millis($took),
                    "refused a request"
                )
            };
        }
        let took = self.end(Outcome::Refused);
        self.inbound.metrics.refused(refusal);
        self.remember(refusal);
        match refusal.status() {
            StatusCode::FORBIDDEN | StatusCode::SERVICE_UNAVAILABLE => log!(warn, took),
            _ => log!(info, took),
        }
    }

    fn remember(&mut self, refusal: Refusal) {
        if self.tried.is_empty() {
            let asked = self.uri.path_and_query().map_or("/", |raw| raw.as_str());
            self.tried.push(shown(&self.inbound.public_url.join(asked)));
        }
        self.inbound.refusals.push(Refused {
            at: self.inbound.clock.now(),
            route: self.route.as_str(),
            reason: refusal.as_str(),
            status: refusal.status().as_u16(),
            account: self.account.map(str::to_owned),
            urls: std::mem::take(&mut self.tried),
            hint: self.diagnosis.map_or(refusal.usual_cause(), Diagnosis::advice),
        });
    }

    fn end(&mut self, outcome: Outcome) -> Duration {
        let took = self.started.elapsed();
        self.ended = true;
        self.inbound.metrics.ended(self.route, outcome, took);
        if let Some(context) = self.trace {
            self.tell(context, outcome, took);
        }
        took
    }

    fn tell(&self, context: TraceContext, outcome: Outcome, took: Duration) {
        let mut attributes = vec![
            ("route", self.route.as_str().into()),
            ("outcome", outcome.as_str().into()),
            ("body_bytes", self.body_bytes.into()),
        ];
        attributes.extend(self.account.map(|sid| ("account.sid", sid.into())));
        self.inbound.spans.tell(Span {
            name: "callback",
            role: Role::Server,
            context,
            parent: None,
            links: Vec::new(),
            took,
            attributes,
            error: (outcome == Outcome::Error).then(|| "a handler panicked".to_owned()),
        });
    }
}

impl Drop for Exchange<'_> {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        if std::thread::panicking() {
            // Said by the layer that catches it.
            self.end(Outcome::Error);
            return;
        }
        let took = self.end(Outcome::Abandoned);
        info!(
            route = self.route.as_str(),
            account.sid = self.account,
            body_bytes = self.body_bytes,
            duration_ms = millis(took),
            "a client left before its answer"
        );
    }
}

fn millis(took: Duration) -> f64 {
    took.as_secs_f64() * 1e3
}
