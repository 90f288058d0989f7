//! [`RedisConsumer`]: one reader of the consumer group.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use redis::{Cmd, Script, cmd};
use tokio::time::{Instant, sleep};

use super::Names;
use super::conn::Conn;
use super::connector::Connector;
use super::error::{ConnError, Why};
use crate::event::{Event, Fingerprint, codec};
use crate::pipeline::{Claimed, Delivery, Mark, Settled, SettledEntry, Source, SourceError};

/// How long a read waits for something new. A stop waits for it: entries that Redis returns to an abandoned
/// read would be processed by no worker for a while.
const BLOCK: Duration = Duration::from_secs(1);
/// How long it waits where Redis does not: some gateways take no `BLOCK`, and some leave it out.
const POLL: Duration = Duration::from_millis(900);
/// After how long a Redis that refused to wait is asked again whether it would.
const ASK_AGAIN: Duration = Duration::from_secs(60);
/// Longest answer to a command that does not wait. Redis may be busy rewriting its files.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Fields of an entry: names and values in turn. Empty where the entry itself is gone.
type RawFields = Option<Vec<Vec<u8>>>;
type Entries = Vec<(String, RawFields)>;
type Streams = Option<Vec<(String, Entries)>>;
/// Id, consumer, milliseconds, deliveries.
type Idle = (String, String, u64, u32);

/// One reader of the consumer group.
///
/// Its name is never used again: a consumer with the same name would take over what this one still
/// holds. Two connections, since a read that waits would hold up the acks.
#[derive(Debug)]
pub struct RedisConsumer {
    connector: Connector,
    reads: Conn,
    commands: Conn,
    names: Names,
    name: String,
    /// Whether the group is known to be there.
    joined: bool,
    /// Since when reads wait here, because Redis refuses to.
    polls: Option<Instant>,
    idle: Duration,
    mark_ttl: Duration,
}

impl RedisConsumer {
    /// A reader with this name, which was never used before. It claims what has been idle for `idle`,
    /// and its marks live for `mark_ttl`.
    #[must_use]
    pub fn new(
        connector: &Connector,
        names: Names,
        name: String,
        idle: Duration,
        mark_ttl: Duration,
    ) -> Self {
        Self {
            connector: connector.clone(),
            reads: connector.conn(BLOCK + ANSWER_TIMEOUT),
            commands: connector.conn(ANSWER_TIMEOUT),
            names,
            name,
            joined: false,
            polls: None,
            idle,
            mark_ttl,
        }
    }

    /// Makes the group if it is not there, from the first entry on: after Redis lost the stream,
    /// what has been appended since must not be passed over.
    async fn join(&mut self) -> Result<(), SourceError> {
        let health = self.connector.health();
        if let Some(why) = health.unsupported() {
            return Err(SourceError(why));
        }
        if self.joined {
            return Ok(());
        }
        // Asked before: at a start several readers try at once, and one of them creates it.
        let again = health.has_joined();
        let script = Script::new(include_str!("join.lua"));
        let (keys, args) = ([&*self.names.stream], [&*self.names.group]);
        match self.commands.script::<()>(&script, &keys, &args).await {
            Ok(()) if again => health.group_made_again(),
            Ok(()) => {}
            Err(ConnError::Refused { why: Why::GroupExists, .. }) => {}
            Err(error) => return Err(SourceError(error.to_string())),
        }
        health.joined();
        self.joined = true;
        Ok(())
    }

    fn failed(&mut self, error: &ConnError) -> SourceError {
        if matches!(error, ConnError::NoGroup(_)) {
            self.joined = false;
        }
        SourceError(error.to_string())
    }

    async fn command<T: redis::FromRedisValue>(
        &mut self,
        command: &redis::Cmd,
    ) -> Result<T, SourceError> {
        let answer = self.commands.query(command).await;
        answer.map_err(|error| self.failed(&error))
    }

    /// Whether reads wait here.
    fn polls(&mut self) -> bool {
        self.polls = self.polls.filter(|since| since.elapsed() < ASK_AGAIN);
        self.polls.is_some()
    }

