//! The stream: Redis 7 or later, or Valkey.

mod address;
mod conn;
mod connector;
mod consumer;
mod dead_letters;
mod error;
mod examine;
mod health;
mod housekeeping;
mod rehearsal;
mod retention;
mod stream;

pub use self::conn::Conn;
pub use self::connector::Connector;
pub use self::consumer::RedisConsumer;
pub use self::dead_letters::StreamDeadLetters;
pub use self::examine::Examined;
pub use self::health::RedisHealth;
pub use self::housekeeping::{Backlog, Blocker, Housekeeping, TRIMMED_AT_ONCE};
pub use self::rehearsal::{Failure, RedisDuties, Rehearsal};
pub use self::retention::Retention;
pub use self::stream::RedisStream;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use crate::event::EventId;

/// The names in Redis.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Names {
    /// The stream's key.
    pub stream: String,
    /// The consumer group.
    pub group: String,
}

impl Names {
    /// The key of the dead letters, a separate stream.
    #[must_use]
    pub fn dead(&self) -> String {
        self.beside("dead")
    }

    /// The key of the dead letters in 0.1, unless it is the same.
    #[must_use]
    pub fn old_dead(&self) -> Option<String> {
        let old = format!("{}:dead", self.stream);
        (old != self.dead()).then_some(old)
    }

    /// The key of the rehearsals.
    #[must_use]
    pub fn probe(&self) -> String {
        self.beside("probe")
    }

    /// The key of the time until which the retention of dead letters trusted the clocks.
    #[must_use]
    pub fn trusted(&self) -> String {
        self.beside("retention")
    }

    /// A key in the stream's slot: with a hash tag, which is the stream's name unless that has one. So what
    /// needs several keys at once works in a cluster, too.
    fn beside(&self, what: &str) -> String {
        match has_tag(&self.stream) {
            true => format!("{}:{what}", self.stream),
            false => format!("{{{}}}:{what}", self.stream),
        }
    }

    /// The mark that says that an event is in the store. 128 bits of a hash of its identity: as short
    /// as possible without two events sharing one, because that would ack what is not stored. In the
    /// stream's slot of a cluster, since marks are set and entries are acked in one transaction.
    #[must_use]
    pub fn mark(&self, EventId { key, account }: &EventId) -> String {
        let hash = Sha256::digest([account, "\0", key.as_str()].concat());
        self.beside(&format!("done:{}", URL_SAFE_NO_PAD.encode(&hash[..16])))
    }
}

/// Whether only a part of a key says in which slot of a cluster it is: what is between the first `{` and
/// the next `}`, if that is not nothing.
fn has_tag(key: &str) -> bool {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
    tag.is_some_and(|(tag, _)| !tag.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_beside_the_stream_is_in_its_slot() {
        let names = |stream: &str| Names { stream: stream.to_owned(), group: String::new() };
        let plain = names("offhook:events");
        assert_eq!(plain.dead(), "{offhook:events}:dead");
        assert_eq!(plain.old_dead().as_deref(), Some("offhook:events:dead"));
        let tagged = names("{offhook}:events");
        assert_eq!((&*tagged.dead(), tagged.old_dead()), ("{offhook}:events:dead", None));
        assert_eq!(names("a{}b").probe(), "{a{}b}:probe", "an empty tag is none");
    }
}
