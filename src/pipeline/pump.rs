//! Source → sink, until stopped: read, filter by marks, commit, then mark and ack.
//!
//! The order is the promise. A delivery is acked only after its event is in the store, so a crash
//! between any two steps leaves it pending, and it comes again. A mark is written only after the
//! commit: a mark before it, as a claim, was measured to lose events.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{Claimed, Delivery, Observer, Pending, Settled, Sink, Source, SourceError};
use crate::crash_points::{self, Point};
use crate::retry::Backoff;

/// How a pump works.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Most events of one commit; fewer for a while where a commit took too long.
    pub batch: usize,
    /// How long what comes is left to gather into one commit, where a commit of one event costs as much as
    /// one of ten.
    pub gather: Duration,
    /// Deliveries after which an event becomes a dead letter: it was in the hands of that many readers and
    /// each of them died.
    pub max_deliveries: u32,
    /// How often to look for deliveries that other readers left idle, and to renew those that this one
    /// holds: several times in the time after which others claim them.
    pub claim_every: Duration,
    /// How long shutdown waits for a sink that does not answer before it gives deliveries back.
    pub grace: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            batch: 512,
            gather: Duration::ZERO,
            max_deliveries: 10,
            claim_every: Duration::from_secs(5),
            grace: Duration::from_secs(5),
        }
    }
}

/// Moves events from `source` into `sink` until `stop`. What it holds then is committed, or
/// given back.
pub async fn pump<S: Source>(
    mut source: S,
    sink: impl Sink,
    observer: Arc<impl Observer>,
    options: Options,
    stop: CancellationToken,
) -> S {
    let mut backoff = Backoff::default();
    let mut last_claim: Option<Instant> = None;
    let batch = options.batch;
    let mut pump = Pump { source: &mut source, sink: &sink, observer: &*observer, options, batch };
    while !stop.is_cancelled() {
        let due = last_claim.is_none_or(|at| at.elapsed() >= options.claim_every);
        let turn = if due { pump.claim().await } else { pump.read(&stop).await };
        let step = match turn {
            Ok(deliveries) => {
                if !deliveries.is_empty() {
                    crash_points::point(if due { Point::Claimed } else { Point::Read });
                }
                if due && deliveries.len() < pump.batch {
                    last_claim = Some(Instant::now());
                }
                pump.work_off(deliveries, &stop).await
            }
            Err(error) => Err(error),
        };
        match step {
            Ok(()) => {
                observer.source_answered();
                backoff.reset();
            }
            Err(error) => {
                observer.source_failed(&error);
                backoff.wait(&stop).await;
            }
        }
    }
    source
}

/// How many events the next commit may have. What takes too long costs all of its time for nothing: where that has
/// happened, the next batches are smaller until some were in time.
fn next_batch(now: usize, most: usize, was_late: bool) -> usize {
    match was_late {
        true => (now / 2).max(1),
        false => (now * 2).min(most),
    }
}

struct Pump<'a, S, K, O> {
    source: &'a mut S,
    sink: &'a K,
    observer: &'a O,
    options: Options,
    /// Most events of the next commit.
    batch: usize,
}

