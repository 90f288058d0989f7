//! [`Numbers`]: the numbers and Messaging Services of the simulated account, with the URLs that they are configured with.
//! No I/O, and the time is an argument.

use std::collections::BTreeMap;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use super::ledger::Update;
use super::reply::Reply;
use super::request::Request;
use crate::clock::Timestamp;
use crate::lab::sample;
use crate::twilio::params::Params;
use crate::twilio::rest::{Field, What, parameter, path};

/// Those of a page where no number is given, and at most.
const PAGE_SIZES: (usize, usize) = (50, 1_000);

/// All of them, as Twilio describes them, in the order in which they were added.
#[derive(Debug)]
pub(super) struct Numbers {
    account: String,
    /// The URL of the simulator.
    url: String,
    numbers: Vec<Value>,
    services: Vec<Value>,
    rng: StdRng,
}

/// What a path is about.
#[derive(Clone, Copy)]
enum Place<'p> {
    All(What),
    One(What, &'p str),
}

impl Numbers {
    pub(super) fn new(account: &str, url: &str, seed: u64) -> Self {
        // Apart from the messages, whose SIDs stay as they are.
        let rng = StdRng::seed_from_u64(!seed);
        let (account, url) = (account.to_owned(), url.to_owned());
        Self { account, url, numbers: Vec::new(), services: Vec::new(), rng }
    }

    /// A number without URLs; its SID.
    pub(super) fn add_number(&mut self, number: &str, now: Timestamp) -> String {
        let sid = sample::sid("PN", &mut self.rng);
        self.numbers.push(json!({
            "sid": sid,
            "account_sid": self.account,
            "phone_number": number,
            "friendly_name": number,
            "api_version": "2010-04-01",
            "address_requirements": "none",
            "address_sid": null,
            "beta": false,
            "bundle_sid": null,
            "capabilities": { "voice": true, "sms": true, "mms": true, "fax": false },
            "date_created": sample::rfc2822(now),
            "date_updated": sample::rfc2822(now),
            "emergency_address_sid": null,
            "emergency_address_status": "unregistered",
            "emergency_status": "Inactive",
            "identity_sid": null,
            "origin": "twilio",
            "sms_application_sid": null,
            "sms_fallback_method": "POST",
            "sms_fallback_url": "",
            "sms_method": "POST",
            "sms_url": "",
            "status": "in-use",
            "status_callback": "",
            "status_callback_method": "POST",
            "trunk_sid": null,
            "uri": path::number(&self.account, &sid),
            "voice_application_sid": null,
            "voice_caller_id_lookup": false,
            "voice_fallback_method": "POST",
            "voice_fallback_url": "",
            "voice_method": "POST",
            "voice_receive_mode": "voice",
            "voice_url": "",
        }));
        sid
    }

    /// A Messaging Service without URLs; its SID.
    pub(super) fn add_service(&mut self, name: &str) -> String {
        let sid = sample::sid("MG", &mut self.rng);
        self.services.push(json!({
            "sid": sid,
            "account_sid": self.account,
            "friendly_name": name,
            "inbound_request_url": null,
            "inbound_method": "POST",
            "fallback_url": null,
            "fallback_method": "POST",
            "status_callback": null,
            "use_inbound_webhook_on_number": false,
            "url": format!("{}{}", self.url, path::service(&sid)),
        }));
        sid
    }

    /// Whether a path leads to them.
    pub(super) fn have(&self, path: &str) -> bool {
        self.place(path).is_some()
    }

    /// The answer to a request, and what it has changed.
    pub(super) fn answer(
        &mut self,
        request: &Request,
        body: &[u8],
        now: Timestamp,
    ) -> (Reply, Option<Update>) {
        match (&*request.method, self.place(&request.path)) {
            ("GET", Some(Place::All(what))) => (self.page(what, &request.query), None),
            ("GET", Some(Place::One(what, sid))) => {
                let found = self.of(what).iter().find(|it| it["sid"] == sid);
                let found = found.map(|it| Reply::of(200, it.clone()));
                (found.unwrap_or_else(|| Reply::refusal(20404)), None)
            }
            ("POST", Some(Place::One(what, sid))) => self.update(what, sid, body, now),
            _ => (Reply::refusal(20404), None),
        }
    }

