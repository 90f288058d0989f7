//! [`Sentinel`]: a Redis Sentinel that watches one primary.

use std::process::Stdio;

use anyhow::Context as _;
use redis::{Commands as _, cmd};
use tempfile::TempDir;

use super::process::{PATIENCE, Process, Signal, guarded, poll};
use super::{free_port, program};

/// A Sentinel on a port of loopback.
#[derive(Debug)]
pub struct Sentinel {
    port: u16,
    name: String,
    _directory: TempDir,
    _process: Process,
}

impl Sentinel {
    /// Of a primary on loopback, which it replaces soon after as many Sentinels as `quorum` miss it.
    ///
    /// # Errors
    /// It is not installed, or does not start.
    pub fn of(name: &str, primary: u16, quorum: usize) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir().context("no temporary directory")?;
        let port = free_port()?;
        let settings = format!(
            "port {port}\nbind 127.0.0.1\nsentinel monitor {name} 127.0.0.1 {primary} {quorum}\n\
             sentinel down-after-milliseconds {name} 1000\n\
             sentinel failover-timeout {name} 3000\n"
        );
        // It writes there what it finds out.
        let file = directory.path().join("sentinel.conf");
        std::fs::write(&file, settings)?;
        let mut command = guarded(&program("redis-server")?, Signal::Kill);
        command.current_dir(directory.path()).arg(&file).arg("--sentinel");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = Process::spawn(&mut command, Signal::Kill)?;
        let client = redis::Client::open(format!("redis://127.0.0.1:{port}"))?;
        let pong = poll(PATIENCE, || client.get_connection().ok()?.ping::<String>().ok());
        pong.context("the Sentinel does not answer")?;
        Ok(Self { port, name: name.to_owned(), _directory: directory, _process: process })
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many others it knows.
    ///
    /// # Errors
    /// It does not answer.
    pub fn others(&self) -> redis::RedisResult<usize> {
        let others: Vec<redis::Value> = self.ask("sentinels")?;
        Ok(others.len())
    }

    /// The port of the primary, as it knows it.
    ///
    /// # Errors
    /// It does not answer.
    pub fn primary(&self) -> redis::RedisResult<u16> {
        let (_, port): (String, u16) = self.ask("get-master-addr-by-name")?;
        Ok(port)
    }

    fn ask<T: redis::FromRedisValue>(&self, what: &str) -> redis::RedisResult<T> {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", self.port))?;
        cmd("SENTINEL").arg(what).arg(&self.name).query(&mut client.get_connection()?)
    }
}
