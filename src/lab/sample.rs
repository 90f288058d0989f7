//! [`Callback`]: what Twilio would send, to try a deployment out with: `send`, the demo and the
//! benchmarks sign these as Twilio signs its own.
//!
//! The fields are those of Twilio's documentation, about 20 per callback; the numbers are of the
//! range that is reserved for fiction.

use bytes::Bytes;
use rand::{Rng, RngExt as _};
use serde_json::{Value, json};

use crate::clock::Timestamp;
use crate::event::Kind;
use crate::twilio::keyring::Secret;
use crate::twilio::signature::{BODY_HASH, Content, body_hash, sign};

/// A new SID: two letters and 32 hexadecimal digits.
pub fn sid(prefix: &str, rng: &mut impl Rng) -> String {
    format!("{prefix}{:032x}", rng.random::<u128>())
}

/// A phone number of the range for fiction, `+1 555 01xx`, with an area code.
pub fn number(rng: &mut impl Rng) -> String {
    format!("+1{}55501{:02}", rng.random_range(201..=989), rng.random_range(0..100))
}

/// What the callbacks of one call or message have in common: from, to and when.
#[derive(Clone, Debug)]
pub struct Parties {
    /// `AC…`.
    pub account: String,
    /// Who calls or writes.
    pub from: String,
    /// Who is called or written to.
    pub to: String,
    /// Twilio's time.
    pub at: Timestamp,
}

/// What Twilio would send, not yet signed.
#[derive(Clone, PartialEq, Debug)]
pub enum Callback {
    /// The parameters, in order.
    Form(Vec<(String, String)>),
    /// A JSON body.
    Json(Value),
}

/// A request as it goes over the wire.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signed {
    /// The URL to request; of JSON with `bodySHA256`, of a GET with the parameters.
    pub url: String,
    /// Where the parameters are: by that the method and the content type.
    pub content: Content,
    /// Empty for a GET.
    pub body: Bytes,
    /// The value of `X-Twilio-Signature`.
    pub signature: String,
}

impl Signed {
    /// The content type of the body; `None` for a GET.
    #[must_use]
    pub fn content_type(&self) -> Option<&'static str> {
        match self.content {
            Content::Query => None,
            Content::Form => Some("application/x-www-form-urlencoded; charset=UTF-8"),
            Content::Json => Some("application/json"),
        }
    }
}

impl Callback {
    /// Sets parameters: those of a name take the place of all that had it before. JSON has none,
    /// and stays as it is.
    #[must_use]
    pub fn with(mut self, pairs: &[(String, String)]) -> Self {
        if let Self::Form(params) = &mut self {
            params.retain(|(name, _)| pairs.iter().all(|(new, _)| new != name));
            params.extend(pairs.iter().cloned());
        }
        self
    }

    /// The body of a POST.
    #[must_use]
    pub fn body(&self) -> Bytes {
        match self {
            Self::Form(params) => encode(params).into(),
            Self::Json(json) => json.to_string().into(),
        }
    }

    /// Signed as Twilio signs a POST to `url`, of which a fragment is not sent.
    #[must_use]
    pub fn post(&self, url: &str, secret: &Secret) -> Signed {
        let url = url.split('#').next().unwrap_or(url);
        let body = self.body();
        let (url, content) = match self {
            Self::Form(_) => (url.to_owned(), Content::Form),
            Self::Json(_) => {
                (append(url, &format!("{BODY_HASH}={}", body_hash(&body))), Content::Json)
            }
        };
        Signed { signature: sign(secret, &url, content, &body), url, content, body }
    }

    /// Signed as Twilio signs a GET of `url`, which carries the parameters.
    #[must_use]
    pub fn get(&self, url: &str, secret: &Secret) -> Signed {
        let url = url.split('#').next().unwrap_or(url);
        let url = match self {
            Self::Form(params) => append(url, &encode(params)),
            Self::Json(_) => url.to_owned(),
        };
        let (content, body) = (Content::Query, Bytes::new());
        Signed { signature: sign(secret, &url, content, &body), url, content, body }
    }
}

