//! The sending half: it sends what was asked for, once, at the pace that its senders allow.
//!
//! ```text
//! asked ─► due ─claim─► claimed ─commit─► WRITING ─POST─► accepted ─callbacks─► confirmed, failed
//!                                                    └──► unknown ─look-up─► accepted, sent again, or reported
//! ```
//!
//! [`dispatcher`] takes an attempt from its slot to the answer, [`reconciler`] looks for what is unknown and ends what
//! time has ended, `escalation` asks Twilio before the next step of a route begins, [`verdict`] says what follows from an
//! answer, `follow_up` asks Twilio for statuses whose callbacks do not come, `campaigns` hands recipients over.

pub mod api;
pub mod asks;
mod campaigns;
pub mod config;
pub mod dispatcher;
mod escalation;
mod follow_up;
pub mod gate;
mod group;
pub mod identity;
pub mod in_force;
pub mod metrics;
pub mod reconciler;
mod request;
pub mod rest;
pub mod sendgrid;
mod store_clock;
mod trace;
pub mod verdict;
pub mod watch;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

pub use self::config::Config;
pub use self::gate::Gates;
pub use self::identity::Hashes;
pub use self::in_force::InForce;
pub use self::metrics::SendMetrics;
pub use self::rest::Rest;
pub use self::sendgrid::SendGrid;
use crate::backend::Outbox;
use crate::backend::outbox::Concluded;
use crate::clock::Clock;
use crate::policy::Part;
use crate::spans::Spans;
use crate::twilio::privacy::Privacy;

/// A process that sends.
#[derive(Clone)]
pub struct Outbound {
    /// What it is configured with.
    pub config: InForce,
    /// Where it is kept what is to be sent.
    pub outbox: Outbox,
    /// Twilio.
    pub rest: Rest,
    /// SendGrid; `None` if no sender sends emails.
    pub sendgrid: Option<SendGrid>,
    /// What of an answer may be kept.
    pub privacy: Arc<Part<Privacy>>,
    /// Where the times of events come from; slots and leases have the store's clock.
    pub clock: Clock,
    /// What it counts.
    pub metrics: SendMetrics,
    /// Where traces go.
    pub spans: Spans,
    /// Is sent when there may be more to send than a moment ago, so that it does not wait for the next look.
    pub news: tokio::sync::watch::Sender<()>,
    /// Is sent when answers are stored, which makes room for requests in flight.
    pub answered: tokio::sync::watch::Sender<()>,
}

impl Outbound {
    /// Sends until `stop`, and then until what is on its way is answered.
    pub async fn run(self, stop: CancellationToken) {
        let (config, metrics) = (self.config.now(), &self.metrics);
        if !identity::recognize(&config, &self.outbox, metrics, &stop).await {
            return;
        }
        tokio::join!(
            dispatcher::run(&self, &stop),
            reconciler::settle(&self, &stop),
            reconciler::end_what_is_over(&self, &stop),
            reconciler::look(&self, &stop),
            reconciler::repace(&self, &stop),
            escalation::run(&self, &stop),
            campaigns::run(&self, &stop),
            follow_up::run(&self, &stop),
            reconciler::hang_up(&self, &stop),
        );
    }

    /// Counts how notifications went on, and has steps that have begun sent at once.
    fn concluded(&self, concluded: &Concluded) {
        self.metrics.concluded(concluded);
        if !concluded.begun.is_empty() {
            self.news.send_replace(());
        }
    }
}
