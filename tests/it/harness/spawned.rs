//! [`Spawned`]: the real program, as a process that can be killed.

use std::process::{Command, ExitStatus};

use offhook::config::Role;
use offhook::lab::spawned::{self, ReadLog};
use tempfile::TempDir;

use super::DEADLINE;
use super::offhook::Client;
use super::program::program;
use super::settings::Settings;
use crate::services::Signal;

/// `offhook serve`, as a process.
#[derive(Debug)]
pub(crate) struct Spawned {
    pub(crate) client: Client,
    program: spawned::Spawned,
    _spool: Option<TempDir>,
}

impl Spawned {
    /// Starts it, and returns once its log says that it listens, and where.
    pub(crate) fn start(settings: &Settings) -> Self {
        Self::start_reading(settings, ReadLog::All)
    }

    /// Starts one whose log is read no further than to there, until [`read_log`](Self::read_log).
    pub(crate) fn start_unread(settings: &Settings) -> Self {
        Self::start_reading(settings, ReadLog::UntilItRuns)
    }

    fn start_reading(settings: &Settings, read: ReadLog) -> Self {
        let (settings, spool) = settings.with_own_spool();
        let mut program = spawn(&settings, read);
        let Some(addresses) = program.runs(DEADLINE) else {
            program.process_mut().kill();
            panic!("it does not start:\n{}", program.log());
        };
        let client = Client::new(addresses.inbound, addresses.admin);
        Self { client, program, _spool: spool }
    }

    /// Starts one that cannot run; how it ended and what it said.
    pub(crate) fn fails(settings: &Settings) -> (ExitStatus, String) {
        let (settings, _spool) = settings.with_own_spool();
        let mut program = spawn(&settings, ReadLog::All);
        // Its log ends when it does.
        assert!(program.runs(DEADLINE).is_none(), "it runs");
        let ended = program.ended(DEADLINE).expect("it ends by itself");
        (ended, program.log())
    }

    /// Reads its log on.
    pub(crate) fn read_log(&self) {
        self.program.read_on();
    }

    /// Its process.
    pub(crate) fn id(&mut self) -> u32 {
        self.program.process_mut().child().id()
    }

    /// `kill -9`
    pub(crate) fn kill(mut self) {
        self.program.process_mut().kill();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.program.process().signal(signal);
    }

    /// As Ctrl-C does it.
    pub(crate) fn interrupt(&mut self) {
        let id = self.program.process_mut().child().id().to_string();
        let sent = Command::new("sh").args(["-c", &format!("kill -s INT {id}")]).status();
        assert!(sent.is_ok_and(|sent| sent.success()), "it runs");
    }

    /// How it ended, once it has.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let ended = self.program.ended(DEADLINE);
        ended.unwrap_or_else(|| panic!("it does not end:\n{}", self.log()))
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        self.program.log()
    }
}

fn spawn(settings: &Settings, read: ReadLog) -> spawned::Spawned {
    let role = match settings.role {
        Role::All => "all",
        Role::Receiver => "receiver",
        Role::Worker => "worker",
        Role::Sender => "sender",
    };
    let mut command = program(settings, &["serve", "--role", role]);
    spawned::Spawned::start(&mut command, usize::MAX, read).expect("setpriv starts it")
}
