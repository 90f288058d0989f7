//! Twilio's own library for Python cannot tell the simulator from Twilio.

use std::process::Command;

use super::*;

/// Where `tests/setup` installs it, with all that its client for the REST API needs.
const LIBRARY: &str = "target/twilio/python-rest";

fn installed() -> Option<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(LIBRARY);
    directory.join("twilio").is_dir().then_some(directory)
}

#[tokio::test(flavor = "multi_thread")]
async fn twilios_library_for_python_creates_fetches_and_lists_messages() {
    let python = tool!("python3");
    let Some(library) = installed() else {
        fn here() {}
        note(std::any::type_name_of_val(&here), "library of Twilio");
        return;
    };
    let endpoint = Endpoint::start().await.expect("a port is free");
    let opted_out = vec!["+15550110".to_owned()];
    let behaviour = Behaviour { opted_out, ..Behaviour::default() };
    let simulator = start(behaviour).await;
    let identity = simulator.identity().clone();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/simulator/messages.py");
    let (url, callback) = (simulator.url(), endpoint.url());
    let run = move || {
        let mut command = Command::new(python);
        command.arg(script).arg(library).args([
            &url,
            &identity.account,
            &identity.token,
            &callback,
        ]);
        command.output().expect("it can be started")
    };
    let output = tokio::task::spawn_blocking(run).await.expect("it does not panic");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    let printed: Value = serde_json::from_slice(&output.stdout).expect("it prints JSON");

    simulator.settled().await;
    let ledger = simulator.ledger();
    let sids: Vec<&str> = ledger.messages.iter().map(|entry| &*entry.sid).collect();
    assert_eq!(sids.len(), 5);
    assert_eq!(printed["created"], serde_json::json!(sids));
    let newest_first: Vec<_> = sids.iter().rev().copied().collect();
    assert_eq!(printed["listed"], serde_json::json!(newest_first), "over three pages");
    assert_eq!(printed["fetched"], sids[0]);
    assert_eq!(printed["errors"], serde_json::json!([[400, 21610], [404, 20404], [400, 21604]]));
    assert_eq!(statuses(&callbacks(&endpoint, &simulator)).len(), 15);
}