    fn xreadgroup(&self, limit: usize, block: bool) -> redis::Cmd {
        let mut read = cmd("XREADGROUP");
        read.arg("GROUP").arg(&self.names.group).arg(&self.name).arg("COUNT").arg(limit);
        if block {
            read.arg("BLOCK").arg(millis(BLOCK));
        }
        read.arg("STREAMS").arg(&self.names.stream).arg(">");
        read
    }

    /// Claims what is this reader's own, or was, whatever its idle time.
    fn xclaim(&self, ids: &[String]) -> redis::Cmd {
        let mut claim = cmd("XCLAIM");
        claim.arg(&self.names.stream).arg(&self.names.group).arg(&self.name);
        claim.arg(0).arg(ids);
        claim
    }
}

impl Source for RedisConsumer {
    type Id = String;

    async fn read(&mut self, limit: usize) -> Result<Vec<Delivery<String>>, SourceError> {
        self.join().await?;
        let (began, polls) = (Instant::now(), self.polls());
        let mut answer = self.reads.query::<Streams>(&self.xreadgroup(limit, !polls)).await;
        if let (false, Err(ConnError::Refused { .. })) = (polls, &answer) {
            // A substitute for Redis may refuse only to wait. Any other error happens again.
            answer = self.reads.query(&self.xreadgroup(limit, false)).await;
            self.polls = answer.is_ok().then(Instant::now);
        }
        let streams = answer.map_err(|error| self.failed(&error))?;
        let entries = streams.unwrap_or_default().into_iter().flat_map(|(_, entries)| entries);
        let read: Vec<_> = entries.map(|(id, fields)| delivery(id, 1, fields)).collect();
        if read.is_empty() {
            // One that did not wait would else be asked again at once, without end.
            sleep(POLL.saturating_sub(began.elapsed())).await;
        }
        Ok(read)
    }

    async fn claim(&mut self, limit: usize) -> Result<Claimed<String>, SourceError> {
        self.join().await?;
        let script = Script::new(include_str!("claim.lua"));
        let (least, most) = (millis(self.idle).to_string(), limit.to_string());
        let (keys, args) =
            ([&*self.names.stream], [&*self.names.group, &*self.name, &least, &most]);
        let answer = self.commands.script::<(Vec<Idle>, Entries)>(&script, &keys, &args).await;
        let (idle, claimed) = answer.map_err(|error| self.failed(&error))?;
        let vanished = idle.len().saturating_sub(claimed.len());
        let counts: HashMap<String, u32> =
            idle.into_iter().map(|(id, _, _, count)| (id, count)).collect();
        let deliveries = claimed.into_iter().map(|(id, fields)| {
            let count = counts.get(&id).copied().unwrap_or_default().saturating_add(1);
            delivery(id, count, fields)
        });
        Ok(Claimed { deliveries: deliveries.collect(), vanished })
    }

    async fn marked(&mut self, events: &[Event]) -> Result<Vec<Option<Mark>>, SourceError> {
        #[cfg(feature = "naive-worker")]
        if crate::crash_points::is_naive() {
            return self.claim_marks(events).await;
        }
        let mut get = cmd("MGET");
        for event in events {
            get.arg(self.names.mark(&event.id()));
        }
        let marks: Vec<Option<String>> = self.command(&get).await?;
        let mark = |value: String| Mark { fingerprint: Fingerprint::parse(&value) };
        Ok(marks.into_iter().map(|value| value.map(mark)).collect())
    }

