//! The ceilings that offhook is measured against: axum that reads a callback and answers 200, with
//! or without looking at its signature. Nothing is stored.
//!
//! `axum_peer PORT read|verify|offhook`: `read` looks at nothing; `verify` parses the form and
//! computes the HMAC as one would by hand; `offhook` does that with offhook's own code.
//! `TWILIO_AUTH_TOKEN` and `PUBLIC_URL` say what is signed.

use std::borrow::Cow;
use std::net::Ipv4Addr;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use offhook::twilio::keyring::{Account, Keyring};
use offhook::twilio::signature::{Claim, Content, SIGNATURE_HEADER, SignedRequest};
use sha1::Sha1;
use tokio::net::TcpListener;

/// Most bytes of a body, as offhook has it.
const BODY_LIMIT: usize = 64 * 1024;

type Answer = Result<&'static str, StatusCode>;

/// What the signature is checked with.
struct Known {
    url: String,
    token: String,
    keyring: Keyring,
}

async fn read(_: Bytes) -> &'static str {
    "<Response/>"
}

async fn verify(State(known): State<Arc<Known>>, headers: HeaderMap, body: Bytes) -> Answer {
    let signature = headers.get(SIGNATURE_HEADER).and_then(|value| STANDARD.decode(value).ok());
    let signature = signature.ok_or(StatusCode::BAD_REQUEST)?;
    let mut params: Vec<(Cow<'_, str>, Cow<'_, str>)> = form_urlencoded::parse(&body).collect();
    params.sort();
    let mut mac = Hmac::<Sha1>::new_from_slice(known.token.as_bytes())
        .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    mac.update(known.url.as_bytes());
    for (name, value) in &params {
        mac.update(name.as_bytes());
        mac.update(value.as_bytes());
    }
    mac.verify_slice(&signature).map_err(|_| StatusCode::FORBIDDEN)?;
    Ok("<Response/>")
}

/// Takes the request apart as offhook does, without a copy of its headers.
async fn offhook(State(known): State<Arc<Known>>, request: Request) -> Answer {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, BODY_LIMIT).await.map_err(|_| StatusCode::PAYLOAD_TOO_LARGE)?;
    let signatures = head.headers.get_all(SIGNATURE_HEADER).iter().map(|value| value.as_bytes());
    let claim = Claim::parse(signatures, None).map_err(|_| StatusCode::BAD_REQUEST)?;
    let request = SignedRequest::new(&known.url, Content::Form, &body, claim);
    request.verify(&known.keyring).map_err(|_| StatusCode::FORBIDDEN)?;
    Ok("<Response/>")
}

#[tokio::main]
#[expect(clippy::disallowed_methods, reason = "a program of its own, with no configuration")]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let port = arguments.next().context("which port?")?.parse()?;
    let route = match arguments.next().as_deref() {
        Some("read") => post(read),
        Some("verify") => post(verify),
        Some("offhook") => post(offhook),
        other => bail!("read, verify or offhook, not {other:?}"),
    };
    let (token, sid) = (std::env::var("TWILIO_AUTH_TOKEN")?, std::env::var("TWILIO_ACCOUNT_SID")?);
    let secret = token.as_str().into();
    let account = Account::new(sid, "peer".to_owned(), std::slice::from_ref(&secret), &[]);
    let url = format!("{}/status", std::env::var("PUBLIC_URL")?);
    let known = Known { url, token, keyring: Keyring::new(vec![account])? };
    let app = Router::new().route("/status", route).with_state(Arc::new(known));
    axum::serve(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?, app).await?;
    Ok(())
}
