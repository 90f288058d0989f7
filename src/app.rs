//! Assembly: a [`Config`] becomes tasks and listeners. The only place that distinguishes the modes.
//!
//! The order of stopping is the promise at work: first the public listener, which answers what it
//! accepted; then the batcher, which ends when the last recorder is gone; then the worker, which holds nothing
//! any more; last the admin listener and the traces, so that the end can be watched.

pub(crate) mod console;
mod forwards;
mod local;
mod local_log;
mod reload;
mod retention;
mod scaled;
mod sender;
mod sending;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use arc_swap::ArcSwap;
use prometheus::Registry;
use secrecy::{ExposeSecret, SecretString};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use self::forwards::Forwarding;
pub use self::reload::Reloader;
use self::retention::Retentions;
use crate::admin::{Admin, FeedDoors, ForwardDoors, SendDoors};
use crate::backend::local_log::LocalLog;
use crate::backend::postgres::Listen;
use crate::backend::purge::Purge;
use crate::backend::{
    Backend, DurabilityReport, DurabilityReports, Forwards, Need, Outbox, Probe, Reads,
};
use crate::clock::Clock;
use crate::config::{self, Config, Deployment};
use crate::event::consent::AddressKey;
use crate::forward;
use crate::inbound::{Health, Inbound};
use crate::outbound::{self, InForce, SendMetrics};
use crate::pipeline::spooled::AnswerAfter;
use crate::pipeline::{Recorder, Sink, batcher};
use crate::policy::{InboundPolicy, Part, PolicyInForce};
use crate::process::{self, Connections};
use crate::recent::events::RecentEvents;
use crate::recent::refusals::RecentRefusals;
use crate::spans::Spans;
use crate::tasks::{StopError, Tasks};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::reloads::Reloads;
use crate::upkeep::calls::CallsInProgress;
use crate::upkeep::durability::DurabilityMonitor;
use crate::upkeep::feed_watch::{self, FeedWatchKeeper, Wakes};
use crate::upkeep::health::HealthWatch;
use crate::upkeep::local_log::{LocalLogKeeper, Stands};
use crate::{admin, inbound, telemetry, upkeep};

/// A server that runs.
pub struct Running {
    /// The address of the public listener; `None` for a worker and a sender.
    pub inbound: Option<SocketAddr>,
    /// The address of the admin listener.
    pub admin: SocketAddr,
    /// Changes what may change without a restart.
    pub reloader: Reloader,
    tasks: Tasks,
}

impl Running {
    /// Waits until the server has stopped.
    ///
    /// # Errors
    /// A task ended by itself, or some did not end in time.
    pub async fn stopped(self) -> Result<(), StopError> {
        self.tasks.stopped().await
    }
}

/// The sockets of both listeners.
#[derive(Debug)]
pub struct Listeners {
    /// The public one; `None` for a worker and a sender.
    pub inbound: Option<TcpListener>,
    /// The private one.
    pub admin: TcpListener,
}

impl Listeners {
    /// The listeners of the configuration.
    ///
    /// # Errors
    /// An address cannot be listened on.
    pub async fn bind(config: &Config) -> anyhow::Result<Self> {
        let inbound = match config.deployment.receives() {
            true => Some(bind(config.inbound.listen, "inbound.listen").await?),
            false => None,
        };
        Ok(Self { inbound, admin: bind(config.admin.listen, "admin.listen").await? })
    }
}

