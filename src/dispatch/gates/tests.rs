//! What the gates say of a message, and until when.

use proptest::prelude::*;

use super::*;
use crate::dispatch::quiet_hours::Hours;

/// 2025-11-24 16:00 UTC, and this many seconds.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros((1_764_000_000 + seconds) * 1_000_000)
}

fn number(text: &str) -> Recipient {
    Recipient::parse(text).unwrap()
}

fn rules() -> Rules {
    Rules {
        countries: vec![Country::parse("US").unwrap()],
        only_to: Vec::new(),
        max_per_recipient_hour: MAX_PER_RECIPIENT_HOUR,
        max_calls_per_recipient_hour: MAX_CALLS_PER_RECIPIENT_HOUR,
        max_per_day: MAX_PER_DAY,
        quiet_hours: None,
    }
}

fn known(to: &Recipient) -> Known<'_> {
    Known {
        to,
        purpose: Purpose::Transactional,
        zone: None,
        deadline: at(36_000),
        suppressed: false,
        consented: false,
        recent: &[],
        call: None,
        sent_today: 0,
        campaign: Pause::None,
        is_over_cap: false,
        sender: Pause::None,
        account: Pause::None,
        deployment: Pause::None,
    }
}

fn refuse(gate: Gate) -> Verdict {
    Verdict::Refuse { gate }
}

fn hold(gate: Gate, until: Timestamp) -> Verdict {
    Verdict::Hold { gate, until }
}

#[test]
fn each_gate_refuses_or_holds_what_it_is_there_for() {
    let (us, ca, premium) =
        (number("+12125550100"), number("+14165550100"), number("+19005550100"));
    let check = |known: Known<'_>, expected| assert_eq!(rules().ask(&known, at(0)), expected);
    check(known(&us), Verdict::Pass);
    check(Known { suppressed: true, ..known(&us) }, refuse(Gate::Suppression));
    check(known(&ca), refuse(Gate::Country));
    check(known(&premium), refuse(Gate::Country));
    check(Known { deadline: at(4), ..known(&us) }, refuse(Gate::Deadline));
    check(Known { deadline: at(-1), ..known(&us) }, refuse(Gate::Deadline));
    check(Known { deadline: at(5), ..known(&us) }, Verdict::Pass);
    let recent = [at(-1), at(-2), at(-3), at(-4), at(-5), at(-6)];
    let limited = Known { recent: &recent, ..known(&us) };
    check(limited, hold(Gate::RecipientLimit, at(3595)));
    check(Known { recent: &recent[..4], ..known(&us) }, Verdict::Pass);
    let day = Known { sent_today: MAX_PER_DAY, ..known(&us) };
    check(day, hold(Gate::DailyLimit, at(8 * 3600)));
    let paused = Known { sender: Pause::Until(at(9)), ..known(&us) };
    check(paused, hold(Gate::Sender, at(9)));
    check(Known { sender: Pause::Until(at(0)), ..known(&us) }, Verdict::Pass);
    let paused = Known { account: Pause::Until(at(9)), ..known(&us) };
    check(paused, hold(Gate::Account, at(9)));
    let held = Known { deployment: Pause::Indefinite, ..known(&us) };
    let expiry = Timestamp::from_micros(at(36_000 - 5).micros() + 1);
    check(held, hold(Gate::Deployment, expiry));
}

fn quiet_hours() -> QuietHours {
    QuietHours { hours: Hours::TCPA, unknown: None }
}

#[test]
fn quiet_hours_hold_all_but_alerts_and_passwords() {
    let rules = Rules { quiet_hours: Some(quiet_hours()), ..rules() };
    // 16:00 UTC is 11 o'clock in New York, and 6 in Honolulu.
    let (new_york, honolulu) = (number("+12125550100"), number("+18085550100"));
    let check = |known: Known<'_>, expected, until| {
        assert_eq!(rules.ask(&known, at(0)), expected);
        let quiet = rules.quiet(known.to, known.zone, at(0));
        assert_eq!(valid_until(known.purpose, known.deadline, quiet), until);
    };
    let far = |known| Known { deadline: at(90_000), ..known };
    check(far(known(&new_york)), Verdict::Pass, at(10 * 3600));
    check(known(&new_york), Verdict::Pass, at(36_000));
    let held = hold(Gate::QuietHours, at(2 * 3600));
    check(known(&honolulu), held, at(36_000));
    for purpose in [Purpose::Alert, Purpose::Otp] {
        check(Known { purpose, ..known(&honolulu) }, Verdict::Pass, at(36_000));
    }
    let own = Zone::parse("Europe/Berlin");
    check(Known { zone: own.as_ref(), ..known(&honolulu) }, Verdict::Pass, at(4 * 3600));
    let gone = Known { deadline: at(3600), ..known(&honolulu) };
    let expiry = Timestamp::from_micros(at(3595).micros() + 1);
    check(gone, hold(Gate::QuietHours, expiry), at(3600));
    // What would be there only after 21 o'clock waits for 8.
    let late = rules.ask(&far(known(&new_york)), at(10 * 3600 - 4));
    assert_eq!(late, hold(Gate::QuietHours, at(10 * 3600)));
}

