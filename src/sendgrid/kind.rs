//! What an object of the Event Webhook says: the mail that it is about, its identity, and the order of a mail's statuses.
//! <https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/event>

use serde_json::Value;

use crate::clock::Timestamp;
use crate::event::attempt::ATTEMPT_PARAMETER;
use crate::event::consent::{SaidBy, Wish, mailbox};
use crate::event::key::{ContentHash, hex};
use crate::event::status::{Lifecycle, Status};
use crate::event::{AttemptId, EventKey};
use crate::twilio::fields::{is_word, status_of};
use crate::twilio::json;
use crate::twilio::privacy::Privacy;

/// A mail that was taken may come back hours later, so that `bounce` wins over `delivered` and does not contradict it.
/// `dropped` says that SendGrid never sent it.
pub(crate) const LIFECYCLE: Lifecycle = Lifecycle {
    statuses: &[
        Status::passing("processed", 10),
        Status::passing("deferred", 20),
        Status::terminal("dropped", 2).failure(),
        Status::terminal("delivered", 1).above(5),
        Status::terminal("bounce", 1).above(10).failure(),
    ],
    others: Lifecycle::UNKNOWN,
};

/// What one object says.
pub(super) struct Recognised {
    /// `delivered`, `open` … in lower case.
    pub(super) event: String,
    /// The mail; an event of an account names none.
    pub(super) sid: Option<String>,
    /// A name of its own, if it has one.
    pub(super) key: Option<EventKey>,
    pub(super) occurred_at: Option<Timestamp>,
    pub(super) attempt: Option<AttemptId>,
    /// What it says about reaching the recipient, and the recipient's address.
    pub(super) consent: Option<(Wish, SaidBy, String)>,
}

/// The address that an event is about, as `[privacy]` has left it; `None` if that is no address any more.
pub(crate) fn recipient(body: &[u8]) -> Option<String> {
    let object = json::read(body)?;
    let email = object["email"].as_str()?;
    mailbox(email)
}

/// Reads an object; `None` if it is not one of SendGrid's events: it says no event.
pub(super) fn recognise(object: &Value, privacy: &Privacy) -> Option<Recognised> {
    let event = status_of(object["event"].as_str()?)?;
    let recipient = object["email"].as_str().and_then(mailbox);
    let attempt = object[ATTEMPT_PARAMETER].as_str().and_then(AttemptId::parse);
    let mail = object["sg_message_id"].as_str().and_then(message_id);
    let sid = mail.map(|mail| match (attempt, &recipient) {
        (None, Some(recipient)) => format!("{mail}.{}", told_apart(recipient, privacy)),
        _ => mail.to_owned(),
    });
    let id = object["sg_event_id"].as_str().unwrap_or_default();
    let key = match &sid {
        Some(sid) => EventKey::of(&[sid, &event, id]),
        None => EventKey::of(&[&event, id]),
    };
    let says = says(&event, object);
    let consent = says.zip(recipient).map(|((wish, by), recipient)| (wish, by, recipient));
    Some(Recognised {
        sid,
        key,
        occurred_at: seconds(&object["timestamp"]),
        attempt,
        consent,
        event,
    })
}

/// The `X-Message-Id` that SendGrid answered the request for the mail with: `sg_message_id` without what its servers put
/// behind it.
fn message_id(text: &str) -> Option<&str> {
    /// Room for a dot and eight digits behind it.
    const MAX: usize = 55;
    let suffix = [".filter", ".recvd-"].iter().filter_map(|suffix| text.find(suffix)).min();
    let id = &text[..suffix.or_else(|| text.find('.')).unwrap_or(text.len())];
    (is_word(id) && id.len() <= MAX).then_some(id)
}

/// Several recipients of one request share its message id, and each has a status: eight hexadecimal digits tell them
/// apart. They are of a keyed hash where `[privacy]` has a key, lest they give an address away.
fn told_apart(recipient: &str, privacy: &Privacy) -> String {
    const DIGITS: usize = 8;
    let hash = match privacy.identity() {
        None => sha(recipient),
        Some(secret) => {
            let mut hash = ContentHash::new(Some(secret));
            hash.piece(recipient.as_bytes());
            hash.finish()
        }
    };
    hex(&hash[..DIGITS / 2])
}

