//! Notifications: asked for, looked at, cancelled.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use tracing::info;

use super::view::{AttemptView, NotificationView, UnknownView};
use super::{Api, TokenId, unavailable};
use crate::backend::outbox::{
    Asked, CancelOutcome, Gated, Known, NewNotification, NotificationSearch, ROWS_PER_PAGE,
};
use crate::clock::Timestamp;
use crate::dispatch::call::CallPlan;
use crate::dispatch::gates::{self, Pause};
use crate::dispatch::quiet_hours::Zone;
use crate::dispatch::segments::MOST_CHARACTERS;
use crate::dispatch::{NotificationState, Purpose};
use crate::event::AttemptId;
use crate::http::problem::Problem;
use crate::outbound::Gates;
use crate::outbound::config::{Config, Sender};
use crate::outbound::dispatcher::twiml;
use crate::outbound::gate::number;
use crate::outbound::trace::Trace;
use crate::twilio::rest::MOST_TWIML;

/// Longest key of a request, and longest reference.
const LONGEST_NAME: usize = 255;
/// The furthest deadline.
const FURTHEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// The body of `POST /api/notifications`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NotificationAsk {
    to: String,
    text: String,
    sender: Option<String>,
    purpose: String,
    confirm: Option<String>,
    deadline: Option<String>,
    on_unknown: Option<String>,
    reference: Option<String>,
    time_zone: Option<String>,
}

/// The answer to it.
#[derive(Debug, Serialize)]
pub(super) struct AskedView {
    id: String,
    /// Whether the same request was asked before under the same key.
    repeated: bool,
    segments: u32,
}

fn wrong(field: &str, problem: impl std::fmt::Display) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, format!("`{field}`: {problem}"))
}

/// One of a closed set.
fn named<L: crate::labels::Label>(field: &str, name: &str) -> Result<L, Problem> {
    L::parse(name).ok_or_else(|| {
        let names: Vec<_> = L::all().map(L::name).collect();
        wrong(field, format!("it is not one of {}", names.join(", ")))
    })
}

fn purpose(name: &str) -> Result<Purpose, Problem> {
    if name == "marketing" {
        let problem = "marketing is not sent: this version does not check consent and quiet hours";
        return Err(wrong("purpose", problem));
    }
    named("purpose", name)
}

fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
    let fits = |key: &&str| (1..=LONGEST_NAME).contains(&key.len());
    let key = key.to_str().ok().filter(fits);
    let problem = format!("it is not 1 to {LONGEST_NAME} visible ASCII characters");
    key.map(|key| Some(key.to_owned())).ok_or_else(|| wrong("Idempotency-Key", problem))
}

