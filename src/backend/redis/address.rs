//! [`Address`]: where Redis is: in one place, or wherever its Sentinels say that the primary is.

use std::fmt;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ErrorKind, RedisError, RedisResult, TlsCertificates, cmd,
};
use secrecy::{ExposeSecret, SecretString};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::conn::ConnError;

/// Longest wait for a connection, TLS and AUTH included.
pub(super) const CONNECT: Duration = Duration::from_secs(2);
/// Where a Sentinel listens if its URL does not say.
const SENTINEL_PORT: &str = ":26379";

/// Where Redis is.
#[derive(Debug)]
pub(super) enum Address {
    /// There, whoever it is.
    Fixed(Client),
    /// Where most Sentinels know it to be.
    Watched(Watched),
}

impl Address {
    /// Of a URL: `redis://`, `rediss://`, `redis+unix://`, or that of Sentinels,
    /// `redis+sentinel://[user:password@]host[:port][,host[:port]…]/name[/db]`, where user and
    /// password are those of Redis. Certificates are held against `ca` if it is given.
    pub(super) fn new(url: &str, ca: Option<&[u8]>) -> RedisResult<Self> {
        let (scheme, rest) = url.split_once("://").unwrap_or((url, ""));
        match scheme.strip_suffix("+sentinel") {
            Some(scheme) => Ok(Self::Watched(Watched::new(scheme, rest, ca)?)),
            None => Ok(Self::Fixed(client(url, ca)?)),
        }
    }

    /// A new connection.
    pub(super) async fn connect(&self) -> Result<MultiplexedConnection, ConnError> {
        match self {
            Self::Fixed(client) => Ok(connect(client).await?),
            Self::Watched(watched) => watched.connect().await,
        }
    }
}

/// A primary, and the Sentinels that know where it is.
pub(super) struct Watched {
    sentinels: Vec<Client>,
    /// The primary's name.
    name: String,
    scheme: String,
    /// `user:password@`, or nothing.
    login: SecretString,
    /// `/db`, or nothing.
    db: String,
    ca: Option<Vec<u8>>,
}

impl Watched {
    fn new(scheme: &str, rest: &str, ca: Option<&[u8]>) -> RedisResult<Self> {
        let (login, rest) = rest.rsplit_once('@').unwrap_or(("", rest));
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (name, db) = path.split_once('/').unwrap_or((path, ""));
        if name.is_empty() {
            let problem = "it must end with the name by which Sentinels know the primary: \
                           redis+sentinel://host:26379,host:26379/name";
            return Err((ErrorKind::InvalidClientConfig, problem).into());
        }
        let sentinel = |host: &str| {
            let port = if has_port(host) { "" } else { SENTINEL_PORT };
            client(&format!("{scheme}://{host}{port}"), ca)
        };
        Ok(Self {
            sentinels: hosts.split(',').map(sentinel).collect::<RedisResult<_>>()?,
            name: name.to_owned(),
            scheme: scheme.to_owned(),
            login: if login.is_empty() { String::new() } else { format!("{login}@") }.into(),
            db: if db.is_empty() { String::new() } else { format!("/{db}") },
            ca: ca.map(<[u8]>::to_owned),
        })
    }

    /// Asks all Sentinels at once, so that one that is away costs no time, and connects to what the
    /// first of them says, unless that is no primary: a Sentinel may not know of a failover yet.
    async fn connect(&self) -> Result<MultiplexedConnection, ConnError> {
        let mut asked = JoinSet::new();
        for sentinel in &self.sentinels {
            asked.spawn(timeout(CONNECT, ask(sentinel.clone(), self.name.clone())));
        }
        let mut tried = Vec::new();
        let mut failure = ConnError::Away("no Sentinel answers".to_owned());
        while let Some(answer) = asked.join_next().await {
            let address = match answer {
                Ok(Ok(Ok(address))) if !tried.contains(&address) => address,
                Ok(Ok(Err(error))) => {
                    failure = error;
                    continue;
                }
                _ => continue,
            };
            match self.primary(&address).await {
                Ok(connection) => return Ok(connection),
                Err(error) => failure = error,
            }
            tried.push(address);
        }
        Err(failure)
    }

    async fn primary(
        &self,
        (host, port): &(String, u16),
    ) -> Result<MultiplexedConnection, ConnError> {
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let (scheme, login, db) = (&self.scheme, self.login.expose_secret(), &self.db);
        let client = client(&format!("{scheme}://{login}{host}:{port}{db}"), self.ca.as_deref())?;
        let mut connection = connect(&client).await?;
        let role: Vec<redis::Value> = cmd("ROLE").query_async(&mut connection).await?;
        let role = role.into_iter().next().map(redis::from_redis_value::<String>);
        match role {
            Some(Ok(role)) if role == "master" => Ok(connection),
            _ => Err(ConnError::Away(format!("{host}:{port} is not the primary"))),
        }
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").field("name", &self.name).finish_non_exhaustive()
    }
}

fn has_port(host: &str) -> bool {
    // The colons of an IPv6 address are within its brackets.
    host.rsplit(']').next().is_some_and(|end| end.contains(':'))
}

async fn ask(sentinel: Client, name: String) -> Result<(String, u16), ConnError> {
    let mut connection = connect(&sentinel).await?;
    let mut question = cmd("SENTINEL");
    question.arg("get-master-addr-by-name").arg(&name);
    let known: Option<(String, u16)> = question.query_async(&mut connection).await?;
    known.ok_or_else(|| ConnError::Away(format!("a Sentinel knows no primary called {name}")))
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
mod tests {
    use super::*;

    fn watched(url: &str) -> Watched {
        match Address::new(url, None) {
            Ok(Address::Watched(watched)) => watched,
            other => panic!("{url}: {other:?}"),
        }
    }

    #[test]
    fn a_url_of_sentinels_names_them_and_the_primary() {
        let found = watched("redis+sentinel://me:p%40ss@one:7000,two,[::1],[::2]:7001/main/3");
        let hosts: Vec<_> = found
            .sentinels
            .iter()
            .map(|client| client.get_connection_info().addr().to_string())
            .collect();
        assert_eq!(hosts, ["one:7000", "two:26379", "::1:26379", "::2:7001"]);
        assert_eq!((&*found.name, &*found.db, &*found.scheme), ("main", "/3", "redis"));
        assert_eq!(found.login.expose_secret(), "me:p%40ss@");
        assert!(!format!("{found:?}").contains("p%40ss"));
        let plain = watched("rediss+sentinel://one/main");
        assert_eq!((plain.login.expose_secret(), &*plain.db, &*plain.scheme), ("", "", "rediss"));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for url in ["redis+sentinel://one:7000", "redis+sentinel:///main", "http://one", "one"] {
            assert!(Address::new(url, None).is_err(), "{url}");
        }
        let error = Address::new("redis://one", Some(b"")).expect_err("it is not encrypted");
        assert!(error.to_string().contains("rediss://"), "{error}");
    }
}
