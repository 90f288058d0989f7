//! [`Outbox`]: what is to be sent, and what came of it.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Store, on_store};
use crate::backend::outbox::{
    Answered, AnswersStored, Asked, Attempt, CancelOutcome, ClaimAsk, Claimed, Claims, Concluded,
    ConsentEntry, FollowUp, FollowUpAsk, Followed, Gated, HangUp, HungUp, Identity, KeptBefore,
    Known, Looked, NewConsent, NewNotification, NewSuppression, Notification, NotificationSearch,
    Outcome, OverStep, Overdue, Search, SendingState, SetAside, Settled, StepRow, Suppression,
    Trail, Unheard, Unknown, WriteAsk, Written,
};
use crate::backend::sql::outbox::{
    answer, ask, calls, claim, consents, failed, follow_ups, forget, look, settle, state, steps,
    suppressions, trail, write,
};
use crate::backend::sql::session::Session as _;
use crate::backend::{BackendError, postgres, sqlite};
use crate::clock::Timestamp;
use crate::dispatch::decision::Said;
use crate::event::{AttemptId, Batch, Event};
use crate::pipeline::CommitError;
use crate::twilio::privacy::Privacy;

/// What is to be sent: leased rows and a state machine, of which each call is one transaction.
pub type Outbox = Store<sqlite::Outbox, postgres::Outbox>;

impl Outbox {
    /// What the store remembers of the deployment; `secret` is kept if it has none yet.
    pub async fn identity(&self, secret: &str) -> Result<Identity, BackendError> {
        on_store!(self, outbox => outbox.transact(async |on| state::identity(on, secret).await))
    }

    /// Makes this the deployment that the store sends for, and returns whether that lets it send: not if a person holds
    /// everything besides.
    pub async fn adopt(&self, identity: &str, suppression: &str) -> Result<bool, BackendError> {
        on_store!(self, outbox => outbox
            .transact(async |on| state::adopt(on, identity, suppression).await))
    }

    /// Keeps a notification, unless its key was used before.
    pub async fn ask(&self, new: &NewNotification) -> Result<Asked, BackendError> {
        on_store!(self, outbox => outbox.transact_now(async |on| ask::ask(on, new).await))
    }

    /// Keeps notifications in one transaction, each unless its key was used before; what came of each, in their order.
    pub async fn ask_all(&self, news: &[NewNotification]) -> Result<Vec<Asked>, BackendError> {
        on_store!(self, outbox => outbox
        .transact_now(async |on| {
            let mut asked = Vec::with_capacity(news.len());
            for new in news {
                asked.push(ask::ask(on, new).await?);
            }
            Ok(asked)
        }))
    }

    /// A notification with its attempts.
    pub async fn find(
        &self,
        id: &str,
    ) -> Result<Option<(Notification, Vec<Attempt>)>, BackendError> {
        on_store!(self, outbox => outbox.read(async |on| ask::find(on, id).await))
    }

    /// The notification of an attempt, with all of its attempts.
    pub async fn find_by_attempt(
        &self,
        attempt: AttemptId,
    ) -> Result<Option<(Notification, Vec<Attempt>)>, BackendError> {
        on_store!(self, outbox => outbox
            .read(async |on| ask::find_by_attempt(on, attempt).await))
    }

    /// What became of the attempts of a notification, in their order.
    pub async fn trails(&self, notification: &str) -> Result<Vec<Trail>, BackendError> {
        on_store!(self, outbox => outbox
            .read(async |on| trail::trails(on, notification).await))
    }

    /// A page of notifications, from the newest back.
    pub async fn list(
        &self,
        search: &NotificationSearch,
    ) -> Result<Vec<Notification>, BackendError> {
        on_store!(self, outbox => outbox.read(async |on| ask::list(on, search).await))
    }

    /// Cancels what has not been sent; `None` if there is no such notification.
    pub async fn cancel(&self, id: &str) -> Result<Option<CancelOutcome>, BackendError> {
        on_store!(self, outbox => outbox.transact_now(async |on| ask::cancel(on, id).await))
    }

    /// The store's clock, in no transaction: the answer comes at once.
    pub async fn clock(&self) -> Result<Timestamp, BackendError> {
        on_store!(self, outbox => outbox.read(async |on| on.now().await))
    }

    /// Takes slots of a pace.
    pub async fn claim(&self, asked: &ClaimAsk) -> Result<Claims, BackendError> {
        on_store!(self, outbox => outbox.transact(async |on| claim::claim(on, asked).await))
    }