impl<S: Source, K: Sink, O: Observer> Pump<'_, S, K, O> {
    /// Reads; returns nothing after a stop. A read that may have taken something is never abandoned half-way.
    async fn read(
        &mut self,
        stop: &CancellationToken,
    ) -> Result<Vec<Delivery<S::Id>>, SourceError> {
        let ready = stop.run_until_cancelled(self.source.ready()).await;
        if ready != Some(true) {
            return Ok(Vec::new());
        }
        if !self.options.gather.is_zero() {
            // Whether it was cut short makes no difference.
            let _ = stop.run_until_cancelled(sleep(self.options.gather)).await;
        }
        self.source.read(self.batch).await
    }

    async fn claim(&mut self) -> Result<Vec<Delivery<S::Id>>, SourceError> {
        let Claimed { deliveries, vanished } = self.source.claim(self.batch).await?;
        if vanished > 0 {
            self.observer.vanished(vanished);
        }
        if !deliveries.is_empty() {
            self.observer.claimed(deliveries.len());
        }
        Ok(deliveries)
    }

    /// Every delivery ends acked, dead-lettered or released, or stays pending with an error.
    async fn work_off(
        &mut self,
        deliveries: Vec<Delivery<S::Id>>,
        stop: &CancellationToken,
    ) -> Result<(), SourceError> {
        let (rest, put_aside) = self.dead_letter_hopeless(deliveries).await;
        if let Some(pending) = Pending::new(rest)
            && let Some(pending) = self.filter(pending).await?
        {
            crash_points::point(Point::Filtered);
            self.commit(pending, stop).await?;
        }
        put_aside
    }

    /// Dead-letters what is not an event, and what was handed out too often; the rest, and what went wrong. What cannot be
    /// put aside does not keep the rest from the store.
    async fn dead_letter_hopeless(
        &mut self,
        deliveries: Vec<Delivery<S::Id>>,
    ) -> (Vec<Delivery<S::Id>>, Result<(), SourceError>) {
        let mut rest = Vec::with_capacity(deliveries.len());
        let mut put_aside = Ok(());
        for delivery in deliveries {
            let reason = match &delivery.event {
                Err(malformed) => malformed.to_string(),
                Ok(_) if delivery.count > self.options.max_deliveries => {
                    format!("delivered {} times without success", delivery.count - 1)
                }
                Ok(_) => {
                    rest.push(delivery);
                    continue;
                }
            };
            // Each may take as long as the source is waited for.
            if put_aside.is_err() {
                continue;
            }
            if let Err(error) = self.source.dead_letter(&delivery.id, delivery.count, &reason).await
            {
                put_aside = Err(error);
                continue;
            }
            crash_points::point(Point::PutAside);
            let key = delivery.event.as_ref().ok().map(|event| &event.key);
            self.observer.dead_lettered(key, &reason);
        }
        (rest, put_aside)
    }

    /// Acks what is marked as stored. If the marks cannot be read, nothing is filtered: the store decides.
    async fn filter(
        &mut self,
        pending: Pending<S::Id>,
    ) -> Result<Option<Pending<S::Id>>, SourceError> {
        let marks = match self.source.marked(pending.events()).await {
            Ok(marks) => marks,
            Err(error) => {
                self.observer.source_failed(&error);
                return Ok(Some(pending));
            }
        };
        if marks.iter().all(Option::is_none) {
            return Ok(Some(pending));
        }
        let (settled, differing, rest) = pending.split_marked(&marks);
        self.observer.skipped(settled.entries().len(), &differing);
        self.source.ack(&settled).await?;
        Ok(rest)
    }

    /// Commits, however long the sink is away: an outage is not the event's fault, so the batch is
    /// kept, renewed, and nothing new is read.
    async fn commit(
        &mut self,
        pending: Pending<S::Id>,
        stop: &CancellationToken,
    ) -> Result<(), SourceError> {
        let ids: Vec<S::Id> = pending.deliveries().into_iter().map(|(id, _)| id).collect();
        let (sink, grace) = (self.sink, self.options.grace);
        let mut backoff = Backoff::default();
        let mut grace_over = pin!(async {
            stop.cancelled().await;
            sleep(grace).await;
        });
        loop {
            let committed = tokio::select! {
                biased;
                // The commit may have happened nevertheless; the next one is then a duplicate.
                () = &mut grace_over => return self.source.release(&pending.deliveries()).await,
                committed = self.holding(&ids, pending.commit(sink)) => committed,
            };
            // The sink's observer has reported an error.
            if let Ok(commit) = committed {
                crash_points::point(Point::Committed);
                self.batch = next_batch(self.batch, self.options.batch, commit.was_late);
                self.ack(&commit.settled).await?;
                for refused in commit.refused {
                    for (id, count) in &refused.deliveries {
                        self.source.dead_letter(id, *count, &refused.why).await?;
                    }
                    self.observer.dead_lettered(Some(&refused.key), &refused.why);
                }
                return Ok(());
            }
            if stop.is_cancelled() {
                sleep(Duration::from_millis(100)).await;
            } else {
                self.holding(&ids, backoff.wait(stop)).await;
            }
        }
    }

    /// Waits for `work`, and says meanwhile that these deliveries are being worked on. A sink that
    /// hangs takes longer than others leave a delivery alone, and each of them would take it over,
    /// hang as well, and count one more delivery towards giving it up.
    async fn holding<T>(&mut self, ids: &[S::Id], work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            let every = self.options.claim_every;
            let renewed = async {
                sleep(every).await;
                self.source.renew(ids).await
            };
            tokio::select! {
                biased;
                done = &mut work => return done,
                renewed = renewed => {
                    // Best effort: without it another worker may take the batch over.
                    if let Err(error) = renewed {
                        self.observer.source_failed(&error);
                    }
                }
            }
        }
    }

    async fn ack(&mut self, settled: &Settled<S::Id>) -> Result<(), SourceError> {
        if settled.is_empty() {
            return Ok(());
        }
        self.source.ack(settled).await?;
        crash_points::point(Point::Acked);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_that_was_late_is_halved_and_grows_again_once_some_are_in_time() {
        let mut batch = 512;
        let mut next = |was_late| {
            batch = next_batch(batch, 512, was_late);
            batch
        };
        assert_eq!([true, true, false, false, false].map(&mut next), [256, 128, 256, 512, 512]);
        assert_eq!([true; 12].map(next).last(), Some(&1));
    }
}
