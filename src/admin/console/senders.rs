//! Senders: how each stands; and the messages of which it is not known whether they were sent.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};

use super::format::{self, count, number_of};
use super::layout::{self, NavPage, what_to_do};
use crate::admin::Admin;
use crate::admin::api::Problem;
use crate::admin::auth::Visitor;
use crate::admin::send_doors::ConfiguredSender;
use crate::backend::BackendError;
use crate::backend::outbox::{AccountState, SenderState, SendingState, Unknown};
use crate::clock::Timestamp;

/// Most unknown messages of the page: more are not looked through by eye.
const MOST_UNKNOWN: u32 = 200;

/// `GET /senders`
pub(super) async fn page(
    State(admin): State<Arc<Admin>>,
    Extension(visitor): Extension<Visitor>,
) -> Response {
    let shown = match look(&admin).await {
        Ok((state, unknown)) => {
            html! {
                (senders(&admin, &state))
                p {
                    a href="/notifications" { "What was asked for" } ", and "
                    a href="/suppressions" { "the suppressed addresses" } "."
                }
                (unknowns(&admin, &unknown))
            }
        }
        Err(error) => {
            let problem = Problem::from(error);
            html! { p class="error" role="alert" { "No answer: " (problem.detail) "." } }
        }
    };
    let body = html! { h1 { "Senders" } (shown) };
    layout::page(&admin, &visitor, NavPage::Senders, "Senders", &body)
}

async fn look(admin: &Admin) -> Result<(SendingState, Vec<Unknown>), BackendError> {
    let outbox = &admin.sending.outbox;
    Ok((outbox.sending().await?, outbox.list_unknown(MOST_UNKNOWN).await?))
}

fn senders(admin: &Admin, state: &SendingState) -> Markup {
    let (now, configured) = (admin.clock.now(), admin.sending.configured.load());
    if configured.is_empty() && state.senders.is_empty() {
        return html! {
            p class="empty" { "No senders. With a [[sender]] in the configuration, offhook sends messages." }
        };
    }
    let of = |name: &str| configured.iter().find(|sender| sender.name == name);
    let mut rows: Vec<(&str, SenderState)> =
        state.senders.iter().map(|sender| (&*sender.name, sender.clone())).collect();
    for sender in configured.iter() {
        if !rows.iter().any(|(name, _)| *name == sender.name) {
            let state = SenderState { name: sender.name.clone(), ..SenderState::default() };
            rows.push((&sender.name, state));
        }
    }
    rows.sort_by_key(|(name, _)| *name);
    html! {
        @if let Some(why) = &state.held {
            p class="error" role="alert" {
                "Nothing is sent: everything is held (" (why) "). What is due waits until its deadlines."
            }
        }
        table {
            thead {
                tr { th { "Sender" } th { "Pace" } th { "Due" } th { "Held" } th { "Being sent" } th { "Unknown" } th { "State" } }
            }
            tbody {
                @for (name, sender) in &rows {
                    @let configured = of(name);
                    tr {
                        td { (name) @if let Some(it) = configured { " " span class="note" { (it.kind) } } }
                        td {
                            @if let Some(it) = configured {
                                (it.pace) ", " (it.rate) "/s"
                                @if let Some(limit) = it.calls_limit {
                                    @let open = account(state, configured).map_or(0, |account| account.calls);
                                    ", " (count(open)) " of " (number_of(limit.into(), "call", "calls")) " open"
                                }
                            }
                        }
                        td { (count(sender.due.saturating_sub(sender.held))) }
                        td { (count(sender.held)) }
                        td { (count(sender.writing)) }
                        td { (count(sender.unknown)) }
                        td { (sentence(sender, account(state, configured), configured.is_some(), now)) }
                    }
                }
            }
        }
    }
}

fn account<'s>(
    state: &'s SendingState,
    configured: Option<&ConfiguredSender>,
) -> Option<&'s AccountState> {
    let sid = &configured?.account;
    state.accounts.iter().find(|account| account.account == *sid)
}

/// Fact, consequence.
fn sentence(
    sender: &SenderState,
    account: Option<&AccountState>,
    configured: bool,
    now: Timestamp,
) -> String {
    let paused = |what: &str, why: &str, at: Option<Timestamp>| {
        let since = at.map_or_else(String::new, |at| format!(" since {}", format::minute(at, now)));
        format!("{what} is paused{since} ({why}). Nothing is sent until a person resumes it.")
    };
    if let Some(why) = &sender.paused {
        return paused("It", why, sender.paused_at);
    }
    if let Some((account, why)) = account.and_then(|it| Some((it, it.paused.as_ref()?))) {
        return paused("Its account", why, account.paused_at);
    }
    let ends = [sender.cooldown_until, account.and_then(|account| account.cooldown_until)];
    if let Some(until) = ends.into_iter().flatten().filter(|until| *until > now).max() {
        return format!(
            "Twilio asked for less. It waits for {}.",
            format::duration(until.since(now))
        );
    }
    match (configured, sender.oldest_due) {
        (false, _) => "Not in the configuration of this process.".to_owned(),
        (true, Some(oldest)) => {
            format!("It sends; the oldest is due since {}.", format::duration(now.since(oldest)))
        }
        (true, None) => "Nothing is due.".to_owned(),
    }
}

fn unknowns(admin: &Admin, unknown: &[Unknown]) -> Markup {
    if unknown.is_empty() {
        return html! {};
    }
    let (now, privacy) = (admin.clock.now(), admin.privacy.now());
    html! {
        h2 { (number_of(unknown.len() as u64, "message", "messages")) " of unknown outcome" }
        p {
            "It is not known whether Twilio has them. A callback still settles them. "
            (what_to_do(admin, "outcome-unknown"))
        }
        table {
            thead { tr { th { "Sent" } th { "To" } th { "Sender" } th { "Notification" } th { "Looked for" } th { "Why" } } }
            tbody {
                @for one in unknown {
                    tr {
                        td { (format::time(one.written_at, now)) }
                        td { (format::address(&one.to, &privacy)) }
                        td { (one.sender) }
                        td { (format::notification(&one.notification)) }
                        td { (number_of(one.looks.into(), "time", "times")) }
                        td { (one.reason.as_deref().unwrap_or_default().replace('_', " ")) }
                    }
                }
            }
        }
        @if unknown.len() == MOST_UNKNOWN as usize {
            p class="note" { "These are the first " (MOST_UNKNOWN) "; there may be more." }
        }
    }
}