fn sha(text: &str) -> [u8; 32] {
    use sha2::{Digest as _, Sha256};
    Sha256::digest(text.as_bytes()).into()
}

/// Who complains is never reached again before a person lifts it; who unsubscribes may come back. A bounce is for good
/// if it says so: `blocked` is what the recipient's server said for the time being, and 4 begins what is temporary.
fn says(event: &str, object: &Value) -> Option<(Wish, SaidBy)> {
    match event {
        "unsubscribe" | "group_unsubscribe" => Some((Wish::Stop, SaidBy::Unsubscribe)),
        "group_resubscribe" => Some((Wish::Start, SaidBy::Unsubscribe)),
        "spamreport" => Some((Wish::Stop, SaidBy::Complaint)),
        "bounce" => {
            let is_hard = object["type"].as_str().is_none_or(|kind| kind == "bounce");
            let code = object["status"].as_str().or_else(|| object["reason"].as_str());
            (is_hard && code.is_some_and(|code| code.trim_start().starts_with('5')))
                .then_some((Wish::Stop, SaidBy::Bounce))
        }
        _ => None,
    }
}

fn seconds(value: &Value) -> Option<Timestamp> {
    let seconds = match value {
        Value::String(text) => text.parse().ok(),
        other => other.as_i64(),
    };
    seconds.and_then(|seconds: i64| seconds.checked_mul(1_000_000)).map(Timestamp::from_micros)
}

/// Why a mail did not arrive, in a word without anything personal: the code of the recipient's server, as `5.1.1` or
/// `550`, or what SendGrid itself says.
pub(crate) fn error(object: &Value) -> Option<String> {
    /// Why SendGrid drops a mail, by how its reasons begin.
    const REASONS: [(&str, &str); 6] = [
        ("bounced address", "bounced_address"),
        ("unsubscribed address", "unsubscribed_address"),
        ("spam reporting address", "spam_reporting_address"),
        ("invalid", "invalid"),
        ("spam content", "spam_content"),
        ("recipient list over", "over_quota"),
    ];
    let text = |name: &str| object[name].as_str().map(str::trim).unwrap_or_default();
    if !matches!(text("event"), "bounce" | "dropped") {
        return None;
    }
    if is_code(text("status")) {
        return Some(text("status").to_owned());
    }
    let reason = text("reason");
    let start = reason.split([' ', '-']).next().unwrap_or_default();
    if start.len() == 3 && is_code(start) {
        return Some(start.to_owned());
    }
    let reason = reason.to_ascii_lowercase();
    let known = REASONS.iter().find(|(begin, _)| reason.starts_with(begin));
    let kind = || {
        status_of(text("type")).filter(|kind| ["bounce", "blocked", "expired"].contains(&&**kind))
    };
    known.map(|(_, word)| (*word).to_owned()).or_else(kind).or_else(|| status_of(text("event")))
}