impl NotificationAsk {
    fn sender<'a>(&self, config: &'a Config) -> Result<&'a Sender, Problem> {
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

    fn deadline(&self, purpose: Purpose, now: Timestamp) -> Result<Timestamp, Problem> {
        let Some(text) = &self.deadline else {
            return Ok(now.after(gates::default_deadline(purpose)));
        };
        let at = Timestamp::parse_rfc3339(text);
        let at =
            at.ok_or_else(|| wrong("deadline", "it is not a time such as 2026-11-24T08:00:00Z"))?;
        if gates::validity(at, now).is_none() {
            return Err(wrong("deadline", "it has passed, or is less than 5 s ahead"));
        }
        if at.since(now) > FURTHEST {
            return Err(wrong("deadline", "it is more than 7 days ahead"));
        }
        Ok(at)
    }

    /// How the sender calls, if it does, with what the request says of it.
    fn call(
        &self,
        config: &Config,
        sender: &Sender,
        attempt: AttemptId,
    ) -> Result<Option<CallPlan>, Problem> {
        let Some(plan) = &sender.call else {
            if self.confirm.is_some() {
                let problem = "the sender sends messages, which their delivery confirms: leave it out, or name a sender \
                               that calls";
                return Err(wrong("confirm", problem));
            }
            if self.text.chars().count() > MOST_CHARACTERS {
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
        let long = twiml(config, &plan, &self.text, attempt).chars().count();
        if long > MOST_TWIML {
            let problem = format!(
                "the TwiML that says it has {long} characters, and Twilio takes at most {MOST_TWIML}: shorten it"
            );
            return Err(wrong("text", problem));
        }
        Ok(Some(plan))
    }

    fn check(&self) -> Result<(), Problem> {
        if self.text.trim().is_empty() {
            return Err(wrong("text", "it is empty"));
        }
        if self.text.contains('\0') {
            return Err(wrong("text", "it has a NUL character"));
        }
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

/// What the gates say of a recipient without the store: the same ones are asked again before it is sent.
fn gated(config: &Config, new: &NewNotification, now: Timestamp) -> Gated {
    let known = Known {
        sender: new.sender.clone(),
        to: new.to.clone(),
        purpose: new.purpose,
        time_zone: new.time_zone.clone(),
        deadline: new.deadline,
        suppressed: false,
        recent: Vec::new(),
        calls: None,
        today: 0,
        sender_pause: Pause::None,
        account_pause: Pause::None,
        deployment_pause: Pause::None,
    };
    Gates::new(config.rules.clone()).ask(&known, now)
}

/// `POST /api/notifications`: 202 once it is kept.
pub(super) async fn ask(
    State(api): State<Arc<Api>>,
    Extension(TokenId(token)): Extension<TokenId>,
    Extension(config): Extension<Arc<Config>>,
    headers: HeaderMap,
    asked: Result<Json<NotificationAsk>, JsonRejection>,
) -> Result<(StatusCode, Json<AskedView>), Problem> {
    let Json(asked) = asked?;
    let (now, idempotency_key) = (api.clock.now(), key(&headers)?);
    asked.check()?;
    let to = number(&asked.to).ok_or_else(|| {
        wrong("to", "it is not a number in E.164, such as +15550100: the country is never guessed")
    })?;
    let purpose = purpose(&asked.purpose)?;
    let sender = asked.sender(&config)?;
    let on_unknown = match asked.on_unknown.as_deref() {
        Some(name) => named("on_unknown", name)?,
        None => purpose.on_unknown(),
    };
    let deadline = asked.deadline(purpose, now)?;
    let attempt = AttemptId::new(rand::random());
    let call = asked.call(&config, sender, attempt)?;
    let hashes = api.hashes().await?;
    let to = sender.address(to.as_str());
    // As it was written: a deadline that is a default differs at each request.
    let mut said = vec![
        &*to,
        &asked.text,
        &sender.name,
        purpose.as_str(),
        on_unknown.as_str(),
        asked.deadline.as_deref().unwrap_or_default(),
        asked.reference.as_deref().unwrap_or_default(),
    ];
    // What a version before was asked has the same hash.
    said.extend(asked.time_zone.as_deref());
    said.extend(asked.confirm.as_deref());
    let request_hash = hashes.request(&said);
    let mut new = NewNotification {
        id: format!("ntf_{:032x}", rand::random::<u128>()),
        token,
        idempotency_key,
        request_hash,
        purpose,
        on_unknown,
        sender: sender.name.clone(),
        account: sender.account.clone(),
        pace: sender.pace.clone(),
        to_hash: hashes.address(&to),
        to,
        segments: sender.kind.units(&asked.text),
        call,
        body: asked.text,
        reference: asked.reference,
        deadline,
        time_zone: asked.time_zone,
        held: None,
        attempt,
    };
    match gated(&config, &new, now) {
        Gated::Refuse { gate } => {
            return Err(wrong("to", format!("the gate `{gate}` refuses it; see [outbound]")));
        }
        Gated::Hold { gate, until } => new.held = Some((gate, until)),
        Gated::Pass | Gated::Expire => {}
    }
    let (id, segments, sender) = (new.id.clone(), new.segments, new.sender.clone());
    let token = new.token.clone();
    let mut trace = Trace::of_ask(&api.spans, new.attempt);
    trace.is_of(&sender);
    let (id, repeated) = match api.asks.keep(new).await.map_err(unavailable)? {
        Asked::Kept => {
            api.news.send_replace(());
            (id, false)
        }
        Asked::Before(id) => (id, true),
        Asked::Conflict => {
            let detail = "another request was sent with this Idempotency-Key: use a new key";
            return Err(Problem::new(StatusCode::CONFLICT, detail));
        }
    };
    trace.ends(if repeated { "repeated" } else { "kept" });
    info!(
        notification = id,
        token,
        sender,
        purpose = purpose.as_str(),
        repeated,
        "a notification is kept"
    );
    Ok((StatusCode::ACCEPTED, Json(AskedView { id, repeated, segments })))
}

/// A notification with its attempts.
#[derive(Debug, Serialize)]
pub(super) struct WholeView {
    #[serde(flatten)]
    notification: NotificationView,
    attempts: Vec<AttemptView>,
}

fn missing() -> Problem {
    Problem::missing("there is no such notification")
}

/// `GET /api/notifications/{id}`
pub(super) async fn show(
    State(api): State<Arc<Api>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<WholeView>, Problem> {
    let Path(id) = id?;
    let found = api.outbox.find(&id).await.map_err(unavailable)?;
    let (notification, attempts) = found.ok_or_else(missing)?;
    let attempts = attempts.into_iter().map(AttemptView::of).collect();
    Ok(Json(WholeView { notification: NotificationView::of(notification), attempts }))
}

/// The query of the list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    state: Option<String>,
    reference: Option<String>,
    after: Option<String>,
    limit: Option<u32>,
}

/// A page of notifications.
#[derive(Debug, Serialize)]
pub(super) struct ListPage {
    notifications: Vec<NotificationView>,
    /// `after` of the next page; null if this is the last.
    next: Option<String>,
}

/// `GET /api/notifications?state=…&reference=…&after=…&limit=…`, the newest first.
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<ListPage>, Problem> {
    let Query(query) = query?;
    let state = query.state.as_deref().map(|name| named::<NotificationState>("state", name));
    let place = |text: &str| {
        let (at, id) = text.split_once('~')?;
        Some((Timestamp::parse_rfc3339(at)?, id.to_owned()))
    };
    let after = query
        .after
        .as_deref()
        .map(|text| place(text).ok_or_else(|| wrong("after", "it is not the `next` of a page")));
    let limit = query.limit.unwrap_or(100).clamp(1, ROWS_PER_PAGE);
    let search = NotificationSearch {
        state: state.transpose()?,
        reference: query.reference,
        after: after.transpose()?,
        limit,
    };
    let found = api.outbox.list(&search).await.map_err(unavailable)?;
    let next = found.last().filter(|_| found.len() == limit as usize);
    let next = next.map(|last| format!("{}~{}", last.created_at, last.id));
    let notifications = found.into_iter().map(NotificationView::of).collect();
    Ok(Json(ListPage { notifications, next }))
}

/// What came of a cancellation.
#[derive(Debug, Serialize)]
pub(super) struct CancelView {
    state: NotificationState,
    /// How many attempts are on their way: they may still arrive.
    in_writing: u64,
    /// How many calls are cancelled at Twilio, unless they are answered before.
    hanging_up: u64,
}

/// `POST /api/notifications/{id}/cancel`
pub(super) async fn cancel(
    State(api): State<Arc<Api>>,
    Extension(TokenId(token)): Extension<TokenId>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<CancelView>, Problem> {
    let Path(id) = id?;
    let cancelled = api.outbox.cancel(&id).await.map_err(unavailable)?;
    let CancelOutcome { state, in_writing, hanging_up } = cancelled.ok_or_else(missing)?;
    info!(
        notification = id,
        token,
        state = state.as_str(),
        in_writing,
        hanging_up,
        "a notification is cancelled"
    );
    Ok(Json(CancelView { state, in_writing, hanging_up }))
}

/// What is unknown.
#[derive(Debug, Serialize)]
pub(super) struct UnknownList {
    attempts: Vec<UnknownView>,
}

/// `GET /api/attempts/unknown`: the oldest first, at most a page.
pub(super) async fn unknown(State(api): State<Arc<Api>>) -> Result<Json<UnknownList>, Problem> {
    let found = api.outbox.list_unknown(ROWS_PER_PAGE).await.map_err(unavailable)?;
    Ok(Json(UnknownList { attempts: found.into_iter().map(UnknownView::of).collect() }))
}
