//! Email events: SendGrid's requests, which are signed in another way than Twilio's, and may be larger.

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, Method};
use bytes::Bytes;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::record::RequestRecord;
use super::signed::{content_type, read};
use super::{Inbound, Refusal, Room};
use crate::http::Caller;
use crate::pipeline::Recorded;
use crate::policy::InboundPolicy;
use crate::sendgrid::events::{ACCOUNT, Elements, Reader};
use crate::sendgrid::keys::VerificationKeys;
use crate::sendgrid::signature::{Claim, SIGNATURE_HEADER, Signed, TIMESTAMP_HEADER};
use crate::twilio::signature::Content;

static SIGNATURE: HeaderName = HeaderName::from_static(SIGNATURE_HEADER);
static TIMESTAMP: HeaderName = HeaderName::from_static(TIMESTAMP_HEADER);

/// Events that one request records at a time, in one commit: as many as SendGrid usually sends.
const AT_ONCE: usize = 1024;
/// Events of all such requests that may wait for their commits: half of the queue, so that Twilio's callbacks have the
/// other half.
const WAITING: usize = 2 * AT_ONCE;
/// Longest wait for a place among them. SendGrid tries again.
const WAIT: std::time::Duration = std::time::Duration::from_secs(10);
/// Events between which other requests are answered: reading them takes some 0.2 ms.
const BETWEEN: usize = 32;

/// What email events may take, so that a flood of them leaves room for Twilio's callbacks.
#[derive(Debug)]
pub struct EmailCapacity {
    /// The memory of their bodies, until they are recorded.
    room: Room,
    places: Semaphore,
}

impl EmailCapacity {
    /// The memory, in bytes, for bodies of this size.
    #[must_use]
    pub fn of(event_body_limit: usize) -> Self {
        const LEAST: usize = 16 * 1024 * 1024;
        let room = Room::of(LEAST.max(event_body_limit.saturating_mul(4)));
        Self { room, places: Semaphore::new(WAITING) }
    }

    async fn place(&self, events: usize) -> Result<SemaphorePermit<'_>, Refusal> {
        let places = events.min(AT_ONCE) as u32;
        let place = timeout(WAIT, self.places.acquire_many(places)).await;
        place.ok().and_then(Result::ok).ok_or(Refusal::Overloaded)
    }
}

/// Verifies a request and records its events; returns when all of them are durable. The cheapest checks come first, as
/// for Twilio's.
pub(super) async fn answer<'i>(
    inbound: &Inbound,
    policy: &'i InboundPolicy,
    record: &mut RequestRecord<'i>,
    request: Request,
) -> Result<(), Refusal> {
    let (mut head, body) = request.into_parts();
    let values = |name| head.headers.get_all(name).iter().map(HeaderValue::as_bytes);
    let claim = Claim::parse(values(&SIGNATURE), values(&TIMESTAMP));
    if policy.email_keys.is_empty() {
        // Of a scanner, or of SendGrid, whose events would be lost in a day.
        let is_signed = claim.is_ok();
        return Err(if is_signed { Refusal::NoVerificationKey } else { Refusal::UnknownRoute });
    }
    if head.method != Method::POST {
        return Err(Refusal::MethodNotAllowed);
    }
    if content_type(&head.headers) != Some(Content::Json) {
        return Err(Refusal::UnsupportedContentType);
    }
    let claim = claim?;
    let (limit, held) = (inbound.config.event_body_limit, inbound.email.room.hold());
    let time = claim.timestamp().as_bytes();
    let bytes = read(inbound.config.body_timeout, limit, body, &held, time).await?;
    record.body_bytes = bytes.len() - time.len();
    let signed = verify(&claim, &policy.email_keys, bytes).await;
    let signed = signed.ok_or(Refusal::WrongSignature)?;
    record.account = Some(ACCOUNT);
    inbound.metrics.email_matched(signed.key());
    if let Some(caller) = head.extensions.remove::<Caller>() {
        caller.vouch();
    }
    let elements = Elements::of(&signed);
    // Each element has its own bytes.
    drop(signed);
    let at = inbound.clock.now();
    let reader = Reader { at, privacy: &policy.privacy, listening: &policy.listening };
    let _place = inbound.email.place(elements.len()).await?;
    for some in elements.parts().chunks(AT_ONCE) {
        let _durable: Recorded = commit(inbound, record, &reader, some).await?;
    }
    Ok(())
}

/// Lets others go on between two keys: each costs a hash of the body.
async fn verify<'k>(claim: &Claim, keys: &'k VerificationKeys, bytes: Bytes) -> Option<Signed<'k>> {
    for key in keys.iter() {
        if let Some(signed) = claim.verify_by(key, &bytes) {
            return Some(signed);
        }
        tokio::task::yield_now().await;
    }
    None
}

async fn commit(
    inbound: &Inbound,
    record: &RequestRecord<'_>,
    reader: &Reader<'_>,
    elements: &[Bytes],
) -> Result<Recorded, Refusal> {
    let mut events = Vec::with_capacity(elements.len());
    for some in elements.chunks(BETWEEN) {
        events.extend(some.iter().map(|element| reader.event(element)));
        tokio::task::yield_now().await;
    }
    Ok(inbound.recorder.record(record.brought(events)).await?)
}
