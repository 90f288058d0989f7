//! The form `twilio`, against handlers that check signatures with Twilio's own libraries: none of them can tell that
//! it is not Twilio that asks.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use bytes::Bytes;
use offhook::clock::{Clock, Timestamp};
use offhook::config::{Config, Role, Sources};
use offhook::event::{Change, Event, Route};
use offhook::forward::{Delivery, Endpoint, Failure};
use offhook::policy::{InboundPolicy, Policy, PolicyInForce};
use offhook::twilio::callback::{self, Arrival};
use offhook::twilio::keyring::Secret;
use offhook::twilio::signature::{BODY_HASH, Claim, Content, SignedRequest, body_hash, sign};

use crate::harness::{
    ACCOUNT, Callback, PUBLIC_URL, Settings, TOKEN, Testbed, fixture, run, until,
};
use crate::services::{Certificates, Process, Signal, guarded, needs, note, tool};

/// Where `tests/setup` installs Twilio's libraries, and what is there once it has.
const NODE: [&str; 2] = ["target/twilio/node", "node_modules/twilio"];
const PYTHON: [&str; 2] = ["target/twilio/python", "twilio"];

/// The directory of a library, or returns from the test.
macro_rules! library {
    ($library:expr) => {
        match installed($library) {
            Some(directory) => directory,
            None => {
                fn here() {}
                note(std::any::type_name_of_val(&here), "library of Twilio");
                return;
            }
        }
    };
}

fn installed([directory, inside]: [&str; 2]) -> Option<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    directory.join(inside).is_dir().then_some(directory)
}

/// A handler that runs, and its port.
struct Handler {
    _process: Process,
    port: u16,
}

impl Handler {
    fn start(program: &Path, script: &str, library: &Path, more: &[&Path]) -> Self {
        let script = format!("{}/tests/fixtures/handlers/{script}", env!("CARGO_MANIFEST_DIR"));
        let mut command = guarded(program, Signal::Kill);
        command.arg(script).arg(library).arg(TOKEN).args(more).stdout(Stdio::piped());
        let mut process = Process::spawn(&mut command, Signal::Kill).expect("it can be started");
        let output = process.child().stdout.take().expect("it is piped");
        let mut port = String::new();
        BufReader::new(output).read_line(&mut port).expect("it prints its port");
        let port = port.trim().parse().expect("it listens, and says where");
        Self { _process: process, port }
    }
}

/// The endpoint of a forward with these lines.
fn endpoint(url: &str, more: &str) -> Endpoint {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("offhook.toml");
    let account = format!("[[account]]\nsid = '{ACCOUNT}'\nauth_tokens = ['{TOKEN}']\n");
    let forward = format!("[[forward]]\nname = 'app'\nform = 'twilio'\nurl = '{url}'\n{more}\n");
    let text = format!("public_url = '{PUBLIC_URL}'\n{account}{forward}");
    std::fs::write(&file, text).expect("the directory is ours");
    let sources = Sources { file: Some(file), environment: [].into() };
    let config = Config::load(&sources, Role::All).expect("the configuration is good");
    let privacy = Arc::clone(&config.privacy);
    let policy = Policy::new(InboundPolicy {
        email_keys: Arc::default(),
        keyring: Arc::clone(&config.keyring),
        fallback: config.fallback.clone(),
        incoming: config.incoming.clone(),
        voice_confirm: config.voice_confirm.clone(),
        listening: config.listening.clone(),
        privacy,
    });
    let policy = PolicyInForce::new(policy).inbound();
    Endpoint::new(&config.forwards[0], policy, Clock::System).expect("it can be made")
}

/// What the public listener makes of a request that Twilio signed.
fn received(route: Route, content: Content, query: &str, body: &[u8]) -> Vec<Event> {
    let token = Secret::auth_token(&TOKEN.into());
    let body = Bytes::copy_from_slice(body);
    let url = format!("{PUBLIC_URL}/{}?{query}", route.as_str());
    let signature = sign(&token, &url, content, &body);
    let claim = Claim::parse([signature.as_bytes()], None).expect("it is a signature");
    let account =
        offhook::twilio::keyring::Account::new(ACCOUNT.into(), "main".into(), &[TOKEN.into()], &[]);
    let keyring = offhook::twilio::keyring::Keyring::new(vec![account]).expect("it has a token");
    let request = SignedRequest::new(&url, content, &body, claim);
    let request = request.verify(&keyring).expect("it is signed");
    let arrival = Arrival {
        route,
        token: Some("a-token"),
        at: Timestamp::from_micros(1_764_000_000_000_000),
    };
    callback::events(&request, arrival, &Default::default()).expect("it has parameters")
}

/// Every way in which Twilio sends a callback.
fn every_way() -> Vec<Event> {
    let query = "order_id=A-1002+%2F+%C3%BC%2Bx%26y&empty=";
    let status = Route::Status;
    let mut events = Vec::new();
    for name in ["call.form", "message_whatsapp.form", "conference.form", "recording.form"] {
        events.extend(received(status, Content::Form, "", &fixture(name)));
        events.extend(received(status, Content::Form, query, &fixture(name)));
    }
    // A name with several values, one of them twice, and what has to be encoded.
    let odd =
        format!("AccountSid={ACCOUNT}&CallSid=CA1&Media=b&Media=a&Media=a&Body=%C3%BC+%2B%26%3D&Z");
    events.extend(received(status, Content::Form, query, odd.as_bytes()));
    let get = format!("{query}&{}", String::from_utf8_lossy(&fixture("call.form")));
    events.extend(received(status, Content::Query, &get, b""));
    let array = fixture("event_streams.json");
    let hash = format!("a=1&{BODY_HASH}={}", body_hash(&array));
    let elements = received(Route::EventStreams, Content::Json, &hash, &array);
    assert!(elements.len() > 1, "of one request several events");
    events.extend(elements);
    events
}

