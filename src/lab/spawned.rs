//! [`Spawned`]: an `offhook serve` as a process, whose log is read, and which says in it where it listens.

use std::collections::VecDeque;
use std::io::{self, BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{ChildStderr, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;

use super::servers::{Process, Signal};

/// Where a server listens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Addresses {
    /// The public listener; a worker has none.
    pub inbound: Option<SocketAddr>,
    /// The admin listener.
    pub admin: SocketAddr,
}

/// How far the log of a process is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReadLog {
    /// To its end.
    All,
    /// To the line that says that it runs, until [`Spawned::read_on`].
    UntilItRuns,
}

/// A process that is killed when this is dropped.
#[derive(Debug)]
pub struct Spawned {
    process: Process,
    log: Arc<Mutex<VecDeque<String>>>,
    addresses: Receiver<Addresses>,
    resume: Sender<()>,
}

impl Spawned {
    /// Starts a command that is `offhook serve`, and keeps this many of the last lines of its log.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn start(command: &mut Command, lines: usize, read: ReadLog) -> io::Result<Self> {
        command.env("OFFHOOK_LOG__FORMAT", "json");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = Process::spawn(command, Signal::Kill)?;
        let stderr = process.child().stderr.take().expect("it is piped");
        let (log, (found, addresses), (resume, paused)) = (Arc::default(), channel(), channel());
        let reader = LogReader { log: Arc::clone(&log), lines, read, found, paused };
        // Ends with the process, whose end of the pipe is then closed.
        std::thread::Builder::new().name("log".to_owned()).spawn(move || reader.run(stderr))?;
        Ok(Self { process, log, addresses, resume })
    }

    /// Waits until it runs; `None` if it has ended before, or does not in this time. Only the first call that
    /// returns the addresses does so.
    #[must_use]
    pub fn runs(&self, within: Duration) -> Option<Addresses> {
        self.addresses.recv_timeout(within).ok()
    }

    /// Reads its log on.
    pub fn read_on(&self) {
        let _ = self.resume.send(());
    }

    /// How it ended, once it has and its log was read to the end; `None` if that takes longer.
    pub fn ended(&mut self, within: Duration) -> Option<ExitStatus> {
        let ended = self.process.wait(within)?;
        self.read_on();
        // The reader drops its end when there is nothing left to read.
        while self.addresses.recv_timeout(within).is_ok() {}
        Some(ended)
    }

    /// The lines of its log that were kept.
    #[must_use]
    pub fn log(&self) -> String {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.iter().fold(String::new(), |text, line| text + line + "\n")
    }

    /// The process.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// The process, to wait for it, or to end it.
    pub fn process_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// Reads a log, line by line.
struct LogReader {
    log: Arc<Mutex<VecDeque<String>>>,
    lines: usize,
    read: ReadLog,
    found: Sender<Addresses>,
    paused: Receiver<()>,
}

impl LogReader {
    fn run(self, stderr: ChildStderr) {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if let Some(addresses) = addresses_of(&line) {
                let _ = self.found.send(addresses);
                if self.read == ReadLog::UntilItRuns && self.paused.recv().is_err() {
                    return;
                }
            }
            let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
            if log.len() == self.lines {
                log.pop_front();
            }
            log.push_back(line);
        }
    }
}

/// Of the line that says that it runs.
fn addresses_of(line: &str) -> Option<Addresses> {
    let line: Value = serde_json::from_str(line).ok()?;
    if line["message"] != "offhook runs" {
        return None;
    }
    let address = |name: &str| line[name].as_str()?.parse().ok();
    Some(Addresses { inbound: address("inbound"), admin: address("admin")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: Option<(Option<&str>, &str)>) {
        let parse = |address: &str| address.parse().expect("an address");
        let expected = expected
            .map(|(inbound, admin)| Addresses { inbound: inbound.map(parse), admin: parse(admin) });
        assert_eq!(addresses_of(line), expected, "{line}");
    }

    #[test]
    fn only_the_line_that_says_that_it_runs_has_addresses() {
        let both = r#"{"message":"offhook runs","inbound":"127.0.0.1:1","admin":"127.0.0.1:2"}"#;
        check(both, Some((Some("127.0.0.1:1"), "127.0.0.1:2")));
        let worker = r#"{"message":"offhook runs","admin":"127.0.0.1:2"}"#;
        check(worker, Some((None, "127.0.0.1:2")));
        check(r#"{"message":"another","admin":"127.0.0.1:2"}"#, None);
        check("not JSON", None);
    }
}
