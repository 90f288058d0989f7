//! The HTTP client of the commands.

use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Method, StatusCode};

use crate::twilio::sample::Signed;
use crate::twilio::signature::{Content, SIGNATURE_HEADER};

/// A client whose requests, connection included, take at most `patience`.
///
/// # Errors
/// The system's root certificates cannot be read.
pub(crate) fn new(patience: Duration) -> anyhow::Result<reqwest::Client> {
    build(builder(patience))
}

/// The same, with a connection for each request.
///
/// The other may open one that it has no use for yet, and send a request over it at the moment that
/// the server closes it for its silence.
///
/// # Errors
/// As [`new`].
pub(crate) fn without_keep_alive(patience: Duration) -> anyhow::Result<reqwest::Client> {
    build(builder(patience).pool_max_idle_per_host(0))
}

fn builder(patience: Duration) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .timeout(patience)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("offhook/", env!("CARGO_PKG_VERSION")))
}

fn build(builder: reqwest::ClientBuilder) -> anyhow::Result<reqwest::Client> {
    builder.build().context("the HTTP client cannot be made")
}

/// What a server answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// From before the request to the end of the answer.
    pub(crate) took: Duration,
}

/// The method that a callback is sent with.
pub(crate) fn method(signed: &Signed) -> Method {
    match signed.content {
        Content::Query => Method::GET,
        Content::Form | Content::Json => Method::POST,
    }
}

/// Sends a callback to `url`, which is the signed one unless a proxy stands before the server; with
/// the signature in a header, unless it is `None`.
///
/// # Errors
/// There is no answer.
pub(crate) async fn deliver(
    client: &reqwest::Client,
    url: &str,
    signed: &Signed,
    signature: Option<&str>,
) -> reqwest::Result<Answer> {
    let mut request = client.request(method(signed), url).body(signed.body.clone());
    if let Some(content_type) = signed.content_type() {
        request = request.header(CONTENT_TYPE, content_type);
    }
    if let Some(signature) = signature {
        request = request.header(SIGNATURE_HEADER, signature);
    }
    let started = Instant::now();
    let response = request.send().await?;
    let (status, headers) = (response.status(), response.headers().clone());
    let body = response.bytes().await?;
    Ok(Answer { status, headers, body, took: started.elapsed() })
}
