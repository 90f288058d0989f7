//! What a provider's list of messages says of attempts whose outcome is unknown. The list cannot name an attempt, so
//! only its absence of any candidate proves something; and it lags, so it is read several times. A call has no text by
//! which it could be told from others, so that no list ever says which one it is.

use std::collections::BTreeSet;
use std::time::Duration;

use super::OnUnknown;
use crate::clock::Timestamp;
use crate::event::AttemptId;

/// An attempt to one recipient that may have created a message, and has no SID: one that is `unknown` or still in
/// `writing`. All of them of that recipient and account are needed, because each may have a claim to a message.
#[derive(Clone, Copy, Debug)]
pub struct Sought<'a> {
    /// Which attempt.
    pub attempt: AttemptId,
    /// The text that it sent; `None` for a call.
    pub body: Option<&'a str>,
    /// What it sent from.
    pub origin: Origin<'a>,
    /// When it entered `writing`.
    pub wrote_at: Timestamp,
}

/// What a message is sent from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin<'a> {
    /// A number, or an address with its channel.
    From(&'a str),
    /// A Messaging Service, which chooses a number later.
    Service(&'a str),
}

/// A message, or a call, that the provider lists.
#[derive(Clone, Copy, Debug)]
pub struct Listed<'a> {
    /// Its SID.
    pub sid: &'a str,
    /// Its body, which a link shortener, a footer or SmartEncoding may have rewritten; `None` for a call.
    pub body: Option<&'a str>,
    /// What it was sent from; `None` until a Messaging Service has chosen.
    pub from: Option<&'a str>,
    /// The Messaging Service, if it was sent by one.
    pub service: Option<&'a str>,
    /// When it was created, by the provider's clock.
    pub created_at: Timestamp,
}

/// Whether a list has everything that there is since the oldest attempt began.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extent {
    /// It has.
    Whole,
    /// It was cut off before.
    Cut,
}

/// What one look says of an attempt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Finding {
    /// A message of this SID has its body: it is taken for that of the attempt, until a callback says otherwise.
    Inferred(String),
    /// A message may be that of the attempt, or the list is not whole: it is not sent again.
    Perhaps,
    /// No message can be that of the attempt.
    Absent,
}

/// How far the provider's clock may be behind ours.
const EARLIEST: Duration = Duration::from_secs(120);
/// How long after the commit to `writing` a request may still create a message: the time-out of the request, a process
/// that was stopped in between, and the difference of the clocks.
const LATEST: Duration = Duration::from_secs(900);

