//! From a slot of a pace to an answer that is stored.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use super::Outbound;
use super::config::{Config, Sender};
use super::group::{self, Answers, Writes};
use super::request::Request;
use super::rest::Created;
use super::store_clock::StoreClock;
use super::trace::Trace;
use super::verdict::{self, sent};
use crate::backend::outbox::{
    Answered, Back, ClaimAsk, Claimed, Claims, Letter, Outcome, WriteAsk, Written,
};
use crate::crash_points::{self, Point, Sabotage};
use crate::dispatch::NotificationState;
use crate::dispatch::gates::{self, Gate};
use crate::dispatch::pace::Lateness;
use crate::dispatch::quiet_hours::{Quiet, Zone};
use crate::dispatch::recipient::Recipient;
use crate::event::{AttemptId, Event, Resource};
use crate::labels::Label as _;
use crate::outage::Outage;
use crate::retry::Backoff;
use crate::spans::Role;
use crate::twilio::answer::RestAnswer;
use crate::twilio::rest::{CreateAnswer, Doubt, Message};

/// How far ahead slots are taken, and the time by which an attempt may miss its own where the store is fast enough.
const AHEAD: Duration = Duration::from_millis(100);
/// Most slots of one claim.
const MOST_SLOTS: u32 = 256;
/// How long an answer is waited for after the process was stopped, so that what is known then is still stored.
const STOP_GRACE: Duration = Duration::from_secs(15);
/// The longest time between two looks at a pace.
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// Sends what is due, until `stop` and until what was claimed by then has an answer.
pub(super) async fn run(outbound: &Outbound, stop: &CancellationToken) {
    let holder = format!("{:016x}", rand::random::<u64>());
    let config = outbound.config.now();
    let ask = WriteAsk {
        claims: Vec::new(),
        holder: holder.clone(),
        late_after: AHEAD,
        lease: config.writing_lease,
        max_in_flight: config.max_in_flight,
        lines: config.lines(),
    };
    let lateness = Lateness::new(AHEAD, config.claim_lease / 2);
    let (writes, write) = group::writes(outbound, ask, lateness);
    let (answers, answer) = group::answers(outbound);
    let pattern = Lane {
        outbound: outbound.clone(),
        pace: String::new(),
        holder,
        writes,
        answers,
        stop: stop.clone(),
    };
    tokio::join!(lanes(pattern), write, answer);
}

/// One for each pace, of those too that a reload brings. One whose pace has left the configuration idles.
async fn lanes(pattern: Lane) {
    let (tasks, mut known) = (TaskTracker::new(), BTreeSet::new());
    let mut changes = pattern.outbound.config.changes();
    loop {
        let config = Arc::clone(&changes.borrow_and_update());
        for pace in &config.paces {
            if known.insert(pace.name.clone()) {
                tasks.spawn(Lane { pace: pace.name.clone(), ..pattern.clone() }.run());
            }
        }
        let changed = pattern.stop.run_until_cancelled(changes.changed()).await;
        if !matches!(changed, Some(Ok(()))) {
            break;
        }
    }
    // The tasks that commit end once no lane can hand them anything.
    drop(pattern);
    tasks.close();
    tasks.wait().await;
}

/// One pace.
#[derive(Clone)]
struct Lane {
    outbound: Outbound,
    pace: String,
    holder: String,
    writes: Writes,
    answers: Answers,
    stop: CancellationToken,
}

