//! The real program, run to its end.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use super::settings::Settings;
use crate::services::{Signal, guarded};

/// A command with these settings, and nothing else of our own environment.
pub(crate) fn program(settings: &Settings, arguments: &[&str]) -> Command {
    let mut command = guarded(Path::new(env!("CARGO_BIN_EXE_offhook")), Signal::Kill);
    if let Some(limit) = settings.files() {
        let mut limited = Command::new("prlimit");
        limited.arg(format!("--nofile={limit}")).arg(command.get_program());
        limited.args(command.get_args());
        command = limited;
    }
    command.args(arguments).env_clear().envs(settings.environment());
    // `setpriv` is looked for in it.
    command.env("PATH", env!("PATH"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// How a command ended, and what it said.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) error: String,
}

impl Ended {
    pub(crate) fn of(child: Child) -> Self {
        Self::from(child.wait_with_output().expect("our own child can be waited for"))
    }

    /// What it said, if it ended well.
    #[track_caller]
    pub(crate) fn well(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.out
    }

    /// What it said, if it failed.
    #[track_caller]
    pub(crate) fn badly(self) -> String {
        assert_eq!(self.code, Some(1), "{self:?}");
        self.error
    }
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = output.status.code();
        Self { code, out: text(&output.stdout), error: text(&output.stderr) }
    }
}

/// Runs a command to its end.
pub(crate) fn run(settings: &Settings, arguments: &[&str]) -> Ended {
    Ended::from(program(settings, arguments).output().expect("the program is built"))
}
