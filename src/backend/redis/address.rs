//! [`Address`]: where Redis is: in one place, or wherever its Sentinels say that the primary is.

mod fixed;
mod sentinels;

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError, RedisResult, TlsCertificates};

use self::fixed::Fixed;
use self::sentinels::Sentinels;
use super::error::ConnError;

/// Longest wait for a connection, TLS and AUTH included.
pub(super) const CONNECT: Duration = Duration::from_secs(2);
/// Longest wait until it is known where Redis is, and for the connection to it.
pub(super) const REACH: Duration = Duration::from_secs(4);
/// Knowledge about the primary that is older than this does not count: a Sentinel that answers this late may be about
/// to change its answer, and a primary that was silent for this long may have been deposed.
pub(super) const FRESH: Duration = Duration::from_millis(500);
/// The address of Redis.
#[derive(Debug)]
pub(super) enum Address {
    /// There, or where a cluster's node there says that our keys are.
    Fixed(Box<Fixed>),
    /// The address that most Sentinels name.
    Sentinels(Sentinels),
}

/// A connection, and where Sentinels said that it leads.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) connection: MultiplexedConnection,
    place: Option<HostPort>,
}

/// Host and port.
type HostPort = (String, u16);

impl Address {
    /// Parses a URL: `redis://`, `rediss://`, `redis+unix://`, or that of Sentinels,
    /// `redis+sentinel://[user:password@]host[:port][,host[:port]…]/name[/db]`, where user and
    /// password are those of Redis. Certificates are checked against `ca` if it is given.
    pub(super) fn new(url: &str, ca: Option<&[u8]>) -> RedisResult<Self> {
        let (scheme, rest) = url.split_once("://").unwrap_or((url, ""));
        match scheme.strip_suffix("+sentinel") {
            Some(scheme) => Ok(Self::Sentinels(Sentinels::new(scheme, rest, ca)?)),
            None => Ok(Self::Fixed(Box::new(Fixed::new(client(url, ca)?)))),
        }
    }

    /// A new connection, within [`REACH`].
    pub(super) async fn connect(&self) -> Result<Link, ConnError> {
        match self {
            Self::Fixed(fixed) => Ok(Link { connection: fixed.connect().await?, place: None }),
            Self::Sentinels(sentinels) => sentinels.connect().await,
        }
    }

    /// Whether a connection that was silent for a while still leads to the primary, within [`FRESH`].
    pub(super) async fn confirm(&self, link: &Link) -> Result<(), ConnError> {
        match (self, &link.place) {
            (Self::Sentinels(sentinels), Some(place)) => sentinels.confirm(place).await,
            _ => Ok(()),
        }
    }

    /// A node of a cluster has said where the keys are: new connections go there. All keys of a stream
    /// lie in one slot, so there is one such place.
    pub(super) fn follow(&self, place: &str) {
        if let Self::Fixed(fixed) = self {
            fixed.follow(place);
        }
    }
}

fn client(url: &str, ca: Option<&[u8]>) -> RedisResult<Client> {
    let Some(ca) = ca else { return Client::open(url) };
    let certificates = TlsCertificates { client_tls: None, root_cert: Some(ca.to_owned()) };
    Client::build_with_tls(url, certificates)
}

async fn connect(client: &Client) -> Result<MultiplexedConnection, RedisError> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT))
        .set_response_timeout(None);
    client.get_multiplexed_async_connection_with_config(&config).await
}

#[cfg(test)]
mod tests;
