//! What to do: asked when the user's own URL failed, in the middle of a call. Answered from
//! memory, whatever state our stores are in.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tracing::warn;

use super::Inbound;
use super::exchange::Exchange;
use crate::event::Event;
use crate::twilio::callback::{self, Arrival};
use crate::twilio::params::Params;
use crate::twilio::signature::{SignedRequest, Verified};
use crate::twilio::twiml::{Medium, Twiml};

/// How long an answer waits until its request is recorded. A caller listens to silence meanwhile,
/// and hears the TwiML all the same.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the fallback URLs answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fallback {
    /// To a call.
    pub voice: Twiml,
    /// To a message.
    pub sms: Twiml,
    /// To those of a called number, which Twilio writes as in `To`: `+15551230000`,
    /// `whatsapp:+15551230000`.
    pub numbers: HashMap<String, PerNumber>,
}

/// What is answered for one number; what is not set here is as for all.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct PerNumber {
    /// To a call.
    pub voice: Option<Twiml>,
    /// To a message.
    pub sms: Option<Twiml>,
}

impl Fallback {
    fn twiml(&self, medium: Medium, params: &Params<'_>) -> &Twiml {
        let number = params.get("To").and_then(|to| self.numbers.get(to.as_ref()));
        let (own, default) = match medium {
            Medium::Voice => (number.and_then(|number| number.voice.as_ref()), &self.voice),
            Medium::Sms => (number.and_then(|number| number.sms.as_ref()), &self.sms),
        };
        own.unwrap_or(default)
    }
}

/// Answers, always. Not a `Result`: a caller must not hear an error because our log is full.
pub(super) async fn answer(
    exchange: &Exchange<'_>,
    medium: Medium,
    arrival: Arrival<'_>,
    request: &SignedRequest<'_, Verified<'_>>,
) -> Twiml {
    let Exchange { inbound, terms, .. } = exchange;
    let event = callback::fallback_event(request, arrival, &terms.privacy);
    record(inbound, exchange.brought(vec![event])).await;
    terms.fallback.twiml(medium, request.params()).clone()
}

/// Records, and stops waiting when that takes too long or the client leaves, but goes on.
async fn record(inbound: &Inbound, events: Vec<Event>) {
    let (recorder, metrics) = (inbound.recorder.clone(), Arc::clone(&inbound.metrics));
    let recording = inbound.background.spawn(async move {
        if let Err(error) = recorder.record(events).await {
            warn!(%error, "a fallback request was answered and not recorded");
            metrics.fallback_unrecorded();
        }
    });
    // The task has said what there is to say.
    let _ = timeout(PATIENCE, recording).await;
}
