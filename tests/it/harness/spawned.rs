//! [`Spawned`]: the real program, as a process that can be killed.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, mpsc};

use offhook::config::Role;
use serde_json::Value;
use tempfile::TempDir;

use super::DEADLINE;
use super::offhook::Client;
use super::program::program;
use super::settings::Settings;
use crate::services::{Process, Signal};

/// `offhook serve`, as a process.
#[derive(Debug)]
pub(crate) struct Spawned {
    pub(crate) client: Client,
    process: Process,
    log: Arc<Mutex<String>>,
    /// Has its log read, if that has stopped.
    read: mpsc::Sender<()>,
    _spool: Option<TempDir>,
}

impl Spawned {
    /// Starts it, and returns once its log says that it listens, and where.
    pub(crate) fn start(settings: &Settings) -> Self {
        Self::start_reading(settings, Reads::All)
    }

    /// Starts one whose log is read no further than to there, until [`read_log`](Self::read_log).
    pub(crate) fn start_unread(settings: &Settings) -> Self {
        Self::start_reading(settings, Reads::UntilItRuns)
    }

    fn start_reading(settings: &Settings, reads: Reads) -> Self {
        let (settings, spool) = settings.with_own_spool();
        let (read, paused) = mpsc::channel();
        let (mut process, log, addresses) = spawn(&settings, reads, paused);
        let Ok((inbound, admin)) = addresses.recv_timeout(DEADLINE) else {
            process.kill();
            panic!("it does not start:\n{}", log.lock().expect("no panic"));
        };
        Self { client: Client::new(inbound, admin), process, log, read, _spool: spool }
    }

    /// Starts one that cannot run; how it ended and what it said.
    pub(crate) fn fails(settings: &Settings) -> (ExitStatus, String) {
        let (settings, _spool) = settings.with_own_spool();
        let (_read, paused) = mpsc::channel();
        let (mut process, log, addresses) = spawn(&settings, Reads::All, paused);
        // Its log ends when it does.
        assert!(addresses.recv_timeout(DEADLINE).is_err(), "it runs");
        let ended = process.wait(DEADLINE).expect("it ends by itself");
        (ended, log.lock().expect("no panic").clone())
    }

    /// Reads its log on.
    pub(crate) fn read_log(&self) {
        self.read.send(()).expect("it is waited for");
    }

    /// Its process.
    pub(crate) fn id(&mut self) -> u32 {
        self.process.child().id()
    }

    /// `kill -9`
    pub(crate) fn kill(mut self) {
        self.process.kill();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// As Ctrl-C does it.
    pub(crate) fn interrupt(&mut self) {
        let id = self.process.child().id().to_string();
        let sent = Command::new("sh").args(["-c", &format!("kill -s INT {id}")]).status();
        assert!(sent.is_ok_and(|sent| sent.success()), "it runs");
    }

    /// How it ended, once it has.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let ended = self.process.wait(DEADLINE);
        ended.unwrap_or_else(|| panic!("it does not end:\n{}", self.log()))
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("no panic").clone()
    }
}

type Addresses = (Option<SocketAddr>, SocketAddr);

/// How far a log is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reads {
    All,
    UntilItRuns,
}

fn spawn(
    settings: &Settings,
    reads: Reads,
    paused: mpsc::Receiver<()>,
) -> (Process, Arc<Mutex<String>>, mpsc::Receiver<Addresses>) {
    let role = match settings.role {
        Role::All => "all",
        Role::Receiver => "receiver",
        Role::Worker => "worker",
    };
    let mut command = program(settings, &["serve", "--role", role]);
    command.env("OFFHOOK_LOG__FORMAT", "json").stdout(Stdio::null());
    let mut process = Process::spawn(&mut command, Signal::Kill).expect("setpriv starts it");

    let stderr = process.child().stderr.take().expect("it is piped");
    let log = Arc::new(Mutex::new(String::new()));
    let (written, (found, addresses)) = (Arc::clone(&log), mpsc::channel());
    // Ends with the process, whose end of the pipe is then closed.
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if let Some(addresses) = addresses_of(&line) {
                let _ = found.send(addresses);
                if reads == Reads::UntilItRuns && paused.recv().is_err() {
                    return;
                }
            }
            let mut log = written.lock().expect("no panic");
            log.push_str(&line);
            log.push('\n');
        }
    });
    (process, log, addresses)
}

/// Of the line that says that it runs.
fn addresses_of(line: &str) -> Option<Addresses> {
    let line: Value = serde_json::from_str(line).ok()?;
    if line["message"] != "offhook runs" {
        return None;
    }
    let address = |name: &str| line[name].as_str()?.parse().ok();
    Some((address("inbound"), address("admin")?))
}
