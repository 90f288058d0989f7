//! [`Redis`]: a `redis-server` of its owner's own.

use std::fs::File;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context as _, bail};
use redis::{Cmd, Commands as _, FromRedisValue};
use tempfile::TempDir;

use super::process::{PATIENCE, Process, Signal, guarded, poll};
use super::program;

/// When Redis writes to its disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fsync {
    /// Before it answers. What survives a `kill -9` of the machine.
    Always,
    /// About once a second.
    EverySecond,
    /// Nothing is written at all: it comes back empty.
    Never,
}

/// A `redis-server` on a socket of its own.
#[derive(Debug)]
pub struct Redis {
    directory: TempDir,
    fsync: Fsync,
    /// Its other arguments.
    arguments: Vec<String>,
    process: Option<Process>,
}

impl Redis {
    /// One that runs, with a `maxmemory` if it has a `limit`.
    ///
    /// # Errors
    /// It is not installed, or does not start.
    pub fn start(fsync: Fsync, limit: Option<&'static str>) -> anyhow::Result<Self> {
        let limit = limit.map(|limit| ["--maxmemory", limit]);
        Self::told(fsync, limit.as_ref().map_or(&[], |limit| limit))
    }

    /// One that runs, with these arguments besides.
    ///
    /// # Errors
    /// It is not installed, or does not start.
    pub fn told(fsync: Fsync, arguments: &[&str]) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir().context("no temporary directory")?;
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let mut redis = Self { directory, fsync, arguments, process: None };
        redis.restart()?;
        Ok(redis)
    }

    /// For [`Connector`](crate::backend::redis::Connector).
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    /// Its socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    /// How many bytes of its log of writes the kernel has.
    #[must_use]
    pub fn log_size(&self) -> u64 {
        std::fs::metadata(self.append_only_file()).map(|file| file.len()).unwrap_or_default()
    }

    /// Cuts the log of writes of one that does not run, as a machine does that loses power.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn cut_log(&self, size: u64) -> std::io::Result<()> {
        File::options().write(true).open(self.append_only_file())?.set_len(size)
    }

    /// Not rewritten as long as it has less than 64 MiB, so that this is the only one.
    fn append_only_file(&self) -> PathBuf {
        self.directory.path().join("appendonlydir/appendonly.aof.1.incr.aof")
    }

    /// Runs a command.
    ///
    /// # Errors
    /// Redis does not run, or refuses it.
    pub fn query<T: FromRedisValue>(&self, command: &Cmd) -> redis::RedisResult<T> {
        command.query(&mut redis::Client::open(self.url())?.get_connection()?)
    }

    /// `kill -9`
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// There, and not answering.
    pub fn pause(&self) {
        self.signal(Signal::Stop);
    }

    /// Goes on after [`pause`](Self::pause).
    pub fn go_on(&self) {
        self.signal(Signal::Continue);
    }

    fn signal(&self, signal: Signal) {
        if let Some(process) = &self.process {
            process.signal(signal);
        }
    }

    /// Starts it, again if need be, on the files that it left.
    ///
    /// # Errors
    /// It does not start.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.kill();
        let path = self.directory.path();
        let log = File::create(path.join("log"))?;
        let mut command = guarded(&program("redis-server")?, Signal::Kill);
        command.current_dir(path).args(["--port", "0", "--unixsocket", "socket"]);
        match self.fsync {
            Fsync::Always => command.args(["--appendonly", "yes", "--appendfsync", "always"]),
            Fsync::EverySecond => {
                command.args(["--appendonly", "yes", "--appendfsync", "everysec"])
            }
            Fsync::Never => command.args(["--appendonly", "no"]),
        };
        command.args(["--save", "", "--maxmemory-policy", "noeviction"]);
        command.args(&self.arguments);
        command.stdin(Stdio::null()).stdout(log).stderr(Stdio::null());
        self.process = Some(Process::spawn(&mut command, Signal::Kill)?);
        let client = redis::Client::open(self.url())?;
        let pong = poll(PATIENCE, || client.get_connection().ok()?.ping::<String>().ok());
        if pong.is_none() {
            let log = std::fs::read_to_string(path.join("log")).unwrap_or_default();
            bail!("redis-server does not answer:\n{log}");
        }
        Ok(())
    }
}