/// Starts everything that the configuration asks for, and returns once it serves.
///
/// # Errors
/// The embedded store cannot be opened. A Redis or Postgres that is down is not an error: it may come
/// back.
pub async fn start(
    mut config: Config,
    listeners: Listeners,
    stop: CancellationToken,
) -> anyhow::Result<Running> {
    let registry = Registry::new();
    telemetry::log::register(&registry)?;
    let connections = allowed_connections(&mut config);
    let mut tasks = Tasks::new(stop);
    let (watching, until) = tasks.watching();
    let spans = telemetry::start_traces(&config, &registry, watching, &until)?;
    let metrics = Metrics::new(&registry, spans.clone(), config.clock)?;
    let retained = upkeep::retention::Metrics::register(&registry)?;
    let policy = PolicyInForce::new(reload::policy(&config, config.listening.clone()));
    let forwarded = forward::Metrics::register(&registry)?;
    let forwarding = Forwarding::new(&config, &policy, forwarded, tasks.stop())?;
    let needed = forwarding.needed();
    let retentions = Retentions::new(&config, &policy, needed, retained.clone(), tasks.stop());
    let sends = config.outbound.as_ref().filter(|_| config.deployment.sends());
    let send_metrics = sends.map(|config| SendMetrics::register(&registry, config)).transpose()?;
    let parts = build(&config, &metrics, retentions, forwarding.clone(), &mut tasks).await?;
    let Parts {
        reader,
        outbox,
        feed,
        feed_wakes,
        forwards,
        probes,
        recorder,
        durabilities,
        purge,
        live,
    } = parts;
    watch_feed(&feed, feed_wakes, &registry, &mut tasks)?;
    if config.deployment.stores() {
        count_calls(&config, reader.clone(), metrics.clone(), &mut tasks);
    }

    let in_force = config.outbound.clone().map(InForce::new);
    let send_routes = sending::start(
        &config,
        policy.privacy(),
        in_force.as_ref(),
        &outbox,
        send_metrics.clone(),
        spans.clone(),
        &mut tasks,
    )?;
    let refusals = Arc::new(RecentRefusals::default());
    let reloads = Reloads::new(&registry, config.clock.now())?;
    let mut handles = console::handles(&metrics, &reloads, &retained);
    handles.forwards = forwarding.handles();
    handles.sending = send_metrics.as_ref().map(console::sending);
    let clock = config.clock;
    if let Some((metrics, config)) = send_metrics.clone().zip(in_force.clone()) {
        let outbox = outbox.clone();
        let watch = outbound::watch::Watch { outbox, config, metrics, clock };
        tasks.spawn("watch of sending", watch.run(tasks.stop()));
    }
    let senders = Arc::new(ArcSwap::from_pointee(console::senders(config.outbound.as_ref())));
    let mut reloader = Reloader {
        started_with: config.restart_only.clone(),
        policy: policy.clone(),
        inbound: None,
        forwarding: forwarding.clone(),
        sending: reload::Sending {
            config: in_force,
            metrics: send_metrics,
            shown: Arc::clone(&senders),
        },
        metrics: reloads,
        clock: config.clock,
    };
    let inbound = match recorder.zip(listeners.inbound) {
        Some((recorder, listener)) => {
            let (address, stop) = (listener.local_addr()?, tasks.stop());
            let metrics = Arc::new(inbound::Metrics::register(&registry)?);
            metrics.show_secrets(&config.keyring, &config.email_keys);
            handles.receiving = Some(console::receiving(&metrics));
            reloader.inbound = Some(Arc::clone(&metrics));
            let (policy, refusals) = (policy.inbound(), Arc::clone(&refusals));
            let service = receiver(&config, policy, recorder, spans, metrics, refusals, &stop);
            let health = service.health.clone();
            let show = move |is_ready| health.set(is_ready);
            let watch = HealthWatch { probes: probes.clone(), show };
            tasks.spawn("health watch", watch.run(stop.clone()));
            tasks.spawn("public listener", service.run(listener, stop));
            Some(address)
        }
        None => None,
    };

    let (token, read_token) = (config.admin.token.clone(), config.admin.read_token.clone());
    let auth = admin::Auth::new(token, read_token, &registry)?;
    let suppression_key = config.outbound.as_ref().and_then(|it| it.suppression_key.as_ref());
    let address_key = suppression_key.map(AddressKey::new);
    let admin = Admin {
        registry,
        handles,
        reader,
        forwards: ForwardDoors {
            forwards,
            feed: feed.feed.clone(),
            configured: forwarding.shown(),
        },
        sending: SendDoors { outbox, configured: senders, address_key },
        feed,
        probes,
        durabilities,
        dead_letters: purge.dead_letters.clone(),
        purge,
        live,
        refusals,
        privacy: policy.privacy(),
        last_hour: admin::LastHour::default(),
        runbook: config.admin.runbook.clone(),
        send_routes,
        auth,
        clock: config.clock,
        stop: tasks.stop(),
    };
    let admin_address = listeners.admin.local_addr()?;
    let (watching, until) = tasks.watching();
    watching.spawn(admin.run(listeners.admin, connections.admin, until));

    let console = format!("http://{admin_address}/");
    info!(
        inbound = inbound.map(tracing::field::display),
        admin = %admin_address,
        console,
        "offhook runs"
    );
    Ok(Running { inbound, admin: admin_address, reloader, tasks })
}

/// What the deployment gives to the services.
async fn build(
    config: &Config,
    metrics: &Metrics,
    retentions: Retentions,
    forwarding: Forwarding,
    tasks: &mut Tasks,
) -> anyhow::Result<Parts> {
    let Config { migrate, notify, clock, .. } = *config;
    let builder = Builder { migrate, notify, clock, metrics, retentions, forwarding, tasks };
    match &config.deployment {
        Deployment::Embedded { log, store } => builder.embedded(log, store).await,
        Deployment::Direct { log, store, listen } => {
            builder.direct(log, store, listen.as_ref()).await
        }
        Deployment::Scaled(scaled) => builder.scaled(scaled).await,
        Deployment::Sender { store, listen } => builder.sender(store, listen.as_ref()).await,
    }
}

fn watch_feed(
    doors: &FeedDoors,
    wakes: Wakes,
    registry: &Registry,
    tasks: &mut Tasks,
) -> prometheus::Result<()> {
    let metrics = feed_watch::Metrics::register(registry)?;
    let (watch, feed) = (doors.watch.clone(), doors.feed.clone());
    let keeper = FeedWatchKeeper { watch, feed, wakes, metrics };
    tasks.spawn("watch of the feed", keeper.run(tasks.stop()));
    Ok(())
}

