//! What happened: recorded, then acknowledged.

use super::Refusal;
use super::exchange::Exchange;
use crate::pipeline::Recorded;
use crate::twilio::callback::{self, Purpose};
use crate::twilio::signature::{SignedRequest, Verified};
use crate::twilio::twiml::Twiml;

/// Records the events of a status callback, of whatever kind, and answers when they are durable.
pub(super) async fn answer(
    exchange: &Exchange<'_>,
    request: &SignedRequest<'_, Verified<'_>>,
) -> Result<Twiml, Refusal> {
    let Exchange { inbound, terms, .. } = exchange;
    let events = callback::events(request, Purpose::Status, &terms.privacy, inbound.clock.now());
    let recorded = inbound.recorder.record(exchange.brought(events)).await?;
    Ok(acknowledge(recorded))
}

/// The only way to a 2xx. Twilio wants 200 and TwiML, or 204 and no body (error 15003).
fn acknowledge(_: Recorded) -> Twiml {
    Twiml::EMPTY
}
