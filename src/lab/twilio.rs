//! [`Simulator`]: a pretend Twilio and SendGrid. It creates, fetches and lists messages and calls as Twilio's REST API does, reports
//! their statuses by signed callbacks, presses a key where a call asks for one, and misbehaves as its [`Behaviour`] says. It has numbers and Messaging Services, whose
//! URLs can be listed and changed; it requests none of them. As SendGrid it takes emails, and reports them by signed events.
//!
//! It keeps its own [`Ledger`] of what it was asked and what it made of it, whatever it answered. So a test can
//! compare what offhook knows with what happened.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use secrecy::SecretString;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::behaviour::Fate;
pub use self::behaviour::{Behaviour, Share};
use self::books::Books;
pub use self::ledger::{CallEntry, Entry, Fetched, Ledger, MailEntry, Post, Report, Update};
use self::lives::CallLife;
use self::mail_events::MailJourney;
pub use self::mail_key::MailKey;
use self::numbers::Numbers;
use self::reply::Reply;
use self::request::Request;
use self::statuses::Journey;
use super::endpoint::read;
use super::sample;
use crate::clock::Clock;
use crate::http::client;
use crate::sendgrid::mail::{SCOPES, SEND, SEND_SCOPE};
use crate::twilio::keyring::Secret;
use crate::twilio::rest::path;

mod behaviour;
mod books;
mod calls;
mod ledger;
mod listing;
mod lives;
mod mail_events;
mod mail_key;
mod mails;
mod numbers;
mod reply;
mod request;
mod statuses;

/// Longest wait for the answer to a callback: Twilio's.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// Callbacks under way at one time.
const DELIVERIES: usize = 64;
/// Where it is told how to behave, beside Twilio's own paths.
const BEHAVIOUR: &str = "/simulator/behaviour";
/// Where it says what happened.
const LEDGER: &str = "/simulator/ledger";

/// The account that is simulated.
#[derive(Clone)]
pub struct Identity {
    /// `AC…`.
    pub account: String,
    /// Its auth token, which requests are authorized and callbacks are signed with.
    pub token: String,
}

impl Identity {
    /// A made-up one, the same of the same seed.
    #[must_use]
    pub fn made_up(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let (account, token) = (sample::sid("AC", &mut rng), rng.random::<u128>());
        Self { account, token: format!("{token:032x}") }
    }

    /// The key of its SendGrid's API.
    #[must_use]
    pub fn mail_key(&self) -> String {
        format!("SG.{}", self.token)
    }
}

/// A pretend Twilio, until it is dropped.
pub struct Simulator {
    address: SocketAddr,
    identity: Identity,
    shared: Arc<Shared>,
    _task: JoinSet<()>,
}

struct Shared {
    books: Mutex<Books>,
    numbers: Mutex<Numbers>,
    identity: Identity,
    /// Where events of emails are reported.
    mail_events: Mutex<Option<String>>,
    mail_key: MailKey,
    /// A public URL, and where it leads.
    reach: Mutex<Option<(String, Vec<SocketAddr>)>>,
    secret: Secret,
    client: reqwest::Client,
    /// Requests that have arrived and are not answered.
    in_flight: AtomicUsize,
    deliveries: Semaphore,
    /// Messages and calls on their way.
    journeys: TaskTracker,
    stop: CancellationToken,
}

impl Simulator {
    /// One that listens there. The same seed and the same order of requests give the same SIDs and the same misbehaviour.
    ///
    /// # Errors
    /// The system's root certificates cannot be read, or the listener has no address.
    pub fn start(
        listener: TcpListener,
        identity: Identity,
        mail_key: MailKey,
        seed: u64,
        behaviour: Behaviour,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            books: Mutex::new(Books::new(&identity.account, seed, behaviour)),
            numbers: Mutex::new(Numbers::new(
                &identity.account,
                &format!("http://{address}"),
                seed,
            )),
            secret: Secret::auth_token(&SecretString::from(identity.token.as_str())),
            identity: identity.clone(),
            mail_events: Mutex::default(),
            mail_key,
            reach: Mutex::default(),
            client: client::new(ANSWER_TIMEOUT).map_err(io::Error::other)?,
            in_flight: AtomicUsize::new(0),
            deliveries: Semaphore::new(DELIVERIES),
            journeys: TaskTracker::new(),
            stop: CancellationToken::new(),
        });
        let mut task = JoinSet::new();
        task.spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { address, identity, shared, _task: task })
    }

    /// One of a made-up account on a free port of loopback.
    ///
    /// # Errors
    /// There is no port.
    pub async fn on_loopback(seed: u64, behaviour: Behaviour) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        Self::start(listener, Identity::made_up(seed), MailKey::generate()?, seed, behaviour)
    }

    /// The URL of its API.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its account.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// What has happened.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        self.shared.books().ledger().clone()
    }

    /// How many messages there are.
    #[must_use]
    pub fn created(&self) -> usize {
        self.shared.books().ledger().messages.len()
    }

    /// How it behaves now.
    #[must_use]
    pub fn behaviour(&self) -> Behaviour {
        self.shared.books().behaviour.clone()
    }

    /// Has one number more, whose URLs are empty; its SID.
    pub fn add_number(&self, number: &str) -> String {
        self.shared.numbers().add_number(number, Clock::System.now())
    }

    /// Has one Messaging Service more, whose URLs are empty; its SID.
    pub fn add_service(&self, name: &str) -> String {
        self.shared.numbers().add_service(name)
    }

    /// From now on behaves so.
    pub fn behave(&self, behaviour: Behaviour) {
        self.shared.books().behaviour = behaviour;
    }

    /// Callbacks to this public URL go to these addresses in turn, as through a load balancer. They are signed for the
    /// public one.
    pub fn reach(&self, public_url: &str, addresses: Vec<SocketAddr>) {
        *self.shared.reach() = Some((public_url.to_owned(), addresses));
    }

    /// The public key of its events.
    #[must_use]
    pub fn mail_public_key(&self) -> String {
        self.shared.mail_key.public()
    }

    /// Reports events of emails to this URL.
    pub fn report_mails_to(&self, url: &str) {
        *self.shared.mail_events() = Some(url.to_owned());
    }

    /// Waits until every message, call and email has its last status and every callback was answered or given up.
    pub async fn settled(&self) {
        self.shared.journeys.close();
        self.shared.journeys.wait().await;
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}