fn count_calls(config: &Config, reader: Reads, metrics: Metrics, tasks: &mut Tasks) {
    metrics.show_calls_limit(config.calls.limit);
    let (max_age, clock) = (config.calls.max_age, config.clock);
    let show = move |in_progress| metrics.show_in_progress(in_progress);
    let calls = CallsInProgress { reader, max_age, clock, show };
    tasks.spawn("watch of calls", calls.run(tasks.stop()));
}

fn receiver(
    config: &Config,
    policy: Part<InboundPolicy>,
    recorder: Recorder,
    spans: Spans,
    metrics: Arc<inbound::Metrics>,
    refusals: Arc<RecentRefusals>,
    stop: &CancellationToken,
) -> Inbound {
    Inbound {
        config: config.inbound.clone(),
        metrics,
        policy,
        public_url: config.public_url.clone(),
        recorder,
        clock: config.clock,
        spans,
        refusals,
        health: Health::default(),
        stop: stop.clone(),
        background: TaskTracker::new(),
        explanations: inbound::ExplanationBudget::default(),
        ration: inbound::Ration::default(),
        room: inbound::Room::of(config.inbound.body_memory),
        email: inbound::EmailCapacity::of(config.inbound.event_body_limit),
    }
}

/// What every mode is built with.
struct Builder<'a> {
    migrate: bool,
    notify: bool,
    clock: Clock,
    metrics: &'a Metrics,
    retentions: Retentions,
    forwarding: Forwarding,
    tasks: &'a mut Tasks,
}

impl Builder<'_> {
    /// Reads the durability in force, now and periodically.
    ///
    /// # Errors
    /// A setting breaks the promise.
    async fn watch_durability(
        &mut self,
        backends: Vec<Probe>,
        durabilities: &DurabilityReports,
        answer_after: AnswerAfter,
    ) -> anyhow::Result<()> {
        let (in_force, metrics) = (durabilities.clone(), self.metrics.clone());
        let show = move |backend: Backend, in_force: &DurabilityReport, is_below: bool| {
            metrics.show_durability(backend, in_force, is_below);
        };
        let monitor = DurabilityMonitor { backends, in_force, answer_after, show };
        monitor.look().await?;
        self.tasks.spawn("durability watch", monitor.run(self.tasks.stop()));
        Ok(())
    }

    /// How this process finds out that the feed has grown.
    ///
    /// # Errors
    /// The URL is not valid.
    fn feed_wakes(listen: Option<&SecretString>) -> anyhow::Result<Wakes> {
        match listen.map(|url| Listen::new(url.expose_secret())) {
            Some(listen) => Ok(Wakes::Listen(listen.context("store.listen_url")?)),
            None => Ok(Wakes::Poll),
        }
    }

    /// Opens the local log, and looks after it.
    ///
    /// # Errors
    /// Its directory cannot be used.
    async fn open_local_log(
        &mut self,
        log: &config::LocalLog,
        stands: Stands,
    ) -> anyhow::Result<LocalLog> {
        let log = local_log::open(log).await?;
        self.retentions.spawn_local_log(&log, self.tasks);
        let metrics = self.metrics.clone();
        let show = move |state| local_log::show(&metrics, state);
        let keeper = LocalLogKeeper { log: log.clone(), stands, clock: self.clock, show };
        self.tasks.spawn("local log", keeper.run(self.tasks.stop()));
        Ok(log)
    }

    /// Group commit before a sink; it ends when nothing can record any more.
    fn spawn_batcher(&mut self, sink: impl Sink) -> Recorder {
        let (recorder, queue) = batcher::channel();
        self.tasks.spawn("batcher", batcher::run(queue, sink));
        recorder
    }
}

/// What a mode gives to the services.
struct Parts {
    reader: Reads,
    outbox: Outbox,
    feed: FeedDoors,
    feed_wakes: Wakes,
    forwards: Forwards,
    probes: Vec<(Need, Probe)>,
    /// `None` for a worker and a sender.
    recorder: Option<Recorder>,
    durabilities: DurabilityReports,
    purge: Purge,
    live: RecentEvents,
}

/// How many connections there may be, as far as files go: each is one, and with none left there is neither
/// a health check nor a commit.
fn allowed_connections(config: &mut Config) -> Connections {
    let wanted = config.inbound.limits.max_connections;
    let allowed = Connections::within(process::most_files(), wanted);
    let fewer = allowed.public;
    if (1..wanted).contains(&fewer) {
        if config.deployment.receives() {
            warn!(
                wanted,
                allowed = fewer,
                "fewer connections than inbound.max_connections: the limit on open files is too low"
            );
        }
        config.inbound.limits.max_connections = fewer;
    }
    allowed
}

async fn bind(address: SocketAddr, key: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("{key}: cannot listen on {address}"))
}
