//! Sends a sample callback over the HTTP client.

use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Method, StatusCode};

use super::sample::Signed;
use crate::twilio::signature::{Content, SIGNATURE_HEADER};

/// What a server answered.
#[derive(Debug)]
pub(crate) struct Response {
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
) -> reqwest::Result<Response> {
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
    Ok(Response { status, headers, body, took: started.elapsed() })
}
