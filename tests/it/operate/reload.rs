//! SIGHUP: what may change does, nobody who is being served notices, and what is wrong changes
//! nothing and is named.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use offhook::config::Role;
use offhook::lab::endpoint::{Arrival, Endpoint};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::harness::{
    ACCOUNT, Callback, OTHER_TOKEN, Signature, Spawned, TOKEN, Testbed, both_modes, until,
};
use crate::operate::metrics::scrape;
use crate::services::{Signal, needs};

both_modes! {
    nobody_is_refused_or_dropped_while_it_reloads,
    a_rotated_token_is_taken_and_the_old_one_refused_without_a_restart,
    what_may_be_kept_changes_from_one_callback_to_the_next_and_search_knows_it,
    forwards_come_change_and_go_without_a_restart,
}

/// A configuration file and what it names, which tests write again.
struct Files(TempDir);

impl Files {
    /// These, and the settings of the testbed to go by them.
    fn on(testbed: &mut Testbed) -> Self {
        let files = Self(tempfile::tempdir().expect("a temporary directory"));
        testbed.settings = testbed
            .settings
            .clone()
            .unset("TWILIO_ACCOUNT_SID")
            .unset("TWILIO_AUTH_TOKEN")
            .set("OFFHOOK_CONFIG", files.path("offhook.toml").display().to_string());
        files.write("tokens", TOKEN);
        files.configure("");
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("the directory is ours");
    }

    /// One account, whose tokens are in a file, and this.
    fn configure(&self, more: &str) {
        let tokens = self.path("tokens");
        let account =
            format!("sid = \"{ACCOUNT}\"\nname = \"main\"\nauth_tokens_file = {tokens:?}");
        self.write("offhook.toml", &format!("{more}\n[[account]]\n{account}\n"));
    }
}

const RELOADS: &str = "offhook_config_reloads_total";

/// Has it read everything again, and returns once it has.
async fn reload(offhook: &Spawned, result: &str) {
    let series = format!("{RELOADS}{{result=\"{result}\"}}");
    let before = scrape(&offhook.client).await.series[&series];
    offhook.signal(Signal::Hangup);
    until("it has reloaded", async || {
        (scrape(&offhook.client).await.series[&series] > before).then_some(())
    })
    .await;
}

fn call(sender: usize, n: usize) -> Callback {
    let sid = format!("CA{sender:04x}{n:028x}");
    Callback::form(format!(
        "CallSid={sid}&AccountSid={ACCOUNT}&CallStatus=completed&CallbackSource=call-progress-events"
    ))
}

async fn status(offhook: &Spawned, n: usize, token: &'static str) -> u16 {
    let callback = call(9, n).signed(Signature::Token(token));
    offhook.client.send(&callback).await.status().as_u16()
}

async fn nobody_is_refused_or_dropped_while_it_reloads(mut testbed: Testbed) {
    const SENDERS: usize = 4;
    const RELOADS: usize = 30;
    let files = Files::on(&mut testbed);
    let offhook = Spawned::start(&testbed.settings);
    let (enough, mut senders) = (Arc::new(AtomicBool::new(false)), JoinSet::new());
    for sender in 0..SENDERS {
        let (client, enough) = (offhook.client.clone(), Arc::clone(&enough));
        senders.spawn(async move {
            let mut sent = 0;
            while !enough.load(Ordering::Relaxed) {
                client.accepts(&call(sender, sent)).await;
                sent += 1;
            }
            sent
        });
    }
    for n in 0..RELOADS {
        // The token in use moves to another place and back, among others that change.
        files.write("tokens", &[format!("{n:032}\n{TOKEN}"), TOKEN.to_owned()][n % 2]);
        reload(&offhook, "ok").await;
    }
    enough.store(true, Ordering::Relaxed);
    let sent: usize = senders.join_all().await.iter().sum();
    assert!(sent > RELOADS, "it was asked meanwhile");
    testbed.contents_of(sent).await;
    // However often they changed, a secret that is gone has no series.
    let series = scrape(&offhook.client).await.series;
    let matches = series.keys().filter(|name| name.starts_with("offhook_secret_matches_total"));
    assert_eq!(matches.count(), 1);
}

