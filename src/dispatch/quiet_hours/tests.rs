use std::time::Duration;

use jiff::civil::Weekday;
use proptest::prelude::*;

use super::*;

fn quiet(hours: Hours) -> QuietHours {
    QuietHours { hours, unknown: None }
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).expect("a time")
}

fn zone(name: &str) -> Zone {
    Zone::parse(name).expect("a zone")
}

fn number(text: &str) -> Number {
    Number::parse(text).expect("a number")
}

/// What is said of a number that is nowhere, whose owner is in this zone.
fn check(hours: Hours, name: &str, now: &str, expected: Quiet) {
    let said = quiet(hours).ask(&number("+80012345678"), Some(&zone(name)), at(now));
    assert_eq!(said, expected, "{name} at {now}");
}

fn no(until: &str) -> Quiet {
    Quiet::No { until: at(until) }
}

fn until(time: &str) -> Quiet {
    Quiet::Until(at(time))
}

#[test]
fn hours_begin_and_end_by_the_clocks_of_the_recipient() {
    let check = |now, expected| check(Hours::TCPA, "America/New_York", now, expected);
    check("2026-01-15T12:59:59.999999Z", until("2026-01-15T13:00:00Z"));
    check("2026-01-15T13:00:00Z", no("2026-01-16T02:00:00Z"));
    check("2026-01-16T01:59:59.999999Z", no("2026-01-16T02:00:00Z"));
    check("2026-01-16T02:00:00Z", until("2026-01-16T13:00:00Z"));
    check("2026-07-15T12:00:00Z", no("2026-07-16T01:00:00Z"));
}

#[test]
fn on_days_without_hours_it_is_quiet() {
    let check = |now, expected| check(Hours::US_STRICT, "America/Chicago", now, expected);
    // A Saturday, and the Sunday and the Monday after it.
    check("2026-01-17T20:00:00Z", no("2026-01-18T02:00:00Z"));
    check("2026-01-18T02:00:00Z", until("2026-01-19T14:00:00Z"));
    check("2026-01-18T18:00:00Z", until("2026-01-19T14:00:00Z"));
}

#[test]
fn on_the_days_on_which_clocks_change_hours_do_not_move() {
    for (now, expected) in [
        // At 2 o'clock it is 3 o'clock.
        ("2026-03-08T01:00:00Z", no("2026-03-08T02:00:00Z")),
        ("2026-03-08T02:00:00Z", until("2026-03-08T12:00:00Z")),
        ("2026-03-08T12:00:00Z", no("2026-03-09T01:00:00Z")),
        // At 2 o'clock it is 1 o'clock again.
        ("2026-11-01T00:59:00Z", no("2026-11-01T01:00:00Z")),
        ("2026-11-01T01:00:00Z", until("2026-11-01T13:00:00Z")),
        ("2026-11-01T13:00:00Z", no("2026-11-02T02:00:00Z")),
    ] {
        check(Hours::TCPA, "America/New_York", now, expected);
    }
    // Hours that begin in the hour that is left out, and that end in the one that comes twice.
    let night = Hours::new(2 * 60 + 30, 4 * 60, [true; 7]).expect("hours");
    check(night, "America/New_York", "2026-03-08T06:00:00Z", until("2026-03-08T07:00:00Z"));
    let night = Hours::new(0, 90, [true; 7]).expect("hours");
    check(night, "America/New_York", "2026-11-01T05:00:00Z", no("2026-11-01T05:30:00Z"));
    check(night, "America/New_York", "2026-11-01T05:30:00Z", until("2026-11-01T06:00:00Z"));
}

#[test]
fn every_zone_that_a_number_may_be_in_must_allow_it() {
    let ask = |to: &str, now| quiet(Hours::TCPA).ask(&number(to), None, at(now));
    // 8 o'clock in New York, and 5 in Los Angeles.
    assert_eq!(ask("+12125550100", "2026-01-15T13:00:00Z"), no("2026-01-16T02:00:00Z"));
    assert_eq!(ask("+14155550100", "2026-01-15T13:00:00Z"), until("2026-01-15T16:00:00Z"));
    // A toll-free number may be anywhere from Guam to Newfoundland.
    assert!(zones_of(&number("+18005550100")).len() > 40);
    assert_eq!(ask("+18005550100", "2026-01-15T16:00:00Z"), until("2026-01-15T22:00:00Z"));
    assert_eq!(ask("+18005550100", "2026-01-15T22:00:00Z"), no("2026-01-16T00:30:00Z"));
    // An area code that is not in the table is anywhere as well.
    assert_eq!(zones_of(&number("+15555550100")).len(), zones_of(&number("+18005550100")).len());
}

#[test]
fn of_a_number_that_is_nowhere_nothing_is_known() {
    let (nowhere, now) = (number("+80012345678"), at("2026-01-15T13:00:00Z"));
    assert!(zones_of(&nowhere).is_empty());
    assert_eq!(quiet(Hours::TCPA).ask(&nowhere, None, now), Quiet::Always);
    let known = QuietHours { unknown: Some(zone("Europe/Berlin")), ..quiet(Hours::TCPA) };
    assert_eq!(known.ask(&nowhere, None, now), no("2026-01-15T20:00:00Z"));
}

