//! [`Conn`]: one connection that is thrown away as soon as anything goes wrong on it.
//!
//! A connection that timed out may deliver the late answer to the next command, and one to a
//! server that became a replica answers READONLY for ever; a new one is cheap.

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, FromRedisValue, Pipeline, RedisError, Script, Value, cmd};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::address::{Address, FRESH, Link, REACH};
use super::health::RedisHealth;
use crate::backend::{BackendError, DurabilityReport, certificate};

/// Longest wait of a probe.
const PROBE: Duration = Duration::from_secs(2);

/// Makes connections to one Redis, and knows what was found out about it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Connector(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    address: Address,
    health: RedisHealth,
}

/// Why a server refuses a command, as far as anything hangs on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// It still reads its files: it is about to be there.
    Loading,
    /// The consumer group is there already.
    GroupExists,
    /// The keys lie on several nodes of a cluster.
    CrossSlot,
    /// There is no stream of that name.
    NoStream,
    /// It does not read scripts in the form that Redis has since 7.0.
    OldScripts,
    /// Something else.
    Other,
}

impl Why {
    /// By the code; of errors without one of their own by the words, which is the one place that reads them.
    fn of(code: &str, text: &str) -> Self {
        match code {
            "LOADING" => Self::Loading,
            "BUSYGROUP" => Self::GroupExists,
            "CROSSSLOT" => Self::CrossSlot,
            // What stands in for Redis may wrap the error of a script's command in one of its own.
            _ if text.contains("BUSYGROUP") => Self::GroupExists,
            _ if text.to_ascii_lowercase().contains("no such key") => Self::NoStream,
            // The first line of our scripts.
            _ if text.contains("near '#'") => Self::OldScripts,
            _ => Self::Other,
        }
    }
}

/// A command failed.
#[derive(Debug, thiserror::Error)]
pub enum ConnError {
    /// There is no connection, or no answer in time. The command may have been carried out.
    #[error("{0}")]
    Away(String),
    /// The server said no.
    #[error("{text}")]
    Refused {
        /// Why, as far as anything hangs on it.
        why: Why,
        /// In the server's own words.
        text: String,
    },
    /// The server has no memory left (`OOM`, by `maxmemory` with `noeviction`).
    #[error("{0}")]
    Full(String),
    /// The consumer group is gone, and the stream perhaps with it.
    #[error("{0}")]
    NoGroup(String),
    /// The key is on another node of a cluster. Nothing was carried out; the next connection leads there.
    #[error("{0}")]
    Moved(String),
}

impl From<RedisError> for ConnError {
    fn from(error: RedisError) -> Self {
        let text = error.to_string();
        // Of a pipeline, each command may have failed; nearly always for the reason of the first.
        let first = error.into_server_errors().and_then(|errors| Some(errors.first()?.1.clone()));
        let Some(first) = first else {
            return Self::Away(match certificate::explain(&text) {
                Some(meaning) => format!("{meaning} ({text})"),
                None => text,
            });
        };
        // In the server's own words, which name keys and commands, no values.
        let text = match first.details() {
            Some(details) => format!("{} {details}", first.code()),
            None => first.code().to_owned(),
        };
        match first.code() {
            "OOM" => Self::Full(text),
            "NOGROUP" => Self::NoGroup(text),
            "MOVED" => Self::Moved(text),
            code => Self::Refused { why: Why::of(code, &text), text },
        }
    }
}

impl Connector {
    /// Of a `redis://`, `rediss://` or `redis+unix://` URL, or of `redis+sentinel://` or
    /// `rediss+sentinel://`, whose hosts are Sentinels.
    ///
    /// # Errors
    /// The URL is none. Its own text, which may hold a password, is not in the error.
    pub fn new(url: &str) -> Result<Self, BackendError> {
        Self::with_ca(url, None)
    }

    /// The same, where certificates must be of an authority of one's own, given as PEM.
    ///
    /// # Errors
    /// The same; or the URL asks for no TLS, or that is no PEM.
    pub fn with_ca(url: &str, ca: Option<&[u8]>) -> Result<Self, BackendError> {
        let address =
            Address::new(url, ca).map_err(|error| BackendError(without_detail(&error)))?;
        Ok(Self(Arc::new(Shared { address, health: RedisHealth::default() })))
    }

    /// A connection of its own, made when first used, on which every answer comes within
    /// `patience`.
    #[must_use]
    pub fn conn(&self, patience: Duration) -> Conn {
        let (open, opening) = (None, JoinSet::new());
        Conn { connector: self.clone(), patience, appends: false, open, opening }
    }

    /// The same for appending events. Behind Sentinels they are asked again whether it still leads to the
    /// primary when it was silent for [`FRESH`].
    #[must_use]
    pub(super) fn appending(&self, patience: Duration) -> Conn {
        Conn { appends: true, ..self.conn(patience) }
    }

