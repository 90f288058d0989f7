//! [`Incoming`]: which URLs Twilio requests when a call or a message comes in, as a number or a Messaging Service is
//! configured, and the form that changes them.

use serde_json::Value;

use super::message::{is_sid, text};
use super::{Answer, ReadAnswer, path};
use crate::clock::Timestamp;
use crate::labels::labels;

labels! {
    /// What receives.
    pub enum What {
        /// A number.
        Number = "number",
        /// A Messaging Service.
        MessagingService = "messaging_service",
    }
}

labels! {
    /// A URL that Twilio requests, by the name of its field.
    pub enum Field {
        /// What a call is told to do.
        VoiceUrl = "voice_url",
        /// The same, if `voice_url` has failed.
        VoiceFallbackUrl = "voice_fallback_url",
        /// What is done about a message to a number.
        SmsUrl = "sms_url",
        /// The same, if `sms_url` has failed.
        SmsFallbackUrl = "sms_fallback_url",
        /// Where statuses are reported.
        StatusCallback = "status_callback",
        /// What is done about a message to a Messaging Service.
        InboundRequestUrl = "inbound_request_url",
        /// The same, if `inbound_request_url` has failed.
        FallbackUrl = "fallback_url",
    }
}

impl Field {
    /// The field of its HTTP method; a Messaging Service has none for its status callback.
    #[must_use]
    pub fn method(self, of: What) -> Option<&'static str> {
        match self {
            Self::VoiceUrl => Some("voice_method"),
            Self::VoiceFallbackUrl => Some("voice_fallback_method"),
            Self::SmsUrl => Some("sms_method"),
            Self::SmsFallbackUrl => Some("sms_fallback_method"),
            Self::StatusCallback => (of == What::Number).then_some("status_callback_method"),
            Self::InboundRequestUrl => Some("inbound_method"),
            Self::FallbackUrl => Some("fallback_method"),
        }
    }
}

/// A URL as it is configured.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hook {
    /// Which one.
    pub field: Field,
    /// The URL; `None` where none is set.
    pub url: Option<String>,
    /// Its HTTP method.
    pub method: Option<String>,
    /// What Twilio goes by instead: the SID of an application or of a trunk, or the setting that says so.
    pub overridden_by: Option<String>,
}

/// A number or a Messaging Service, with the URLs that what it receives can lead to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Incoming {
    /// What it is.
    pub what: What,
    /// `PN…` or `MG…`.
    pub sid: String,
    /// The account that it belongs to.
    pub account: String,
    /// The number, in E.164. A Messaging Service has none.
    pub number: Option<String>,
    /// The name that a person gave it.
    pub name: Option<String>,
    /// Its URLs.
    pub hooks: Vec<Hook>,
}

impl Incoming {
    /// Reads a number. `None` if it has no SID, account or number.
    fn number(json: &Value) -> Option<Self> {
        let can = |name: &str| json["capabilities"][name].as_bool();
        let calls = can("voice") != Some(false);
        let messages = can("sms") != Some(false) || can("mms") == Some(true);
        let sid_of = |name: &str| text(&json[name]);
        let by_voice = sid_of("trunk_sid").or_else(|| sid_of("voice_application_sid"));
        let by_sms = sid_of("sms_application_sid");
        let mut hooks = Vec::new();
        let mut add = |field: Field, by: &Option<String>| {
            hooks.push(Hook::read(json, field, What::Number, by.clone()));
        };
        if calls {
            add(Field::VoiceUrl, &by_voice);
            add(Field::VoiceFallbackUrl, &by_voice);
        }
        if messages {
            add(Field::SmsUrl, &by_sms);
            add(Field::SmsFallbackUrl, &by_sms);
        }
        if calls {
            // It is about calls.
            add(Field::StatusCallback, &by_voice);
        }
        Some(Self {
            what: What::Number,
            sid: text(&json["sid"]).filter(|sid| is_sid(sid, "PN"))?,
            account: text(&json["account_sid"])?,
            number: Some(text(&json["phone_number"])?),
            name: text(&json["friendly_name"]),
            hooks,
        })
    }

    /// Reads a Messaging Service. `None` if it has no SID or account.
    fn service(json: &Value) -> Option<Self> {
        const BY_NUMBERS: &str = "use_inbound_webhook_on_number";
        let by_numbers = (json[BY_NUMBERS] == true).then(|| BY_NUMBERS.to_owned());
        let read = |field, by| Hook::read(json, field, What::MessagingService, by);
        Some(Self {
            what: What::MessagingService,
            sid: text(&json["sid"]).filter(|sid| is_sid(sid, "MG"))?,
            account: text(&json["account_sid"])?,
            number: None,
            name: text(&json["friendly_name"]),
            hooks: vec![
                read(Field::InboundRequestUrl, by_numbers.clone()),
                read(Field::FallbackUrl, by_numbers),
                read(Field::StatusCallback, None),
            ],
        })
    }

