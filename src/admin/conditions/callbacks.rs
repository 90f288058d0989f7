//! What goes wrong between Twilio and a durable event.

use std::time::Duration;

use super::{Evidence, Sign, minutes};
use crate::admin::console::format::{count, number_of, seconds};
use crate::admin::last_hour::{Log, Sample};
use crate::admin::verdict::Tone;
use crate::backend::Dependency;
use crate::http::RequestOutcome;
use crate::recent::Refusal;
use crate::twilio::kind::twiml_request::Verb;

/// Longer than this for one answer in twenty.
const SLOW_S: f64 = 5.0;
/// Nothing could make the event durable.
const NOT_DURABLE: [Refusal; 3] = [Refusal::NotDurable, Refusal::Overloaded, Refusal::NoRoom];
/// Signed, and empty.
const LOST: [Refusal; 2] = [Refusal::LostParameters, Refusal::LostBody];

/// Whether no condition of its own tells of refusals for this reason, and it is a callback that was refused:
/// balancers' probes and scanners are none.
fn is_of_a_callback(reason: Refusal) -> bool {
    let noise = [Refusal::UnknownRoute, Refusal::MethodNotAllowed].contains(&reason);
    let elsewhere = NOT_DURABLE.contains(&reason)
        || LOST.contains(&reason)
        || reason == Refusal::SignedUnknownRoute;
    !noise && !elsewhere
}

fn refused(number: u64) -> String {
    number_of(number, "callback was refused", "callbacks were refused")
}

pub(super) fn not_durable(evidence: &Evidence<'_>) -> Vec<Sign> {
    let lost = evidence
        .rose(minutes(5), |sample| sample.refusals.sum(|reason| NOT_DURABLE.contains(reason)));
    let took = match evidence.vitals.log() {
        Log::Redis => "neither Redis nor the spool took them",
        Log::Local => "the local log did not take them",
    };
    let text = format!(
        "{} with 503 in the last 5 minutes: {took}. Twilio tries again for 15 s at most; after that they are lost.",
        refused(lost)
    );
    (lost > 0).then(|| Sign::new(text)).into_iter().collect()
}

pub(super) fn internal_errors(evidence: &Evidence<'_>) -> Vec<Sign> {
    let errors = evidence.rose(minutes(10), |sample| {
        sample.requests.sum(|(_, outcome)| *outcome == RequestOutcome::Error)
    });
    let text = format!(
        "{} answered with 500 in the last 10 minutes. This is a defect in offhook. The log says where; please report it.",
        number_of(errors, "callback was", "callbacks were")
    );
    (errors > 0).then(|| Sign::new(text)).into_iter().collect()
}

pub(super) fn signed_to_no_route(evidence: &Evidence<'_>) -> Vec<Sign> {
    let lost =
        evidence.rose(minutes(10), |sample| sample.refusals.get(&Refusal::SignedUnknownRoute));
    let text = format!(
        "{} to a path that is not a route in the last 10 minutes, and lost. Correct the URL at Twilio, or \
         what the proxy makes of its path.",
        number_of(
            lost,
            "callback that your account signed was sent",
            "callbacks that your account signed were sent"
        )
    );
    (lost > 0).then(|| Sign::new(text)).into_iter().collect()
}

pub(super) fn lost_parameters(evidence: &Evidence<'_>) -> Vec<Sign> {
    let lost =
        evidence.rose(minutes(10), |sample| sample.refusals.sum(|reason| LOST.contains(reason)));
    let text = format!(
        "{} empty in the last 10 minutes, and lost: a redirect in front of offhook turns the POST into a GET. \
         Give Twilio the URL where the redirect ends.",
        number_of(lost, "signed callback arrived", "signed callbacks arrived")
    );
    (lost > 0).then(|| Sign::new(text)).into_iter().collect()
}

/// One sign for each verb, since each has a URL of its own to be mended.
pub(super) fn twiml_requests(evidence: &Evidence<'_>) -> Vec<Sign> {
    let sign = |verb: Verb| {
        let times = evidence.rose(minutes(10), |sample| sample.twiml_requests.get(&verb));
        let whose = match verb {
            Verb::Url => "the URL of a call, a <Redirect> or a whisper".to_owned(),
            verb => format!("<{}>", verb.as_str()),
        };
        (times > 0).then(|| {
            Sign::new(format!(
                "{} from {whose} in the last 10 minutes. The answer, an empty <Response/>, ends the call. Give it \
                 a URL of your application.",
                number_of(times, "request came", "requests came")
            ))
        })
    };
    Verb::ALL.into_iter().filter_map(sign).collect()
}