    async fn ack(&mut self, settled: &Settled<String>) -> Result<(), SourceError> {
        let mut ack = cmd("XACK");
        ack.arg(&self.names.stream).arg(&self.names.group);
        for entry in settled.entries() {
            ack.arg(&entry.id);
        }
        if self.connector.health().marks_given_up() {
            return self.command::<()>(&ack).await;
        }
        let mark = |entry: &SettledEntry<String>| {
            let said = entry.fingerprint.map_or_else(|| "-".to_owned(), |it| it.to_string());
            let mut set = cmd("SET");
            set.arg(self.names.mark(&entry.event)).arg(said).arg("NX");
            set.arg("EX").arg(self.mark_ttl.as_secs().max(1));
            set
        };
        let mut commands: Vec<Cmd> = settled.entries().iter().map(mark).collect();
        commands.push(ack.clone());
        match self.commands.transaction(&commands).await {
            // A full Redis takes no marks, which only save work. Without the acks it would never
            // be anything but full. Nor must one that forbids marks keep what is stored for ever.
            Err(ConnError::Full(_) | ConnError::Refused { .. }) => self.command::<()>(&ack).await,
            answer => answer.map_err(|error| self.failed(&error)),
        }
    }

    async fn dead_letter(
        &mut self,
        id: &String,
        deliveries: u32,
        reason: &str,
    ) -> Result<(), SourceError> {
        let script = Script::new(include_str!("dead_letter.lua"));
        let dead = self.names.dead();
        let keys = [&*self.names.stream, &*dead];
        let deliveries = deliveries.to_string();
        let args = [&*self.names.group, &**id, &*deliveries, reason];
        let answer = self.commands.script::<i64>(&script, &keys, &args).await;
        answer.map(|_| ()).map_err(|error| self.failed(&error))
    }

    async fn renew(&mut self, ids: &[String]) -> Result<(), SourceError> {
        let mut claim = self.xclaim(ids);
        // JUSTID: a renewal is not a delivery, so it does not count as one.
        claim.arg("JUSTID");
        self.command::<Vec<String>>(&claim).await.map(|_| ())
    }

    async fn release(&mut self, deliveries: &[(String, u32)]) -> Result<(), SourceError> {
        let mut by_count: HashMap<u32, Vec<String>> = HashMap::new();
        for (id, count) in deliveries {
            by_count.entry(*count).or_default().push(id.clone());
        }
        let mut pipe = redis::pipe();
        for (count, ids) in by_count {
            let mut claim = self.xclaim(&ids);
            // As if it had not been handed out, and idle for long enough to be claimed.
            claim.arg("IDLE").arg(millis(self.idle)).arg("RETRYCOUNT");
            claim.arg(count.saturating_sub(1)).arg("JUSTID");
            pipe.add_command(claim).ignore();
        }
        let answer = self.commands.pipeline::<()>(&pipe).await;
        answer.map_err(|error| self.failed(&error))
    }

    /// Leaves the group, unless something is pending on this reader: others will claim it.
    async fn leave(&mut self) -> Result<(), SourceError> {
        let script = Script::new(include_str!("leave.lua"));
        let (keys, args) = ([&*self.names.stream], [&*self.names.group, &*self.name]);
        let left = self.commands.script::<i64>(&script, &keys, &args).await;
        left.map(|_| ()).map_err(|error| SourceError(error.to_string()))
    }
}

#[cfg(feature = "naive-worker")]
impl RedisConsumer {
    /// What must not be done: a mark before the write, as a claim. Who dies between the two has lost
    /// the events. It is there to be found out.
    async fn claim_marks(&mut self, events: &[Event]) -> Result<Vec<Option<Mark>>, SourceError> {
        let mut pipe = redis::pipe();
        for event in events {
            let set = pipe.cmd("SET").arg(self.names.mark(&event.id())).arg(1);
            set.arg("NX").arg("EX").arg(self.mark_ttl.as_secs().max(1));
        }
        let set = self.commands.pipeline::<Vec<Option<String>>>(&pipe).await;
        let set = set.map_err(|error| self.failed(&error))?;
        let mark = Mark { fingerprint: None };
        Ok(set.into_iter().map(|set| set.is_none().then_some(mark)).collect())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn delivery(id: String, count: u32, fields: RawFields) -> Delivery<String> {
    let mut values = fields.unwrap_or_default().into_iter().map(Bytes::from);
    let pairs = std::iter::from_fn(|| Some((values.next()?, values.next()?)));
    Delivery { id, count, event: codec::decode(pairs) }
}
