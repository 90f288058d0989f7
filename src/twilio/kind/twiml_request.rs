//! A request of a call's TwiML: its answer URL, the action of a Gather, a Record, a Dial … It asks
//! what to do next, repeats the call's SID and status, and moves no status.

use super::Recognised;
use crate::event::{Event, Kind};
use crate::labels::labels;
use crate::twilio::fields::Fields;
use crate::twilio::params::Params;

labels! {
    /// The verb whose URL was requested. A closed set: it is a metric label.
    pub enum Verb {
        /// The action of `<Dial>`.
        Dial = "Dial",
        /// The action of `<Refer>`.
        Refer = "Refer",
        /// The action or the wait URL of `<Enqueue>`, or the action of `<Dial><Queue>`.
        Enqueue = "Enqueue",
        /// The action or the status callback of `<Pay>`.
        Pay = "Pay",
        /// The action of `<Connect>`.
        Connect = "Connect",
        /// The action of `<Record>`.
        Record = "Record",
        /// The action or the partial results of `<Gather>`.
        Gather = "Gather",
        /// No verb that the parameters show: the call's own URL, `<Redirect>`, a whisper.
        Url = "url",
    }
}

impl Verb {
    /// The verb of a request with these events and parameters; `None` if it is not a request of a call's TwiML.
    #[must_use]
    pub fn of(events: &[Event], params: &Params<'_>) -> Option<Self> {
        let is = events.iter().any(|event| event.kind == Kind::TwimlRequest);
        is.then(|| verb_by_its_fields(&Fields::Form(params)).unwrap_or(Self::Url))
    }
}

/// The parameters that only one verb's requests have, the most particular verb first: `<Dial>` can
/// record, and both `<Record>` and `<Gather>` send digits. From Twilio's page of each verb, such as
/// <https://www.twilio.com/docs/voice/twiml/gather>.
const FIELDS: [(Verb, &[&str]); 7] = [
    (
        Verb::Dial,
        &[
            "DialCallSid",
            "DialCallStatus",
            "DialCallDuration",
            "DialBridged",
            "DialSipResponseCode",
        ],
    ),
    (
        Verb::Refer,
        &[
            "ReferTransferTarget",
            "ReferCallStatus",
            "ReferSipResponseCode",
            "NotifySipResponseCode",
        ],
    ),
    (
        Verb::Enqueue,
        &[
            "QueueSid",
            "QueueResult",
            "QueuePosition",
            "QueueTime",
            "AvgQueueTime",
            "CurrentQueueSize",
            "MaxQueueSize",
            "DequeingCallSid",
            "DequeuingCallSid",
        ],
    ),
    (
        Verb::Pay,
        &[
            "Result",
            "PaymentConfirmationCode",
            "PaymentToken",
            "PaymentMethod",
            "PaymentError",
            "PaymentCardNumber",
            "PaymentCardType",
            "PaymentCardPostalCode",
            "ProfileId",
            "PayErrorCode",
        ],
    ),
    (
        Verb::Connect,
        &[
            "HandoffData",
            "SessionId",
            "SessionStatus",
            "SessionDuration",
            "ConnectCallStatus",
            "ConnectorName",
            "VirtualAgentStatus",
            "VirtualAgentError",
            "VirtualAgentErrorCode",
        ],
    ),
    (Verb::Record, &["RecordingUrl", "RecordingSid", "RecordingDuration"]),
    (
        Verb::Gather,
        &[
            "Digits",
            "FinishedOnKey",
            "SpeechResult",
            "Confidence",
            "StableSpeechResult",
            "UnstableSpeechResult",
            "Stability",
        ],
    ),
];

/// The verb that these parameters belong to; `None` if they do not show it.
pub(super) fn verb_by_its_fields(fields: &Fields<'_>) -> Option<Verb> {
    FIELDS.iter().find(|(_, names)| fields.has_any(names)).map(|(verb, _)| *verb)
}

/// After [`call`](super::call), which takes what is a status callback.
pub(in crate::twilio) fn recognise(fields: &Fields<'_>) -> Option<Recognised> {
    let sid = fields.word("CallSid")?;
    fields.status("CallStatus")?;
    Some(Recognised::mention(Kind::TwimlRequest, Some(sid)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verb_is_told_by_its_own_parameters() {
        let check = |body: &str, expected: Option<Verb>| {
            let params = Params::parse(body.as_bytes());
            assert_eq!(verb_by_its_fields(&Fields::Form(&params)), expected, "{body}");
        };
        check("Digits=1", Some(Verb::Gather));
        check("Digits=", Some(Verb::Gather));
        check("UnstableSpeechResult=x&SequenceNumber=3", Some(Verb::Gather));
        check("RecordingUrl=x&Digits=hangup", Some(Verb::Record));
        check("DialCallStatus=busy&RecordingUrl=x", Some(Verb::Dial));
        check("QueueSid=QU1&QueueTime=3", Some(Verb::Enqueue));
        check("Result=success&PaymentToken=x", Some(Verb::Pay));
        check("ReferTransferTarget=sip:a", Some(Verb::Refer));
        check("HandoffData=%7B%7D", Some(Verb::Connect));
        check("CallSid=CA1&AnsweredBy=human&FromCity=X", None);
    }

    #[test]
    fn every_verb_stands_at_its_own_place() {
        assert!(Verb::ALL.iter().enumerate().all(|(place, &verb)| verb as usize == place));
        assert_eq!(FIELDS.len() + 1, Verb::ALL.len());
    }
}
