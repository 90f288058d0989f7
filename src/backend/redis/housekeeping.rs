//! [`Housekeeping`]: how much waits in the stream, and freeing what everybody is done with.

use std::collections::HashMap;
use std::time::Duration;

use redis::{FromRedisValue, Script, Value, cmd};

use super::Names;
use super::conn::{Conn, ConnError, Connector};
use crate::backend::BackendError;
use crate::clock::Timestamp;

/// Longest answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What waits in the stream.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Backlog {
    /// Entries in the stream, those included that are acked and not yet trimmed.
    pub length: u64,
    /// Entries that no worker has read.
    pub unread: u64,
    /// Entries that a worker has read and not acked.
    pub pending: u64,
    /// Dead letters.
    pub dead: u64,
    /// When the oldest entry that is not acked was appended, by Redis's clock.
    pub oldest: Option<Timestamp>,
}

/// Looks after the stream, on a connection of its own.
#[derive(Debug)]
pub struct Housekeeping {
    conn: Conn,
    names: Names,
}

impl Housekeeping {
    /// Of this stream.
    #[must_use]
    pub fn new(connector: &Connector, names: Names) -> Self {
        Self { conn: connector.conn(PATIENCE), names }
    }

    /// Frees entries that every group has acked; about how many.
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn trim(&mut self) -> Result<u64, BackendError> {
        let script = Script::new(include_str!("trim.lua"));
        match self.conn.script(&script, &[&self.names.stream], &[]).await {
            Ok(freed) => Ok(freed),
            Err(ConnError::Refused(text)) if is_no_stream(&text) => Ok(0),
            Err(error) => Err(BackendError(error.to_string())),
        }
    }

    /// What waits.
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn backlog(&mut self) -> Result<Backlog, BackendError> {
        self.look().await.map_err(|error| BackendError(error.to_string()))
    }

    async fn look(&mut self) -> Result<Backlog, ConnError> {
        let Names { stream, group } = self.names.clone();
        let length: u64 = self.conn.query(cmd("XLEN").arg(&stream)).await?;
        let dead: u64 = self.conn.query(cmd("XLEN").arg(self.names.dead())).await?;
        let groups = self.conn.query(cmd("XINFO").arg("GROUPS").arg(&stream)).await;
        let groups: Vec<HashMap<String, Value>> = match groups {
            Ok(groups) => groups,
            Err(ConnError::Refused(text)) if is_no_stream(&text) => Vec::new(),
            Err(error) => return Err(error),
        };
        let text = |info: &HashMap<String, Value>, name: &str| {
            info.get(name).cloned().and_then(|value| String::from_redis_value(value).ok())
        };
        let number = |info: &HashMap<String, Value>, name: &str| {
            info.get(name).cloned().and_then(|value| u64::from_redis_value(value).ok())
        };
        let ours = groups.iter().find(|info| text(info, "name").as_ref() == Some(&group));
        // No worker has started yet: all of it waits.
        let Some(ours) = ours else {
            let oldest = self.first_after(&stream, "-").await?;
            return Ok(Backlog { length, unread: length, pending: 0, dead, oldest });
        };
        let pending = number(ours, "pending").unwrap_or_default();
        let oldest_pending = match pending {
            0 => None,
            _ => {
                let summary = cmd("XPENDING").arg(&stream).arg(&group).to_owned();
                let (_, lowest, _, _): (u64, Option<String>, Option<String>, Value) =
                    self.conn.query(&summary).await?;
                lowest.as_deref().and_then(time_of)
            }
        };
        let last = text(ours, "last-delivered-id").unwrap_or_else(|| "0-0".to_owned());
        let oldest_unread = self.first_after(&stream, &format!("({last}")).await?;
        // Redis does not know it after entries were deleted in the middle; then it is a bound.
        let unread = number(ours, "lag").unwrap_or_else(|| length.saturating_sub(pending));
        let unread = if oldest_unread.is_none() { 0 } else { unread };
        let oldest = oldest_pending.into_iter().chain(oldest_unread).min();
        Ok(Backlog { length, unread, pending, dead, oldest })
    }

    async fn first_after(
        &mut self,
        stream: &str,
        start: &str,
    ) -> Result<Option<Timestamp>, ConnError> {
        let range = cmd("XRANGE").arg(stream).arg(start).arg("+").arg("COUNT").arg(1).to_owned();
        let first: Vec<(String, Value)> = self.conn.query(&range).await?;
        Ok(first.first().and_then(|(id, _)| time_of(id)))
    }
}

fn is_no_stream(text: &str) -> bool {
    text.to_ascii_lowercase().contains("no such key")
}

/// The time in an entry's id, `<milliseconds>-<number>`.
pub(super) fn time_of(id: &str) -> Option<Timestamp> {
    let (millis, _) = id.split_once('-')?;
    Some(Timestamp::from_micros(millis.parse::<i64>().ok()?.saturating_mul(1000)))
}
