//! What becomes of an email after it was taken, and the signed events that report it.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::Shared;
use super::behaviour::{MailLife, Plan};
use super::ledger::Report;
use super::mails::CreatedMail;
use super::statuses::FIRST_WAIT;
use crate::clock::Clock;
use crate::event::attempt::ATTEMPT_PARAMETER;

/// How often a request of events is tried. SendGrid tries for a day.
const TRIES: u32 = 6;
/// The headers of a request of events.
const SIGNATURE: &str = "X-Twilio-Email-Event-Webhook-Signature";
const TIMESTAMP: &str = "X-Twilio-Email-Event-Webhook-Timestamp";

/// One email on its way.
pub(super) struct MailJourney {
    place: usize,
    plan: Plan,
    life: MailLife,
    is_reported: bool,
    status_after: Duration,
    reported_after: Duration,
    /// Told once the first event was reported.
    first: Option<oneshot::Sender<()>>,
}

impl MailJourney {
    /// Of an email that was just taken. The receiver hears when its first event was reported.
    pub(super) fn new(
        shared: &Shared,
        created: &CreatedMail,
    ) -> (Self, Option<oneshot::Receiver<()>>) {
        let behaviour = &shared.books().behaviour;
        let (first, heard) = oneshot::channel();
        let journey = Self {
            place: created.place,
            plan: created.plan,
            life: created.life,
            is_reported: created.is_reported,
            status_after: Duration::from_millis(behaviour.status_after_ms),
            reported_after: Duration::from_millis(behaviour.callbacks_late_ms),
            first: Some(first),
        };
        (journey, created.plan.reported_first.then_some(heard))
    }

    /// Every event in its time.
    pub(super) async fn run(mut self, shared: &Shared) {
        let mut unreported = Vec::new();
        for (at, status) in statuses(self.life).iter().enumerate() {
            if at > 0 && !self.status_after.is_zero() {
                sleep(self.status_after).await;
            }
            shared.books().advance_mail(self.place, status);
            match self.reported_after.is_zero() {
                true => self.report(shared, status).await,
                false => unreported.push(*status),
            }
        }
        if !unreported.is_empty() {
            sleep(self.reported_after).await;
        }
        for status in unreported {
            self.report(shared, status).await;
        }
    }

    async fn report(&mut self, shared: &Shared, status: &'static str) {
        let url = shared.mail_events().clone();
        if let Some(url) = url.filter(|_| self.is_reported) {
            let body = json!([self.event(shared, status)]).to_string();
            // The same event twice has the same id.
            for _ in 0..if self.plan.reported_twice { 2 } else { 1 } {
                let (tries, answered) = deliver(shared, &url, self.place, &body).await;
                shared.books().reported_mail(self.place, Report { status, tries, answered });
            }
        }
        if let Some(first) = self.first.take() {
            // It matters only if the answer waits for it.
            let _ = first.send(());
        }
    }

    /// An event as SendGrid writes it.
    fn event(&self, shared: &Shared, status: &str) -> Value {
        let books = shared.books();
        let mail = books.mail(self.place);
        let mut event = json!({
            "email": mail.to,
            "event": status,
            "timestamp": Clock::System.now().micros() / 1_000_000,
            "smtp-id": format!("<{}@pretend.example>", mail.id),
            "sg_event_id": URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>()),
            "sg_message_id": format!("{}.recvd-5f5b8f-1-{}.0", mail.id, self.place),
        });
        let more = match status {
            "bounce" => json!({
                "type": "bounce", "status": "5.1.1", "reason": "550 5.1.1 The mailbox does not exist",
            }),
            "dropped" => json!({ "reason": "Bounced Address" }),
            "deferred" => json!({ "response": "451 4.7.1 Try again later", "attempt": "1" }),
            "delivered" => json!({ "response": "250 OK" }),
            _ => json!({}),
        };
        let attempt = mail.attempt.as_ref().map(|it| json!({ ATTEMPT_PARAMETER: it }));
        let all = event.as_object_mut().expect("it is an object");
        for object in [Some(more), attempt].into_iter().flatten() {
            all.extend(object.as_object().cloned().unwrap_or_default());
        }
        event
    }
}

/// What is reported of an email, in the order in which it happens.
fn statuses(life: MailLife) -> &'static [&'static str] {
    match life {
        MailLife::Delivered => &["processed", "delivered"],
        MailLife::Deferred => &["processed", "deferred", "delivered"],
        MailLife::Unsubscribed => &["processed", "delivered", "unsubscribe"],
        MailLife::Bounced => &["processed", "bounce"],
        MailLife::Returned => &["processed", "delivered", "bounce"],
        MailLife::Dropped => &["dropped"],
    }
}

/// Posts a signed request until it is taken: how often, and the HTTP status of the last answer.
async fn deliver(shared: &Shared, url: &str, turn: usize, body: &str) -> (u32, Option<u16>) {
    let mut tries = 0;
    loop {
        let place = shared.deliveries.acquire().await;
        let timestamp = (Clock::System.now().micros() / 1_000_000).to_string();
        let way = shared.way_to(url, turn + tries as usize);
        let request = shared.client.post(way).body(body.to_owned());
        let request = request
            .header(reqwest::header::CONTENT_TYPE, "application/json")
            .header(SIGNATURE, shared.mail_key.sign(&timestamp, body.as_bytes()))
            .header(TIMESTAMP, timestamp);
        let answered = request.send().await.ok().map(|answer| answer.status().as_u16());
        drop(place);
        tries += 1;
        if matches!(answered, Some(200..=299)) || tries >= TRIES {
            return (tries, answered);
        }
        sleep(FIRST_WAIT * 2_u32.pow(tries - 1)).await;
    }
}
