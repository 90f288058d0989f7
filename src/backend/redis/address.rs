//! [`Address`]: where Redis is: in one place, or wherever its Sentinels say that the primary is.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ErrorKind, RedisError, RedisResult,
    TlsCertificates, cmd,
};
use secrecy::{ExposeSecret, SecretString};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::conn::ConnError;

/// Longest wait for a connection, TLS and AUTH included.
pub(super) const CONNECT: Duration = Duration::from_secs(2);
/// Longest wait until it is known where Redis is, and for the connection to it.
pub(super) const REACH: Duration = Duration::from_secs(4);
/// What was known of the primary longer ago than this is not known: a Sentinel that answers so late may
/// be about to say something else, and a primary that was silent for so long may have been deposed.
pub(super) const FRESH: Duration = Duration::from_millis(500);
/// Where a Sentinel listens if its URL does not say.
const SENTINEL_PORT: &str = ":26379";

/// Where Redis is.
#[derive(Debug)]
pub(super) enum Address {
    /// There, or where a cluster's node there says that our keys are.
    Fixed(Box<Fixed>),
    /// Where most Sentinels know it to be.
    Watched(Watched),
}

/// A connection, and where Sentinels said that it leads.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) connection: MultiplexedConnection,
    place: Option<Place>,
}

/// Host and port.
type Place = (String, u16);

impl Address {
    /// Of a URL: `redis://`, `rediss://`, `redis+unix://`, or that of Sentinels,
    /// `redis+sentinel://[user:password@]host[:port][,host[:port]…]/name[/db]`, where user and
    /// password are those of Redis. Certificates are held against `ca` if it is given.
    pub(super) fn new(url: &str, ca: Option<&[u8]>) -> RedisResult<Self> {
        let (scheme, rest) = url.split_once("://").unwrap_or((url, ""));
        match scheme.strip_suffix("+sentinel") {
            Some(scheme) => Ok(Self::Watched(Watched::new(scheme, rest, ca)?)),
            None => {
                let fixed = Fixed { client: client(url, ca)?, moved: Mutex::default() };
                Ok(Self::Fixed(Box::new(fixed)))
            }
        }
    }

    /// A new connection, within [`REACH`].
    pub(super) async fn connect(&self) -> Result<Link, ConnError> {
        match self {
            Self::Fixed(fixed) => Ok(Link { connection: fixed.connect().await?, place: None }),
            Self::Watched(watched) => watched.connect().await,
        }
    }

    /// Whether a connection that was silent for a while still leads to the primary, within [`FRESH`].
    pub(super) async fn confirm(&self, link: &Link) -> Result<(), ConnError> {
        match (self, &link.place) {
            (Self::Watched(watched), Some(place)) => watched.confirm(place).await,
            _ => Ok(()),
        }
    }

    /// A node of a cluster has said where our keys are: new connections go there. All keys of a stream
    /// lie in one slot, so there is one such place.
    pub(super) fn follow(&self, place: &str) {
        if let Self::Fixed(fixed) = self {
            fixed.follow(place);
        }
    }
}

/// One place. If that is a node of a cluster, our keys may be on another, which it names.
pub(super) struct Fixed {
    client: Client,
    moved: Mutex<Option<Client>>,
}

