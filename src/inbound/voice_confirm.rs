//! What a callee has keyed in, whom offhook called. Answered from memory with fixed words, also while the stores are
//! down.

use super::Inbound;
use super::fallback::record;
use super::record::RequestRecord;
use crate::event::Callee;
use crate::policy::InboundPolicy;
use crate::twilio::callback::{self, Arrival};
use crate::twilio::signature::{SignedRequest, Verified};
use crate::twilio::twiml::Twiml;

/// Answers, always, as a fallback URL does. Only the digit 1 confirms.
pub(super) async fn answer(
    inbound: &Inbound,
    policy: &InboundPolicy,
    request_record: &RequestRecord<'_>,
    arrival: Arrival<'_>,
    request: &SignedRequest<'_, Verified<'_>>,
) -> Twiml {
    let event = callback::voice_confirm_event(request, arrival, &policy.privacy);
    record(inbound, request_record.brought(vec![event])).await;
    // By what was signed: of the event, `[privacy]` may have taken it out.
    let digits = request.params().get("Digits");
    let pressed = digits.and_then(|digits| Callee::of_digits(&digits));
    let words = &policy.voice_confirm;
    match pressed {
        Some(Callee::PressedOne) => words.confirmed.clone(),
        _ => words.not_confirmed.clone(),
    }
}
