//! [`Fixed`]: Redis in one place, or where a cluster's node there says that our keys are.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use redis::aio::MultiplexedConnection;
use redis::{Client, ConnectionAddr, RedisResult};
use tokio::time::timeout;

use super::{CONNECT, connect};

/// One place. If that is a node of a cluster, our keys may be on another, which it names.
pub(in crate::backend::redis) struct Fixed {
    client: Client,
    moved: Mutex<Option<Client>>,
}

impl Fixed {
    pub(super) fn new(client: Client) -> Self {
        Self { client, moved: Mutex::default() }
    }

    pub(super) async fn connect(&self) -> RedisResult<MultiplexedConnection> {
        let moved = self.moved().clone();
        if let Some(moved) = moved {
            // Half of the time: the other half is for asking again where our keys are.
            if let Ok(Ok(connection)) = timeout(CONNECT / 2, connect(&moved)).await {
                return Ok(connection);
            }
            *self.moved() = None;
        }
        connect(&self.client).await
    }

    pub(super) fn follow(&self, place: &str) {
        let info = self.client.get_connection_info();
        let moved = moved_to(info.addr(), place).map(|addr| info.clone().set_addr(addr));
        *self.moved() = moved.and_then(|info| Client::open(info).ok());
    }

    fn moved(&self) -> MutexGuard<'_, Option<Client>> {
        self.moved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The address of `host:port`, with the settings of `from`. A node that does not know its own host gives only the port:
/// then the host is that of the node that answered.
pub(super) fn moved_to(from: &ConnectionAddr, place: &str) -> Option<ConnectionAddr> {
    let (host, port) = place.rsplit_once(':')?;
    let (host, port) = (host.trim_matches(['[', ']']), port.parse().ok()?);
    let same = |old: &str| if host.is_empty() || host == "?" { old } else { host }.to_owned();
    Some(match from {
        ConnectionAddr::TcpTls { host, insecure, tls_params, .. } => ConnectionAddr::TcpTls {
            host: same(host),
            port,
            insecure: *insecure,
            tls_params: tls_params.clone(),
        },
        ConnectionAddr::Tcp(host, _) => ConnectionAddr::Tcp(same(host), port),
        _ => ConnectionAddr::Tcp(same("127.0.0.1"), port),
    })
}

impl fmt::Debug for Fixed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fixed").finish_non_exhaustive()
    }
}
