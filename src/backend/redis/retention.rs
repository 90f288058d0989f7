//! [`Retention`]: deletes dead letters that are old. Redis names them by when they became ones.

use std::time::Duration;

use redis::cmd;

use super::Names;
use super::conn::Conn;
use super::connector::Connector;
use super::error::ConnError;
use super::housekeeping::time_of;
use crate::clock::Timestamp;
use crate::pipeline::Cause;
use crate::pipeline::expiry::{Expire, Outlook, Step};

/// Most entries of one step: well under a millisecond of Redis.
const ENTRIES_PER_STEP: u32 = 1000;
/// Longest answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Deletes dead letters that are old. Several workers may do so at once.
#[derive(Debug)]
pub struct Retention {
    conn: Conn,
    dead: String,
    /// The key of the time until which the clocks were trusted.
    trusted: String,
}

impl Retention {
    /// The dead letters of this stream.
    #[must_use]
    pub fn new(connector: &Connector, names: &Names) -> Self {
        Self { conn: connector.conn(ANSWER_TIMEOUT), dead: names.dead(), trusted: names.trusted() }
    }

    async fn trim(&mut self, cutoff: Timestamp) -> Result<Step, ConnError> {
        let first = cutoff.micros().max(0).div_euclid(1000).to_string();
        let mut whole = cmd("XTRIM");
        whole.arg(&self.dead).arg("MINID").arg("~").arg(&first).arg("LIMIT").arg(ENTRIES_PER_STEP);
        let deleted = self.conn.query(&whole).await?;
        if deleted > 0 {
            return Ok(Step::More(deleted));
        }
        // Redis accepts a limit only in whole nodes. Now no node is old as a whole, so a part of one is deleted.
        let mut rest = cmd("XTRIM");
        rest.arg(&self.dead).arg("MINID").arg("=").arg(&first);
        Ok(Step::Done(self.conn.query(&rest).await?))
    }
}

impl Expire for Retention {
    async fn step(&mut self, cutoff: Timestamp) -> Result<Step, Cause> {
        self.trim(cutoff).await.map_err(|error| error.to_string())
    }

    async fn outlook(&mut self) -> Result<Outlook, Cause> {
        let now = self.conn.query(&cmd("TIME")).await;
        let (seconds, micros): (i64, i64) = now.map_err(|error| error.to_string())?;
        let now = seconds.saturating_mul(1_000_000).saturating_add(micros);
        // Not GET: a role for marks may MGET.
        let trusted = self.conn.query(cmd("MGET").arg(&self.trusted)).await;
        let trusted: Vec<Option<String>> = trusted.map_err(|error| error.to_string())?;
        let micros = trusted.into_iter().flatten().next().and_then(|text| text.parse().ok());
        Ok(Outlook {
            now: Some(Timestamp::from_micros(now)),
            // Where none was added for long, all of them are old.
            newest: None,
            trusted: micros.map(Timestamp::from_micros),
        })
    }

    async fn trust(&mut self, until: Option<Timestamp>) -> Result<(), Cause> {
        // Nothing is what is forgotten: a role for marks may SET, and need not DEL.
        let micros = until.map(|until| until.micros().to_string()).unwrap_or_default();
        let mut set = cmd("SET");
        set.arg(&self.trusted).arg(micros);
        match self.conn.query::<()>(&set).await {
            // What is deleted makes room, so this may not stand in its way.
            Ok(()) | Err(ConnError::Full(_)) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn oldest(&mut self) -> Result<Option<Timestamp>, Cause> {
        let mut range = cmd("XRANGE");
        range.arg(&self.dead).arg("-").arg("+").arg("COUNT").arg(1);
        let first: Result<Vec<(String, redis::Value)>, _> = self.conn.query(&range).await;
        let first = first.map_err(|error| error.to_string())?;
        Ok(first.first().and_then(|(id, _)| time_of(id)))
    }
}
