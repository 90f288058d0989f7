//! What an operator does: asks the doctor, and reloads.

use offhook::lab::twilio::Behaviour;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{SENDING_TOKEN, Sending, message};
use crate::harness::{Mode, Spawned, run, until};
use crate::services::Signal;

/// A sender beside the first one.
const SECOND: &str = "[[sender]]\nname = \"second\"\nfrom = \"+12125550101\"\nrate = 1000.0\n";

/// A process of its own, which is sent signals.
struct Reloaded {
    sending: Sending,
    process: Spawned,
    path: String,
}

impl Reloaded {
    async fn start() -> Self {
        let mut sending = Sending::start(Mode::Embedded, Behaviour::default()).await;
        sending.offhook.take().expect("it runs").stop().expect("a clean end");
        let path = sending.testbed.settings.environment()["OFFHOOK_CONFIG"].clone();
        let process = Spawned::start(&sending.testbed.settings);
        Self { sending, process, path }
    }

    fn configured(&self) -> String {
        std::fs::read_to_string(&self.path).expect("it is there")
    }

    /// Has it read this, and returns once it has.
    async fn reload(&self, config: &str) {
        std::fs::write(&self.path, config).expect("it is ours");
        let series = "offhook_config_reloads_total{result=\"ok\"}";
        let before = self.process.client.metric(series).await;
        self.process.signal(Signal::Hangup);
        until("it has reloaded", async || {
            (self.process.client.metric(series).await > before).then_some(())
        })
        .await;
    }

    async fn ask(&self, token: &str, sender: &str) -> (StatusCode, Value) {
        let mut asked = message(1);
        asked["sender"] = json!(sender);
        self.ask_with(token, None, &asked).await
    }