#[test]
fn marketing_takes_consent_and_hours_that_are_not_quiet() {
    let day = Rules { quiet_hours: Some(quiet_hours()), ..rules() };
    let (new_york, honolulu) = (number("+12125550100"), number("+18085550100"));
    let agreed = |to| Known { purpose: Purpose::Marketing, consented: true, ..known(to) };
    let check =
        |rules: &Rules, known: Known<'_>, expected| assert_eq!(rules.ask(&known, at(0)), expected);
    check(&day, agreed(&new_york), Verdict::Pass);
    check(&day, agreed(&honolulu), hold(Gate::QuietHours, at(2 * 3600)));
    check(&day, Known { consented: false, ..agreed(&new_york) }, refuse(Gate::Consent));
    check(&day, Known { suppressed: true, ..agreed(&new_york) }, refuse(Gate::Suppression));
    // The hours may have been taken out of the configuration after it was asked for.
    let expiry = Timestamp::from_micros(at(35_995).micros() + 1);
    check(&rules(), agreed(&new_york), hold(Gate::QuietHours, expiry));
}

#[test]
fn a_call_waits_for_a_free_line_and_a_recipient_is_called_twice_an_hour() {
    let (to, recent) = (number("+12125550100"), [at(-10), at(-20), at(-30)]);
    let call = KnownCalls { recent: &[], open: 0, limit: 1 };
    let check = |recent, call, expected| {
        let known = Known { recent, call: Some(call), ..known(&to) };
        assert_eq!(rules().ask(&known, at(0)), expected);
    };
    check(&recent, call, Verdict::Pass);
    check(&[], KnownCalls { open: 1, ..call }, hold(Gate::CallsLimit, at(1)));
    check(&[], KnownCalls { open: 1, limit: 2, ..call }, Verdict::Pass);
    let one = KnownCalls { recent: &recent[..1], ..call };
    check(&recent, one, Verdict::Pass);
    check(
        &recent,
        KnownCalls { recent: &recent[..2], ..call },
        hold(Gate::RecipientLimit, at(3580)),
    );
    assert_eq!(rules().ask(&Known { recent: &recent, ..known(&to) }, at(0)), Verdict::Pass);
}

#[test]
fn an_email_has_no_country_and_no_night_and_every_other_gate() {
    let hours = Hours::new(8 * 60, 9 * 60, [true; 7]).unwrap();
    let quiet_hours = Some(QuietHours { hours, unknown: None });
    let (one, other) = (number("ana@example.com"), number("bob@example.com"));
    let rules = Rules { countries: Vec::new(), quiet_hours, ..rules() };
    let zone = Zone::parse("Europe/Berlin");
    let ask = |rules: &Rules, known: Known<'_>| rules.ask(&known, at(0));
    assert_eq!(ask(&rules, Known { zone: zone.as_ref(), ..known(&one) }), Verdict::Pass);
    let suppressed = Known { suppressed: true, ..known(&one) };
    assert_eq!(ask(&rules, suppressed), refuse(Gate::Suppression));
    let recent = [at(-1); 5];
    let limited = Known { recent: &recent, ..known(&one) };
    assert_eq!(ask(&rules, limited), hold(Gate::RecipientLimit, at(3599)));
    let only = Rules { only_to: vec![one.clone()], ..rules };
    assert_eq!(ask(&only, known(&one)), Verdict::Pass);
    assert_eq!(ask(&only, known(&other)), refuse(Gate::OnlyTo));
}

