//! What became of calls and messages.

use super::{Evidence, Sign, minutes};
use crate::admin::console::format::{count, number_of};
use crate::event::Resource;

/// Of fewer, a share says nothing.
const ENOUGH: u64 = 50;

pub(super) fn delivery_failures(evidence: &Evidence<'_>) -> Vec<Sign> {
    let ended = |statuses: &[&str]| {
        let of_messages = |(resource, status): &(Resource, &str)| {
            *resource == Resource::Message && statuses.contains(status)
        };
        evidence.rose(minutes(60), |sample| sample.outcomes.sum(of_messages))
    };
    let failed = ended(&["failed", "undelivered"]);
    let all = ended(&["delivered", "failed", "undelivered"]);
    let share = failed as f64 / all.max(1) as f64;
    if all <= ENOUGH || share <= 0.02 {
        return Vec::new();
    }
    vec![Sign::new(format!(
        "{:.0} % of the messages of the last hour were not delivered: {} of {}.",
        share * 100.0,
        count(failed),
        count(all)
    ))]
}

pub(super) fn email_bounces(evidence: &Evidence<'_>) -> Vec<Sign> {
    let ended = |statuses: &[&str]| {
        let of_emails = |(resource, status): &(Resource, &str)| {
            *resource == Resource::Email && statuses.contains(status)
        };
        evidence.rose(minutes(60), |sample| sample.outcomes.sum(of_emails))
    };
    let failed = ended(&["bounce", "dropped"]);
    let all = ended(&["delivered", "bounce", "dropped"]);
    let share = failed as f64 / all.max(1) as f64;
    if all <= ENOUGH || share <= 0.05 {
        return Vec::new();
    }
    vec![Sign::new(format!(
        "{:.0} % of the emails of the last hour were returned or dropped: {} of {}. Mail servers trust such a sender less.",
        share * 100.0,
        count(failed),
        count(all)
    ))]
}

pub(super) fn concurrent_calls(evidence: &Evidence<'_>) -> Vec<Sign> {
    let (calls, limit) = (evidence.vitals.now.calls_in_progress, evidence.vitals.now.calls_limit);
    if limit == 0 || calls as f64 / limit as f64 <= 0.8 {
        return Vec::new();
    }
    vec![Sign::new(format!(
        "{} of the {} calls that the account may have are in progress. At the limit, Twilio refuses new calls.",
        count(calls),
        count(limit)
    ))]
}

/// Twilio takes no more of them into a conference.
/// <https://www.twilio.com/docs/voice/twiml/conference#attributes-maxParticipants>
const MOST_PARTICIPANTS: u64 = 250;

pub(super) fn full_conference(evidence: &Evidence<'_>) -> Vec<Sign> {
    let participants = evidence.vitals.now.participants;
    let text = format!(
        "A conference has {} participants. At {MOST_PARTICIPANTS}, Twilio refuses further ones.",
        count(participants)
    );
    // More than 80 %.
    (participants * 5 > MOST_PARTICIPANTS * 4).then(|| Sign::new(text)).into_iter().collect()
}

pub(super) fn contradicted(evidence: &Evidence<'_>) -> Vec<Sign> {
    let times = evidence.rose(minutes(60), |sample| sample.contradicted);
    let text = format!(
        "Twilio contradicted itself about {} in the last hour. Both statuses are in the history.",
        number_of(times, "call or message", "calls or messages")
    );
    (times > 0).then(|| Sign::new(text)).into_iter().collect()
}

pub(super) fn differing_duplicates(evidence: &Evidence<'_>) -> Vec<Sign> {
    let times = evidence.rose(minutes(60), |sample| sample.differing);
    let text = format!(
        "{} in the last hour from the event that is stored under the same key. Only the first is kept. The log \
         has the keys; please report it.",
        number_of(times, "duplicate differed", "duplicates differed")
    );
    (times > 0).then(|| Sign::new(text)).into_iter().collect()
}
