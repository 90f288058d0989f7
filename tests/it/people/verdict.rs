//! The verdict of a process: what is wrong is named for as long as it is, and nothing that cannot be known is
//! shown.

use offhook::config::Role;
use serde_json::{Value, json};

use crate::harness::{
    Callback, Client, Mode, Offhook, Signature, Testbed, both_modes, fixture, until,
};
use crate::services::{Durability, needs};

/// The alerts that the verdict names, and what it says.
async fn verdict(client: &Client) -> (Vec<String>, String) {
    let (_, answer) = client.json("/api/verdict").await;
    let findings = answer["findings"].as_array().expect("findings");
    let alerts = findings.iter().filter_map(|one| Some(one["alert"].as_str()?.to_owned()));
    (alerts.collect(), answer.to_string())
}

async fn names(client: &Client, alert: &str) -> String {
    until(&format!("{alert} is named"), async || {
        let (alerts, said) = verdict(client).await;
        alerts.iter().any(|named| named == alert).then_some(said)
    })
    .await
}

async fn names_no_more(client: &Client, alert: &str) {
    until(&format!("{alert} is not named any more"), async || {
        let (alerts, _) = verdict(client).await;
        (!alerts.iter().any(|named| named == alert)).then_some(())
    })
    .await;
}

fn call() -> Callback {
    Callback::form(fixture("call.form"))
}

const GET: &str = "AccountSid=AC00000000000000000000000000000001&CallSid=CA1&CallStatus=busy";

#[tokio::test]
async fn callbacks_that_are_refused_are_named_whatever_the_reason() {
    let json = || Callback::json(fixture("event_streams.json"));
    let refused = "OffhookRefusals";
    for (callback, alert) in [
        (call().signed(Signature::Missing), refused),
        (call().signed(Signature::Text("AAAA")), refused),
        (call().signed(Signature::Token("another")), refused),
        (json().with_query(""), refused),
        (json().with_query("bodySHA256=0"), refused),
        (call().with_content_type(Some("text/plain")), refused),
        (call().to("/Status"), "OffhookSignedToNoRoute"),
        (call().to("//status"), "OffhookSignedToNoRoute"),
        (call().to("/healthz"), "OffhookSignedToNoRoute"),
        (Callback::get(GET).to("/healthz"), "OffhookSignedToNoRoute"),
    ] {
        let testbed = Testbed::embedded();
        let offhook = testbed.start();
        let (alerts, said) = verdict(&offhook.client).await;
        assert_eq!(alerts, [""; 0], "{said}");
        assert!(said.contains("Everything is well"), "{said}");
        for _ in 0..3 {
            assert!(!offhook.client.send(&callback).await.status().is_success());
        }
        let (alerts, said) = verdict(&offhook.client).await;
        assert_eq!(alerts, [alert], "{said}");
        let page = offhook.client.admin("/").await.text().await.expect("the page");
        for said in [said, page] {
            assert!(said.contains("3 ") && !said.contains("Everything is well"), "{said}");
        }
    }
}

#[tokio::test]
async fn scanners_and_probes_of_a_balancer_are_no_reason_to_look() {
    let testbed = Testbed::embedded();
    let offhook = testbed.start();
    for _ in 0..50 {
        let scanner = call().to("/wp-login.php").signed(Signature::Missing);
        assert_eq!(offhook.client.send(&scanner).await.status(), 404);
        assert_eq!(healthz(&offhook).await, 200);
    }
    let (alerts, said) = verdict(&offhook.client).await;
    assert_eq!(alerts, [""; 0], "{said}");
    let series = "offhook_refusals_total{reason=\"unknown_route\"}";
    assert_eq!(offhook.client.metric(series).await, 50.0, "a probe is no refusal");
}

#[tokio::test]
async fn a_redis_that_does_not_sync_is_named_until_it_does() {
    needs!(Redis, Postgres);
    let mut testbed = Testbed::scale_out(Durability::Synced);
    let offhook = testbed.start();
    let mut set = |value: &str| {
        let mut command = redis::cmd("CONFIG");
        command.arg("SET").arg("appendfsync").arg(value);
        let answer: String = testbed.redis().query(&command);
        assert_eq!(answer, "OK");
    };
    set("everysec");
    let alert = "OffhookDurabilityBelowConfigured";
    let said = names(&offhook.client, alert).await;
    assert!(
        said.contains("appendfsync everysec") && !said.contains("Everything is well"),
        "{said}"
    );
    set("always");
    names_no_more(&offhook.client, alert).await;
}

#[tokio::test]
async fn a_dead_letter_is_named_until_it_is_gone() {
    needs!(Redis, Postgres);
    let mut testbed = Testbed::scale_out(Durability::Synced);
    let offhook = testbed.start();
    // By then there are tables.
    offhook.client.accepts(&Callback::form(fixture("message.form"))).await;
    testbed.contents_of(1).await;
    let poison = "ALTER TABLE events ADD CONSTRAINT poison CHECK (status <> 'busy')";
    testbed.postgres().execute(poison).await;
    let sid = "CA00000000000000000000000000000031";
    let account = crate::harness::ACCOUNT;
    let busy = format!(
        "CallSid={sid}&CallStatus=busy&CallbackSource=call-progress-events&AccountSid={account}"
    );
    offhook.client.accepts(&Callback::form(busy)).await;
    names(&offhook.client, "OffhookDeadLetters").await;
    let (_, letters) = offhook.client.json("/api/dead-letters").await;
    let id = letters["dead_letters"][0]["id"].as_str().expect("one of them").to_owned();
    let (status, _) =
        offhook.client.post_json("/api/dead-letters/purge", &json!({ "ids": [id] })).await;
    assert_eq!(status, 200);
    names_no_more(&offhook.client, "OffhookDeadLetters").await;
    assert_eq!(offhook.client.metric("offhook_dead_letters").await, 0.0);
}