fn encode(params: &[(String, String)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(params).finish()
}

fn append(url: &str, query: &str) -> String {
    let mark = if url.contains('?') { '&' } else { '?' };
    format!("{url}{mark}{query}")
}

/// The prefix of the SIDs that events of this kind are about.
#[must_use]
pub fn sid_prefix(kind: Kind) -> &'static str {
    match kind {
        Kind::Call | Kind::Amd | Kind::TwimlRequest | Kind::Fallback => "CA",
        Kind::Message | Kind::IncomingMessage => "SM",
        Kind::Recording => "RE",
        Kind::Conference => "CF",
        Kind::Transcription => "GT",
        Kind::Debugger => "NO",
        Kind::EventStream | Kind::Other => "EZ",
        Kind::Email => "EM",
    }
}

/// The default status of an event of this kind.
#[must_use]
pub fn usual_status(kind: Kind) -> &'static str {
    match kind {
        Kind::Call | Kind::Recording => "completed",
        Kind::Message | Kind::Email => "delivered",
        Kind::Conference => "participant-join",
        Kind::Amd => "human",
        Kind::Transcription => "transcription-content",
        Kind::Debugger => "ERROR",
        Kind::EventStream => "delivered",
        Kind::TwimlRequest => "in-progress",
        Kind::IncomingMessage => "received",
        Kind::Fallback => "ringing",
        Kind::Other => "unknown",
    }
}

/// A callback of this kind about this SID; `sequence` counts those of one SID.
#[must_use]
pub fn of_kind(kind: Kind, parties: &Parties, sid: &str, status: &str, sequence: u32) -> Callback {
    match kind {
        Kind::Call => call(parties, sid, status, sequence),
        Kind::Message => message(parties, sid, status),
        Kind::Recording => recording(parties, &related("CA", sid), sid, status),
        Kind::Conference => conference(parties, sid, status, sequence),
        Kind::Amd => amd(parties, sid, status),
        Kind::Transcription => transcription(parties, &related("CA", sid), sid, status, sequence),
        Kind::Debugger => debugger(parties, sid, status),
        Kind::EventStream => {
            Callback::Json(json!([message_event(parties, sid, &related("SM", sid), status)]))
        }
        Kind::Email => Callback::Json(json!([email_event(parties, sid, status, sequence)])),
        Kind::TwimlRequest => gather(parties, sid, status),
        Kind::IncomingMessage => incoming_message(parties, sid, "Hello"),
        Kind::Fallback => fallback(parties, sid, status),
        Kind::Other => form(&[("AccountSid", &parties.account), ("Note", status)]),
    }
}

/// An event of an email to a made-up address, as SendGrid reports it.
#[must_use]
pub fn email_event(parties: &Parties, sid: &str, status: &str, sequence: u32) -> Value {
    let mut event = json!({
        "email": format!("{}@mail.example", parties.to.trim_start_matches('+')),
        "event": status,
        "sg_event_id": format!("{sid}-{sequence}"),
        "sg_message_id": format!("{sid}.recvd-1-0"),
        "smtp-id": format!("<{sid}@geopod-ismtpd-1>"),
        "timestamp": parties.at.micros() / 1_000_000,
    });
    if status == "bounce" {
        event["type"] = "bounce".into();
        event["status"] = "5.1.1".into();
        event["reason"] =
            "550 5.1.1 The email account that you tried to reach does not exist".into();
    }
    event
}

/// Another resource's SID that belongs with this one.
fn related(prefix: &str, sid: &str) -> String {
    format!("{prefix}{}", sid.get(2..).unwrap_or_default())
}