    /// What was found out about this Redis.
    #[must_use]
    pub fn health(&self) -> &RedisHealth {
        &self.0.health
    }

    /// Whether Redis answers, and took all that was tried last.
    ///
    /// # Errors
    /// It does not, in time, or it refuses something that is needed.
    pub async fn check(&self) -> Result<(), BackendError> {
        let pong = self.conn(PROBE).query::<String>(&cmd("PING")).await;
        pong.map_err(|error| BackendError(error.to_string()))?;
        self.health().outcome().map_err(|failure| BackendError(failure.to_string()))
    }
}

impl Connector {
    /// What its settings make of "committed". Where `CONFIG` is hidden, as by managed services, `INFO`
    /// says a part of it, and whether Redis syncs is unknown.
    pub async fn durability(&self) -> Result<DurabilityReport, BackendError> {
        let mut conn = self.conn(PROBE);
        let mut settings = Vec::with_capacity(3);
        for name in ["appendonly", "appendfsync", "maxmemory-policy"] {
            let pairs = told::<Vec<String>>(&mut conn, cmd("CONFIG").arg("GET").arg(name)).await?;
            settings.push(pairs.into_iter().nth(1));
        }
        if settings.iter().all(Option::is_none) {
            let info: String = told(&mut conn, &cmd("INFO")).await?;
            let line = |name| info.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            let append_only = line("aof_enabled:").map(|on| if on == "1" { "yes" } else { "no" });
            return Ok(DurabilityReport::of_redis(append_only, None, line("maxmemory_policy:")));
        }
        let setting = |place: usize| settings[place].as_deref();
        Ok(DurabilityReport::of_redis(setting(0), setting(1), setting(2)))
    }
}

/// Of an error about a URL what is wrong with it: the detail quotes a part of it.
fn without_detail(error: &redis::RedisError) -> String {
    let text = error.to_string();
    let detail = error.detail().map(|detail| format!(": {detail}"));
    detail.and_then(|detail| text.strip_suffix(&detail)).unwrap_or(&text).to_owned()
}

/// What Redis tells, or nothing if it does not tell that to us.
async fn told<T: FromRedisValue + Default>(
    conn: &mut Conn,
    question: &Cmd,
) -> Result<T, BackendError> {
    match conn.query(question).await {
        Ok(answer) => Ok(answer),
        // Still loading is no answer; forbidden or unknown is one.
        Err(ConnError::Refused { why, .. }) if why != Why::Loading => Ok(T::default()),
        Err(error) => Err(BackendError(error.to_string())),
    }
}

/// One connection, for one task.
#[derive(Debug)]
pub struct Conn {
    connector: Connector,
    patience: Duration,
    /// Whether something is written here that must not go to a primary that was deposed.
    appends: bool,
    open: Option<Open>,
    /// At most one, which is being made.
    opening: JoinSet<Result<Open, ConnError>>,
}

/// A connection, and when it last proved that it leads to the primary.
#[derive(Debug)]
struct Open {
    link: Link,
    proven: Instant,
}

impl Conn {
    /// Runs a command.
    ///
    /// # Errors
    /// See [`ConnError`]; the connection is then gone, and the next command makes another.
    pub async fn query<T: FromRedisValue>(&mut self, command: &Cmd) -> Result<T, ConnError> {
        match self.query_once(command).await {
            Err(ConnError::Moved(_)) => self.query_once(command).await,
            answer => answer,
        }
    }

    async fn query_once<T: FromRedisValue>(&mut self, command: &Cmd) -> Result<T, ConnError> {
        let mut open = self.take().await?;
        let asked = Instant::now();
        let answer = timeout(self.patience, command.query_async(&mut open.link.connection)).await;
        self.finish_command(open, asked, answer).await
    }

    /// Runs a pipeline.
    ///
    /// # Errors
    /// See [`ConnError`]; of a pipeline that is no transaction, a part may have been carried out.
    pub async fn pipeline<T: FromRedisValue>(&mut self, pipe: &Pipeline) -> Result<T, ConnError> {
        match self.pipeline_once(pipe).await {
            Err(ConnError::Moved(_)) => self.pipeline_once(pipe).await,
            answer => answer,
        }
    }

    async fn pipeline_once<T: FromRedisValue>(&mut self, pipe: &Pipeline) -> Result<T, ConnError> {
        let mut open = self.take().await?;
        let asked = Instant::now();
        let answer = timeout(self.patience, pipe.query_async(&mut open.link.connection)).await;
        self.finish_command(open, asked, answer).await
    }