    /// Commits claimed attempts to `writing`, each unless something is in the way; returns what came of each claim, in
    /// their order. Of those that are refused as data,
    /// some may go through without the others.
    pub async fn write(
        &self,
        asked: &WriteAsk,
        gates: &(impl Fn(&Known, Timestamp) -> Gated + Sync),
    ) -> Result<Vec<Written>, CommitError> {
        on_store!(self, outbox => outbox
            .commit(async |on| write::write(on, asked, gates).await))
    }

    /// Holds an attempt that cannot be committed to `writing`, whose process is `holder`, for as long as `lasts`.
    pub async fn set_aside(
        &self,
        id: AttemptId,
        holder: &str,
        lasts: Duration,
    ) -> Result<(), BackendError> {
        on_store!(self, outbox => outbox
            .transact(async |on| write::set_aside(on, id, holder, lasts).await))
    }

    /// Makes attempts due again of which it is not known whether their commit to `writing` happened, and which were not sent.
    pub async fn take_back(&self, claims: &[Claimed]) -> Result<(), BackendError> {
        on_store!(self, outbox => outbox.transact(async |on| answer::take_back(on, claims).await))
    }

    /// Gives a page of what is due the paces that its senders, each with its pace, have now; returns how many attempts
    /// that were.
    pub async fn repace(&self, senders: &[(String, String)]) -> Result<u64, BackendError> {
        on_store!(self, outbox => outbox.transact(async |on| claim::repace(on, senders).await))
    }

    /// Stores answers, with the events that they are. Of those that are refused as data, some may go through without the
    /// others.
    pub async fn answer(&self, answers: &[Answered]) -> Result<AnswersStored, CommitError> {
        let event = |answer: &Answered| match &answer.outcome {
            Outcome::Accepted { event, .. } => Some(Event::clone(event)),
            _ => None,
        };
        let Some(events) = batch(answers.iter().filter_map(event).collect()) else {
            return on_store!(self, outbox => outbox
                .commit(async |on| answer::answer(on, answers).await));
        };
        on_store!(self, outbox => outbox
            .store(&events, async |on| answer::answer(on, answers).await))
    }

    /// Takes wakes, and decides about their attempts. One that is set aside is decided about when its time is over.
    pub async fn settle(&self) -> Result<Settled, BackendError> {
        let mut most = settle::WAKES_AT_ONCE;
        loop {
            let settled = on_store!(self, outbox => outbox
                .commit(async |on| settle::settle(on, most).await));
            match settled {
                Ok(settled) => return Ok(settled),
                Err(CommitError::Refused(_)) if most > 1 => most /= 2,
                Err(CommitError::Refused(why)) => {
                    let attempt = on_store!(self, outbox => outbox
                        .transact(async |on| settle::drop_one(on).await))?;
                    let set_aside = Some(SetAside { attempt, why });
                    return Ok(Settled { wakes: 1, set_aside, ..Settled::default() });
                }
                Err(error) => return Err(failed(error)),
            }
        }
    }

    /// Ends accepted attempts that were not confirmed in time. One that is set aside is looked at again after an hour.
    pub async fn unheard(&self) -> Result<Unheard, BackendError> {
        let mut most = look::AT_ONCE;
        loop {
            let unheard = on_store!(self, outbox => outbox
                .commit(async |on| look::unheard(on, most).await));
            match unheard {
                Ok(unheard) => return Ok(unheard),
                Err(CommitError::Refused(_)) if most > 1 => most /= 2,
                Err(CommitError::Refused(why)) => {
                    let attempt = on_store!(self, outbox => outbox
                        .transact(async |on| look::put_off(on).await))?;
                    let set_aside = Some(SetAside { attempt, why });
                    return Ok(Unheard { is_cut: true, set_aside, ..Unheard::default() });
                }
                Err(error) => return Err(failed(error)),
            }
        }
    }

    /// Ends what leases and deadlines have ended.
    pub async fn overdue(&self, look_after: Duration) -> Result<Overdue, BackendError> {
        on_store!(self, outbox => outbox
            .transact(async |on| look::overdue(on, look_after).await))
    }

    /// What is to be looked for now, which no other process is handed for as long as `busy`.
    pub async fn to_look_for(
        &self,
        limit: u32,
        busy: Duration,
    ) -> Result<Vec<Search>, BackendError> {
        on_store!(self, outbox => outbox
            .transact(async |on| look::to_look_for(on, limit, busy).await))
    }

