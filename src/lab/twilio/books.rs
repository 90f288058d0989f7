//! [`Books`]: what the simulated account has, of which this file has the messages, and what may be asked of them. No I/O, and the time is an argument.

use std::collections::HashMap;
use std::time::Duration;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::behaviour::{Behaviour, Fate, Plan};
use super::ledger::{Entry, Fetched, Ledger, Post, Report, Update};
use super::listing::Listing;
use super::reply::Reply;
use crate::clock::Timestamp;
use crate::event::AttemptId;
use crate::event::attempt::ATTEMPT_PARAMETER;
use crate::lab::sample;
use crate::twilio::params::Params;
use crate::twilio::rest::path;

/// Most characters of a text.
const LONGEST_BODY: usize = 1_600;

/// What is known, and how to behave.
#[derive(Debug)]
pub(super) struct Books {
    pub(super) behaviour: Behaviour,
    account: String,
    seed: u64,
    pub(super) ledger: Ledger,
    /// Each is cancelled when the call at its place is.
    pub(super) hang_ups: Vec<CancellationToken>,
    /// Where a message is in the ledger.
    places: HashMap<String, usize>,
    /// When the queue of each sender is empty.
    empty_at: HashMap<String, Timestamp>,
}

/// What comes of a create.
#[derive(Debug)]
pub(super) struct Decision {
    pub(super) fate: Fate,
    pub(super) reply: Reply,
    pub(super) created: Option<Created>,
}

/// A message that was just created.
#[derive(Debug)]
pub(super) struct Created {
    /// Its place in the ledger.
    pub(super) place: usize,
    pub(super) plan: Plan,
    /// When it leaves the queue; `None` if it did not fit.
    pub(super) sent_at: Option<Timestamp>,
}

/// What a form asks for, if it may be had.
struct Asked {
    to: String,
    from: Option<String>,
    service: Option<String>,
    body: String,
    status_callback: Option<String>,
    validity_period: Option<u32>,
}

impl Books {
    pub(super) fn new(account: &str, seed: u64, behaviour: Behaviour) -> Self {
        let (ledger, places, empty_at) = (Ledger::default(), HashMap::new(), HashMap::new());
        let (account, hang_ups) = (account.to_owned(), Vec::new());
        Self { behaviour, account, seed, ledger, hang_ups, places, empty_at }
    }

    pub(super) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    pub(super) fn account(&self) -> &str {
        &self.account
    }

    /// Refuses a request for what has nothing to do with it.
    pub(super) fn throttle(&mut self, in_flight: usize) -> Option<Reply> {
        let most = self.behaviour.max_in_flight;
        let over = most > 0 && in_flight > most as usize;
        if !over && !take_one(&mut self.behaviour.throttle_next) {
            return None;
        }
        let retry_after = Some(self.behaviour.retry_after).filter(|seconds| *seconds > 0);
        Some(Reply { retry_after, ..Reply::refusal(20429) })
    }

    /// A POST that would create a message.
    pub(super) fn create(&mut self, form: &[u8], in_flight: usize, now: Timestamp) -> Decision {
        let form = Params::parse(form);
        let mut decision = self.decide(&form, in_flight, now);
        let callback = form.get("StatusCallback");
        let created = decision.created.as_ref().map(|created| created.place);
        let answered = self.answered(decision.fate, &mut decision.reply);
        self.ledger.posts.push(Post {
            at: now,
            to: form.get("To").map(|to| to.into_owned()),
            attempt: callback.and_then(|url| attempt_of(&url)),
            sid: created.map(|place| self.ledger.messages[place].sid.clone()),
            answered,
            code: decision.reply.code.filter(|_| answered.is_some()),
        });
        decision
    }

    /// The HTTP status that a create is answered with, whose reply becomes that of its fate; `None` if it is not answered.
    pub(super) fn answered(&self, fate: Fate, reply: &mut Reply) -> Option<u16> {
        match fate {
            Fate::Dropped | Fate::Reset => None,
            Fate::Answered | Fate::AnsweredLate => Some(reply.status),
            Fate::FailedCreated | Fate::FailedUncreated => {
                *reply = Reply::refusal(if fate.creates() { 20500 } else { 20503 });
                Some(reply.status)
            }
        }
    }

