//! A verified request becomes events: what each of them is (see [`super::kind`]), and by which
//! name its duplicates are recognised.
//!
//! Two different facts are two events, and one fact that is reported twice is one. An event without a name of its own
//! is named by a hash of its content: account, route, query and parameters, decoded, so that another spelling of a
//! captured request is not another event. Twilio's
//! idempotency token takes part, since two equal requests can be two facts, unless `RetryCount` says
//! which try it is: that one is left out, and so is the token. The token is not signed, so it is
//! never a name by itself; the time of receipt never takes part.

use bytes::Bytes;
use serde_json::Value;
use serde_json::value::RawValue;

use super::fields::{Fields, is_sid};
use super::json;
use super::kind::{self, Identity, Recognised, event_stream, fallback, other, twiml_request};
use super::params::Params;
use super::privacy::Privacy;
use super::signature::{BODY_HASH, Content, SignedRequest, Verified};
use crate::clock::Timestamp;
use crate::event::attempt::ATTEMPT_PARAMETER;
use crate::event::key::ContentHash;
use crate::event::{
    AttemptId, Callee, Event, EventKey, Fingerprint, Format, Kind, Method, Request, Route,
};

/// Most events of one request. 64 KiB hold 1,191 of the shortest CloudEvents that the specification
/// allows, and some 300 of Twilio's.
const MAX_ELEMENTS: usize = 2048;

/// Which try of a delivery it is, where Twilio says so (Conversations does).
const RETRY_COUNT: &[u8] = b"RetryCount";

/// How a request came to us.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// The route of the request.
    pub route: Route,
    /// Twilio's idempotency token, if one was sent. Not signed.
    pub token: Option<&'a str>,
    /// When.
    pub at: Timestamp,
}

/// What a request has lost that Twilio signed and that has nothing of Twilio's in it: a redirect on
/// the way turned its POST into a GET.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Lost {
    /// The parameters of a callback.
    #[error("the request has lost its parameters")]
    Parameters,
    /// The JSON of Event Streams, which retries for 4 hours: the cause can be fixed by then.
    #[error("the request has lost its body")]
    Body,
}

/// The events of a request that reports what happened: one, or one per element of an Event Streams
/// array. What no kind recognises is kept. They are recognised by what was signed; of that they hold
/// what `privacy` lets be kept.
///
/// # Errors
/// See [`Lost`].
pub fn events(
    request: &SignedRequest<'_, Verified<'_>>,
    arrival: Arrival<'_>,
    privacy: &Privacy,
) -> Result<Vec<Event>, Lost> {
    if is_empty(request) {
        let query = Params::parse(request.query().as_bytes());
        let json = request.content() == Content::Json
            || arrival.route == Route::EventStreams
            || query.has(BODY_HASH);
        return Err(if json { Lost::Body } else { Lost::Parameters });
    }
    let source = Source::of(request, arrival, privacy);
    Ok(match source.format {
        Format::Form => vec![source.form(kind::of_form(&Fields::Form(request.params())), request)],
        Format::Json => source.elements(request.body()),
    })
}

/// The event of a request to a fallback URL. Never fails: such a request is answered whatever it contains.
#[must_use]
pub fn fallback_event(
    request: &SignedRequest<'_, Verified<'_>>,
    arrival: Arrival<'_>,
    privacy: &Privacy,
) -> Event {
    let source = Source::of(request, arrival, privacy);
    let recognised = fallback::recognise(&Fields::Form(request.params()));
    source.form(recognised, request)
}

/// The event of a request that says what the callee has keyed in. Never fails, as that of a fallback URL.
#[must_use]
pub fn voice_confirm_event(
    request: &SignedRequest<'_, Verified<'_>>,
    arrival: Arrival<'_>,
    privacy: &Privacy,
) -> Event {
    let source = Source::of(request, arrival, privacy);
    let fields = Fields::Form(request.params());
    let recognised = twiml_request::recognise(&fields);
    source.form(recognised.unwrap_or_else(|| other::recognise(&fields)), request)
}

