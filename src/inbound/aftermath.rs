//! [`Aftermath`]: what remains to do of a refusal once its client has its answer: find out why the signature is
//! wrong, write it into the log, and remember it for the page.
//!
//! After the answer, since trying the usual mistakes costs as much as some requests, and since how long that
//! takes would tell a forger which accounts are configured.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use tracing::instrument::WithSubscriber as _;
use tracing::{info, warn};

use super::signed::Received;
use super::{Inbound, Refusal, label};
use crate::event::Route;
use crate::policy::InboundPolicy;
use crate::recent::refusals::RecentRefusal;
use crate::twilio::diagnosis::Diagnosis;

/// A refusal that was answered.
pub(super) struct Aftermath {
    pub(super) inbound: Arc<Inbound>,
    /// What the request went by.
    pub(super) policy: Arc<InboundPolicy>,
    pub(super) refusal: Refusal,
    pub(super) route: Option<Route>,
    /// The configured account that it is of, as far as that is known.
    pub(super) account: Option<String>,
    pub(super) body_bytes: usize,
    pub(super) took: Duration,
    /// The URLs that it was tried against, as they may be shown.
    pub(super) urls: Vec<String>,
    /// The request, if its signature is what was wrong.
    pub(super) received: Option<Received>,
}

impl Aftermath {
    /// Sees to it, now or in a task.
    pub(super) fn begin(mut self) {
        let Some(received) = self.received.take() else { return self.tell(None) };
        let Some(place) = self.inbound.explanations.place() else { return self.tell(None) };
        let background = self.inbound.background.clone();
        let explain = async move {
            let cause = self.explain(received).await;
            self.tell(cause);
            drop(place);
        };
        background.spawn(explain.with_current_subscriber());
    }

    /// Which URLs were tried, and the cause, if it is this one's turn.
    async fn explain(&mut self, received: Received) -> Option<Diagnosis> {
        if self.refusal != Refusal::WrongSignature {
            return None;
        }
        self.urls = received.tried();
        let now = self.inbound.clock.now();
        let known = self.account.is_some();
        if !self.inbound.explanations.take_turn(now, self.refusal, known) {
            return None;
        }
        // Callbacks are answered by this thread.
        let policy = Arc::clone(&self.policy);
        let found =
            self.inbound.background.spawn_blocking(move || received.diagnose(&policy)).await;
        found.ok().flatten()
    }

    fn tell(self, cause: Option<Diagnosis>) {
        let Self { inbound, refusal, route, account, body_bytes, took, urls, .. } = self;
        let hint = cause.map_or(refusal.usual_cause(route), Diagnosis::advice);
        let now = inbound.clock.now();
        let withheld = inbound.ration.refusal(now, refusal, account.is_some());
        let unwritten = withheld.filter(|count| *count > 0);
        macro_rules! log {
            ($level:ident, $path:expr) => {
                $level!(
                    route = label(route),
                    reason = refusal.as_str(),
                    account.sid = account,
                    url = $path,
                    cause = cause.map(Diagnosis::advice),
                    body_bytes,
                    duration_ms = took.as_secs_f64() * 1e3,
                    unwritten,
                    "refused a request"
                )
            };
        }
        // Of what is lost, an operator needs to see where it went.
        let lost = (refusal == Refusal::SignedUnknownRoute).then(|| urls.first()).flatten();
        match refusal.status() {
            _ if withheld.is_none() => {}
            StatusCode::FORBIDDEN | StatusCode::SERVICE_UNAVAILABLE => log!(warn, lost),
            _ if lost.is_some() => log!(warn, lost),
            _ => log!(info, lost),
        }
        inbound.refusals.push(RecentRefusal {
            at: now,
            route: label(route),
            reason: refusal,
            status: refusal.status().as_u16(),
            account,
            urls,
            explained: cause.is_some(),
            hint,
        });
    }
}