/// What a list of the messages to one recipient says of the attempts to reach it. `bound` are the SIDs that belong to
/// other attempts. Each message counts for one attempt, and of attempts with one text the earliest takes the first.
#[must_use]
pub fn look(
    sought: &[Sought<'_>],
    listed: &[Listed<'_>],
    bound: &BTreeSet<&str>,
    extent: Extent,
) -> Vec<(AttemptId, Finding)> {
    let mut attempts: Vec<&Sought<'_>> = sought.iter().collect();
    attempts.sort_by_key(|attempt| (attempt.wrote_at, attempt.attempt));
    let mut free: Vec<&Listed<'_>> =
        listed.iter().filter(|message| !bound.contains(message.sid)).collect();
    free.sort_by_key(|message| (message.created_at, message.sid));
    free.dedup_by_key(|message| message.sid);

    let inferred: Vec<Option<&str>> = attempts
        .iter()
        .map(|attempt| {
            let same_body =
                |message: &&Listed<'_>| attempt.body.is_some() && attempt.body == message.body;
            let fits = |message: &&Listed<'_>| attempt.may_be(message) && same_body(message);
            free.iter().position(fits).map(|place| free.remove(place).sid)
        })
        .collect();
    // What is left may be any attempt's, even where one has taken another's: then no absence is certain.
    let is_open = |message: &Listed<'_>| attempts.iter().any(|attempt| attempt.may_be(message));
    let without = match extent {
        Extent::Whole if !free.iter().any(|message| is_open(message)) => Finding::Absent,
        Extent::Whole | Extent::Cut => Finding::Perhaps,
    };
    let finding = |sid: Option<&str>| match sid {
        Some(sid) => Finding::Inferred(sid.to_owned()),
        None => without.clone(),
    };
    let found = attempts.iter().zip(inferred);
    found.map(|(attempt, sid)| (attempt.attempt, finding(sid))).collect()
}

/// Since when a list must be whole to show that something was not created; `None` if nothing is sought.
#[must_use]
pub fn since(sought: &[Sought<'_>]) -> Option<Timestamp> {
    sought.iter().map(|one| one.wrote_at.before(EARLIEST)).min()
}

impl Sought<'_> {
    /// Whether a message may be what this attempt created, whatever its body.
    fn may_be(&self, message: &Listed<'_>) -> bool {
        let in_time = message.created_at >= self.wrote_at.before(EARLIEST)
            && message.created_at.since(self.wrote_at) <= LATEST;
        in_time
            && match self.origin {
                Origin::From(from) => message.from.is_none_or(|its| its == from),
                // Before a number is chosen, and never after it, the service might not be named yet.
                Origin::Service(service) => {
                    message.service.map_or(message.from.is_none(), |its| its == service)
                }
            }
    }
}

/// What happens to an attempt after a look.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// It is accepted, under this SID, as inferred.
    Accept(String),
    /// It is looked for again, so long after it became unknown.
    LookAt(Duration),
    /// A new attempt is made.
    Resend,
    /// It stays unknown. Only a callback or a person settles it.
    Stay,
}

/// What follows from the `nth` look, from 1, of those at `times` after the attempt became unknown. Only the last one is
/// believed if it finds nothing.
#[must_use]
pub fn next(finding: Finding, nth: usize, times: &[Duration], on_unknown: OnUnknown) -> Step {
    match (finding, times.get(nth), on_unknown) {
        (Finding::Inferred(sid), _, _) => Step::Accept(sid),
        (_, Some(time), _) => Step::LookAt(*time),
        (Finding::Absent, None, OnUnknown::Resend) => Step::Resend,
        (Finding::Absent, None, OnUnknown::Report) | (Finding::Perhaps, None, _) => Step::Stay,
    }
}

/// Those of the looks at `times` after which an attempt can still be sent again, if that must be within `left` of when it
/// became unknown; two at least, because lists lag.
#[must_use]
pub fn in_time(times: &[Duration], left: Duration) -> &[Duration] {
    /// What the new attempt may need for its turn.
    const TURN: Duration = Duration::from_secs(60);
    const FEWEST: usize = 2;
    let useful = times.iter().take_while(|time| **time + TURN <= left).count();
    times.get(..useful.max(FEWEST)).unwrap_or(times)
}

/// How long an email that may be sent again is waited for, of which nothing is heard; `left`: from its request to the
/// deadline. Else a one-time password would expire before that.
#[must_use]
pub fn silence(configured: Duration, left: Duration) -> Duration {
    configured.min(left / 2)
}

/// When it is looked for an attempt after it became unknown, unless configured: lists lag.
pub const LOOKS: [Duration; 4] = [
    Duration::from_secs(60),
    Duration::from_secs(120),
    Duration::from_secs(300),
    Duration::from_secs(900),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros((1_764_000_000 + seconds) * 1_000_000)
    }

    fn sought(attempt: u128, body: &str, seconds: i64) -> Sought<'_> {
        let (attempt, body) = (AttemptId::new(attempt), Some(body));
        Sought { attempt, body, origin: Origin::From("+15550100"), wrote_at: at(seconds) }
    }

    fn listed<'a>(sid: &'a str, body: &'a str, seconds: i64) -> Listed<'a> {
        Listed {
            sid,
            body: Some(body),
            from: Some("+15550100"),
            service: None,
            created_at: at(seconds),
        }
    }

    fn looked(sought: &[Sought<'_>], listed: &[Listed<'_>], bound: &[&str]) -> Vec<Finding> {
        let bound = bound.iter().copied().collect();
        let found = look(sought, listed, &bound, Extent::Whole);
        found.into_iter().map(|(_, finding)| finding).collect()
    }

    fn inferred(sid: &str) -> Finding {
        Finding::Inferred(sid.to_owned())
    }

    #[test]
    fn an_equal_body_is_inferred_another_is_perhaps_and_none_is_absent() {
        let check = |messages: &[Listed<'_>], expected| {
            assert_eq!(looked(&[sought(1, "text", 0)], messages, &["SM0"]), [expected]);
        };
        check(&[], Finding::Absent);
        check(&[listed("SM1", "text", 1)], inferred("SM1"));
        check(&[listed("SM1", "text\nReply STOP", 1)], Finding::Perhaps);
        check(&[listed("SM1", "other", 1), listed("SM2", "text", 2)], inferred("SM2"));
        check(&[listed("SM0", "text", 1)], Finding::Absent);
        check(&[listed("SM1", "text", -121)], Finding::Absent);
        check(&[listed("SM1", "text", -120)], inferred("SM1"));
        check(&[listed("SM1", "text", 900)], inferred("SM1"));
        check(&[listed("SM1", "text", 901)], Finding::Absent);
        check(&[Listed { from: Some("+15550199"), ..listed("SM1", "text", 1) }], Finding::Absent);
        check(&[Listed { from: None, ..listed("SM1", "text", 1) }], inferred("SM1"));
    }

    #[test]
    fn a_message_of_another_service_is_not_ours() {
        let attempt = Sought { origin: Origin::Service("MG1"), ..sought(1, "text", 0) };
        let message = listed("SM1", "text", 1);
        let of = |service| looked(&[attempt], &[Listed { service, ..message }], &[]);
        assert_eq!(of(Some("MG1")), [inferred("SM1")]);
        assert_eq!(of(Some("MG2")), [Finding::Absent]);
        assert_eq!(of(None), [Finding::Absent], "it was sent from a number, by no service");
        let queued = Listed { from: None, ..message };
        assert_eq!(looked(&[attempt], &[queued], &[]), [inferred("SM1")]);
    }

    #[test]
    fn each_message_counts_for_one_attempt() {
        let two = [sought(1, "text", 0), sought(2, "text", 5)];
        assert_eq!(
            looked(&two, &[listed("SM1", "text", 6)], &[]),
            [inferred("SM1"), Finding::Absent]
        );
        let both = [listed("SM2", "text", 6), listed("SM1", "text", 1)];
        assert_eq!(looked(&two, &both, &[]), [inferred("SM1"), inferred("SM2")]);
        // One message that may be either's: neither is sent again.
        let rewritten = [listed("SM1", "text!", 1)];
        assert_eq!(looked(&two, &rewritten, &[]), [Finding::Perhaps, Finding::Perhaps]);
        // The earlier one takes the message of the later, whose own was rewritten: neither is absent.
        let far = [sought(1, "text", 0), sought(2, "text", 599)];
        let swapped = [listed("SM1", "text!", 1), listed("SM2", "text", 600)];
        assert_eq!(looked(&far, &swapped, &[]), [inferred("SM2"), Finding::Perhaps]);
        // A page that repeats a message is not two.
        let twice = [listed("SM1", "text", 1), listed("SM1", "text", 1)];
        assert_eq!(looked(&two, &twice, &[]), [inferred("SM1"), Finding::Absent]);
    }

    #[test]
    fn a_call_is_never_inferred_and_none_is_absent() {
        let attempt = Sought { body: None, ..sought(1, "", 0) };
        let call = |sid| Listed { body: None, ..listed(sid, "", 1) };
        let check = |calls: &[Listed<'_>], expected| {
            assert_eq!(looked(&[attempt], calls, &["CA0"]), [expected]);
        };
        check(&[], Finding::Absent);
        check(&[call("CA0")], Finding::Absent);
        check(&[call("CA1")], Finding::Perhaps);
        check(&[Listed { from: Some("+15550199"), ..call("CA1") }], Finding::Absent);
    }

    #[test]
    fn a_list_that_was_cut_off_shows_no_absence() {
        let found = look(&[sought(1, "text", 0)], &[], &BTreeSet::new(), Extent::Cut);
        assert_eq!(found, [(AttemptId::new(1), Finding::Perhaps)]);
    }

    #[test]
    fn absence_is_believed_at_the_last_look_and_resent_only_if_asked_for() {
        let check = |finding: &Finding, nth, on_unknown, expected: Step| {
            assert_eq!(next(finding.clone(), nth, &LOOKS, on_unknown), expected, "{nth}");
        };
        for on_unknown in OnUnknown::ALL {
            for finding in [Finding::Absent, Finding::Perhaps] {
                check(&finding, 1, on_unknown, Step::LookAt(Duration::from_secs(120)));
                check(&finding, 3, on_unknown, Step::LookAt(Duration::from_secs(900)));
            }
            check(&inferred("SM1"), 1, on_unknown, Step::Accept("SM1".to_owned()));
            check(&Finding::Perhaps, 4, on_unknown, Step::Stay);
        }
        check(&Finding::Absent, 4, OnUnknown::Resend, Step::Resend);
        check(&Finding::Absent, 4, OnUnknown::Report, Step::Stay);
    }

    #[test]
    fn the_looks_that_count_leave_time_to_send_again_and_are_two_at_least() {
        let check = |left_s, expected: usize| {
            let found = in_time(&LOOKS, Duration::from_secs(left_s));
            assert_eq!(found, &LOOKS[..expected], "{left_s}");
        };
        check(24 * 3600, 4);
        check(960, 4);
        check(959, 3);
        // A one-time password, 30 s after it was asked for.
        check(570, 3);
        check(360, 3);
        check(359, 2);
        check(0, 2);
        assert_eq!(in_time(&LOOKS[..1], Duration::ZERO), &LOOKS[..1]);
    }

    proptest! {
        #[test]
        fn no_message_is_inferred_twice_and_what_was_created_is_never_absent(
            attempts in prop::collection::vec((0..3_usize, 0..600_i64, any::<bool>(), any::<bool>()), 0..8),
            others in prop::collection::vec((0..3_usize, -400..1500_i64), 0..4),
        ) {
            const BODIES: [&str; 3] = ["a", "b", "c"];
            let sids: Vec<String> = (0..20).map(|n| format!("SM{n}")).collect();
            let asked: Vec<Sought<'_>> = attempts.iter().zip(1..)
                .map(|((body, wrote_at, _, _), id)| sought(id, BODIES[*body], *wrote_at)).collect();
            // What the provider created of these, some of them with other bodies.
            let created = attempts.iter().zip(&sids).filter(|((_, _, created, _), _)| *created);
            let mut messages: Vec<Listed<'_>> = created
                .map(|((body, wrote_at, _, rewritten), sid)| {
                    listed(sid, if *rewritten { "rewritten" } else { BODIES[*body] }, wrote_at + 1)
                })
                .collect();
            let of_ours = messages.len();
            let strange = others.iter().zip(&sids[10..]);
            messages.extend(strange.map(|((body, time), sid)| listed(sid, BODIES[*body], *time)));
            let found = look(&asked, &messages, &BTreeSet::new(), Extent::Whole);
            prop_assert_eq!(found.len(), asked.len());
            let mut seen = BTreeSet::new();
            for (_, finding) in &found {
                if let Finding::Inferred(sid) = finding {
                    prop_assert!(seen.insert(sid.clone()));
                }
            }
            // As many as were created are not sent again.
            let absent = found.iter().filter(|(_, finding)| *finding == Finding::Absent).count();
            prop_assert!(asked.len() - absent >= of_ours, "{} {} {}", asked.len(), absent, of_ours);
        }
    }
}
