//! `offhook send`: one signed callback, to see whether a deployment takes it.

use offhook::config::Role;

use crate::harness::{ACCOUNT, Ended, Offhook, PUBLIC_URL, Settings, Testbed, run};

/// Sends to a server that is not asked through its public URL.
fn send(offhook: &Offhook, settings: &Settings, path: &str, arguments: &[&str]) -> Ended {
    let url = format!("http://{}{path}", offhook.client.inbound());
    run(settings, &[&["send", &url, "--public-url", PUBLIC_URL], arguments].concat())
}

#[tokio::test]
async fn every_kind_is_accepted_and_stored_as_what_it_is() {
    let testbed = Testbed::embedded();
    let offhook = testbed.start();
    let kinds = [
        ("/status", "call"),
        ("/status", "message"),
        ("/status", "recording"),
        ("/status", "conference"),
        ("/status", "amd"),
        ("/status", "transcription"),
        ("/status", "other"),
        ("/debugger", "debugger"),
        ("/event-streams", "event-stream"),
        ("/voice-fallback", "fallback"),
    ];
    for (path, kind) in kinds {
        let printed = send(&offhook, &testbed.settings, path, &["--kind", kind]).well();
        assert!(printed.contains(&format!("POST http://{}", offhook.client.inbound())));
        assert!(printed.contains(&format!("signed for {PUBLIC_URL}{path}")), "{printed}");
        assert!(printed.contains("\n200 OK in "), "{printed}");
        assert!(printed.contains("content-type: text/xml"), "{printed}");
    }
    let contents = testbed.contents_of(kinds.len()).await;
    let mut stored: Vec<_> = contents.events.iter().map(|e| e.event.kind.as_str()).collect();
    stored.sort();
    let mut sent = kinds.map(|(_, kind)| kind.replace('-', "_"));
    sent.sort();
    assert_eq!(stored, sent);
}

#[tokio::test]
async fn what_is_asked_for_is_what_is_stored_by_post_and_by_get() {
    let testbed = Testbed::embedded();
    let offhook = testbed.start();
    for (sid, method) in [("SM1", "post"), ("SM2", "get")] {
        let arguments = ["--kind", "message", "--sid", sid, "--status", "undelivered"];
        let more = ["--param", "ErrorCode=30003", "--param", "To=+15550100", "--method", method];
        let path = "/status?tenant=it%27s#rc=5&rp=all";
        send(&offhook, &testbed.settings, path, &[&arguments[..], &more].concat()).well();
        let contents = testbed.contents_with(&[format!("{sid}-undelivered-30003")]).await;
        let row = contents.status(sid);
        assert_eq!((row.account.as_str(), row.position.status.as_str()), (ACCOUNT, "undelivered"));
        assert_eq!(row.error.as_ref().map(|error| error.code.as_str()), Some("30003"));
        assert_eq!(row.to.as_deref(), Some("+15550100"));
    }
}

#[tokio::test]
async fn a_refusal_ends_it_badly_and_it_says_what_may_be_wrong() {
    let testbed = Testbed::embedded();
    let offhook = testbed.start();
    let wrong = testbed.settings.clone().set("TWILIO_AUTH_TOKEN", "a-guess");
    let ended = send(&offhook, &wrong, "/status", &[]);
    assert!(ended.out.contains("403 Forbidden"), "{ended:?}");
    let said = ended.badly();
    assert!(said.contains("another secret or another public_url"), "{said}");
    assert!(!said.contains("a-guess"), "{said}");
    let said = send(&offhook, &testbed.settings, "/nowhere", &[]).badly();
    assert!(said.contains("refused with 404"), "{said}");
    assert_eq!(testbed.contents().await.events.len(), 0);
}

#[test]
fn without_an_answer_it_ends_badly() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/status", nobody.local_addr().expect("it is bound"));
    drop(nobody);
    let said = run(&Settings::new(Role::All), &["send", &url]).badly();
    assert!(said.contains(&format!("no answer from {url}")), "{said}");
}