    /// Runs commands in one transaction: all or none are carried out. Where `MULTI` itself is refused, each
    /// may have been carried out alone. Written out, since the library does not expect that refusal.
    ///
    /// # Errors
    /// See [`ConnError`].
    pub async fn transaction(&mut self, commands: &[Cmd]) -> Result<(), ConnError> {
        let mut pipe = Pipeline::with_capacity(commands.len() + 2);
        pipe.add_command(cmd("MULTI")).ignore();
        for command in commands {
            pipe.add_command(command.clone()).ignore();
        }
        pipe.add_command(cmd("EXEC"));
        let answers: Vec<Vec<Value>> = self.pipeline(&pipe).await?;
        let failed = answers.into_iter().flatten().find_map(|answer| match answer {
            Value::ServerError(error) => Some(RedisError::from(error)),
            _ => None,
        });
        failed.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Runs a script.
    ///
    /// # Errors
    /// See [`ConnError`].
    pub async fn script<T: FromRedisValue>(
        &mut self,
        script: &Script,
        keys: &[&str],
        args: &[&str],
    ) -> Result<T, ConnError> {
        match self.script_once(script, keys, args).await {
            Err(ConnError::Moved(_)) => self.script_once(script, keys, args).await,
            answer => answer,
        }
    }

    async fn script_once<T: FromRedisValue>(
        &mut self,
        script: &Script,
        keys: &[&str],
        args: &[&str],
    ) -> Result<T, ConnError> {
        let mut open = self.take().await?;
        let mut call = script.prepare_invoke();
        for key in keys {
            call.key(key);
        }
        for arg in args {
            call.arg(arg);
        }
        let asked = Instant::now();
        let answer = timeout(self.patience, call.invoke_async(&mut open.link.connection)).await;
        self.finish_command(open, asked, answer).await
    }

    /// The connection is taken out while a command runs on it, so that a command that is dropped
    /// half-way leaves none behind.
    async fn take(&mut self) -> Result<Open, ConnError> {
        let open = match self.open.take() {
            Some(open) => open,
            None => self.reach().await?,
        };
        // A primary that hung for long enough to be deposed has answered nothing meanwhile. So one that
        // was silent is taken for the primary only if the Sentinels say so.
        if self.appends && open.proven.elapsed() > FRESH {
            self.connector.0.address.confirm(&open.link).await?;
        }
        Ok(open)
    }

    /// Making one goes on when whoever waited for it has given up: it may take longer than a request
    /// may wait, over TLS or by way of Sentinels, and would else never be made.
    async fn reach(&mut self) -> Result<Open, ConnError> {
        while let Some(made) = self.opening.try_join_next() {
            if let Ok(Ok(open)) = made {
                return Ok(open);
            }
        }
        if self.opening.is_empty() {
            let connector = self.connector.clone();
            self.opening.spawn(async move {
                let late = |_| Err(ConnError::Away("no connection in time".to_owned()));
                let reached = timeout(REACH, connector.0.address.connect());
                let link = reached.await.unwrap_or_else(late)?;
                Ok(Open { link, proven: Instant::now() })
            });
        }
        match self.opening.join_next().await {
            Some(Ok(made)) => made,
            _ => Err(ConnError::Away("no connection".to_owned())),
        }
    }

    async fn finish_command<T>(
        &mut self,
        open: Open,
        asked: Instant,
        answer: Result<Result<T, RedisError>, tokio::time::error::Elapsed>,
    ) -> Result<T, ConnError> {
        match answer {
            Ok(Ok(value)) => {
                // It was silent for long before it said so.
                if self.appends && asked.elapsed() > FRESH {
                    self.connector.0.address.confirm(&open.link).await?;
                }
                self.open = Some(Open { proven: Instant::now(), ..open });
                Ok(value)
            }
            Ok(Err(error)) => {
                let error = ConnError::from(error);
                if let ConnError::Moved(text) = &error
                    && let Some(place) = text.split_ascii_whitespace().nth(2)
                {
                    self.connector.0.address.follow(place);
                }
                Err(error)
            }
            Err(_) => Err(ConnError::Away("no answer in time".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use redis::{ErrorKind, RedisError};

    use super::*;

    #[test]
    fn a_refusal_is_known_by_its_code() {
        let check = |code: &str, words: &str, expected: Why| {
            let text = format!("{code} {words}");
            assert_eq!(Why::of(code, &text), expected, "{text}");
        };
        check("LOADING", "Redis is loading the dataset in memory", Why::Loading);
        check("BUSYGROUP", "Consumer Group name already exists", Why::GroupExists);
        check("ERR", "Error running script: -BUSYGROUP Consumer Group name", Why::GroupExists);
        check("CROSSSLOT", "Keys in request don't hash to the same slot", Why::CrossSlot);
        check("ERR", "no such key", Why::NoStream);
        check("ERR", "The XGROUP subcommand needs the key: No such key", Why::NoStream);
        check("ERR", "Error compiling script: unexpected symbol near '#'", Why::OldScripts);
        check("NOPERM", "this user has no permissions", Why::Other);
    }

    #[test]
    fn an_error_that_no_server_sent_is_one_of_the_connection() {
        let error = RedisError::from((ErrorKind::Io, "broken pipe"));
        assert!(matches!(ConnError::from(error), ConnError::Away(_)));
    }
}
