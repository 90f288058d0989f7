//! [`NewMail`]: the request that sends an email, and [`Answer`], what SendGrid's answer to it means.
//!
//! Source: SendGrid's v3 Mail Send, <https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send>. It answers 202
//! with an empty body and the id of the mail in `X-Message-Id`. **Sending cannot be repeated safely**: there is no
//! idempotency key, and nothing lists what was sent.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::ACCOUNT;
use super::error::Refusal;
use crate::clock::Timestamp;
use crate::dispatch::recipient::Mailbox;
use crate::event::AttemptId;
use crate::twilio::rest::{CreateAnswer, Doubt, Message};

/// The path of the API that sends.
pub const SEND: &str = "/v3/mail/send";
/// The path of the API that says what a key may do, and costs nothing.
pub const SCOPES: &str = "/v3/scopes";
/// What a key must be allowed to do.
pub const SEND_SCOPE: &str = "mail.send";
/// The status of an email that SendGrid has accepted, until its first event.
const ACCEPTED: &str = "accepted";
/// Longest wait that is taken from a header: a longer one is a mistake.
const LONGEST_WAIT: Duration = Duration::from_secs(60 * 60);
/// Longest id of a mail: as long as one that its events may have. SendGrid's have 22 characters.
const LONGEST_ID: usize = 55;

/// An email to be sent.
#[derive(Clone, Copy, Debug)]
pub struct NewMail<'a> {
    /// The recipient.
    pub to: &'a str,
    /// What it comes from.
    pub from: &'a Mailbox,
    /// The subject.
    pub subject: &'a str,
    /// The text.
    pub text: &'a str,
    /// The same as HTML.
    pub html: Option<&'a str>,
    /// What SendGrid counts it under in its statistics: the campaign.
    pub category: Option<&'a str>,
    /// The attempt, which each event of the email says again.
    pub attempt: AttemptId,
}

#[derive(Serialize)]
struct Body<'a> {
    personalizations: [Personalization<'a>; 1],
    from: Address<'a>,
    subject: &'a str,
    content: Vec<Content<'a>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    categories: &'a [&'a str],
}

#[derive(Serialize)]
struct Personalization<'a> {
    to: [Address<'a>; 1],
    custom_args: CustomArgs,
}

#[derive(Serialize)]
struct Address<'a> {
    email: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
}

/// Its name is [`ATTEMPT_PARAMETER`](crate::event::attempt::ATTEMPT_PARAMETER).
#[derive(Serialize)]
struct CustomArgs {
    offhook_attempt: String,
}

#[derive(Serialize)]
struct Content<'a> {
    r#type: &'static str,
    value: &'a str,
}

