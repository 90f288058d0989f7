//! What an operator does: `doctor`.

use offhook::lab::twilio::Behaviour;

use super::Sending;
use crate::harness::{Mode, run};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_asks_twilio_and_calls_back_as_about_a_message() {
    let sending = Sending::start(Mode::Embedded, Behaviour::default()).await;
    let settings = sending.testbed.settings.clone();
    let said = run(&settings, &["doctor"]).well();
    for part in ["Twilio takes the auth token of sender shop", "active", "and is in the store"] {
        assert!(said.contains(part), "`{part}` is not in:\n{said}");
    }
    assert!(sending.simulator.ledger().posts.is_empty(), "it costs nothing");

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
