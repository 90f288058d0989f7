//! The calls of the simulated account, and what may be asked of them. No I/O, and the time is an argument.

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::behaviour::{Fate, Life, Plan};
use super::books::{Books, attempt_of, is_address};
use super::ledger::{CallEntry, Post, Report};
use super::listing::Listing;
use super::reply::Reply;
use crate::clock::Timestamp;
use crate::lab::sample;
use crate::twilio::params::Params;
use crate::twilio::rest::{MOST_TWIML, path};

/// What comes of a create.
#[derive(Debug)]
pub(super) struct Decision {
    pub(super) fate: Fate,
    pub(super) reply: Reply,
    pub(super) created: Option<CreatedCall>,
}

/// A call that was just created.
#[derive(Debug)]
pub(super) struct CreatedCall {
    /// Its place in the ledger.
    pub(super) place: usize,
    pub(super) plan: Plan,
    pub(super) life: Life,
    /// Is cancelled when the call is.
    pub(super) hang_up: CancellationToken,
}

/// What a form asks for, if it may be had.
struct Asked {
    to: String,
    from: String,
    twiml: String,
    status_callback: Option<String>,
    events: Vec<String>,
    detects_machines: bool,
    timeout_s: u32,
    time_limit_s: Option<u32>,
}

impl Books {
    /// A POST that would create a call.
    pub(super) fn create_call(
        &mut self,
        form: &[u8],
        in_flight: usize,
        now: Timestamp,
    ) -> Decision {
        let form = Params::parse(form);
        let mut decision = self.decide_call(&form, in_flight, now);
        let answered = self.answered(decision.fate, &mut decision.reply);
        let callback = form.get("StatusCallback");
        let created = decision.created.as_ref().map(|created| created.place);
        let sid = created.map(|place| self.ledger.calls[place].sid.clone());
        self.ledger.posts.push(Post {
            at: now,
            to: form.get("To").map(|to| to.into_owned()),
            attempt: callback.and_then(|url| attempt_of(&url)),
            sid,
            answered,
            code: decision.reply.code.filter(|_| answered.is_some()),
        });
        decision
    }

    fn decide_call(&mut self, form: &Params<'_>, in_flight: usize, now: Timestamp) -> Decision {
        let refuse = |reply| Decision { fate: Fate::Answered, reply, created: None };
        let mut rng = StdRng::seed_from_u64(self.seed() ^ (self.ledger.posts.len() as u64) << 20);
        let plan = self.behaviour.plan(&mut rng);
        let life = self.behaviour.life(&mut rng);
        if let Some(reply) = self.throttle(in_flight) {
            return refuse(reply);
        }
        let asked = match self.read_call(form) {
            Ok(asked) => asked,
            Err(code) => return refuse(Reply::refusal(code)),
        };
        if !plan.fate.creates() {
            let reply = Reply::refusal(20503);
            return Decision { fate: plan.fate, reply, created: None };
        }
        let place = self.add_call(asked, now, &mut rng);
        let reply = Reply::of(201, self.call_resource(place));
        let hang_up = self.hang_ups[place].clone();
        let created = Some(CreatedCall { place, plan, life, hang_up });
        Decision { fate: plan.fate, reply, created }
    }

    /// What the form asks for, or the code of why not.
    fn read_call(&self, form: &Params<'_>) -> Result<Asked, u32> {
        let get = |name| form.get(name).map(|value| value.into_owned());
        let to = get("To").ok_or(21201_u32)?;
        if !is_address(&to) || self.behaviour.bad_number.contains(&to) {
            return Err(21217);
        }
        let from = get("From").ok_or(21213_u32)?;
        let twiml = get("Twiml").ok_or(21205_u32)?;
        let status_callback = get("StatusCallback");
        let is_url = |url: &String| url.starts_with("http://") || url.starts_with("https://");
        let number = |name, default: u32, range: std::ops::RangeInclusive<u32>| match get(name) {
            None => Ok(default),
            Some(text) => {
                text.parse().ok().filter(|number| range.contains(number)).ok_or(20001_u32)
            }
        };
        if twiml.chars().count() > MOST_TWIML || !status_callback.as_ref().is_none_or(is_url) {
            return Err(20001);
        }
        let events = form.iter().filter(|(name, _)| *name == b"StatusCallbackEvent");
        Ok(Asked {
            to,
            from,
            twiml,
            status_callback,
            events: events.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect(),
            detects_machines: get("MachineDetection").is_some(),
            timeout_s: number("Timeout", 60, 1..=600)?,
            time_limit_s: Some(number("TimeLimit", 14_400, 1..=86_400)?),
        })
    }

