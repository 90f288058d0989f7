//! What becomes of attempts without their process: by callbacks, by time, and by looking for them at Twilio.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::Outbound;
use super::config::{Config, Origin, Sender};
use crate::backend::BackendError;
use crate::backend::outbox::{HangUp, HungUp, Looked, Search, SetAside, Unknown};
use crate::clock::Timestamp;
use crate::crash_points::{self, Point};
use crate::dispatch::evidence::resource;
use crate::dispatch::reconcile::{self, Extent, Finding, Listed, Sought, Step};
use crate::dispatch::{Channel, OnUnknown};
use crate::event::AttemptId;
use crate::retry::Backoff;
use crate::twilio::rest::{Created, Message, ReadAnswer};

/// How often wakes are looked for where there were none.
const SETTLE_EVERY: Duration = Duration::from_millis(100);
/// How often leases and deadlines are looked at.
const END_EVERY: Duration = Duration::from_millis(500);
/// How often it is looked whether what is due has the pace of its sender.
const REPACE_EVERY: Duration = Duration::from_secs(10);
/// The same while there was some.
const REPACE_PAGE_EVERY: Duration = Duration::from_secs(1);
/// How often it is looked whether something is to be looked for.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often it is looked whether a call is to be cancelled.
const HANG_UP_EVERY: Duration = Duration::from_millis(500);
/// For how many time-outs of a request one process looks for an attempt before another may.
const BUSY: u32 = 4;
/// Most searches at a time: two requests to an account are as many as it should notice.
const SEARCHES: u32 = 2;
/// Most pages of a list.
const MOST_PAGES: usize = 10;
/// The longest time between two looks for what this configuration cannot look for.
const LONGEST_ORPHANED: Duration = Duration::from_secs(6 * 3600);

/// Settles attempts by their callbacks.
pub(super) async fn settle(outbound: &Outbound, stop: &CancellationToken) {
    let mut rest = Rest::new(SETTLE_EVERY, stop);
    while !stop.is_cancelled() {
        let settled = outbound.outbox.settle().await;
        if let Ok(settled) = &settled {
            let metrics = &outbound.metrics;
            metrics.mismatches.inc_by(settled.mismatches);
            metrics.missing.inc_by(settled.missing);
            metrics.duplicates.inc_by(settled.duplicates);
            outbound.concluded(&settled.concluded);
            say_set_aside(outbound, settled.set_aside.as_ref());
        }
        let found_some = settled.map(|settled| settled.wakes > 0);
        if matches!(found_some, Ok(true)) {
            crash_points::point(Point::Settled);
        }
        rest.after(found_some).await;
    }
}

fn say_set_aside(outbound: &Outbound, set_aside: Option<&SetAside>) {
    let Some(SetAside { attempt, why }) = set_aside else { return };
    outbound.metrics.store_errors.inc();
    warn!(
        attempt,
        error = why,
        "the store does not take what callbacks say of a message: it is looked at again later, and others before it"
    );
}

/// Ends what time has ended.
pub(super) async fn end_what_is_over(outbound: &Outbound, stop: &CancellationToken) {
    let config = outbound.config.now();
    let look_after = config.first_look();
    let mut rest = Rest::new(END_EVERY, stop);
    while !stop.is_cancelled() {
        let over = outbound.outbox.overdue(look_after).await;
        if let Ok(over) = &over {
            outbound.concluded(&over.concluded);
            if over.unknown > 0 {
                warn!(
                    attempts = over.unknown,
                    "a process vanished while it was sending: looking for the outcome of its attempts"
                );
            }
        }
        let unheard = outbound.outbox.unheard().await;
        if let Ok(unheard) = &unheard {
            outbound.concluded(&unheard.concluded);
            say_set_aside(outbound, unheard.set_aside.as_ref());
        }
        rest.after(over.and_then(|over| Ok(unheard?.is_cut || over.is_cut))).await;
    }
}