    fn decide(&mut self, form: &Params<'_>, in_flight: usize, now: Timestamp) -> Decision {
        let refuse = |reply| Decision { fate: Fate::Answered, reply, created: None };
        let mut rng = StdRng::seed_from_u64(self.seed ^ (self.ledger.posts.len() as u64) << 20);
        let plan = self.behaviour.plan(&mut rng);
        if let Some(reply) = self.throttle(in_flight) {
            return refuse(reply);
        }
        if take_one(&mut self.behaviour.daily_limit_next) {
            return refuse(Reply::refusal(63038));
        }
        let asked = match self.read(form) {
            Ok(asked) => asked,
            Err(code) => return refuse(Reply::refusal(code)),
        };
        if !plan.fate.creates() {
            let reply = Reply::refusal(20503);
            return Decision { fate: plan.fate, reply, created: None };
        }
        let segments = segments(&asked.body);
        let sent_at = self.queue(&asked, segments, now);
        if sent_at.is_none() && asked.service.is_none() {
            return refuse(Reply::refusal(21611));
        }
        let place = self.add(asked, segments, plan, now, &mut rng);
        let reply = Reply::of(201, self.resource(place));
        Decision { fate: plan.fate, reply, created: Some(Created { place, plan, sent_at }) }
    }

    /// What the form asks for, or the code of why not.
    fn read(&self, form: &Params<'_>) -> Result<Asked, u32> {
        let get = |name| form.get(name).map(|value| value.into_owned());
        let to = get("To").ok_or(21604_u32)?;
        if !is_address(&to) || self.behaviour.bad_number.contains(&to) {
            return Err(21211);
        }
        let (from, service) = (get("From"), get("MessagingServiceSid"));
        if from.is_none() && service.is_none() {
            return Err(21603);
        }
        if service.as_deref().is_some_and(|sid| !is_sid(sid, "MG")) {
            return Err(21701);
        }
        if self.behaviour.opted_out.contains(&to) {
            return Err(21610);
        }
        let body = get("Body").ok_or(21602_u32)?;
        if body.chars().count() > LONGEST_BODY {
            return Err(21617);
        }
        let status_callback = get("StatusCallback");
        let is_url = |url: &String| url.starts_with("http://") || url.starts_with("https://");
        if !status_callback.as_ref().is_none_or(is_url) {
            return Err(21609);
        }
        let validity_period = match get("ValidityPeriod") {
            None => None,
            Some(text) => match text.parse() {
                Ok(seconds @ 1..=36_000) => Some(seconds),
                _ => return Err(20001),
            },
        };
        Ok(Asked { to, from, service, body, status_callback, validity_period })
    }

    /// When a message leaves its sender's queue; `None` if it does not fit.
    fn queue(&mut self, asked: &Asked, segments: u32, now: Timestamp) -> Option<Timestamp> {
        let rate = self.behaviour.sender_rate;
        if rate <= 0.0 {
            return Some(now);
        }
        let sender = asked.service.clone().or(asked.from.clone()).unwrap_or_default();
        let empty_at = self.empty_at.entry(sender).or_insert(now);
        let leaves = (*empty_at).max(now);
        let waiting = leaves.since(now).as_secs_f64() * rate;
        if waiting + f64::from(segments) > f64::from(self.behaviour.sender_queue) {
            return None;
        }
        *empty_at = after(leaves, Duration::from_secs_f64(f64::from(segments) / rate));
        Some(leaves)
    }

    fn add(
        &mut self,
        asked: Asked,
        segments: u32,
        plan: Plan,
        now: Timestamp,
        rng: &mut StdRng,
    ) -> usize {
        let place = self.ledger.messages.len();
        let sid = sample::sid("SM", rng);
        self.places.insert(sid.clone(), place);
        let kept_body = match plan.rewritten {
            true => format!("{}\n\nReply STOP to end", asked.body),
            false => asked.body.clone(),
        };
        self.ledger.messages.push(Entry {
            sid,
            attempt: asked.status_callback.as_deref().and_then(attempt_of),
            to: asked.to,
            from: asked.from,
            service: asked.service,
            body: asked.body,
            kept_body,
            segments,
            status_callback: asked.status_callback,
            validity_period: asked.validity_period,
            created_at: now,
            sent_at: None,
            status: "queued",
            error_code: None,
            reports: Vec::new(),
            fetched: Vec::new(),
        });
        place
    }

    /// The message's next status. One that has left its queue has a sender.
    pub(super) fn advance(&mut self, place: usize, status: &'static str, now: Timestamp) {
        let entry = &mut self.ledger.messages[place];
        entry.status = status;
        if status == "sent" {
            entry.sent_at = Some(now);
            entry.from.get_or_insert_with(|| "+15005550006".to_owned());
        }
        entry.error_code = error_of(status, entry);
    }

