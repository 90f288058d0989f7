//! Where a notification stands, in a sentence: fact, consequence, and what to do.

use maud::{Markup, html};

use super::cancel::CANCELLED;
use super::line::{Stopped, Whole};
use super::why;
use crate::admin::Admin;
use crate::admin::console::format::{self, duration};
use crate::admin::console::layout::what_to_do;
use crate::backend::outbox::{Attempt, Notification, StepRow};
use crate::clock::Timestamp;
use crate::dispatch::decision::StepState;
use crate::dispatch::{AttemptState, Channel, NotificationState};
use crate::twilio::error::meaning;

/// Of a notification with its attempts.
pub(super) fn of(admin: &Admin, whole: &Whole) -> Markup {
    let Whole { notification: one, attempts, steps, stopped, .. } = whole;
    let (now, after) = (admin.clock.now(), took(one));
    html! {
        p class="lead" {
            (format::status(one.state.as_str())) ". "
            @match one.state {
                NotificationState::Open if one.reason.as_deref() == Some(CANCELLED) => {
                    "It was cancelled while it was on its way. It may still arrive; it is not sent again."
                }
                NotificationState::Open => @match stopped {
                    Some(Stopped { what, why }) => {
                        (what) " is paused (" (why) "). It waits until a person resumes that, at most until its deadline. "
                        a href="/senders" { "How senders stand" }
                    }
                    None => {
                        (waits(attempts.last(), now))
                        @if let Some(at) = next(steps) {
                            " Unless it is confirmed by " (format::minute(at, now)) ", the next step begins."
                        }
                    }
                },
                NotificationState::Confirmed => { "Its delivery was confirmed" (after) "." }
                NotificationState::Failed => { "It cannot be delivered" (because(one)) "." }
                NotificationState::Unconfirmed => {
                    "Twilio has accepted it, and no confirmation came in time" (because(one)) ". One that comes late still \
                     counts."
                }
                NotificationState::Unknown => {
                    "It is not known whether Twilio has it. It is not sent again; a callback still settles it. "
                    (what_to_do(admin, "outcome-unknown"))
                }
                NotificationState::Refused => { "It was refused" (because(one)) ". Nothing was sent." }
                NotificationState::Expired => { "Its deadline passed before it was sent. Nothing was sent." }
                NotificationState::Cancelled => { "It was cancelled" (after) "." }
            }
        }
    }
}

/// ` after 3.2 s`
pub(super) fn took(one: &Notification) -> String {
    let took = one.settled_at.map(|at| at.since(one.created_at));
    took.map_or_else(String::new, |took| format!(" after {}", duration(took)))
}

/// ` (30003: Unreachable destination handset)`
fn because(one: &Notification) -> Markup {
    html! {
        @if let Some(reason) = &one.reason {
            " (" (why(reason)) @if let Some(meaning) = meaning(reason) { ": " (meaning) } ")"
        }
    }
}

/// When the next step of a route begins, if there is one.
fn next(steps: &[StepRow]) -> Option<Timestamp> {
    let at = steps.iter().rposition(|step| step.state == StepState::Begun)?;
    steps.get(at + 1).and(steps[at].over_at)
}

/// What an open one waits for.
fn waits(last: Option<&Attempt>, now: Timestamp) -> String {
    let Some(last) = last else { return "Nothing is planned.".to_owned() };
    match last.state {
        AttemptState::Due if last.due_at > now => {
            let until = format::minute(last.due_at, now);
            match &last.held {
                Some(gate) => format!("It is held until {until}: {}.", gate.replace('_', " ")),
                None => format!("It is due at {until}."),
            }
        }
        AttemptState::Due | AttemptState::Claimed => {
            "It waits for its turn at the pace of its sender.".to_owned()
        }
        AttemptState::Writing => {
            "Its request is being made: it cannot be called back any more.".to_owned()
        }
        AttemptState::Unknown => {
            let looks = match last.channel {
                Channel::Email => {
                    "It is not known whether SendGrid has it. offhook waits for its events, and sends it again if none comes."
                }
                Channel::Message | Channel::Call => {
                    "It is not known whether Twilio has it. offhook looks for it, and sends it again if there is no trace."
                }
            };
            looks.to_owned()
        }
        _ if last.channel == Channel::Call => {
            "Twilio has the call. Waiting for its confirmation.".to_owned()
        }
        _ if last.channel == Channel::Email => {
            "SendGrid has it. Its delivery has not been reported so far.".to_owned()
        }
        _ => "Twilio has it. Its delivery has not been reported so far.".to_owned(),
    }
}
