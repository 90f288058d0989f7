//! A process that sends and does nothing else: it has a Postgres, and neither a stream nor a log.

use anyhow::Context;
use secrecy::{ExposeSecret, SecretString};

use super::{Builder, Parts};
use crate::admin::FeedDoors;
use crate::backend::postgres::{self, Postgres};
use crate::backend::purge::Purge;
use crate::backend::{DeadLetters, DurabilityReports, Need, Probe, Store};
use crate::pipeline::spooled::AnswerAfter;
use crate::recent::events::{EventStage, RecentEvents};
use crate::upkeep::migration::migrated;

impl Builder<'_> {
    /// A Postgres that others fill.
    ///
    /// # Errors
    /// The URL is not valid, or a setting of Postgres breaks the promise: what is sent is committed first.
    pub(super) async fn sender(
        mut self,
        url: &SecretString,
        listen: Option<&SecretString>,
    ) -> anyhow::Result<Parts> {
        let feed_wakes = Self::feed_wakes(listen)?;
        let postgres = Postgres::with_writers(url.expose_secret(), 1).context("store.url")?;
        let store = Store::Postgres(postgres::Handles::new(postgres.clone()));
        let durabilities = DurabilityReports::default();
        let watched = vec![Probe::Store(store.health())];
        self.watch_durability(watched, &durabilities, AnswerAfter::Spool).await?;
        let (migrate, stop) = (self.migrate, self.tasks.stop());
        self.tasks.spawn("sender", async move {
            if !migrate || migrated(|| postgres.migrate(), &stop).await {
                stop.cancelled().await;
            }
            postgres.close().await;
        });
        Ok(Parts {
            reader: store.reads(),
            outbox: store.outbox(),
            feed: FeedDoors::new(store.feed(), store.feed_watch()),
            forwards: store.forwards(),
            feed_wakes,
            probes: vec![(Need::Must, Probe::Store(store.health()))],
            recorder: None,
            durabilities,
            purge: Purge {
                rows: store.purge(),
                dead_letters: DeadLetters { stream: None, local: None },
                stream: None,
                log: None,
            },
            live: RecentEvents::new(EventStage::Stored, self.clock),
        })
    }
}