fn change(event: &Event) -> Change {
    Change {
        id: 1,
        stored_at: event.received_at,
        account: event.account.clone(),
        key: event.key.clone(),
        kind: event.kind,
        sid: event.sid.clone(),
        resource: event.resource,
        status: event.status.clone(),
        previous: None,
        current: event.status.clone(),
        moved: true,
        error_code: None,
        own: None,
    }
}

async fn check(endpoint: &Endpoint, expected: Delivery) {
    for event in every_way() {
        let delivery = endpoint.deliver(&change(&event), Some(&event)).await;
        let key = event.key.as_str();
        assert_eq!(delivery, expected, "{key}: {} bytes, {}", event.body.len(), event.query);
    }
}

/// Takes what is signed for it, and nothing else.
async fn takes_what_is_forwarded(handler: &Handler) {
    let url = format!("http://127.0.0.1:{}/twilio/status?tenant=7", handler.port);
    check(&endpoint(&url, ""), Delivery::Done).await;
    let refused = Delivery::Failed(Failure::Client);
    check(&endpoint(&url, "secrets = ['another']"), refused).await;
}

#[tokio::test]
async fn a_handler_with_twilios_library_for_node_takes_what_is_forwarded() {
    let (node, library) = (tool!("node"), library!(NODE));
    takes_what_is_forwarded(&Handler::start(&node, "handler.cjs", &library, &[])).await;
}

#[tokio::test]
async fn a_handler_with_twilios_library_for_python_takes_what_is_forwarded() {
    let (python, library) = (tool!("python3"), library!(PYTHON));
    takes_what_is_forwarded(&Handler::start(&python, "handler.py", &library, &[])).await;
}

#[tokio::test]
async fn a_handler_with_a_certificate_of_ones_own_authority_is_asked_over_tls() {
    needs!(OpenSsl);
    let (python, library) = (tool!("python3"), library!(PYTHON));
    let certificates = Certificates::make();
    let more = [&*certificates.certificate(), &*certificates.key()];
    let handler = Handler::start(&python, "handler.py", &library, &more);
    let url = format!("https://127.0.0.1:{}/status", handler.port);
    let of = |certificates: &Certificates| {
        endpoint(&url, &format!("ca_file = '{}'", certificates.authority().display()))
    };
    check(&of(&certificates), Delivery::Done).await;
    let untrusted = Delivery::Failed(Failure::Tls);
    check(&of(&Certificates::make()), untrusted).await;
    check(&endpoint(&url, ""), untrusted).await;
}

/// The whole way, from Twilio's request to the handler; and what people are told of it.
#[tokio::test]
async fn what_twilio_sends_to_offhook_reaches_the_handler() {
    let (node, library) = (tool!("node"), library!(NODE));
    let handler = Handler::start(&node, "handler.cjs", &library, &[]);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("offhook.toml");
    let url = format!("http://127.0.0.1:{}/status", handler.port);
    let forward =
        format!("[[forward]]\nname = 'app'\nform = 'twilio'\nurl = '{url}'\nfrom = 'start'\n");
    std::fs::write(&file, forward).expect("the directory is ours");
    let mut testbed = Testbed::embedded();
    testbed.settings = testbed.settings.clone().set("OFFHOOK_CONFIG", file.display().to_string());
    let offhook = testbed.start();
    for name in ["call.form", "message.form", "recording.form"] {
        offhook.client.accepts(&Callback::form(fixture(name))).await;
    }
    let tried = async |outcome: &str| {
        let labels = format!("forward=\"app\",outcome=\"{outcome}\"");
        offhook.client.metric(&format!("offhook_forward_attempts_total{{{labels}}}")).await
    };
    until("all of it is taken", async || (tried("done").await >= 3.0).then_some(())).await;
    assert_eq!(tried("status_4xx").await, 0.0, "the handler refuses what is not signed");

    let admin = format!("http://{}", offhook.client.admin_address());
    let ask = |arguments: &[&str]| {
        let text = run(&Settings::none(), &[arguments, &["--admin", &admin]].concat()).well();
        text.lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect::<Vec<serde_json::Value>>()
    };
    let listed = ask(&["forwards"]).remove(0);
    let listed = &listed["forwards"][0];
    assert_eq!((&listed["name"], &listed["url"]), (&"app".into(), &(&*url).into()));
    assert_eq!((&listed["waiting"], &listed["given_up"]), (&0.into(), &0.into()));
    assert!(ask(&["forwards", "given-up", "app"]).is_empty());
    assert_eq!(ask(&["forwards", "disable", "app"])[0]["done"], 1);
    until("the process has noticed", async || {
        let disabled = "offhook_forward_disabled{forward=\"app\",reason=\"operator\"}";
        (offhook.client.metric(disabled).await == 1.0).then_some(())
    })
    .await;
    assert_eq!(ask(&["forwards", "replay", "app", "--all"])[0]["done"], 0);
    assert_eq!(ask(&["forwards", "enable", "app"])[0]["done"], 1);
    offhook.client.accepts(&Callback::form(fixture("conference.form"))).await;
    until("it goes on", async || (tried("done").await >= 4.0).then_some(())).await;
}