/// Gives what is due the paces that its senders have now, at first, after each reload and from time to time: another
/// process may have another configuration for a while.
pub(super) async fn repace(outbound: &Outbound, stop: &CancellationToken) {
    let mut changes = outbound.config.changes();
    while !stop.is_cancelled() {
        let config = Arc::clone(&changes.borrow_and_update());
        let pace = |sender: &Sender| (sender.name.clone(), sender.pace.clone());
        let paces: Vec<_> = config.senders.iter().map(pace).collect();
        let pause = match outbound.outbox.repace(&paces).await {
            Ok(0) => REPACE_EVERY,
            Ok(attempts) => {
                info!(attempts, "messages that wait have the pace that their sender has now");
                // Not at once: a process that has another configuration may give them theirs again.
                REPACE_PAGE_EVERY
            }
            Err(error) => {
                debug!(error = %error, "the outbox does not answer");
                REPACE_EVERY
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
            changed = changes.changed() => if changed.is_err() { return },
        }
    }
}

/// Looks for what is unknown.
pub(super) async fn look(outbound: &Outbound, stop: &CancellationToken) {
    let mut rest = Rest::new(LOOK_EVERY, stop);
    while !stop.is_cancelled() {
        rest.after(search(outbound).await).await;
    }
}

async fn search(outbound: &Outbound) -> Result<bool, BackendError> {
    let searches =
        outbound.outbox.to_look_for(SEARCHES, outbound.config.now().timeout * BUSY).await?;
    for search in &searches {
        one(outbound, search).await?;
    }
    Ok(!searches.is_empty())
}

/// Cancels calls that ring and are not wanted any more.
pub(super) async fn hang_up(outbound: &Outbound, stop: &CancellationToken) {
    let mut rest = Rest::new(HANG_UP_EVERY, stop);
    while !stop.is_cancelled() {
        rest.after(hang_up_some(outbound).await).await;
    }
}

async fn hang_up_some(outbound: &Outbound) -> Result<bool, BackendError> {
    let config = outbound.config.now();
    let calls = outbound.outbox.to_hang_up(config.timeout * BUSY).await?;
    for call in &calls {
        let came = outbound
            .outbox
            .hung_up(call.id, call.tries, one_call(outbound, &config, call).await)
            .await?;
        outbound.metrics.hung_up(came);
        info!(attempt = %call.id, sid = call.sid, tries = call.tries, outcome = came.as_str(), "a call was to be cancelled");
    }
    Ok(!calls.is_empty())
}

/// Asks Twilio to cancel one call.
async fn one_call(outbound: &Outbound, config: &Config, call: &HangUp) -> HungUp {
    /// Twilio's code where the call is not in a state in which it can be changed so.
    const WRONG_STATE: &str = "21220";
    let sender = config.sender(&call.sender).filter(|sender| sender.account == call.account);
    // A reload, or another process's configuration.
    let Some(sender) = sender else { return HungUp::Again };
    match outbound.rest.cancel_call(&call.account, &sender.credentials, &call.sid).await {
        // It has a status that no longer can be changed, or the one that was asked for.
        ReadAnswer::Found(found) if matches!(&*found.status, "in-progress" | "completed") => {
            HungUp::TooLate
        }
        ReadAnswer::Found(_) => HungUp::Done,
        ReadAnswer::Missing => HungUp::TooLate,
        ReadAnswer::Failed { code: Some(code), .. } if code == WRONG_STATE => HungUp::TooLate,
        ReadAnswer::Failed { status: 400..=499, code: Some(_) } => HungUp::GivenUp,
        ReadAnswer::Throttled { .. } | ReadAnswer::Failed { .. } => HungUp::Again,
    }
}

/// When to do some work again: at once if there is more, after a while if not, later if it failed.
pub(super) struct Rest<'s> {
    every: Duration,
    stop: &'s CancellationToken,
    backoff: Backoff,
}

impl<'s> Rest<'s> {
    pub(super) fn new(every: Duration, stop: &'s CancellationToken) -> Self {
        Self { every, stop, backoff: Backoff::default() }
    }