    fn add_call(&mut self, asked: Asked, now: Timestamp, rng: &mut StdRng) -> usize {
        let place = self.ledger.calls.len();
        self.ledger.calls.push(CallEntry {
            sid: sample::sid("CA", rng),
            attempt: asked.status_callback.as_deref().and_then(attempt_of),
            to: asked.to,
            from: asked.from,
            twiml: asked.twiml,
            status_callback: asked.status_callback,
            events: asked.events,
            detects_machines: asked.detects_machines,
            timeout_s: asked.timeout_s,
            time_limit_s: asked.time_limit_s,
            created_at: now,
            over_at: None,
            status: "queued",
            answered_by: None,
            pressed: None,
            reports: Vec::new(),
        });
        self.hang_ups.push(CancellationToken::new());
        place
    }

    fn place_of_call(&self, sid: &str) -> Option<usize> {
        self.ledger.calls.iter().position(|call| call.sid == sid)
    }

    /// A GET of one call.
    pub(super) fn fetch_call(&self, sid: &str) -> Reply {
        match self.place_of_call(sid) {
            Some(place) => Reply::of(200, self.call_resource(place)),
            None => Reply::refusal(20404),
        }
    }

    /// A POST that ends one call. Only one that is queued or rings can be cancelled.
    pub(super) fn change_call(&mut self, sid: &str, form: &[u8], now: Timestamp) -> Reply {
        let Some(place) = self.place_of_call(sid) else { return Reply::refusal(20404) };
        let form = Params::parse(form);
        let status = form.get("Status");
        match (status.as_deref(), self.ledger.calls[place].status) {
            (Some("canceled"), "queued" | "initiated" | "ringing") => {
                self.advance_call(place, "canceled", now);
                self.hang_ups[place].cancel();
                Reply::of(200, self.call_resource(place))
            }
            (Some("canceled" | "completed"), _) => Reply::refusal(21220),
            _ => Reply::refusal(20001),
        }
    }

    /// The call's next status, unless it has its last one.
    pub(super) fn advance_call(&mut self, place: usize, status: &'static str, now: Timestamp) {
        let call = &mut self.ledger.calls[place];
        if call.over_at.is_none() {
            call.status = status;
            let is_last = !matches!(status, "initiated" | "ringing" | "in-progress");
            call.over_at = is_last.then_some(now);
        }
    }

    pub(super) fn call(&self, place: usize) -> &CallEntry {
        &self.ledger.calls[place]
    }

    pub(super) fn answered_by(&mut self, place: usize, answered_by: &'static str) {
        self.ledger.calls[place].answered_by = Some(answered_by);
    }

    pub(super) fn pressed(&mut self, place: usize, answer: Option<(u16, String)>) {
        self.ledger.calls[place].pressed = answer;
    }

    pub(super) fn reported_call(&mut self, place: usize, report: Report) {
        self.ledger.calls[place].reports.push(report);
    }

    /// A GET of a page of calls, the newest first.
    pub(super) fn list_calls(&self, query: &str, now: Timestamp) -> Reply {
        let lag = std::time::Duration::from_millis(self.behaviour.list_lag_ms);
        let listing = Listing {
            path: path::calls(self.account()),
            name: "calls",
            query: Params::parse(query.as_bytes()),
        };
        let all = self.ledger.calls.iter();
        let listed = all.map(|call| {
            let is_listed = now.since(call.created_at) >= lag;
            let ends = (call.to.as_str(), Some(call.from.as_str()));
            (call.sid.as_str(), is_listed && listing.wants(ends))
        });
        listing.page(listed.collect(), |place| self.call_resource(place))
    }

