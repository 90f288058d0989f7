//! [`Sentinel`]: a Redis Sentinel that watches one primary.

use std::process::Stdio;

use offhook::torture::servers::{PATIENCE, Process, Signal, guarded, poll, program};
use redis::Commands as _;
use tempfile::TempDir;

use super::free_port;

/// A Sentinel on a port of loopback.
#[derive(Debug)]
pub(crate) struct Sentinel {
    port: u16,
    _directory: TempDir,
    _process: Process,
}

impl Sentinel {
    /// Of a primary on loopback, which it replaces soon after it is gone.
    pub(crate) fn of(name: &str, primary: u16) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let port = free_port();
        let settings = format!(
            "port {port}\nbind 127.0.0.1\nsentinel monitor {name} 127.0.0.1 {primary} 1\n\
             sentinel down-after-milliseconds {name} 1000\n\
             sentinel failover-timeout {name} 3000\n"
        );
        // It writes there what it finds out.
        let file = directory.path().join("sentinel.conf");
        std::fs::write(&file, settings).expect("the directory is ours");
        let mut command = guarded(&program("redis-server").expect("said so"), Signal::Kill);
        command.current_dir(directory.path()).arg(&file).arg("--sentinel");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = Process::spawn(&mut command, Signal::Kill).expect("it starts");
        let pong = poll(PATIENCE, || {
            let client = redis::Client::open(format!("redis://127.0.0.1:{port}")).expect("a URL");
            client.get_connection().ok()?.ping::<String>().ok()
        });
        pong.expect("a Sentinel answers");
        Self { port, _directory: directory, _process: process }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}
