//! `offhook numbers`, against the pretend Twilio, whose ledger has what was changed.

use std::collections::BTreeMap;

use offhook::config::Role;
use offhook::lab::twilio::{Behaviour, Simulator};
use offhook::twilio::rest::{Field, What, path, update_form};
use serde_json::Value;

use crate::harness::{Ended, PUBLIC_URL, Settings, install_cryptography, run};

const NUMBER: &str = "+15550100";
const APPLICATION: &str = "https://app.example.com/x";

/// A pretend Twilio, and the settings of who has an account there.
struct Bench {
    simulator: Simulator,
    settings: Settings,
}

impl Bench {
    async fn start() -> Self {
        install_cryptography();
        let simulator = Simulator::on_loopback(7, Behaviour::default()).await;
        let simulator = simulator.expect("a port is free");
        let identity = simulator.identity();
        let settings = Settings::new(Role::All)
            .set("TWILIO_ACCOUNT_SID", &identity.account)
            .set("TWILIO_AUTH_TOKEN", &identity.token)
            .set("OFFHOOK_TWILIO__API_URL", simulator.url());
        Self { simulator, settings }
    }

    /// As an application has set it.
    async fn set(&self, sid: &str, urls: &[(Field, &str)]) {
        let identity = self.simulator.identity();
        let path = path::number(&identity.account, sid);
        let request = reqwest::Client::new().post(format!("{}{path}", self.simulator.url()));
        let request = request.basic_auth(&identity.account, Some(&identity.token));
        let form = update_form(What::Number, urls.iter().copied());
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let answer = request.body(form).send().await.expect("an answer");
        assert_eq!(answer.status(), 200);
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        run(&self.settings, &[&["numbers"], arguments].concat())
    }