    /// The number, or the SID of what has none.
    #[must_use]
    pub fn id(&self) -> &str {
        self.number.as_deref().unwrap_or(&self.sid)
    }

    /// One of its URLs, if it can have it.
    #[must_use]
    pub fn hook(&self, field: Field) -> Option<&Hook> {
        self.hooks.iter().find(|hook| hook.field == field)
    }
}

impl Hook {
    fn read(json: &Value, field: Field, of: What, overridden_by: Option<String>) -> Self {
        let method = field.method(of).and_then(|name| text(&json[name]));
        Self { field, url: text(&json[field.as_str()]), method, overridden_by }
    }
}

/// The body of the POST that sets URLs, with POST as their method, and leaves all else as it is.
#[must_use]
pub fn update_form<'u>(of: What, urls: impl IntoIterator<Item = (Field, &'u str)>) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    for (field, url) in urls {
        form.append_pair(&parameter(field.as_str()), url);
        if let Some(method) = field.method(of) {
            form.append_pair(&parameter(method), "POST");
        }
    }
    form.finish()
}

/// The name of a field as a request has it: `VoiceFallbackUrl` for `voice_fallback_url`.
#[must_use]
pub fn parameter(name: &str) -> String {
    let parts = name.split('_').map(|part| {
        let (first, rest) = part.split_at(1);
        first.to_ascii_uppercase() + rest
    });
    parts.collect()
}

/// Some of the numbers or Messaging Services of a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IncomingPage {
    /// Those of this page.
    pub found: Vec<Incoming>,
    /// The path of the next page; `None` after the last one.
    pub next: Option<String>,
}