async fn a_rotated_token_is_taken_and_the_old_one_refused_without_a_restart(mut testbed: Testbed) {
    let files = Files::on(&mut testbed);
    let offhook = Spawned::start(&testbed.settings);
    assert_eq!(status(&offhook, 0, TOKEN).await, 200);
    assert_eq!(status(&offhook, 1, OTHER_TOKEN).await, 403);

    files.write("tokens", &format!("{TOKEN}\n{OTHER_TOKEN}\n"));
    files.configure("");
    reload(&offhook, "ok").await;
    let second = "offhook_secret_matches_total{account=\"main\",key_id=\"auth_token_2\"}";
    assert_eq!(scrape(&offhook.client).await.series[second], 0.0, "before it is used");
    assert_eq!(status(&offhook, 2, TOKEN).await, 200);
    assert_eq!(status(&offhook, 3, OTHER_TOKEN).await, 200);
    assert_eq!(scrape(&offhook.client).await.series[second], 1.0);

    files.write("tokens", OTHER_TOKEN);
    reload(&offhook, "ok").await;
    assert_eq!(status(&offhook, 4, TOKEN).await, 403);
    assert_eq!(status(&offhook, 5, OTHER_TOKEN).await, 200);
    assert!(!scrape(&offhook.client).await.series.contains_key(second), "it is gone");
    assert!(!offhook.log().contains(OTHER_TOKEN), "{}", offhook.log());
}

/// A forward of the form `standard`.
fn forward(name: &str, to: &Endpoint, more: &str) -> String {
    let url = to.url();
    format!("[[forward]]\nname = \"{name}\"\nurl = \"{url}\"\nform = \"standard\"\n{more}\n")
}

/// Until exactly these calls have arrived, each once, and in this order.
async fn arrived(endpoint: &Endpoint, calls: &[usize]) {
    let is_of = |body: &[u8], n: &usize| {
        let sid = format!("CA{:04x}{n:028x}", 9);
        String::from_utf8_lossy(body).contains(&sid)
    };
    until("they have arrived", async || {
        let arrivals = endpoint.arrivals();
        assert!(arrivals.len() <= calls.len(), "{arrivals:?}");
        let all = arrivals.len() == calls.len();
        let right = arrivals.iter().zip(calls).all(|(arrival, n)| is_of(&arrival.body, n));
        assert!(right, "{arrivals:?}");
        all.then_some(())
    })
    .await;
}

async fn forwards_come_change_and_go_without_a_restart(mut testbed: Testbed) {
    let files = Files::on(&mut testbed);
    let (one, other) = (Endpoint::start().await, Endpoint::start().await);
    let (one, other) = (one.expect("a port"), other.expect("a port"));
    let offhook = Spawned::start(&testbed.settings);
    let known = async |names: &[&str]| {
        until("the store knows it", async || {
            let known = testbed.try_column("SELECT name FROM forwards ORDER BY name").await?;
            (known == names).then_some(())
        })
        .await;
    };
    let done = |name: &str| {
        format!("offhook_forward_attempts_total{{forward=\"{name}\",outcome=\"done\"}}")
    };
    let begun = |name: &str| {
        let (log, name) = (offhook.log(), format!("\"forward\":\"{name}\""));
        let begins = |line: &&str| line.contains("forwarding begins") && line.contains(&name);
        log.lines().filter(begins).count()
    };
    let secrets = format!("secrets_file = {:?}", files.path("secrets"));
    let secret = |letter: &str| format!("whsec_{}", letter.repeat(32));
    files.write("secrets", &secret("a"));

    // One comes.
    files.configure(&forward("app", &one, &secrets));
    reload(&offhook, "ok").await;
    known(&["app"]).await;
    status(&offhook, 0, TOKEN).await;
    arrived(&one, &[0]).await;
    until("its answer is counted", async || {
        (offhook.client.metric(&done("app")).await == 1.0).then_some(())
    })
    .await;

    // Another one comes, and a token: that goes on.
    let before = begun("app");
    files.write("tokens", &format!("{TOKEN}\n{OTHER_TOKEN}"));
    files.configure(&(forward("app", &one, &secrets) + &forward("second", &other, &secrets)));
    reload(&offhook, "ok").await;
    known(&["app", "second"]).await;
    status(&offhook, 1, TOKEN).await;
    arrived(&one, &[0, 1]).await;
    arrived(&other, &[1]).await;
    assert_eq!(begun("app"), before, "of it nothing has changed");

    // A file that both name has changed: from then on two secrets sign.
    files.write("secrets", &format!("{}\n{}", secret("b"), secret("a")));
    reload(&offhook, "ok").await;
    status(&offhook, 2, TOKEN).await;
    arrived(&one, &[0, 1, 2]).await;
    arrived(&other, &[1, 2]).await;
    let signatures = |arrival: &Arrival| arrival.head.matches("v1,").count();
    assert_eq!(one.arrivals().iter().map(signatures).collect::<Vec<_>>(), [1, 1, 2]);

    // The one goes elsewhere, and the other one goes.
    files.configure(&forward("app", &other, &secrets));
    reload(&offhook, "ok").await;
    status(&offhook, 3, TOKEN).await;
    arrived(&other, &[1, 2, 3]).await;
    assert!(!scrape(&offhook.client).await.series.contains_key(&done("second")), "it is gone");
    let listed = offhook.client.admin("/api/forwards").await.text().await.expect("JSON");
    let listed: serde_json::Value = serde_json::from_str(&listed).expect("JSON");
    let configured: Vec<_> = listed["forwards"].as_array().expect("a list").iter().collect();
    let configured: Vec<_> = configured.iter().map(|it| it["configured"].clone()).collect();
    assert_eq!(configured, [true, false], "{listed}");

    // What is wrong changes nothing.
    files.write("ca", "no certificate");
    let ca = format!("{secrets}\nca_file = {:?}", files.path("ca"));
    files.configure(&forward("app", &one, &ca));
    reload(&offhook, "failed").await;
    status(&offhook, 4, TOKEN).await;
    arrived(&other, &[1, 2, 3, 4]).await;

    // Nothing is lost of what comes while it is not there.
    files.configure("");
    reload(&offhook, "ok").await;
    status(&offhook, 5, TOKEN).await;
    testbed.contents_of(6).await;
    files.configure(&forward("app", &one, &secrets));
    reload(&offhook, "ok").await;
    arrived(&one, &[0, 1, 2, 5]).await;
    assert!(!offhook.log().contains("whsec"), "{}", offhook.log());
}