/// `5.1.1`, `550`: digits, and dots between them.
fn is_code(text: &str) -> bool {
    let short = (3..=9).contains(&text.len());
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    short && text.split('.').all(digits) && text.starts_with(['2', '4', '5'])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_mail_has_the_id_that_sendgrid_answered_with() {
        let check =
            |text: &str, expected: Option<&str>| assert_eq!(message_id(text), expected, "{text}");
        let id = Some("LRzXl_NHStOGhQ4kofSm_A");
        check("LRzXl_NHStOGhQ4kofSm_A.filterdrecv-p3mdw1-756b745b58-kmzbl-18-5F5FC76C-9.0", id);
        check("LRzXl_NHStOGhQ4kofSm_A.recvd-69c8b9c4-x.0", id);
        check("LRzXl_NHStOGhQ4kofSm_A.0.1", id);
        check("LRzXl_NHStOGhQ4kofSm_A", id);
        check(
            "14c5d75ce93.dfd.64b469.filter0001.16648.5515E0B88.0",
            Some("14c5d75ce93.dfd.64b469"),
        );
        for none in ["", ".filter", "a b.filter", &"x".repeat(56)] {
            check(none, None);
        }
    }

    #[test]
    fn recipients_of_one_message_are_told_apart_and_a_mail_of_offhook_is_not() {
        let sid = |object: Value| recognise(&object, &Privacy::default()).expect("an event").sid;
        let to = |email: &str| json!({ "event": "delivered", "sg_message_id": "M1.recvd-1", "email": email });
        let (ana, bob) = (sid(to(" Ana@H.example ")), sid(to("bob@h.example")));
        assert!(ana.as_deref().is_some_and(|sid| sid.len() == 11 && sid.starts_with("M1.")));
        assert_ne!(ana, bob);
        assert_eq!(ana, sid(to("ana@h.example")));
        let mut own = to("ana@h.example");
        own[ATTEMPT_PARAMETER] = "0123456789abcdef0123456789abcdef".into();
        assert_eq!(sid(own).as_deref(), Some("M1"));
        assert_eq!(sid(json!({ "event": "account_status_change" })), None);
    }

    #[test]
    fn what_is_said_about_reaching_a_recipient() {
        use SaidBy::{Bounce, Complaint, Unsubscribe};
        let check = |object: Value, expected: Option<(Wish, SaidBy)>| {
            let event = object["event"].as_str().expect("a text").to_owned();
            assert_eq!(says(&event, &object), expected, "{object}");
        };
        let event = |event: &str| json!({ "event": event });
        check(event("unsubscribe"), Some((Wish::Stop, Unsubscribe)));
        check(event("group_unsubscribe"), Some((Wish::Stop, Unsubscribe)));
        check(event("group_resubscribe"), Some((Wish::Start, Unsubscribe)));
        check(event("spamreport"), Some((Wish::Stop, Complaint)));
        check(event("delivered"), None);
        check(event("dropped"), None);
        let bounce =
            |kind: &str, status: &str| json!({ "event": "bounce", "type": kind, "status": status });
        check(bounce("bounce", "5.1.1"), Some((Wish::Stop, Bounce)));
        check(bounce("bounce", "4.2.2"), None);
        check(bounce("blocked", "5.7.1"), None);
        check(
            json!({ "event": "bounce", "reason": "550 no such user" }),
            Some((Wish::Stop, Bounce)),
        );
        check(event("bounce"), None);
    }

    #[test]
    fn an_error_is_a_code_or_a_word_and_never_a_text() {
        let check = |object: Value, expected: Option<&str>| {
            assert_eq!(error(&object).as_deref(), expected, "{object}");
        };
        check(json!({ "event": "bounce", "status": "5.2.2", "reason": "552 x" }), Some("5.2.2"));
        check(
            json!({ "event": "bounce", "reason": "550-5.1.1 <ana@h.example> unknown" }),
            Some("550"),
        );
        check(
            json!({ "event": "bounce", "reason": "ana@h.example", "type": "blocked" }),
            Some("blocked"),
        );
        check(json!({ "event": "bounce", "reason": "ana", "type": "ana" }), Some("bounce"));
        check(json!({ "event": "dropped", "reason": "Bounced Address" }), Some("bounced_address"));
        check(json!({ "event": "dropped", "reason": "ana@h.example" }), Some("dropped"));
        check(json!({ "event": "delivered", "status": "2.0.0" }), None);
        check(json!({ "event": "deferred", "reason": "450 later" }), None);
    }

    #[test]
    fn times_are_seconds() {
        let second = Some(Timestamp::from_micros(1_600_112_492_000_000));
        assert_eq!(seconds(&json!(1_600_112_492)), second);
        assert_eq!(seconds(&json!("1600112492")), second);
        for none in [json!(null), json!("soon"), json!(1e300), json!(i64::MAX)] {
            assert_eq!(seconds(&none), None, "{none}");
        }
    }
}
