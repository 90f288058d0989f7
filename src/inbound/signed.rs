//! From a request to a verified one, the cheapest checks first: nothing of a body is read before
//! its head is one that Twilio could have sent.

use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use tokio::time::timeout;

use super::record::RequestRecord;
use super::room::Held;
use super::{Config, Inbound, Refusal};
use crate::http::Caller;
use crate::policy::InboundPolicy;
use crate::recent::refusals::shown;
use crate::twilio::diagnosis::{Diagnosis, diagnose};
use crate::twilio::keyring::Account;
use crate::twilio::public_url::candidates;
use crate::twilio::signature::{
    Claim, Content, MOST_HASHED, SETTINGS_HEADER, SIGNATURE_HEADER, Search, SignatureError,
    SignedRequest, Step, Verified,
};

// Names that are parsed once: each callback is searched for all of them.
static SIGNATURE: HeaderName = HeaderName::from_static(SIGNATURE_HEADER);
static SETTINGS: HeaderName = HeaderName::from_static(SETTINGS_HEADER);
/// Tells a retry by Twilio from a new request.
static TOKEN: HeaderName = HeaderName::from_static("i-twilio-idempotency-token");

/// Chunks of a body without a length. A proxy sends some dozen; a byte in each costs as much as thirty
/// callbacks.
const MOST_CHUNKS: usize = 1024;

/// Bytes for which there is room before a read; what comes beyond is counted after it. A head and the start of
/// its body are read together, by as much.
const MOST_READ: usize = 8 * 1024;

/// Bytes that are hashed to explain a wrong signature, for each of what may have been signed after the URL: of a
/// form of 2 kB every order of a query of five parameters with two secrets.
const MOST_EXPLAINED: usize = MOST_HASHED / 2;
/// URLs of a wrong signature that are shown: the likeliest.
const TRIED: usize = 12;

/// A request that was read in full, and is not verified.
pub(super) struct Received {
    url: String,
    content: Content,
    claim: Claim,
    body: Bytes,
    token: Option<HeaderValue>,
    /// `None` in a test without a listener.
    caller: Option<Caller>,
    /// The memory of the body, until it is verified.
    held: Held,
}

impl Received {
    /// Checks the head, then reads the body.
    pub(super) async fn read(
        inbound: &Inbound,
        record: &mut RequestRecord<'_>,
        request: Request,
    ) -> Result<Self, Refusal> {
        let (mut head, body) = request.into_parts();
        let content = content(&head)?;
        if content != Content::Query && body.size_hint().lower() > inbound.config.body_limit as u64
        {
            return Err(Refusal::BodyTooLarge);
        }
        let claim = Claim::parse(
            head.headers.get_all(&SIGNATURE).iter().map(HeaderValue::as_bytes),
            head.headers.get_all(&SETTINGS).iter().map(HeaderValue::as_bytes),
        )?;
        let held = inbound.room.hold();
        let body = match content {
            // Twilio sends none, and it would not be signed.
            Content::Query => Bytes::new(),
            Content::Form | Content::Json => {
                let Config { body_timeout, body_limit, .. } = inbound.config;
                read(body_timeout, body_limit, body, &held, b"").await?
            }
        };
        record.body_bytes = body.len();
        let path_and_query = head.uri.path_and_query().map_or("/", |raw| raw.as_str());
        let url = inbound.public_url.join(path_and_query);
        let token = head.headers.get(&TOKEN).cloned();
        let caller = head.extensions.remove();
        Ok(Self { url, content, claim, body, token, caller, held })
    }

