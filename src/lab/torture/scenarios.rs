//! The scenarios: which faults are injected.

mod campaign;
mod clients;
mod crash;
mod crowds;
mod feed;
mod forward;
mod local;
mod network;
mod poison;
mod postgres;
mod power;
mod processes;
mod redis;
mod send;
mod sentinel;
mod spool;

use clap::ValueEnum;

use super::Run;
use super::report::Report;
use crate::lab::servers::{Need, missing};

/// A kind of fault under load.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Scenario {
    /// a worker aborts at every step between reading an event and acking it
    WorkerCrash,
    /// a receiver aborts at every step from the batch to the answer, and its drainer at each of its
    ReceiverCrash,
    /// kill -9 of one of two workers, every 80 to 250 ms
    WorkerKill,
    /// kill -9 of one of two receivers, with Redis stopped now and then, so that spools are in use
    ReceiverKill,
    /// kill -9 of the one embedded process
    EmbeddedKill,
    /// the embedded process aborts at every step from the batch to the store
    EmbeddedCrash,
    /// readers in every door of the change feed, while workers, receivers, Redis and Postgres are killed and frozen
    FeedReaders,
    /// the same of the one embedded process
    EmbeddedFeedReaders,
    /// the process that forwards aborts at every step between taking its lease and writing how far it came
    ForwardCrash,
    /// what is forwarded to is down, hangs and refuses, while what forwards is killed and frozen
    ForwardEndpointDown,
    /// kill -9 of the one process of the direct deployment
    DirectKill,
    /// the direct deployment, with Postgres killed, stopped and locked in turn
    DirectOutage,
    /// the power of the embedded mode fails: its disks hold what was synced, and nothing else; readers of the change
    /// feed have seen nothing that is gone or another one then
    EmbeddedPowerCut,
    /// the power of the direct deployment's process fails: its disk holds what was synced, and nothing else
    DirectPowerCut,
    /// kill -9 of Redis, with appendfsync always
    RedisKill,
    /// Redis loses the last second before it is killed, as by a power cut with appendfsync everysec
    RedisPowerCut,
    /// Redis is there and does not answer (SIGSTOP)
    RedisStopped,
    /// Redis reaches its maxmemory
    RedisFull,
    /// Postgres is down
    PostgresDown,
    /// kill -9 of Postgres
    PostgresKill,
    /// another session holds a lock on a table
    PostgresLocked,
    /// Postgres ends statements after a millisecond, on and off
    PostgresTimeouts,
    /// Postgres can only be read for a while, and sessions that were opened meanwhile live on
    PostgresReadOnly,
    /// Redis restarts with a backlog in it, which must not be reported too high
    RedisRestartBacklog,
    /// Redis is full of marks
    MarksFull,
    /// much is stored at once, and must be freed as fast
    TrimPace,
    /// a primary that hung wakes up and does not know yet that it was deposed
    SentinelStale,
    /// the clock of a worker that has a retention is 400 days ahead
    ClockAhead,
    /// Redis is down, and the disk of the spool is full
    SpoolFull,
    /// a disk spoils a page of a receiver's spool; what can be read of the file is replayed
    SpoolDamaged,
    /// the network between any two is cut, stalled, delayed, cut within a word
    Network,
    /// each callback fifty times, to four receivers
    DuplicateStorm,
    /// two receivers whose clocks are an hour apart
    Clocks,
    /// workers stand still, are taken for dead and come back, while others trim and clean up
    StalledConsumer,
    /// SIGTERM of one receiver and one worker after the other
    RollingRestart,
    /// rows that Postgres rejects and entries that are not events, in full batches
    Poison,
    /// 2,000 slow connections beside 1,000 callbacks a second
    Slowloris,
    /// 100,000 unsigned requests as fast as they come, beside 500 callbacks a second
    Flood,
    /// 100 connections with forged requests that cost the most, 20 accounts, beside 100 callbacks a second
    Forgeries,
    /// as many connections as there may be, and more, that send nothing, beside 100 callbacks a second
    SilentClients,
    /// the process that sends aborts at every step of an attempt, from its slot to its callbacks
    SendCrash,
    /// kill -9 of one of two processes that send, while the provider leaves some outcomes open
    SendKill,
    /// the provider leaves many outcomes open, and its callbacks come early, twice, contradicting or not at all
    SendUnknown,
    /// the provider allows fewer requests at a time than it is sent, and none for a while now and then
    SendThrottled,
    /// one of two processes that send stands still, now and then for longer than its leases last
    SendFrozen,
    /// messages that ring if they do not arrive, and emails after both, while what sends is killed and stands still, and callbacks come late, twice,
    /// contradicting or not at all
    Chain,
    /// a campaign of 200 messages a second: one of two processes is killed every few seconds, a person pauses it twice,
    /// and recipients say STOP
    Campaign,
    /// one callback in twenty is never sent, and Twilio is asked for what is left open
    CallbacksLost,
}

