//! [`Endpoint`]: sends one change to one URL, and says what became of it.
//!
//! It tries once: when to try again is for its caller to know, and what was sent before. It reads of an answer no more
//! than the status; the body is taken off the connection, up to a bound, so that the next request can use that.

use std::error::Error as _;
use std::io;
use std::time::Duration;

use reqwest::{Client, Response, StatusCode};
use secrecy::ExposeSecret as _;

use super::form::{Form, Outgoing, standard, twilio};
use super::{Config, Target};
use crate::clock::Clock;
use crate::event::{Change, Event};
use crate::http::client;
use crate::labels::labels;
use crate::policy::{InboundPolicy, Part};

/// Most bytes of an answer that are taken off its connection. A connection with more of them is closed.
const ANSWER: usize = 64 * 1024;
/// A connection that is idle for longer is not used again: many servers close theirs after 5 s, and a request that
/// crosses the closing is lost.
const IDLE: Duration = Duration::from_secs(4);

/// What became of one try.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Delivery {
    /// The endpoint took it: 2xx.
    Done,
    /// The endpoint wants nothing any more: 410.
    Gone,
    /// The endpoint did not accept it: try again.
    Failed(Failure),
    /// It cannot be sent at present: nothing was tried.
    Skipped(Unsendable),
}

labels! {
    /// Why a request was not taken. A closed set: it is a metric label.
    pub enum Failure {
        /// No connection: refused, not routed, no such name.
        Connect = "connect",
        /// No TLS, most likely because of its certificate.
        Tls = "tls",
        /// No answer in time. The endpoint may have taken it.
        Timeout = "timeout",
        /// The connection ended before the answer. The endpoint may have taken it.
        Broken = "broken",
        /// 3xx: redirects are not followed.
        Redirect = "status_3xx",
        /// 4xx but 410.
        Client = "status_4xx",
        /// 5xx, or not a valid status.
        Server = "status_5xx",
    }
}

labels! {
    /// Why a change cannot be sent. A closed set: it is a metric label.
    pub enum Unsendable {
        /// The event of the change is no longer in the store.
        EventGone = "event_gone",
        /// No secret of the configuration signs for its account.
        NoSecret = "no_secret",
    }
}

/// An endpoint cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// `ca_file` holds no certificate.
    #[error(transparent)]
    NoCertificate(#[from] client::NoCertificate),
    /// The system's root certificates cannot be read.
    #[error(transparent)]
    Client(#[from] client::Unbuildable),
}

/// One URL that is forwarded to. Any number of requests may be under way at one time.
#[derive(Debug)]
pub struct Endpoint {
    client: Client,
    target: Target,
    form: Form,
    policy: Part<InboundPolicy>,
    clock: Clock,
}

impl Endpoint {
    /// The endpoint of this configuration. The secrets of accounts are those of the policy in force.
    ///
    /// # Errors
    /// See [`Unusable`].
    pub fn new(
        config: &Config,
        policy: Part<InboundPolicy>,
        clock: Clock,
    ) -> Result<Self, Unusable> {
        let idle = client::Idle { longest: IDLE, most: config.in_flight as usize };
        let authorities = config.ca.as_deref().map(client::authorities).transpose()?;
        let client = client::to_one_server(config.timeout, idle, authorities)?;
        let Config { target, form, .. } = config.clone();
        Ok(Self { client, target, form, policy, clock })
    }

    /// Sends a change, once. It takes no longer than the endpoint's time-out. `event` is the event of the change, as
    /// the store has it; it may be left out if the form [does not need it](Form::needs_event).
    pub async fn deliver(&self, change: &Change, event: Option<&Event>) -> Delivery {
        match self.outgoing(change, event) {
            Ok(outgoing) => self.send(outgoing).await,
            Err(why) => Delivery::Skipped(why),
        }
    }

    fn outgoing(&self, change: &Change, event: Option<&Event>) -> Result<Outgoing, Unsendable> {
        match &self.form {
            Form::Twilio(with) => {
                let event = event.ok_or(Unsendable::EventGone)?;
                let policy = self.policy.now();
                let request = twilio::request(event, &self.target, with, &policy.keyring);
                request.ok_or(Unsendable::NoSecret)
            }
            Form::Standard(secrets) => {
                Ok(standard::request(change, &self.target, secrets, self.clock.now()))
            }
        }
    }

    async fn send(&self, Outgoing { method, url, headers, body }: Outgoing) -> Delivery {
        let mut request = self.client.request(method, url).headers(headers).body(body);
        if let Some((user, password)) = self.target.credentials() {
            request = request.basic_auth(user, Some(password.expose_secret()));
        }
        match request.send().await {
            Ok(answer) => {
                let status = answer.status();
                drain(answer).await;
                of_status(status)
            }
            Err(error) => Delivery::Failed(of_error(&error)),
        }
    }
}

/// Reads the body off the connection and drops it. Errors do not matter: the answer has arrived.
async fn drain(mut answer: Response) {
    let mut left = ANSWER;
    while let Ok(Some(chunk)) = answer.chunk().await {
        left = left.saturating_sub(chunk.len());
        if left == 0 {
            return;
        }
    }
}

fn of_status(status: StatusCode) -> Delivery {
    match status.as_u16() {
        200..=299 => Delivery::Done,
        410 => Delivery::Gone,
        300..=399 => Delivery::Failed(Failure::Redirect),
        400..=499 => Delivery::Failed(Failure::Client),
        _ => Delivery::Failed(Failure::Server),
    }
}

fn of_error(error: &reqwest::Error) -> Failure {
    match () {
        () if error.is_timeout() => Failure::Timeout,
        () if is_of_tls(error) => Failure::Tls,
        () if error.is_connect() => Failure::Connect,
        () => Failure::Broken,
    }
}

/// Whether the TLS library is among its causes.
fn is_of_tls(error: &reqwest::Error) -> bool {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    causes.filter_map(|cause| cause.downcast_ref::<io::Error>()).any(hides_tls)
}

/// An error of I/O does not name the error in it as its source; and there may be one within the other.
fn hides_tls(error: &io::Error) -> bool {
    let Some(inner) = error.get_ref() else { return false };
    inner.is::<rustls::Error>() || inner.downcast_ref::<io::Error>().is_some_and(hides_tls)
}

#[cfg(test)]
mod tests;
