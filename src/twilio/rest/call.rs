//! [`NewCall`]: the form that creates a call, and [`Spoken`], the TwiML that it carries.

use std::fmt::Write as _;

use quick_xml::escape::escape;

use super::request::OVERRIDES;
use crate::event::AttemptId;
use crate::event::attempt::ATTEMPT_PARAMETER;

/// Most characters of the TwiML that a request can carry.
/// <https://www.twilio.com/docs/voice/api/call-resource#twiml>
pub const MOST_TWIML: usize = 4_000;

/// What is reported of a call. Twilio reports only `completed` unless asked for more.
const EVENTS: [&str; 4] = ["initiated", "ringing", "answered", "completed"];

/// How long a key is waited for once the text was said, in seconds.
const KEY_WITHIN_S: u32 = 10;

/// A text that is said to the callee.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Spoken<'a> {
    /// The text.
    pub text: &'a str,
    /// Its language, such as `en-GB`; `None` for Twilio's own choice.
    pub language: Option<&'a str>,
    /// The voice; `None` for Twilio's own choice.
    pub voice: Option<&'a str>,
}

impl Spoken<'_> {
    /// The TwiML that says it. With the URL of an action, a key that is pressed meanwhile, or shortly after, is sent there.
    #[must_use]
    pub fn twiml(&self, action: Option<&str>) -> String {
        let say = self.say();
        match action {
            None => format!("<Response>{say}</Response>"),
            Some(action) => format!(
                "<Response><Gather numDigits=\"1\" timeout=\"{KEY_WITHIN_S}\" action=\"{}\">{say}</Gather></Response>",
                escape(action)
            ),
        }
    }

    fn say(&self) -> String {
        let mut say = String::from("<Say");
        for (name, value) in [("language", self.language), ("voice", self.voice)] {
            if let Some(value) = value {
                let _ = write!(say, " {name}=\"{}\"", escape(value));
            }
        }
        // XML has no way to write most control characters, and a voice has no way to say them.
        let text: String = self.text.chars().map(|c| if is_in_xml(c) { c } else { ' ' }).collect();
        let _ = write!(say, ">{}</Say>", escape(text.as_str()));
        say
    }
}

/// Whether XML 1.0 can have it.
fn is_in_xml(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..)
}

/// A call to be created.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NewCall<'a> {
    /// The callee, in E.164.
    pub to: &'a str,
    /// The caller: a number of the account.
    pub from: &'a str,
    /// What is said; at most [`MOST_TWIML`] characters.
    pub twiml: &'a str,
    /// How long it rings, in seconds: 1 to 600.
    pub timeout_s: u32,
    /// How long it lasts at most, in seconds.
    pub time_limit_s: u32,
    /// Where Twilio reports its statuses: see [`status_callback`](super::status_callback).
    pub status_callback: &'a str,
    /// Whether Twilio finds out if a person has answered, before it says the text.
    pub detects_machines: bool,
}

impl NewCall<'_> {
    /// The body of the POST, `application/x-www-form-urlencoded`. It names no application: Twilio would then report no
    /// status.
    #[must_use]
    pub fn form(&self) -> String {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("To", self.to).append_pair("From", self.from);
        form.append_pair("Twiml", self.twiml);
        form.append_pair("Timeout", &self.timeout_s.to_string());
        form.append_pair("TimeLimit", &self.time_limit_s.to_string());
        form.append_pair("StatusCallback", self.status_callback);
        for event in EVENTS {
            form.append_pair("StatusCallbackEvent", event);
        }
        if self.detects_machines {
            form.append_pair("MachineDetection", "Enable");
        }
        form.finish()
    }
}

/// The form that ends a call that is queued or rings.
#[must_use]
pub fn cancel_form() -> &'static str {
    "Status=canceled"
}

/// The URL to which Twilio sends the key that a callee pressed, with the attempt in its query, which Twilio signs.
#[must_use]
pub fn voice_confirm(confirm_url: &str, attempt: AttemptId) -> String {
    format!("{confirm_url}?{ATTEMPT_PARAMETER}={attempt}#{OVERRIDES}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::twilio::twiml::{Medium, Twiml};

    fn check(spoken: Spoken<'_>, action: Option<&str>, expected: &str) {
        let twiml = spoken.twiml(action);
        assert_eq!(twiml, expected);
        Twiml::parse(&twiml, Medium::Voice).expect("Twilio can carry it out");
    }

    #[test]
    fn what_is_said_is_escaped_and_has_its_language_and_its_voice() {
        let spoken = Spoken { text: "Tea & <cake>", language: None, voice: None };
        check(spoken, None, "<Response><Say>Tea &amp; &lt;cake&gt;</Say></Response>");
        let spoken = Spoken {
            text: "Grüß Gott \u{1f600}\u{7}\u{0}\"'",
            language: Some("de-DE"),
            voice: Some("Polly.Vicki\"><Dial>"),
        };
        check(
            spoken,
            None,
            "<Response><Say language=\"de-DE\" voice=\"Polly.Vicki&quot;&gt;&lt;Dial&gt;\">\
             Grüß Gott \u{1f600}  &quot;&apos;</Say></Response>",
        );
    }

    #[test]
    fn a_key_is_sent_to_where_it_is_asked_for() {
        let spoken = Spoken { text: "Press 1", language: None, voice: None };
        let action = voice_confirm("https://h.example/x/voice-confirm", AttemptId::new(7));
        check(
            spoken,
            Some(&action),
            "<Response><Gather numDigits=\"1\" timeout=\"10\" action=\"https://h.example/x/voice-confirm\
             ?offhook_attempt=00000000000000000000000000000007#rc=5&amp;rp=all\"><Say>Press 1</Say></Gather></Response>",
        );
    }

    #[test]
    fn a_form_has_what_twilio_calls_it_and_every_event() {
        let call = NewCall {
            to: "+15550100",
            from: "+15550199",
            twiml: "<Response/>",
            timeout_s: 30,
            time_limit_s: 120,
            status_callback: "https://h.example/status",
            detects_machines: false,
        };
        let plain = "To=%2B15550100&From=%2B15550199&Twiml=%3CResponse%2F%3E&Timeout=30&TimeLimit=120\
                     &StatusCallback=https%3A%2F%2Fh.example%2Fstatus&StatusCallbackEvent=initiated\
                     &StatusCallbackEvent=ringing&StatusCallbackEvent=answered&StatusCallbackEvent=completed";
        assert_eq!(call.form(), plain);
        let detecting = NewCall { detects_machines: true, ..call };
        assert_eq!(detecting.form(), format!("{plain}&MachineDetection=Enable"));
    }
}