impl Lane {
    async fn run(self) {
        let stop = &self.stop;
        let (tasks, outage, mut backoff) =
            (TaskTracker::new(), Outage::default(), Backoff::default());
        let mut news = self.outbound.news.subscribe();
        let mut answered = self.outbound.answered.subscribe();
        let mut store_clock = StoreClock::new(Instant::now());
        while !stop.is_cancelled() {
            news.mark_unchanged();
            answered.mark_unchanged();
            let Some(ask) = self.ask(&self.outbound.config.now()) else {
                stop.run_until_cancelled(sleep(LONGEST_PAUSE)).await;
                continue;
            };
            if store_clock.take_due(Instant::now())
                // What fails here is said by the claim.
                && let Ok(reading) = self.outbound.outbox.clock().await
            {
                store_clock.learn(reading, Instant::now());
            }
            let asked = Instant::now();
            let (pause, wakes, waits_for_answers) = match self.outbound.outbox.claim(&ask).await {
                Ok(claims) => {
                    backoff.reset();
                    if let Some(over) = outage.ends() {
                        info!(
                            failures = over.failures,
                            lasted_s = over.seconds(),
                            "the store is asked for work again"
                        );
                    }
                    if claims.clamped {
                        self.outbound.metrics.clamped.inc();
                        warn!(
                            pace = self.pace,
                            "a pace was far ahead of the store's clock and begins anew: the clock went back"
                        );
                    }
                    let (came, pause) = (Instant::now(), pause(&claims));
                    let now = claims.now.map(|now| (now, store_clock.moment(now, asked, came)));
                    if !claims.claimed.is_empty() {
                        crash_points::point(Point::Slotted);
                    }
                    for claim in claims.claimed {
                        let slot =
                            now.map_or(came, |(now, moment)| moment + claim.send_at.since(now));
                        let lane = self.clone();
                        tasks.spawn(async move { lane.send(claim, slot).await });
                    }
                    (pause, claims.again.is_none(), claims.waits_for_answers)
                }
                Err(error) => {
                    self.outbound.metrics.store_errors.inc();
                    if outage.begins() {
                        warn!(error = %error, "the store cannot be asked for work: nothing is sent until it answers");
                    }
                    (backoff.next_wait(), false, false)
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = sleep(pause) => {}
                _ = news.changed(), if wakes => {}
                _ = answered.changed(), if waits_for_answers => {}
            }
        }
        tasks.close();
        tasks.wait().await;
    }

    /// What it asks the store for; `None` while its pace is not configured.
    fn ask(&self, config: &Config) -> Option<ClaimAsk> {
        let pace = config.paces.iter().find(|pace| pace.name == self.pace)?;
        let senders = config.senders.iter().filter(|sender| sender.pace == self.pace);
        let sender = senders.clone().next()?;
        Some(ClaimAsk {
            pace: pace.name.clone(),
            senders: senders.map(|sender| sender.name.clone()).collect(),
            account: sender.account.clone(),
            per_unit: Duration::from_micros(pace.rate.micros(1).unsigned_abs()),
            ahead: AHEAD,
            max_in_flight: config.max_in_flight,
            limit: MOST_SLOTS,
            lines: sender.call.is_some().then(|| config.lines()),
            holder: self.holder.clone(),
            lease: config.claim_lease,
        })
    }

    /// Sends an attempt in its slot, unless something is in the way.
    async fn send(&self, claim: Claimed, at: Instant) {
        let id = claim.id;
        sleep_until(at.checked_sub(self.writes.lead()).unwrap_or(at)).await;
        let metrics = &self.outbound.metrics;
        let (mut trace, began) = (Trace::of_send(&self.outbound.spans, id), Instant::now());
        let written = self.writes.write(claim).await;
        trace.part("write", Role::Internal, began, shown(&written));
        trace.ends(shown(&written));
        let letter = match written {
            Written::Send(letter) => letter,
            Written::Held(gate) => {
                return Gate::parse(gate).into_iter().for_each(|gate| metrics.held(gate));
            }
            Written::Late | Written::Full => return,
            Written::Ended(gate) => return self.ended(gate),
            Written::Lost => {
                return debug!(attempt = %id, "an attempt is not this process's any more");
            }
        };
        sleep_until(at).await;
        let late = Instant::now().saturating_duration_since(at);
        metrics.began(late);
        trace.is_of(&letter.sender);
        let outcome = match late > self.outbound.config.now().claim_lease {
            // It stood still: it sends no burst of what it has in hand, and another process may think it is gone.
            true => {
                info!(attempt = %id, late_ms = late.as_millis(), "an attempt is due again: this process stood still past its slot");
                Outcome::Back { after: Duration::ZERO, why: Back::Unsent, stop: None }
            }
            false => self.create(id, &letter, &mut trace).await,
        };
        crash_points::point(Point::Sent);
        self.answers.store(Answered { id, tries: letter.tries, outcome }).await;
    }

    /// Counts what ended before it was sent. What was cancelled is no gate's.
    fn ended(&self, gate: &str) {
        let metrics = &self.outbound.metrics;
        match Gate::parse(gate) {
            Some(Gate::Deadline) => metrics.settled(NotificationState::Expired),
            Some(gate) => {
                metrics.refused(gate);
                metrics.settled(NotificationState::Refused);
            }
            None => {}
        }
    }

    /// When an answer is not waited for any more, because the process stops.
    async fn gives_up(&self) {
        self.stop.cancelled().await;
        sleep(STOP_GRACE).await;
    }

    /// How long Twilio may try: not into the recipient's night. What goes at any hour is counted if it is night there.
    fn validity(&self, config: &Config, letter: &Letter) -> Option<Duration> {
        let Letter { purpose, deadline, written_at, .. } = *letter;
        let (to, rules) = (Recipient::parse(&letter.to)?, &config.rules);
        let zone = letter.time_zone.as_deref().and_then(Zone::parse);
        let quiet = rules.quiet(&to, zone.as_ref(), written_at);
        if matches!(quiet, Some(Quiet::Until(_) | Quiet::Always)) {
            self.outbound.metrics.disturbed(purpose);
        }
        gates::validity(gates::valid_until(purpose, deadline, quiet), written_at)
    }

    async fn create(&self, id: AttemptId, letter: &Letter, trace: &mut Trace<'_>) -> Outcome {
        let Outbound { config, metrics, .. } = &self.outbound;
        let config = config.now();
        let sender = config.sender(&letter.sender);
        let Some(sender) = sender.filter(|sender| sender.account == letter.account) else {
            // A reload or another process's configuration: another process may have it.
            return held();
        };
        let validity = self.validity(&config, letter);
        let request = validity.and_then(|it| Request::of(&config, sender, id, letter, it));
        let Some(request) = request else { return held() };
        let began = Instant::now();
        let create = || request.make(&self.outbound, letter, &sender.credentials);
        let mut created = tokio::select! {
            created = create() => created,
            () = self.gives_up() => Created::Answered(CreateAnswer::Unknown(Doubt::ProcessLost)),
        };
        if crash_points::is_sabotaged(Sabotage::RetriesTimeouts)
            && matches!(created, Created::Answered(CreateAnswer::Unknown(_)))
        {
            created = create().await;
        }
        metrics.requested(&letter.account, sent(&created), began.elapsed());
        trace.part("request", Role::Client, began, sent(&created).as_str());
        trace.ends(sent(&created).as_str());
        if let Some(reason) = verdict::reason(&created) {
            metrics.failed(reason);
        }
        log(id, sender, &created);
        let jitter = rand::random_range(-1.0..=1.0);
        let look_after = request.look_after(&config, letter);
        let event = |message: &Message| {
            self.outbound.event(request.resource(), message, &letter.account, Some(id))
        };
        verdict::outcome(created, letter.throttled, jitter, look_after, event)
    }
}

/// How long a pace is left alone after a claim, unless there is news: not beyond the end of a backoff, which is short.
fn pause(claims: &Claims) -> Duration {
    claims.again.or(claims.next_due).unwrap_or(LONGEST_PAUSE).min(LONGEST_PAUSE)
}

/// What came of the commit to `writing`, in a trace.
fn shown(written: &Written) -> &'static str {
    match written {
        Written::Send(_) => "writing",
        Written::Late => "late",
        Written::Full => "full",
        Written::Held(_) => "held",
        Written::Ended(_) => "ended",
        Written::Lost => "lost",
    }
}

