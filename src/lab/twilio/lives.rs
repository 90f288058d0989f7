//! What becomes of a call after it was created: its statuses, their signed callbacks, and what the callee does.

use std::time::Duration;

use quick_xml::Reader;
use quick_xml::events::Event as Xml;
use tokio::sync::oneshot;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::behaviour::{Life, Plan};
use super::calls::CreatedCall;
use super::ledger::Report;
use super::statuses::Delivery;
use crate::clock::Clock;
use crate::lab::sample::{self, Callback, Parties};

/// One call on its way.
pub(super) struct CallLife {
    place: usize,
    plan: Plan,
    life: Life,
    hang_up: CancellationToken,
    status_after: Duration,
    rings: Duration,
    sequence: u32,
    /// Told once the first status was reported.
    first: Option<oneshot::Sender<()>>,
}

impl CallLife {
    /// Of a call that was just created. The receiver hears when its first status was reported.
    pub(super) fn new(
        shared: &Shared,
        created: CreatedCall,
    ) -> (Self, Option<oneshot::Receiver<()>>) {
        let CreatedCall { place, plan, life, hang_up } = created;
        let books = shared.books();
        let (first, heard) = oneshot::channel();
        let life = Self {
            place,
            plan,
            life,
            hang_up,
            status_after: Duration::from_millis(books.behaviour.status_after_ms),
            rings: Duration::from_millis(books.behaviour.ring_ms),
            sequence: 0,
            first: Some(first),
        };
        (life, plan.reported_first.then_some(heard))
    }

    /// Every status in its time, the callbacks, and the key that is pressed.
    pub(super) async fn run(mut self, shared: &Shared) {
        let (rings, after) = (self.rings, self.status_after);
        if !self.goes_on(shared, "initiated", Duration::ZERO).await
            || !self.goes_on(shared, "ringing", after).await
        {
            return self.ends(shared, "canceled").await;
        }
        let answered = match self.life {
            Life::Busy => "busy",
            Life::NoAnswer => "no-answer",
            Life::Pressed | Life::Silent | Life::Voicemail => "in-progress",
        };
        if self.hang_up.run_until_cancelled(sleep(rings + after)).await.is_none() {
            return self.ends(shared, "canceled").await;
        }
        if answered != "in-progress" {
            return self.ends(shared, answered).await;
        }
        if shared.books().call(self.place).detects_machines {
            let by = if self.life == Life::Voicemail { "machine_start" } else { "human" };
            shared.books().answered_by(self.place, by);
        }
        if !self.goes_on(shared, answered, Duration::ZERO).await {
            return self.ends(shared, "canceled").await;
        }
        if self.life == Life::Pressed {
            self.press(shared).await;
        }
        sleep(after).await;
        self.ends(shared, "completed").await;
    }

    /// Whether it has this status next, which it has not if it was cancelled.
    async fn goes_on(&mut self, shared: &Shared, status: &'static str, after: Duration) -> bool {
        if !after.is_zero() && self.hang_up.run_until_cancelled(sleep(after)).await.is_none() {
            return false;
        }
        {
            let mut books = shared.books();
            books.advance_call(self.place, status, Clock::System.now());
            if books.call(self.place).status != status {
                return false;
            }
        }
        self.report(shared, status).await;
        true
    }

    async fn ends(&mut self, shared: &Shared, status: &'static str) {
        shared.books().advance_call(self.place, status, Clock::System.now());
        self.report(shared, status).await;
    }

    fn parties(&self, shared: &Shared) -> Parties {
        let books = shared.books();
        let call = books.call(self.place);
        Parties {
            account: books.account().to_owned(),
            from: call.from.clone(),
            to: call.to.clone(),
            at: Clock::System.now(),
        }
    }

    /// Reports a status, if it was asked for.
    async fn report(&mut self, shared: &Shared, status: &'static str) {
        let sequence = self.sequence;
        self.sequence += 1;
        let event = match status {
            "initiated" | "ringing" => status,
            "in-progress" => "answered",
            _ => "completed",
        };
        let (sid, url, answered_by) = {
            let books = shared.books();
            let call = books.call(self.place);
            let is_asked_for = match call.events.is_empty() {
                true => event == "completed",
                false => call.events.iter().any(|it| it == event),
            };
            let url = call.status_callback.clone();
            let url = url.filter(|_| is_asked_for && !self.plan.call_unreported);
            (call.sid.clone(), url, call.answered_by)
        };
        if let Some(url) = url {
            let answered_by = answered_by.map(|by| ("AnsweredBy".to_owned(), by.to_owned()));
            let callback = sample::call(&self.parties(shared), &sid, status, sequence);
            let callback = callback.with(answered_by.as_slice());
            for _ in 0..if self.plan.reported_twice { 2 } else { 1 } {
                let delivery = Delivery::of(shared, self.place, &callback, &url).await;
                let Delivery { tries, answer } = delivery;
                let answered = answer.map(|(status, _)| status);
                shared.books().reported_call(self.place, Report { status, tries, answered });
            }
        }
        if let Some(first) = self.first.take() {
            // It matters only if the answer waits for it.
            let _ = first.send(());
        }
    }

    /// Presses 1, if the TwiML waits for a key.
    async fn press(&self, shared: &Shared) {
        let (sid, action) = {
            let books = shared.books();
            let call = books.call(self.place);
            (call.sid.clone(), action(&call.twiml))
        };
        let Some(action) = action else { return };
        let pairs = [("Direction", "outbound-api"), ("FinishedOnKey", "")];
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let callback: Callback =
            sample::gather(&self.parties(shared), &sid, "in-progress").with(&pairs);
        let delivery = Delivery::of(shared, self.place, &callback, &action).await;
        shared.books().pressed(self.place, delivery.answer);
    }
}

/// The URL of the action of a `<Gather>`.
fn action(twiml: &str) -> Option<String> {
    let mut reader = Reader::from_str(twiml);
    loop {
        match reader.read_event().ok()? {
            Xml::Start(tag) | Xml::Empty(tag) if tag.name().as_ref() == "Gather" => {
                let action = tag.try_get_attribute("action").ok()??;
                return Some(quick_xml::escape::unescape(&action.value).ok()?.into_owned());
            }
            Xml::Eof => return None,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::AttemptId;
    use crate::twilio::rest::{Spoken, voice_confirm};

    #[test]
    fn the_action_of_what_offhook_says_is_found() {
        let url = voice_confirm("https://h.example/voice-confirm", AttemptId::new(7));
        let spoken = Spoken { text: "a <b> & c", language: Some("en-GB"), voice: None };
        assert_eq!(action(&spoken.twiml(Some(&url))), Some(url));
        assert_eq!(action(&spoken.twiml(None)), None);
        assert_eq!(action("<Response>"), None);
    }
}
