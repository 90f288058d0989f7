//! What to do: asked when the user's own URL failed, in the middle of a call. Answered from
//! memory, whatever state the stores are in.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tracing::warn;

use super::Inbound;
use super::record::RequestRecord;
use crate::event::Event;
use crate::policy::InboundPolicy;
use crate::twilio::callback::{self, Arrival};
use crate::twilio::signature::{SignedRequest, Verified};
use crate::twilio::twiml::{Medium, Twiml};

/// How long an answer waits until its request is recorded. A caller listens to silence meanwhile,
/// and hears the TwiML anyway.
const RECORD_TIMEOUT: Duration = Duration::from_secs(1);

/// Answers, always. Not a `Result`: a caller must not hear an error because our log is full.
pub(super) async fn answer(
    inbound: &Inbound,
    policy: &InboundPolicy,
    request_record: &RequestRecord<'_>,
    medium: Medium,
    arrival: Arrival<'_>,
    request: &SignedRequest<'_, Verified<'_>>,
) -> Twiml {
    let mut events = vec![callback::fallback_event(request, arrival, &policy.privacy)];
    policy.listening.hear(&mut events, request.params());
    record(inbound, request_record.brought(events)).await;
    policy.fallback.twiml(medium, request.params()).clone()
}

/// Records, and stops waiting when that takes too long or the client leaves, but goes on.
pub(super) async fn record(inbound: &Inbound, events: Vec<Event>) {
    let (recorder, metrics) = (inbound.recorder.clone(), Arc::clone(&inbound.metrics));
    let recording = inbound.background.spawn(async move {
        if let Err(error) = recorder.record(events).await {
            warn!(%error, "a request was answered with TwiML and not recorded");
            metrics.fallback_unrecorded();
        }
    });
    // The task has logged everything.
    let _ = timeout(RECORD_TIMEOUT, recording).await;
}