    pub(super) fn reported(&mut self, place: usize, report: Report) {
        self.ledger.messages[place].reports.push(report);
    }

    pub(super) fn updated(&mut self, update: Update) {
        self.ledger.updates.push(update);
    }

    pub(super) fn entry(&self, place: usize) -> &Entry {
        &self.ledger.messages[place]
    }

    /// A GET of one message.
    pub(super) fn fetch(&mut self, sid: &str, now: Timestamp) -> Reply {
        match self.places.get(sid).copied() {
            Some(place) => {
                let entry = &mut self.ledger.messages[place];
                entry.fetched.push(Fetched { at: now, status: entry.status });
                Reply::of(200, self.resource(place))
            }
            None => Reply::refusal(20404),
        }
    }

    /// A GET of a page of messages, the newest first.
    pub(super) fn list(&self, query: &str, now: Timestamp) -> Reply {
        let lag = Duration::from_millis(self.behaviour.list_lag_ms);
        let listing = Listing {
            path: path::messages(&self.account),
            name: "messages",
            query: Params::parse(query.as_bytes()),
        };
        let all = self.ledger.messages.iter();
        let listed = all.map(|entry| {
            let is_listed = now.since(entry.created_at) >= lag;
            (entry.sid.as_str(), is_listed && listing.wants((&entry.to, entry.from.as_deref())))
        });
        listing.page(listed.collect(), |place| self.resource(place))
    }

    /// The message as Twilio describes it.
    fn resource(&self, place: usize) -> Value {
        let entry = self.entry(place);
        let uri = path::message(&self.account, &entry.sid);
        let subresource = |name| uri.replace(".json", &format!("/{name}.json"));
        let unassigned = entry.service.is_some() && entry.from.is_none();
        let segments = if unassigned { 0 } else { entry.segments };
        let changed = entry.sent_at.unwrap_or(entry.created_at);
        json!({
            "sid": entry.sid,
            "account_sid": self.account,
            "messaging_service_sid": entry.service,
            "to": entry.to,
            "from": entry.from,
            "body": entry.kept_body,
            "status": entry.status,
            "error_code": entry.error_code,
            "error_message": entry.error_code.map(|_| "The message was not delivered"),
            "direction": "outbound-api",
            "num_segments": segments.to_string(),
            "num_media": "0",
            "date_created": sample::rfc2822(entry.created_at),
            "date_updated": sample::rfc2822(changed),
            "date_sent": entry.sent_at.map(sample::rfc2822),
            "price": null,
            "price_unit": "USD",
            "api_version": "2010-04-01",
            "uri": uri,
            "subresource_uris": {
                "media": subresource("Media"),
                "feedback": subresource("Feedback"),
            },
        })
    }
}

/// The code with which a message fails.
fn error_of(status: &str, entry: &Entry) -> Option<u32> {
    match status {
        "undelivered" => Some(30003),
        // What did not fit into the queue of its Messaging Service.
        "failed" if entry.sent_at.is_none() => Some(30001),
        "failed" => Some(30008),
        _ => None,
    }
}

fn take_one(of: &mut u32) -> bool {
    let any = *of > 0;
    *of = of.saturating_sub(1);
    any
}

fn after(at: Timestamp, wait: Duration) -> Timestamp {
    let micros = i64::try_from(wait.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(at.micros().saturating_add(micros))
}

/// E.164, with or without a channel before it.
pub(super) fn is_address(to: &str) -> bool {
    let number = to.split_once(':').map_or(to, |(_, number)| number);
    let digits = number.strip_prefix('+').unwrap_or_default();
    (7..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_sid(text: &str, prefix: &str) -> bool {
    let digits = text.strip_prefix(prefix).unwrap_or_default();
    digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The attempt that the URL of a callback names.
pub(super) fn attempt_of(url: &str) -> Option<String> {
    let (_, query) = url.split('#').next()?.split_once('?')?;
    let params = Params::parse(query.as_bytes());
    AttemptId::parse(&params.get(ATTEMPT_PARAMETER)?).map(|attempt| attempt.to_string())
}

/// Roughly: ASCII counts as GSM-7, everything else as UCS-2.
fn segments(body: &str) -> u32 {
    let (alone, each) = if body.is_ascii() { (160, 153) } else { (70, 67) };
    let units = body.encode_utf16().count();
    let segments = if units <= alone { 1 } else { units.div_ceil(each) };
    u32::try_from(segments).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