    async fn ask_with(&self, token: &str, key: Option<&str>, asked: &Value) -> (StatusCode, Value) {
        let url = format!("http://{}/api/notifications", self.process.client.private());
        let request = self.sending.http.post(url).bearer_auth(token);
        let mut request =
            request.header("content-type", "application/json").body(asked.to_string());
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let answer = request.send().await.expect("the admin listener answers");
        let status = answer.status();
        let text = answer.text().await.expect("the whole answer");
        (status, serde_json::from_str(&text).expect("JSON"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_takes_senders_and_tokens_but_no_other_account() {
    const NEW_TOKEN: &str = "another-token-of-24-characters";
    let server = Reloaded::start().await;
    let before = server.configured();
    let first = until("its tables are there", async || {
        let answer = server.ask(SENDING_TOKEN, "shop").await;
        (answer.0 != StatusCode::SERVICE_UNAVAILABLE).then_some(answer)
    });
    assert_eq!(first.await.0, StatusCode::ACCEPTED);
    let unknown = server.ask(SENDING_TOKEN, "second").await;
    assert_eq!(unknown.0, StatusCode::UNPROCESSABLE_ENTITY, "{}", unknown.1);

    let more = before.replace("[twilio]", &format!("{SECOND}[twilio]"));
    server.reload(&more.replace(SENDING_TOKEN, NEW_TOKEN)).await;
    assert_eq!(server.ask(SENDING_TOKEN, "second").await.0, StatusCode::UNAUTHORIZED);
    let (status, answer) = server.ask(NEW_TOKEN, "second").await;
    assert_eq!(status, StatusCode::ACCEPTED, "{answer}");
    let sent_by = |from: &str| {
        let ledger = server.sending.simulator.ledger();
        ledger.messages.iter().filter(|it| it.from.as_deref() == Some(from)).count()
    };
    until("the second has sent", async || (sent_by("+12125550101") == 1).then_some(())).await;
    assert_eq!(server.process.client.metric("offhook_sender_paused{sender=\"second\"}").await, 0.0);
    let log = server.process.log();
    assert!(!log.contains("needs a restart"), "{log}");

    // One of another account would be another deployment.
    let other = format!(
        "[[account]]\nsid = \"AC{}\"\nauth_tokens = [\"t0ken-of-another-account\"]\n\
         [[sender]]\nname = \"third\"\nfrom = \"+12125550102\"\naccount = \"AC{}\"\nrate = 1.0\n[twilio]",
        "0".repeat(32),
        "0".repeat(32)
    );
    let own =
        format!("name = \"shop\"\naccount = \"{}\"", server.sending.simulator.identity().account);
    let config = before.replace("[twilio]", &other).replace("name = \"shop\"", &own);
    server.reload(&config).await;
    // A log is a pipe, and comes when it comes.
    until("the log says so", async || {
        server.process.log().contains("which needs a restart").then_some(())
    })
    .await;
    assert_eq!(server.ask(NEW_TOKEN, "second").await.0, StatusCode::ACCEPTED, "as it was");
}

/// The first answer may have been lost, and there may be other senders by the time that the request is repeated.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_answered_alike_after_a_reload() {
    let server = Reloaded::start().await;
    let ask = async |key| server.ask_with(SENDING_TOKEN, Some(key), &message(1)).await;
    let first = until("its tables are there", async || {
        let answer = ask("key-1").await;
        (answer.0 != StatusCode::SERVICE_UNAVAILABLE).then_some(answer)
    });
    let (status, kept) = first.await;
    assert_eq!(status, StatusCode::ACCEPTED, "{kept}");
    let before = server.configured();
    let second = before.replace("[twilio]", &format!("{SECOND}[twilio]"));
    let renamed = before.replace("name = \"shop\"", "name = \"store\"");
    for (config, of_another_key) in
        [(second, StatusCode::UNPROCESSABLE_ENTITY), (renamed, StatusCode::ACCEPTED)]
    {
        server.reload(&config).await;
        let (status, again) = ask("key-1").await;
        assert_eq!((status, &again["repeated"]), (StatusCode::ACCEPTED, &json!(true)), "{again}");
        for field in ["id", "segments"] {
            assert_eq!(again[field], kept[field], "{again}");
        }
        let (status, other) = ask("key-2").await;
        assert_eq!(status, of_another_key, "{other}");
    }
}

/// A reload that cannot take the last sender away goes on sending, and so must hear who says STOP.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_is_heeded_after_a_reload_that_leaves_sending_as_it_was() {
    let server = Reloaded::start().await;
    until("its tables are there", async || {
        let answer = server.ask(SENDING_TOKEN, "shop").await;
        (answer.0 == StatusCode::ACCEPTED).then_some(())
    })
    .await;
    let before = server.configured();
    let (start, rest) = before.split_once("[[sender]]").expect("a sender");
    let (_, end) = rest.split_once("[twilio]").expect("another section");
    server.reload(&format!("{start}[twilio]{end}")).await;
    until("the log says so", async || {
        server.process.log().contains("which needs a restart").then_some(())
    })
    .await;
    let url = format!("http://{}/incoming-message", server.process.client.inbound());
    let mut stop = vec!["send", &url, "--kind", "incoming-message"];
    stop.extend(["--param", "From=+14155550001", "--param", "Body=STOP"]);
    run(&server.sending.testbed.settings, &stop).well();
    let list = format!("http://{}/api/suppressions", server.process.client.private());
    until("it is heeded", async || {
        let request = server.sending.http.get(&list).bearer_auth(SENDING_TOKEN);
        let text = request.send().await.expect("an answer").text().await.expect("all of it");
        text.contains("+14155550001").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_goes_in_and_comes_out_and_its_bad_lines_are_named() {
    let sending = Sending::start(Mode::Embedded, Behaviour::default()).await;
    let id = sending.ask(&message(1)).await;
    sending.reaches(&id, "confirmed").await;
    let admin = format!("http://{}", sending.offhook().client.private());
    let settings = sending.testbed.settings.clone().set("OFFHOOK_ADMIN_URL", admin);
    let file = sending.testbed.directory().join("list.csv").display().to_string();
    std::fs::write(&file, "name,to\nA,+14155550001\nB,5550100\n").expect("it is ours");
    for (added, known) in [(2, 0), (0, 2)] {
        let ended = run(&settings, &["suppressions", "import", &file]);
        let result: Value = serde_json::from_str(&ended.out).expect("JSON");
        assert_eq!(result, json!({ "added": added, "known": known, "wrong": 1 }));
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.error.contains("line 3: `to` is not a number in E.164"), "{ended:?}");
    }
    let id = sending.ask(&message(1)).await;
    assert_eq!(sending.reaches(&id, "refused").await["reason"], "suppression");
    run(&settings, &["suppressions", "add", "+14155550002"]).well();
    let listed = run(&settings, &["suppressions", "export"]).well();
    std::fs::write(&file, &listed).expect("it is ours");
    assert_eq!(listed.lines().count(), 5, "{listed}");
    assert!(listed.contains("+14155550001,") && listed.contains(",import,"), "{listed}");
    for number in ["+14155550001", "+14155550002"] {
        run(&settings, &["suppressions", "remove", number]).well();
    }
    let listed: Value =
        serde_json::from_str(&run(&settings, &["suppressions", "list"]).well()).expect("JSON");
    assert_eq!(listed["suppressions"], json!([]));
    let again = run(&settings, &["suppressions", "import", &file]).well();
    let again: Value = serde_json::from_str(&again).expect("JSON");
    assert_eq!(again["added"], json!(4), "what was exported goes in again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn marketing_is_sent_to_who_has_agreed_as_long_as_hours_are_configured() {
    let hours = "[quiet_hours]\nprofile = \"custom\"\nfrom = \"00:00\"\nuntil = \"24:00\"\n";
    let sending = Sending::with(Mode::Embedded, Behaviour::default(), hours).await;
    let first = sending.ask(&message(1)).await;
    sending.reaches(&first, "confirmed").await;
    let admin = format!("http://{}", sending.offhook().client.private());
    let settings = sending.testbed.settings.clone().set("OFFHOOK_ADMIN_URL", admin);
    let file = sending.testbed.directory().join("agreed.csv").display().to_string();
    let list = "to,at,source,text\n+14155550001,2026-01-01T00:00:00Z,web form,\"Offers, by SMS\"\n\
                5550100,2026-01-01T00:00:00Z,web form,Offers\n+14155550002,2999-01-01T00:00:00Z,web form,Offers\n\
                +14155550002,,web form,Offers\n+14155550002,2026-01-01T00:00:00Z,,Offers\n\
                +14155550002,2026-01-01T00:00:00Z,web form,\n+14155550002,2026-01-01T00:00:00Z,web form,\"Offers\n";
    std::fs::write(&file, list).expect("it is ours");
    for (added, known) in [(2, 0), (0, 2)] {
        let ended = run(&settings, &["consents", "import", &file]);
        let result: Value = serde_json::from_str(&ended.out).expect("JSON");
        assert_eq!(result, json!({ "added": added, "known": known, "wrong": 6 }), "{ended:?}");
        assert_eq!(ended.code, Some(1), "{ended:?}");
        for line in [
            "line 3: `to`: it is not a number",
            "line 4: `at`: it is in the future",
            "line 5: `at`: it is missing",
            "line 6: `source`: it is missing",
            "line 7: `text`: it is missing",
            "line 8: a quote is not closed",
        ] {
            assert!(ended.error.contains(line), "{line}: {ended:?}");
        }
    }
    let marketing = |number| {
        let mut ask = message(number);
        ask["purpose"] = json!("marketing");
        ask
    };
    let id = sending.ask(&marketing(1)).await;
    sending.reaches(&id, "confirmed").await;
    let (status, problem) = sending.post("/api/notifications", &marketing(2)).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
    assert!(problem["detail"].as_str().expect("a detail").contains("gate `consent`"), "{problem}");

    sending.post("/api/senders/shop/pause", &json!({})).await;
    let waiting = sending.ask(&marketing(1)).await;
    run(&settings, &["consents", "withdraw", "+14155550001"]).well();
    sending.post("/api/senders/shop/resume", &json!({})).await;
    assert_eq!(sending.reaches(&waiting, "refused").await["reason"], "consent");
    let shown: Value =
        serde_json::from_str(&run(&settings, &["consents", "show", "+14155550001"]).well())
            .expect("JSON");
    assert_eq!(shown["consented"], false);
    assert_eq!(shown["entries"][1]["text"], "Offers, by SMS", "{shown}");
    assert_eq!(sending.simulator.created(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_asks_twilio_and_calls_back_as_about_a_message() {
    let calls = "[[sender]]\nname = \"night\"\nfrom = \"+15005550006\"\nkind = \"voice\"\n";
    let sending = Sending::with(Mode::Embedded, Behaviour::default(), calls).await;
    let settings = sending.testbed.settings.clone();
    sending.simulator.add_number("+15550100");
    let said = run(&settings, &["doctor"]).well();
    for part in [
        "Twilio takes the auth token of sender shop",
        "active",
        "and is in the store",
        "1 of 1 numbers and Messaging Services lack a fallback URL or a status callback (+15550100)",
        "/voice-confirm, which takes the keys",
        "may have 1 call open at a time",
        "the number of sender night is not one of its account",
    ] {
        assert!(said.contains(part), "`{part}` is not in:\n{said}");
    }
    let ledger = sending.simulator.ledger();
    assert!(ledger.posts.is_empty() && ledger.updates.is_empty(), "it changes nothing");

    let file = sending.testbed.directory().join("other.toml");
    let config = std::fs::read_to_string(&settings.environment()["OFFHOOK_CONFIG"]);
    let token = &sending.simulator.identity().token;
    let config = config.expect("it is there").replace(token, &"0".repeat(32));
    std::fs::write(&file, config).expect("it is ours");
    let ended = run(&settings.set("OFFHOOK_CONFIG", file.display().to_string()), &["doctor"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    for part in
        ["Twilio refuses the auth token of sender shop", "20003", "auth_tokens of [[account]]"]
    {
        assert!(ended.out.contains(part), "`{part}` is not in:\n{}", ended.out);
    }
}