    pub(super) async fn after(&mut self, done: Result<bool, BackendError>) {
        let pause = match done {
            Ok(found_some) => {
                self.backoff.reset();
                if found_some { Duration::ZERO } else { self.every }
            }
            Err(error) => {
                debug!(error = %error, "the outbox does not answer");
                self.backoff.next_wait().max(self.every)
            }
        };
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Lists the messages to one recipient, and stores what that says of the attempts to reach it.
async fn one(outbound: &Outbound, search: &Search) -> Result<(), BackendError> {
    let Some(what) = created(search.channel) else { return silent(outbound, search).await };
    let config = outbound.config.now();
    let again = config.first_look();
    for one in orphans(&config, search) {
        let look_after = orphaned(outbound.clock.now().since(one.written_at), again);
        warn!(
            attempt = %one.id,
            sender = one.sender,
            look_after_s = look_after.as_secs(),
            "an attempt of unknown outcome cannot be looked for: its sender is not configured, or has another account"
        );
        let failed = Looked::Failed { look_after };
        outbound.outbox.looked(one.id, &failed, AttemptId::new(rand::random())).await?;
    }
    let sought: Vec<Sought<'_>> =
        search.sought.iter().filter_map(|one| sought(&config, one)).collect();
    if !sought.iter().any(|one| search.due.contains(&one.attempt)) {
        return Ok(());
    }
    let since = reconcile::since(&sought);
    let Some((messages, extent)) = list(outbound, &config, search, what, since).await else {
        for one in sought.iter().filter(|one| search.due.contains(&one.attempt)) {
            let failed = Looked::Failed { look_after: again };
            outbound.outbox.looked(one.attempt, &failed, AttemptId::new(rand::random())).await?;
        }
        return Ok(());
    };
    let sids = messages.iter().map(|message| message.sid.clone()).collect();
    let bound = outbound.outbox.bound(sids).await?;
    let bound: BTreeSet<&str> = bound.iter().map(String::as_str).collect();
    // One without a time may be any of these.
    let extent = match messages.iter().any(|it| it.is_outgoing && it.created.is_none()) {
        true => Extent::Cut,
        false => extent,
    };
    let listed: Vec<Listed<'_>> = messages.iter().filter_map(listed).collect();
    for (id, finding) in reconcile::look(&sought, &listed, &bound, extent) {
        if !search.due.contains(&id) {
            continue;
        }
        let Some(attempt) = search.sought.iter().find(|one| one.id == id) else { continue };
        let looked = looked(outbound, search, &messages, finding, attempt);
        let resent = outbound.outbox.looked(id, &looked, AttemptId::new(rand::random())).await?;
        info!(attempt = %id, found = outcome(&looked), resent, "an attempt of unknown outcome was looked for");
    }
    Ok(())
}

/// What is to be looked for, and was sent by what this configuration does not have.
fn orphans<'s>(config: &Config, search: &'s Search) -> impl Iterator<Item = &'s Unknown> {
    let due = search.sought.iter().filter(|one| search.due.contains(&one.id));
    due.filter(|one| sought(config, one).is_none())
}

/// When to look again for what cannot be looked for: the older it is, the later, so that an operator who brings its
/// sender back is not waited for in vain, and what stays so costs next to nothing.
fn orphaned(age: Duration, first: Duration) -> Duration {
    age.clamp(first, LONGEST_ORPHANED.max(first))
}

fn outcome(looked: &Looked) -> &'static str {
    match looked {
        Looked::Inferred { .. } => "inferred",
        Looked::Perhaps => "perhaps",
        Looked::Absent { .. } => "absent",
        Looked::Failed { .. } => "failed",
    }
}

fn looked(
    outbound: &Outbound,
    search: &Search,
    messages: &[Message],
    finding: Finding,
    attempt: &Unknown,
) -> Looked {
    let config = outbound.config.now();
    let nth = attempt.looks as usize + 1;
    let before = config.looks.get(nth - 1).copied().unwrap_or_default();
    let times = match attempt.on_unknown {
        OnUnknown::Resend => {
            reconcile::in_time(&config.looks, attempt.deadline.since(search.now) + before)
        }
        OnUnknown::Report => &config.looks,
    };
    let is_absent = finding == Finding::Absent;
    // Whether it is sent again is decided with the notification locked.
    match reconcile::next(finding, nth, times, attempt.on_unknown) {
        Step::Accept(sid) => {
            let message = messages.iter().find(|message| message.sid == sid);
            let event = message.and_then(|it| {
                outbound.event(resource(search.channel), it, &search.account, Some(attempt.id))
            });
            match event {
                Some(event) => Looked::Inferred { sid, event: Box::new(event) },
                None => Looked::Perhaps,
            }
        }
        Step::LookAt(time) => {
            let look_after = time.saturating_sub(before).max(Duration::from_secs(1));
            Looked::Absent { last: false, look_after }
        }
        Step::Resend | Step::Stay if is_absent => {
            Looked::Absent { last: true, look_after: Duration::ZERO }
        }
        Step::Resend | Step::Stay => Looked::Perhaps,
    }
}

/// What can be asked for of a channel; `None`: nothing, as of emails, which only their events prove.
pub(super) fn created(channel: Channel) -> Option<Created> {
    match channel {
        Channel::Message => Some(Created::Message),
        Channel::Call => Some(Created::Call),
        Channel::Email => None,
    }
}