#[tokio::test]
async fn what_is_wrong_changes_nothing_and_is_named() {
    let mut testbed = Testbed::embedded();
    let files = Files::on(&mut testbed);
    let offhook = Spawned::start(&testbed.settings);
    let successful = "offhook_config_last_reload_successful";
    assert_eq!(offhook.client.metric(successful).await, 1.0);

    std::fs::remove_file(files.path("tokens")).expect("it is there");
    reload(&offhook, "failed").await;
    assert_eq!(status(&offhook, 0, TOKEN).await, 200, "the old one goes on");
    assert_eq!(offhook.client.metric(successful).await, 0.0);
    // A log is a pipe, and comes when it comes.
    let said = until("the log says so", async || {
        let log = offhook.log();
        log.lines().find(|line| line.contains("the old one stays in force")).map(str::to_owned)
    })
    .await;
    let (key, file) = ("\"key\":\"account[0].auth_tokens_file\"", files.path("offhook.toml"));
    assert!(said.contains(key) && said.contains(&file.display().to_string()), "{said}");
    assert!(said.contains("ERROR") && said.contains("tokens cannot be read"), "{said}");

    until("the console says so", async || {
        let page = offhook.client.admin("/").await.text().await.ok()?;
        page.contains("The last reload failed: the configuration has an error").then_some(())
    })
    .await;

    files.write("offhook.toml", "[fallback");
    reload(&offhook, "failed").await;
    assert_eq!(status(&offhook, 1, TOKEN).await, 200, "the old one goes on");

    const SECRET: &str = "t0ken-6f1c";
    for rest in [
        format!("auth_tokens = '{SECRET}'"),
        format!("auth_tokens = ['{SECRET}', '']"),
        format!("auth_tokens = {{ '{SECRET}' = 1 }}"),
        format!("auth_tokens = ['a']\nshared_keys = ['{SECRET}']"),
        format!("shared_keys = [{{ id = '{SECRET}', secret = ' ' }}]"),
        format!("shared_keys = [{{ id = 'auth_token_1', secret = '{SECRET}{SECRET}' }}]"),
    ] {
        files.write("offhook.toml", &format!("[[account]]\nsid = '{ACCOUNT}'\n{rest}\n"));
        reload(&offhook, "failed").await;
    }
    let log = offhook.log();
    assert!(!log.contains(SECRET), "{log}");
    assert_eq!(status(&offhook, 2, TOKEN).await, 200, "the old one goes on");

    files.write("tokens", TOKEN);
    files.configure("");
    reload(&offhook, "ok").await;
    assert_eq!(offhook.client.metric(successful).await, 1.0);
}

