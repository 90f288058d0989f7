//! Assembly: a [`Config`] becomes tasks and listeners. The only place that tells the modes apart.
//!
//! The order of stopping is the promise at work: first the public listener, which answers what it
//! accepted; then the batcher, which ends when nobody can record any more; the worker, with nothing
//! left in hand; last the admin listener and the traces, so that the end can be watched.

mod local;
mod reload;
mod retention;
mod scaled;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use arc_swap::ArcSwap;
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use self::local::Local;
pub use self::reload::Reloader;
use self::retention::Retention;
use crate::admin::Admin;
use crate::backend::purge::Purge;
use crate::backend::{DurabilityReports, Need, Probe, Reads};
use crate::config::{Config, Deployment};
use crate::inbound::{Health, Inbound, TermsInForce};
use crate::pipeline::{Recorder, Sink, batcher};
use crate::process::{self, Connections};
use crate::recent::events::RecentEvents;
use crate::recent::refusals::RecentRefusals;
use crate::spans::Spans;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::reloads::Reloads;
use crate::{admin, inbound, telemetry, upkeep};

/// Longest wait for everything to finish once told to stop. Orchestrators kill after 30 s.
const STOP_WITHIN: Duration = Duration::from_secs(25);

/// A server that runs.
pub struct Running {
    /// Where callbacks are taken; `None` for a worker.
    pub inbound: Option<SocketAddr>,
    /// Where metrics, health and API are.
    pub admin: SocketAddr,
    /// Changes what may change without a restart.
    pub reloader: Reloader,
    tasks: JoinSet<&'static str>,
    watching: JoinSet<()>,
    stop: CancellationToken,
    stop_watching: CancellationToken,
}

impl Running {
    /// Waits until the server was told to stop and has.
    ///
    /// # Errors
    /// A task ended by itself, or some did not end in time.
    pub async fn stopped(mut self) -> anyhow::Result<()> {
        let ended = tokio::select! {
            ended = self.tasks.join_next() => ended,
            () = self.stop.cancelled() => None,
        };
        let by_itself = ended.map(|ended| describe(&ended)).filter(|_| !self.stop.is_cancelled());
        if let Some(what) = &by_itself {
            error!(task = %what, "a task ended by itself: stopping");
        }
        self.stop.cancel();
        let rest = async {
            while let Some(ended) = self.tasks.join_next().await {
                if let Err(error) = ended {
                    error!(error = %error, "a task panicked");
                }
            }
        };
        let in_time = timeout(STOP_WITHIN, rest).await.is_ok();
        self.stop_watching.cancel();
        let watched = async { while self.watching.join_next().await.is_some() {} };
        let _ = timeout(Duration::from_secs(1), watched).await;
        anyhow::ensure!(in_time, "not everything finished within {} s", STOP_WITHIN.as_secs());
        anyhow::ensure!(
            by_itself.is_none(),
            "the {} ended by itself",
            by_itself.unwrap_or_default()
        );
        Ok(())
    }
}

fn describe(ended: &Result<&'static str, tokio::task::JoinError>) -> String {
    match ended {
        Ok(name) => (*name).to_owned(),
        Err(error) => error.to_string(),
    }
}

/// The sockets of both listeners.
#[derive(Debug)]
pub struct Listeners {
    /// The public one; `None` for a worker.
    pub inbound: Option<TcpListener>,
    /// The private one.
    pub admin: TcpListener,
}