    /// Checks the signature. Lets others go on in between: what is forged with care takes as long as
    /// thirty callbacks.
    pub(super) async fn verify<'r, 'i: 'r>(
        &'r self,
        inbound: &Inbound,
        policy: &'i InboundPolicy,
        record: &mut RequestRecord<'i>,
    ) -> Result<SignedRequest<'r, Verified<'i>>, Refusal> {
        let unverified =
            SignedRequest::new(&self.url, self.content, &self.body, self.claim.clone());
        let search = unverified.search(&policy.keyring)?;
        record.claimed = search.claimed().map(Account::sid);
        let signed = steps(search).await?;
        let Verified { account, secret } = *signed.verified();
        record.account = Some(account.sid());
        inbound.metrics.matched(account, secret);
        Ok(signed)
    }

    /// Without its connection, which must not wait for it.
    pub(super) fn without_caller(mut self) -> Self {
        self.caller = None;
        self.held.release();
        self
    }

    /// Says of the connection that it carries requests of Twilio's: only of a verified one.
    pub(super) fn vouch(&self) {
        // What is recorded is bounded by the queue before the store.
        self.held.release();
        if let Some(caller) = &self.caller {
            caller.vouch();
        }
    }

    /// The requested URL, below the public URL.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Whether a configured secret signed it for one of these URLs. The match is counted.
    pub(super) async fn is_signed_to<'i>(
        &self,
        urls: Vec<String>,
        inbound: &Inbound,
        policy: &'i InboundPolicy,
        record: &mut RequestRecord<'i>,
    ) -> bool {
        let Some((first, others)) = urls.split_first() else { return false };
        let claimed = SignedRequest::new(first, self.content, &self.body, self.claim.clone());
        let search = claimed.search_among(others, MOST_HASHED, &policy.keyring);
        let Ok(search) = search else { return false };
        let Ok(signed) = steps(search).await else { return false };
        let Verified { account, secret } = *signed.verified();
        record.account = Some(account.sid());
        inbound.metrics.matched(account, secret);
        record.tried = vec![shown(signed.url())];
        self.vouch();
        true
    }

    /// The URLs that the signature was tried against, as they may be shown.
    pub(super) fn tried(&self) -> Vec<String> {
        let mut tried: Vec<_> = candidates(&self.url).take(TRIED).map(|url| shown(&url)).collect();
        tried.dedup();
        tried
    }

    /// Why the signature is wrong. Slow, so that it is neither asked before the answer, nor on the thread
    /// that answers.
    pub(super) fn diagnose(&self, policy: &InboundPolicy) -> Option<Diagnosis> {
        let Self { url, content, body, claim, .. } = self;
        diagnose(url, *content, body, claim, &policy.keyring, MOST_EXPLAINED)
    }

    /// Twilio's idempotency token.
    pub(super) fn token(&self) -> Option<&str> {
        self.token.as_ref()?.to_str().ok()
    }
}

/// Whether it can be one that Twilio signed.
pub(super) fn claims_a_signature(request: &Request) -> bool {
    request.headers().contains_key(&SIGNATURE)
}

/// Takes a search to its end.
async fn steps<'a, 'k>(
    mut search: Search<'a, 'k>,
) -> Result<SignedRequest<'a, Verified<'k>>, SignatureError> {
    loop {
        match search.step() {
            Step::Ended(ended) => return ended,
            Step::More(rest) => search = rest,
        }
        tokio::task::yield_now().await;
    }
}

/// Where the parameters are, by method and content type.
fn content(head: &Parts) -> Result<Content, Refusal> {
    match head.method {
        Method::GET => Ok(Content::Query),
        Method::POST => content_type(&head.headers).ok_or(Refusal::UnsupportedContentType),
        _ => Err(Refusal::MethodNotAllowed),
    }
}

pub(super) fn content_type(headers: &HeaderMap) -> Option<Content> {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let essence = value.to_str().ok()?.split(';').next()?.trim();
    if essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Some(Content::Form);
    }
    let (kind, subtype) = essence.split_once('/')?;
    // `application/json`, and `application/cloudevents+json` and its like.
    let (_, suffix) = subtype.rsplit_once('+').unwrap_or(("", subtype));
    let json = kind.eq_ignore_ascii_case("application") && suffix.eq_ignore_ascii_case("json");
    json.then_some(Content::Json)
}

/// Reads a body behind a prefix, with which it is in one piece.
pub(super) async fn read(
    longest: Duration,
    limit: usize,
    body: Body,
    held: &Held,
    prefix: &[u8],
) -> Result<Bytes, Refusal> {
    if body.size_hint().lower() > limit as u64 {
        return Err(Refusal::BodyTooLarge);
    }
    let whole = timeout(longest, collect(limit, body, held, prefix));
    tokio::select! {
        biased;
        read = whole => read.map_err(|_| Refusal::SlowBody)?,
        () = held.gives_way() => Err(Refusal::NoRoom),
    }
}

