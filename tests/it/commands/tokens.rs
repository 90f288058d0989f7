//! What a command may do with `admin.read_token`: ask everything, change nothing.

use offhook::config::Role;
use serde_json::Value;

use crate::harness::{ACCOUNT, Callback, Offhook, Settings, Testbed, run};

const CHANGES: &str = "a-token-that-may-change";
const LOOKS: &str = "a-token-that-may-look";

#[tokio::test]
async fn with_the_token_of_a_reader_commands_answer_and_change_nothing() {
    let testbed = Testbed::embedded();
    let settings = testbed.role(Role::All).set("OFFHOOK_ADMIN__TOKEN", CHANGES);
    let offhook = Offhook::start(&settings.set("OFFHOOK_ADMIN__READ_TOKEN", LOOKS));
    let body = format!(
        "CallSid=CA1&AccountSid={ACCOUNT}&CallStatus=busy&CallbackSource=call-progress-events"
    );
    offhook.client.accepts(&Callback::form(body)).await;
    testbed.contents_of(1).await;
    let url = format!("http://{}", offhook.client.admin_address());
    let ask = |arguments: &[&str]| {
        let server = ["--admin", &url, "--token", LOOKS];
        run(&Settings::none(), &[arguments, &server].concat())
    };
    let timeline: Value = serde_json::from_str(&ask(&["inspect", "CA1"]).well()).expect("JSON");
    assert_eq!(timeline["sid"], "CA1", "{timeline}");
    assert!(ask(&["stats"]).well().contains("busy"));
    // How much it would be is a way to change, too: the server does not tell the two apart.
    for arguments in
        [&["purge", "--sid", "CA1", "--yes"][..], &["purge", "--sid", "CA1", "--dry-run"]]
    {
        let said = ask(arguments).badly();
        assert!(said.contains("admin.read_token") && !said.contains(LOOKS), "{said}");
    }
    assert_eq!(testbed.contents().await.events.len(), 1);
    let purge = ["purge", "--sid", "CA1", "--yes", "--admin", &url, "--token", CHANGES];
    run(&Settings::none(), &purge).well();
    assert!(testbed.contents().await.events.is_empty());
}