/// Whether there is no SID and no `AccountSid` in any spelling: every kind that Twilio sends has one. JSON that is
/// there at all was not lost.
fn is_empty(request: &SignedRequest<'_, Verified<'_>>) -> bool {
    if request.content() == Content::Json {
        return request.body().iter().all(u8::is_ascii_whitespace);
    }
    let query = Params::parse(request.query().as_bytes());
    let account = |name: &[u8]| {
        let letters = name.iter().filter(|byte| byte.is_ascii_alphanumeric());
        letters.map(u8::to_ascii_lowercase).eq(b"accountsid".iter().copied())
    };
    let mut all = request.params().iter().chain(query.iter());
    !all.any(|(name, value)| account(name) || is_sid(value))
}

/// What the callee has done, read before the event is treated. Nothing, if the event is about an account for which its
/// signer may not speak.
fn callee(event: &Event) -> Option<Callee> {
    if event.about_account.is_some() {
        return None;
    }
    let params = Params::parse(&event.body);
    match event.kind {
        Kind::TwimlRequest => Callee::of_digits(&params.get("Digits")?),
        Kind::Call | Kind::Amd => Callee::of_answered_by(&params.get("AnsweredBy")?),
        _ => None,
    }
}

/// What the events of one request have in common.
struct Source<'r> {
    signer: &'r super::keyring::Account,
    arrival: Arrival<'r>,
    method: Method,
    format: Format,
    query: &'r str,
    privacy: &'r Privacy,
}

impl<'r> Source<'r> {
    fn of(
        request: &'r SignedRequest<'_, Verified<'r>>,
        arrival: Arrival<'r>,
        privacy: &'r Privacy,
    ) -> Self {
        let (method, format, query) = match request.content() {
            Content::Query => (Method::Get, Format::Form, ""),
            Content::Form => (Method::Post, Format::Form, request.query()),
            Content::Json => (Method::Post, Format::Json, request.query()),
        };
        let signer = request.verified().account;
        Self { signer, arrival, method, format, query, privacy }
    }

    /// The event of a form or a query.
    fn form(&self, recognised: Recognised, request: &SignedRequest<'_, Verified<'_>>) -> Event {
        let params = request.params();
        let body = match request.content() {
            Content::Query => Bytes::copy_from_slice(request.query().as_bytes()),
            Content::Form | Content::Json => request.body().clone(),
        };
        let json = request.content() == Content::Json;
        let retries = params.iter().any(|(name, _)| name == RETRY_COUNT);
        let said = Said {
            account: params.get("AccountSid").map(|sid| sid.into_owned()),
            token: self.arrival.token.filter(|_| !retries),
            hash: |hash: &mut ContentHash| {
                if json {
                    return hash.piece(&body);
                }
                let pairs = params.signed_pairs();
                hash.pairs(pairs.into_iter().filter(|(name, _)| *name != RETRY_COUNT));
            },
        };
        self.event(recognised, said, body.clone())
    }

    /// The events of JSON: an array or one object, each element its own event. An array of more
    /// elements than can be CloudEvents is kept whole: one request must not fill the queue of all
    /// others, nor be refused for ever since it does.
    fn elements(&self, body: &Bytes) -> Vec<Event> {
        let elements: Option<Vec<&RawValue>> = serde_json::from_slice(body)
            .or_else(|_| serde_json::from_slice::<&RawValue>(body).map(|one| vec![one]))
            .ok();
        match elements {
            Some(elements) if (1..=MAX_ELEMENTS).contains(&elements.len()) => {
                let part = |element: &RawValue| body.slice_ref(element.get().as_bytes());
                elements.into_iter().map(|element| self.element(part(element))).collect()
            }
            _ => vec![self.element(body.clone())],
        }
    }

    fn element(&self, element: Bytes) -> Event {
        let value = json::read(&element).unwrap_or_default();
        let recognised = event_stream::recognise(&value)
            .unwrap_or_else(|| kind::of_element(&Fields::Json(&value)));
        let signer = self.signer;
        let mut accounts = event_stream::accounts(&value);
        let said = Said {
            account: accounts.find(|sid| sid != signer.sid()),
            token: self.arrival.token,
            hash: |hash: &mut ContentHash| match &value {
                // Sorted, so that it does not matter who wrote it in which order.
                Value::Object(_) => hash.piece(value.to_string().as_bytes()),
                _ => hash.piece(&element),
            },
        };
        self.event(recognised, said, element.clone())
    }

