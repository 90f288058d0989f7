//! What every listener shares: HTTP/1 with a limit on everything that a client could stretch.
//! Knows no route and no metric.
//!
//! `axum::serve` sets no header timeout, and hyper's own counts the idle time between two requests
//! as well, so that it cannot be both short enough against a client that sends one byte per second
//! and long enough for a load balancer that keeps connections. [`listen`] distinguishes the two with
//! a [`phase`] per connection.

mod answer_body;
pub(crate) mod client;
pub mod listen;
mod phase;
mod places;
pub(crate) mod problem;

use std::io;
use std::time::Duration;

pub use self::listen::serve;
pub use self::places::Caller;

use crate::labels::labels;

/// What a listener grants its clients.
///
/// The default is what fits behind a load balancer with its usual 60 s keep-alive; a listener with
/// a configuration of its own says otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// From the first byte of a request to the end of its head: 10 s. An honest head is one packet;
    /// this leaves room for three retransmissions.
    pub header_timeout: Duration,
    /// Between two requests: 75 s. Before the first it is [`header_timeout`](Self::header_timeout),
    /// for a client that never asks must not hold a place. Longer than the keep-alive of a load
    /// balancer, so that it is the balancer that closes: the other way round it would now and then
    /// send a request into a connection that we are just closing, and answer Twilio with a 502.
    pub idle_timeout: Duration,
    /// From the end of the head to the last byte of the answer: 30 s. Twilio gives up after 15 s;
    /// what lasts twice as long is a client that does not read.
    pub request_timeout: Duration,
    /// Connections at one time: 10,000. Each costs some kilobytes and a file descriptor. At the cap
    /// the oldest without a [voucher](Caller::vouch) closes; if all have one, no more are accepted, and clients wait in
    /// the kernel's backlog.
    pub max_connections: usize,
    /// Of these, how many are never vouched for, so that a newcomer always finds a place: none.
    pub kept_for_strangers: usize,
    /// Connections at one time from one address, of IPv6 from one /64: 0, which is any number. Behind
    /// a load balancer all have the same.
    pub max_connections_per_address: usize,
    /// Bytes of a request's head: 32 KiB. A GET has all parameters in its head: a message of 1,600
    /// characters, each of which may take twelve in a URL, is 19. Balancers cut off at 8 to 64.
    pub max_header_bytes: usize,
    /// From the order to stop until the last connection is cut: 15 s. Twilio does not wait for an answer any
    /// longer, and orchestrators kill after 30 s.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            request_timeout: Duration::from_secs(30),
            max_connections: 10_000,
            kept_for_strangers: 0,
            max_connections_per_address: 0,
            max_header_bytes: 32 * 1024,
            drain_timeout: Duration::from_secs(15),
        }
    }
}

labels! {
    /// How a request ended. A closed set: it is a metric label.
    pub enum RequestOutcome {
        /// Answered with 200.
        Accepted = "accepted",
        /// Answered with something else, on purpose.
        Refused = "refused",
        /// The client left, or was cut off, before there was an answer. Twilio does when it has waited
        /// for too long; the event may be stored nevertheless.
        Abandoned = "abandoned",
        /// We are at fault: a panic, answered with 500.
        Error = "error",
    }
}

labels! {
    /// Why we closed a connection that its client did not.
    pub enum Cut {
        /// No request came for [`Limits::idle_timeout`]. Nothing is wrong with that.
        Idle = "idle",
        /// A head took longer than [`Limits::header_timeout`].
        Head = "head",
        /// A request took longer than [`Limits::request_timeout`], most likely since its client does
        /// not read.
        Request = "request",
        /// The process was stopping, and it did not end within [`Limits::drain_timeout`].
        Drain = "drain",
        /// No byte came for [`Limits::header_timeout`] after it was opened.
        Silent = "silent",
        /// The connection was the oldest without a verified request when there was no place left.
        GaveWay = "gave_way",
        /// The client's address has [`Limits::max_connections_per_address`] already.
        Address = "address",
        /// What came is no HTTP/1, or a head of more than [`Limits::max_header_bytes`]. Answered, if at
        /// all, before there is a request: TLS on a plain port, a balancer that adds too many headers.
        Unreadable = "unreadable",
    }
}

/// Told of what a listener does; metrics hang off it. Must return at once.
pub trait Observer: Send + Sync + 'static {
    /// A connection was accepted.
    fn opened(&self) {}
    /// A connection is gone.
    fn closed(&self) {}
    /// A connection was closed by us, against its client's will.
    fn cut(&self, _why: Cut) {}
    /// [`Limits::max_connections`] are open: for the next one another gives way, or it waits.
    fn saturated(&self) {}
    /// The system handed out no connection.
    fn accept_failed(&self, _error: &io::Error) {}
}

/// Observes nothing.
impl Observer for () {}

#[cfg(test)]
mod tests;
