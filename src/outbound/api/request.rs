//! What is asked for, read into a notification: every field is checked, and everything that is sent is frozen.

mod campaign;
mod reach;
mod same;
mod texts;

use std::time::Duration;

use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value};

pub(super) use self::campaign::Common;
use self::reach::Reached;
use self::texts::Texts;
use crate::backend::outbox::{Gated, Known, MailPart, NewNotification, NewRoute, NewStep, place};
use crate::clock::Timestamp;
use crate::dispatch::call::CallPlan;
use crate::dispatch::decision::WAIT;
use crate::dispatch::gates::{self, Pause};
use crate::dispatch::quiet_hours::Zone;
use crate::dispatch::segments::MOST_CHARACTERS;
use crate::dispatch::{Channel, Confirm, OnUnknown, Purpose};
use crate::event::AttemptId;
use crate::http::problem::Problem;
use crate::outbound::config::{Config, Route, RouteStep, Sender};
use crate::outbound::request::twiml;
use crate::outbound::{Gates, Hashes};
use crate::twilio::rest::MOST_TWIML;

/// Longest key of a request, and longest reference.
const LONGEST_NAME: usize = 255;
/// The furthest deadline.
const FURTHEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// The body of `POST /api/notifications`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NotificationAsk {
    pub(super) to: String,
    pub(super) email: Option<String>,
    pub(super) text: String,
    pub(super) subject: Option<String>,
    pub(super) html: Option<String>,
    pub(super) values: Option<Map<String, Value>>,
    pub(super) sender: Option<String>,
    pub(super) route: Option<String>,
    pub(super) purpose: String,
    pub(super) confirm: Option<String>,
    pub(super) deadline: Option<String>,
    pub(super) on_unknown: Option<String>,
    pub(super) reference: Option<String>,
    pub(super) time_zone: Option<String>,
}

pub(super) fn wrong(field: &str, problem: impl std::fmt::Display) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, format!("`{field}`: {problem}"))
}

/// One of a closed set.
pub(super) fn named<L: crate::labels::Label>(field: &str, name: &str) -> Result<L, Problem> {
    L::parse(name).ok_or_else(|| {
        let names: Vec<_> = L::all().map(L::name).collect();
        wrong(field, format!("it is not one of {}", names.join(", ")))
    })
}

/// A purpose; marketing only where quiet hours hold it.
pub(super) fn purpose(config: &Config, name: &str) -> Result<Purpose, Problem> {
    let purpose = named("purpose", name)?;
    if purpose == Purpose::Marketing && config.rules.quiet_hours.is_none() {
        let problem = "marketing is not sent at every hour, and no quiet hours are configured: set quiet_hours.profile";
        return Err(wrong("purpose", problem));
    }
    Ok(purpose)
}

/// Behind which place a page begins.
pub(super) fn behind(after: Option<&str>) -> Result<Option<(Timestamp, String)>, Problem> {
    let unknown = || wrong("after", "it is not the `next` of a page");
    after.map(|text| place(text).ok_or_else(unknown)).transpose()
}

pub(super) fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
    let fits = |key: &&str| (1..=LONGEST_NAME).contains(&key.len());
    let key = key.to_str().ok().filter(fits);
    let problem = format!("it is not 1 to {LONGEST_NAME} visible ASCII characters");
    key.map(|key| Some(key.to_owned())).ok_or_else(|| wrong("Idempotency-Key", problem))
}

/// A step as it is asked for: how long it is waited for, and how its sender calls, if it does.
struct PlannedStep<'c> {
    sender: &'c Sender,
    call: Option<CallPlan>,
    wait: Duration,
    despite_stop: bool,
}