impl Scenario {
    /// Its name, as the command has it, and what it does.
    #[must_use]
    pub fn describe(self) -> (String, String) {
        let value = self.to_possible_value().expect("none is hidden");
        let help = value.get_help().map(ToString::to_string).unwrap_or_default();
        (value.get_name().to_owned(), help)
    }

    fn needs(self) -> &'static [Need] {
        match self {
            Self::EmbeddedKill
            | Self::EmbeddedCrash
            | Self::EmbeddedFeedReaders
            | Self::ForwardCrash
            | Self::SendCrash
            | Self::SendUnknown
            | Self::SendThrottled
            | Self::CallbacksLost
            | Self::EmbeddedPowerCut => &[],
            Self::DirectKill
            | Self::DirectOutage
            | Self::DirectPowerCut
            | Self::SendKill
            | Self::SendFrozen
            | Self::Chain
            | Self::Campaign => &[Need::Postgres],
            _ => &[Need::Redis, Need::Postgres],
        }
    }

    /// Runs it; what is not as it must be is in the report.
    ///
    /// # Errors
    /// It could not be run.
    pub async fn run(self, run: &Run) -> anyhow::Result<Report> {
        if let Some((program, package)) = missing(self.needs()) {
            anyhow::bail!("{program} is not installed; on Debian: apt-get install {package}");
        }
        let name = self.describe().0;
        match self {
            Self::WorkerCrash => crash::worker(name, run).await,
            Self::ReceiverCrash => crash::receiver(name, run).await,
            Self::WorkerKill => processes::worker_kill(name, run).await,
            Self::ReceiverKill => processes::receiver_kill(name, run).await,
            Self::EmbeddedKill => processes::embedded_kill(name, run).await,
            Self::EmbeddedCrash => crash::embedded(name, run).await,
            Self::FeedReaders => feed::scale_out(name, run).await,
            Self::EmbeddedFeedReaders => feed::embedded(name, run).await,
            Self::ForwardCrash => forward::crash(name, run).await,
            Self::ForwardEndpointDown => forward::endpoint_down(name, run).await,
            Self::DirectKill => local::direct_kill(name, run).await,
            Self::DirectOutage => local::direct_outage(name, run).await,
            Self::EmbeddedPowerCut => power::embedded(name, run).await,
            Self::DirectPowerCut => power::direct(name, run).await,
            Self::RedisKill => redis::kill(name, run).await,
            Self::RedisPowerCut => redis::power_cut(name, run).await,
            Self::RedisStopped => redis::stopped(name, run).await,
            Self::RedisFull => redis::full(name, run).await,
            Self::PostgresDown => postgres::down(name, run).await,
            Self::PostgresKill => postgres::kill(name, run).await,
            Self::PostgresLocked => postgres::locked(name, run).await,
            Self::PostgresTimeouts => postgres::timeouts(name, run).await,
            Self::PostgresReadOnly => postgres::read_only(name, run).await,
            Self::RedisRestartBacklog => redis::restart_backlog(name, run).await,
            Self::MarksFull => redis::marks_full(name, run).await,
            Self::TrimPace => redis::trim_pace(name, run).await,
            Self::SentinelStale => sentinel::stale(name, run).await,
            Self::ClockAhead => crowds::clock_ahead(name, run).await,
            Self::SpoolFull => spool::full(name, run).await,
            Self::SpoolDamaged => local::spool_damaged(name, run).await,
            Self::Network => network::network(name, run).await,
            Self::DuplicateStorm => crowds::storm(name, run).await,
            Self::Clocks => crowds::clocks(name, run).await,
            Self::StalledConsumer => crowds::stalled_consumer(name, run).await,
            Self::RollingRestart => processes::rolling_restart(name, run).await,
            Self::Poison => poison::poison(name, run).await,
            Self::Slowloris => clients::slowloris(name, run).await,
            Self::Flood => clients::flood(name, run).await,
            Self::Forgeries => clients::forgeries(name, run).await,
            Self::SilentClients => clients::silent(name, run).await,
            Self::SendCrash => send::crash(name, run).await,
            Self::SendKill => send::kill(name, run).await,
            Self::SendUnknown => send::unknown(name, run).await,
            Self::SendThrottled => send::throttled(name, run).await,
            Self::SendFrozen => send::frozen(name, run).await,
            Self::Chain => send::chain(name, run).await,
            Self::Campaign => campaign::campaign(name, run).await,
            Self::CallbacksLost => send::callbacks_lost(name, run).await,
        }
    }
}
