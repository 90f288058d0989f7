//! A signed request becomes events: one for each element of its array, each with a copy of its own bytes.
//!
//! An element that is not an event is kept as it is, under a hash of its content, and costs its neighbours nothing.
//! SendGrid tries for 24 hours, and reports some events several times: their identity is their `sg_event_id`, so that a
//! request that is sent again, by SendGrid or by someone who has recorded it, changes nothing, however old its timestamp is.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::Value;
use serde_json::value::RawValue;

use super::kind::{self, LIFECYCLE};
use super::signature::Signed;
use crate::clock::Timestamp;
use crate::event::key::{ContentHash, hex};
use crate::event::{Event, EventKey, Fingerprint, Format, Kind, Method, Request, Resource, Route};
use crate::twilio::consent::Listening;
use crate::twilio::json;
use crate::twilio::privacy::Privacy;

/// What the events of SendGrid have as their account: no event says which account it is of.
pub const ACCOUNT: &str = "sendgrid";

/// Most events of one request. SendGrid's have 300 bytes or more, so that a body of 1 MiB has some 3,000.
pub const MOST: usize = 8192;

/// What is done to the events of a request.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'r> {
    /// When the request was received.
    pub at: Timestamp,
    /// What may be kept of them.
    pub privacy: &'r Privacy,
    /// Whether what they say about reaching a recipient is heeded.
    pub listening: &'r Listening,
}

/// The elements of a request, or its whole body in one piece if it is not an array of as many as can be events.
#[derive(Debug)]
pub struct Elements(Vec<Bytes>);

