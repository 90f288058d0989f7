//! [`Conn`]: one connection that is thrown away as soon as anything goes wrong on it.
//!
//! A connection that timed out may deliver the late answer to the next command, and one to a
//! server that became a replica answers READONLY for ever; a new one is cheap.

use std::time::Duration;

use redis::{Cmd, FromRedisValue, Pipeline, RedisError, Script, Value, cmd};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::address::{FRESH, Link, REACH};
use super::connector::Connector;
use super::error::ConnError;

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
    pub(super) fn new(connector: Connector, patience: Duration) -> Self {
        let (open, opening) = (None, JoinSet::new());
        Self { connector, patience, appends: false, open, opening }
    }

    /// The same for what must not go to a primary that was deposed.
    pub(super) fn appending(self) -> Self {
        Self { appends: true, ..self }
    }

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
    /// See [`ConnError`]; a part of a pipeline that is not a transaction may have been executed.
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
            self.connector.address().confirm(&open.link).await?;
        }
        Ok(open)
    }

    /// Connecting continues after the waiting caller has given up: over TLS or through Sentinels it may take longer
    /// than a request may wait, and would otherwise never succeed.
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
                let reached = timeout(REACH, connector.address().connect());
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
                    self.connector.address().confirm(&open.link).await?;
                }
                self.open = Some(Open { proven: Instant::now(), ..open });
                Ok(value)
            }
            Ok(Err(error)) => {
                let error = ConnError::from(error);
                if let ConnError::Moved(text) = &error
                    && let Some(place) = text.split_ascii_whitespace().nth(2)
                {
                    self.connector.address().follow(place);
                }
                Err(error)
            }
            Err(_) => Err(ConnError::Away("no answer in time".to_owned())),
        }
    }
}
