//! Messages that offhook sends, against a pretend Twilio that keeps its own ledger.

mod asking;
mod calls;
mod campaigns;
mod description;
mod emails;
mod feed;
mod flow;
mod holding;
mod moving;
mod operating;
mod routes;
mod still;
#[cfg(feature = "otel")]
mod traces;
mod unknown;

use offhook::lab::twilio::{Behaviour, Simulator};
use offhook::twilio::keyring::Secret;
use offhook::twilio::signature::{Content, sign};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Callback, Mode, Offhook, Signature, Testbed, install_cryptography, until};
use crate::services::free_port;

/// Who may ask to send.
const SENDING_TOKEN: &str = "a-token-of-24-characters";
/// What messages are sent from.
const FROM: &str = "+15005550006";

/// An offhook that sends, and the Twilio that it sends by.
struct Sending {
    /// First, so that it stops while Twilio still answers.
    offhook: Option<Offhook>,
    simulator: Simulator,
    testbed: Testbed,
    http: reqwest::Client,
}

impl Sending {
    async fn start(mode: Mode, behaviour: Behaviour) -> Self {
        Self::with(mode, behaviour, "").await
    }

    /// With more lines of configuration, which begin in `[outbound]`; in them `<URL>`, `<API_KEY>` and `<PUBLIC_KEY>` are
    /// those of the pretend SendGrid.
    async fn with(mode: Mode, behaviour: Behaviour, more: &str) -> Self {
        install_cryptography();
        let simulator = Simulator::on_loopback(7, behaviour).await.expect("a free port");
        let mut testbed = Testbed::of(mode);
        let (port, identity) = (free_port(), simulator.identity());
        let file = testbed.directory().join("offhook.toml");
        simulator.report_mails_to(&format!("http://127.0.0.1:{port}/email-events"));
        let more = more.replace("<URL>", &simulator.url());
        let more = more.replace("<API_KEY>", &identity.mail_key());
        let more = more.replace("<PUBLIC_KEY>", &simulator.mail_public_key());
        let config = format!(
            "[[account]]\nsid = \"{}\"\nauth_tokens = [\"{}\"]\n\
             [[sender]]\nname = \"shop\"\nfrom = \"{FROM}\"\nrate = 1000.0\n\
             [twilio]\napi_url = \"{}\"\n\
             [outbound]\ntokens = [{{ id = \"test\", token = \"{SENDING_TOKEN}\" }}]\n\
             max_per_recipient_hour = 1000\n{more}",
            identity.account,
            identity.token,
            simulator.url()
        );
        std::fs::write(&file, config).expect("it is ours");
        testbed.settings = testbed
            .settings
            .clone()
            .unset("TWILIO_ACCOUNT_SID")
            .unset("TWILIO_AUTH_TOKEN")
            .set("OFFHOOK_CONFIG", file.display().to_string())
            .set("OFFHOOK_INBOUND__LISTEN", format!("127.0.0.1:{port}"))
            .set("OFFHOOK_PUBLIC_URL", format!("http://127.0.0.1:{port}"));
        let offhook = testbed.start();
        Self { simulator, testbed, offhook: Some(offhook), http: reqwest::Client::new() }
    }

    fn offhook(&self) -> &Offhook {
        self.offhook.as_ref().expect("it runs")
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        key: Option<&str>,
        body: Option<&Value>,
    ) -> (StatusCode, Value) {
        let url = format!("http://{}{path}", self.offhook().client.private());
        let mut request = self.http.request(method, url);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let answer = request.send().await.expect("the admin listener answers");
        let status = answer.status();
        let text = answer.text().await.expect("the whole answer");
        (status, serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {text}")))
    }

    async fn get(&self, path: &str) -> Value {
        let (status, answer) =
            self.request(Method::GET, path, Some(SENDING_TOKEN), None, None).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer
    }

    async fn post(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        self.request(Method::POST, path, Some(SENDING_TOKEN), None, Some(body)).await
    }

    /// Asks for a notification, and returns its id.
    async fn ask(&self, body: &Value) -> String {
        // Its tables may be made only now.
        let (status, answer) = until("the store answers", async || {
            let (status, answer) = self.post("/api/notifications", body).await;
            (status != StatusCode::SERVICE_UNAVAILABLE).then_some((status, answer))
        })
        .await;
        assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
        answer["id"].as_str().expect("an id").to_owned()
    }

    /// A recipient sends a message to the sender; `number` without its plus, `body` as a form has it.
    async fn hears(&self, number: &str, body: &str) {
        let account = &self.simulator.identity().account;
        let form = format!(
            "SmsSid=SM{number:0>32}&MessageSid=SM{number:0>32}&SmsStatus=received&NumMedia=0&Body={body}\
             &From=%2B{number}&To=%2B15005550006&AccountSid={account}"
        );
        let url = &self.testbed.settings.environment()["OFFHOOK_PUBLIC_URL"];
        let (url, token) = (format!("{url}/incoming-message"), &self.simulator.identity().token);
        let token = Secret::auth_token(&token.as_str().into());
        let signature = sign(&token, &url, Content::Form, form.as_bytes());
        let incoming = Callback::form(form).to("/incoming-message");
        self.offhook().client.accepts(&incoming.signed(Signature::Own(signature))).await;
    }

    /// Waits until a notification is in this state, and returns it.
    async fn reaches(&self, id: &str, state: &str) -> Value {
        // What is printed is shown if the test fails.
        let mut last = Value::Null;
        until(&format!("{id} is {state}"), async || {
            let now = self.get(&format!("/api/notifications/{id}")).await;
            if now != last {
                println!("{now}");
                last = now.clone();
            }
            (now["state"] == state).then_some(now)
        })
        .await
    }

    /// Waits until the only attempt of a notification is in this state.
    async fn attempt_reaches(&self, id: &str, state: &str) -> Value {
        until(&format!("the attempt of {id} is {state}"), async || {
            let now = self.get(&format!("/api/notifications/{id}")).await;
            (now["attempts"][0]["state"] == state).then_some(now)
        })
        .await
    }
}

fn message(number: u32) -> Value {
    json!({
        "to": format!("+1415555{number:04}"),
        "text": format!("Order {number} has left."),
        "purpose": "transactional",
    })
}

/// One test per deployment with a store of its own kind. The pretend Twilio runs in the test's own runtime, which must
/// go on while the test waits for offhook to stop.
macro_rules! both_stores {
    ($($name:ident),+ $(,)?) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)] async fn $name() {
                super::$name(crate::harness::Mode::Embedded).await;
            })+
        }
        mod direct {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)] async fn $name() {
                crate::services::needs!(Postgres);
                super::$name(crate::harness::Mode::Direct).await;
            })+
        }
    };
}
use both_stores;