impl Elements {
    /// Splits the body of a signed request.
    #[must_use]
    pub fn of(signed: &Signed<'_>) -> Self {
        let body = signed.body();
        let whole = || Self(vec![body.clone()]);
        if body.iter().all(u8::is_ascii_whitespace) {
            return whole();
        }
        // One character that cannot be read must not cost the elements beside it.
        let readable = match std::str::from_utf8(body) {
            Ok(text) if split(text).is_some() => Cow::Borrowed(text),
            _ => Cow::Owned(json::readable(body)),
        };
        match split(&readable) {
            Some(parts) if parts.len() <= MOST => {
                let own = |part: &&RawValue| Bytes::copy_from_slice(part.get().as_bytes());
                Self(parts.iter().map(own).collect())
            }
            _ => whole(),
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the array is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each of them, in their order.
    #[must_use]
    pub fn parts(&self) -> &[Bytes] {
        &self.0
    }
}

/// The elements of an array, or one object.
fn split(text: &str) -> Option<Vec<&RawValue>> {
    let one = || serde_json::from_str::<&RawValue>(text).map(|one| vec![one]);
    serde_json::from_str(text).or_else(|_| one()).ok()
}

impl Reader<'_> {
    /// The event of an element.
    #[must_use]
    pub fn event(&self, element: &Bytes) -> Event {
        let object = json::read(element).unwrap_or_default();
        let recognised = kind::recognise(&object, self.privacy);
        let kind = if recognised.is_some() { Kind::Email } else { Kind::Other };
        let content = || {
            let mut hash = ContentHash::new(self.privacy.identity());
            match &object {
                // Sorted, so that it does not matter who wrote it in which order.
                Value::Object(_) => hash.piece(object.to_string().as_bytes()),
                _ => hash.piece(element),
            }
            hash.finish()
        };
        let hash = content();
        let named = recognised.as_ref().and_then(|it| it.key.clone());
        let key = named.or_else(|| EventKey::of(&[kind.as_str(), &hex(&hash)]));
        let key =
            key.expect("a kind and hexadecimal digits are printable, and short enough together");
        let mut event = Event {
            received_at: self.at,
            format: Format::Json,
            body: element.clone(),
            fingerprint: Some(Fingerprint::of(&hash)),
            request: Some(Request {
                method: Method::Post,
                route: Route::EmailEvents,
                idempotency_token: None,
            }),
            ..Event::new(key, kind, ACCOUNT)
        };
        if let Some(it) = recognised {
            event.resource =
                it.sid.as_ref().filter(|_| LIFECYCLE.knows(&it.event)).map(|_| Resource::Email);
            event.sid = it.sid;
            event.status = Some(it.event);
            event.occurred_at = it.occurred_at;
            event.attempt = it.attempt;
            event.consent =
                it.consent.and_then(|(wish, by, to)| self.listening.of_mailbox(wish, by, to));
        }
        self.privacy.apply(&mut event);
        event
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(body: &str) -> Elements {
        Elements::of(&Signed::of_test(body.as_bytes()))
    }

    fn events(body: &str) -> Vec<Event> {
        let (privacy, listening) = (Privacy::default(), Listening::Plain);
        let at = Timestamp::from_micros(1);
        let reader = Reader { at, privacy: &privacy, listening: &listening };
        signed(body).parts().iter().map(|element| reader.event(element)).collect()
    }

    #[test]
    fn an_element_that_is_no_event_is_kept_and_costs_its_neighbours_nothing() {
        let delivered = r#"{"event":"delivered","email":"ana@h.example","sg_message_id":"M1.recvd-1","sg_event_id":"e1","timestamp":1600112492}"#;
        let bad = [
            "null",
            "1e999",
            "\"\\ud800\"",
            "[[{}]]",
            "{\"event\":7}",
            "{\"event\":\"a b\"}",
            "{\"sg_event_id\":\"e1\"}",
            "\"\u{1}\"",
        ];
        for bad in bad {
            let found = events(&format!("[{delivered},{bad},{delivered}]"));
            let kinds: Vec<_> = found.iter().map(|event| event.kind).collect();
            assert_eq!(kinds, [Kind::Email, Kind::Other, Kind::Email], "{bad}");
            assert_eq!(found[0].id(), found[2].id());
            assert_eq!(found[0].status.as_deref(), Some("delivered"));
            assert_eq!(found[0].resource, Some(Resource::Email));
            assert_eq!(found[0].occurred_at.map(Timestamp::micros), Some(1_600_112_492_000_000));
            assert_eq!((found[1].sid.as_ref(), &*found[1].account), (None, ACCOUNT));
        }
        let found = events(delivered);
        assert_eq!((found.len(), found[0].kind), (1, Kind::Email), "one object");
        assert!(events("[]").is_empty() && events(" [ ] ").is_empty());
        for whole in ["", " ", "nope", "[{}", "7"] {
            let found = events(whole);
            assert_eq!((found.len(), found[0].kind), (1, Kind::Other), "{whole}");
            assert_eq!(found[0].body, whole);
        }
        let many = format!("[{}]", vec!["1"; MOST + 1].join(","));
        assert_eq!(events(&many).len(), 1);
    }

    #[test]
    fn an_event_is_known_by_its_id_and_without_one_by_its_content() {
        let open = |id: &str, at: i64| {
            format!(r#"{{"event":"open","sg_message_id":"M1","timestamp":{at}{id}}}"#)
        };
        let key = |text: String| events(&text)[0].key.clone();
        let named = key(open(r#","sg_event_id":"e1""#, 1));
        assert_eq!(named.as_str(), "M1-open-e1");
        assert_eq!(named, key(open(r#","sg_event_id":"e1""#, 2)));
        assert_eq!(key(open("", 1)), key(open("", 1)));
        assert_ne!(key(open("", 1)), key(open("", 2)));
        let long = format!(r#","sg_event_id":"{}""#, "x".repeat(300));
        assert!(key(open(&long, 1)).as_str().starts_with("email-"));
        let found = &events(&open(r#","sg_event_id":"e1""#, 1))[0];
        assert_eq!((found.resource, found.status.as_deref()), (None, Some("open")));
    }

    #[test]
    fn what_a_recipient_says_travels_with_the_event() {
        let consent = |event: &str| {
            let text = format!(
                r#"[{{"event":"{event}","email":" Ana@H.example","type":"bounce","status":"5.1.1"}}]"#
            );
            events(&text)[0].consent.as_ref().map(ToString::to_string)
        };
        let check = |event: &str, expected: &str| {
            assert_eq!(consent(event).as_deref(), Some(expected));
        };
        check("spamreport", "stop spamreport email ana@h.example");
        check("group_resubscribe", "start unsubscribe email ana@h.example");
        check("bounce", "stop bounce email ana@h.example");
        assert_eq!(consent("open"), None);
    }
}
