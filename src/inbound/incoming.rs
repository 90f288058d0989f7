//! A message came in: recorded, and answered with the TwiML of the configuration, also while the stores are down.

use super::record::RequestRecord;
use super::{Inbound, Refusal, fallback, status};
use crate::event::Kind;
use crate::policy::InboundPolicy;
use crate::twilio::callback::{self, Arrival};
use crate::twilio::signature::{SignedRequest, Verified};
use crate::twilio::twiml::Twiml;

/// Answers a message that came in, even if it could not be recorded: its sender must not get an error because our log is
/// full. Anything else that Twilio sends here is a status callback, whose answer says that it is durable.
pub(super) async fn answer(
    inbound: &Inbound,
    policy: &InboundPolicy,
    record: &RequestRecord<'_>,
    arrival: Arrival<'_>,
    request: &SignedRequest<'_, Verified<'_>>,
) -> Result<Twiml, Refusal> {
    let mut events = callback::events(request, arrival, &policy.privacy)?;
    if events.iter().any(|event| event.kind != Kind::IncomingMessage) {
        return status::answer(inbound, policy, record, arrival, request).await;
    }
    policy.listening.hear(&mut events, request.params());
    fallback::record(inbound, record.brought(events)).await;
    Ok(policy.incoming.clone())
}