impl Listeners {
    /// Those that the configuration asks for.
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
/// The embedded store cannot be opened. A Redis or Postgres that is away is no error: it may come
/// back.
pub async fn start(
    mut config: Config,
    listeners: Listeners,
    stop: CancellationToken,
) -> anyhow::Result<Running> {
    let registry = Registry::new();
    telemetry::log::register(&registry)?;
    let connections = allowed_connections(&mut config);
    // They go on until the end, so that it can be watched.
    let (mut watching, stop_watching) = (JoinSet::new(), CancellationToken::new());
    let spans = telemetry::start_traces(&config, &registry, &mut watching, &stop_watching)?;
    let metrics = Metrics::new(&registry, spans.clone())?;
    let retention = Retention::new(config.retention, config.clock, &registry, stop.clone())?;
    let mut tasks = JoinSet::new();
    let (migrate, tasks_of) = (config.migrate, &mut tasks);
    let Parts { reader, probes, recorder, durabilities, purge, live } = match &config.deployment {
        Deployment::Embedded { log, store } => {
            let local =
                Local { migrate, metrics: &metrics, retention, tasks: tasks_of, stop: &stop };
            local.embedded(log, store).await?
        }
        Deployment::Direct { log, store } => {
            let local =
                Local { migrate, metrics: &metrics, retention, tasks: tasks_of, stop: &stop };
            local.direct(log, store).await?
        }
        Deployment::Scaled(scaled) => {
            scaled::build(scaled, migrate, &metrics, retention, tasks_of, &stop).await?
        }
    };

    if config.deployment.stores() {
        metrics.show_calls_limit(config.calls.limit);
        tasks.spawn(upkeep::calls::watch(reader.clone(), config.calls, metrics, stop.clone()));
    }

    let refusals = Arc::new(RecentRefusals::default());
    let privacy = Arc::new(ArcSwap::new(Arc::clone(&config.privacy)));
    let mut reloader = Reloader {
        started_with: config.restart_only.clone(),
        terms: None,
        privacy: Arc::clone(&privacy),
        metrics: Reloads::new(&registry, config.clock.now())?,
        clock: config.clock,
    };
    let inbound = match recorder.zip(listeners.inbound) {
        Some((recorder, listener)) => {
            let address = listener.local_addr()?;
            let service = inbound_service(&config, recorder, spans, &registry, &refusals, &stop)?;
            reloader.terms = Some(Arc::clone(&service.terms));
            tasks.spawn(upkeep::health::watch(
                probes.clone(),
                service.health.clone(),
                stop.clone(),
            ));
            let stop = stop.clone();
            tasks.spawn(async move {
                service.run(listener, stop).await;
                "public listener"
            });
            Some(address)
        }
        None => None,
    };

    let gate = admin::Gate::new(config.admin.token.clone());
    let gate = gate.with_read_token(config.admin.read_token.clone());
    gate.register(&registry)?;
    let admin = Admin {
        registry,
        reader,
        probes,
        durabilities,
        dead_letters: purge.dead_letters.clone(),
        purge,
        live,
        refusals,
        privacy,
        watch: admin::Watch::default(),
        gate,
        stop: stop.clone(),
    };
    let admin_address = listeners.admin.local_addr()?;
    watching.spawn(admin.run(listeners.admin, connections.admin, stop_watching.clone()));

    info!(inbound = inbound.map(tracing::field::display), admin = %admin_address, "offhook runs");
    Ok(Running { inbound, admin: admin_address, reloader, tasks, watching, stop, stop_watching })
}

/// What a mode gives to the services.
struct Parts {
    reader: Reads,
    probes: Vec<(Need, Probe)>,
    /// `None` for a worker.
    recorder: Option<Recorder>,
    durabilities: DurabilityReports,
    purge: Purge,
    live: RecentEvents,
}

/// Group commit before a sink; it ends when nobody can record any more.
fn spawn_batcher(sink: impl Sink, tasks: &mut JoinSet<&'static str>) -> Recorder {
    let (recorder, queue) = batcher::channel();
    tasks.spawn(async move {
        batcher::run(queue, sink).await;
        "batcher"
    });
    recorder
}

fn inbound_service(
    config: &Config,
    recorder: Recorder,
    spans: Spans,
    registry: &Registry,
    refusals: &Arc<RecentRefusals>,
    stop: &CancellationToken,
) -> anyhow::Result<Inbound> {
    let metrics = Arc::new(inbound::Metrics::new(registry)?);
    let terms = TermsInForce::new(reload::terms(config), Arc::clone(&metrics));
    Ok(Inbound {
        config: config.inbound.clone(),
        metrics,
        terms: Arc::new(terms),
        public_url: config.public_url.clone(),
        recorder,
        clock: config.clock,
        spans,
        refusals: Arc::clone(refusals),
        health: Health::default(),
        stop: stop.clone(),
        background: TaskTracker::new(),
        explanations: inbound::ExplanationBudget::default(),
        ration: inbound::Ration::default(),
        room: inbound::Room::of(config.inbound.body_memory),
    })
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
