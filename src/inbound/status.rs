//! What happened: recorded, then acknowledged.

use super::record::RequestRecord;
use super::{Inbound, Refusal};
use crate::pipeline::Recorded;
use crate::policy::InboundPolicy;
use crate::twilio::callback::{self, Arrival};
use crate::twilio::kind::twiml_request::Verb;
use crate::twilio::signature::{SignedRequest, Verified};
use crate::twilio::twiml::Twiml;

/// Records the events of a status callback of any kind, and answers when they are durable.
pub(super) async fn answer(
    inbound: &Inbound,
    policy: &InboundPolicy,
    record: &RequestRecord<'_>,
    arrival: Arrival<'_>,
    request: &SignedRequest<'_, Verified<'_>>,
) -> Result<Twiml, Refusal> {
    let mut events = callback::events(request, arrival, &policy.privacy)?;
    policy.listening.hear(&mut events, request.params());
    // By what was signed: of the events, `[privacy]` may have taken it out.
    let verb = Verb::of(&events, request.params());
    let about_others = events.iter().filter(|event| event.about_account.is_some()).count();
    let recorded = inbound.recorder.record(record.brought(events)).await?;
    if let Some(verb) = verb {
        inbound.metrics.twiml_request(verb);
    }
    inbound.metrics.about_other_accounts(about_others);
    Ok(acknowledge(recorded))
}

/// The only way to a 2xx. Twilio wants 200 and TwiML, or 204 and no body (error 15003).
fn acknowledge(_: Recorded) -> Twiml {
    Twiml::EMPTY
}
