//! Twilio guarantees no order, so every order ends in the same row.

use offhook::event::{CurrentStatus, EventKey};
use tokio::task::JoinSet;

use crate::harness::{ACCOUNT, Callback, Client, Testbed, every_mode};

every_mode! {
    every_order_of_a_calls_callbacks_gives_one_row,
    every_order_of_a_messages_callbacks_gives_one_row,
    a_redelivered_callback_is_stored_once,
}

/// Status and the rest of the body, in the order in which it happened.
type Life = [(&'static str, &'static str)];

const CALL: &Life = &[
    ("queued", ""),
    ("initiated", "&SequenceNumber=0&Timestamp=Tue%2C+24+Nov+2026+08%3A00%3A00+%2B0000"),
    ("ringing", "&SequenceNumber=1&Timestamp=Tue%2C+24+Nov+2026+08%3A00%3A01+%2B0000"),
    ("in-progress", "&SequenceNumber=2&Timestamp=Tue%2C+24+Nov+2026+08%3A00%3A05+%2B0000"),
    (
        "completed",
        "&SequenceNumber=3&Timestamp=Tue%2C+24+Nov+2026+08%3A00%3A47+%2B0000&CallDuration=42",
    ),
];

/// The carrier says no, then yes, and then the phone tells that it was read.
const MESSAGE: &Life = &[
    ("sent", ""),
    ("undelivered", "&ErrorCode=30003"),
    ("delivered", "&RawDlrDoneDate=2611240801"),
    ("read", ""),
];

/// Every order of `0..n`.
fn permutations(n: usize) -> Vec<Vec<usize>> {
    if n == 0 {
        return vec![Vec::new()];
    }
    let shorter = permutations(n - 1);
    let insert = |order: &Vec<usize>| {
        let order = order.clone();
        (0..n).map(move |at| [&order[..at], &[n - 1], &order[at..]].concat())
    };
    shorter.iter().flat_map(insert).collect()
}

/// Lives each order once, each with an SID of its own, all of them at the same time; the rows.
async fn live(
    testbed: &Testbed,
    life: &'static Life,
    of: fn(&str, &str, &str) -> Callback,
) -> Vec<CurrentStatus> {
    let offhook = testbed.start();
    let orders = permutations(life.len());
    let expected = orders.len() * life.len();
    let mut living = JoinSet::new();
    for (n, order) in orders.into_iter().enumerate() {
        let client: Client = offhook.client.clone();
        living.spawn(async move {
            let sid = format!("{n:032x}");
            // One comes again at the end, as if it had been delayed.
            for &step in order.iter().chain(&order[..1]) {
                let (status, rest) = life[step];
                client.accepts(&of(&sid, status, rest)).await;
            }
        });
    }
    living.join_all().await;
    let contents = testbed.contents_of(expected).await;
    assert_eq!(contents.statuses.len(), expected / life.len());
    contents.statuses
}

/// All of them but for what may differ.
fn the_one(rows: Vec<CurrentStatus>) -> CurrentStatus {
    let first = rows[0].clone();
    for row in rows {
        let (sid, first_seen, updated) = (row.sid.clone(), row.first_seen, row.updated);
        assert!(first_seen < updated, "{row:?}");
        assert_eq!(row, CurrentStatus { sid, first_seen, updated, ..first.clone() });
    }
    first
}

async fn every_order_of_a_calls_callbacks_gives_one_row(testbed: Testbed) {
    let rows = live(&testbed, CALL, |sid, status, rest| {
        Callback::form(format!(
            "CallSid=CA{sid}&AccountSid={ACCOUNT}&CallStatus={status}&CallbackSource=call-progress-events\
             &From=%2B15550100001&To=%2B15550100002{rest}"
        ))
    });
    let row = the_one(rows.await);
    assert_eq!(row.position.status, "completed");
    assert_eq!((row.position.sequence, row.duration), (Some(3), Some(42)));
    assert!(!row.is_contradicted());
}

async fn every_order_of_a_messages_callbacks_gives_one_row(testbed: Testbed) {
    let rows = live(&testbed, MESSAGE, |sid, status, rest| {
        Callback::form(format!(
            "MessageSid=SM{sid}&AccountSid={ACCOUNT}&MessageStatus={status}\
             &From=%2B15550100001&To=%2B15550100002{rest}"
        ))
    });
    let row = the_one(rows.await);
    assert_eq!(row.position.status, "read");
    assert_eq!(row.error.as_ref().map(|error| error.code.as_str()), Some("30003"));
    assert!(row.is_contradicted());
}

async fn a_redelivered_callback_is_stored_once(testbed: Testbed) {
    let offhook = testbed.start();
    let callback = Callback::form(format!(
        "CallSid=CA1&AccountSid={ACCOUNT}&CallStatus=ringing&CallbackSource=call-progress-events"
    ));
    let mut sending = JoinSet::new();
    for _ in 0..50 {
        let (client, callback) = (offhook.client.clone(), callback.clone());
        sending.spawn(async move { client.accepts(&callback).await });
    }
    sending.join_all().await;
    let last = Callback::form(format!(
        "CallSid=CA1&AccountSid={ACCOUNT}&CallStatus=completed&CallbackSource=call-progress-events"
    ));
    offhook.client.accepts(&last).await;
    let contents = testbed.contents_of(2).await;
    let key = EventKey::of(&["CA1", "completed"]).expect("printable");
    assert_eq!(contents.events[0].event.key, key);
    assert_eq!(contents.status("CA1").position.status, "completed");
}