/// A call's status callback.
#[must_use]
pub fn call(parties: &Parties, sid: &str, status: &str, sequence: u32) -> Callback {
    let (at, sequence) = (rfc2822(parties.at), sequence.to_string());
    let mut params = pairs(&[
        ("Called", &parties.to),
        ("ToState", "CA"),
        ("CallerCountry", "US"),
        ("Direction", "outbound-api"),
        ("Timestamp", &at),
        ("CallbackSource", "call-progress-events"),
        ("CallerState", "CA"),
        ("ToZip", "94105"),
        ("SequenceNumber", &sequence),
        ("To", &parties.to),
        ("CallSid", sid),
        ("ToCountry", "US"),
        ("CallerZip", "94105"),
        ("ApiVersion", "2010-04-01"),
        ("CallStatus", status),
        ("CalledCity", "SAN FRANCISCO"),
        ("From", &parties.from),
        ("AccountSid", &parties.account),
        ("FromCity", "SAN FRANCISCO"),
        ("FromCountry", "US"),
    ]);
    match status {
        "completed" => params.extend(pairs(&[
            ("CallDuration", "42"),
            ("Duration", "1"),
            ("SipResponseCode", "200"),
        ])),
        "busy" | "failed" | "no-answer" | "canceled" => params.extend(pairs(&[
            ("CallDuration", "0"),
            ("Duration", "0"),
            ("SipResponseCode", if status == "busy" { "486" } else { "487" }),
        ])),
        _ => {}
    }
    Callback::Form(params)
}

/// A message's status callback. `undelivered` and `failed` carry an error code.
#[must_use]
pub fn message(parties: &Parties, sid: &str, status: &str) -> Callback {
    let mut params = pairs(&[
        ("SmsSid", sid),
        ("SmsStatus", status),
        ("MessageStatus", status),
        ("To", &parties.to),
        ("MessageSid", sid),
        ("AccountSid", &parties.account),
        ("From", &parties.from),
        ("ApiVersion", "2010-04-01"),
    ]);
    if status == "delivered" {
        params.extend(pairs(&[("RawDlrDoneDate", &dlr(parties.at))]));
    }
    params.extend(message_error(status).map(|code| ("ErrorCode".to_owned(), code.to_owned())));
    Callback::Form(params)
}

/// The error code that [`message`] has with this status.
#[must_use]
pub fn message_error(status: &str) -> Option<&'static str> {
    match status {
        "undelivered" => Some("30003"),
        "failed" => Some("30007"),
        _ => None,
    }
}

/// A recording's status callback. It names the call, and no status of it.
#[must_use]
pub fn recording(parties: &Parties, call: &str, sid: &str, status: &str) -> Callback {
    let url =
        format!("https://api.twilio.com/2010-04-01/Accounts/{}/Recordings/{sid}", parties.account);
    form(&[
        ("RecordingSource", "RecordVerb"),
        ("RecordingSid", sid),
        ("RecordingUrl", &url),
        ("RecordingStatus", status),
        ("RecordingChannels", "1"),
        ("ErrorCode", "0"),
        ("CallSid", call),
        ("RecordingStartTime", &rfc2822(parties.at)),
        ("AccountSid", &parties.account),
        ("RecordingDuration", "40"),
    ])
}

/// Something happened in a conference.
#[must_use]
pub fn conference(parties: &Parties, sid: &str, event: &str, sequence: u32) -> Callback {
    form(&[
        ("ConferenceSid", sid),
        ("FriendlyName", "standup"),
        ("AccountSid", &parties.account),
        ("SequenceNumber", &sequence.to_string()),
        ("Timestamp", &rfc2822(parties.at)),
        ("StatusCallbackEvent", event),
        ("CallSid", &related("CA", sid)),
        ("Muted", "false"),
        ("Hold", "false"),
        ("Coaching", "false"),
        ("EndConferenceOnExit", "false"),
        ("StartConferenceOnEnter", "true"),
    ])
}