/// Emails of unknown outcome count as not sent once no event has come for long. One whose process has vanished is looked
/// for earlier than that.
async fn silent(outbound: &Outbound, search: &Search) -> Result<(), BackendError> {
    let silence = outbound.config.now().silence();
    for one in search.sought.iter().filter(|one| search.due.contains(&one.id)) {
        let silence = match one.on_unknown {
            // Once: while no events come, each would be waited for half as long as the one before.
            OnUnknown::Resend if !one.is_again => {
                reconcile::silence(silence, one.deadline.since(one.written_at))
            }
            OnUnknown::Resend | OnUnknown::Report => silence,
        };
        // By the store's clock alone: another one that is ahead would have it sent again too soon.
        let look_after = silence.saturating_sub(search.now.since(one.written_at));
        let last = look_after.is_zero();
        let looked = Looked::Absent { last, look_after };
        let again = AttemptId::new(rand::random());
        let resent = outbound.outbox.looked(one.id, &looked, again).await?;
        if last {
            info!(attempt = %one.id, resent, "no event of an email has come: it counts as not sent");
        }
    }
    Ok(())
}

/// The messages or calls to the recipient, and whether that is all of them that were created since then: what is older, of a
/// recipient of many years, is not read. `None`: they cannot be listed now.
async fn list(
    outbound: &Outbound,
    config: &Config,
    search: &Search,
    what: Created,
    since: Option<Timestamp>,
) -> Option<(Vec<Message>, Extent)> {
    let of_account = |sender: &&super::config::Sender| sender.account == search.account;
    let sender = config.senders.iter().find(of_account)?;
    // What goes by a route has the number, and is listed as its sender reached it.
    let reached_by = search.sought.iter().find(|one| search.due.contains(&one.id));
    let reached_by = reached_by.and_then(|one| config.sender(&one.sender));
    let to = reached_by.map_or_else(|| search.to.clone(), |it| it.address(&search.to));
    let (mut messages, mut next) = (Vec::new(), None);
    for _ in 0..MOST_PAGES {
        let next_page = next.as_deref();
        let page = outbound.rest.list(what, &search.account, &sender.credentials, &to, next_page);
        match page.await {
            ReadAnswer::Found(page) => {
                next = page.next.filter(|_| !is_older(&page.messages, since));
                messages.extend(page.messages);
            }
            ReadAnswer::Missing | ReadAnswer::Throttled { .. } | ReadAnswer::Failed { .. } => {
                return None;
            }
        }
        if next.is_none() {
            return Some((messages, Extent::Whole));
        }
    }
    Some((messages, Extent::Cut))
}

/// Whether all of a page was created before that: the newest come first, so that the pages that follow are older still.
fn is_older(page: &[Message], since: Option<Timestamp>) -> bool {
    let older =
        |message: &Message| message.created.zip(since).is_some_and(|(at, since)| at < since);
    !page.is_empty() && page.iter().all(older)
}

fn sought<'a>(config: &'a Config, one: &'a Unknown) -> Option<Sought<'a>> {
    let sender = config.sender(&one.sender).filter(|it| it.account == one.account)?;
    let origin = match &sender.origin {
        Origin::From(from) => reconcile::Origin::From(from),
        Origin::MessagingService(sid) => reconcile::Origin::Service(sid),
        Origin::Mailbox(_) => return None,
    };
    let body = (one.channel == Channel::Message).then_some(&*one.body);
    Some(Sought { attempt: one.id, body, origin, wrote_at: one.written_at })
}

fn listed(message: &Message) -> Option<Listed<'_>> {
    message.is_outgoing.then_some(())?;
    Some(Listed {
        sid: &message.sid,
        body: message.body.as_deref(),
        from: message.from.as_deref(),
        service: message.service.as_deref(),
        created_at: message.created?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_until_a_page_is_older_than_what_is_sought() {
        let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
        let created = |seconds: Option<i64>| Message {
            sid: "SM1".to_owned(),
            account: "AC1".to_owned(),
            status: "delivered".to_owned(),
            error_code: None,
            num_segments: None,
            to: None,
            from: None,
            service: None,
            body: None,
            created: seconds.map(at),
            is_outgoing: true,
        };
        let check = |page: &[Option<i64>], expected| {
            let page: Vec<_> = page.iter().copied().map(created).collect();
            assert_eq!(is_older(&page, Some(at(100))), expected, "{page:?}");
        };
        check(&[Some(99), Some(98)], true);
        check(&[Some(100), Some(99)], false);
        // One that is out of order, or has no time, is no reason to stop.
        check(&[Some(99), Some(101)], false);
        check(&[Some(99), None], false);
        check(&[], false);
        assert!(!is_older(&[created(Some(1))], None));
    }

    #[test]
    fn what_cannot_be_looked_for_is_tried_ever_more_rarely() {
        let check = |age_s, expected_s| {
            let wait = orphaned(Duration::from_secs(age_s), Duration::from_secs(60));
            assert_eq!(wait, Duration::from_secs(expected_s), "{age_s}");
        };
        check(0, 60);
        check(60, 60);
        check(600, 600);
        check(7 * 24 * 3600, 6 * 3600);
    }
}
