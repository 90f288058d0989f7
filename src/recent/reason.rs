//! [`Refusal`]: every reason for which a request is not answered with 2xx. What it is answered with, `inbound` knows.

use crate::labels::labels;

labels! {
    /// Why a request was refused. A closed set: it is a metric label.
    pub enum Refusal {
        /// Neither GET nor POST.
        MethodNotAllowed = "method_not_allowed",
        /// The path is not a route.
        UnknownRoute = "unknown_route",
        /// Signed email events came, and no key to verify them by is configured.
        NoVerificationKey = "no_verification_key",
        /// The path is not a route, but Twilio signed the request.
        SignedUnknownRoute = "signed_unknown_route",
        /// Neither a form nor JSON.
        UnsupportedContentType = "unsupported_content_type",
        /// The body is larger than `body_limit`, or than `event_body_limit`.
        BodyTooLarge = "body_too_large",
        /// The body took longer than `body_timeout_ms`.
        SlowBody = "slow_body",
        /// The body ended early, or its chunks are broken.
        BrokenBody = "broken_body",
        /// No `X-Twilio-Signature`, or, of email events, neither of their two headers.
        MissingSignature = "missing_signature",
        /// A signature that cannot be one.
        MalformedSignature = "malformed_signature",
        /// No secret and no candidate URL gives this signature, or no verification key.
        WrongSignature = "wrong_signature",
        /// The `AccountSid` is not configured.
        UnknownAccount = "unknown_account",
        /// JSON without `bodySHA256` in its URL.
        MissingBodyHash = "missing_body_hash",
        /// JSON with another `bodySHA256` than its own.
        WrongBodyHash = "wrong_body_hash",
        /// It has more parameters than Twilio sends, or takes more work to check than one request may cost.
        TooCostly = "too_costly",
        /// Bodies that are not verified yet take all of their memory, and this one had the longest.
        NoRoom = "no_room",
        /// Twilio signed it, but it has no parameters.
        LostParameters = "lost_parameters",
        /// Twilio signed it, and its JSON is gone.
        LostBody = "lost_body",
        /// Too many events wait to be committed.
        Overloaded = "overloaded",
        /// Neither a backend nor the local log could make the event durable.
        NotDurable = "not_durable",
    }
}
