//! What is not sent, or not as it should be.

use super::{Evidence, Sign, minutes};
use crate::admin::console::format::{count, number_of, seconds};
use crate::admin::last_hour::Sample;

/// What may be sent leaves within seconds.
const LATE_S: f64 = 60.0;
/// Fewer requests say nothing about a share.
const FEW: u64 = 20;

fn throttled_of(evidence: &Evidence<'_>, name: &str) -> Option<(u64, u64)> {
    let count = |which: fn(&(String, u64, u64)) -> u64| {
        evidence.rose(minutes(5), |sample| {
            let mut accounts = sample.sending.requests.iter();
            accounts.find(|(known, ..)| known == name).map_or(0, which)
        })
    };
    let (all, throttled) = (count(|(_, all, _)| *all), count(|(.., throttled)| *throttled));
    // More than 5 %.
    (all >= FEW && throttled * 20 > all).then_some((all, throttled))
}

pub(super) fn throttled(evidence: &Evidence<'_>) -> Vec<Sign> {
    let accounts = evidence.vitals.now.sending.requests.iter();
    let signs = accounts.filter_map(|(name, ..)| {
        let (all, throttled) = throttled_of(evidence, name)?;
        Some(Sign::new(format!(
            "Twilio throttled {throttled} of {all} requests of account {name} in 5 minutes. They are repeated, and \
             nothing is lost; lower outbound.max_in_flight."
        )))
    });
    signs.collect()
}

/// Nothing of an account leaves: there was no connection for any request.
pub(super) fn unreachable(evidence: &Evidence<'_>) -> Vec<Sign> {
    let rose = |count: &dyn Fn(&Sample) -> Option<u64>| {
        evidence.rose(minutes(5), |sample| count(sample).unwrap_or_default())
    };
    let accounts = evidence.vitals.now.sending.unsent.iter();
    let signs = accounts.filter_map(|(name, _)| {
        let unsent = rose(&|sample| {
            let mut accounts = sample.sending.unsent.iter();
            accounts.find(|(known, _)| known == name).map(|(_, unsent)| *unsent)
        });
        let all = rose(&|sample| {
            let mut accounts = sample.sending.requests.iter();
            accounts.find(|(known, ..)| known == name).map(|(_, all, _)| *all)
        });
        (unsent > 0 && unsent >= all).then(|| {
            Sign::new(format!(
                "offhook has not been able to connect to the provider of account {name} for 5 minutes. Its messages wait, at \
                 most until their deadlines."
            ))
        })
    });
    signs.collect()
}

/// What was suppressed would not be found.
pub(super) fn other_key(evidence: &Evidence<'_>) -> Vec<Sign> {
    let sign = || {
        Sign::new(
            "Nothing is sent: outbound.suppression_key differs from the key that the store's suppressions were made with.",
        )
    };
    evidence.vitals.now.sending.has_other_key.then(sign).into_iter().collect()
}

/// Whether more than 80 % of the calls of an account are open, of as many as there may be.
fn is_near_limit(sample: &Sample, name: &str) -> bool {
    let mut accounts = sample.sending.calls.iter();
    accounts.any(|(known, open, limit)| known == name && open * 5 > limit * 4)
}

/// A limit that is reached for a moment is used; one that stays reached holds calls up.
pub(super) fn calls_near_limit(evidence: &Evidence<'_>) -> Vec<Sign> {
    let (vitals, window) = (evidence.vitals, minutes(5));
    let (now, since) = (&vitals.now, vitals.before(window));
    if now.at.since(since.at) < window {
        return Vec::new();
    }
    let samples = vitals.samples.iter().filter(|sample| sample.at >= since.at);
    let window: Vec<&Sample> = samples.chain([now]).collect();
    let accounts = now.sending.calls.iter();
    let signs = accounts.filter(|(name, ..)| window.iter().all(|it| is_near_limit(it, name)));
    signs
        .map(|(name, open, limit)| {
            Sign::new(format!(
                "{} of the {} that account {name} may have are open, and as many have been for 5 minutes. At the limit, \
                 calls wait for one to end, at most until their deadlines.",
                count(*open),
                number_of(*limit, "call", "calls"),
            ))
        })
        .collect()
}

