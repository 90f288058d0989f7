//! [`Housekeeping`]: how much waits in the stream, and freeing what everybody is done with.

use std::collections::HashMap;
use std::time::Duration;

use redis::{FromRedisValue, Script, Value, cmd};

use super::Names;
use super::conn::Conn;
use super::connector::Connector;
use super::error::{ConnError, Why};
use crate::backend::BackendError;
use crate::backend::dead_letters::parse_id;
use crate::clock::Timestamp;

/// Most groups that are looked at. Each costs a question or two.
const MAX_GROUPS: usize = 100;
/// Longest answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// How many entries one call frees, less one node of them, if there are as many.
pub const TRIMMED_AT_ONCE: u64 = 5_000;
/// Up to this many unread entries are counted one by one; beyond that, Redis's own count is used.
const COUNTED: u64 = 500;

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

/// A group that is not offhook's and keeps entries in the stream: what it has not acked is not freed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Blocker {
    /// The name of the group.
    pub group: String,
    /// Age of the oldest entry that it keeps, by Redis's clock.
    pub age: Duration,
}

/// Looks after the stream, on a connection of its own.
#[derive(Debug)]
pub struct Housekeeping {
    conn: Conn,
    names: Names,
    /// How far the stream was when it was last looked at, and what waited in it.
    seen: Option<(Extent, Backlog)>,
    /// Whether there may be dead letters where 0.1 put them.
    gathers: bool,
}

/// How far a stream ever was. It only grows, unless the stream is deleted or set back.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Extent {
    /// Entries that were ever appended.
    added: u64,
    /// The greatest id.
    last: (u64, u64),
}

impl Extent {
    fn is_behind(self, before: Self) -> bool {
        self.added < before.added || self.last < before.last
    }
}

impl Housekeeping {
    /// The housekeeping of this stream.
    #[must_use]
    pub fn new(connector: &Connector, names: Names) -> Self {
        Self { conn: connector.conn(ANSWER_TIMEOUT), names, seen: None, gathers: true }
    }

    /// Frees entries that every group has acked, and returns about how many. If that is no less than
    /// [`TRIMMED_AT_ONCE`], there may be more.
    pub async fn trim(&mut self) -> Result<u64, BackendError> {
        let script = Script::new(include_str!("trim.lua"));
        match self.conn.script(&script, &[&self.names.stream], &[]).await {
            Ok(freed) => Ok(freed),
            Err(ConnError::Refused { why: Why::NoStream, .. }) => Ok(0),
            Err(error) => Err(BackendError(error.to_string())),
        }
    }

    /// Removes consumers of the group that have been silent for `idle`, unless something is
    /// pending under their names. Returns how many. A worker that leaves does so itself; one that was killed cannot.
    pub async fn reap(&mut self, idle: Duration) -> Result<u64, BackendError> {
        let script = Script::new(include_str!("reap.lua"));
        let (keys, idle) = ([&*self.names.stream], idle.as_millis().to_string());
        match self.conn.script(&script, &keys, &[&self.names.group, &idle]).await {
            Ok(reaped) => Ok(reaped),
            Err(ConnError::NoGroup(_)) => Ok(0),
            Err(ConnError::Refused { why: Why::NoStream, .. }) => Ok(0),
            Err(error) => Err(BackendError(error.to_string())),
        }
    }

    /// What waits.
    pub async fn backlog(&mut self) -> Result<Backlog, BackendError> {
        self.look().await.map_err(|error| BackendError(error.to_string()))
    }

    /// What waits. If the stream is not as far as at the last look, because it was deleted, Redis was flushed, or a
    /// failover led to a Redis that had less: what waited then.
    pub async fn compare(&mut self) -> Result<(Backlog, Option<Backlog>), BackendError> {
        let failed = |error: ConnError| BackendError(error.to_string());
        // In this order: else what is appended between the two would be shown as waiting, and could then be lost unseen.
        let backlog = self.backlog().await?;
        let extent = self.extent().await.map_err(failed)?;
        let before = self.seen.replace((extent, backlog));
        let gone = before.filter(|(before, _)| extent.is_behind(*before));
        Ok((backlog, gone.map(|(_, waited)| waited)))
    }

    async fn extent(&mut self) -> Result<Extent, ConnError> {
        let info = self.conn.query(cmd("XINFO").arg("STREAM").arg(&self.names.stream)).await;
        let mut info: HashMap<String, Value> = match info {
            Ok(info) => info,
            Err(ConnError::Refused { why: Why::NoStream, .. }) => return Ok(Extent::default()),
            Err(error) => return Err(error),
        };
        let added = info.remove("entries-added").map(u64::from_redis_value);
        let last = info.remove("last-generated-id").map(String::from_redis_value);
        let last = last.and_then(Result::ok).and_then(|id| parse_id(&id));
        let added = added.and_then(Result::ok).unwrap_or_default();
        Ok(Extent { added, last: last.unwrap_or_default() })
    }

    async fn look(&mut self) -> Result<Backlog, ConnError> {
        let stream = self.names.stream.clone();
        if self.gathers {
            self.gathers = self.names.gather_dead(&mut self.conn).await?;
        }
        let length: u64 = self.conn.query(cmd("XLEN").arg(&stream)).await?;
        let dead: u64 = self.conn.query(cmd("XLEN").arg(self.names.dead())).await?;
        let groups = self.groups().await?;
        // No worker has started yet: all of it waits.
        let Some(ours) = groups.iter().find(|group| group.name == self.names.group) else {
            let oldest = self.first_after("-").await?;
            return Ok(Backlog { length, unread: length, pending: 0, dead, oldest });
        };
        let (oldest_pending, oldest_unread) = self.oldest(ours).await?;
        let unread = match oldest_unread {
            None => 0,
            Some(_) => self.unread(ours, length).await?,
        };
        let oldest = oldest_pending.into_iter().chain(oldest_unread).min();
        Ok(Backlog { length, unread, pending: ours.pending, dead, oldest })
    }