/// One is enough to be told; whether it is urgent goes by its share, as in the alert.
pub(super) fn refusals(evidence: &Evidence<'_>) -> Vec<Sign> {
    let span = minutes(10);
    let mut reasons = evidence.vitals.refusals_since(evidence.vitals.before(span));
    reasons.retain(|(reason, _)| is_of_a_callback(*reason));
    let total: u64 = reasons.iter().map(|(_, times)| times).sum();
    if total == 0 {
        return Vec::new();
    }
    reasons.sort_by_key(|(_, times)| std::cmp::Reverse(*times));
    let of = reasons
        .iter()
        .map(|(reason, times)| format!("{} {}", reason.as_str().replace('_', " "), count(*times)));
    let of = of.collect::<Vec<_>>().join(", ");
    let requests = evidence.rose(span, |sample| sample.requests.sum(|(route, _)| route.is_some()));
    let text = format!("{} in the last 10 minutes: {of}.", refused(total));
    let urgent = requests > 20 && total as f64 / requests as f64 > 0.05;
    // A scanner that tries the route once is no reason to get up.
    let stray = total < 3 && reasons.iter().all(|(reason, _)| *reason == Refusal::MissingSignature);
    vec![match (urgent, stray) {
        (true, _) => Sign::new(text),
        (false, true) => Sign::with(Tone::Later, text),
        (false, false) => Sign::with(Tone::Odd, text),
    }]
}

/// By what the store has of yesterday and of a week ago, as the alert; where that cannot be known, by this
/// process's last hour.
pub(super) fn silence(evidence: &Evidence<'_>) -> Vec<Sign> {
    const QUIET: Duration = minutes(20);
    let watched = evidence.vitals.now.at.since(evidence.vitals.hour.at);
    let (recent, hour) =
        (evidence.rose(QUIET, Sample::accepted), evidence.rose(Duration::MAX, Sample::accepted));
    if !evidence.receives() || recent > 0 {
        return Vec::new();
    }
    if let Some(habit) = evidence.vitals.habit {
        // What waits has come, and is not in the store yet.
        let waits = evidence.vitals.now.depth + evidence.vitals.now.spool > 0
            || evidence.away(Dependency::Redis);
        let text = "No callback has arrived for 20 minutes. There were many at this time yesterday and a week ago. \
                    Check that Twilio can reach the public URL.";
        let silent = habit.usual && !habit.recent && !waits;
        return silent.then(|| Sign::new(text)).into_iter().collect();
    }
    if watched <= QUIET || hour <= 20 {
        return Vec::new();
    }
    vec![Sign::new(format!(
        "This process has accepted no callback for 20 minutes, after {} in the time before. What is usual at this \
         time is not known. Check that Twilio can reach the public URL.",
        count(hour)
    ))]
}

pub(super) fn slow_answers(evidence: &Evidence<'_>) -> Vec<Sign> {
    let slow = evidence.vitals.p95.filter(|p95| *p95 > SLOW_S);
    let text = |p95| {
        format!(
            "One callback in twenty waits {} or longer for its answer. Twilio gives up after 15 s.",
            seconds(p95)
        )
    };
    slow.map(|p95| Sign::new(text(p95))).into_iter().collect()
}

pub(super) fn connections_not_taken(evidence: &Evidence<'_>) -> Vec<Sign> {
    let failures = evidence.rose(minutes(5), |sample| sample.accept_failures);
    let text = "New connections are not accepted: this process has reached its limit of open files. Raise the limit, \
                or lower inbound.max_connections.";
    (failures > 0).then(|| Sign::new(text)).into_iter().collect()
}

pub(super) fn fallback_unrecorded(evidence: &Evidence<'_>) -> Vec<Sign> {
    let lost = evidence.rose(minutes(10), |sample| sample.fallback_unrecorded);
    let text = format!(
        "{} answered but not recorded in the last 10 minutes. Callers heard the right TwiML; the events are \
         missing from the store.",
        number_of(lost, "fallback request was", "fallback requests were")
    );
    (lost > 0).then(|| Sign::new(text)).into_iter().collect()
}
