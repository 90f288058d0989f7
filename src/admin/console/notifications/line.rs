//! One line in time: what was asked for, each attempt, what Twilio said of it, and how it ended.

use std::time::Duration;

use maud::{Markup, html};

use super::sentence::took;
use super::{missing, why};
use crate::admin::Admin;
use crate::admin::api::Problem;
use crate::admin::console::format::{self, StatusTone, duration, number_of};
use crate::admin::console::timeline::{again, error_line};
use crate::admin::timeline::{Entry, entries};
use crate::backend::outbox::{Attempt, Notification, Proven, SendingState, StepRow, Trail};
use crate::clock::Timestamp;
use crate::dispatch::decision::StepState;
use crate::dispatch::{AttemptState, Channel, NotificationState};
use crate::event::Callee;
use crate::twilio::{answer, error};

/// Messages and calls of which the events are shown: a notification has one, or a few after unknown outcomes.
const MOST_SIDS: usize = 20;
/// Events of one of them. A message has about five, a call under thirty.
const MOST_EVENTS: u32 = 100;

/// All that is kept of a notification.
pub(super) struct Whole {
    pub(super) notification: Notification,
    pub(super) attempts: Vec<Attempt>,
    /// Those of its route.
    pub(super) steps: Vec<StepRow>,
    trails: Vec<Trail>,
    /// What Twilio said of each message or call.
    said: Vec<Said>,
    /// Why it waits for a person, if it does.
    pub(super) stopped: Option<Stopped>,
}

/// What a person must let go on.
pub(super) struct Stopped {
    /// `Its sender`, and the like.
    pub(super) what: &'static str,
    /// Why.
    pub(super) why: String,
}

/// The events of one SID.
struct Said {
    sid: String,
    entries: Vec<Entry>,
}

impl Whole {
    /// Reads it.
    pub(super) async fn read(admin: &Admin, id: &str) -> Result<Self, Problem> {
        let outbox = &admin.sending.outbox;
        let (notification, attempts) = outbox.find(id).await?.ok_or_else(missing)?;
        let trails = outbox.trails(id).await?;
        let steps = match notification.route {
            Some(_) => outbox.steps(id).await?,
            None => Vec::new(),
        };
        let mut said = Vec::new();
        for (sid, account) in made(&trails) {
            let events = admin.reader.events_of(&sid, Some(&account), MOST_EVENTS).await?;
            let entries = entries(&sid, events, |event| admin.live.came_again(event));
            said.push(Said { sid, entries });
        }
        let is_due = attempts.last().is_some_and(|last| last.state == AttemptState::Due);
        let stopped = match is_due && notification.state == NotificationState::Open {
            true => stopped(&outbox.sending().await?, trails.last()),
            false => None,
        };
        Ok(Self { notification, attempts, steps, trails, said, stopped })
    }

    fn trail(&self, attempt: &Attempt) -> Option<&Trail> {
        self.trails.iter().find(|trail| trail.id == attempt.id)
    }
}

fn stopped(state: &SendingState, last: Option<&Trail>) -> Option<Stopped> {
    let last = last?;
    let sender = state.senders.iter().find(|sender| sender.name == last.sender);
    let account = state.accounts.iter().find(|account| account.account == last.account);
    let reasons = [
        ("Everything that is sent", state.held.as_ref()),
        ("Its sender", sender.and_then(|sender| sender.paused.as_ref())),
        ("Its account", account.and_then(|account| account.paused.as_ref())),
    ];
    let first = reasons.into_iter().find_map(|(what, why)| Some((what, why?.clone())));
    first.map(|(what, why)| Stopped { what, why })
}

/// The messages and calls of these attempts, each with its account.
fn made(trails: &[Trail]) -> Vec<(String, String)> {
    let made = trails.iter().flat_map(|trail| {
        trail.proven.iter().map(|proven| (proven.sid.clone(), trail.account.clone()))
    });
    made.take(MOST_SIDS).collect()
}

/// Something that happened.
struct Moment {
    at: Timestamp,
    tone: StatusTone,
    shown: Markup,
    /// Twilio's code of an error.
    error: Option<String>,
}

