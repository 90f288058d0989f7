//! Asks Twilio for statuses that say nothing final for long: of everything in the accounts that it sends for, also
//! of what another program sent. What Twilio says is an event of its own, and merges with those of callbacks.

use std::time::Duration;

use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::Outbound;
use super::config::{Account, Config, Credentials};
use crate::backend::BackendError;
use crate::backend::outbox::{FollowUp, FollowUpAsk, Followed};
use crate::clock::Timestamp;
use crate::dispatch::country::Number;
use crate::event::Resource;
use crate::retry::Backoff;
use crate::twilio::rest::{Created, Message, ReadAnswer};

/// What is asked for.
pub(super) const FOLLOWED: [Resource; 2] = [Resource::Message, Resource::Call];
/// How often it is looked for what nothing final was said about, at most.
const PLAN_EVERY: Duration = Duration::from_secs(60);
/// How often it is looked whether something is to be asked for.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Requests to one account at a time: as many as it should notice.
const AT_ONCE: u32 = 2;
/// For how many time-outs of a request one process asks before another may.
const BUSY: u32 = 4;
/// When it is asked again after an answer that said nothing.
const AGAIN: Duration = Duration::from_secs(60);

/// What of these accounts is followed up that is at least so old.
pub(super) fn asks(
    config: &Config,
    now: Timestamp,
    older_than: Option<Duration>,
) -> Vec<FollowUpAsk> {
    let accounts: Vec<String> = config.accounts.iter().map(|account| account.sid.clone()).collect();
    let ask = |resource| FollowUpAsk {
        accounts: accounts.clone(),
        resource,
        before: now.before(older_than.unwrap_or_else(|| config.follow_up.first(resource))),
        since: now.before(config.follow_up.oldest()),
    };
    FOLLOWED.into_iter().map(ask).collect()
}

/// Asks until `stop`.
pub(super) async fn run(outbound: &Outbound, stop: &CancellationToken) {
    let mut backoff = Backoff::default();
    let first = outbound.config.now().follow_up.first(Resource::Message);
    let mut planned = None;
    while !stop.is_cancelled() {
        let now = tokio::time::Instant::now();
        let is_to_plan = planned.is_none_or(|at| now >= at + PLAN_EVERY.min(first));
        let done = async {
            if is_to_plan {
                plan(outbound).await?;
                planned = Some(now);
            }
            follow(outbound).await
        };
        let pause = match done.await {
            Ok(some) => {
                backoff.reset();
                if some { Duration::ZERO } else { LOOK_EVERY }
            }
            Err(error) => {
                debug!(error = %error, "the outbox does not answer");
                backoff.next_wait().max(LOOK_EVERY)
            }
        };
        stop.run_until_cancelled(tokio::time::sleep(pause)).await;
    }
}

/// Finds what is to be asked for.
async fn plan(outbound: &Outbound) -> Result<(), BackendError> {
    for ask in asks(&outbound.config.now(), outbound.clock.now(), None) {
        let planned = outbound.outbox.plan_follow_ups(&ask).await?;
        if planned > 0 {
            info!(
                statuses = planned,
                resource = ask.resource.as_str(),
                "nothing final was reported for long: Twilio is asked"
            );
        }
    }
    Ok(())
}

/// Asks for a few of each account, and returns whether there were any.
async fn follow(outbound: &Outbound) -> Result<bool, BackendError> {
    let config = outbound.config.now();
    let busy = config.timeout * BUSY;
    let mut some = false;
    let asked = config.accounts.iter().map(|account| of_account(outbound, &config, account, busy));
    for asked in join_all(asked).await {
        some |= asked?;
    }
    Ok(some)
}

async fn of_account(
    outbound: &Outbound,
    config: &Config,
    account: &Account,
    busy: Duration,
) -> Result<bool, BackendError> {
    let mut senders = config.senders.iter();
    let Some(sender) = senders.find(|sender| sender.account == account.sid) else {
        return Ok(false);
    };
    let taken = outbound.outbox.take_follow_ups(&account.sid, AT_ONCE, busy).await?;
    join_all(taken.iter().map(|one| ask(outbound, one, &sender.credentials))).await;
    Ok(!taken.is_empty())
}

/// Asks for one, and stores what Twilio says. If that fails, it is asked for again once the process is not busy with it
/// any more.
async fn ask(outbound: &Outbound, one: &FollowUp, by: &Credentials) {
    let now = outbound.clock.now();
    let what = if one.resource == Resource::Call { Created::Call } else { Created::Message };
    let (said, followed) = match outbound.rest.fetch(what, &one.account, by, &one.sid).await {
        ReadAnswer::Found(message) => {
            let is_final = one.resource.is_final(&message.status);
            let next = outbound.config.now().follow_up.next(one.resource, one.first_seen, now);
            let followed = match (is_final, next) {
                (true, _) => Followed::Ended,
                (false, Some(at)) => Followed::Again(at),
                (false, None) => Followed::Never,
            };
            (Some(message), followed)
        }
        // Deleted there, or never of this account. It stays open here, so that it must not be planned again.
        ReadAnswer::Missing => (None, Followed::Never),
        ReadAnswer::Throttled { retry_after } => {
            (None, Followed::Again(now.after(retry_after.unwrap_or(AGAIN).max(AGAIN))))
        }
        ReadAnswer::Failed { status, code } => {
            debug!(sid = one.sid, status, code, "Twilio does not say what became of it");
            (None, Followed::Again(now.after(AGAIN)))
        }
    };
    let event = said.as_ref();
    let event = event.and_then(|message| outbound.event(one.resource, message, &one.account, None));
    if let Err(error) = outbound.outbox.followed_up(one, event, &followed).await {
        debug!(sid = one.sid, error = %error, "what Twilio said of it cannot be stored");
        return;
    }
    count(outbound, one, said.as_ref(), &followed);
}

fn count(outbound: &Outbound, one: &FollowUp, said: Option<&Message>, followed: &Followed) {
    let metrics = &outbound.metrics;
    match (said, followed) {
        (Some(message), Followed::Ended) => {
            metrics.missed.inc();
            info!(
                sid = one.sid,
                status = message.status,
                "no callback said how it ended: Twilio was asked"
            );
        }
        (Some(message), Followed::Never) => metrics.never_final(country(message).as_deref()),
        _ => {}
    }
}

/// The country of the recipient, as its code.
fn country(message: &Message) -> Option<String> {
    let to = message.to.as_deref()?;
    let number = Number::parse(to.rsplit(':').next().unwrap_or(to))?;
    Some(number.country()?.as_str().to_owned())
}
