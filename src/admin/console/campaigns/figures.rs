//! [`Standing`]: how far a campaign is, in bars.

use maud::{Markup, html};

use crate::admin::console::format;
use crate::admin::console::plot::plot;
use crate::backend::outbox::{Campaign, Progress};
use crate::backend::{BackendError, Outbox};
use crate::dispatch::{AttemptState, NotificationState};
use crate::twilio::error::meaning;

/// What is drawn of a campaign.
pub(super) struct Standing {
    progress: Progress,
    /// Notifications that had their outcome in each of the last minutes.
    settled: Vec<u64>,
}

/// One row of bars: a name, and how many.
type Rows = Vec<(String, u64)>;

impl Standing {
    pub(super) async fn read(outbox: &Outbox, campaign: &Campaign) -> Result<Self, BackendError> {
        let progress = outbox.progress(&campaign.id).await?;
        let settled = outbox.settled_by_minute(&campaign.id).await?;
        Ok(Self { progress, settled })
    }

    fn state(&self, state: NotificationState) -> u64 {
        let of = self.progress.notifications.iter().filter(|((it, _), _)| *it == state);
        of.map(|(_, many)| many).sum()
    }

    fn attempts(&self, state: AttemptState) -> u64 {
        self.progress.attempts.get(&state).copied().unwrap_or_default()
    }

    fn held(&self) -> u64 {
        self.progress.held.values().chain(self.progress.held_attempts.values()).sum()
    }

    /// Recipients that are planned, and that no gate holds.
    fn planned(&self) -> u64 {
        let held: u64 = self.progress.held_attempts.values().sum();
        let due = self.attempts(AttemptState::Due) + self.attempts(AttemptState::Claimed);
        self.progress.waiting + due.saturating_sub(held)
    }

    /// Recipients to which a message may yet be sent.
    pub(super) fn left(&self) -> u64 {
        self.planned() + self.held()
    }

    /// Recipients of which it is not known whether they were sent to.
    pub(super) fn unknown(&self) -> u64 {
        self.state(NotificationState::Unknown)
    }

