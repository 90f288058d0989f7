//! [`RestAnswer`]: what a provider's REST API says of a message, a call or an email, as an event. It merges with those of
//! callbacks.

use form_urlencoded::Serializer;

use super::fields::{is_word, status_of};
use super::privacy::Privacy;
use crate::clock::Timestamp;
use crate::event::key::ContentHash;
use crate::event::{AttemptId, Event, EventKey, Fingerprint, Format, Kind, Resource};

/// The end of each key, which no callback's has: what is asked and what is reported are two facts.
const KEYS_END: &str = "rest";

/// Whether the event of this key is what the REST API said, and no callback.
#[must_use]
pub fn is_answer(key: &str) -> bool {
    key.rsplit('-').next() == Some(KEYS_END)
}

/// What the answer to a create or a fetch says of a message or a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RestAnswer<'a> {
    /// The account that was asked.
    pub account: &'a str,
    /// What it is: a message, a call or an email.
    pub resource: Resource,
    /// The message or the call.
    pub sid: &'a str,
    /// Its status.
    pub status: &'a str,
    /// What went wrong; 0 and none both say that nothing did.
    pub error_code: Option<u32>,
    /// The sender.
    pub from: Option<&'a str>,
    /// The recipient.
    pub to: Option<&'a str>,
    /// The attempt that made it.
    pub attempt: Option<AttemptId>,
}

impl RestAnswer<'_> {
    /// The event, `<SID>-<status>-rest` or `<SID>-<status>-<code>-rest`, of which as much is kept as `privacy` lets be
    /// kept. Twilio says no time of the status, so that the callback of the same status, which may, stands before it.
    /// `None` if its SID or its status cannot be one.
    #[must_use]
    pub fn event(&self, received_at: Timestamp, privacy: &Privacy) -> Option<Event> {
        let sid = is_word(self.sid).then_some(self.sid)?;
        let status = status_of(self.status)?;
        let code = self.error_code.filter(|code| *code != 0).map(|code| code.to_string());
        let mut parts = vec![sid, &status];
        parts.extend(code.as_deref());
        parts.push(KEYS_END);
        let key = EventKey::of(&parts)?;
        let (kind, format, said) = match self.resource {
            Resource::Message => (Kind::Message, Format::Form, self.form(sid, &status, &code)),
            Resource::Call => (Kind::Call, Format::Form, self.form(sid, &status, &code)),
            Resource::Email => (Kind::Email, Format::Json, self.object(sid, &status)),
            Resource::Recording | Resource::Conference | Resource::Transcription => return None,
        };
        let said: Vec<(&str, &str)> =
            said.iter().filter_map(|(name, value)| Some((*name, (*value)?))).collect();
        let mut hash = ContentHash::new(privacy.identity());
        hash.pairs(said.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
        let body = match format {
            Format::Form => Serializer::new(String::new()).extend_pairs(said).finish(),
            Format::Json => {
                let object = said.into_iter().map(|(name, value)| (name.to_owned(), value.into()));
                serde_json::Value::Object(object.collect()).to_string()
            }
        };
        let mut event = Event {
            sid: Some(sid.to_owned()),
            resource: Some(self.resource),
            status: Some(status.clone()),
            received_at,
            format,
            body: body.into(),
            fingerprint: Some(Fingerprint::of(&hash.finish())),
            attempt: self.attempt,
            ..Event::new(key, kind, self.account)
        };
        privacy.apply(&mut event);
        Some(event)
    }

    /// What a callback of a message or a call would say.
    fn form<'a>(&'a self, sid: &'a str, status: &'a str, code: &'a Option<String>) -> Said<'a> {
        let is_call = self.resource == Resource::Call;
        let [sid_name, status_name] = match is_call {
            true => ["CallSid", "CallStatus"],
            false => ["MessageSid", "MessageStatus"],
        };
        vec![
            ("AccountSid", Some(self.account)),
            (sid_name, Some(sid)),
            (status_name, Some(status)),
            // A call says which way it goes, and one that an API request has made goes out.
            ("Direction", is_call.then_some("outbound-api")),
            ("From", self.from),
            ("To", self.to),
            ("ErrorCode", code.as_deref()),
        ]
    }

    /// What an event of an email would say.
    fn object<'a>(&'a self, sid: &'a str, status: &'a str) -> Said<'a> {
        vec![("email", self.to), ("event", Some(status)), ("sg_message_id", Some(sid))]
    }
}