/// The result of asynchronous answering-machine detection. It names the call, and no status of it.
#[must_use]
pub fn amd(parties: &Parties, call: &str, answered_by: &str) -> Callback {
    form(&[
        ("CallSid", call),
        ("AccountSid", &parties.account),
        ("AnsweredBy", answered_by),
        ("MachineDetectionDuration", "2480"),
    ])
}

/// A piece or the state of a real-time transcription.
#[must_use]
pub fn transcription(
    parties: &Parties,
    call: &str,
    sid: &str,
    event: &str,
    sequence: u32,
) -> Callback {
    let data = json!({ "transcript": "to be or not to be", "confidence": 0.94 }).to_string();
    form(&[
        ("LanguageCode", "en-US"),
        ("TranscriptionSid", sid),
        ("TranscriptionEvent", event),
        ("CallSid", call),
        ("TranscriptionData", &data),
        ("Timestamp", &parties.at.to_string()),
        ("AccountSid", &parties.account),
        ("Track", "inbound_track"),
        ("Final", "true"),
        ("SequenceId", &sequence.to_string()),
    ])
}

/// A debugger event.
#[must_use]
pub fn debugger(parties: &Parties, sid: &str, level: &str) -> Callback {
    let payload =
        json!({ "error_code": "11200", "more_info": { "Msg": "HTTP retrieval failure" } });
    form(&[
        ("ParentAccountSid", ""),
        ("Payload", &payload.to_string()),
        ("Level", level),
        ("Timestamp", &parties.at.to_string()),
        ("PayloadType", "application/json"),
        ("AccountSid", &parties.account),
        ("Sid", sid),
    ])
}

/// A CloudEvent of Event Streams about a message, whose status is in upper case there. An element
/// of the array that is sent.
#[must_use]
pub fn message_event(parties: &Parties, id: &str, sid: &str, status: &str) -> Value {
    json!({
        "specversion": "1.0",
        "type": format!("com.twilio.messaging.message.{status}"),
        "source": format!("/{}/Messages/{sid}.json", parties.account),
        "id": id,
        "dataschema": "https://events-schemas.twilio.com/Messaging.MessageStatus/7",
        "datacontenttype": "application/json",
        "time": parties.at.to_string(),
        "data": {
            "messageSid": sid,
            "accountSid": parties.account,
            "messageStatus": status.to_ascii_uppercase(),
            "from": parties.from,
            "to": parties.to,
            "timestamp": parties.at.to_string(),
        },
    })
}

/// What the action URL of a `<Gather>` is asked: what to do about the digits that were pressed.
#[must_use]
pub fn gather(parties: &Parties, call: &str, status: &str) -> Callback {
    form(&[
        ("CallSid", call),
        ("CallStatus", status),
        ("AccountSid", &parties.account),
        ("From", &parties.from),
        ("To", &parties.to),
        ("Direction", "inbound"),
        ("ApiVersion", "2010-04-01"),
        ("Digits", "1"),
        ("FinishedOnKey", "#"),
        ("msg", "Gather End"),
    ])
}

/// What the URL of a number is asked when a message of this text has come in.
#[must_use]
pub fn incoming_message(parties: &Parties, sid: &str, text: &str) -> Callback {
    form(&[
        ("ToCountry", "US"),
        ("ToState", "CA"),
        ("SmsMessageSid", sid),
        ("NumMedia", "0"),
        ("SmsSid", sid),
        ("SmsStatus", "received"),
        ("Body", text),
        ("FromCountry", "US"),
        ("To", &parties.to),
        ("NumSegments", "1"),
        ("MessageSid", sid),
        ("AccountSid", &parties.account),
        ("From", &parties.from),
        ("ApiVersion", "2010-04-01"),
    ])
}