/// What to do about a request.
struct Answer {
    reply: Reply,
    fate: Fate,
    /// What to wait for before the answer.
    first: Option<oneshot::Receiver<()>>,
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Self {
        Self { reply, fate: Fate::Answered, first: None }
    }
}

impl Shared {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().expect("nothing panics while it is held")
    }

    fn numbers(&self) -> MutexGuard<'_, Numbers> {
        self.numbers.lock().expect("nothing panics while it is held")
    }

    fn reach(&self) -> MutexGuard<'_, Option<(String, Vec<SocketAddr>)>> {
        self.reach.lock().expect("nothing panics while it is held")
    }

    fn mail_events(&self) -> MutexGuard<'_, Option<String>> {
        self.mail_events.lock().expect("nothing panics while it is held")
    }

    /// Where a callback to this URL is sent, at this turn.
    fn way_to(&self, url: &str, turn: usize) -> String {
        let reach = self.reach();
        let Some((public, addresses)) = reach.as_ref() else { return url.to_owned() };
        match (url.strip_prefix(public.as_str()), addresses.get(turn % addresses.len().max(1))) {
            (Some(rest), Some(address)) => format!("http://{address}{rest}"),
            _ => url.to_owned(),
        }
    }

    fn answer(self: &Arc<Self>, request: &Request, body: &[u8], in_flight: usize) -> Answer {
        let Identity { account, token } = &self.identity;
        if request.path.starts_with("/v3/") {
            return self.as_sendgrid(request, body, in_flight);
        }
        let credentials = request.basic.as_ref();
        if credentials.is_none_or(|(user, password)| (user, password) != (account, token)) {
            return Reply::refusal(20003).into();
        }
        if self.numbers().have(&request.path) {
            return self.incoming(request, body, in_flight).into();
        }
        let (messages, calls) = (path::messages(account), path::calls(account));
        match (&*request.method, &*request.path) {
            ("GET", LEDGER) => Reply::of(200, json(self.books().ledger())).into(),
            ("GET", BEHAVIOUR) => Reply::of(200, json(&self.books().behaviour)).into(),
            ("POST", BEHAVIOUR) => self.change(body).into(),
            ("POST", path) if path == messages => self.create(body, in_flight),
            ("POST", path) if path == calls => self.create_call(body, in_flight),
            ("POST", path) => match of_one(path, &calls) {
                Some(sid) => self.change_call(sid, body, in_flight).into(),
                None => Reply::refusal(20404).into(),
            },
            ("GET", path) if path == path::account(account) => {
                let account = serde_json::json!({
                    "sid": account,
                    "friendly_name": "A pretend account",
                    "owner_account_sid": account,
                    "status": "active",
                    "type": "Full",
                    "uri": path,
                });
                Reply::of(200, account).into()
            }
            ("GET", path) => self.get(path, &request.query, in_flight).into(),
            _ => Reply::refusal(20404).into(),
        }
    }

    fn change(&self, body: &[u8]) -> Reply {
        let mut books = self.books();
        match books.behaviour.with(body) {
            Ok(behaviour) => {
                books.behaviour = behaviour;
                Reply::of(200, json(&books.behaviour))
            }
            Err(error) => Reply::of(400, serde_json::json!({ "message": error.to_string() })),
        }
    }

    fn create(self: &Arc<Self>, body: &[u8], in_flight: usize) -> Answer {
        let decision = self.books().create(body, in_flight, Clock::System.now());
        let first = decision.created.and_then(|created| {
            let (journey, first) = Journey::new(self, &created);
            let shared = Arc::clone(self);
            self.journeys.spawn(async move {
                shared.stop.run_until_cancelled(journey.run(&shared)).await;
            });
            first
        });
        Answer { reply: decision.reply, fate: decision.fate, first }
    }

    fn create_call(self: &Arc<Self>, body: &[u8], in_flight: usize) -> Answer {
        let decision = self.books().create_call(body, in_flight, Clock::System.now());
        let first = decision.created.and_then(|created| {
            let (life, first) = CallLife::new(self, created);
            let shared = Arc::clone(self);
            self.journeys.spawn(async move {
                shared.stop.run_until_cancelled(life.run(&shared)).await;
            });
            first
        });
        Answer { reply: decision.reply, fate: decision.fate, first }
    }

    fn as_sendgrid(self: &Arc<Self>, request: &Request, body: &[u8], in_flight: usize) -> Answer {
        if request.bearer.as_ref() != Some(&self.identity.mail_key()) {
            let message = "The provided authorization grant is invalid, expired, or revoked";
            return Reply::of_sendgrid(401, None, message).into();
        }
        match (&*request.method, &*request.path) {
            ("POST", SEND) => self.create_mail(body, in_flight),
            ("GET", SCOPES) => {
                let scopes = serde_json::json!({ "scopes": [SEND_SCOPE, "user.profile.read"] });
                Reply::of(200, scopes).into()
            }
            _ => Reply::of_sendgrid(404, None, "not found").into(),
        }
    }

    fn create_mail(self: &Arc<Self>, body: &[u8], in_flight: usize) -> Answer {
        let decision = self.books().create_mail(body, in_flight, Clock::System.now());
        let first = decision.created.and_then(|created| {
            let (journey, first) = MailJourney::new(self, &created);
            let shared = Arc::clone(self);
            self.journeys.spawn(async move {
                shared.stop.run_until_cancelled(journey.run(&shared)).await;
            });
            first
        });
        Answer { reply: decision.reply, fate: decision.fate, first }
    }

    fn change_call(&self, sid: &str, body: &[u8], in_flight: usize) -> Reply {
        let mut books = self.books();
        let refusal = books.throttle(in_flight);
        refusal.unwrap_or_else(|| books.change_call(sid, body, Clock::System.now()))
    }

    fn incoming(&self, request: &Request, body: &[u8], in_flight: usize) -> Reply {
        let mut books = self.books();
        if let Some(refusal) = books.throttle(in_flight) {
            return refusal;
        }
        let (reply, update) = self.numbers().answer(request, body, Clock::System.now());
        if let Some(update) = update {
            books.updated(update);
        }
        reply
    }

    fn get(&self, path: &str, query: &str, in_flight: usize) -> Reply {
        let mut books = self.books();
        if let Some(refusal) = books.throttle(in_flight) {
            return refusal;
        }
        let account = &self.identity.account;
        let (messages, calls) = (path::messages(account), path::calls(account));
        if path == messages {
            return books.list(query, Clock::System.now());
        }
        if path == calls {
            return books.list_calls(query, Clock::System.now());
        }
        match (of_one(path, &messages), of_one(path, &calls)) {
            (Some(sid), _) => books.fetch(sid, Clock::System.now()),
            (_, Some(sid)) => books.fetch_call(sid),
            (None, None) => Reply::refusal(20404),
        }
    }
}