#[tokio::test]
async fn what_callers_hear_changes_without_a_restart() {
    let mut testbed = Testbed::embedded();
    let files = Files::on(&mut testbed);
    let say = |text: &str| format!("<Response><Say>{text}</Say></Response>");
    let number = |name: &str| {
        let path = files.path(name);
        format!("[[fallback.number]]\nnumber = \"+15550100002\"\nvoice_file = {path:?}\n")
    };
    files.write("voice.xml", &say("one"));
    files.write("number.xml", &say("one of its own"));
    let voice = files.path("voice.xml");
    files.configure(&format!("[fallback]\nvoice_file = {voice:?}\n{}", number("number.xml")));
    let offhook = Spawned::start(&testbed.settings);
    let hears = async |to: &str| {
        let body = format!(
            "CallSid=CA1&AccountSid={ACCOUNT}&To=%2B{to}&CallStatus=in-progress&CallbackSource=call-progress-events"
        );
        let answer = offhook.client.send(&Callback::form(body).to("/voice-fallback")).await;
        answer.text().await.expect("the whole answer")
    };
    assert_eq!(hears("15550100002").await, say("one of its own"));
    assert_eq!(hears("15550100003").await, say("one"));
    files.write("voice.xml", &say("two"));
    files.write("number.xml", &say("two of its own"));
    reload(&offhook, "ok").await;
    assert_eq!(hears("15550100002").await, say("two of its own"));
    assert_eq!(hears("15550100003").await, say("two"));
}

#[tokio::test]
async fn what_needs_a_restart_is_named_and_the_rest_is_taken() {
    let mut testbed = Testbed::embedded();
    let files = Files::on(&mut testbed);
    files.write("admin", "one");
    let admin = format!("[admin]\ntoken_file = {:?}\n", files.path("admin"));
    files.configure(&admin);
    let offhook = Spawned::start(&testbed.settings);
    let reloaded = async || {
        until("it has reloaded", async || {
            offhook.log().contains("configuration reloaded").then_some(())
        })
        .await;
    };
    offhook.signal(Signal::Hangup);
    reloaded().await;
    assert!(!offhook.log().contains("needs a restart"), "{}", offhook.log());

    files.write("admin", "two");
    files.write("tokens", OTHER_TOKEN);
    files.configure(&format!("{admin}[calls]\nlimit = 50\n[inbound]\nbody_limit = 65536\n"));
    offhook.signal(Signal::Hangup);
    let named = "\"keys\":\"admin.token_file, calls.limit\"";
    until("it names both", async || offhook.log().contains(named).then_some(())).await;
    until("the rest is taken", async || {
        (status(&offhook, 0, OTHER_TOKEN).await == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_worker_reads_its_configuration_again_and_goes_on() {
    needs!(Redis, Postgres);
    let mut testbed = Testbed::of(crate::harness::Mode::ScaleOut);
    let files = Files::on(&mut testbed);
    let mut offhook = Spawned::start(&testbed.role(Role::Worker));
    reload(&offhook, "ok").await;
    files.write("offhook.toml", "[fallback");
    reload(&offhook, "failed").await;
    offhook.signal(Signal::Terminate);
    assert!(offhook.wait().success(), "{}", offhook.log());
}

async fn what_may_be_kept_changes_from_one_callback_to_the_next_and_search_knows_it(
    mut testbed: Testbed,
) {
    let files = Files::on(&mut testbed);
    let offhook = Spawned::start(&testbed.settings);
    let call = |sid: &str| {
        let body = format!(
            "CallSid={sid}&AccountSid={ACCOUNT}&CallStatus=busy&CallbackSource=call-progress-events&To=%2B15550100&Vip=x"
        );
        Callback::form(body)
    };
    offhook.client.accepts(&call("CA1")).await;
    files.write("key", "0123456789abcdef0123456789abcdef");
    let key = files.path("key");
    files.configure(&format!(
        "[privacy]\nnumbers = \"hash\"\nnames = \"drop\"\nkey_file = {key:?}\nalso_names = [\"vip\"]"
    ));
    reload(&offhook, "ok").await;
    offhook.client.accepts(&call("CA2")).await;
    // Without its key nothing is taken, and what was in force stays so.
    files.configure("[privacy]\nnumbers = \"hash\"");
    reload(&offhook, "failed").await;
    offhook.client.accepts(&call("CA3")).await;
    let contents = testbed.contents_of(3).await;
    assert_eq!(contents.status("CA1").to.as_deref(), Some("+15550100"));
    let hashed = contents.status("CA2").to.clone().expect("it has one");
    assert!(hashed.starts_with("hash:"), "{hashed}");
    assert_eq!(contents.status("CA3").to.as_deref(), Some(hashed.as_str()));
    assert!(!contents.events[1].params.contains("Vip"), "{}", contents.events[1].params);
    let (_, found) = offhook.client.json("/api/statuses?q=15550100").await;
    assert_eq!(found["statuses"].as_array().map(Vec::len), Some(3), "{found}");
    let log = offhook.log();
    assert!(log.contains("privacy.numbers") && !log.contains("needs a restart"), "{log}");
}
