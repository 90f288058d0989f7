//! Told to stop, it takes nothing more, and owes nothing when it ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::StatusCode;
use tokio::task::JoinSet;

use crate::harness::{
    Callback, Client, Offhook, Raw, Settings, Spawned, Testbed, every_mode, until,
};
use crate::services::Signal;

every_mode! {
    sigterm_under_load_leaves_nothing_unanswered_and_nothing_unstored,
    sigint_under_load_leaves_nothing_unanswered_and_nothing_unstored,
    stopped_within_a_process_it_leaves_nothing_unanswered_and_nothing_unstored,
    a_request_that_was_begun_is_answered_and_no_other_is_taken,
    a_second_signal_ends_it_at_once,
}

/// Connections that send without a pause.
const SENDERS: usize = 8;
/// It is told to stop once it answered so many.
const ENOUGH: usize = 200;

/// Callbacks without a pause, until nobody takes any.
struct Load {
    answered: Arc<AtomicUsize>,
    senders: JoinSet<Vec<String>>,
}

impl Load {
    fn on(client: &Client) -> Self {
        let (answered, mut senders) = (Arc::new(AtomicUsize::new(0)), JoinSet::new());
        for sender in 0..SENDERS {
            let (client, answered) = (client.clone(), Arc::clone(&answered));
            senders.spawn(async move {
                let mut keys = Vec::new();
                loop {
                    let (callback, key) = Callback::call(sender * 1_000_000 + keys.len());
                    let Ok(answer) = client.try_send(&callback).await else { return keys };
                    assert_eq!(answer.status(), StatusCode::OK, "it refuses while it stops");
                    keys.push(key);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        Self { answered, senders }
    }

    async fn is_heavy(&self) {
        let enough = async || (self.answered.load(Ordering::Relaxed) >= ENOUGH).then_some(());
        until("callbacks are answered", enough).await;
    }

    /// The keys of what was answered, once nobody takes any more.
    async fn ended(self) -> Vec<String> {
        let mut keys = self.senders.join_all().await.concat();
        keys.sort();
        keys
    }
}

/// What was answered is stored; and what is stored was answered, so that Twilio does not send it
/// again.
async fn all_is_stored(testbed: &Testbed, answered: Vec<String>) {
    // In the scale-out mode a part of it may lie in the stream, for the workers that stay.
    let _next = testbed.start();
    let stored = testbed.contents_with(&answered).await;
    assert_eq!(stored.keys(), answered);
    assert_eq!(stored.statuses.len(), answered.len());
}

async fn ends_well(testbed: &Testbed, signal: impl FnOnce(&mut Spawned)) {
    let mut offhook = Spawned::start(&testbed.settings);
    let load = Load::on(&offhook.client);
    load.is_heavy().await;
    signal(&mut offhook);
    let ended = offhook.wait();
    assert_eq!(ended.code(), Some(0), "{}", offhook.log());
    assert!(offhook.log().contains("offhook has stopped"), "{}", offhook.log());
    all_is_stored(testbed, load.ended().await).await;
}

async fn sigterm_under_load_leaves_nothing_unanswered_and_nothing_unstored(testbed: Testbed) {
    ends_well(&testbed, |offhook| offhook.signal(Signal::Terminate)).await;
}

async fn sigint_under_load_leaves_nothing_unanswered_and_nothing_unstored(testbed: Testbed) {
    ends_well(&testbed, Spawned::interrupt).await;
}

async fn stopped_within_a_process_it_leaves_nothing_unanswered_and_nothing_unstored(
    testbed: Testbed,
) {
    let offhook = testbed.start();
    let load = Load::on(&offhook.client);
    load.is_heavy().await;
    stop(offhook).await;
    all_is_stored(&testbed, load.ended().await).await;
}

async fn stop(offhook: Offhook) {
    let stopped = tokio::task::spawn_blocking(|| offhook.stop()).await.expect("no panic");
    stopped.expect("all of it ended, and in time");
}

/// A callback whose head was read, and whose body is waited for.
async fn begin(client: &Client, callback: &Callback) -> Raw {
    let mut raw = Raw::connect(client.inbound()).await;
    let length = callback.body().len();
    raw.write_head(callback, &format!("content-length: {length}\r\nexpect: 100-continue\r\n"))
        .await;
    raw.read_until("100 Continue\r\n\r\n").await;
    raw
}

/// Longer than it takes to stop.
fn with_patience(testbed: &Testbed) -> Settings {
    testbed.settings.clone().set("OFFHOOK_INBOUND__BODY_TIMEOUT_MS", "60000")
}

async fn a_request_that_was_begun_is_answered_and_no_other_is_taken(testbed: Testbed) {
    let offhook = Offhook::start(&with_patience(&testbed));
    let client = &offhook.client;
    until("it is ready", async || client.is_ready().await.then_some(())).await;
    let (callback, key) = Callback::call(0);
    let mut raw = begin(client, &callback).await;
    offhook.begin_stop();
    until("its balancer is told", async || (!client.is_ready().await).then_some(())).await;
    let other = Callback::call(1).0;
    until("no other is taken", async || client.try_send(&other).await.err()).await;
    raw.write(callback.body()).await;
    let answer = raw.read_to_end().await;
    assert!(answer.contains("HTTP/1.1 200 OK") && answer.ends_with("<Response/>"), "{answer}");
    stop(offhook).await;
    all_is_stored(&testbed, vec![key]).await;
}

async fn a_second_signal_ends_it_at_once(testbed: Testbed) {
    let mut offhook = Spawned::start(&with_patience(&testbed));
    let _unfinished = begin(&offhook.client, &Callback::call(0).0).await;
    offhook.signal(Signal::Terminate);
    let stopping = async || offhook.client.json("/readyz").await.1["stopping"].as_bool();
    until("it stops", async || stopping().await.filter(|stopping| *stopping)).await;
    offhook.signal(Signal::Terminate);
    assert_eq!(offhook.wait().code(), Some(130), "{}", offhook.log());
    let _next = testbed.start();
}