#[test]
fn where_no_hour_is_allowed_everywhere_it_is_always_quiet() {
    let short = Hours::new(12 * 60, 12 * 60 + 30, [true; 7]).expect("hours");
    let now = at("2026-01-15T13:00:00Z");
    assert_eq!(quiet(short).ask(&number("+18005550100"), None, now), Quiet::Always);
    let whole = Hours::new(0, 24 * 60, [true; 7]).expect("hours");
    let Quiet::No { until } = quiet(whole).ask(&number("+18005550100"), None, now) else {
        panic!("it is quiet")
    };
    assert!(until > now.after(Duration::from_secs(7 * 24 * 3600)));
}

#[test]
fn only_a_place_has_a_zone() {
    for name in ["Europe/Berlin", "America/North_Dakota/Center"] {
        assert_eq!(zone(name).as_str(), name);
    }
    for none in ["", "UTC", "EST5EDT", "Etc/GMT-3", "Etc/Unknown", "Europe/Nowhere", "../etc"] {
        assert_eq!(Zone::parse(none), None, "{none}");
    }
}

#[test]
fn every_zone_and_prefix_of_the_table_is_one() {
    let mut prefixes: Vec<&str> = Vec::new();
    for (zones, of) in zones::TABLE {
        assert!(zones.split(' ').all(|name| Zone::parse(name).is_some()), "{zones}");
        prefixes.extend(of.split(' '));
    }
    assert!(prefixes.iter().all(|it| (1..=4).contains(&it.len()) && !it.starts_with('0')));
    let all = prefixes.len();
    prefixes.sort_unstable();
    prefixes.dedup();
    assert_eq!((prefixes.len(), ZONES.len()), (all, all), "each once");
}

/// Whether a calendar has an instant within the hours.
fn is_within(hours: Hours, zone: &Zone, now: Timestamp) -> bool {
    let now = instant(now).expect("within the calendar").to_zoned(zone.0.clone());
    let minute = i64::from(now.hour()) * 60 + i64::from(now.minute());
    let days = [
        Weekday::Monday,
        Weekday::Tuesday,
        Weekday::Wednesday,
        Weekday::Thursday,
        Weekday::Friday,
        Weekday::Saturday,
        Weekday::Sunday,
    ];
    let day = days.iter().position(|day| *day == now.weekday()).expect("a day");
    hours.days[day] && minute >= i64::from(hours.from) && minute < i64::from(hours.until)
}

/// Half of the instants are within a day of a change of clocks in some of the zones.
fn moments() -> impl Strategy<Value = Timestamp> {
    // 2024 to 2035.
    let any = 1_704_067_200_000_000_i64..2_082_758_400_000_000;
    let near = (any.clone(), -1440..1440_i64, 0..5_usize).prop_map(|(at, minutes, which)| {
        const NAMES: [&str; 5] = [
            "America/New_York",
            "Europe/London",
            "Australia/Lord_Howe",
            "America/Santiago",
            "Africa/Casablanca",
        ];
        let change = zone(NAMES[which]).next_change(Timestamp::from_micros(at));
        change.map_or(at, Timestamp::micros) + minutes * MINUTE_MICROS
    });
    prop_oneof![any, near].prop_map(Timestamp::from_micros)
}

fn hours() -> impl Strategy<Value = Hours> {
    let custom = (0..1439_u16, 1..1440_u16, any::<[bool; 7]>())
        .prop_filter_map("no hours", |(from, lasts, days)| {
            Hours::new(from, (from + lasts).min(1440), days)
        });
    prop_oneof![Just(Hours::TCPA), Just(Hours::US_STRICT), custom]
}

fn recipients() -> impl Strategy<Value = Number> {
    let prefixes: Vec<&str> = zones::TABLE.iter().flat_map(|(_, of)| of.split(' ')).collect();
    let known = (prop::sample::select(prefixes), "[0-9]{9}")
        .prop_map(|(prefix, rest)| format!("+{prefix}{rest}"));
    prop_oneof![3 => known, 1 => "\\+[1-9][0-9]{8,13}"].prop_map(|text| number(&text))
}

proptest! {
    /// The law: nothing leaves where any zone that the number may be in forbids it, and nothing waits longer than that.
    #[test]
    fn nothing_leaves_where_any_zone_forbids_it(
        hours in hours(),
        to in recipients(),
        own in prop::option::of(prop::sample::select(vec!["Asia/Kathmandu", "Pacific/Chatham", "America/Denver"])),
        unknown in prop::option::of(Just("Europe/Berlin")),
        now in moments(),
        part in 0.0..1.0_f64,
    ) {
        let (own, unknown) = (own.map(zone), unknown.map(zone));
        let quiet = QuietHours { hours, unknown: unknown.clone() };
        let zones = match &own {
            Some(own) => vec![own.clone()],
            None if zones_of(&to).is_empty() => unknown.into_iter().collect(),
            None => zones_of(&to).to_vec(),
        };
        let may = |at| !zones.is_empty() && zones.iter().all(|zone| is_within(hours, zone, at));
        let between = |end: Timestamp| {
            let lasts = (end.micros() - now.micros() - 1) as f64 * part;
            Timestamp::from_micros(now.micros() + lasts as i64)
        };
        match quiet.ask(&to, own.as_ref(), now) {
            Quiet::No { until } => {
                prop_assert!(until > now && may(now) && may(between(until)));
                // It may begin again at once: there are hours that last a whole day.
                prop_assert!(!may(until) || until > now.after(Duration::from_secs(24 * 3600)));
            }
            Quiet::Until(end) => prop_assert!(end > now && !may(now) && !may(between(end)) && may(end)),
            Quiet::Always => prop_assert!(!may(now) && !may(now.after(Duration::from_secs(3600)))),
        }
    }
}
