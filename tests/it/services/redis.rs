//! [`Redis`]: a `redis-server` of one test's own.

use std::ops::{Deref, DerefMut};

use offhook::lab::servers::{self, Fsync};
use redis::{Cmd, FromRedisValue};

/// A `redis-server` on a socket of its own.
#[derive(Debug)]
pub(crate) struct Redis(servers::Redis);

impl Redis {
    /// One that loses nothing.
    pub(crate) fn start() -> Self {
        Self::with(Fsync::Always, None)
    }

    pub(crate) fn with(fsync: Fsync, limit: Option<&'static str>) -> Self {
        Self(servers::Redis::start(fsync, limit).expect("redis-server starts"))
    }

    /// One that is told more, and loses nothing.
    pub(crate) fn told(arguments: &[&str]) -> Self {
        Self(servers::Redis::told(Fsync::Always, arguments).expect("redis-server starts"))
    }

    /// Starts it, again if need be, on the files that it left.
    pub(crate) fn restart(&mut self) {
        self.0.restart().expect("redis-server starts");
    }

    /// Runs a command.
    pub(crate) fn query<T: FromRedisValue>(&self, command: &Cmd) -> T {
        self.0.query(command).expect("a Redis that runs, and a command that fits what is there")
    }

    /// Every entry of a stream, as ids.
    pub(crate) fn ids(&self, stream: &str) -> Vec<String> {
        let entries: Vec<(String, redis::Value)> =
            self.query(redis::cmd("XRANGE").arg(stream).arg("-").arg("+"));
        entries.into_iter().map(|(id, _)| id).collect()
    }
}

impl Deref for Redis {
    type Target = servers::Redis;

    fn deref(&self) -> &servers::Redis {
        &self.0
    }
}

impl DerefMut for Redis {
    fn deref_mut(&mut self) -> &mut servers::Redis {
        &mut self.0
    }
}