#[tokio::test]
async fn rows_that_cannot_be_stored_are_named_while_they_wait() {
    needs!(Redis, Postgres);
    let mut testbed = Testbed::scale_out(Durability::Synced);
    let offhook = testbed.start();
    // By then there are tables.
    offhook.client.accepts(&Callback::form(fixture("message.form"))).await;
    testbed.contents_of(1).await;
    let raise = "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS \
                 'BEGIN RAISE EXCEPTION ''no'' USING ERRCODE = ''55000''; END'; \
                 CREATE TRIGGER fail BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION fail()";
    let (function, trigger) = raise.split_once("; CREATE TRIGGER").expect("two statements");
    testbed.postgres().execute(function).await;
    testbed.postgres().execute(&format!("CREATE TRIGGER{trigger}")).await;
    offhook.client.accepts(&call()).await;
    let said = names(&offhook.client, "OffhookCommitsFail").await;
    assert!(!said.contains("Everything is well"), "{said}");
    testbed.postgres().execute("DROP TRIGGER fail ON events").await;
    testbed.contents_of(2).await;
}

#[tokio::test]
async fn a_worker_shows_nothing_that_it_cannot_know() {
    needs!(Redis, Postgres);
    let mut testbed = Testbed::scale_out(Durability::Synced);
    let worker = Offhook::start(&testbed.role(Role::Worker));
    until("it works", async || worker.client.is_ready().await.then_some(())).await;
    let page = worker.client.admin("/").await.text().await.expect("the page");
    assert!(page.contains("Waiting in Redis") && !page.contains("Waiting in the spool"), "{page}");
    testbed.redis().kill();
    let page = until("it knows that Redis is away", async || {
        let page = worker.client.admin("/").await.text().await.expect("the page");
        page.contains("Redis has been down since").then_some(page)
    })
    .await;
    for part in
        ["Callbacks are answered and wait in the receivers", "unknown", "Redis does not answer"]
    {
        assert!(page.contains(part), "`{part}` is not in: {page}");
    }
    assert!(!page.contains("nothing can be stored"), "{page}");
    let (_, stats) = worker.client.json("/api/stats").await;
    let process = &stats["process"];
    for name in ["stream_depth", "stream_oldest_age", "spool_events", "dead_letters"] {
        assert_eq!(process[name], Value::Null, "{name}: {process}");
    }
}

both_modes! {
    a_silence_is_named_after_a_restart,
}

async fn a_silence_is_named_after_a_restart(testbed: Testbed) {
    let offhook = testbed.start();
    // By then there are tables.
    offhook.client.accepts(&Callback::form(fixture("message.form"))).await;
    testbed.contents_of(1).await;
    drop(offhook);
    testbed.execute("UPDATE events SET received_at = '2020-01-01T00:00:00.000000Z'").await;
    // Of each minute of the last ten days but today's: many usually come.
    let rows = match testbed.mode() {
        Mode::Embedded => {
            "WITH RECURSIVE n (n) AS (SELECT 1440 UNION ALL SELECT n + 1 FROM n WHERE n < 14400), \
             m (m) AS (VALUES (0), (1)) INSERT INTO events (key, kind, account, received_at, stored_at, \
             format, query, params, body) SELECT n || '-' || m, 'other', 'AC1', \
             strftime('%Y-%m-%dT%H:%M:%f000Z', 'now', '-' || n || ' minutes'), \
             strftime('%Y-%m-%dT%H:%M:%f000Z', 'now', '-' || n || ' minutes'), 'form', '', '{}', x'' \
             FROM n, m"
        }
        Mode::Direct | Mode::ScaleOut => {
            "INSERT INTO events (key, kind, account, received_at, format, query, params, body) \
             SELECT n || '-' || m, 'other', 'AC1', now() - n * interval '1 minute', 'form', '', '{}', '' \
             FROM generate_series(1440, 14400) AS n, generate_series(0, 1) AS m"
        }
    };
    testbed.execute(rows).await;
    let offhook = testbed.start();
    let said = names(&offhook.client, "OffhookNoCallbacks").await;
    assert!(said.contains("yesterday and a week ago"), "{said}");
    offhook.client.accepts(&call()).await;
    names_no_more(&offhook.client, "OffhookNoCallbacks").await;
}

async fn healthz(offhook: &Offhook) -> u16 {
    let url = format!("http://{}/healthz", offhook.client.inbound());
    reqwest::get(url).await.expect("the public listener answers").status().as_u16()
}

#[tokio::test]
async fn a_receiver_that_can_make_nothing_durable_tells_its_balancer() {
    needs!(Redis, Postgres);
    let mut testbed = Testbed::scale_out(Durability::Unsynced);
    testbed.settings = testbed.settings.clone().set("OFFHOOK_SPOOL__MAX_BYTES", "2000");
    let offhook = Offhook::start(&testbed.role(Role::Receiver));
    until("it is well", async || (healthz(&offhook).await == 200).then_some(())).await;
    testbed.redis().kill();
    until("nothing takes a callback any more", async || {
        let busy = offhook.client.send(&call()).await;
        (busy.status() == 503).then_some(())
    })
    .await;
    until("the balancer is told", async || (healthz(&offhook).await == 503).then_some(())).await;
    // The caller hears what it was to hear all the same.
    let fallback = Callback::form(fixture("call.form")).to("/voice-fallback");
    assert_eq!(offhook.client.send(&fallback).await.status(), 200);
    names(&offhook.client, "OffhookNotDurable").await;
    testbed.redis().restart();
    until("it is well again", async || (healthz(&offhook).await == 200).then_some(())).await;
}