/// What is said, by name.
type Said<'a> = Vec<(&'static str, Option<&'a str>)>;

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;
    use crate::twilio::details::EventDetails;
    use crate::twilio::privacy::{Treatment, Treatments};

    const ANSWER: RestAnswer<'_> = RestAnswer {
        account: "AC1",
        resource: Resource::Message,
        sid: "SM1",
        status: "queued",
        error_code: None,
        from: Some("whatsapp:+15550001111"),
        to: Some("+15550002222"),
        attempt: Some(AttemptId::new(7)),
    };

    fn at() -> Timestamp {
        Timestamp::from_micros(1_700_000_000_000_000)
    }

    fn event(answer: RestAnswer<'_>) -> Event {
        answer.event(at(), &Privacy::default()).expect("it can be one")
    }

    #[test]
    fn it_moves_the_status_as_a_callback_does() {
        let event = event(ANSWER);
        assert_eq!((event.key.as_str(), event.attempt), ("SM1-queued-rest", ANSWER.attempt));
        assert!(is_answer(event.key.as_str()));
        assert!(!is_answer("SM1-queued"));
        let row = EventDetails::of(&event).current.expect("it has a status");
        assert_eq!((&*row.sid, &*row.account, &*row.position.status), ("SM1", "AC1", "queued"));
        assert_eq!(row.from.as_deref(), ANSWER.from);
        assert_eq!(row.to.as_deref(), ANSWER.to);
        assert_eq!(row.direction.as_deref(), Some("outbound"));
        let delivered = event_details("delivered");
        let merged = row.clone().merge(delivered.clone());
        assert_eq!(merged.position.status, "delivered");
        assert_eq!(merged, delivered.merge(row));
    }

    fn event_details(status: &str) -> crate::event::CurrentStatus {
        let event = event(RestAnswer { status, ..ANSWER });
        EventDetails::of(&event).current.expect("it has a status")
    }

    #[test]
    fn an_email_is_one_and_its_events_stand_before_it() {
        let answer = RestAnswer {
            account: "sendgrid",
            resource: Resource::Email,
            sid: "14c5d75ce93_dfd-64b469",
            status: "accepted",
            from: Some("shop@example.com"),
            to: Some("ana@example.com"),
            ..ANSWER
        };
        let event = event(answer);
        assert_eq!((event.kind, event.attempt), (Kind::Email, ANSWER.attempt));
        assert_eq!(event.key.as_str(), "14c5d75ce93_dfd-64b469-accepted-rest");
        let row = EventDetails::of(&event).current.expect("it has a status");
        assert_eq!(
            (&*row.sid, &*row.account, &*row.position.status),
            (answer.sid, "sendgrid", "accepted")
        );
        assert_eq!(row.to.as_deref(), answer.to);
        assert!(Resource::Email.rank("accepted") < Resource::Email.rank("processed"));
    }

    #[test]
    fn a_call_is_one_and_goes_out() {
        let event = event(RestAnswer { resource: Resource::Call, sid: "CA1", ..ANSWER });
        assert_eq!((event.key.as_str(), event.kind), ("CA1-queued-rest", Kind::Call));
        let row = EventDetails::of(&event).current.expect("it has a status");
        assert_eq!(
            (row.resource, row.direction.as_deref()),
            (Resource::Call, Some("outbound-api"))
        );
    }

    #[test]
    fn another_error_code_is_another_fact_and_zero_is_none() {
        let key = |error_code| event(RestAnswer { error_code, status: "failed", ..ANSWER }).key;
        assert_eq!(key(Some(30007)).as_str(), "SM1-failed-30007-rest");
        assert_eq!(key(Some(0)), key(None));
        let failed = event(RestAnswer { error_code: Some(30007), ..ANSWER });
        assert_eq!(EventDetails::of(&failed).error_code.as_deref(), Some("30007"));
    }

    #[test]
    fn what_cannot_be_a_key_is_no_event() {
        for wrong in ["", "SM 1", "SM1\n", "ä"] {
            assert!(RestAnswer { sid: wrong, ..ANSWER }.event(at(), &Privacy::default()).is_none());
            let answer = RestAnswer { status: wrong, ..ANSWER };
            assert!(answer.event(at(), &Privacy::default()).is_none());
        }
    }

    #[test]
    fn numbers_are_treated_and_the_attempt_stays() {
        let treatments = Treatments { numbers: Treatment::Hash, ..Treatments::default() };
        let key = SecretString::from("k".repeat(Privacy::SHORTEST_KEY));
        let privacy = Privacy::new(treatments, [], Some(&key)).expect("a key");
        let event = ANSWER.event(at(), &privacy).expect("it can be one");
        let body = String::from_utf8_lossy(&event.body).into_owned();
        assert!(!body.contains("1555") && body.contains("hash"), "{body}");
        assert_eq!(event.attempt, ANSWER.attempt);
        assert_ne!(event.fingerprint, self::event(ANSWER).fingerprint);
    }
}
