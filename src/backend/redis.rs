//! The stream: Redis 7 or later, or Valkey.

mod address;
mod conn;
mod consumer;
mod dead_letters;
mod event_log;
mod examine;
mod housekeeping;
mod retention;

pub use self::conn::{Conn, Connector};
pub use self::consumer::RedisConsumer;
pub use self::dead_letters::DeadLetters;
pub use self::event_log::RedisStream;
pub use self::examine::Examined;
pub use self::housekeeping::{Backlog, Blocker, Housekeeping};
pub use self::retention::Retention;

/// The names in Redis.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Names {
    /// The stream's key.
    pub stream: String,
    /// The consumer group.
    pub group: String,
}

impl Names {
    /// Where dead letters go: a stream of its own.
    #[must_use]
    pub fn dead(&self) -> String {
        format!("{}:dead", self.stream)
    }

    /// The mark that says that an event is in the store.
    #[must_use]
    pub fn mark(&self, key: &crate::event::EventKey) -> String {
        format!("{}:done:{key}", self.stream)
    }
}