#[test]
fn only_to_refuses_every_other_number() {
    let (one, other) = (number("+12125550100"), number("+12125550101"));
    let rules = Rules { only_to: vec![one.clone()], ..rules() };
    assert_eq!(rules.ask(&known(&one), at(0)), Verdict::Pass);
    assert_eq!(rules.ask(&known(&other), at(0)), refuse(Gate::OnlyTo));
}

#[test]
fn a_limit_of_0_sends_nothing() {
    let to = number("+12125550100");
    let none = Rules { max_per_recipient_hour: 0, ..rules() };
    assert_eq!(none.ask(&known(&to), at(0)), hold(Gate::RecipientLimit, at(3600)));
    let none = Rules { max_per_day: 0, ..rules() };
    assert_eq!(none.ask(&known(&to), at(0)), hold(Gate::DailyLimit, at(8 * 3600)));
    let none = Rules { countries: Vec::new(), ..rules() };
    assert_eq!(none.ask(&known(&to), at(0)), refuse(Gate::Country));
}

#[test]
fn a_message_is_valid_until_its_deadline_for_10_hours_at_most() {
    let check = |left: i64, expected: Option<u64>| {
        assert_eq!(validity(at(left), at(0)), expected.map(Duration::from_secs), "{left}");
    };
    check(-9, None);
    check(4, None);
    check(5, Some(5));
    check(600, Some(600));
    check(36_001, Some(36_000));
    let almost = Timestamp::from_micros(at(7).micros() - 1);
    assert_eq!(validity(almost, at(0)), Some(Duration::from_secs(6)));
    let hours = Purpose::ALL.map(|purpose| default_deadline(purpose).as_secs());
    assert_eq!(hours, [3600, 600, 86_400, 86_400]);
}

fn pause() -> impl Strategy<Value = Pause> {
    prop_oneof![
        Just(Pause::None),
        Just(Pause::Indefinite),
        (-10..100_000_i64).prop_map(|end| Pause::Until(at(end))),
    ]
}

proptest! {
    #[test]
    fn a_hold_ends_later_than_now_and_at_its_end_the_message_passes_is_held_on_or_has_expired(
        deadline in -10..90_000_i64,
        sent in prop::collection::vec(-7200..0_i64, 0..8),
        sent_today in 0..2_000_u32,
        sender in pause(), account in pause(), deployment in pause(), quiet: bool,
    ) {
        let rules = Rules { quiet_hours: quiet.then(quiet_hours), ..rules() };
        let mut recent: Vec<Timestamp> = sent.into_iter().map(at).collect();
        recent.sort_by(|a, b| b.cmp(a));
        let to = number("+12125550100");
        let asked = Known {
            to: &to, purpose: Purpose::Transactional, zone: None, deadline: at(deadline), suppressed: false, consented: false,
            recent: &recent, call: None, sent_today,
            campaign: Pause::None, is_over_cap: false, sender, account, deployment,
        };
        let (mut now, mut known, mut holds) = (at(0), asked, 0);
        loop {
            match rules.ask(&known, now) {
                Verdict::Hold { until, .. } => {
                    prop_assert!(until > now, "it would be asked again at once");
                    now = until;
                    // The day that a limit waits for begins anew.
                    known.sent_today = 0;
                    holds += 1;
                    prop_assert!(holds < 9);
                }
                Verdict::Pass => {
                    let left = validity(known.deadline, now);
                    prop_assert!(left.is_some_and(|left| left <= known.deadline.since(now)));
                    let quiet = rules.quiet(&to, None, now);
                    let until = valid_until(known.purpose, known.deadline, quiet);
                    prop_assert!(validity(until, now).is_some(), "it is quiet before it is there");
                    break;
                }
                Verdict::Refuse { gate } => {
                    prop_assert!(gate == Gate::Deadline && validity(known.deadline, now).is_none());
                    break;
                }
            }
        }
    }

    #[test]
    fn what_is_suppressed_abroad_or_not_listed_never_passes(
        text in "\\+[1-9][0-9]{7,13}", suppressed: bool, listed: bool,
    ) {
        let to = number(&text);
        let rules = Rules {
            only_to: if listed { vec![to.clone()] } else { vec![number("+12125550199")] },
            ..rules()
        };
        let verdict = rules.ask(&Known { suppressed, ..known(&to) }, at(0));
        let of = to.number().unwrap();
        let at_home = of.country() == Country::parse("US") && !of.is_barred();
        prop_assert_eq!(verdict == Verdict::Pass, !suppressed && listed && at_home);
    }
}