    /// The parts of the bar. Each recipient is in one of them.
    fn parts(&self) -> [(&'static str, u64); 8] {
        let before: u64 = self.progress.ended.values().sum();
        let open = self.state(NotificationState::Open);
        let waits = self
            .left()
            .saturating_sub(self.progress.waiting + self.progress.held.values().sum::<u64>());
        let writing = self.attempts(AttemptState::Writing).min(open);
        let ended = [
            NotificationState::Refused,
            NotificationState::Expired,
            NotificationState::Cancelled,
            NotificationState::Unconfirmed,
        ];
        let ended: u64 = ended.map(|state| self.state(state)).iter().sum();
        [
            ("planned", self.planned()),
            ("held", self.held()),
            ("writing", writing),
            ("accepted", open.saturating_sub(waits + writing)),
            ("confirmed", self.state(NotificationState::Confirmed)),
            ("failed", self.state(NotificationState::Failed)),
            ("unknown", self.unknown()),
            ("ended otherwise", ended + before),
        ]
    }

    /// What a gate refuses or has let expire, by gate.
    fn refused(&self) -> Rows {
        let before = self.progress.ended.iter().map(|((_, reason), many)| (reason, *many));
        let after = self.progress.notifications.iter();
        let after = after.filter(|((state, _), _)| {
            matches!(state, NotificationState::Refused | NotificationState::Expired)
        });
        let after = after.map(|((_, reason), many)| (reason, *many));
        let named = before.chain(after).filter(|(reason, _)| *reason != "cancelled");
        added(named.map(|(reason, many)| (reason.replace('_', " "), many)))
    }

    fn holding(&self) -> Rows {
        let held = self.progress.held.iter().chain(&self.progress.held_attempts);
        added(held.map(|(gate, many)| (gate.replace('_', " "), *many)))
    }

    fn failures(&self) -> Rows {
        let failed = self.progress.notifications.iter();
        let failed = failed.filter(|((state, _), _)| *state == NotificationState::Failed);
        added(failed.map(|((_, reason), many)| (reason.clone(), *many)))
    }

    pub(super) fn shown(&self) -> Markup {
        let values: Vec<_> = self.settled.iter().map(|many| Some(*many as f64)).collect();
        html! {
            (bar(&self.parts()))
            (rows("Held, by gate", &self.holding(), |name| html! { (name) }))
            (rows("Refused or expired, by gate", &self.refused(), |name| html! { (name) }))
            (rows("Failed, by code", &self.failures(), code))
            @if self.settled.iter().any(|many| *many > 0) {
                section class="figure" {
                    h2 { "Outcomes, by minute" }
                    (plot("Outcomes in a minute", &values, |many| format!("{many:.0}")))
                }
            }
        }
    }
}

/// Sums of what has the same name, the largest first.
fn added(named: impl Iterator<Item = (String, u64)>) -> Rows {
    let mut sums = std::collections::BTreeMap::<String, u64>::new();
    for (name, many) in named {
        *sums.entry(name).or_default() += many;
    }
    let mut rows: Rows = sums.into_iter().filter(|(_, many)| *many > 0).collect();
    rows.sort_by_key(|(_, many)| std::cmp::Reverse(*many));
    rows
}

fn code(reason: &str) -> Markup {
    html! {
        @if let Some(known) = meaning(reason) {
            (format::error_code(reason)) " " (known)
        } @else { (reason.replace('_', " ")) }
    }
}

/// All of it as one bar, and in words.
fn bar(parts: &[(&'static str, u64)]) -> Markup {
    let all: u64 = parts.iter().map(|(_, many)| many).sum();
    let words: Vec<_> =
        parts.iter().map(|(name, many)| format!("{name} {}", format::count(*many))).collect();
    let share = |many: u64| many as f64 * 1000.0 / all.max(1) as f64;
    let starts = parts.iter().scan(0.0, |start, (_, many)| {
        let at = *start;
        *start += share(*many);
        Some(at)
    });
    html! {
        section class="campaign" {
            svg class="bar" viewBox="0 0 1000 10" preserveAspectRatio="none" role="img"
                aria-label=(words.join(", ")) {
                @for ((name, many), start) in parts.iter().zip(starts) {
                    @if *many > 0 {
                        rect class=(class(name)) x={ (format!("{start:.1}")) } y="0"
                            width={ (format!("{:.1}", share(*many))) } height="10" {}
                    }
                }
            }
            dl class="facts legend" {
                @for (name, many) in parts {
                    @if *many > 0 {
                        div { dt class=(class(name)) { (name) } dd { (format::count(*many)) } }
                    }
                }
            }
        }
    }
}

/// The class of a part in the style sheet.
fn class(name: &str) -> &'static str {
    match name {
        "confirmed" => "good",
        "failed" => "bad",
        "held" | "unknown" => "odd",
        "writing" | "accepted" => "going",
        "planned" => "waits",
        _ => "ended",
    }
}

fn rows(title: &str, rows: &[(String, u64)], name: impl Fn(&str) -> Markup) -> Markup {
    let most = rows.iter().map(|(_, many)| *many).max().unwrap_or(1).max(1);
    html! {
        @if !rows.is_empty() {
            section class="figure" {
                h2 { (title) }
                table class="rows bars" {
                    caption class="hidden" { (title) }
                    tbody {
                        @for (what, many) in rows {
                            tr {
                                th scope="row" { (name(what)) }
                                td { (format::count(*many)) }
                                td class="drawn" {
                                    meter min="0" max=(most) value=(many) { (format::count(*many)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::backend::outbox::RecipientState;

    #[test]
    fn each_recipient_is_in_one_part_and_each_gate_and_code_has_its_bar() {
        let text = str::to_owned;
        let progress = Progress {
            waiting: 5,
            held: BTreeMap::from([(text("quiet_hours"), 2)]),
            ended: BTreeMap::from([
                ((RecipientState::Refused, text("consent")), 3),
                ((RecipientState::Cancelled, text("cancelled")), 1),
            ]),
            notifications: BTreeMap::from([
                ((NotificationState::Open, String::new()), 6),
                ((NotificationState::Confirmed, String::new()), 4),
                ((NotificationState::Failed, text("30003")), 2),
                ((NotificationState::Refused, text("consent")), 1),
                ((NotificationState::Unknown, text("timed_out")), 1),
            ]),
            attempts: BTreeMap::from([
                (AttemptState::Due, 2),
                (AttemptState::Writing, 1),
                (AttemptState::Accepted, 3),
            ]),
            held_attempts: BTreeMap::from([(text("quiet_hours"), 1)]),
        };
        let standing = Standing { progress, settled: vec![0, 3, 9] };
        let expected = [
            ("planned", 6),
            ("held", 3),
            ("writing", 1),
            ("accepted", 3),
            ("confirmed", 4),
            ("failed", 2),
            ("unknown", 1),
            ("ended otherwise", 5),
        ];
        assert_eq!(standing.parts(), expected);
        assert_eq!(standing.holding(), [(text("quiet hours"), 3)]);
        assert_eq!(standing.refused(), [(text("consent"), 4)]);
        assert_eq!(standing.failures(), [(text("30003"), 2)]);
        let page = standing.shown().into_string();
        for part in ["planned 6, held 3, writing 1", "errors/30003", "peak 9"] {
            assert!(page.contains(part), "{part}: {page}");
        }
    }
}
