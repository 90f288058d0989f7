//! What a callback costs, piece by piece, without a network and without a disk.

use std::hint::black_box;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use bytes::Bytes;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use offhook::clock::{Clock, Timestamp};
use offhook::config::{Config, Role, Sources};
use offhook::event::{Batch, CurrentStatus, Event, Route, codec};
use offhook::inbound::{Health, Inbound, Metrics};
use offhook::lab::sample::{self, Parties, Signed};
use offhook::pipeline::{CommitError, Outcome, Sink, batcher};
use offhook::policy::{InboundPolicy, Policy, PolicyInForce};
use offhook::spans::Spans;
use offhook::twilio::callback::{Arrival, events};
use offhook::twilio::details::EventDetails;
use offhook::twilio::keyring::{Account, Keyring, Secret};
use offhook::twilio::params::Params;
use offhook::twilio::signature::{Claim, Content, SIGNATURE_HEADER, SignedRequest};
use prometheus::Registry;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

const ACCOUNT: &str = "AC00000000000000000000000000000001";
const TOKEN: &str = "00000000000000000000000000000a01";
const SID: &str = "CA0123456789abcdef0123456789abcdef";
const URL: &str = "https://hooks.example.com/status";

/// The last callback of a call, with 23 parameters.
struct Fixture {
    config: Config,
    keyring: Arc<Keyring>,
    request: Signed,
    claim: Claim,
    at: Timestamp,
}

impl Fixture {
    fn new() -> Self {
        let environment = [
            ("OFFHOOK_PUBLIC_URL", "https://hooks.example.com"),
            ("TWILIO_ACCOUNT_SID", ACCOUNT),
            ("TWILIO_AUTH_TOKEN", TOKEN),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let sources = Sources { file: None, environment: environment.into() };
        let config = Config::load(&sources, Role::All).expect("they are all that is needed");
        let keyring = Arc::clone(&config.keyring);
        let at = Timestamp::from_micros(1_764_000_000_000_000);
        let (from, to) = ("+12015550100".to_owned(), "+12015550101".to_owned());
        let parties = Parties { account: ACCOUNT.to_owned(), from, to, at };
        let secret = Secret::auth_token(&TOKEN.into());
        let request = sample::call(&parties, SID, "completed", 3).post(URL, &secret);
        let claim = Claim::parse([request.signature.as_bytes()], None).expect("well-formed");
        Self { config, keyring, request, claim, at }
    }

    fn events(&self) -> Vec<Event> {
        let request =
            SignedRequest::new(URL, Content::Form, &self.request.body, self.claim.clone());
        let request = request.verify(&self.keyring).expect("it is signed");
        events(&request, self.arrival(), &self.config.privacy).expect("it names an account")
    }

    fn arrival(&self) -> Arrival<'static> {
        Arrival { route: Route::Status, token: None, at: self.at }
    }

    fn event(&self) -> Event {
        self.events().remove(0)
    }

    /// As it is asked by the listener.
    fn http(&self) -> Request<Body> {
        let content_type = self.request.content_type().expect("a POST has one");
        Request::post("/status")
            .header("content-type", content_type)
            .header(SIGNATURE_HEADER, &self.request.signature)
            .body(Body::from(self.request.body.clone()))
            .expect("the parts are valid")
    }
}

fn signature(c: &mut Criterion) {
    let fixture = Fixture::new();
    let body = &fixture.request.body;
    c.bench_function("parse_form", |b| b.iter(|| Params::parse(black_box(body))));
    c.bench_function("verify", |b| {
        b.iter(|| {
            let claim = fixture.claim.clone();
            let request = SignedRequest::new(URL, Content::Form, black_box(body), claim);
            request.verify(&fixture.keyring).is_ok()
        });
    });
    c.bench_function("verify_and_make_events", |b| b.iter(|| fixture.events()));
    c.bench_function("make_events", |b| {
        let request = SignedRequest::new(URL, Content::Form, body, fixture.claim.clone());
        let request = request.verify(&fixture.keyring).expect("it is signed");
        b.iter(|| events(black_box(&request), fixture.arrival(), &fixture.config.privacy));
    });
}