pub(super) fn late(evidence: &Evidence<'_>) -> Vec<Sign> {
    let (now, before) = (&evidence.vitals.now.sending, &evidence.vitals.before(minutes(5)).sending);
    if now.oldest_due <= LATE_S || now.due <= before.due {
        return Vec::new();
    }
    vec![Sign::new(format!(
        "More is asked to be sent than is sent: {}, the oldest since {}.",
        number_of(now.due, "message is due", "messages are due"),
        seconds(now.oldest_due)
    ))]
}

pub(super) fn unknown(evidence: &Evidence<'_>) -> Vec<Sign> {
    let unknown = evidence.vitals.now.sending.unknown;
    let text = number_of(unknown, "message was", "messages were");
    let sign = || {
        Sign::new(format!(
            "It is not known whether {text} sent. offhook looks for them at Twilio, and does not send them again unless \
             they ask for it."
        ))
    };
    (unknown > 0).then(sign).into_iter().collect()
}

pub(super) fn paused(evidence: &Evidence<'_>) -> Vec<Sign> {
    let senders = evidence.vitals.now.sending.paused.iter();
    let text = |name: &String| {
        format!("Sender {name} is paused. What it has to send waits until a person resumes it.")
    };
    senders.map(|name| Sign::new(text(name))).collect()
}

pub(super) fn mismatches(evidence: &Evidence<'_>) -> Vec<Sign> {
    let rose = evidence.rose(minutes(60), |sample| sample.sending.mismatches);
    let text = number_of(rose, "callback names", "callbacks name");
    let sign = || {
        Sign::new(format!(
            "{text} an attempt of another account or kind. They are kept, and prove nothing about a message."
        ))
    };
    (rose > 0).then(sign).into_iter().collect()
}

pub(super) fn escalated_blind(evidence: &Evidence<'_>) -> Vec<Sign> {
    let rose = evidence.rose(minutes(15), |sample| sample.sending.escalated_blind);
    let text = number_of(rose, "notification", "notifications");
    let sign = || {
        Sign::new(format!(
            "{text} went on to the next step within the last 15 minutes, and Twilio could not be asked how the step before \
             stands. Recipients may be called whose message arrived."
        ))
    };
    (rose > 0).then(sign).into_iter().collect()
}

/// One or two may get lost anywhere; more have a cause.
const MISSED: u64 = 5;

pub(super) fn missed(evidence: &Evidence<'_>) -> Vec<Sign> {
    let rose = evidence.rose(minutes(60), |sample| sample.sending.missed);
    let text = number_of(rose, "message", "messages");
    let sign = || {
        Sign::new(format!(
            "offhook had to ask Twilio for the final status of {text}, because no callback reported it. Callbacks get lost on \
             the way."
        ))
    };
    (rose >= MISSED).then(sign).into_iter().collect()
}

pub(super) fn duplicates(evidence: &Evidence<'_>) -> Vec<Sign> {
    let rose = evidence.rose(minutes(60), |sample| sample.sending.duplicates);
    let text = number_of(rose, "message was", "messages were");
    let sign = || Sign::new(format!("{text} sent twice within the last hour."));
    (rose > 0).then(sign).into_iter().collect()
}

pub(super) fn campaigns_stopped(evidence: &Evidence<'_>) -> Vec<Sign> {
    let stopped = evidence.vitals.now.sending.campaigns_stopped;
    let text =
        number_of(stopped, "campaign has stopped itself", "campaigns have stopped themselves");
    let sign = || {
        Sign::new(format!(
            "{text}: too many of the last outcomes were bad. Nothing more is sent until a person resumes it, or cancels it."
        ))
    };
    (stopped > 0).then(sign).into_iter().collect()
}
