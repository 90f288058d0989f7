//! [`RequestRecord`]: one request and its answer, as the log and the metrics see it.

use std::sync::Arc;
use std::time::Duration;

use axum::http::Uri;
use tokio::time::Instant;
use tracing::{debug, info};

use super::aftermath::Aftermath;
use super::signed::Received;
use super::{Inbound, Refusal, label};
use crate::clock::millis;
use crate::event::{Event, Route, TraceContext};
use crate::http::RequestOutcome;
use crate::policy::InboundPolicy;
use crate::recent::refusals::shown;
use crate::spans::{Role, Span};

/// What is known of a request by the time it ends. Ends exactly once, however it does: a future
/// that is dropped or that panics is counted, too.
///
/// Holds nothing that a log must not: no body, number, query or signature.
pub(super) struct RequestRecord<'i> {
    pub(super) body_bytes: usize,
    /// The SID of a configured account, never what a request merely claims.
    pub(super) account: Option<&'i str>,
    /// The configured account that it claims to be of.
    pub(super) claimed: Option<&'i str>,
    /// The URL that the signature holds for, of a request to no route, as it may be shown.
    pub(super) tried: Vec<String>,
    /// The request, if its signature is wrong.
    pub(super) wrongly_signed: Option<Received>,
    /// The trace of the request, if it is sampled.
    pub(super) trace: Option<TraceContext>,
    /// The listener that counts it when it ends.
    inbound: &'i Arc<Inbound>,
    /// The policy that it uses, even if another is in force when it ends.
    policy: &'i Arc<InboundPolicy>,
    uri: Uri,
    route: Option<Route>,
    started: Instant,
    ended: bool,
}

impl<'i> RequestRecord<'i> {
    pub(super) fn begin(
        inbound: &'i Arc<Inbound>,
        policy: &'i Arc<InboundPolicy>,
        route: Option<Route>,
        uri: Uri,
    ) -> Self {
        Self {
            inbound,
            policy,
            body_bytes: 0,
            account: None,
            claimed: None,
            tried: Vec::new(),
            wrongly_signed: None,
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
        let took = self.end(RequestOutcome::Accepted);
        debug!(
            route = label(self.route),
            account.sid = self.account,
            body_bytes = self.body_bytes,
            duration_ms = millis(took),
            "accepted a request"
        );
    }

    /// Counts it; the rest is for after the answer.
    pub(super) fn refused(mut self, refusal: Refusal) {
        let took = self.end(RequestOutcome::Refused);
        self.inbound.metrics.refused(refusal);
        if self.tried.is_empty() {
            let asked = self.uri.path_and_query().map_or("/", |raw| raw.as_str());
            self.tried.push(shown(&self.inbound.public_url.join(asked)));
        }
        let aftermath = Aftermath {
            inbound: Arc::clone(self.inbound),
            policy: Arc::clone(self.policy),
            refusal,
            route: self.route,
            account: self.account.or(self.claimed).map(str::to_owned),
            body_bytes: self.body_bytes,
            took,
            urls: std::mem::take(&mut self.tried),
            received: self.wrongly_signed.take(),
        };
        aftermath.begin();
    }

    fn end(&mut self, outcome: RequestOutcome) -> Duration {
        let took = self.started.elapsed();
        self.ended = true;
        self.inbound.metrics.ended(self.route, outcome, took);
        if let Some(context) = self.trace {
            self.tell(context, outcome, took);
        }
        took
    }

    fn tell(&self, context: TraceContext, outcome: RequestOutcome, took: Duration) {
        let mut attributes = vec![
            ("route", label(self.route).into()),
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
            error: (outcome == RequestOutcome::Error).then(|| "a handler panicked".to_owned()),
        });
    }
}

impl Drop for RequestRecord<'_> {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        if std::thread::panicking() {
            // Said by the layer that catches it.
            self.end(RequestOutcome::Error);
            return;
        }
        let took = self.end(RequestOutcome::Abandoned);
        let Some(withheld) = self.inbound.ration.left(self.inbound.clock.now()) else { return };
        info!(
            route = label(self.route),
            account.sid = self.account,
            body_bytes = self.body_bytes,
            duration_ms = millis(took),
            unwritten = (withheld > 0).then_some(withheld),
            "a client left before its answer"
        );
    }
}
