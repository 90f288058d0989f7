//! [`Postgres`]: a Postgres of one test's own, copied from a cluster that is made once.

use std::fs::File;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
use tempfile::TempDir;

use super::process::{PATIENCE, Process, Signal, poll, run};
use super::program;

const USER: &str = "offhook";

/// Whether a commit waits for the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Durability {
    /// As in production.
    Synced,
    /// Faster, for what is no matter of crashes.
    Unsynced,
}

/// A Postgres on a socket of its own.
#[derive(Debug)]
pub(crate) struct Postgres {
    directory: TempDir,
    durability: Durability,
    process: Option<Process>,
}

impl Postgres {
    /// One that runs.
    pub(crate) fn start(durability: Durability) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let data = directory.path().join("data");
        copy(&template(), &data);
        give(directory.path());
        let mut postgres = Self { directory, durability, process: None };
        postgres.restart();
        postgres
    }

    /// Of a database that is always there.
    pub(crate) fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// Makes a database, and says its URL.
    pub(crate) async fn database(&self, name: &str) -> String {
        self.execute(&format!("CREATE DATABASE {name}")).await;
        self.url_of(name)
    }

    /// Runs a statement in the database that is always there.
    pub(crate) async fn execute(&self, sql: &str) {
        let mut connection = self.connection().await;
        connection.execute(AssertSqlSafe(sql)).await.expect("the statement fits what is there");
    }

    /// A connection to the database that is always there.
    pub(crate) async fn connection(&self) -> PgConnection {
        PgConnection::connect(&self.url()).await.expect("a Postgres that runs takes connections")
    }

    /// `kill -9`, of all that it consists of.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.signal_family(Signal::Kill);
            process.kill();
        }
    }

    /// There, and not answering.
    pub(crate) fn pause(&self) {
        self.process.as_ref().expect("it runs").signal_family(Signal::Stop);
    }

    pub(crate) fn go_on(&self) {
        self.process.as_ref().expect("it runs").signal_family(Signal::Continue);
    }

    /// Starts it, again if need be, on the files that it left.
    pub(crate) fn restart(&mut self) {
        self.kill();
        let path = self.directory.path();
        let log = File::create(path.join("log")).expect("the directory is ours");
        let mut command = unprivileged(&program("postgres"));
        command.arg("-D").arg(path.join("data")).arg("-k").arg(path);
        command.args(["-c", "listen_addresses=", "-c", "max_connections=60"]);
        command.args(["-c", "shared_buffers=16MB", "-c", "wal_level=minimal"]);
        command.args(["-c", "max_wal_senders=0", "-c", "autovacuum=off"]);
        if self.durability == Durability::Unsynced {
            command.args(["-c", "fsync=off", "-c", "full_page_writes=off"]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        // The shared memory of a Postgres that is killed stays until its next start.
        let mut process = Process::spawn(&mut command, Signal::Quit);
        let ready = poll(PATIENCE, || is_ready(path, &mut process).then_some(()));
        if ready.is_none() {
            let log = std::fs::read_to_string(path.join("log")).unwrap_or_default();
            panic!("postgres does not answer:\n{log}");
        }
        self.process = Some(process);
    }

    fn url_of(&self, database: &str) -> String {
        let host = self.directory.path().display().to_string().replace('/', "%2F");
        format!("postgres://{USER}@{host}/{database}")
    }
}

/// Whether it takes connections: its own file says so, which is written after the recovery.
fn is_ready(directory: &Path, process: &mut Process) -> bool {
    assert_eq!(process.ended(), None, "postgres ends by itself");
    let pid = std::fs::read_to_string(directory.join("data/postmaster.pid")).unwrap_or_default();
    let mut lines = pid.lines();
    // One that was killed leaves its file: the first line tells whose it is.
    let ours = lines.next().is_some_and(|pid| pid == process.child().id().to_string());
    ours && lines.last().is_some_and(|status| status.trim() == "ready")
}

/// A cluster that was made once, and is copied by each test.
fn template() -> PathBuf {
    let initdb = program("initdb");
    let version = Command::new(&initdb).arg("--version").output().expect("initdb runs");
    let version =
        String::from_utf8_lossy(&version.stdout).trim().replace([' ', '(', ')', '/'], "_");
    let home = Path::new(env!("CARGO_TARGET_TMPDIR"));
    std::fs::create_dir_all(home).expect("the target directory is ours");
    let template = home.join(version);

    // Held while it is made, so that tests that start together make one.
    let lock = File::create(home.join("template.lock")).expect("the directory is ours");
    lock.lock().expect("the file system knows locks");
    if !template.exists() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        give(directory.path());
        let data = directory.path().join("data");
        let mut command = unprivileged(&initdb);
        command.arg("-D").arg(&data).args(["-U", USER, "-A", "trust", "-E", "UTF8"]);
        command.args(["--locale", "C", "--no-sync", "--no-instructions", "--wal-segsize", "1"]);
        run(&mut command).expect("initdb makes a cluster");
        // Under its name only when it is complete.
        let unfinished = home.join("unfinished");
        let _ = std::fs::remove_dir_all(&unfinished);
        copy(&data, &unfinished);
        std::fs::rename(&unfinished, &template).expect("both are in one directory");
    }
    template
}

fn copy(from: &Path, to: &Path) {
    run(Command::new("cp").arg("-a").arg(from).arg(to)).expect("a copy can be made");
}

/// Postgres refuses to run as root; then it runs as the user that its package made.
fn account() -> Option<&'static str> {
    let root = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    root.then_some("postgres")
}

fn unprivileged(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "QUIT"]);
    if let Some(account) = account() {
        command.args([
            &format!("--reuid={account}"),
            &format!("--regid={account}"),
            "--init-groups",
        ]);
    }
    command.arg("--").arg(program);
    command
}

/// Makes a directory Postgres's.
fn give(directory: &Path) {
    if let Some(account) = account() {
        run(Command::new("chown").arg("-R").arg(account).arg(directory)).expect("root may");
    } else {
        let ours = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(directory, ours).expect("the directory is ours");
    }
}