impl Moment {
    fn new(at: Timestamp, tone: StatusTone, shown: Markup) -> Self {
        Self { at, tone, shown, error: None }
    }

    fn plain(at: Timestamp, shown: Markup) -> Self {
        Self::new(at, StatusTone::Plain, shown)
    }
}

/// The line.
pub(super) fn shown(admin: &Admin, whole: &Whole) -> Markup {
    let now = admin.clock.now();
    let mut moments = vec![asked(&whole.notification)];
    moments.extend(whole.steps.iter().flat_map(|step| [began(step), over(step)]).flatten());
    for attempt in &whole.attempts {
        let trail = whole.trail(attempt);
        moments.extend(planned(attempt, whole));
        moments.extend(written(attempt, trail));
        let proven = trail.into_iter().flat_map(|trail| &trail.proven);
        moments.extend(proven.enumerate().map(|(place, proven)| accepted(attempt, place, proven)));
        moments.extend(ended(attempt, trail, whole));
    }
    for said in &whole.said {
        let sid = (whole.said.len() > 1).then_some(&*said.sid);
        moments.extend(said.entries.iter().map(|entry| event(sid, entry, now)));
    }
    moments.extend(settled(&whole.notification));
    // What has one time stays in the order of the causes.
    moments.sort_by_key(|moment| moment.at);
    let cut = whole.said.iter().any(|said| said.entries.len() == MOST_EVENTS as usize)
        || whole.said.len() == MOST_SIDS;
    html! {
        ol class="timeline" {
            @for Moment { at, tone, shown, error } in &moments {
                li class=(tone.as_str()) {
                    div class="head" { (format::time(*at, now)) (shown) }
                    @if let Some(code) = error { (error_line(code)) }
                }
            }
        }
        @if cut {
            p class="note" { "Not all events are shown: the page of each SID has them." }
        }
    }
}

/// `attempt 2, step 2`, where there are several steps.
fn name(attempt: &Attempt) -> String {
    match attempt.step {
        1 => format!("attempt {}", attempt.number),
        step => format!("attempt {}, step {step}", attempt.number),
    }
}

fn asked(one: &Notification) -> Moment {
    let shown = html! {
        span class="status plain" { "asked" }
        span class="note" {
            (one.purpose.as_str())
            @match &one.route {
                Some(route) => { " by route " (route) }
                None => { " from " (one.sender) }
            }
        }
    };
    Moment::plain(one.created_at, shown)
}

/// The first begins when it is asked for.
fn began(step: &StepRow) -> Option<Moment> {
    let at = step.begun_at.filter(|_| step.number > 1)?;
    let shown = html! {
        span class="status plain" { "escalated" }
        span class="note" { "step " (step.number) " begins: a " (step.channel.as_str()) " from " (step.sender) }
    };
    Some(Moment::plain(at, shown))
}

fn over(step: &StepRow) -> Option<Moment> {
    let at = step.ended_at.filter(|_| step.state.is_over())?;
    let asked = match step.state {
        StepState::OverBlind => "Twilio could not be asked about its delivery",
        _ => "Twilio was asked and did not report delivery",
    };
    let shown = html! {
        span class="status odd" { "over" }
        span class="note" {
            "the time of step " (step.number) ", " (duration(Duration::from_secs(step.wait_s))) ": " (asked)
        }
    };
    Some(Moment::new(at, StatusTone::Odd, shown))
}

/// The first of a step is planned when that begins.
fn planned(attempt: &Attempt, whole: &Whole) -> Option<Moment> {
    let is_first = !whole
        .attempts
        .iter()
        .any(|other| other.step == attempt.step && other.number < attempt.number);
    let shown = html! {
        span class="status plain" { "planned" }
        span class="note" { (name(attempt)) }
    };
    (!is_first).then(|| Moment::plain(attempt.created_at, shown))
}