    /// How many entries a group has not read. Redis says so, unless entries were deleted in the middle; and
    /// after a restart it says too much, by all that was read before. So a few are counted, and of many, no
    /// more are believed than there can be.
    async fn unread(&mut self, group: &GroupProgress, length: u64) -> Result<u64, ConnError> {
        let script = Script::new(include_str!("unread.lua"));
        let (keys, most) = ([&*self.names.stream], COUNTED.to_string());
        let counted = self.conn.script(&script, &keys, &[&group.last_delivered, &most]).await?;
        if counted < COUNTED {
            return Ok(counted);
        }
        let most = length.saturating_sub(group.pending).max(counted);
        Ok(group.lag.unwrap_or(most).clamp(counted, most))
    }

    /// Other groups that keep entries in the stream that offhook's group has acked.
    pub async fn blockers(&mut self) -> Result<Vec<Blocker>, BackendError> {
        self.look_for_blockers().await.map_err(|error| BackendError(error.to_string()))
    }

    async fn look_for_blockers(&mut self) -> Result<Vec<Blocker>, ConnError> {
        let (now, groups) = (self.time().await?, self.groups().await?);
        let mut ours = None;
        let mut others = Vec::new();
        for group in groups {
            let (pending, unread) = self.oldest(&group).await?;
            let oldest = pending.into_iter().chain(unread).min();
            if group.name == self.names.group {
                ours = Some(oldest);
            } else {
                others.extend(oldest.map(|oldest| (group.name, oldest)));
            }
        }
        // Without offhook's group nothing is freed, whatever other groups do.
        let Some(ours) = ours else { return Ok(Vec::new()) };
        others.retain(|(_, oldest)| ours.is_none_or(|ours| *oldest < ours));
        let blocker = |(group, oldest)| Blocker { group, age: now.since(oldest) };
        Ok(others.into_iter().map(blocker).collect())
    }

    /// Redis's own clock, by which entries have their ids.
    pub async fn now(&mut self) -> Result<Timestamp, BackendError> {
        self.time().await.map_err(|error| BackendError(error.to_string()))
    }

    async fn time(&mut self) -> Result<Timestamp, ConnError> {
        let (seconds, micros): (i64, i64) = self.conn.query(&cmd("TIME")).await?;
        Ok(Timestamp::from_micros(seconds.saturating_mul(1_000_000).saturating_add(micros)))
    }

    async fn groups(&mut self) -> Result<Vec<GroupProgress>, ConnError> {
        let groups = self.conn.query(cmd("XINFO").arg("GROUPS").arg(&self.names.stream)).await;
        let groups: Vec<HashMap<String, Value>> = match groups {
            Ok(groups) => groups,
            Err(ConnError::Refused { why: Why::NoStream, .. }) => Vec::new(),
            Err(error) => return Err(error),
        };
        Ok(groups.into_iter().take(MAX_GROUPS).filter_map(GroupProgress::of).collect())
    }

    /// When the oldest entry was appended that the group has read and not acked, and the oldest that it has not read.
    async fn oldest(
        &mut self,
        group: &GroupProgress,
    ) -> Result<(Option<Timestamp>, Option<Timestamp>), ConnError> {
        let mut pending = None;
        if group.pending > 0 {
            let summary = cmd("XPENDING").arg(&self.names.stream).arg(&group.name).to_owned();
            let (_, lowest, _, _): (u64, Option<String>, Option<String>, Value) =
                self.conn.query(&summary).await?;
            pending = lowest.as_deref().and_then(time_of);
        }
        let unread = self.first_after(&format!("({}", group.last_delivered)).await?;
        Ok((pending, unread))
    }

    async fn first_after(&mut self, start: &str) -> Result<Option<Timestamp>, ConnError> {
        let mut range = cmd("XRANGE");
        range.arg(&self.names.stream).arg(start).arg("+").arg("COUNT").arg(1);
        let first: Vec<(String, Value)> = self.conn.query(&range).await?;
        Ok(first.first().and_then(|(id, _)| time_of(id)))
    }
}

/// A consumer group, as Redis reports it.
struct GroupProgress {
    name: String,
    pending: u64,
    last_delivered: String,
    /// Entries after the last delivered one, unless Redis does not know.
    lag: Option<u64>,
}

impl GroupProgress {
    fn of(mut info: HashMap<String, Value>) -> Option<Self> {
        let mut text = |name: &str| String::from_redis_value(info.remove(name)?).ok();
        let (name, last_delivered) = (text("name")?, text("last-delivered-id")?);
        let mut number = |name: &str| u64::from_redis_value(info.remove(name)?).ok();
        let (pending, lag) = (number("pending")?, number("lag"));
        Some(Self { name, pending, last_delivered, lag })
    }
}

/// The time in an entry's id, `<milliseconds>-<number>`.
pub(super) fn time_of(id: &str) -> Option<Timestamp> {
    let (millis, _) = id.split_once('-')?;
    Some(Timestamp::from_micros(millis.parse::<i64>().ok()?.saturating_mul(1000)))
}