/// Reads the body into one piece: a piece for each chunk would take many times the memory.
///
/// There is room for a read before it is done: what a connection has read and cannot pass on would count nowhere.
async fn collect(
    limit: usize,
    mut body: Body,
    held: &Held,
    prefix: &[u8],
) -> Result<Bytes, Refusal> {
    let declared = body.size_hint().exact().map(|length| length as usize);
    let (mut whole, mut chunks, mut reserved) = (BytesMut::from(prefix), 0, 0);
    loop {
        let got = whole.len() - prefix.len();
        let next = declared.unwrap_or(limit).saturating_sub(got).min(MOST_READ);
        if reserved < next {
            held.grow(next - reserved).await.map_err(|_| Refusal::NoRoom)?;
            reserved = next;
        }
        let Some(frame) = body.frame().await else { return Ok(whole.freeze()) };
        let frame = frame.map_err(|_| Refusal::BrokenBody)?;
        // Trailers.
        let Ok(data) = frame.into_data() else { continue };
        chunks += 1;
        if declared.is_none() && chunks > MOST_CHUNKS {
            return Err(Refusal::BrokenBody);
        }
        if got + data.len() > limit {
            return Err(Refusal::BodyTooLarge);
        }
        let more = data.len().saturating_sub(reserved);
        if more > 0 {
            held.grow(more).await.map_err(|_| Refusal::NoRoom)?;
        }
        reserved = reserved.saturating_sub(data.len());
        if got == 0 {
            whole.reserve(declared.unwrap_or(0));
        }
        whole.extend_from_slice(&data);
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::poll_fn;
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::Poll;

    use futures_util::{FutureExt as _, stream};
    use secrecy::SecretString;

    use super::*;
    use crate::inbound::Room;
    use crate::twilio::keyring::{Account, Keyring};

    fn check(values: &[&'static str], expected: Option<Content>) {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(CONTENT_TYPE, HeaderValue::from_static(value));
        }
        assert_eq!(content_type(&headers), expected, "{values:?}");
    }

    /// Other requests are answered while a carefully forged one is checked.
    #[tokio::test]
    async fn a_long_search_lets_others_go_on_in_between() {
        let tokens = [(); 40].map(|()| SecretString::from("t0ken"));
        let account = Account::new("AC1".into(), "main".into(), &tokens, &[]);
        let keyring = Keyring::new(vec![account]).expect("tokens");
        let body = Bytes::from(format!("AccountSid=AC1&A={}", "x".repeat(60_000)));
        let forged = Claim::parse([&b"AAAAAAAAAAAAAAAAAAAAAAAAAAA="[..]], None);
        let url = "https://h.example/status";
        let request = SignedRequest::new(url, Content::Form, &body, forged.expect("well-formed"));
        let mut searching = pin!(steps(request.search(&keyring).expect("it has a secret")));
        let mut others = 0;
        let ended = poll_fn(|context| match searching.as_mut().poll(context) {
            Poll::Ready(ended) => Poll::Ready(ended.map(|_| ())),
            Poll::Pending => {
                others += 1;
                Poll::Pending
            }
        });
        assert_eq!(ended.await, Err(SignatureError::TooCostly));
        assert!(others >= 7, "only {others} times");
    }

    #[tokio::test]
    async fn a_body_is_not_read_before_there_is_room_for_it() {
        let room = Room::of(10_000);
        let (other, held) = (room.hold(), room.hold());
        other.grow(10_000).await.expect("all of it is free");
        let is_read = Arc::new(AtomicBool::new(false));
        let reading = Arc::clone(&is_read);
        let body = Body::from_stream(stream::once(async move {
            reading.store(true, Ordering::Relaxed);
            Ok::<_, Infallible>(Bytes::from_static(b"A=1"))
        }));
        let mut collecting = pin!(collect(9_000, body, &held, b""));
        assert!(collecting.as_mut().now_or_never().is_none());
        assert!(!is_read.load(Ordering::Relaxed));
        drop(other);
        assert_eq!(collecting.await.expect("there is room"), "A=1");
    }

    #[test]
    fn a_form_and_every_json_is_read_and_nothing_else() {
        check(&["application/x-www-form-urlencoded"], Some(Content::Form));
        check(&["Application/X-WWW-Form-Urlencoded; charset=UTF-8"], Some(Content::Form));
        check(&["application/json"], Some(Content::Json));
        check(&["APPLICATION/JSON ;charset=utf-8"], Some(Content::Json));
        check(&["application/cloudevents+json"], Some(Content::Json));
        check(&["application/cloudevents-batch+json"], Some(Content::Json));
        for other in ["text/plain", "", "application/jsonp", "text/json", "application/+xml"] {
            check(&[other], None);
        }
        check(&["multipart/form-data; boundary=x"], None);
        check(&[], None);
        check(&["application/json", "application/json"], None);
    }
}