    fn event(
        &self,
        recognised: Recognised,
        said: Said<'_, impl Fn(&mut ContentHash)>,
        body: Bytes,
    ) -> Event {
        let Recognised { identity, kind, sid, resource, status, sequence, occurred_at } =
            recognised;
        let (account, about_account) = self.accounts(said.account.clone());
        let key = self.key(identity, kind.as_str(), &account, &said);
        let mut event = Event {
            about_account,
            sid,
            resource,
            status,
            sequence,
            occurred_at,
            received_at: self.arrival.at,
            format: self.format,
            query: self.query.to_owned(),
            body,
            fingerprint: Some(self.fingerprint(&said)),
            request: Some(Request {
                method: self.method,
                route: self.arrival.route,
                idempotency_token: self.arrival.token.map(str::to_owned),
            }),
            ..Event::new(key, kind, &account)
        };
        if event.about_account.is_some() {
            // No secret vouches for that account: history only.
            event.resource = None;
        }
        event.attempt = self.attempt(&event);
        event.callee = event.attempt.and_then(|_| callee(&event));
        self.privacy.apply(&mut event);
        event
    }

    /// The attempt that the callback URL names, which must be read before the event is treated. A callback without a
    /// query, as most are, costs nothing.
    fn attempt(&self, event: &Event) -> Option<AttemptId> {
        let may_have_one = match self.arrival.route {
            Route::Status => matches!(event.kind, Kind::Call | Kind::Message | Kind::Amd),
            Route::VoiceConfirm => event.kind == Kind::TwimlRequest,
            _ => false,
        };
        let query = match self.method {
            Method::Get => &event.body[..],
            Method::Post => event.query.as_bytes(),
        };
        if !may_have_one || memchr::memmem::find(query, ATTEMPT_PARAMETER.as_bytes()).is_none() {
            return None;
        }
        AttemptId::parse(&Params::parse(query).get(ATTEMPT_PARAMETER)?)
    }

    /// The account of the event, and the other account that it is about, given the one that it names.
    fn accounts(&self, named: Option<String>) -> (String, Option<String>) {
        let signer = self.signer.sid();
        match named {
            Some(named) if self.signer.speaks_for(&named) => (named, None),
            Some(named) => (signer.to_owned(), Some(named)),
            None => (signer.to_owned(), None),
        }
    }

    fn key(
        &self,
        identity: Identity,
        kind: &str,
        account: &str,
        said: &Said<'_, impl Fn(&mut ContentHash)>,
    ) -> EventKey {
        let content = || {
            let mut hash = ContentHash::new(self.privacy.identity());
            hash.piece(account.as_bytes());
            hash.piece(self.arrival.route.as_str().as_bytes());
            self.hash_query(&mut hash);
            (said.hash)(&mut hash);
            hash.piece(said.token.unwrap_or_default().as_bytes());
            crate::event::key::hex(&hash.finish())
        };
        let key = match &identity {
            Identity::Key(key) => Some(key.clone()),
            Identity::Content => EventKey::of(&[kind, &content()]),
            Identity::ContentOf(sid, status) => EventKey::of(&[sid, &content(), status]),
        };
        key.expect("kinds, words and hexadecimal digits are printable, and short enough together")
    }

    /// What it says, whichever kind it is, and however often Twilio tried.
    fn fingerprint(&self, said: &Said<'_, impl Fn(&mut ContentHash)>) -> Fingerprint {
        let mut hash = ContentHash::new(self.privacy.identity());
        self.hash_query(&mut hash);
        (said.hash)(&mut hash);
        Fingerprint::of(&hash.finish())
    }

    /// The query by its meaning, without what is about the body of the whole request.
    fn hash_query(&self, hash: &mut ContentHash) {
        let query = Params::parse(self.query.as_bytes());
        let pairs = query.signed_pairs();
        hash.pairs(pairs.into_iter().filter(|(name, _)| *name != BODY_HASH.as_bytes()));
    }
}

/// What one event of a request says.
struct Said<'r, H> {
    /// The account that it names.
    account: Option<String>,
    /// The idempotency token, unless a count of tries takes its place.
    token: Option<&'r str>,
    /// Feeds its parameters to a hash.
    hash: H,
}

#[cfg(test)]
mod tests;
