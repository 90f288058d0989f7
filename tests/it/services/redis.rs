//! [`Redis`]: a `redis-server` of one test's own.

use std::fs::File;
use std::process::Stdio;

use redis::{Cmd, Commands as _, FromRedisValue};
use tempfile::TempDir;

use super::process::{PATIENCE, Process, Signal, guarded, poll};
use super::program;

/// When Redis writes to its disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fsync {
    /// Before it answers. What survives a `kill -9` of the machine.
    Always,
    /// Nothing is written at all: it comes back empty.
    Never,
}

/// A `redis-server` on a socket of its own.
#[derive(Debug)]
pub(crate) struct Redis {
    directory: TempDir,
    fsync: Fsync,
    /// `maxmemory`, so that it can be full.
    limit: Option<&'static str>,
    process: Option<Process>,
}

impl Redis {
    /// One that loses nothing.
    pub(crate) fn start() -> Self {
        Self::with(Fsync::Always, None)
    }

    pub(crate) fn with(fsync: Fsync, limit: Option<&'static str>) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut redis = Self { directory, fsync, limit, process: None };
        redis.restart();
        redis
    }

    /// For [`offhook::backend::redis::Connector`].
    pub(crate) fn url(&self) -> String {
        format!("redis+unix://{}", self.directory.path().join("socket").display())
    }

    /// Runs a command.
    pub(crate) fn query<T: FromRedisValue>(&self, command: &Cmd) -> T {
        let mut connection = redis::Client::open(self.url())
            .and_then(|client| client.get_connection())
            .expect("a Redis that runs takes connections");
        command.query(&mut connection).expect("the command fits what is there")
    }

    /// Every entry of a stream, as ids.
    pub(crate) fn ids(&self, stream: &str) -> Vec<String> {
        let entries: Vec<(String, redis::Value)> =
            self.query(redis::cmd("XRANGE").arg(stream).arg("-").arg("+"));
        entries.into_iter().map(|(id, _)| id).collect()
    }

    /// `kill -9`
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// There, and not answering.
    pub(crate) fn pause(&self) {
        self.process.as_ref().expect("it runs").signal(Signal::Stop);
    }

    pub(crate) fn go_on(&self) {
        self.process.as_ref().expect("it runs").signal(Signal::Continue);
    }

    /// Starts it, again if need be, on the files that it left.
    pub(crate) fn restart(&mut self) {
        self.kill();
        let path = self.directory.path();
        let log = File::create(path.join("log")).expect("the directory is ours");
        let mut command = guarded(&program("redis-server"), Signal::Kill);
        command.current_dir(path).args(["--port", "0", "--unixsocket", "socket"]);
        match self.fsync {
            Fsync::Always => command.args(["--appendonly", "yes", "--appendfsync", "always"]),
            Fsync::Never => command.args(["--appendonly", "no"]),
        };
        command.args(["--save", "", "--maxmemory-policy", "noeviction"]);
        if let Some(limit) = self.limit {
            command.args(["--maxmemory", limit]);
        }
        command.stdin(Stdio::null()).stdout(log).stderr(Stdio::null());
        self.process = Some(Process::spawn(&mut command, Signal::Kill));
        let pong = poll(PATIENCE, || {
            let client = redis::Client::open(self.url()).expect("a socket's URL");
            client.get_connection().ok()?.ping::<String>().ok()
        });
        if pong.is_none() {
            let log = std::fs::read_to_string(path.join("log")).unwrap_or_default();
            panic!("redis-server does not answer:\n{log}");
        }
    }
}
