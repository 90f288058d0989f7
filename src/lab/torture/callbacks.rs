//! [`Callbacks`]: what Twilio sends to any process that takes it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use reqwest::Client;
use secrecy::SecretString;
use tokio::time::{Instant, sleep};

use super::testbed::{PUBLIC_URL, TOKEN};
use crate::http::client;
use crate::lab::sample::Callback;
use crate::lab::sender;
use crate::twilio::keyring::Secret;

/// Longest wait for one answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest wait for any process to take it while processes are killed.
const LONGEST: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// The public listeners of all processes.
#[derive(Debug)]
pub(super) struct Callbacks {
    addresses: Vec<SocketAddr>,
    client: Client,
}

impl Callbacks {
    pub(super) fn new(addresses: Vec<SocketAddr>) -> anyhow::Result<Self> {
        ensure!(!addresses.is_empty(), "no process has a port for callbacks");
        Ok(Self { addresses, client: client::without_keep_alive(PATIENCE)? })
    }

    /// Signs a callback for a path, and sends it until a process takes it.
    pub(super) async fn send(&self, callback: &Callback, path: &str) -> anyhow::Result<()> {
        let secret = Secret::auth_token(&SecretString::from(TOKEN));
        let signed = callback.post(&format!("{PUBLIC_URL}{path}"), &secret);
        let deadline = Instant::now() + LONGEST;
        for turn in 0.. {
            let path = signed.url.strip_prefix(PUBLIC_URL).context("it is the public URL")?;
            let way = format!("http://{}{path}", self.addresses[turn % self.addresses.len()]);
            let answer =
                sender::deliver(&self.client, &way, &signed, Some(&signed.signature)).await;
            match answer {
                Ok(answer) if answer.status.is_success() => break,
                Ok(answer) if answer.status.is_client_error() => {
                    bail!("a callback to {path} is refused with {}", answer.status)
                }
                _ => ensure!(Instant::now() < deadline, "no process takes a callback"),
            }
            sleep(POLL).await;
        }
        Ok(())
    }
}
