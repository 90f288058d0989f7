//! [`Process`]: a child that does not outlive its owner.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How often something that cannot be waited for is looked at.
const POLL: Duration = Duration::from_millis(5);
/// A server that has not come up, or ended, by then never will.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A signal to a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// Ends at once, and cleans nothing up.
    Kill,
    /// Stops it where it stands: a server that is there and does not answer.
    Stop,
    /// Goes on.
    Continue,
    /// Finish, please.
    Terminate,
    /// To Postgres: finish now, and keep all of it.
    Interrupt,
    /// Read the configuration again.
    Hangup,
    /// To Postgres: end at once, but leave no shared memory behind.
    Quit,
}

impl Signal {
    fn name(self) -> &'static str {
        match self {
            Self::Kill => "KILL",
            Self::Stop => "STOP",
            Self::Continue => "CONT",
            Self::Terminate => "TERM",
            Self::Interrupt => "INT",
            Self::Hangup => "HUP",
            Self::Quit => "QUIT",
        }
    }
}

/// A command that is killed when the thread that spawns it ends, even if that is by a SIGKILL.
/// So spawn it from the thread that waits for everything, never from a task or a helper thread.
#[must_use]
pub fn guarded(program: &Path, on_death: Signal) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", on_death.name(), "--"]).arg(program);
    command
}

/// A child that is killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    on_drop: Signal,
}

impl Process {
    /// Starts it.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn spawn(command: &mut Command, on_drop: Signal) -> io::Result<Self> {
        Ok(Self { child: command.spawn()?, on_drop })
    }

    /// The child itself.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Its exit status, if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("our own child can be asked")
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        send(&[self.child.id()], signal);
    }

    /// Sends a signal to it and to all of its children, which may have process groups of their own.
    pub fn signal_family(&self, signal: Signal) {
        let id = self.child.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        let children = children.unwrap_or_default();
        let mut family = vec![id];
        family.extend(children.split_whitespace().filter_map(|id| id.parse::<u32>().ok()));
        send(&family, signal);
    }

    /// Whether every thread of it stands still, after [`Signal::Stop`]: one that writes to a disk does so only
    /// when that is done.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id()));
        let mut tasks = tasks.into_iter().flatten().flatten();
        tasks.all(|task| {
            let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            // `17 (a name) T …`, or the thread has ended meanwhile.
            stat.is_empty() || stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
        })
    }

    /// `kill -9`, and waits until it is gone.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        self.child.wait().expect("our own child can be waited for");
    }

    /// Waits until it has ended by itself.
    pub fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        poll(patience, || self.ended())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended().is_some() {
            return;
        }
        // One that is stopped takes no other signal than KILL.
        self.signal(self.on_drop);
        self.signal(Signal::Continue);
        if self.wait(Duration::from_secs(5)).is_none() {
            self.kill();
        }
    }
}

/// The signal is not ours to send without `unsafe`, so the shell sends it.
fn send(ids: &[u32], signal: Signal) {
    let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
    let kill = format!("kill -s {} {}", signal.name(), ids.join(" "));
    // Some may be gone by now.
    let _ = Command::new("sh").args(["-c", &kill]).stderr(std::process::Stdio::null()).status();
}

/// Asks until there is an answer, for servers that are started without a runtime.
pub fn poll<T>(patience: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if Instant::now() >= deadline {
            return None;
        }
        sleep(POLL);
    }
}

/// Where a program is: in `PATH`, or where Debian puts those of Postgres and of servers.
pub(super) fn find(name: &str) -> Option<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "no configuration: where programs are")]
    let path = std::env::var("PATH").unwrap_or_default();
    let mut directories: Vec<PathBuf> = std::env::split_paths(&path).collect();
    if let Ok(versions) = std::fs::read_dir("/usr/lib/postgresql") {
        let mut versions: Vec<PathBuf> = versions.flatten().map(|entry| entry.path()).collect();
        // The newest first.
        versions.sort_by_key(|path| std::cmp::Reverse(version(path)));
        directories.extend(versions.into_iter().map(|path| path.join("bin")));
    }
    // Not in everybody's path.
    directories.push(PathBuf::from("/usr/sbin"));
    directories.into_iter().map(|directory| directory.join(name)).find(|path| path.is_file())
}

fn version(path: &Path) -> Option<u32> {
    path.file_name()?.to_str()?.parse().ok()
}

/// Runs a command to its end.
///
/// # Errors
/// It cannot be run, or fails; the error has what it said.
pub fn run(command: &mut Command) -> io::Result<()> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(io::Error::other(format!("{command:?}: {said}")))
}