/// What a fallback URL is asked in the middle of a call.
#[must_use]
pub fn fallback(parties: &Parties, call: &str, status: &str) -> Callback {
    form(&[
        ("CallSid", call),
        ("CallStatus", status),
        ("AccountSid", &parties.account),
        ("From", &parties.from),
        ("To", &parties.to),
        ("Direction", "inbound"),
        ("ApiVersion", "2010-04-01"),
        ("ErrorCode", "11200"),
        ("ErrorUrl", "https://app.example.com/voice"),
    ])
}

fn form(params: &[(&str, &str)]) -> Callback {
    Callback::Form(pairs(params))
}

fn pairs(params: &[(&str, &str)]) -> Vec<(String, String)> {
    params.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// As Twilio writes a time.
pub(crate) fn rfc2822(at: Timestamp) -> String {
    use time::format_description::well_known::Rfc2822;
    at.datetime().format(&Rfc2822).expect("RFC 2822 can write the years 1900 to 9999")
}

/// `YYMMDDhhmm`.
fn dlr(at: Timestamp) -> String {
    let at = at.datetime();
    let (year, month) = (at.year() % 100, u8::from(at.month()));
    format!("{year:02}{month:02}{:02}{:02}{:02}", at.day(), at.hour(), at.minute())
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    use super::*;
    use crate::event::Route;
    use crate::twilio::callback::{Arrival, events, fallback_event};
    use crate::twilio::keyring::{Account, Keyring};
    use crate::twilio::privacy::Privacy;
    use crate::twilio::signature::{Claim, SignedRequest};

    fn parties() -> Parties {
        let at = Timestamp::from_micros(1_764_000_000_000_000);
        Parties {
            account: "AC1".into(),
            from: "+12015550100".into(),
            to: "+12015550101".into(),
            at,
        }
    }

    #[test]
    fn each_kind_is_signed_and_recognised_as_itself() {
        let token = "12345".into();
        let account = Account::new("AC1".into(), "main".into(), std::slice::from_ref(&token), &[]);
        let ring = Keyring::new(vec![account]).expect("has a token");
        let secret = Secret::auth_token(&token);
        let mut rng = StdRng::seed_from_u64(1);
        // SendGrid signs email events, and Twilio does not.
        for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Email) {
            let sid = sid(sid_prefix(kind), &mut rng);
            let callback = of_kind(kind, &parties(), &sid, usual_status(kind), 1);
            let post = callback.post("https://h.example/status?a=1#rc=5", &secret);
            let get = callback.get("https://h.example/status", &secret);
            for Signed { url, content, body, signature } in [post, get] {
                if matches!((&callback, content), (Callback::Json(_), Content::Query)) {
                    continue;
                }
                let claim = Claim::parse([signature.as_bytes()], None).expect("well-formed");
                let request = SignedRequest::new(&url, content, &body, claim).verify(&ring);
                let request = request.expect("signed");
                let arrival = |route| Arrival { route, token: None, at: parties().at };
                let seen = match kind {
                    Kind::Fallback => {
                        let arrival = arrival(Route::VoiceFallback);
                        vec![fallback_event(&request, arrival, &Privacy::default())]
                    }
                    _ => events(&request, arrival(Route::Status), &Privacy::default())
                        .expect("it names an account"),
                };
                let seen: Vec<Kind> = seen.iter().map(|event| event.kind).collect();
                assert_eq!(seen, [kind]);
            }
        }
    }

    #[test]
    fn a_parameter_takes_the_place_of_its_namesake_and_may_be_repeated() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let callback = Callback::Form(vec![pair("A", "1"), pair("B", "2")]);
        let callback = callback.with(&[pair("A", "3"), pair("A", "4")]);
        assert_eq!(callback.body(), "B=2&A=3&A=4");
    }

    #[test]
    fn sids_and_numbers_have_twilios_shape() {
        let mut rng = StdRng::seed_from_u64(2);
        assert_eq!(sid("CA", &mut rng).len(), 34);
        assert_eq!(number(&mut rng).len(), 12);
    }
}