/// What forged forms of 64 kB cost that are made to cost the most, with 20 accounts of two tokens.
fn forgeries(c: &mut Criterion) {
    const LENGTH: usize = 64 * 1024;
    let sid = |n: usize| format!("AC{n:032x}");
    let accounts = (1..=20).map(|n| {
        let tokens = [format!("a{n}").into(), format!("b{n}").into()];
        Account::new(sid(n), format!("account_{n}"), &tokens, &[])
    });
    let keyring = Keyring::new(accounts.collect()).expect("each has tokens");
    let url = "https://hooks.example.com/status?x='&y=%27&z=+%20:%3A";
    let claim = Claim::parse([&b"AAAAAAAAAAAAAAAAAAAAAAAAAAA="[..]], None).expect("well-formed");
    let mut refuse = |name: &str, account: &str, pairs: &mut dyn Iterator<Item = String>| {
        let mut form = format!("{account}Bad=%FF");
        pairs.for_each(|pair| form.push_str(&pair));
        form.truncate(LENGTH - "&z=".len());
        let rest = "x".repeat(LENGTH - form.len());
        let body = Bytes::from(format!("{form}&z={rest}"));
        c.bench_function(&format!("refuse_{name}"), |b| {
            b.iter(|| {
                let claim = claim.clone();
                let request = SignedRequest::new(url, Content::Form, black_box(&body), claim);
                request.verify(&keyring).is_err()
            });
        });
    };
    let [known, unknown] = [20, 99].map(|n| format!("AccountSid={}&", sid(n)));
    let unsorted = |count: u32| (0..count).rev().map(|n| format!("&n{n}=x"));
    refuse("long", &known, &mut unsorted(1));
    refuse("900_pairs", &known, &mut unsorted(900));
    refuse("900_pairs_of_no_account", "", &mut unsorted(900));
    refuse("7000_pairs", &known, &mut unsorted(7_000));
    refuse("7000_pairs_of_an_unknown_account", &unknown, &mut unsorted(7_000));
    // Scattered by a multiplier that is odd, so that none is there twice.
    let scattered = (0..16_000_u32).map(|n| format!("&{:x}", n.wrapping_mul(40_503) & 0xffff));
    refuse("16000_pairs", &known, &mut { scattered });
    refuse("30000_pairs", &known, &mut (0..30_000).map(|_| "&a".to_owned()));
}

fn codec_and_merge(c: &mut Criterion) {
    let event = Fixture::new().event();
    let fields = || {
        let mut fields = Vec::new();
        codec::encode(&event, |name, value| {
            fields.push((Bytes::from_static(name.as_bytes()), Bytes::copy_from_slice(value)));
        });
        fields
    };
    c.bench_function("encode", |b| {
        b.iter(|| codec::encode(black_box(&event), |name, value| _ = black_box((name, value))));
    });
    c.bench_function("decode", |b| {
        b.iter_batched(fields, codec::decode, BatchSize::SmallInput);
    });
    c.bench_function("details", |b| b.iter(|| EventDetails::of(black_box(&event))));
    let row = EventDetails::of(&event).current.expect("a call has a status");
    let rows = || (row.clone(), row.clone());
    c.bench_function("merge_statuses", |b| {
        b.iter_batched(
            rows,
            |(one, other)| CurrentStatus::merge(one, other),
            BatchSize::SmallInput,
        );
    });
}

/// Makes nothing durable, at once.
struct Nowhere;

impl Sink for Nowhere {
    async fn commit(&self, _: &Batch) -> Result<Outcome, CommitError> {
        Ok(Outcome::Appended)
    }
}

/// Everything between the HTTP parser and the store, with the batcher's task beside it.
fn inbound(c: &mut Criterion) {
    let fixture = Fixture::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("the system has an event queue");
    let (recorder, queue) = batcher::channel();
    let mut tasks = JoinSet::new();
    tasks.spawn_on(batcher::run(queue, Nowhere), runtime.handle());
    let policy = Policy::new(InboundPolicy {
        email_keys: std::sync::Arc::default(),
        keyring: Arc::clone(&fixture.config.keyring),
        fallback: fixture.config.fallback.clone(),
        incoming: fixture.config.incoming.clone(),
        voice_confirm: fixture.config.voice_confirm.clone(),
        listening: fixture.config.listening.clone(),
        privacy: Arc::clone(&fixture.config.privacy),
    });
    let metrics = Arc::new(Metrics::register(&Registry::new()).expect("no name is taken"));
    let router: Router = Inbound {
        config: fixture.config.inbound.clone(),
        policy: PolicyInForce::new(policy).inbound(),
        public_url: fixture.config.public_url.clone(),
        recorder,
        clock: Clock::System,
        metrics,
        refusals: Arc::default(),
        spans: Spans::default(),
        health: Health::default(),
        stop: CancellationToken::new(),
        background: TaskTracker::new(),
        explanations: offhook::inbound::ExplanationBudget::default(),
        ration: offhook::inbound::Ration::default(),
        room: offhook::inbound::Room::of(1 << 20),
        email: offhook::inbound::EmailCapacity::of(1 << 20),
    }
    .router();
    c.bench_function("inbound", |b| {
        b.iter(|| {
            let answer = runtime.block_on(router.clone().oneshot(fixture.http()));
            assert!(answer.is_ok_and(|answer| answer.status().is_success()), "it is accepted");
        });
    });
}

criterion_group!(benches, signature, forgeries, codec_and_merge, inbound);
criterion_main!(benches);