impl NotificationAsk {
    /// What is asked for, as far as the store is not needed.
    pub(super) fn plan<'c>(&self, config: &'c Config, now: Timestamp) -> Result<Plan<'c>, Problem> {
        self.plan_for(purpose(config, &self.purpose)?, config, now)
    }

    /// The same for a purpose that is read already.
    fn plan_for<'c>(
        &self,
        purpose: Purpose,
        config: &'c Config,
        now: Timestamp,
    ) -> Result<Plan<'c>, Problem> {
        self.check()?;
        let texts = Texts::of(self)?;
        let on_unknown = match self.on_unknown.as_deref() {
            Some(name) => named("on_unknown", name)?,
            None => purpose.on_unknown(),
        };
        let deadline = self.said_deadline(purpose, now)?;
        let attempt = AttemptId::new(rand::random());
        let steps = self.steps(config, purpose, attempt, &texts)?;
        let channels: Vec<Channel> = steps.iter().map(|step| step.sender.channel()).collect();
        let reached = Reached::of(self, &channels)?;
        texts.check(&channels)?;
        Ok(Plan { config, reached, texts, purpose, on_unknown, deadline, attempt, steps })
    }

    fn sender<'c>(&self, config: &'c Config) -> Result<&'c Sender, Problem> {
        let senders = &config.senders;
        let names = || senders.iter().map(|it| it.name.as_str()).collect::<Vec<_>>().join(", ");
        match (&self.sender, &senders[..]) {
            (None, [only]) => Ok(only),
            (None, _) => {
                Err(wrong("sender", format!("there are several: name one of {}", names())))
            }
            (Some(name), _) => config.sender(name).ok_or_else(|| {
                wrong("sender", format!("there is no such sender: name one of {}", names()))
            }),
        }
    }

    /// The route that the request names.
    fn route<'c>(&self, config: &'c Config) -> Result<Option<&'c Route>, Problem> {
        let Some(name) = &self.route else { return Ok(None) };
        for (field, is_given) in
            [("sender", self.sender.is_some()), ("confirm", self.confirm.is_some())]
        {
            if is_given {
                return Err(wrong(field, "the route says it: leave it out, or name no route"));
            }
        }
        let names =
            || config.routes.iter().map(|it| it.name.as_str()).collect::<Vec<_>>().join(", ");
        let route = config.route(name).ok_or_else(|| match config.routes.is_empty() {
            true => wrong("route", "no route is configured: add a [[route]], or name a sender"),
            false => wrong("route", format!("there is no such route: name one of {}", names())),
        });
        route.map(Some)
    }

    /// The steps of the route, or the one step of the sender.
    fn steps<'c>(
        &self,
        config: &'c Config,
        purpose: Purpose,
        attempt: AttemptId,
        texts: &Texts,
    ) -> Result<Vec<PlannedStep<'c>>, Problem> {
        let Some(route) = self.route(config)? else {
            let sender = self.sender(config)?;
            let call = self.call(config, sender, None, attempt, texts)?;
            return Ok(vec![PlannedStep { sender, call, wait: WAIT, despite_stop: false }]);
        };
        let step = |step: &RouteStep| {
            let sender = config.sender(&step.sender).expect("a route's senders are configured");
            let call = self.call(config, sender, step.confirm, attempt, texts)?;
            let wait = step.wait.or_else(|| call.as_ref().map(CallPlan::longest)).unwrap_or(WAIT);
            let is_message = sender.channel() == Channel::Message;
            let despite_stop = route.despite_stop && purpose == Purpose::Alert && !is_message;
            Ok(PlannedStep { sender, call, wait, despite_stop })
        };
        route.steps.iter().map(step).collect()
    }

    /// The deadline, which may be over.
    fn said_deadline(&self, purpose: Purpose, now: Timestamp) -> Result<Timestamp, Problem> {
        let Some(text) = &self.deadline else {
            return Ok(now.after(gates::default_deadline(purpose)));
        };
        let at = Timestamp::parse_rfc3339(text);
        let at =
            at.ok_or_else(|| wrong("deadline", "it is not a time such as 2026-11-24T08:00:00Z"))?;
        if at.since(now) > FURTHEST {
            return Err(wrong("deadline", "it is more than 7 days ahead"));
        }
        Ok(at)
    }

    fn deadline(&self, purpose: Purpose, now: Timestamp) -> Result<Timestamp, Problem> {
        let at = self.said_deadline(purpose, now)?;
        over(at, now).map_or(Ok(at), Err)
    }

    /// How the sender calls, if it does, with what the request or the step says of it.
    fn call(
        &self,
        config: &Config,
        sender: &Sender,
        confirm: Option<Confirm>,
        attempt: AttemptId,
        texts: &Texts,
    ) -> Result<Option<CallPlan>, Problem> {
        let Some(plan) = &sender.call else {
            if self.confirm.is_some() {
                let problem = "the sender does not call, and what it sends is confirmed by its delivery: leave it out, or name \
                               a sender that calls";
                return Err(wrong("confirm", problem));
            }
            let is_message = sender.channel() == Channel::Message;
            if is_message && texts.text.chars().count() > MOST_CHARACTERS {
                return Err(wrong(
                    "text",
                    format!("it has more than {MOST_CHARACTERS} characters"),
                ));
            }
            return Ok(None);
        };
        let mut plan = plan.clone();
        if let Some(name) = self.confirm.as_deref() {
            plan.confirm = named("confirm", name)?;
        }
        plan.confirm = confirm.unwrap_or(plan.confirm);
        let long = twiml(config, &plan, &texts.text, attempt).chars().count();
        if long > MOST_TWIML {
            let problem = format!(
                "the TwiML that says it has {long} characters, and Twilio takes at most {MOST_TWIML}: shorten it"
            );
            return Err(wrong("text", problem));
        }
        Ok(Some(plan))
    }

    fn check(&self) -> Result<(), Problem> {
        if self.time_zone.as_deref().is_some_and(|name| Zone::parse(name).is_none()) {
            return Err(wrong("time_zone", "it is not a place such as America/New_York"));
        }
        let reference = self.reference.as_deref().unwrap_or("-");
        if !(1..=LONGEST_NAME).contains(&reference.len()) || reference.contains('\0') {
            return Err(wrong("reference", format!("it is not 1 to {LONGEST_NAME} characters")));
        }
        Ok(())
    }
}