/// The SID of an entry of this list.
fn of_one<'p>(path: &'p str, list: &str) -> Option<&'p str> {
    let rest = path.strip_prefix(list.trim_end_matches(".json"))?;
    rest.strip_prefix('/')?.strip_suffix(".json")
}

fn json(value: &impl serde::Serialize) -> serde_json::Value {
    serde_json::to_value(value).expect("it has keys of text and no failing parts")
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(serve(stream, Arc::clone(&shared)));
        while connections.try_join_next().is_some() {}
    }
}

/// Counts a request that is in flight, until it is dropped.
struct InFlight<'a>(&'a AtomicUsize);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Until the connection ends.
async fn serve(mut stream: TcpStream, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let mut unread = Vec::new();
    while let Some((head, body)) = read(&mut stream, &mut unread).await {
        let Some(request) = Request::parse(&head) else { return };
        let in_flight = shared.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        let _counted = InFlight(&shared.in_flight);
        let Answer { reply, fate, first } = shared.answer(&request, &body, in_flight);
        if let Some(first) = first {
            // Or nothing is reported.
            let _ = first.await;
        }
        match wait(&shared, fate) {
            Duration::ZERO => {}
            wait => sleep(wait).await,
        }
        match fate {
            Fate::Dropped => return,
            Fate::Reset => {
                // A socket that refuses ends the connection without a reset.
                let _ = stream.set_zero_linger();
                return;
            }
            _ => {}
        }
        if stream.write_all(&reply.bytes(in_flight)).await.is_err() {
            return;
        }
    }
}

fn wait(shared: &Shared, fate: Fate) -> Duration {
    let books = shared.books();
    let late = if fate == Fate::AnsweredLate { books.behaviour.late_by_ms } else { 0 };
    Duration::from_millis(books.behaviour.answer_after_ms + late)
}
