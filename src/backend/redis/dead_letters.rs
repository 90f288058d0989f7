//! [`StreamDeadLetters`]: the stream beside the stream. Looked at rarely, so each call makes its own
//! connection.

use std::time::Duration;

use bytes::Bytes;
use redis::{Cmd, Script, cmd};

use super::Names;
use super::conn::Conn;
use super::connector::Connector;
use super::error::{ConnError, Why};
use super::housekeeping::time_of;
use crate::backend::BackendError;
use crate::backend::dead_letters::{Action, DeadLetter};
use crate::clock::Timestamp;
use crate::event::codec;

/// Longest answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

type RawEntry = (String, Vec<Vec<u8>>);

/// Reads, replays and purges dead letters.
#[derive(Clone, Debug)]
pub struct StreamDeadLetters {
    connector: Connector,
    names: Names,
}

impl StreamDeadLetters {
    /// The dead letters of this stream.
    #[must_use]
    pub fn new(connector: Connector, names: Names) -> Self {
        Self { connector, names }
    }

    pub(crate) async fn list(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, BackendError> {
        let start = after.map_or_else(|| "-".to_owned(), |id| format!("({id}"));
        self.range(&start, "+", limit).await
    }

    pub(crate) async fn get(&self, id: &str) -> Result<Option<DeadLetter>, BackendError> {
        Ok(self.range(id, id, 1).await?.pop())
    }

    pub(crate) async fn resolve(&self, id: &str, action: Action) -> Result<bool, BackendError> {
        let (stream, dead) = (self.names.stream.as_str(), self.names.dead());
        let deleted = match action {
            Action::Replay => {
                let script = Script::new(include_str!("replay.lua"));
                self.conn().script::<u64>(&script, &[stream, &dead], &[id]).await
            }
            Action::Purge => self.conn().query(cmd("XDEL").arg(&dead).arg(id)).await,
        };
        Ok(deleted.map_err(failed)? > 0)
    }

    pub(crate) async fn count(&self) -> Result<u64, BackendError> {
        let mut conn = self.conn();
        self.names.gather_dead(&mut conn).await.map_err(failed)?;
        conn.query(cmd("XLEN").arg(self.names.dead())).await.map_err(failed)
    }

    async fn range(
        &self,
        start: &str,
        end: &str,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, BackendError> {
        let range: &Cmd = &cmd("XRANGE")
            .arg(self.names.dead())
            .arg(start)
            .arg(end)
            .arg("COUNT")
            .arg(limit)
            .to_owned();
        let mut conn = self.conn();
        self.names.gather_dead(&mut conn).await.map_err(failed)?;
        let entries: Vec<RawEntry> = conn.query(range).await.map_err(failed)?;
        Ok(entries.into_iter().map(dead_letter).collect())
    }

    fn conn(&self) -> Conn {
        self.connector.conn(ANSWER_TIMEOUT)
    }
}

impl Names {
    /// Moves the dead letters of workers of 0.1, which may still run, to where it is looked for; whether there may be
    /// any. For this version alone.
    pub(super) async fn gather_dead(&self, conn: &mut Conn) -> Result<bool, ConnError> {
        let Some(old) = self.old_dead() else { return Ok(false) };
        let (script, dead) = (Script::new(include_str!("move_dead.lua")), self.dead());
        loop {
            match conn.script::<u64>(&script, &[&old, &dead], &[]).await {
                Ok(0) => return Ok(true),
                Ok(_) => {}
                // In a cluster the old key was of no use, so nothing can be there.
                Err(ConnError::Refused { why: Why::CrossSlot, .. }) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }
}

fn failed(error: ConnError) -> BackendError {
    BackendError(error.to_string())
}

fn dead_letter((id, values): RawEntry) -> DeadLetter {
    let mut values = values.into_iter().map(Bytes::from);
    let pairs = std::iter::from_fn(|| Some((values.next()?, values.next()?)));
    let (told, fields): (Vec<_>, Vec<_>) =
        pairs.partition(|(name, _)| name.starts_with(b"dead_") && *name != "dead_fields");
    let text = |wanted: &str| {
        let found = told.iter().find(|(name, _)| name == wanted);
        found.map_or_else(String::new, |(_, value)| String::from_utf8_lossy(value).into_owned())
    };
    let moved = text("dead_at").parse::<i64>().ok();
    let moved = moved.map(|millis| Timestamp::from_micros(millis.saturating_mul(1000)));
    DeadLetter {
        at: moved.or_else(|| time_of(&id)).unwrap_or(Timestamp::from_micros(0)),
        id,
        deliveries: text("dead_deliveries").parse().unwrap_or_default(),
        reason: text("dead_reason"),
        event: codec::decode(fields.iter().cloned()),
        fields,
    }
}
