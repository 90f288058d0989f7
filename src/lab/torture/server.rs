//! [`Server`]: one `offhook serve`, as a process that can be killed and started again.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

use super::load::Targets;
use crate::lab::servers::{Signal, guarded, poll};
use crate::lab::spawned::{Addresses, ReadLog, Spawned};

/// A start that takes longer than this never ends.
const PATIENCE: Duration = Duration::from_secs(60);
/// The server gives itself 25 s.
const STOP_WITHIN: Duration = Duration::from_secs(30);
/// Lines of log that are kept, to be shown when something goes wrong.
const LOG_LINES: usize = 40;

/// One `offhook serve`.
#[derive(Debug)]
pub(super) struct Server {
    /// What it is called in reports.
    pub(super) name: String,
    program: PathBuf,
    arguments: Vec<String>,
    environment: BTreeMap<&'static str, String>,
    /// Where it is announced, and as which one.
    place: Option<(Targets, usize)>,
    running: Option<Spawned>,
    peak_kib: u64,
}

impl Server {
    /// One that does not run yet.
    pub(super) fn new(
        name: String,
        program: &Path,
        role: &str,
        place: Option<(Targets, usize)>,
    ) -> Self {
        let arguments = ["serve", "--role", role].map(str::to_owned).to_vec();
        let program = program.to_owned();
        let environment = BTreeMap::new();
        Self { name, program, arguments, environment, place, running: None, peak_kib: 0 }
    }

    /// From the next start on.
    pub(super) fn set(&mut self, name: &'static str, value: impl Into<String>) {
        self.environment.insert(name, value.into());
    }

    /// From the next start on.
    pub(super) fn unset(&mut self, name: &'static str) {
        self.environment.remove(name);
    }

    /// From the next start on.
    pub(super) fn argument(&mut self, argument: impl Into<String>) {
        self.arguments.push(argument.into());
    }

    /// Its admin listener, if that has a port of its own from start to start.
    pub(super) fn admin(&self) -> Option<SocketAddr> {
        let address: SocketAddr = self.environment.get("OFFHOOK_ADMIN__LISTEN")?.parse().ok()?;
        (address.port() != 0).then_some(address)
    }

    /// Another command of the program, with this one's configuration.
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = guarded(&self.program, Signal::Kill);
        // For `setpriv`; an empty environment has no path.
        command.args(arguments).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.envs(&self.environment).env("OFFHOOK_LOG__FORMAT", "json");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    /// Asks it to delete a person who is not there, so that everything finished is removed from its files.
    pub(super) fn purge(&self) -> anyhow::Result<()> {
        let mut purge = self.command(&["purge", "--sid", "CA0", "--yes"]);
        let ended = purge.output().context("purge")?;
        let said = String::from_utf8_lossy(&ended.stderr);
        ensure!(ended.status.success(), "purge: {said}");
        Ok(())
    }

    /// Starts it, and does not wait for anything.
    pub(super) fn spawn(&mut self) -> anyhow::Result<()> {
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        let mut command = self.command(&arguments);
        self.running = Some(Spawned::start(&mut command, LOG_LINES, ReadLog::All)?);
        Ok(())
    }

    /// Waits until it runs, and announces it.
    pub(super) fn wait(&mut self) -> anyhow::Result<()> {
        let running = self.running.as_ref().context("it was not started")?;
        let Some(addresses) = running.runs(PATIENCE) else {
            bail!("{} does not start:\n{}", self.name, running.log());
        };
        self.go_to(addresses);
        Ok(())
    }

    /// Announces it if it has just begun to run, and says whether it has.
    pub(super) fn announce(&self) -> bool {
        let addresses = self.running.as_ref().and_then(|running| running.runs(Duration::ZERO));
        addresses.map(|addresses| self.go_to(addresses)).is_some()
    }

    fn go_to(&self, addresses: Addresses) {
        if let Some((targets, place)) = &self.place {
            targets.set(*place, addresses.inbound);
        }
    }

    /// Starts it, and returns once it runs.
    pub(super) fn start(&mut self) -> anyhow::Result<()> {
        self.spawn()?;
        self.wait()
    }

    /// `kill -9`
    pub(super) fn kill(&mut self) {
        self.note_peak();
        if let Some(mut running) = self.running.take() {
            running.process_mut().kill();
        }
        self.leave();
    }

    /// Takes it from where it is announced.
    pub(super) fn leave(&self) {
        if let Some((targets, place)) = &self.place {
            targets.set(*place, None);
        }
    }

    /// Sends it a signal.
    pub(super) fn signal(&self, signal: Signal) {
        if let Some(running) = &self.running {
            running.process().signal(signal);
        }
    }

    /// Stops it where it stands; when this returns, none of its threads does anything any more, nor does the
    /// system for one.
    pub(super) fn freeze(&self) -> anyhow::Result<()> {
        self.leave();
        let running = self.running.as_ref().context("it does not run")?;
        running.process().signal(Signal::Stop);
        let frozen = poll(PATIENCE, || running.process().is_frozen().then_some(()));
        frozen.with_context(|| format!("{} does not stand still", self.name))
    }

    /// How it ended, if it has.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.running.as_mut()?.process_mut().ended()
    }

    /// SIGTERM, unless it does not run.
    pub(super) fn begin_stop(&mut self) {
        self.note_peak();
        self.leave();
        self.signal(Signal::Terminate);
    }

    /// Waits until it has ended; what is wrong with how it did.
    pub(super) fn stopped(&mut self) -> Option<String> {
        let log = self.log();
        let mut running = self.running.take()?;
        let name = &self.name;
        match running.process_mut().wait(STOP_WITHIN) {
            Some(status) if status.success() => None,
            Some(status) => Some(format!("{name} stopped with {status}:\n{log}")),
            None => Some(format!("{name} does not stop:\n{log}")),
        }
    }

    /// The most memory that any of its processes held, as far as it was looked at.
    pub(super) fn peak_kib(&self) -> u64 {
        self.peak_kib
    }

    fn note_peak(&mut self) {
        let Some(running) = &mut self.running else { return };
        let path = format!("/proc/{}/status", running.process_mut().child().id());
        let status = std::fs::read_to_string(path).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = peak.and_then(|peak| peak.trim().split(' ').next()?.parse().ok());
        self.peak_kib = self.peak_kib.max(kib.unwrap_or_default());
    }

    pub(super) fn log(&self) -> String {
        self.running.as_ref().map(Spawned::log).unwrap_or_default()
    }
}