fn held() -> Outcome {
    Outcome::Back { after: Duration::from_secs(5), why: Back::Held, stop: None }
}

/// What an operator looks for afterwards, without addresses and texts.
fn log(id: AttemptId, sender: &Sender, created: &Created) {
    let (attempt, sender, outcome) = (id, &sender.name, sent(created).as_str());
    match created {
        Created::Answered(CreateAnswer::Accepted(message)) => {
            debug!(attempt = %attempt, sender, sid = message.sid, outcome, "an attempt is accepted");
        }
        Created::Answered(CreateAnswer::Rejected { code }) => {
            info!(attempt = %attempt, sender, code, outcome, "the provider refused an attempt");
        }
        Created::Answered(CreateAnswer::Unknown(doubt)) => {
            warn!(attempt = %attempt, sender, doubt = doubt.as_str(), outcome, "the outcome of an attempt is not known: it is looked for");
        }
        Created::Answered(CreateAnswer::Foreign { status }) => {
            warn!(attempt = %attempt, sender, status, outcome, "something else than the provider's API answered: the account is paused");
        }
        Created::Answered(CreateAnswer::Throttled { .. }) | Created::Unsent => {
            debug!(attempt = %attempt, sender, outcome, "an attempt was not sent, and is due again");
        }
    }
}

impl Outbound {
    /// A message, a call or an email that its provider described, as an event of its own.
    pub(super) fn event(
        &self,
        resource: Resource,
        message: &Message,
        account: &str,
        attempt: Option<AttemptId>,
    ) -> Option<Event> {
        let answer = RestAnswer {
            account,
            resource,
            sid: &message.sid,
            status: &message.status,
            error_code: message.error_code.as_deref().and_then(|code| code.parse().ok()),
            from: message.from.as_deref(),
            to: message.to.as_deref(),
            attempt,
        };
        answer.event(self.clock.now(), &self.privacy.now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_is_asked_again_when_it_is_free_or_a_backoff_is_over() {
        let ms = |ms: u64| Some(Duration::from_millis(ms));
        for (again, next_due, expected) in [
            (None, None, LONGEST_PAUSE),
            (None, ms(93), Duration::from_millis(93)),
            (None, ms(3_600_000), LONGEST_PAUSE),
            (ms(40), None, Duration::from_millis(40)),
            (ms(1000), None, LONGEST_PAUSE),
        ] {
            assert_eq!(pause(&Claims { again, next_due, ..Claims::default() }), expected);
        }
    }
}
