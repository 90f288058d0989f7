//! [`Conn`]: one connection that is thrown away as soon as anything goes wrong on it.
//!
//! A connection that timed out may deliver the late answer to the next command, and one to a
//! server that became a replica answers READONLY for ever; a new one is cheap.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue, Pipeline, RedisError, Script, cmd};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::address::{Address, CONNECT};
use crate::backend::{BackendError, InForce, in_force};

/// Longest wait of a probe.
const PROBE: Duration = Duration::from_secs(2);

/// Makes connections to one Redis. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Connector(Arc<Address>);

/// A command failed.
#[derive(Debug, thiserror::Error)]
pub enum ConnError {
    /// There is no connection, or no answer in time. The command may have been carried out.
    #[error("{0}")]
    Away(String),
    /// The server said no.
    #[error("{0}")]
    Refused(String),
    /// The server has no memory left (`OOM`, by `maxmemory` with `noeviction`).
    #[error("{0}")]
    Full(String),
    /// The consumer group is gone, and the stream perhaps with it.
    #[error("{0}")]
    NoGroup(String),
}

impl From<RedisError> for ConnError {
    fn from(error: RedisError) -> Self {
        // `RedisError`'s text has the server's answer, which names keys and commands, no values.
        let text = error.to_string();
        let code = error.code().map(str::to_owned);
        // Of a pipeline, each command may have failed; nearly always for the reason of the first.
        // Asking the error itself for a code finds only those of the library's own list.
        let (code, text) = match error.into_server_errors().as_deref() {
            Some([(_, only)]) => (Some(only.code().to_owned()), text),
            Some([(_, first), ..]) => (Some(first.code().to_owned()), first.to_string()),
            _ => (code, text),
        };
        match code.as_deref() {
            Some("OOM") => Self::Full(text),
            Some("NOGROUP") => Self::NoGroup(text),
            Some(_) => Self::Refused(text),
            None => Self::Away(text),
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
        Ok(Self(Arc::new(address)))
    }

    /// A connection of its own, made when first used, on which every answer comes within
    /// `patience`.
    #[must_use]
    pub fn conn(&self, patience: Duration) -> Conn {
        Conn { connector: self.clone(), patience, open: None, opening: JoinSet::new() }
    }

    /// Whether Redis answers.
    ///
    /// # Errors
    /// It does not, in time, or it answers with an error, such as while it loads its data.
    pub async fn ping(&self) -> Result<(), BackendError> {
        let pong = self.conn(PROBE).query::<String>(&cmd("PING")).await;
        pong.map(|_| ()).map_err(|error| BackendError(error.to_string()))
    }
}

impl Connector {
    /// What its settings make of "committed". Where `CONFIG` is hidden, as by managed services, `INFO`
    /// says a part of it, and whether Redis syncs is unknown.
    ///
    /// # Errors
    /// Redis does not answer, in time.
    pub async fn in_force(&self) -> Result<InForce, BackendError> {
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
            return Ok(in_force::of_redis(append_only, None, line("maxmemory_policy:")));
        }
        let setting = |place: usize| settings[place].as_deref();
        Ok(in_force::of_redis(setting(0), setting(1), setting(2)))
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
        Err(ConnError::Refused(text)) if !text.contains("LOADING") => Ok(T::default()),
        Err(error) => Err(BackendError(error.to_string())),
    }
}

/// One connection, for one task.
#[derive(Debug)]
pub struct Conn {
    connector: Connector,
    patience: Duration,
    open: Option<MultiplexedConnection>,
    /// At most one, which is being made.
    opening: JoinSet<Result<MultiplexedConnection, ConnError>>,
}

impl Conn {
    /// Runs a command.
    ///
    /// # Errors
    /// See [`ConnError`]; the connection is then gone, and the next command makes another.
    pub async fn query<T: FromRedisValue>(&mut self, command: &Cmd) -> Result<T, ConnError> {
        let mut open = self.take().await?;
        let answer = timeout(self.patience, command.query_async(&mut open)).await;
        self.settle(open, answer)
    }

    /// Runs a pipeline.
    ///
    /// # Errors
    /// See [`ConnError`]; of a pipeline that is no transaction, a part may have been carried out.
    pub async fn pipeline<T: FromRedisValue>(&mut self, pipe: &Pipeline) -> Result<T, ConnError> {
        let mut open = self.take().await?;
        let answer = timeout(self.patience, pipe.query_async(&mut open)).await;
        self.settle(open, answer)
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
        let mut open = self.take().await?;
        let mut call = script.prepare_invoke();
        for key in keys {
            call.key(key);
        }
        for arg in args {
            call.arg(arg);
        }
        let answer = timeout(self.patience, call.invoke_async(&mut open)).await;
        self.settle(open, answer)
    }

    /// The connection is taken out while a command runs on it, so that a command that is dropped
    /// half-way leaves none behind.
    ///
    /// Making one goes on when whoever waited for it has given up: it may take longer than a request
    /// may wait, over TLS or by way of Sentinels, and would else never be made.
    async fn take(&mut self) -> Result<MultiplexedConnection, ConnError> {
        if let Some(open) = self.open.take() {
            return Ok(open);
        }
        while let Some(made) = self.opening.try_join_next() {
            if let Ok(Ok(open)) = made {
                return Ok(open);
            }
        }
        if self.opening.is_empty() {
            let (connector, patience) = (self.connector.clone(), CONNECT.max(self.patience));
            self.opening.spawn(async move {
                let late = |_| Err(ConnError::Away("no connection in time".to_owned()));
                timeout(patience, connector.0.connect()).await.unwrap_or_else(late)
            });
        }
        match self.opening.join_next().await {
            Some(Ok(made)) => made,
            _ => Err(ConnError::Away("no connection".to_owned())),
        }
    }

    fn settle<T>(
        &mut self,
        open: MultiplexedConnection,
        answer: Result<Result<T, RedisError>, tokio::time::error::Elapsed>,
    ) -> Result<T, ConnError> {
        match answer {
            Ok(Ok(value)) => {
                self.open = Some(open);
                Ok(value)
            }
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(ConnError::Away("no answer in time".to_owned())),
        }
    }
}