    fn json(&self, arguments: &[&str]) -> Vec<Value> {
        let text = self.run(&[arguments, &["--json"]].concat()).well();
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// Where each URL points, in the order of the list.
    fn points(&self) -> Vec<(String, String)> {
        let list = self.json(&[]).remove(0);
        let all = list["found"].as_array().expect("a list").clone();
        let urls = all.iter().flat_map(|one| one["urls"].as_array().expect("a list").clone());
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        urls.map(|url| (text(&url["field"]), text(&url["points"]))).collect()
    }

    fn updates(&self) -> usize {
        self.simulator.ledger().updates.len()
    }
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_each_url_leads_is_listed_and_nothing_is_changed() {
    let bench = Bench::start().await;
    let sid = bench.simulator.add_number(NUMBER);
    bench.simulator.add_service("Alerts");
    let status = format!("{PUBLIC_URL}/status?order=1#rc=5");
    let wrong = format!("{PUBLIC_URL}/status");
    let set = [
        (Field::VoiceUrl, "https://user:hunter2@app.example.com/x"),
        (Field::SmsFallbackUrl, wrong.as_str()),
        (Field::StatusCallback, status.as_str()),
    ];
    bench.set(&sid, &set).await;
    assert_eq!(
        bench.points(),
        pairs(&[
            ("voice_url", "elsewhere"),
            ("voice_fallback_url", "nowhere"),
            ("sms_url", "nowhere"),
            ("sms_fallback_url", "misplaced"),
            ("status_callback", "here"),
            ("inbound_request_url", "nowhere"),
            ("fallback_url", "nowhere"),
            ("status_callback", "nowhere"),
        ])
    );
    let text = bench.run(&[]).well();
    let row = |part: &str| {
        text.lines().find(|line| line.contains(part)).unwrap_or_else(|| panic!("{part}: {text}"))
    };
    assert!(row(" voice_url").contains("https://user:…@app.example.com/x"), "{text}");
    assert!(row(" sms_fallback_url").contains(&format!("{NUMBER}  ")), "{text}");
    assert!(text.contains("1 number, 1 Messaging Service. "), "{text}");
    assert!(text.contains("status callbacks: 3. `offhook numbers --apply`"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
    assert_eq!(bench.updates(), 1, "its own");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn apply_sets_what_is_empty_and_nothing_else() {
    let bench = Bench::start().await;
    let [first, second] = [NUMBER, "+15550101"].map(|number| bench.simulator.add_number(number));
    let service = bench.simulator.add_service("Alerts");
    bench.set(&first, &[(Field::VoiceFallbackUrl, APPLICATION)]).await;
    let set = [
        (Field::VoiceFallbackUrl, APPLICATION),
        (Field::SmsFallbackUrl, APPLICATION),
        (Field::StatusCallback, APPLICATION),
    ];
    bench.set(&second, &set).await;

    let said = bench.run(&["--apply"]).well();
    assert!(said.contains(&format!("{NUMBER}: set sms_fallback_url, status_callback\n")), "{said}");
    assert!(said.contains("4 URLs set, of 2 numbers and Messaging Services"), "{said}");
    let updates = bench.simulator.ledger().updates;
    let of = |sid: &str| updates.iter().rfind(|it| it.sid == sid).expect("it was changed").clone();
    let ours = |route: &str| format!("{PUBLIC_URL}{route}#rc=5&rp=all");
    let expected = [
        ("sms_fallback_method", "POST".to_owned()),
        ("sms_fallback_url", ours("/sms-fallback")),
        ("status_callback", ours("/status")),
        ("status_callback_method", "POST".to_owned()),
    ];
    let expected = BTreeMap::from(expected.map(|(name, value)| (name.to_owned(), value)));
    assert_eq!(of(&first).set, expected);
    assert_eq!(of(&service).set["fallback_url"], ours("/sms-fallback"));
    assert_eq!(updates.len(), 4, "two of the application, and one for each that lacked something");

    let again = bench.run(&["--apply"]).well();
    assert!(again.contains("0 URLs set, of 0 "), "{again}");
    assert_eq!(bench.updates(), 4);
    let here: Vec<_> = bench.points().into_iter().filter(|(_, points)| points == "here").collect();
    assert_eq!(here.len(), 4, "{here:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replace_prints_the_old_urls_and_sets_those_of_one_number() {
    let bench = Bench::start().await;
    // Twilio also lists what contains the number.
    bench.simulator.add_number("+155501009");
    let first = bench.simulator.add_number(NUMBER);
    let old = "https://user:hunter2@app.example.com/it's";
    bench.set(&first, &[(Field::VoiceUrl, APPLICATION), (Field::VoiceFallbackUrl, old)]).await;

    let said = bench.run(&["--replace", NUMBER]).well();
    let undo = "twilio api:core:incoming-phone-numbers:update --account-sid AC";
    assert!(said.contains(undo) && said.contains(&format!("--sid {first}")), "{said}");
    assert!(
        said.contains("--voice-fallback-url 'https://user:hunter2@app.example.com/it'\\''s'"),
        "{said}"
    );
    assert!(said.contains("--status-callback ''"), "{said}");
    assert!(!said.contains("--voice-url"), "the application's own stays: {said}");
    let updates = bench.simulator.ledger().updates;
    assert_eq!((updates.len(), &updates[1].sid), (2, &first));
    assert!(!updates[1].set.contains_key("voice_url"), "{:?}", updates[1]);

    let again = bench.json(&["--replace", NUMBER]);
    assert_eq!((again.len(), &again[0]["set"]), (1, &serde_json::json!({})));
    bench.set(&first, &[(Field::StatusCallback, old)]).await;
    let change = bench.json(&["--replace", NUMBER]).remove(0);
    assert_eq!(change["was"]["status_callback"]["url"], old);
    assert_eq!(change["set"]["status_callback"], format!("{PUBLIC_URL}/status#rc=5&rp=all"));
    assert_eq!(bench.updates(), 4);

    for (id, part) in [
        ("+15550999", "no account has +15550999"),
        ("MG00000000000000000000000000000009", "no account has MG"),
        ("15550100", "neither a number in E.164"),
    ] {
        let said = bench.run(&["--replace", id]).badly();
        assert!(said.contains(part), "{said}");
    }
    assert_eq!(bench.run(&["--replace", NUMBER, "--apply"]).code, Some(2));
    assert_eq!(bench.updates(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_pages_are_read_and_a_throttle_is_waited_for() {
    let bench = Bench::start().await;
    for number in 0..201 {
        bench.simulator.add_number(&format!("+1555020{number:04}"));
    }
    bench.simulator.behave(Behaviour { throttle_next: 2, ..Behaviour::default() });
    let list = bench.json(&[]).remove(0);
    let found = list["found"].as_array().expect("a list");
    let mut sids: Vec<_> = found.iter().map(|it| it["sid"].to_string()).collect();
    sids.sort();
    sids.dedup();
    assert_eq!((sids.len(), &list["empty"]), (201, &603.into()));

    let busy = Behaviour { throttle_next: 1, retry_after: 3_600, ..Behaviour::default() };
    bench.simulator.behave(busy);
    let said = bench.run(&[]).badly();
    assert!(said.contains("too many requests") && said.contains("in 3600 s"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_asked_is_named_with_its_key() {
    let mut bench = Bench::start().await;
    bench.simulator.add_number(NUMBER);
    let good = bench.settings.clone();
    bench.settings = good.clone().set("TWILIO_AUTH_TOKEN", "0".repeat(32));
    for arguments in [&[][..], &["--apply"], &["--replace", NUMBER]] {
        let said = bench.run(arguments).badly();
        for part in ["refuses the auth token", "20003", "auth_tokens of [[account]]"] {
            assert!(said.contains(part), "`{part}` is not in: {said}");
        }
        assert!(!said.contains(&"0".repeat(32)), "{said}");
    }
    bench.settings = good.clone().set("OFFHOOK_TWILIO__API_URL", "http://127.0.0.1:1");
    let said = bench.run(&["--apply"]).badly();
    assert!(said.contains("http://127.0.0.1:1 does not answer"), "{said}");
    // Twilio is not asked.
    bench.settings =
        good.unset("OFFHOOK_TWILIO__API_URL").set("OFFHOOK_PUBLIC_URL", "http://127.0.0.1:8080");
    let said = bench.run(&["--apply"]).badly();
    assert!(said.contains("public_url names this machine"), "{said}");
    assert_eq!(bench.updates(), 0);
}