fn written(attempt: &Attempt, trail: Option<&Trail>) -> Option<Moment> {
    let at = attempt.written_at?;
    let sent = match attempt.channel {
        Channel::Message => "sent",
        Channel::Email => "mailed",
        Channel::Call => "called",
    };
    let shown = html! {
        span class="status plain" { (sent) }
        span class="note" {
            (name(attempt))
            @if let Some(trail) = trail { " from " (trail.sender) }
            @if let Some(confirm) = attempt.confirm { ", confirmed by: " (confirm.as_str()) }
            @if attempt.tries > 1 { ", the last of " (number_of(attempt.tries, "request", "requests")) }
        }
    };
    Some(Moment::plain(at, shown))
}

fn accepted(attempt: &Attempt, place: usize, proven: &Proven) -> Moment {
    let by = match &*proven.by {
        "answer" => "by the answer to its request",
        "callback" => "by a callback",
        "look-up" => "found in Twilio's list",
        other => other,
    };
    let tone = if place == 0 { StatusTone::Plain } else { StatusTone::Odd };
    let shown = html! {
        span class={ "status " (tone.as_str()) } { @if place == 0 { "accepted" } @else { "accepted again" } }
        (whole_sid(&proven.sid))
        span class="note" { (name(attempt)) ", " (by) }
        @if place > 0 {
            span class="tag" title="Twilio has it under another SID as well" { "sent twice" }
        }
    };
    Moment::new(proven.at, tone, shown)
}

/// How an attempt ended, unless its notification ended by it.
fn ended(attempt: &Attempt, trail: Option<&Trail>, whole: &Whole) -> Option<Moment> {
    let at = trail?.settled_at?;
    let state = attempt.state.as_str();
    let last = whole.attempts.iter().rfind(|other| other.state == attempt.state)?;
    let one = &whole.notification;
    let is_the_end =
        one.settled_at.is_some() && one.state.as_str() == state && last.id == attempt.id;
    let shown = html! {
        (format::status(state))
        span class="note" {
            (name(attempt)) @if let Some(reason) = &attempt.reason { ": " (why(reason)) }
        }
    };
    (!is_the_end).then(|| Moment::new(at, StatusTone::of(state), shown))
}

/// `sid`: what it is about, where that is not clear.
fn event(sid: Option<&str>, entry: &Entry, now: Timestamp) -> Moment {
    let event = &entry.stored.event;
    let kind = event.kind.as_str().replace('_', " ");
    let tone = event.status.as_deref().map_or(StatusTone::Plain, StatusTone::of);
    let is_answer = answer::is_answer(event.key.as_str());
    let by = if is_answer { "Twilio's API" } else { "callback" };
    let shown = html! {
        @match &event.status {
            Some(status) => (format::status(status)),
            None => span class="status plain" { (kind) },
        }
        @if let Some(sid) = sid { (whole_sid(sid)) }
        span class="note" { (by) @if event.status.is_some() && event.resource.is_none() { ", " (kind) } }
        @if let Some(callee) = event.callee { span class="note" { (did(callee)) } }
        @if let Some(delay) = entry.delay {
            span class="note" title="From Twilio's time, in whole seconds, to its arrival" {
                "delay " (duration(delay))
            }
        }
        @if entry.out_of_order && !is_answer {
            span class="tag" title="A later status arrived before this one" { "out of order" }
        }
        @if !entry.came_again.is_empty() { (again(&entry.came_again, now)) }
    };
    Moment { error: error::of(event), ..Moment::new(event.received_at, tone, shown) }
}

fn whole_sid(sid: &str) -> Markup {
    html! { a class="sid" href={ "/sid/" (format::in_path(sid)) } { (sid) } }
}

fn did(callee: Callee) -> &'static str {
    match callee {
        Callee::PressedOne => "the callee pressed 1",
        Callee::PressedOther => "the callee pressed another key",
        Callee::Human => "a person answered",
        Callee::Machine => "a machine answered",
    }
}

fn settled(one: &Notification) -> Option<Moment> {
    let at = one.settled_at.filter(|_| one.state != NotificationState::Open)?;
    let state = one.state.as_str();
    let shown = html! {
        (format::status(state))
        span class="note" {
            "the notification" (took(one)) @if let Some(reason) = &one.reason { ": " (why(reason)) }
        }
    };
    Some(Moment::new(at, StatusTone::of(state), shown))
}
