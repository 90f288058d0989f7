//! [`AdminApi`]: asks any process that answers, as an operator's tools do.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, RequestBuilder};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::asking::ASKER;
use crate::http::client;

/// Longest wait for one answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest wait for any process to answer while processes are killed.
const LONGEST: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// The private listeners of all processes.
#[derive(Debug)]
pub(super) struct AdminApi {
    addresses: Vec<SocketAddr>,
    client: Client,
}

impl AdminApi {
    pub(super) fn new(addresses: Vec<SocketAddr>) -> anyhow::Result<Self> {
        ensure!(!addresses.is_empty(), "no process has a port to ask");
        Ok(Self { addresses, client: client::without_keep_alive(PATIENCE)? })
    }

    /// Requests something; a request without an answer is made again.
    pub(super) async fn post(&self, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let json = body.map(|body| ("application/json", body.to_string()));
        self.send(path, json.as_ref().map(|(kind, body)| (*kind, &**body))).await
    }

    /// The same with a body of any kind.
    pub(super) async fn send(
        &self,
        path: &str,
        body: Option<(&str, &str)>,
    ) -> anyhow::Result<Value> {
        let request = |url: String| match body {
            Some((kind, body)) => {
                self.client.post(url).header(CONTENT_TYPE, kind).body(body.to_owned())
            }
            None => self.client.post(url),
        };
        json(path, &self.ask(path, request).await?)
    }

    pub(super) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        json(path, &self.ask(path, |url| self.client.get(url)).await?)
    }

    /// What is there as lines.
    pub(super) async fn lines(&self, path: &str) -> anyhow::Result<Vec<Value>> {
        let text = self.ask(path, |url| self.client.get(url)).await?;
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| json(path, line)).collect()
    }

    /// Asks one process after the other until one answers.
    async fn ask(
        &self,
        path: &str,
        request: impl Fn(String) -> RequestBuilder,
    ) -> anyhow::Result<Vec<u8>> {
        let deadline = Instant::now() + LONGEST;
        for turn in 0.. {
            let url = format!("http://{}{path}", self.addresses[turn % self.addresses.len()]);
            match request(url).bearer_auth(ASKER).send().await {
                Ok(answer) if answer.status().is_success() => {
                    let Ok(body) = answer.bytes().await else { continue };
                    return Ok(body.to_vec());
                }
                Ok(answer) if answer.status().is_client_error() => {
                    let status = answer.status();
                    let why = answer.text().await.unwrap_or_default();
                    bail!("{path} is refused with {status}: {why}")
                }
                _ => ensure!(Instant::now() < deadline, "no process answers {path}"),
            }
            sleep(POLL).await;
        }
        unreachable!("it asks until the deadline")
    }
}

fn json(path: &str, text: &[u8]) -> anyhow::Result<Value> {
    serde_json::from_slice(text).with_context(|| path.to_owned())
}