    /// Calls that are to be cancelled now, which no other process is handed for as long as `busy`.
    pub async fn to_hang_up(&self, busy: Duration) -> Result<Vec<HangUp>, BackendError> {
        on_store!(self, outbox => outbox.transact(async |on| calls::to_hang_up(on, busy).await))
    }

    /// Stores what came of the cancellation of a call, of which this was the `tries`th try, and returns it: after the last
    /// one, the cancellation is given up.
    pub async fn hung_up(
        &self,
        id: AttemptId,
        tries: u32,
        came: HungUp,
    ) -> Result<HungUp, BackendError> {
        on_store!(self, outbox => outbox
            .transact(async |on| calls::hung_up(on, id, tries, came).await))
    }

    /// Steps whose time is over, for which Twilio is to be asked now, and which no other process is handed for as long as
    /// `busy`.
    pub async fn steps_to_ask(&self, busy: Duration) -> Result<Vec<OverStep>, BackendError> {
        on_store!(self, outbox => outbox.transact(async |on| steps::to_ask(on, busy).await))
    }

    /// Decides about a step for which Twilio was asked; `event`: how it says that the message or the call stands.
    pub async fn asked_for(
        &self,
        step: &OverStep,
        said: Said,
        event: Option<Event>,
    ) -> Result<Concluded, CommitError> {
        // First, in a transaction of its own: the decision reads what is stored. A process that dies between the two has
        // the step asked for again.
        if let Some(event) = event.map(Batch::from) {
            on_store!(self, outbox => outbox.store(&event, async |_| Ok(())))?;
        }
        on_store!(self, outbox => outbox.commit(async |on| steps::asked(on, step, said).await))
    }

    /// The steps of a notification, in their order; none if it goes by its sender alone.
    pub async fn steps(&self, notification: &str) -> Result<Vec<StepRow>, BackendError> {
        on_store!(self, outbox => outbox.read(async |on| steps::list(on, notification).await))
    }

    /// Which of these SIDs are proven to be of an attempt.
    pub async fn bound(&self, sids: Vec<String>) -> Result<Vec<String>, BackendError> {
        on_store!(self, outbox => outbox.read(async |on| look::bound(on, sids).await))
    }

    /// Stores what a look-up found, and returns whether the notification is sent again, as the attempt `again`.
    pub async fn looked(
        &self,
        id: AttemptId,
        looked: &Looked,
        again: AttemptId,
    ) -> Result<bool, BackendError> {
        if let Looked::Inferred { event, .. } = looked {
            let events = Batch::from(Event::clone(event));
            return on_store!(self, outbox => outbox
                .store(&events, async |on| look::looked(on, id, looked, again).await))
            .map_err(failed);
        }
        on_store!(self, outbox => outbox
            .transact(async |on| look::looked(on, id, looked, again).await))
    }

    /// Applies `[privacy]` to a page of notifications of which nothing is sent or looked for any more, and returns how
    /// many they were.
    pub async fn treat(&self, privacy: &Privacy) -> Result<u64, BackendError> {
        if privacy.is_plain() {
            return Ok(0);
        }
        on_store!(self, outbox => outbox
            .transact(async |on| forget::treat(on, privacy).await))
    }

    /// Plans to ask Twilio for a page of statuses that say nothing final for long, and returns how many there were. What
    /// is final meanwhile, or deleted, is forgotten.
    pub async fn plan_follow_ups(&self, asked: &FollowUpAsk) -> Result<u64, BackendError> {
        on_store!(self, outbox => outbox
        .transact(async |on| {
            follow_ups::tidy(on, asked.since).await?;
            follow_ups::plan(on, asked).await
        }))
    }

    /// Statuses that say nothing final for long, the oldest first.
    pub async fn list_open_statuses(
        &self,
        asked: &FollowUpAsk,
        limit: u32,
    ) -> Result<Vec<FollowUp>, BackendError> {
        on_store!(self, outbox => outbox
            .read(async |on| follow_ups::list(on, asked, limit).await))
    }

    /// Takes what an account is to be asked for now, which no other process is handed for as long as `busy`; nothing while
    /// the account is stopped.
    pub async fn take_follow_ups(
        &self,
        account: &str,
        limit: u32,
        busy: Duration,
    ) -> Result<Vec<FollowUp>, BackendError> {
        on_store!(self, outbox => outbox
            .transact(async |on| follow_ups::take(on, account, limit, busy).await))
    }

