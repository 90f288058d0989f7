//! [`ask`]: asks to send, as an application does.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::sent::Acknowledged;
use crate::dispatch::OnUnknown;
use crate::http::client;

/// Notifications a second.
const ASKED_PER_SECOND: u64 = 60;
/// Longest wait for an answer to a request to send.
const PATIENCE: Duration = Duration::from_secs(5);
/// The token of those who ask to send.
pub(super) const ASKER: &str = "torture-torture-torture-torture";
/// Area codes of the United States: with the hundred numbers for fiction of each, every recipient is another one for
/// long.
const AREAS: [u16; 40] = [
    201, 202, 203, 205, 206, 207, 208, 209, 210, 212, 213, 214, 215, 216, 217, 218, 219, 224, 225,
    228, 229, 231, 234, 239, 240, 248, 251, 252, 253, 254, 256, 260, 262, 267, 269, 270, 276, 281,
    301, 302,
];

/// By what messages are asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum By {
    /// By a sender.
    Sender(&'static str),
    /// By a route.
    Route(&'static str),
}

/// Asks to send until there is no more to do, each request until it is acknowledged, by any process.
pub(super) async fn ask(
    by: By,
    admin: Vec<SocketAddr>,
    acknowledged: Arc<Mutex<Vec<Acknowledged>>>,
    no_more: CancellationToken,
) -> anyhow::Result<()> {
    ensure!(!admin.is_empty(), "no process has a port to ask");
    let client = client::without_keep_alive(PATIENCE)?;
    let mut turns = interval(Duration::from_micros(1_000_000 / ASKED_PER_SECOND));
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 0_usize.. {
        if no_more.run_until_cancelled(turns.tick()).await.is_none() {
            break;
        }
        let on_unknown = [OnUnknown::Report, OnUnknown::Resend][number % 2];
        let area = AREAS[number / 100 % AREAS.len()];
        let to = format!("+1{area}55501{:02}", number % 100);
        let (by, name) = match by {
            By::Sender(name) => ("sender", name),
            By::Route(name) => ("route", name),
        };
        let mut body = json!({
            by: name,
            "to": to,
            "text": format!("Message {number}"),
            "purpose": "transactional",
            "on_unknown": on_unknown,
        });
        if by == "route" {
            body["email"] = format!("recipient{number}@example.com").into();
            body["subject"] = "Please read".into();
        }
        for turn in number.. {
            let url = format!("http://{}/api/notifications", admin[turn % admin.len()]);
            let request =
                client.post(url).bearer_auth(ASKER).header(CONTENT_TYPE, "application/json");
            let request = request.header("idempotency-key", format!("torture-{number}"));
            match request.body(body.to_string()).send().await {
                Ok(answer) if answer.status().as_u16() == 202 => {
                    let Ok(kept) = answer.bytes().await else { continue };
                    let kept: Value = serde_json::from_slice(&kept).context("the answer")?;
                    let id = kept["id"].as_str().context("the answer has no id")?.to_owned();
                    let mut all = acknowledged.lock().expect("nothing panics while it is held");
                    all.push(Acknowledged { id, to, on_unknown });
                    break;
                }
                Ok(answer) if answer.status().is_client_error() => {
                    let status = answer.status();
                    let why = answer.text().await.unwrap_or_default();
                    anyhow::bail!("a request to send is refused with {status}: {why}");
                }
                // It is killed, or its store does not answer.
                _ if no_more.is_cancelled() => break,
                _ => sleep(Duration::from_millis(20)).await,
            }
        }
    }
    Ok(())
}
