//! [`Server`]: a public listener on a free port, before a store in a directory of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;
use prometheus::proto::MetricType;
use secrecy::SecretString;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::request::{ACCOUNT, BASE, Request, TOKEN};
use crate::backend::sqlite::{Database, Handles, Query, SqliteStore};
use crate::backend::{Outbox, Store};
use crate::clock::Clock;
use crate::event::{CurrentStatus, Event, EventKey};
use crate::http::Limits;
use crate::inbound::{
    Config, EmailCapacity, ExplanationBudget, Health, HealthPath, Inbound, Metrics, PathPrefix,
    Ration, Room,
};
use crate::lab::test_client::{Client, Response};
use crate::pipeline::Recorder;
use crate::pipeline::batcher::{self, Queue};
use crate::policy::{InboundPolicy, Policy, PolicyInForce};
use crate::recent::refusals::{RecentRefusal, RecentRefusals};
use crate::sendgrid::keys::VerificationKeys;
use crate::spans::Spans;
use crate::twilio::consent::Listening;
use crate::twilio::fallback::{Fallback, VoiceConfirm};
use crate::twilio::keyring::{Account, Keyring, SharedKey};
use crate::twilio::public_url::PublicUrl;
use crate::twilio::twiml::{Medium, Twiml};

/// No test waits for longer.
pub(super) const LONG: Duration = Duration::from_secs(30);

/// What a callee hears after pressing 1, and after another key.
pub(super) const CONFIRMED: &str = "<Response><Say>Thank you</Say></Response>";
pub(super) const NOT_CONFIRMED: &str = "<Response><Say>Press 1</Say></Response>";

/// What is behind the listener.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Behind {
    /// A store.
    Store,
    /// A store that cannot be written: it has no tables.
    BrokenStore,
    /// A queue that is never drained.
    Stuck,
    /// A batcher that has ended.
    Nobody,
}

/// How the listener is set.
pub(super) struct Setup {
    pub(super) behind: Behind,
    pub(super) config: Config,
    pub(super) public_url: &'static str,
    pub(super) accounts: Vec<Account>,
    pub(super) email_keys: VerificationKeys,
    pub(super) fallback: Fallback,
    pub(super) incoming: Twiml,
    pub(super) listening: Listening,
    /// RecentRefusal requests whose cause may be looked for at a time.
    pub(super) explaining: usize,
}

impl Default for Setup {
    fn default() -> Self {
        let config = Config {
            listen: ([127, 0, 0, 1], 0).into(),
            path_prefix: PathPrefix::default(),
            health_path: HealthPath::parse("/healthz").expect("a path"),
            body_limit: 64 * 1024,
            event_body_limit: 1024 * 1024,
            body_timeout: LONG,
            body_memory: 1024 * 1024,
            limits: Limits {
                header_timeout: LONG,
                idle_timeout: LONG,
                request_timeout: LONG,
                max_connections: 100,
                ..Limits::default()
            },
        };
        let fallback = Fallback { voice: Twiml::EMPTY, sms: Twiml::EMPTY, numbers: [].into() };
        let accounts = vec![account(&[TOKEN], &[])];
        Self {
            behind: Behind::Store,
            config,
            public_url: BASE,
            accounts,
            email_keys: VerificationKeys::default(),
            fallback,
            incoming: Twiml::EMPTY,
            listening: Listening::Deaf,
            explaining: 64,
        }
    }
}

impl Setup {
    pub(super) fn inbound(self, recorder: Recorder, registry: &Registry) -> Inbound {
        let room = Room::of(self.config.body_memory);
        let email = EmailCapacity::of(self.config.event_body_limit);
        let keyring = Keyring::new(self.accounts).expect("the account has a secret");
        let keyring = Arc::new(keyring);
        let metrics = Arc::new(Metrics::register(registry).expect("no name is taken"));
        metrics.show_secrets(&keyring, &self.email_keys);
        let voice = |text| Twiml::parse(text, Medium::Voice).expect("it is TwiML");
        let voice_confirm =
            VoiceConfirm { confirmed: voice(CONFIRMED), not_confirmed: voice(NOT_CONFIRMED) };
        let Self { fallback, incoming, listening, .. } = self;
        let privacy = Arc::default();
        let policy = InboundPolicy {
            keyring,
            email_keys: Arc::new(self.email_keys),
            fallback,
            voice_confirm,
            incoming,
            listening,
            privacy,
        };
        let policy = PolicyInForce::new(Policy::new(policy));
        Inbound {
            config: self.config,
            public_url: PublicUrl::parse(self.public_url).expect("a base URL"),
            policy: policy.inbound(),
            recorder,
            clock: Clock::System,
            metrics,
            refusals: Arc::default(),
            health: Health::default(),
            stop: CancellationToken::new(),
            spans: Spans::default(),
            background: TaskTracker::new(),
            explanations: ExplanationBudget::of(self.explaining),
            ration: Ration::default(),
            room,
            email,
        }
    }
}

/// The account of these tests.
pub(super) fn account(tokens: &[&str], keys: &[SharedKey]) -> Account {
    let tokens: Vec<_> = tokens.iter().map(|token| SecretString::from(*token)).collect();
    Account::new(ACCOUNT.into(), "main".into(), &tokens, keys)
}

