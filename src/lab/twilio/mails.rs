//! The emails of the simulated account, as SendGrid takes them, and what may be asked of them. No I/O, and the time is an
//! argument.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::Value;

use super::behaviour::{Fate, MailLife, Plan};
use super::books::Books;
use super::ledger::{MailEntry, Post, Report};
use super::reply::Reply;
use crate::clock::Timestamp;
use crate::dispatch::recipient::EmailAddress;
use crate::event::attempt::ATTEMPT_PARAMETER;

/// What comes of a request to send.
#[derive(Debug)]
pub(super) struct Decision {
    pub(super) fate: Fate,
    pub(super) reply: Reply,
    pub(super) created: Option<CreatedMail>,
}

/// An email that was just taken.
#[derive(Debug)]
pub(super) struct CreatedMail {
    /// Its place in the ledger.
    pub(super) place: usize,
    pub(super) plan: Plan,
    pub(super) life: MailLife,
    pub(super) is_reported: bool,
}

/// What is wrong with a request: its field, and why.
type Wrong = (&'static str, &'static str);

impl Books {
    /// A POST that would send an email.
    pub(super) fn create_mail(
        &mut self,
        body: &[u8],
        in_flight: usize,
        now: Timestamp,
    ) -> Decision {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let mut decision = self.decide_mail(&body, in_flight, now);
        let answered = match decision.fate {
            Fate::Dropped | Fate::Reset => None,
            Fate::Answered | Fate::AnsweredLate => Some(decision.reply.status),
            Fate::FailedCreated | Fate::FailedUncreated => {
                decision.reply = Reply::of_sendgrid(500, None, "An internal error");
                Some(500)
            }
        };
        let recipient = &body["personalizations"][0];
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let created = decision.created.as_ref().map(|created| created.place);
        self.ledger.posts.push(Post {
            at: now,
            to: text(&recipient["to"][0]["email"]),
            attempt: text(&recipient["custom_args"][ATTEMPT_PARAMETER]),
            sid: created.map(|place| self.ledger.mails[place].id.clone()),
            answered,
            code: None,
        });
        decision
    }

    fn decide_mail(&mut self, body: &Value, in_flight: usize, now: Timestamp) -> Decision {
        let refuse = |reply| Decision { fate: Fate::Answered, reply, created: None };
        let mut rng = StdRng::seed_from_u64(self.seed() ^ (self.ledger.posts.len() as u64) << 20);
        let plan = self.behaviour.plan(&mut rng);
        let (life, is_reported) = self.behaviour.mail_life(&mut rng);
        if let Some(throttle) = self.throttle(in_flight) {
            return refuse(throttled(throttle.retry_after, now));
        }
        let mut entry = match self.read_mail(body) {
            Ok(entry) => entry,
            Err((field, why)) => return refuse(Reply::of_sendgrid(400, Some(field), why)),
        };
        if !plan.fate.creates() {
            let reply = Reply::of_sendgrid(503, None, "The service is not available");
            return Decision { fate: plan.fate, reply, created: None };
        }
        entry.id = URL_SAFE_NO_PAD.encode(rng.random::<[u8; 16]>());
        entry.created_at = now;
        let mut reply = Reply::of(202, Value::Null);
        reply.headers.push(("x-message-id", entry.id.clone()));
        let place = self.ledger.mails.len();
        self.ledger.mails.push(entry);
        let created = Some(CreatedMail { place, plan, life, is_reported });
        Decision { fate: plan.fate, reply, created }
    }

    /// What a request asks for, or what is wrong with it.
    fn read_mail(&self, body: &Value) -> Result<MailEntry, Wrong> {
        let text = |value: &Value| value.as_str().filter(|it| !it.is_empty()).map(str::to_owned);
        let address = |value: &Value| text(value).filter(|it| EmailAddress::parse(it).is_some());
        let [recipient] = body["personalizations"].as_array().map_or(&[][..], Vec::as_slice) else {
            return Err(("personalizations", "The pretend SendGrid takes one personalization"));
        };
        let to = address(&recipient["to"][0]["email"])
            .filter(|to| !self.behaviour.bad_number.contains(to))
            .ok_or(("personalizations.0.to.0.email", "The address is not valid"))?;
        let from = address(&body["from"]["email"])
            .ok_or(("from.email", "The from address does not match a verified Sender Identity"))?;
        let subject = text(&body["subject"]).ok_or(("subject", "The subject is required"))?;
        let content = body["content"].as_array().map_or(&[][..], Vec::as_slice);
        let of = |kind: &str| content.iter().find(|one| one["type"] == kind);
        let plain = content.first().filter(|first| first["type"] == "text/plain");
        let plain = plain.and_then(|first| text(&first["value"]));
        let categories = body["categories"].as_array().map_or(&[][..], Vec::as_slice);
        Ok(MailEntry {
            id: String::new(),
            to,
            from,
            from_name: text(&body["from"]["name"]),
            subject,
            text: plain.ok_or(("content", "The plain text must come first"))?,
            html: of("text/html").and_then(|one| text(&one["value"])),
            attempt: text(&recipient["custom_args"][ATTEMPT_PARAMETER]),
            categories: categories.iter().filter_map(text).collect(),
            created_at: Timestamp::from_micros(0),
            status: "accepted",
            reports: Vec::new(),
        })
    }

    pub(super) fn mail(&self, place: usize) -> &MailEntry {
        &self.ledger.mails[place]
    }

    /// The email's next event.
    pub(super) fn advance_mail(&mut self, place: usize, status: &'static str) {
        self.ledger.mails[place].status = status;
    }

    pub(super) fn reported_mail(&mut self, place: usize, report: Report) {
        self.ledger.mails[place].reports.push(report);
    }
}

/// Until when it is throttled, SendGrid says as a time.
fn throttled(retry_after: Option<u32>, now: Timestamp) -> Reply {
    let reset = now.micros() / 1_000_000 + i64::from(retry_after.unwrap_or(1));
    let mut reply = Reply::of_sendgrid(429, None, "too many requests");
    reply.headers = vec![
        ("x-ratelimit-limit", "600".to_owned()),
        ("x-ratelimit-remaining", "0".to_owned()),
        ("x-ratelimit-reset", reset.to_string()),
    ];
    reply
}
