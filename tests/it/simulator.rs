//! The pretend Twilio of `offhook simulate`: it is what Twilio says that Twilio is, and it misbehaves as it is told.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use offhook::clock::{Clock, Timestamp};
use offhook::event::AttemptId;
use offhook::lab::endpoint::{Answer, Endpoint};
use offhook::lab::twilio::{Behaviour, Share, Simulator};
use offhook::twilio::keyring::{Account, Keyring};
use offhook::twilio::params::Params;
use offhook::twilio::rest::{self, CreateAnswer, Doubt, NewMessage, SentBy, path, status_callback};
use offhook::twilio::signature::{Claim, Content, SignedRequest};
use reqwest::header::RETRY_AFTER;
use serde_json::Value;

use crate::harness::{Settings, install_cryptography, program, run, until};
use crate::services::{Process, Signal, note, tool};

mod description;
mod library;

const TO: &str = "+15550100";
const FROM: SentBy<'static> = SentBy::From("+15550199");
const SERVICE: SentBy<'static> = SentBy::Service("MG00000000000000000000000000000001");

async fn start(behaviour: Behaviour) -> Simulator {
    install_cryptography();
    Simulator::on_loopback(7, behaviour).await.expect("a port is free")
}

/// Who asks a simulator.
struct Asker<'s> {
    simulator: &'s Simulator,
    client: reqwest::Client,
}

impl<'s> Asker<'s> {
    fn new(simulator: &'s Simulator) -> Self {
        Self { simulator, client: reqwest::Client::new() }
    }

    fn account(&self) -> &str {
        &self.simulator.identity().account
    }

    fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.simulator.url()));
        let identity = self.simulator.identity();
        request.basic_auth(&identity.account, Some(&identity.token))
    }

    async fn post(&self, path: &str, body: String) -> reqwest::Result<reqwest::Response> {
        let form = "application/x-www-form-urlencoded";
        let request = self.request(reqwest::Method::POST, path).header("content-type", form);
        request.body(body).send().await
    }

    /// The status and the JSON of a GET.
    async fn get(&self, path: &str) -> (u16, Value) {
        let response = self.request(reqwest::Method::GET, path).send().await.expect("an answer");
        let status = response.status().as_u16();
        let body = response.bytes().await.expect("it is whole");
        (status, serde_json::from_slice(&body).expect("it is JSON"))
    }

    /// What offhook makes of the answer to a create.
    async fn create(&self, message: NewMessage<'_>) -> CreateAnswer {
        let response = match self.post(&path::messages(self.account()), message.form()).await {
            Ok(response) => response,
            Err(error) if error.is_timeout() => return CreateAnswer::Unknown(Doubt::TimedOut),
            Err(_) => return CreateAnswer::Unknown(Doubt::Disconnected),
        };
        let status = response.status().as_u16();
        let retry_after = response.headers().get(RETRY_AFTER).cloned();
        let body = response.bytes().await.expect("it is whole");
        let retry_after = retry_after.as_ref().and_then(|value| value.to_str().ok());
        rest::Answer { status, retry_after, body: &body }
            .to_create(rest::Created::Message, Clock::System.now())
    }
}

fn message<'a>(by: SentBy<'a>, callback: &'a str) -> NewMessage<'a> {
    NewMessage { to: TO, by, body: "Hej", status_callback: callback, validity_period: 600 }
}

fn accepted(answer: CreateAnswer) -> rest::Message {
    match answer {
        CreateAnswer::Accepted(message) => *message,
        other => panic!("it is not accepted: {other:?}"),
    }
}

/// The parameters of the callbacks that arrived, each of which was signed for this simulator's account.
fn callbacks(endpoint: &Endpoint, simulator: &Simulator) -> Vec<Params<'static>> {
    let identity = simulator.identity();
    let token = identity.token.as_str().into();
    let account = Account::new(identity.account.clone(), "main".into(), &[token], &[]);
    let keyring = Keyring::new(vec![account]).expect("it has a token");
    let read = |arrival: offhook::lab::endpoint::Arrival| {
        let head = arrival.head.to_ascii_lowercase();
        let target = arrival.head.split(' ').nth(1).expect("it is a request").to_owned();
        let origin = endpoint.url().trim_end_matches("/hook").to_owned();
        let at = head.find("x-twilio-signature: ").expect("it is signed") + 20;
        let signature = arrival.head[at..].lines().next().expect("it has a value").to_owned();
        let claim = Claim::parse([signature.as_bytes()], None).expect("it is a signature");
        let url = format!("{origin}{target}");
        let body = arrival.body.clone();
        let request = SignedRequest::new(&url, Content::Form, &body, claim);
        request.verify(&keyring).expect("it is signed with the account's token");
        let body: &'static [u8] = Box::leak(Box::<[u8]>::from(&body[..]));
        Params::parse(body)
    };
    endpoint.arrivals().into_iter().map(read).collect()
}