pub(super) struct Server {
    pub(super) address: SocketAddr,
    registry: Registry,
    store: Query,
    stuck: Option<(Recorder, Queue)>,
    outbox: Option<Outbox>,
    pub(super) refusals: Arc<RecentRefusals>,
    pub(super) health: Health,
    /// Cancelled by a signal to the process.
    pub(super) stopping: CancellationToken,
    stop: CancellationToken,
    listener: JoinHandle<()>,
    batcher: JoinSet<()>,
    _directory: TempDir,
}

impl Server {
    pub(super) async fn start() -> Self {
        Self::start_with(Setup::default()).await
    }

    pub(super) async fn start_behind(behind: Behind) -> Self {
        Self::start_with(Setup { behind, ..Setup::default() }).await
    }

    pub(super) async fn start_with(setup: Setup) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let url = format!("sqlite:{}", directory.path().join("offhook.db").display());
        let database = Arc::new(Database::lock(&url).expect("a file of our own"));
        if setup.behind != Behind::BrokenStore {
            database.migrate().await.expect("a new file");
        }
        let store = Query::new(&database);
        let (recorder, queue) = batcher::channel();
        let (mut batcher, mut stuck, mut outbox) = (JoinSet::new(), None, None);
        match setup.behind {
            Behind::Store | Behind::BrokenStore => {
                let sink = SqliteStore::open(database).await.expect("a new file");
                outbox = Some(Store::Sqlite(Handles::new(&sink)).outbox());
                batcher.spawn(batcher::run(queue, sink));
            }
            Behind::Stuck => stuck = Some((recorder.clone(), queue)),
            Behind::Nobody => drop(queue),
        }
        let registry = Registry::new();
        let inbound = setup.inbound(recorder, &registry);
        let listener = TcpListener::bind(inbound.config.listen).await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (refusals, health) = (Arc::clone(&inbound.refusals), inbound.health.clone());
        let (stop, stopping) = (CancellationToken::new(), inbound.stop.clone());
        #[expect(clippy::disallowed_methods, reason = "`stop` waits for it")]
        let listener = tokio::spawn(inbound.run(listener, stop.clone()));
        Self {
            address,
            registry,
            store,
            stuck,
            outbox,
            refusals,
            health,
            stopping,
            stop,
            listener,
            batcher,
            _directory: directory,
        }
    }

    pub(super) async fn client(&self) -> Client {
        Client::connect(self.address).await
    }

    /// One request on a connection of its own.
    pub(super) async fn ask(&self, request: &Request) -> Response {
        let mut client = self.client().await;
        client.send(request.bytes()).await;
        client.response().await.expect("an answer")
    }

    /// What is stored, sorted by key.
    pub(super) async fn stored(&self) -> Vec<Event> {
        let stored = self.store.all_events().await.expect("the store can be read");
        stored.into_iter().map(|stored| stored.event).collect()
    }

    pub(super) async fn stored_keys(&self) -> Vec<EventKey> {
        self.stored().await.into_iter().map(|event| event.key).collect()
    }

    /// What is true now, by SID.
    pub(super) async fn statuses(&self) -> Vec<CurrentStatus> {
        self.store.all_statuses().await.expect("the store can be read")
    }

    /// What is kept of recipients.
    pub(super) fn outbox(&self) -> &Outbox {
        self.outbox.as_ref().expect("there is a store")
    }

    /// The recorder in front of the queue that is never drained.
    pub(super) fn recorder(&self) -> &Recorder {
        &self.stuck.as_ref().expect("the queue is stuck").0
    }

    pub(super) fn metric(&self, name: &str) -> Vec<String> {
        metric(&self.registry, name)
    }

    /// Waits for a refusal that is remembered: that is done after its answer.
    pub(super) async fn until_refused(
        &self,
        wanted: impl Fn(&RecentRefusal) -> bool,
    ) -> RecentRefusal {
        let found = async {
            loop {
                if let Some(refused) = self.refusals.last().into_iter().find(&wanted) {
                    return refused;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(LONG, found).await.expect("it is remembered")
    }

    /// Waits until a metric reads so.
    pub(super) async fn until_metric(&self, name: &str, expected: &[&str]) {
        let reads_so = async {
            while self.metric(name) != expected {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let in_time = timeout(LONG, reads_so).await;
        in_time.unwrap_or_else(|_| panic!("{name} is {:?}, not {expected:?}", self.metric(name)));
    }

    /// Stops it; nothing may be left undone.
    pub(super) async fn stop(mut self) {
        drop(self.stuck.take());
        self.stop.cancel();
        let listener = timeout(LONG, &mut self.listener).await;
        listener.expect("the listener ends").expect("it does not panic");
        let batcher = timeout(LONG, std::mem::take(&mut self.batcher).join_all()).await;
        batcher.expect("the batcher ends when nobody can record any more");
        assert_eq!(self.metric("offhook_connections"), [""; 0]);
    }
}

/// Every series of a counter or a gauge that is not zero, as `label,label=value`.
pub(super) fn metric(registry: &Registry, name: &str) -> Vec<String> {
    let families = registry.gather();
    let family = families.iter().find(|family| family.name() == name);
    let family = family.unwrap_or_else(|| panic!("{name} is no metric"));
    let series = family.get_metric().iter().filter_map(|metric| {
        let value = match family.get_field_type() {
            MetricType::GAUGE => metric.get_gauge().get_value(),
            _ => metric.get_counter().get_value(),
        };
        let labels: Vec<_> = metric.get_label().iter().map(|label| label.value()).collect();
        (value != 0.0).then(|| format!("{}={value}", labels.join(",")))
    });
    series.collect()
}
