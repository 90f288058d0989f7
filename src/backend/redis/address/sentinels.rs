//! [`Sentinels`]: Redis wherever most Sentinels say that the primary is.

use std::collections::BTreeMap;
use std::fmt;

use redis::aio::MultiplexedConnection;
use redis::{Client, ErrorKind, RedisResult, cmd};
use secrecy::{ExposeSecret, SecretString};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{CONNECT, FRESH, HostPort, Link, client, connect};
use crate::backend::redis::error::ConnError;

/// The default port of a Sentinel.
const SENTINEL_PORT: &str = ":26379";

/// A primary, and the Sentinels that know where it is.
pub(in crate::backend::redis) struct Sentinels {
    pub(super) sentinels: Vec<Client>,
    /// The primary's name.
    pub(super) name: String,
    pub(super) scheme: String,
    /// `user:password@`, or nothing.
    pub(super) login: SecretString,
    /// `/db`, or nothing.
    pub(super) db: String,
    ca: Option<Vec<u8>>,
}

impl Sentinels {
    pub(super) fn new(scheme: &str, rest: &str, ca: Option<&[u8]>) -> RedisResult<Self> {
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
    pub(super) async fn connect(&self) -> Result<Link, ConnError> {
        let place = self.agreed().await?;
        let late = |_| Err(ConnError::Away(format!("{} does not answer in time", shown(&place))));
        let connection = timeout(CONNECT, self.primary(&place)).await.unwrap_or_else(late)?;
        self.confirm(&place).await?;
        Ok(Link { connection, place: Some(place) })
    }

    /// Whether most Sentinels still name this place.
    pub(super) async fn confirm(&self, place: &HostPort) -> Result<(), ConnError> {
        let agreed = self.agreed().await?;
        if agreed == *place {
            return Ok(());
        }
        let (old, new) = (shown(place), shown(&agreed));
        Err(ConnError::Away(format!("{old} is no longer the primary: most Sentinels name {new}")))
    }

    /// The place that most of the Sentinels that are listed name right now. All are asked at once, so
    /// that unreachable ones cost no time as long as the others agree.
    async fn agreed(&self) -> Result<HostPort, ConnError> {
        let needed = self.sentinels.len() / 2 + 1;
        let mut asked = JoinSet::new();
        for sentinel in &self.sentinels {
            asked.spawn(timeout(FRESH, ask(sentinel.clone(), self.name.clone())));
        }
        let mut votes: BTreeMap<HostPort, usize> = BTreeMap::new();
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

    async fn primary(&self, place: &HostPort) -> Result<MultiplexedConnection, ConnError> {
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

impl fmt::Debug for Sentinels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sentinels").field("name", &self.name).finish_non_exhaustive()
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

/// The host and port as in a URL.
fn shown((host, port): &HostPort) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}
