//! How numbers, times and statuses are written for people.

use std::time::Duration;

use maud::{Markup, html};
use time::format_description::FormatItem;
use time::macros::format_description;

use crate::clock::Timestamp;
use crate::labels::labels;
use crate::twilio::address;
use crate::twilio::privacy::{Class, Privacy};

const TIME: &[FormatItem<'_>] = format_description!("[hour]:[minute]:[second]");
const MINUTE: &[FormatItem<'_>] = format_description!("[hour]:[minute]");
const DAY: &[FormatItem<'_>] = format_description!("[day padding:none] [month repr:short]");

/// `12,345`
pub(in crate::admin) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 dead letter waits`, `2 dead letters wait`: the right one of two, with the number before it.
pub(in crate::admin) fn number_of(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// A rate: three digits at most, and no more precise than it is.
pub(in crate::admin) fn rate(per_second: f64) -> String {
    match per_second {
        0.0 => "0".to_owned(),
        rate if rate < 0.01 => "<0.01".to_owned(),
        rate if rate < 1.0 => format!("{rate:.2}"),
        rate if rate < 10.0 => format!("{rate:.1}"),
        rate => count(rate.round() as u64),
    }
}

/// `2.1 ms`, `340 ms`, `3.2 s`, `4 min`, `2 h`, `3 days`
pub(in crate::admin) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match seconds {
        _ if seconds < 0.01 => format!("{:.1} ms", seconds * 1e3),
        _ if seconds < 1.0 => format!("{:.0} ms", seconds * 1e3),
        _ if seconds < 60.0 => format!("{seconds:.1} s"),
        _ if seconds < 5400.0 => format!("{:.0} min", seconds / 60.0),
        _ if seconds < 172_800.0 => format!("{:.0} h", seconds / 3600.0),
        _ => format!("{:.0} days", seconds / 86_400.0),
    }
}

pub(in crate::admin) fn seconds(seconds: f64) -> String {
    duration(Duration::from_secs_f64(seconds.max(0.0)))
}

/// The time of day, and the day unless it is today.
pub(in crate::admin) fn time(at: Timestamp, now: Timestamp) -> Markup {
    html! { time datetime=(at) title=(at) { (written(at, now, TIME)) } }
}

/// To the minute, for a sentence.
pub(in crate::admin) fn minute(at: Timestamp, now: Timestamp) -> String {
    written(at, now, MINUTE)
}

fn written(at: Timestamp, now: Timestamp, format: &[FormatItem<'_>]) -> String {
    let (at, now) = (at.datetime(), now.datetime());
    let write = |format: &[FormatItem<'_>]| at.format(format).unwrap_or_default();
    if at.date() == now.date() {
        return write(format);
    }
    format!("{} {}", write(DAY), write(format))
}

/// An address that the sending half keeps as it is sent to until it is settled, as `[privacy]` lets it be shown; it
/// leads to all that was sent there.
pub(in crate::admin) fn address(to: &str, privacy: &Privacy) -> Markup {
    let (_, number) = address::channel(to).unwrap_or(("", to));
    // What was treated before is no number any more.
    let shown = match number.starts_with('+') {
        true => privacy.value(Class::Numbers, to),
        false => to.to_owned(),
    };
    html! {
        @if shown.is_empty() {
            span class="note" { "not kept" }
        } @else {
            a href={ "/search?q=" (in_path(&shown)) } { (shown) }
        }
    }
}

/// How a status looks. The word itself is always there: nobody has to see the colour.
pub(in crate::admin) fn status(status: &str) -> Markup {
    html! { span class={ "status " (StatusTone::of(status).as_str()) } { (status) } }
}

labels! {
    /// How a status looks, Twilio's or that of a notification, by its class in the style sheet.
    pub(in crate::admin) enum StatusTone {
        /// It went as it should.
        Good = "good",
        /// It failed.
        Bad = "bad",
        /// Neither.
        Odd = "odd",
        /// It says nothing about that yet.
        Plain = "plain",
    }
}

impl StatusTone {
    pub(in crate::admin) fn of(status: &str) -> Self {
        match status {
            "completed" | "delivered" | "read" | "received" | "confirmed" => Self::Good,
            "failed" | "undelivered" | "transcription-error" => Self::Bad,
            "busy" | "no-answer" | "canceled" | "absent" | "unconfirmed" | "unknown"
            | "refused" | "expired" | "cancelled" => Self::Odd,
            _ => Self::Plain,
        }
    }
}

/// A SID that leads to its timeline.
pub(in crate::admin) fn sid(sid: &str) -> Markup {
    html! { a class="sid" href={ "/sid/" (in_path(sid)) } title=(sid) { (parts(sid)) } }
}

/// The id of a notification, which leads to its page.
pub(in crate::admin) fn notification(id: &str) -> Markup {
    html! { a class="sid" href={ "/notifications/" (in_path(id)) } title=(id) { (parts(id)) } }
}

/// Text in two parts, of which a narrow place cuts the first: what tells SIDs apart is at their end.
pub(in crate::admin) fn parts(text: &str) -> Markup {
    /// As many as one remembers for a moment.
    const END: usize = 5;
    let cut = text.char_indices().rev().nth(END - 1).map_or(0, |(at, _)| at);
    let (start, end) = text.split_at(cut);
    html! { @if !start.is_empty() { span class="start" { (start) } } (end) }
}

/// Text as a part of a path.
pub(in crate::admin) fn in_path(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// Twilio's page about an error.
pub(in crate::admin) fn error_code(code: &str) -> Markup {
    let known = !code.is_empty() && code.len() <= 6 && code.bytes().all(|b| b.is_ascii_digit());
    html! {
        @if known {
            a class="code" rel="noreferrer" href={ "https://www.twilio.com/docs/api/errors/" (code) }
                title="Twilio's page about this error" { (code) }
        } @else { span class="code" { (code) } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::twilio::privacy::{Treatment, Treatments};

    #[test]
    fn numbers_are_short_and_easy_to_read() {
        let check = |text: String, expected: &str| assert_eq!(text, expected);
        check(count(0), "0");
        check(count(999), "999");
        check(count(12_345), "12,345");
        check(count(1_000_000), "1,000,000");
        check(rate(0.0), "0");
        check(rate(0.001), "<0.01");
        check(rate(0.25), "0.25");
        check(rate(3.06), "3.1");
        check(rate(1234.4), "1,234");
        check(seconds(0.0021), "2.1 ms");
        check(seconds(0.34), "340 ms");
        check(seconds(3.21), "3.2 s");
        check(seconds(240.0), "4 min");
        check(seconds(7200.0), "2 h");
        check(seconds(259_200.0), "3 days");
    }

    #[test]
    fn a_time_says_its_day_unless_it_is_today() {
        let at = |text: &str| Timestamp::parse_rfc3339(text).expect("a time");
        let now = at("2026-11-24T08:00:00Z");
        assert_eq!(minute(at("2026-11-24T02:58:31Z"), now), "02:58");
        assert_eq!(minute(at("2026-11-03T02:58:31Z"), now), "3 Nov 02:58");
        let markup = time(at("2026-11-24T02:58:31Z"), now).into_string();
        assert!(markup.ends_with(">02:58:31</time>"), "{markup}");
    }

    #[test]
    fn an_address_is_shown_as_it_may_be_kept() {
        let treated = |numbers| {
            let treatments = Treatments { numbers, ..Treatments::default() };
            Privacy::new(treatments, [], Some(&"k".repeat(32).into())).expect("a key")
        };
        let check = |privacy: &Privacy, to: &str, expected: &str| {
            let shown = address(to, privacy).into_string();
            assert!(shown.contains(&format!(">{expected}<")), "{shown}");
        };
        check(&Privacy::default(), "whatsapp:+12125550111", "whatsapp:+12125550111");
        check(&treated(Treatment::Mask), "whatsapp:+12125550111", "whatsapp:****0111");
        check(&treated(Treatment::Drop), "+12125550111", "not kept");
        // Settled, and so treated already.
        let hash = treated(Treatment::Hash);
        let once = hash.value(Class::Numbers, "+12125550111");
        for to in ["+12125550111", &once] {
            check(&hash, to, &once);
        }
        check(&treated(Treatment::Drop), "", "not kept");
    }

    #[test]
    fn what_twilio_sent_is_text_in_every_place() {
        let odd = "\"><script>alert(1)</script>";
        for markup in [status(odd), sid(odd), error_code(odd)] {
            let markup = markup.into_string();
            assert!(!markup.contains("<script>"), "{markup}");
        }
        assert!(error_code("30003").into_string().contains("/errors/30003\""));
        assert!(!error_code("../x").into_string().contains("href"));
    }
}
