//! What an expert checks before trusting a Redis with events.

use std::time::Duration;

use redis::cmd;

use super::Names;
use super::conn::Conn;
use super::connector::Connector;
use super::error::ConnError;
use super::housekeeping::time_of;
use crate::backend::BackendError;
use crate::clock::Timestamp;

/// Longest answer.
const EXAMINATION_TIMEOUT: Duration = Duration::from_secs(3);

/// What was found.
#[derive(Clone, Debug)]
pub struct Examined {
    /// The version, as Redis reports it: `7.2.4`. Valkey reports the Redis with which it is compatible.
    pub version: String,
    /// The clock of Redis, unless it is hidden.
    pub clock: Option<Timestamp>,
    /// `maxmemory`: 0 means no limit, `None` that it is hidden.
    pub max_memory: Option<u64>,
    /// Events a second, by the times of the last ones in the stream; `None` if they are too few to tell.
    pub rate: Option<f64>,
    /// Commands that offhook needs and that are refused, each with the answer.
    pub refused: Vec<String>,
}

impl Connector {
    /// Looks, and tries what offhook does, as a [`Rehearsal`](super::Rehearsal): what an ACL forbids is found
    /// in no other way that an ACL would not forbid, too.
    pub async fn examine(&self, names: &Names) -> Result<Examined, BackendError> {
        let mut conn = self.conn(EXAMINATION_TIMEOUT);
        let info: Option<String> = hidden(conn.query(cmd("INFO").arg("server")).await)?;
        let memory: Option<Vec<String>> =
            hidden(conn.query(cmd("CONFIG").arg("GET").arg("maxmemory")).await)?;
        let time: Option<(i64, i64)> = hidden(conn.query(&cmd("TIME")).await)?;
        let version = info.as_deref().unwrap_or_default().lines();
        let version = version.filter_map(|line| line.strip_prefix("redis_version:")).next();
        Ok(Examined {
            version: version.unwrap_or("unknown").trim().to_owned(),
            clock: time.map(|(seconds, micros)| {
                Timestamp::from_micros(seconds.saturating_mul(1_000_000).saturating_add(micros))
            }),
            max_memory: memory.and_then(|pair| pair.get(1)?.parse().ok()),
            rate: rate(&hidden(recent(&mut conn, names).await)?.unwrap_or_default()),
            refused: self.refused(names).await.map_err(|error| BackendError(error.to_string()))?,
        })
    }
}

/// The ids of the last entries, newest first.
async fn recent(conn: &mut Conn, names: &Names) -> Result<Vec<String>, ConnError> {
    let mut range = cmd("XREVRANGE");
    range.arg(&names.stream).arg("+").arg("-").arg("COUNT").arg(200);
    let entries: Vec<(String, redis::Value)> = conn.query(&range).await?;
    Ok(entries.into_iter().map(|(id, _)| id).collect())
}

fn rate(newest_first: &[String]) -> Option<f64> {
    /// Fewer would be chance.
    const LEAST: usize = 20;
    let (last, first) = (time_of(newest_first.first()?)?, time_of(newest_first.last()?)?);
    let seconds = last.since(first).as_secs_f64();
    let enough = newest_first.len() >= LEAST && seconds > 0.0;
    enough.then(|| (newest_first.len() - 1) as f64 / seconds)
}

/// Managed services hide some of what a Redis knows about itself.
fn hidden<T>(answer: Result<T, ConnError>) -> Result<Option<T>, BackendError> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(ConnError::Refused { .. }) => Ok(None),
        Err(error) => Err(BackendError(error.to_string())),
    }
}
