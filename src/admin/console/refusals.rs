//! Refusals: the last of them, what is alike together, with the usual cause.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};

use super::format::{self, number_of};
use super::layout::{self, NavPage, what_to_do};
use crate::admin::Admin;
use crate::admin::auth::Visitor;
use crate::clock::Timestamp;
use crate::recent::Refusal;
use crate::recent::refusals::{RecentRefusal, RefusalCount};

/// `GET /refusals`
pub(super) async fn page(
    State(admin): State<Arc<Admin>>,
    Extension(visitor): Extension<Visitor>,
) -> Response {
    let (now, counted) = (admin.clock.now(), admin.refusals.counted());
    let mut reasons: Vec<(Refusal, Vec<Alike>)> = Vec::new();
    for group in alike(admin.refusals.last()) {
        let reason = group.last.reason;
        match reasons.iter_mut().find(|(of, _)| *of == reason) {
            Some((_, groups)) => groups.push(group),
            None => reasons.push((reason, vec![group])),
        }
    }
    let body = html! {
        h1 { "Refusals" }
        @if reasons.is_empty() {
            p class="empty" { "No request has been refused since this process started." }
        } @else {
            p {
                "Requests that this process refused. Each receiver has its own list. "
                (what_to_do(&admin, "refusals"))
            }
            @for (reason, groups) in &reasons {
                section aria-label=(reason.as_str()) {
                    div class="head" {
                        h2 class="capital" { (reason.as_str().replace('_', " ")) }
                        @if let Some(counted) = counted.get(reason) {
                            span class="note" { (total(counted, groups, now)) }
                        }
                    }
                    ul class="refusals" { @for group in groups { (item(group, now)) } }
                }
            }
        }
    };
    layout::page(&admin, &visitor, NavPage::Refusals, "Refusals", &body)
}

/// `527 since 14:03, the last 32 below`: how many there were is not how many are remembered.
fn total(counted: &RefusalCount, groups: &[Alike], now: Timestamp) -> String {
    let remembered: u64 = groups.iter().map(|group| group.times).sum();
    let since = format::minute(counted.since, now);
    match counted.times.saturating_sub(remembered) {
        0 => format!("{} since {since}", format::count(counted.times)),
        _ => format!(
            "{} since {since}, the last {} below",
            format::count(counted.times),
            format::count(remembered)
        ),
    }
}

/// Refusals that differ in nothing but their time.
struct Alike {
    last: RecentRefusal,
    first: Timestamp,
    times: u64,
}

/// The latest first, as they come.
fn alike(refusals: Vec<RecentRefusal>) -> Vec<Alike> {
    let mut groups: Vec<Alike> = Vec::new();
    for refused in refusals {
        let same =
            |group: &&mut Alike| RecentRefusal { at: refused.at, ..group.last.clone() } == refused;
        match groups.iter_mut().find(same) {
            Some(group) => {
                group.times += 1;
                group.first = refused.at;
            }
            None => groups.push(Alike { first: refused.at, last: refused, times: 1 }),
        }
    }
    groups
}

fn item(Alike { last, first, times }: &Alike, now: Timestamp) -> Markup {
    html! {
        li {
            div class="head" {
                span class="note" {
                    (number_of(*times, "time", "times")) ", "
                    @if *times > 1 { "from " (format::time(*first, now)) " to " }
                    (format::time(last.at, now))
                }
            }
            p class="hint" {
                @if last.explained { strong { "Cause found: " } }
                (sentence(last.hint))
            }
            dl class="facts" {
                div { dt { "Route" } dd { (last.route) } }
                div { dt { "Answer" } dd { (last.status) } }
                div { dt { "Account" } dd { (last.account.as_deref().unwrap_or("unknown")) } }
            }
            details {
                summary { @if last.urls.len() > 1 { (last.urls.len()) " URLs tried" } @else { "URL" } }
                ul class="urls" { @for url in &last.urls { li { code { (url) } } } }
                p class="note" { "Only the names of query parameters are kept." }
            }
        }
    }
}

/// A hint is a fragment, as it is in logs.
fn sentence(hint: &str) -> String {
    let mut letters = hint.chars();
    letters
        .next()
        .map_or_else(String::new, |first| format!("{}{}.", first.to_uppercase(), letters.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_alike_is_told_once() {
        let refused = |at: i64, hint: &'static str| RecentRefusal {
            at: Timestamp::from_micros(at),
            route: "status",
            reason: Refusal::WrongSignature,
            status: 403,
            account: None,
            urls: vec!["https://h.example/status".to_owned()],
            explained: false,
            hint,
        };
        let groups =
            alike(vec![refused(4, "a"), refused(3, "b"), refused(2, "a"), refused(1, "a")]);
        let told: Vec<_> =
            groups.iter().map(|group| (group.times, group.last.at.micros())).collect();
        assert_eq!(told, [(3, 4), (1, 3)]);
        assert_eq!(groups[0].first.micros(), 1);
        assert_eq!(sentence("not Twilio"), "Not Twilio.");
        let counted = |times| RefusalCount { times, since: Timestamp::from_micros(1) };
        let total = |times| total(&counted(times), &groups, Timestamp::from_micros(2));
        assert_eq!(total(527), "527 since 00:00, the last 4 below");
        assert_eq!(total(4), "4 since 00:00");
    }
}
