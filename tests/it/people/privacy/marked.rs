//! Callbacks of every kind that are full of what people own, each value of it such that it is found
//! wherever it turns up.

use memchr::memmem;
use offhook::lab::email::EmailKey;
use offhook::sendgrid::signature as sendgrid;
use offhook::twilio::signature::{SIGNATURE_HEADER, body_hash};
use tempfile::TempDir;

use crate::harness::{ACCOUNT, Callback, Settings, Signature};

/// The digits of somebody's number.
pub(crate) const NUMBER: &str = "5550177321";
/// What is sought.
const OWNED: [&str; 5] = [NUMBER, "Quillonia", "Zarvonville", "Thornbridgewords", "9081726354"];

/// What is on its way, and what must not be found.
pub(crate) struct Marked {
    pub(crate) accepted: Vec<Callback>,
    /// Values, and bare hashes of bodies, by which a value could be found out.
    pub(crate) owned: Vec<String>,
    /// What signs email events, and a configuration that accepts it.
    key: EmailKey,
    home: TempDir,
}

impl Marked {
    pub(crate) fn new() -> Self {
        let key = EmailKey::default();
        let home = tempfile::tempdir().expect("a temporary directory");
        let mut accepted = accepted();
        accepted.push(Callback::email(&key, email_event()));
        // Of what has no identity of its own, and of JSON, which comes with one.
        let hashes = accepted.iter().map(|callback| body_hash(callback.body()));
        let owned = OWNED.map(str::to_owned).into_iter().chain(hashes).collect();
        Self { accepted, owned, key, home }
    }

    /// The settings of a deployment that accepts email events, too.
    pub(crate) fn configure(&self, settings: &Settings) -> Settings {
        let file = self.home.path().join("offhook.toml");
        let text = format!("[sendgrid]\nverification_keys = [{:?}]\n", self.key.public());
        std::fs::write(&file, text).expect("the directory is ours");
        settings.clone().set("OFFHOOK_CONFIG", file.display().to_string())
    }

    /// The values by themselves.
    pub(crate) fn values() -> Self {
        Self { owned: OWNED.map(str::to_owned).into(), ..Self::new() }
    }

    /// The first of them with another status.
    pub(crate) fn another(&self) -> Callback {
        let body = String::from_utf8_lossy(self.accepted[0].body());
        self.accepted[0].clone().with_body(body.replace("ringing", "busy").into())
    }

    /// Those that are somewhere in there.
    pub(crate) fn found_in(&self, bytes: &[u8]) -> Vec<&str> {
        let owned = self.owned.iter().map(String::as_str);
        owned.filter(|value| memmem::find(bytes, value.as_bytes()).is_some()).collect()
    }

    /// Whether all values are in there, so that one who looks for them can find them.
    pub(crate) fn all_in(&self, bytes: &[u8]) -> bool {
        let found = self.found_in(bytes);
        OWNED.iter().all(|value| found.contains(value))
    }

    /// The first of them, in every way that is refused.
    pub(crate) fn refused(&self) -> Vec<Callback> {
        let call = || self.accepted[0].clone();
        let json = || Callback::json(format!(r#"{{"From":"+1{NUMBER}"}}"#));
        let stranger = String::from_utf8_lossy(call().body()).replace(ACCOUNT, "AC9");
        vec![
            call().signed(Signature::Missing),
            call().signed(Signature::Text("?")),
            call().signed(Signature::Token("another")),
            Callback::form(stranger),
            call().with_method(reqwest::Method::DELETE),
            call().with_content_type(Some("text/plain")),
            call().to("/nowhere"),
            Callback::form([call().body(), &[b'x'; 65_536]].concat()),
            json().with_query(&format!("To=%2B1{NUMBER}")),
            json().with_query(&format!("bodySHA256=0&To=%2B1{NUMBER}&Quillonia")),
            Callback::get(format!("CallSid=CA1&AccountSid={ACCOUNT}&From=%2B1{NUMBER}"))
                .signed(Signature::Token("another")),
            Callback::email(&EmailKey::default(), email_event()),
            Callback::email(&self.key, email_event()).signed(Signature::Missing),
        ]
    }
}

/// Every signature that is sent: a log must not have them.
pub(crate) fn signatures<'c>(callbacks: impl IntoIterator<Item = &'c Callback>) -> Vec<String> {
    let headers = callbacks.into_iter().flat_map(Callback::headers);
    let names = [SIGNATURE_HEADER, sendgrid::SIGNATURE_HEADER];
    let signatures = headers.filter(|(name, text)| names.contains(name) && text.len() > 8);
    signatures.map(|(_, text)| text).collect()
}

/// The sid of the first call.
pub(crate) const CALL: &str = "CA00000000000000000000000000000077";

/// An email that its recipient's server has returned: one event, as an object without an array.
fn email_event() -> String {
    format!(
        r#"{{"event":"bounce","email":"{NUMBER}@Quillonia.example","sg_event_id":"EV1","sg_message_id":"ML1.recvd-1",
        "timestamp":1764000000,"type":"bounce","status":"5.1.1","ip":"{NUMBER}","username":"Quillonia",
        "reason":"550 5.1.1 <{NUMBER}@Quillonia.example> of Zarvonville","response":"Thornbridgewords",
        "subject":"Thornbridgewords","url":"https://shop.example/{NUMBER}","useragent":"Zarvonville/9081726354"}}"#
    )
}