impl NewMail<'_> {
    /// The body of the POST, as JSON. The plain text comes first, as SendGrid demands.
    #[must_use]
    pub fn json(&self) -> String {
        let html = self.html.map(|value| Content { r#type: "text/html", value });
        let text = Content { r#type: "text/plain", value: self.text };
        let body = Body {
            personalizations: [Personalization {
                to: [Address { email: self.to, name: None }],
                custom_args: CustomArgs { offhook_attempt: self.attempt.to_string() },
            }],
            from: Address { email: self.from.address.as_str(), name: self.from.name.as_deref() },
            subject: self.subject,
            content: [text].into_iter().chain(html).collect(),
            categories: self.category.as_slice(),
        };
        serde_json::to_string(&body).expect("it has keys of text and no failing parts")
    }
}

/// An HTTP answer.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The HTTP status.
    pub status: u16,
    /// The value of `X-Message-Id`.
    pub message_id: Option<&'a str>,
    /// The value of `Retry-After`, in seconds.
    pub retry_after: Option<&'a str>,
    /// The value of `X-RateLimit-Reset`, in seconds since 1970.
    pub reset: Option<&'a str>,
    /// The body, which need not be JSON: SendGrid's own 413 may be HTML.
    pub body: &'a [u8],
}

impl Answer<'_> {
    /// The meaning of the answer to an email to this recipient from this sender.
    ///
    /// A 2xx without an id says that the email was accepted, and not under which SID: its events say that.
    #[must_use]
    pub fn to_send(self, to: &str, from: &Mailbox, now: Timestamp) -> CreateAnswer {
        match self.status {
            200..=299 => match self.id() {
                Some(sid) => CreateAnswer::Accepted(Box::new(accepted(sid, to, from))),
                None => CreateAnswer::Unknown(Doubt::Unreadable),
            },
            408 => CreateAnswer::Unknown(Doubt::RequestTimeout),
            429 => CreateAnswer::Throttled { retry_after: self.wait(now) },
            300..=499 => match Refusal::of(self.status, self.field().as_deref()) {
                Some(refusal) => CreateAnswer::Rejected { code: refusal.as_str().to_owned() },
                None => CreateAnswer::Foreign { status: self.status },
            },
            500..=599 => CreateAnswer::Unknown(Doubt::ServerError),
            _ => CreateAnswer::Unknown(Doubt::Unreadable),
        }
    }

    /// Whether the key of an answer to [`SCOPES`] may send; `None` if it is no such answer.
    #[must_use]
    pub fn may_send(self) -> Option<bool> {
        let json: Value = serde_json::from_slice(self.body).ok().filter(|_| self.status == 200)?;
        let scopes = json["scopes"].as_array()?;
        Some(scopes.iter().any(|scope| scope.as_str() == Some(SEND_SCOPE)))
    }

    /// The id, if it can be a SID.
    fn id(&self) -> Option<&str> {
        let is_sign = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        let fits = |id: &&str| (1..=LONGEST_ID).contains(&id.len()) && id.bytes().all(is_sign);
        self.message_id.map(str::trim).filter(fits)
    }

    /// The field that the first error is about; an empty one if it is about none. `None` if it is no answer of SendGrid's.
    fn field(&self) -> Option<String> {
        let json: Value = serde_json::from_slice(self.body).ok()?;
        let error = json["errors"].as_array()?.first()?.clone();
        match &error["field"] {
            Value::String(field) => Some(field.clone()),
            _ => error.is_object().then(String::new),
        }
    }

    /// Until the limit is counted anew.
    fn wait(&self, now: Timestamp) -> Option<Duration> {
        let seconds = |text: Option<&str>| text?.trim().parse::<u64>().ok();
        let until = seconds(self.reset).and_then(|reset| {
            let micros = i64::try_from(reset).ok()?.checked_mul(1_000_000)?;
            Some(Timestamp::from_micros(micros).since(now))
        });
        let wait = seconds(self.retry_after).map(Duration::from_secs).or(until)?;
        Some(wait.min(LONGEST_WAIT))
    }
}

