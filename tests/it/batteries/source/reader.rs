//! A stream of events and its readers.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use offhook::backend;
use offhook::backend::redis::{
    self as redis_backend, Connector, Housekeeping, Names, RedisConsumer, RedisStream,
};
use offhook::clock::Timestamp;
use offhook::event::{Batch, Event, EventKey, Fingerprint, Kind};
use offhook::pipeline::Sink as _;
use redis::cmd;

use crate::harness::ACCOUNT;
use crate::services::Redis;

pub(super) const STREAM: &str = "some:stream";
pub(super) const GROUP: &str = "some-group";
/// What is idle for so long can be claimed.
pub(super) const IDLE: Duration = Duration::from_millis(50);

/// One of many.
pub(super) fn event(n: u32) -> Event {
    Event {
        fingerprint: Some(Fingerprint::from_i64(i64::from(n))),
        received_at: Timestamp::from_micros(i64::from(n)),
        body: Bytes::from(format!("n={n}")),
        ..Event::new(
            EventKey::of(&["other", &n.to_string()]).expect("printable"),
            Kind::Other,
            ACCOUNT,
        )
    }
}

/// A stream in a Redis of its own.
pub(super) struct Stream {
    pub(super) redis: Redis,
    connector: Connector,
}

impl Stream {
    pub(super) fn start() -> Self {
        let redis = Redis::start();
        let connector = Connector::new(&redis.url()).expect("a good URL");
        Self { redis, connector }
    }

    pub(super) fn names() -> Names {
        Names { stream: STREAM.to_owned(), group: GROUP.to_owned() }
    }

    pub(super) fn event(&self, n: u32) -> Event {
        event(n)
    }

    pub(super) fn events(&self, range: Range<u32>) -> impl Iterator<Item = Event> {
        range.map(|n| self.event(n))
    }

    /// Appends one entry each, in their order.
    pub(super) async fn append(&self, range: Range<u32>) {
        let stream = RedisStream::new(&self.connector, Self::names(), Duration::from_secs(5));
        for event in self.events(range) {
            stream.commit(&Batch::from(event)).await.expect("Redis is there");
        }
    }

    pub(super) fn reader(&self, name: &str) -> RedisConsumer {
        self.reader_with(name, IDLE)
    }

    pub(super) fn reader_with(&self, name: &str, idle: Duration) -> RedisConsumer {
        let mark_ttl = Duration::from_secs(3600);
        RedisConsumer::new(&self.connector, Self::names(), name.to_owned(), idle, mark_ttl)
    }

    pub(super) fn dead_letters(&self) -> backend::DeadLetters {
        let letters = redis_backend::StreamDeadLetters::new(self.connector.clone(), Self::names());
        backend::DeadLetters { stream: Some(letters), local: None }
    }

    pub(super) fn housekeeping(&self) -> Housekeeping {
        Housekeeping::new(&self.connector, Self::names())
    }

    /// Tries what receivers and workers do.
    pub(super) async fn rehearse(&self) -> Result<(), redis_backend::Failure> {
        let parts = redis_backend::RedisDuties { appends: true, works: true };
        redis_backend::Rehearsal::new(&self.connector, Self::names(), parts).run().await
    }

    /// How often our group was made again, as readers have told.
    pub(super) fn groups_made_again(&self) -> u64 {
        self.connector.health().take_groups_made_again()
    }

    /// Ids of what was read and is not settled, sorted.
    pub(super) fn pending(&self) -> Vec<String> {
        let pending: Vec<(String, String, u64, u32)> =
            self.redis.query(cmd("XPENDING").arg(STREAM).arg(GROUP).arg("-").arg("+").arg(1000));
        pending.into_iter().map(|(id, ..)| id).collect()
    }

    /// Names of the readers that Redis knows.
    pub(super) fn consumers(&self) -> Vec<String> {
        let consumers: Vec<std::collections::HashMap<String, redis::Value>> =
            self.redis.query(cmd("XINFO").arg("CONSUMERS").arg(STREAM).arg(GROUP));
        let name = |info: &std::collections::HashMap<String, redis::Value>| {
            redis::from_redis_value(info["name"].clone()).expect("a name is text")
        };
        consumers.iter().map(name).collect()
    }
}