fn accepted() -> Vec<Callback> {
    let from = format!("AccountSid={ACCOUNT}&From=%2B1{NUMBER}&To=%2B1{NUMBER}");
    let people = "CallerName=Quillonia&FromCity=Zarvonville";
    let said = "SpeechResult=Thornbridgewords&Digits=9081726354";
    let nested = format!(
        "%7B%22webhook%22%3A%7B%22request%22%3A%7B%22parameters%22%3A%7B%22From%22%3A%22%2B1{NUMBER}\
         %22%2C%22Body%22%3A%22Thornbridgewords%22%2C%22ProfileName%22%3A%22Quillonia%22%7D%7D%7D%2C\
         %22msg%22%3A%22no+route+to+%2B1{NUMBER}%22%7D"
    );
    let call = format!(
        "CallSid={CALL}&CallStatus=ringing&CallbackSource=call-progress-events&SequenceNumber=1&{from}&{people}&{said}"
    );
    let fallback = format!(
        "CallSid={CALL}&CallStatus=in-progress&CallbackSource=call-progress-events&{from}&{people}&{said}&ErrorCode=11200\
         &ErrorUrl=https%3A%2F%2Fh.example%2F%3FFrom%3D%252B1{NUMBER}"
    );
    vec![
        Callback::form(call.clone())
            .with_query(&format!("to=%2B1{NUMBER}&caller-name=Quillonia&order=7")),
        Callback::get(call.replace("ringing", "completed")),
        Callback::form(format!(
            "MessageSid=SM1&MessageStatus=sent&AccountSid={ACCOUNT}&To=whatsapp%3A%2B1{NUMBER}\
             &WaId=1{NUMBER}&ProfileName=Quillonia&Body=Thornbridgewords&{people}"
        )),
        Callback::form(format!(
            "TranscriptionSid=GT1&TranscriptionEvent=transcription-content&SequenceId=1&{from}\
             &TranscriptionData=%7B%22transcript%22%3A%22Thornbridgewords%22%7D"
        )),
        Callback::form(format!("Sid=NO1&Level=ERROR&AccountSid={ACCOUNT}&Payload={nested}"))
            .to("/debugger"),
        Callback::form(format!("FaxSid=FX1&New=%2B1{NUMBER}&{from}&{people}&{said}")),
        Callback::form(fallback.clone()).to("/voice-fallback"),
        Callback::form(fallback).to("/sms-fallback").with_token("a-token"),
        Callback::json(format!(
            r#"[{{"id":"EZ1","type":"com.twilio.messaging.message.sent","data":{{"messageSid":"SM2",
            "from":"+1{NUMBER}","to":["+1{NUMBER}"],"body":"Thornbridgewords"}}}},
            {{"id":"EZ2","type":"com.twilio.new","data":{{"deep":[{{"caller_name":"Quillonia",
            "from_city":"Zarvonville","digits":9081726354,"new":"+1{NUMBER}"}}]}}}}]"#
        )),
        Callback::json(format!(r#"{{"to":"+1{NUMBER}"}}"#)),
        Callback::json(format!("no JSON of +1{NUMBER} Quillonia Thornbridgewords")),
    ]
}