impl Answer<'_> {
    /// The meaning of the answer to a page of an account's numbers.
    #[must_use]
    pub fn to_numbers(self, account: &str, now: Timestamp) -> ReadAnswer<IncomingPage> {
        let list = path::numbers(account);
        self.to_get(now, |json| {
            let next = match json.get("next_page_uri")? {
                Value::Null => None,
                next => Some(next.as_str().filter(|next| path::continues(&list, next))?.to_owned()),
            };
            let found = json.get("incoming_phone_numbers")?.as_array()?.iter();
            Some(IncomingPage { found: found.map(Incoming::number).collect::<Option<_>>()?, next })
        })
    }

    /// The meaning of the answer to a page of Messaging Services, which were asked for at this URL.
    #[must_use]
    pub fn to_services(self, url: &str, now: Timestamp) -> ReadAnswer<IncomingPage> {
        let is_next = |next: &&str| path::continues(path::SERVICES, next);
        self.to_get(now, |json| {
            let next = match json.get("meta")?.get("next_page_url")? {
                Value::Null => None,
                next => Some(next.as_str()?.strip_prefix(url).filter(is_next)?.to_owned()),
            };
            let found = json.get("services")?.as_array()?.iter();
            Some(IncomingPage { found: found.map(Incoming::service).collect::<Option<_>>()?, next })
        })
    }

    /// The meaning of the answer to a fetch or an update of one of them.
    #[must_use]
    pub fn to_incoming(self, what: What, now: Timestamp) -> ReadAnswer<Incoming> {
        self.to_get(
            now,
            match what {
                What::Number => Incoming::number,
                What::MessagingService => Incoming::service,
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_micros(0)
    }

    fn number(more: &Value) -> Value {
        let mut number = json!({
            "sid": "PN00000000000000000000000000000001",
            "account_sid": "AC1",
            "phone_number": "+15550100",
            "friendly_name": "Front desk",
            "voice_url": "https://app.example.com/voice",
            "voice_method": "GET",
            "voice_fallback_url": "",
            "sms_url": null,
        });
        let more = more.as_object().expect("an object").clone();
        number.as_object_mut().expect("an object").extend(more);
        number
    }

    fn answer<T>(json: &Value, read: impl Fn(Answer<'_>) -> T) -> T {
        let body = json.to_string();
        read(Answer { status: 200, retry_after: None, body: body.as_bytes() })
    }

    fn read(more: &Value) -> Incoming {
        match answer(&number(more), |answer| answer.to_incoming(What::Number, now())) {
            ReadAnswer::Found(found) => found,
            other => panic!("it is not read: {other:?}"),
        }
    }

    #[test]
    fn a_number_has_the_urls_of_what_it_can_receive() {
        let fields = |more: Value| -> Vec<_> {
            read(&more).hooks.iter().map(|hook| hook.field.as_str()).collect()
        };
        let all =
            ["voice_url", "voice_fallback_url", "sms_url", "sms_fallback_url", "status_callback"];
        assert_eq!(fields(json!({})), all);
        let calls = json!({ "capabilities": { "voice": true, "sms": false, "mms": false } });
        assert_eq!(fields(calls), ["voice_url", "voice_fallback_url", "status_callback"]);
        let messages = json!({ "capabilities": { "voice": false, "sms": true } });
        assert_eq!(fields(messages), ["sms_url", "sms_fallback_url"]);
        let pictures = json!({ "capabilities": { "voice": false, "sms": false, "mms": true } });
        assert_eq!(fields(pictures), ["sms_url", "sms_fallback_url"]);
    }

    #[test]
    fn an_empty_url_is_none_and_an_application_or_a_trunk_overrides_it() {
        let found = read(&json!({}));
        let hook = |field| found.hook(field).expect("it has it").clone();
        assert_eq!(hook(Field::VoiceUrl).url.as_deref(), Some("https://app.example.com/voice"));
        assert_eq!(hook(Field::VoiceUrl).method.as_deref(), Some("GET"));
        assert_eq!(hook(Field::VoiceFallbackUrl).url, None, "an empty text");
        assert_eq!(hook(Field::SmsUrl).url, None, "null");
        let by =
            |more: Value, field| read(&more).hook(field).and_then(|it| it.overridden_by.clone());
        let trunk = json!({ "trunk_sid": "TK1", "voice_application_sid": "AP1" });
        assert_eq!(by(trunk.clone(), Field::VoiceFallbackUrl).as_deref(), Some("TK1"));
        assert_eq!(by(trunk.clone(), Field::StatusCallback).as_deref(), Some("TK1"));
        assert_eq!(by(trunk, Field::SmsFallbackUrl), None);
        let application = json!({ "sms_application_sid": "AP2" });
        assert_eq!(by(application, Field::SmsFallbackUrl).as_deref(), Some("AP2"));
    }

    #[test]
    fn a_page_is_read_whole_or_not_at_all_and_leads_only_to_its_own_list() {
        let page = |next: Value, numbers: Value| {
            let page = json!({ "next_page_uri": next, "incoming_phone_numbers": numbers });
            answer(&page, |answer| answer.to_numbers("AC1", now()))
        };
        let next = "/2010-04-01/Accounts/AC1/IncomingPhoneNumbers.json?Page=1";
        let ReadAnswer::Found(found) = page(next.into(), json!([number(&json!({}))])) else {
            panic!("it is not read");
        };
        assert_eq!((found.found[0].id(), found.next.as_deref()), ("+15550100", Some(next)));
        let fails = |answer| assert!(matches!(answer, ReadAnswer::Failed { status: 200, .. }));
        fails(page("https://h.example/?Page=1".into(), json!([])));
        fails(page(Value::Null, json!([number(&json!({ "sid": "x" }))])));
    }

    #[test]
    fn services_are_read_and_continue_only_at_the_url_that_was_asked() {
        let page = |next: &str| {
            let service = json!({
                "sid": "MG00000000000000000000000000000001", "account_sid": "AC1",
                "inbound_request_url": null, "fallback_url": null, "status_callback": "https://h",
                "use_inbound_webhook_on_number": true,
            });
            let page = json!({ "meta": { "next_page_url": next }, "services": [service] });
            answer(&page, |answer| answer.to_services("https://messaging.twilio.com", now()))
        };
        let ReadAnswer::Found(found) = page("https://messaging.twilio.com/v1/Services?Page=1")
        else {
            panic!("it is not read");
        };
        assert_eq!(found.next.as_deref(), Some("/v1/Services?Page=1"));
        let service = &found.found[0];
        let fallback = service.hook(Field::FallbackUrl).expect("it has it");
        assert_eq!(fallback.overridden_by.as_deref(), Some("use_inbound_webhook_on_number"));
        assert!(service.hook(Field::StatusCallback).is_some_and(|it| it.overridden_by.is_none()));
        for other in ["https://h.example/v1/Services?Page=1", "https://messaging.twilio.com/v2?P=1"]
        {
            assert!(matches!(page(other), ReadAnswer::Failed { .. }), "{other}");
        }
    }

    #[test]
    fn a_form_sets_the_url_and_its_method() {
        let urls =
            [(Field::VoiceFallbackUrl, "https://h/v#rc=5"), (Field::StatusCallback, "https://h/s")];
        assert_eq!(
            update_form(What::Number, urls),
            "VoiceFallbackUrl=https%3A%2F%2Fh%2Fv%23rc%3D5&VoiceFallbackMethod=POST\
             &StatusCallback=https%3A%2F%2Fh%2Fs&StatusCallbackMethod=POST"
        );
        let service = update_form(What::MessagingService, [(Field::StatusCallback, "https://h/s")]);
        assert_eq!(service, "StatusCallback=https%3A%2F%2Fh%2Fs");
    }
}