/// Why nothing with this deadline is begun, if so.
fn over(deadline: Timestamp, now: Timestamp) -> Option<Problem> {
    let is_over = gates::validity(deadline, now).is_none();
    is_over.then(|| wrong("deadline", "it has passed, or is less than 5 s ahead"))
}

/// What is asked for, read and checked.
pub(super) struct Plan<'c> {
    config: &'c Config,
    reached: Reached,
    texts: Texts,
    purpose: Purpose,
    on_unknown: OnUnknown,
    deadline: Timestamp,
    attempt: AttemptId,
    /// At least one.
    steps: Vec<PlannedStep<'c>>,
}

impl Plan<'_> {
    /// The notification, with everything frozen that it sends, and why it is refused, if so: its deadline has passed, or a
    /// gate refuses its recipient already.
    pub(super) fn notification(
        self,
        asked: NotificationAsk,
        token: String,
        idempotency_key: Option<String>,
        hashes: &Hashes,
        now: Timestamp,
    ) -> (NewNotification, Option<Problem>) {
        let first = self.steps.first().expect("a route has a step, and a sender is one");
        let (sender, to) = (first.sender, self.to(&asked));
        let mut new = NewNotification {
            id: format!("ntf_{:032x}", rand::random::<u128>()),
            token,
            idempotency_key,
            request_hash: asked.hash(hashes),
            purpose: self.purpose,
            on_unknown: self.on_unknown,
            route: self.route(&asked, hashes),
            sender: sender.name.clone(),
            account: sender.account.clone(),
            pace: sender.pace.clone(),
            to_hash: hashes.address(&self.reached.by(sender)),
            to,
            segments: sender.kind.units(&self.texts.text),
            channel: sender.channel(),
            call: first.call.clone(),
            mail: self.mail(),
            body: self.texts.text.clone(),
            reference: asked.reference,
            deadline: self.deadline,
            time_zone: asked.time_zone,
            held: None,
            attempt: self.attempt,
            campaign: None,
            price: None,
        };
        let mails_first = sender.channel() == Channel::Email && self.reached.second().is_some();
        let first = if mails_first { "email" } else { "to" };
        let mut refused = over(new.deadline, now);
        for (field, to) in self.reached.addresses() {
            match gated(self.config, &new, to, now) {
                Gated::Refuse { gate } => {
                    let problem = format!("the gate `{gate}` refuses it; see [outbound]");
                    refused = refused.or_else(|| Some(wrong(field, problem)));
                }
                Gated::Hold { gate, until } if field == first => {
                    new.held = Some((gate, until));
                }
                Gated::Hold { .. } | Gated::Pass | Gated::Expire => {}
            }
        }
        (new, refused)
    }

    /// The address that is kept. Each step of a route reaches the number as its sender does.
    fn to(&self, asked: &NotificationAsk) -> String {
        match asked.route {
            Some(_) => self.reached.to().to_owned(),
            None => self.reached.by(self.steps[0].sender),
        }
    }

    /// What its email says beside the text, if one may be sent.
    fn mail(&self) -> Option<MailPart> {
        let mails = self.steps.iter().any(|step| step.sender.channel() == Channel::Email);
        mails.then(|| MailPart {
            to: self.reached.second().map(str::to_owned),
            subject: self.texts.subject.clone().unwrap_or_default(),
            html: self.texts.html.clone(),
        })
    }

    /// The route as it is kept.
    fn route(&self, asked: &NotificationAsk, hashes: &Hashes) -> Option<NewRoute> {
        let step = |step: &PlannedStep<'_>| NewStep {
            sender: step.sender.name.clone(),
            account: step.sender.account.clone(),
            pace: step.sender.pace.clone(),
            to_hash: hashes.address(&self.reached.by(step.sender)),
            units: step.sender.kind.units(&self.texts.text),
            channel: step.sender.channel(),
            call: step.call.clone(),
            wait: step.wait,
            despite_stop: step.despite_stop,
            price: None,
        };
        let name = asked.route.clone()?;
        Some(NewRoute { name, steps: self.steps.iter().map(step).collect() })
    }
}

/// What the gates say of a recipient without the store: the same ones are asked again before it is sent.
fn gated(config: &Config, new: &NewNotification, to: &str, now: Timestamp) -> Gated {
    let known = Known {
        sender: new.sender.clone(),
        to: to.to_owned(),
        purpose: new.purpose,
        time_zone: new.time_zone.clone(),
        deadline: new.deadline,
        suppressed: false,
        // Asked of the store: see `consents::missing`.
        consented: true,
        recent: Vec::new(),
        calls: None,
        today: 0,
        campaign_pause: Pause::None,
        is_over_cap: false,
        sender_pause: Pause::None,
        account_pause: Pause::None,
        deployment_pause: Pause::None,
    };
    Gates::new(config.rules.clone()).ask(&known, now)
}