    /// Stores what Twilio said of a status, as an event, and what comes of it.
    pub async fn followed_up(
        &self,
        one: &FollowUp,
        said: Option<Event>,
        followed: &Followed,
    ) -> Result<(), CommitError> {
        let Some(said) = said.map(Batch::from) else {
            return on_store!(self, outbox => outbox
                .commit(async |on| follow_ups::followed(on, one, followed).await));
        };
        on_store!(self, outbox => outbox
            .store(&said, async |on| follow_ups::followed(on, one, followed).await))
    }

    /// Asks for what is planned as soon as possible, and returns how many statuses that is.
    pub async fn hurry_follow_ups(&self, asked: &FollowUpAsk) -> Result<u64, BackendError> {
        on_store!(self, outbox => outbox
            .transact(async |on| follow_ups::hurry(on, asked).await))
    }

    /// A page of attempts whose outcome is unknown, the oldest first.
    pub async fn list_unknown(&self, limit: u32) -> Result<Vec<Unknown>, BackendError> {
        on_store!(self, outbox => outbox.read(async |on| look::list_unknown(on, limit).await))
    }

    /// What holds senders, with their counts.
    pub async fn sending(&self) -> Result<SendingState, BackendError> {
        on_store!(self, outbox => outbox.read(async |on| state::sending(on).await))
    }

    /// Pauses a sender, and returns how many of its attempts are in writing.
    pub async fn pause(&self, sender: &str, why: &str) -> Result<u64, BackendError> {
        on_store!(self, outbox => outbox
            .transact_now(async |on| state::pause(on, sender, why).await))
    }

    /// Lets a sender and its account go on, and returns whether one was held.
    pub async fn resume(&self, sender: &str, account: &str) -> Result<bool, BackendError> {
        on_store!(self, outbox => outbox
            .transact_now(async |on| state::resume(on, sender, account).await))
    }

    /// Holds everything, or lets it go on, and returns how many attempts are in writing. What waits to be adopted stays
    /// held.
    pub async fn hold_all(&self, why: Option<&str>) -> Result<u64, BackendError> {
        on_store!(self, outbox => outbox.transact_now(async |on| state::hold_all(on, why).await))
    }

    /// Adds entries to the log of suppressions.
    pub async fn suppress(&self, entries: &[NewSuppression]) -> Result<(), BackendError> {
        on_store!(self, outbox => outbox
            .transact(async |on| suppressions::suppress(on, entries).await))
    }

    /// Adds stops of an imported list, but for addresses that a person has stopped already; returns how many were added.
    pub async fn import(&self, entries: &[NewSuppression]) -> Result<u64, BackendError> {
        on_store!(self, outbox => outbox
            .transact(async |on| suppressions::import(on, entries).await))
    }

    /// A page of the addresses that are suppressed, by hash, and where the next one goes on, if there is one. It may have
    /// fewer than `limit`.
    pub async fn suppressions(
        &self,
        after: &str,
        limit: u32,
    ) -> Result<(Vec<Suppression>, Option<String>), BackendError> {
        on_store!(self, outbox => outbox
            .read(async |on| suppressions::suppressions(on, after, limit).await))
    }

    /// Adds entries to the log of consents, but for those that are there; returns how many were added.
    pub async fn add_consents(&self, entries: &[NewConsent]) -> Result<u64, BackendError> {
        on_store!(self, outbox => outbox.transact(async |on| consents::add(on, entries).await))
    }

    /// Those of these addresses, by hash, that may be sent marketing.
    pub async fn consenting(&self, hashes: &[String]) -> Result<BTreeSet<String>, BackendError> {
        on_store!(self, outbox => outbox
            .read(async |on| consents::holding(on, hashes.to_vec()).await))
    }

    /// The latest entries of an address in the log of consents, at most a page.
    pub async fn consents(&self, to_hash: &str) -> Result<Vec<ConsentEntry>, BackendError> {
        on_store!(self, outbox => outbox.read(async |on| consents::of(on, to_hash).await))
    }

    /// What was kept under a key, if anything was.
    pub async fn asked_before(
        &self,
        token: &str,
        key: &str,
    ) -> Result<Option<KeptBefore>, BackendError> {
        on_store!(self, outbox => outbox.read(async |on| ask::before(on, token, key).await))
    }
}

/// Of two answers about one SID, as after a look-up, one is stored.
fn batch(mut events: Vec<Event>) -> Option<Batch> {
    events.truncate(Batch::MAX_EVENTS);
    Batch::take_from(&mut events)
}
