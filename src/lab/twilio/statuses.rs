//! What becomes of a message after it was created: its statuses, and their signed callbacks.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::sleep;

use super::Shared;
use super::behaviour::Plan;
use super::books::Created;
use super::ledger::Report;
use crate::clock::{Clock, Timestamp};
use crate::lab::sample::{self, Callback, Parties};
use crate::lab::sender;

/// The wait before the first repetition of a callback; each further one is twice as long.
pub(super) const FIRST_WAIT: Duration = Duration::from_millis(250);

/// One message on its way.
pub(super) struct Journey {
    place: usize,
    plan: Plan,
    sent_at: Option<Timestamp>,
    status_after: Duration,
    reported_after: Duration,
    /// How many of the last statuses are reported.
    reports: usize,
    /// Told once the first status was reported.
    first: Option<oneshot::Sender<()>>,
}

/// How often a callback is tried again, and after which failures, as the fragment of its URL says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Overrides {
    retries: u32,
    after_every_failure: bool,
}

impl Journey {
    /// Of a message that was just created. The receiver hears when its first status was reported.
    pub(super) fn new(shared: &Shared, created: &Created) -> (Self, Option<oneshot::Receiver<()>>) {
        let books = shared.books();
        let behaviour = &books.behaviour;
        let (first, heard) = oneshot::channel();
        let plan = created.plan;
        let journey = Self {
            place: created.place,
            plan,
            sent_at: created.sent_at,
            status_after: Duration::from_millis(behaviour.status_after_ms),
            reported_after: Duration::from_millis(behaviour.callbacks_late_ms),
            reports: if plan.unreported { 0 } else { usize::from(behaviour.callbacks) },
            first: Some(first),
        };
        (journey, plan.reported_first.then_some(heard))
    }

    /// Every status in its time, and the callbacks.
    pub(super) async fn run(mut self, shared: &Shared) {
        let statuses = self.statuses();
        // Of three, the last ones; what was contradicted is a fourth.
        let skipped = 3_usize.saturating_sub(self.reports).min(statuses.len());
        let mut unreported = Vec::new();
        for (at, status) in statuses.into_iter().enumerate() {
            if at > 0 {
                self.pause(status).await;
            }
            // It has one status, however many are reported.
            if at < 3 {
                shared.books().advance(self.place, status, Clock::System.now());
            }
            if self.reports == 0 || at < skipped {
                continue;
            }
            match self.reported_after.is_zero() {
                true => self.report(shared, status).await,
                false => unreported.push(status),
            }
        }
        if !unreported.is_empty() {
            sleep(self.reported_after).await;
        }
        for status in unreported {
            self.report(shared, status).await;
        }
    }

    fn statuses(&self) -> Vec<&'static str> {
        let (last, other) = match self.plan.undelivered {
            true => ("undelivered", "delivered"),
            false => ("delivered", "undelivered"),
        };
        let mut statuses = match self.sent_at {
            Some(_) => vec!["queued", "sent", last],
            None => return vec!["queued", "failed"],
        };
        if self.plan.contradicted {
            statuses.push(other);
        }
        statuses
    }

    /// Until the message has this status.
    async fn pause(&self, status: &str) {
        let in_queue = match (status, self.sent_at) {
            ("sent", Some(at)) => at.since(Clock::System.now()),
            _ => Duration::ZERO,
        };
        let wait = in_queue + self.status_after;
        // Even `sleep` for no time is a millisecond.
        if !wait.is_zero() {
            sleep(wait).await;
        }
    }

    async fn report(&mut self, shared: &Shared, status: &'static str) {
        for _ in 0..if self.plan.reported_twice { 2 } else { 1 } {
            self.report_once(shared, status).await;
        }
        if let Some(first) = self.first.take() {
            // It matters only if the answer waits for it.
            let _ = first.send(());
        }
    }

    async fn report_once(&self, shared: &Shared, status: &'static str) {
        let (callback, url) = {
            let books = shared.books();
            let entry = books.entry(self.place);
            let Some(url) = entry.status_callback.clone() else { return };
            let parties = Parties {
                account: books.account().to_owned(),
                from: entry.from.clone().unwrap_or_default(),
                to: entry.to.clone(),
                at: Clock::System.now(),
            };
            let callback = sample::message(&parties, &entry.sid, status);
            let code = entry.error_code.filter(|_| status == "failed");
            let code = code.map(|code| ("ErrorCode".to_owned(), code.to_string()));
            (callback.with(code.as_slice()), url)
        };
        let Delivery { tries, answer } = Delivery::of(shared, self.place, &callback, &url).await;
        let answered = answer.map(|(status, _)| status);
        shared.books().reported(self.place, Report { status, tries, answered });
    }
}