impl Fixed {
    async fn connect(&self) -> RedisResult<MultiplexedConnection> {
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

    fn follow(&self, place: &str) {
        let info = self.client.get_connection_info();
        let moved = moved_to(info.addr(), place).map(|addr| info.clone().set_addr(addr));
        *self.moved() = moved.and_then(|info| Client::open(info).ok());
    }

    fn moved(&self) -> MutexGuard<'_, Option<Client>> {
        self.moved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where `host:port` is, asked as `from` is. A node that does not know its own host says only the port:
/// then it is that of the node that was asked.
fn moved_to(from: &ConnectionAddr, place: &str) -> Option<ConnectionAddr> {
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

    /// Connects to the primary that most Sentinels name, and asks them once more afterwards: making the
    /// connection may have taken seconds, and a primary that hung and was deposed meanwhile still says
    /// that it is one when it wakes. What is written to it then is gone as soon as it becomes a replica.
    async fn connect(&self) -> Result<Link, ConnError> {
        let place = self.agreed().await?;
        let late = |_| Err(ConnError::Away(format!("{} does not answer in time", shown(&place))));
        let connection = timeout(CONNECT, self.primary(&place)).await.unwrap_or_else(late)?;
        self.confirm(&place).await?;
        Ok(Link { connection, place: Some(place) })
    }

    /// Whether most Sentinels still name this place.
    async fn confirm(&self, place: &Place) -> Result<(), ConnError> {
        let agreed = self.agreed().await?;
        if agreed == *place {
            return Ok(());
        }
        let (old, new) = (shown(place), shown(&agreed));
        Err(ConnError::Away(format!("{old} is no longer the primary: most Sentinels name {new}")))
    }

    /// The place that most of the Sentinels that are listed name right now. All are asked at once, so
    /// that those that are away cost no time as long as the others agree.
    async fn agreed(&self) -> Result<Place, ConnError> {
        let needed = self.sentinels.len() / 2 + 1;
        let mut asked = JoinSet::new();
        for sentinel in &self.sentinels {
            asked.spawn(timeout(FRESH, ask(sentinel.clone(), self.name.clone())));
        }
        let mut votes: BTreeMap<Place, usize> = BTreeMap::new();
        let mut failure = "no answer in time".to_owned();
        while let Some(answer) = asked.join_next().await {
            match answer {
                Ok(Ok(Ok(place))) => {
                    let votes = votes.entry(place.clone()).or_default();
                    *votes += 1;
                    if *votes >= needed {
                        return Ok(place);
                    }
                }
                Ok(Ok(Err(error))) => failure = error.to_string(),
                _ => {}
            }
        }
        let listed = self.sentinels.len();
        let said = match votes.len() {
            0 => failure,
            1 => format!("{} did", votes.values().sum::<usize>()),
            _ => votes.keys().map(shown).collect::<Vec<_>>().join(" or "),
        };
        let need = format!("{needed} of {listed} Sentinels must name the same primary");
        Err(ConnError::Away(format!("{need} within {} ms: {said}", FRESH.as_millis())))
    }

    async fn primary(&self, place: &Place) -> Result<MultiplexedConnection, ConnError> {
        let (scheme, login, db) = (&self.scheme, self.login.expose_secret(), &self.db);
        let url = format!("{scheme}://{login}{}{db}", shown(place));
        let mut connection = connect(&client(&url, self.ca.as_deref())?).await?;
        let role: Vec<redis::Value> = cmd("ROLE").query_async(&mut connection).await?;
        let role = role.into_iter().next().map(redis::from_redis_value::<String>);
        match role {
            Some(Ok(role)) if role == "master" => Ok(connection),
            _ => Err(ConnError::Away(format!("{} is not the primary", shown(place)))),
        }
    }
}

/// As it stands in a URL.
fn shown((host, port): &Place) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
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
    fn a_node_of_a_cluster_says_where_our_keys_are() {
        let plain = ConnectionAddr::Tcp("one".to_owned(), 7000);
        let to = |place| moved_to(&plain, place).map(|addr| addr.to_string());
        assert_eq!(to("10.0.0.2:7001").as_deref(), Some("10.0.0.2:7001"));
        assert_eq!(to("::1:7001").as_deref(), Some("::1:7001"));
        assert_eq!(to(":7001").as_deref(), Some("one:7001"), "it does not know its own host");
        assert_eq!(to("nowhere"), None);
        let encrypted = Client::open("rediss://one:7000").expect("a good URL");
        let moved = moved_to(encrypted.get_connection_info().addr(), "two:7001");
        assert!(matches!(moved, Some(ConnectionAddr::TcpTls { port: 7001, .. })), "{moved:?}");
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