    fn place<'p>(&self, path: &'p str) -> Option<Place<'p>> {
        let numbers = path::numbers(&self.account);
        if path == numbers {
            return Some(Place::All(What::Number));
        }
        if let Some(rest) = path.strip_prefix(numbers.trim_end_matches(".json")) {
            let sid = rest.strip_prefix('/')?.strip_suffix(".json")?;
            return Some(Place::One(What::Number, sid));
        }
        let rest = path.strip_prefix(path::SERVICES)?;
        match rest {
            "" => Some(Place::All(What::MessagingService)),
            rest => Some(Place::One(What::MessagingService, rest.strip_prefix('/')?)),
        }
    }

    fn of(&self, what: What) -> &[Value] {
        match what {
            What::Number => &self.numbers,
            What::MessagingService => &self.services,
        }
    }

    fn update(
        &mut self,
        what: What,
        sid: &str,
        body: &[u8],
        now: Timestamp,
    ) -> (Reply, Option<Update>) {
        let all = match what {
            What::Number => &mut self.numbers,
            What::MessagingService => &mut self.services,
        };
        let Some(one) = all.iter_mut().find(|it| it["sid"] == sid) else {
            return (Reply::refusal(20404), None);
        };
        let form = Params::parse(body);
        let mut names: Vec<&str> = Vec::new();
        for field in Field::ALL {
            names.extend([Some(field.as_str()), field.method(what)].into_iter().flatten());
        }
        // Twilio ignores what it does not know.
        names.retain(|name| one.get(name).is_some());
        let given = names.iter().filter_map(|name| {
            let value = form.get(&parameter(name))?.into_owned();
            Some(((*name).to_owned(), value))
        });
        let set: BTreeMap<String, String> = given.collect();
        let fits = |(name, value): (&String, &String)| match name.ends_with("method") {
            true => ["GET", "POST"].contains(&value.as_str()),
            false => {
                value.is_empty() || value.starts_with("http://") || value.starts_with("https://")
            }
        };
        if !set.iter().all(fits) {
            return (Reply::refusal(20001), None);
        }
        for (name, value) in &set {
            one[name] = value.as_str().into();
        }
        if one.get("date_updated").is_some() {
            one["date_updated"] = sample::rfc2822(now).into();
        }
        (Reply::of(200, one.clone()), Some(Update { at: now, sid: sid.to_owned(), set }))
    }

    fn page(&self, what: What, query: &str) -> Reply {
        let params = Params::parse(query.as_bytes());
        let number = |name| params.get(name).and_then(|text| text.parse::<usize>().ok());
        let (usual, most) = PAGE_SIZES;
        let size = number("PageSize").unwrap_or(usual).clamp(1, most);
        let page = number("Page").unwrap_or(0);
        let like = params.get("PhoneNumber").filter(|_| what == What::Number);
        let is_wanted = |it: &&Value| {
            let number = it["phone_number"].as_str().unwrap_or_default();
            like.as_ref().is_none_or(|like| number.contains(&**like))
        };
        let all: Vec<&Value> = self.of(what).iter().filter(is_wanted).collect();
        let start = page.saturating_mul(size).min(all.len());
        let found = &all[start..all.len().min(start + size)];
        let uri = |page: usize| {
            let mut query = form_urlencoded::Serializer::new(String::new());
            if let Some(like) = &like {
                query.append_pair("PhoneNumber", like);
            }
            query.append_pair("PageSize", &size.to_string());
            query.append_pair("Page", &page.to_string());
            match what {
                What::Number => format!("{}?{}", path::numbers(&self.account), query.finish()),
                What::MessagingService => {
                    format!("{}{}?{}", self.url, path::SERVICES, query.finish())
                }
            }
        };
        let next = (start + found.len() < all.len()).then(|| uri(page + 1));
        let previous = (page > 0).then(|| uri(page - 1));
        Reply::of(
            200,
            match what {
                What::Number => json!({
                    "first_page_uri": uri(0),
                    "previous_page_uri": previous,
                    "next_page_uri": next,
                    "uri": uri(page),
                    "page": page,
                    "page_size": size,
                    "start": start,
                    "end": (start + found.len()).saturating_sub(1),
                    "incoming_phone_numbers": found,
                }),
                What::MessagingService => json!({
                    "services": found,
                    "meta": {
                        "page": page,
                        "page_size": size,
                        "first_page_url": uri(0),
                        "previous_page_url": previous,
                        "next_page_url": next,
                        "url": uri(page),
                        "key": "services",
                    },
                }),
            },
        )
    }
}