/// The email as what was created.
fn accepted(sid: &str, to: &str, from: &Mailbox) -> Message {
    Message {
        sid: sid.to_owned(),
        account: ACCOUNT.to_owned(),
        status: ACCEPTED.to_owned(),
        error_code: None,
        num_segments: None,
        to: Some(to.to_owned()),
        from: Some(from.address.as_str().to_owned()),
        service: None,
        body: None,
        created: None,
        is_outgoing: true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::event::attempt::ATTEMPT_PARAMETER;

    fn from() -> Mailbox {
        Mailbox::parse("Shop <shop@example.com>").expect("it is one")
    }

    fn mail(from: &Mailbox) -> NewMail<'_> {
        NewMail {
            to: "ana@example.com",
            from,
            subject: "Late \u{2713}",
            text: "It is \"late\"",
            html: Some("<p>It is late</p>"),
            category: None,
            attempt: AttemptId::new(7),
        }
    }

    fn answer(status: u16) -> Answer<'static> {
        Answer { status, message_id: None, retry_after: None, reset: None, body: b"" }
    }

    fn meaning(answer: Answer<'_>) -> CreateAnswer {
        let now = Timestamp::from_micros(1_764_000_000_000_000);
        answer.to_send("ana@example.com", &from(), now)
    }

    #[test]
    fn an_email_says_its_attempt_and_its_plain_text_first() {
        let from = from();
        let body: Value = serde_json::from_str(&mail(&from).json()).expect("it is JSON");
        let expected = json!({
            "personalizations": [{
                "to": [{ "email": "ana@example.com" }],
                "custom_args": { ATTEMPT_PARAMETER: format!("{:032x}", 7) },
            }],
            "from": { "email": "shop@example.com", "name": "Shop" },
            "subject": "Late \u{2713}",
            "content": [
                { "type": "text/plain", "value": "It is \"late\"" },
                { "type": "text/html", "value": "<p>It is late</p>" },
            ],
        });
        assert_eq!(body, expected);
        let plain = NewMail { html: None, category: Some("spring"), ..mail(&from) };
        let body: Value = serde_json::from_str(&plain.json()).expect("it is JSON");
        assert_eq!(body["content"].as_array().map(Vec::len), Some(1));
        assert_eq!(body["categories"], json!(["spring"]));
    }

    #[test]
    fn an_accepted_email_has_the_id_of_its_header() {
        let id = "14c5d75ce93_dfd-64b469";
        let CreateAnswer::Accepted(message) =
            meaning(Answer { message_id: Some(id), ..answer(202) })
        else {
            panic!("it is accepted");
        };
        assert_eq!(
            (&*message.sid, &*message.account, &*message.status),
            (id, "sendgrid", "accepted")
        );
        for id in [None, Some(""), Some("a.b"), Some("a b"), Some(&*"a".repeat(56))] {
            let unknown = CreateAnswer::Unknown(Doubt::Unreadable);
            assert_eq!(meaning(Answer { message_id: id, ..answer(202) }), unknown, "{id:?}");
        }
    }

    #[test]
    fn what_cannot_tell_whether_it_was_sent_is_unknown() {
        let check = |status, doubt| {
            assert_eq!(meaning(answer(status)), CreateAnswer::Unknown(doubt), "{status}");
        };
        check(408, Doubt::RequestTimeout);
        for status in [500, 502, 503, 504] {
            check(status, Doubt::ServerError);
        }
        for status in [0, 101, 600] {
            check(status, Doubt::Unreadable);
        }
    }

    #[test]
    fn a_throttle_lasts_until_the_limit_is_counted_anew() {
        let check = |reset, retry_after, expected: Option<u64>| {
            let found = meaning(Answer { reset, retry_after, ..answer(429) });
            let retry_after = expected.map(Duration::from_secs);
            assert_eq!(found, CreateAnswer::Throttled { retry_after }, "{reset:?}");
        };
        check(None, None, None);
        check(Some("1764000012"), None, Some(12));
        check(Some("1763999999"), None, Some(0));
        check(Some("1764000012"), Some("3"), Some(3));
        check(Some("soon"), None, None);
        check(Some("99999999999"), None, Some(3600));
        check(Some("18446744073709551615"), None, None);
    }

    #[test]
    fn a_refusal_is_told_by_its_status_and_its_field() {
        let check = |status, body: &str, expected: Option<Refusal>| {
            let expected = match expected {
                Some(refusal) => CreateAnswer::Rejected { code: refusal.as_str().to_owned() },
                None => CreateAnswer::Foreign { status },
            };
            assert_eq!(
                meaning(Answer { body: body.as_bytes(), ..answer(status) }),
                expected,
                "{body}"
            );
        };
        let of =
            |field: &str| json!({ "errors": [{ "message": "m", "field": field }] }).to_string();
        let no_field = json!({ "errors": [{ "message": "m", "field": null }] }).to_string();
        check(401, &no_field, Some(Refusal::Unauthorized));
        check(403, &no_field, Some(Refusal::Forbidden));
        check(403, &of("from"), Some(Refusal::From));
        check(400, &of("from.email"), Some(Refusal::From));
        check(400, &of("personalizations.0.to.0.email"), Some(Refusal::Recipient));
        check(400, &of("content.0.value"), Some(Refusal::Content));
        check(400, &no_field, Some(Refusal::Content));
        check(413, "<html>413</html>", Some(Refusal::TooLarge));
        check(400, "<html>proxy</html>", None);
        check(404, &no_field, None);
        check(302, "", None);
    }

    #[test]
    fn the_scopes_say_whether_a_key_may_send() {
        let check = |status, body: &str, expected| {
            let answer = Answer { body: body.as_bytes(), ..answer(status) };
            assert_eq!(answer.may_send(), expected, "{body}");
        };
        check(200, r#"{"scopes":["mail.batch.read","mail.send"]}"#, Some(true));
        check(200, r#"{"scopes":["mail.send.other"]}"#, Some(false));
        check(401, r#"{"errors":[{"message":"m"}]}"#, None);
        check(200, "<html>", None);
    }
}