    /// The call as Twilio describes it.
    fn call_resource(&self, place: usize) -> Value {
        let call = self.call(place);
        let uri = path::call(self.account(), &call.sid);
        let subresource = |name| uri.replace(".json", &format!("/{name}.json"));
        json!({
            "sid": call.sid,
            "account_sid": self.account(),
            "to": call.to,
            "to_formatted": call.to,
            "from": call.from,
            "from_formatted": call.from,
            // What the API does not say, only a callback.
            "status": if call.status == "initiated" { "queued" } else { call.status },
            "direction": "outbound-api",
            "answered_by": call.answered_by,
            "parent_call_sid": null,
            "phone_number_sid": null,
            "group_sid": null,
            "trunk_sid": null,
            "caller_name": null,
            "forwarded_from": null,
            "date_created": sample::rfc2822(call.created_at),
            "date_updated": sample::rfc2822(call.over_at.unwrap_or(call.created_at)),
            "start_time": null,
            "end_time": call.over_at.map(sample::rfc2822),
            "duration": call.over_at.map(|at| at.since(call.created_at).as_secs().to_string()),
            "queue_time": "0",
            "price": null,
            "price_unit": "USD",
            "api_version": "2010-04-01",
            "uri": uri,
            "subresource_uris": {
                "events": subresource("Events"),
                "notifications": subresource("Notifications"),
                "recordings": subresource("Recordings"),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::twilio::behaviour::{Behaviour, Share};

    const ACCOUNT: &str = "AC00000000000000000000000000000001";
    const FORM: &str = "To=%2B15550100&From=%2B15550199&Twiml=%3CResponse%2F%3E";

    fn books(behaviour: Behaviour) -> Books {
        Books::new(ACCOUNT, 7, behaviour)
    }

    fn at() -> Timestamp {
        Timestamp::from_micros(1_764_000_000_000_000)
    }

    #[test]
    fn a_form_that_twilio_would_refuse_is_refused_with_its_code() {
        let mut books =
            books(Behaviour { bad_number: vec!["+15550110".to_owned()], ..Behaviour::default() });
        let long = format!("{FORM}{}", "x".repeat(MOST_TWIML));
        for (form, code) in [
            ("From=%2B15550199&Twiml=x", 21201),
            ("To=%2B15550110&From=%2B15550199&Twiml=x", 21217),
            ("To=%2B15550100&Twiml=x", 21213),
            ("To=%2B15550100&From=%2B15550199", 21205),
            (&format!("{FORM}&Timeout=0"), 20001),
            (&format!("{FORM}&StatusCallback=ftp"), 20001),
            (&long, 20001),
        ] {
            let reply = books.create_call(form.as_bytes(), 1, at()).reply;
            assert_eq!((reply.status, reply.code), (400, Some(code)), "{form}");
        }
        assert!(books.ledger().calls.is_empty());
        assert_eq!(books.create_call(FORM.as_bytes(), 1, at()).reply.status, 201);
        assert_eq!(books.ledger().posts.len(), 8);
    }

    #[test]
    fn only_a_call_that_is_not_answered_can_be_cancelled() {
        let mut books = books(Behaviour::default());
        for (place, status, expected) in
            [(0, "ringing", 200), (1, "in-progress", 400), (2, "completed", 400)]
        {
            books.create_call(FORM.as_bytes(), 1, at());
            books.advance_call(place, status, at());
            let sid = books.call(place).sid.clone();
            let reply = books.change_call(&sid, b"Status=canceled", at());
            assert_eq!(reply.status, expected, "{status}");
            assert_eq!(books.hang_ups[place].is_cancelled(), expected == 200);
        }
        books.advance_call(0, "in-progress", at());
        assert_eq!(books.call(0).status, "canceled", "the last status is the last");
    }

    #[test]
    fn calls_are_listed_by_their_numbers_and_what_fails_creates_none() {
        let mut books = books(Behaviour::default());
        books.create_call(FORM.as_bytes(), 1, at());
        books.behaviour.reset = Share::ALWAYS;
        assert!(books.create_call(FORM.as_bytes(), 1, at()).created.is_none());
        let listed = |query| books.list_calls(query, at()).body["calls"].as_array().map(Vec::len);
        assert_eq!(listed("To=%2B15550100&PageSize=1"), Some(1));
        assert_eq!(listed("To=%2B15550101"), Some(0));
    }
}
