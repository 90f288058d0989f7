//! [`SendGrid`]: the client of SendGrid's API.
//!
//! As of Twilio's, a request is made once: only a failure to connect proves that nothing was sent.

use std::time::Duration;

use reqwest::Client;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use secrecy::ExposeSecret as _;

use super::config::Credentials;
use super::rest::{Created, IDLE, Whole, whole};
use crate::clock::Clock;
use crate::dispatch::recipient::Mailbox;
use crate::http::client::{self, Unbuildable};
use crate::sendgrid::mail::{Answer, SCOPES, SEND};

/// Asks SendGrid. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SendGrid {
    client: Client,
    base: String,
    clock: Clock,
}

/// What SendGrid says of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeySaid {
    /// Whether it may send.
    MaySend(bool),
    /// It refuses the key, or answers something else, with this HTTP status.
    Refused(u16),
    /// It does not answer.
    Nothing,
}

impl SendGrid {
    /// A client of the API at `base`, whose requests take at most `timeout`, and of which `in_flight` are made at a time.
    ///
    /// # Errors
    /// The system's root certificates cannot be read.
    pub fn new(
        base: &str,
        timeout: Duration,
        in_flight: usize,
        clock: Clock,
    ) -> Result<Self, Unbuildable> {
        let idle = client::Idle { longest: IDLE, most: in_flight };
        let client = client::to_one_server(timeout, idle, None)?;
        Ok(Self { client, base: base.trim_end_matches('/').to_owned(), clock })
    }

    /// Sends an email, whose JSON has this recipient and this sender.
    pub async fn send(&self, by: &Credentials, json: String, to: &str, from: &Mailbox) -> Created {
        let request = self.client.post(format!("{}{SEND}", self.base));
        let request = request.bearer_auth(by.password.expose_secret());
        match whole(request.header(CONTENT_TYPE, "application/json").body(json)).await {
            Ok(whole) => Created::Answered(answer(&whole).to_send(to, from, self.clock.now())),
            Err(error) => Created::unanswered(&error),
        }
    }

    /// Whether the key may send, which costs nothing.
    pub async fn try_out(&self, by: &Credentials) -> KeySaid {
        let request = self.client.get(format!("{}{SCOPES}", self.base));
        match whole(request.bearer_auth(by.password.expose_secret())).await {
            Ok(whole) => match answer(&whole).may_send() {
                Some(may_send) => KeySaid::MaySend(may_send),
                None => KeySaid::Refused(whole.status),
            },
            Err(_) => KeySaid::Nothing,
        }
    }
}

fn answer(whole: &Whole) -> Answer<'_> {
    Answer {
        status: whole.status,
        message_id: whole.header("x-message-id"),
        retry_after: whole.header(RETRY_AFTER.as_str()),
        reset: whole.header("x-ratelimit-reset"),
        body: &whole.body,
    }
}
