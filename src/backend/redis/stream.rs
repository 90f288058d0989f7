//! [`RedisStream`]: appends events to the stream, one pipeline per batch.

use std::time::Duration;

use redis::Cmd;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::Names;
use super::conn::Conn;
use super::connector::Connector;
use super::error::ConnError;
use crate::event::{Batch, Event, codec};
use crate::pipeline::{CommitError, Outcome, Sink};

/// The stream, as a sink.
#[derive(Debug)]
pub struct RedisStream {
    connector: Connector,
    conn: Mutex<Conn>,
    names: Names,
    patience: Duration,
}

impl RedisStream {
    /// Appends to the stream, with an answer within `patience`.
    #[must_use]
    pub fn new(connector: &Connector, names: Names, patience: Duration) -> Self {
        let conn = Mutex::new(connector.appending(patience));
        Self { connector: connector.clone(), conn, names, patience }
    }

    fn append_one(&self, event: &Event) -> Cmd {
        /// `XADD`, the key, the id, then names and values.
        const ARGS: usize = 3 + 2 * codec::FIELDS.len();
        let mut command = Cmd::with_capacity(ARGS, self.names.stream.len() + event.size());
        command.arg("XADD").arg(&self.names.stream).arg("*");
        codec::encode(event, |name, value| {
            command.arg(name).arg(value);
        });
        command
    }

    async fn append(&self, pipe: &redis::Pipeline) -> Result<(), ConnError> {
        self.conn.lock().await.pipeline(pipe).await
    }
}

impl Sink for RedisStream {
    /// Not a transaction: after an error a part may have been appended, and appending again makes
    /// duplicates, which the store folds. Redis with `appendfsync always` syncs once for all
    /// commands of a pipeline, before it answers any.
    async fn commit(&self, batch: &Batch) -> Result<Outcome, CommitError> {
        // It would take them, and no worker could ever read them.
        if let Some(why) = self.connector.health().unsupported() {
            return Err(CommitError::Transient(why));
        }
        let mut pipe = redis::Pipeline::with_capacity(batch.events().len());
        for event in batch.events() {
            pipe.add_command(self.append_one(event)).ignore();
        }
        // Around all of it, since making a connection takes its time, too. What is dropped here
        // takes its connection with it.
        match timeout(self.patience, self.append(&pipe)).await {
            Ok(Ok(())) => Ok(Outcome::Appended),
            Ok(Err(ConnError::Full(cause))) => Err(CommitError::Full(cause)),
            Ok(Err(error)) => Err(CommitError::Transient(error.to_string())),
            Err(_) => Err(CommitError::Transient("no answer in time".to_owned())),
        }
    }
}