/// What came of a request that Twilio made.
pub(super) struct Delivery {
    /// How often it was tried.
    pub(super) tries: u32,
    /// The HTTP status and the body of the last answer, if there was one.
    pub(super) answer: Option<(u16, String)>,
}

impl Delivery {
    /// Of a request to this URL, signed for it, and made again as its fragment says. `turn` chooses the way.
    pub(super) async fn of(shared: &Shared, turn: usize, callback: &Callback, url: &str) -> Self {
        let signed = callback.post(url, &shared.secret);
        let overrides = Overrides::of(url);
        let mut delivery = Self { tries: 0, answer: None };
        loop {
            let place = shared.deliveries.acquire().await;
            let way = shared.way_to(&signed.url, turn + delivery.tries as usize);
            let answer =
                sender::deliver(&shared.client, &way, &signed, Some(&signed.signature)).await;
            drop(place);
            let text = |body: &[u8]| String::from_utf8_lossy(body).into_owned();
            let answered = answer.as_ref().ok();
            delivery.answer = answered.map(|it| (it.status.as_u16(), text(&it.body)));
            let again = overrides.try_again(&answer.map(|answer| answer.status.as_u16()));
            delivery.tries += 1;
            if !again || delivery.tries > overrides.retries {
                return delivery;
            }
            sleep(FIRST_WAIT * 2_u32.pow(delivery.tries - 1)).await;
        }
    }
}

impl Overrides {
    /// Without any, Twilio tries once more, and only if it could not connect.
    fn of(url: &str) -> Self {
        const MOST: u32 = 5;
        let fragment = url.split_once('#').map_or("", |(_, fragment)| fragment);
        let mut found = Self { retries: 1, after_every_failure: false };
        for (name, value) in fragment.split('&').filter_map(|pair| pair.split_once('=')) {
            match name {
                "rc" => found.retries = value.parse().map_or(found.retries, |n: u32| n.min(MOST)),
                "rp" => found.after_every_failure = value.split(',').any(|it| it == "all"),
                _ => {}
            }
        }
        found
    }

    fn try_again(self, answer: &Result<u16, reqwest::Error>) -> bool {
        match answer {
            Ok(200..=299) => false,
            Ok(_) => self.after_every_failure,
            Err(error) => self.after_every_failure || error.is_connect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fragment_says_how_often_a_callback_is_tried() {
        let check = |url, retries, after_every_failure| {
            assert_eq!(Overrides::of(url), Overrides { retries, after_every_failure }, "{url}");
        };
        check("https://h.example/status", 1, false);
        check("https://h.example/status?a=1#rc=5&rp=all", 5, true);
        check("https://h.example/status#rc=50&rp=4xx,5xx", 5, false);
        check("https://h.example/status#rc=0", 0, false);
        let answered = |status| Overrides::of("h#rp=all").try_again(&Ok(status));
        assert_eq!([200, 204, 403, 503].map(answered), [false, false, true, true]);
        assert!(!Overrides::of("h").try_again(&Ok(503)));
    }
}