fn statuses(callbacks: &[Params<'_>]) -> Vec<String> {
    let status =
        |params: &Params<'_>| params.get("MessageStatus").expect("it has one").into_owned();
    callbacks.iter().map(status).collect()
}

#[tokio::test]
async fn a_message_is_created_reported_fetched_and_listed() {
    let endpoint = Endpoint::start().await.expect("a port is free");
    let simulator = start(Behaviour::default()).await;
    let (asker, attempt) = (Asker::new(&simulator), AttemptId::new(7));
    let callback = status_callback(&endpoint.url(), attempt);
    let created = accepted(asker.create(message(SERVICE, &callback)).await);
    assert_eq!((created.status.as_str(), created.num_segments), ("queued", Some(0)));
    simulator.settled().await;

    let reported = callbacks(&endpoint, &simulator);
    assert_eq!(statuses(&reported), ["queued", "sent", "delivered"]);
    let head = &endpoint.arrivals()[0].head;
    let line = format!("POST /hook?offhook_attempt={attempt} HTTP/1.1");
    assert_eq!(head.lines().next(), Some(&*line), "without the fragment");
    assert!(reported.iter().all(|params| params.get("To").as_deref() == Some(TO)));

    let (status, fetched) = asker.get(&path::message(asker.account(), &created.sid)).await;
    assert_eq!((status, &fetched["status"]), (200, &"delivered".into()));
    let (_, listed) = asker.get(&path::messages_to(asker.account(), TO)).await;
    assert_eq!(listed["messages"][0], fetched);
    let (_, none) = asker.get(&path::messages_to(asker.account(), "+15550101")).await;
    assert_eq!(none["messages"], Value::Array(Vec::new()));

    let ledger = simulator.ledger();
    let entry = &ledger.messages[0];
    assert_eq!(entry.attempt, Some(attempt.to_string()));
    assert!(entry.reports.iter().all(|report| (report.tries, report.answered) == (1, Some(204))));
    assert_eq!(ledger.posts[0].sid.as_ref(), Some(&created.sid));
}

#[tokio::test]
async fn a_dropped_answer_leaves_a_message_that_the_ledger_has() {
    let dropping = Behaviour { drop_answers: Share::ALWAYS, ..Behaviour::default() };
    let simulator = start(dropping).await;
    let asker = Asker::new(&simulator);
    let answer = asker.create(message(FROM, "http://127.0.0.1:9/status")).await;
    assert_eq!(answer, CreateAnswer::Unknown(Doubt::Disconnected));
    assert_eq!(simulator.created(), 1);

    simulator.behave(Behaviour { reset: Share::ALWAYS, ..Behaviour::default() });
    let answer = asker.create(message(FROM, "http://127.0.0.1:9/status")).await;
    assert_eq!(answer, CreateAnswer::Unknown(Doubt::Disconnected));
    assert_eq!(simulator.created(), 1, "a reset creates nothing");

    let failing = Behaviour { fail_created: Share::ALWAYS, ..Behaviour::default() };
    simulator.behave(failing);
    let answer = asker.create(message(FROM, "http://127.0.0.1:9/status")).await;
    assert_eq!(answer, CreateAnswer::Unknown(Doubt::ServerError));
    assert_eq!(simulator.created(), 2);
    let answered: Vec<_> = simulator.ledger().posts.iter().map(|post| post.answered).collect();
    assert_eq!(answered, [None, None, Some(500)]);
}

#[tokio::test]
async fn requests_above_the_most_in_flight_are_throttled() {
    let slow = Behaviour { answer_after_ms: 3_600_000, ..Behaviour::default() };
    let simulator = start(slow).await;
    let asker = Asker::new(&simulator);
    let create = || asker.create(message(FROM, "http://127.0.0.1:9/status"));
    let unanswered = async { tokio::join!(create(), create()) };
    let third = async {
        until("two are in progress", async || (simulator.created() == 2).then_some(())).await;
        simulator.behave(Behaviour { max_in_flight: 2, retry_after: 1, ..Behaviour::default() });
        create().await
    };
    let third = tokio::select! {
        _ = unanswered => panic!("they wait for an hour"),
        third = third => third,
    };
    let retry_after = Some(std::time::Duration::from_secs(1));
    assert_eq!(third, CreateAnswer::Throttled { retry_after });
    assert_eq!(simulator.created(), 2);
}

#[tokio::test]
async fn callbacks_come_first_twice_and_contradict_one_another() {
    let endpoint = Endpoint::start().await.expect("a port is free");
    let odd = Behaviour {
        callbacks_first: Share::ALWAYS,
        callbacks_twice: Share::ALWAYS,
        callbacks_contradict: Share::ALWAYS,
        callbacks: 1,
        ..Behaviour::default()
    };
    let simulator = start(odd.clone()).await;
    let asker = Asker::new(&simulator);
    accepted(asker.create(message(FROM, &endpoint.url())).await);
    assert!(endpoint.count() >= 2, "both of the first were there before the answer");
    simulator.settled().await;
    let reported = statuses(&callbacks(&endpoint, &simulator));
    assert_eq!(reported, ["delivered", "delivered", "undelivered", "undelivered"]);
    assert_eq!(simulator.ledger().messages[0].status, "delivered");

    simulator.behave(Behaviour { callbacks_missing: Share::ALWAYS, ..odd });
    accepted(asker.create(message(FROM, &endpoint.url())).await);
    simulator.settled().await;
    assert_eq!(endpoint.count(), 4, "nothing is reported, and the answer waits for nothing");
    assert_eq!(simulator.ledger().messages[1].status, "delivered");
}

#[tokio::test]
async fn a_callback_that_fails_is_tried_again_as_its_fragment_says() {
    let endpoint = Endpoint::start().await.expect("a port is free");
    endpoint.answer(Answer::FAILS);
    let one = Behaviour { callbacks: 1, ..Behaviour::default() };
    let simulator = start(one).await;
    let asker = Asker::new(&simulator);
    let url = endpoint.url();
    accepted(asker.create(message(FROM, &url)).await);
    accepted(asker.create(message(FROM, &format!("{url}#rc=2&rp=all"))).await);
    simulator.settled().await;
    let ledger = simulator.ledger();
    let tries = [0, 1].map(|place: usize| ledger.messages[place].reports[0].tries);
    assert_eq!(tries, [1, 3]);
}

#[tokio::test]
async fn only_the_account_and_its_token_are_let_in() {
    let simulator = start(Behaviour::default()).await;
    let asker = Asker::new(&simulator);
    let path = path::messages(asker.account());
    let url = format!("{}{path}", simulator.url());
    for request in [
        asker.client.get(&url),
        asker.client.get(&url).basic_auth(asker.account(), Some("guessed")),
        asker.client.get(format!("{}/simulator/ledger", simulator.url())),
    ] {
        assert_eq!(request.send().await.expect("an answer").status(), 401);
    }
    let other = path::messages("AC00000000000000000000000000000009");
    assert_eq!(asker.get(&other).await.0, 404);
}

/// A simulator of the command, and what it printed.
fn command(arguments: &[&str]) -> (Process, Value) {
    let arguments = [&["simulate", "--json"], arguments].concat();
    let mut command = program(&Settings::none(), &arguments);
    let mut process = Process::spawn(&mut command, Signal::Kill).expect("it can be started");
    let output = process.child().stdout.take().expect("it is piped");
    let mut printed = String::new();
    BufReader::new(output).read_line(&mut printed).expect("it prints what it is");
    (process, serde_json::from_str(&printed).expect("it is JSON"))
}

#[tokio::test]
async fn the_command_says_where_it_is_and_behaves_as_it_is_told() {
    install_cryptography();
    let (_process, printed) = command(&["--throttle-next", "1", "--account", "AC1"]);
    let text = |name: &str| printed[name].as_str().expect("it is a text").to_owned();
    let (url, token) = (text("url"), text("auth_token"));
    assert_eq!(text("account"), "AC1");
    let client = reqwest::Client::new();
    let get = async |path: &str| {
        let request = client.get(format!("{url}{path}")).basic_auth("AC1", Some(&token));
        request.send().await.expect("an answer").status().as_u16()
    };
    let path = path::messages("AC1");
    assert_eq!([get(&path).await, get(&path).await], [429, 200]);
    let control = format!("{url}/simulator/behaviour");
    let changed = client.post(&control).basic_auth("AC1", Some(&token));
    let changed = changed.body(r#"{"throttle_next":1}"#).send().await.expect("an answer");
    assert_eq!(changed.status(), 200);
    assert_eq!([get(&path).await, get(&path).await], [429, 200]);
    let wrong = client.post(&control).basic_auth("AC1", Some(&token)).body(r#"{"thottle":1}"#);
    assert_eq!(wrong.send().await.expect("an answer").status(), 400);
    assert_eq!(get("/simulator/ledger").await, 200);

    let refused = run(&Settings::none(), &["simulate", "--listen", "0.0.0.0:0"]).badly();
    assert!(refused.contains("loopback"), "{refused}");
}
