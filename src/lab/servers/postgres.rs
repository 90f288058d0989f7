//! [`Postgres`]: a private Postgres, copied from a cluster that is made once.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail, ensure};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
use tempfile::TempDir;

use super::process::{PATIENCE, Process, Signal, poll, run};
use super::program;

/// Who may do everything.
pub const USER: &str = "offhook";

/// Whether a commit waits for the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// As in production.
    Synced,
    /// Faster, for tests that are not about crashes.
    Unsynced,
}

/// A Postgres on a socket of its own.
#[derive(Debug)]
pub struct Postgres {
    directory: TempDir,
    durability: Durability,
    /// Its other arguments.
    arguments: Vec<String>,
    process: Option<Process>,
}

impl Postgres {
    /// One that runs. The cluster that it is copied from is made in `home`, once.
    ///
    /// # Errors
    /// It is not installed, or does not start.
    pub fn start(durability: Durability, home: &Path) -> anyhow::Result<Self> {
        let directory = new_directory(durability)?;
        let data = directory.path().join("data");
        copy(&template(home)?, &data)?;
        give(directory.path())?;
        let mut postgres = Self { directory, durability, arguments: Vec::new(), process: None };
        postgres.restart()?;
        Ok(postgres)
    }

    /// Starts it again, with these arguments besides.
    ///
    /// # Errors
    /// It does not start.
    pub fn tell(&mut self, arguments: Vec<String>) -> anyhow::Result<()> {
        self.arguments = arguments;
        self.restart()
    }

    /// Where its socket and its files are.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Its socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join(".s.PGSQL.5432")
    }

    /// Of a database that is always there.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// Makes a database, and says its URL.
    ///
    /// # Errors
    /// Postgres does not run, or has it.
    pub async fn database(&self, name: &str) -> sqlx::Result<String> {
        self.execute(&format!("CREATE DATABASE {name} TEMPLATE postgres")).await?;
        Ok(self.url_of(name))
    }

    /// Runs a statement in the database that is always there.
    ///
    /// # Errors
    /// Postgres does not run, or refuses it.
    pub async fn execute(&self, sql: &str) -> sqlx::Result<()> {
        self.connection().await?.execute(AssertSqlSafe(sql)).await.map(|_| ())
    }

    /// A connection to the database that is always there.
    ///
    /// # Errors
    /// Postgres does not run.
    pub async fn connection(&self) -> sqlx::Result<PgConnection> {
        PgConnection::connect(&self.url()).await
    }

    /// `kill -9`, of all that it consists of.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.signal_family(Signal::Kill);
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
            process.signal_family(signal);
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
        let mut command = unprivileged(&program("postgres")?);
        command.arg("-D").arg(path.join("data")).arg("-k").arg(path);
        command.args(["-c", "listen_addresses=", "-c", "max_connections=60"]);
        command.args(["-c", "shared_buffers=16MB", "-c", "wal_level=minimal"]);
        command.args(["-c", "max_wal_senders=0", "-c", "autovacuum=off"]);
        // In its own directory, and so gone with it: what one that is killed has elsewhere stays until the machine restarts.
        command.args(["-c", "dynamic_shared_memory_type=mmap"]);
        if self.durability == Durability::Unsynced {
            command.args(["-c", "fsync=off", "-c", "full_page_writes=off"]);
        }
        command.args(&self.arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        // The shared memory of a Postgres that is killed stays until its next start.
        let mut process = Process::spawn(&mut command, Signal::Quit)?;
        let ready = poll(PATIENCE, || match process.ended() {
            // It refuses to start as long as a child of one that was killed is not quite gone.
            Some(_) => {
                process = Process::spawn(&mut command, Signal::Quit).ok()?;
                None
            }
            None => is_ready(path, &mut process).then_some(()),
        });
        if ready.is_none() {
            let log = std::fs::read_to_string(path.join("log")).unwrap_or_default();
            bail!("postgres does not answer:\n{log}");
        }
        self.process = Some(process);
        Ok(())
    }

    /// A standby of what it has now, on a socket of its own; it follows no further. Restarts this one.
    ///
    /// # Errors
    /// One of the two does not start.
    pub fn standby(&mut self) -> anyhow::Result<Self> {
        // What a standby must find in the log of writes that it begins with.
        self.tell(vec!["-c".to_owned(), "wal_level=replica".to_owned()])?;
        if let Some(process) = &mut self.process {
            process.signal(Signal::Interrupt);
            process.wait(PATIENCE).context("postgres does not end")?;
        }
        let directory = tempfile::tempdir().context("no temporary directory")?;
        let data = directory.path().join("data");
        copy(&self.directory.path().join("data"), &data)?;
        File::create(data.join("standby.signal"))?;
        give(directory.path())?;
        self.restart()?;
        let (durability, arguments) = (self.durability, self.arguments.clone());
        let mut standby = Self { directory, durability, arguments, process: None };
        standby.restart()?;
        Ok(standby)
    }

    fn url_of(&self, database: &str) -> String {
        let host = self.directory.path().display().to_string().replace('/', "%2F");
        format!("postgres://{USER}@{host}/{database}")
    }
}

/// Where the system keeps files in memory.
const IN_MEMORY: &str = "/dev/shm";
/// Bytes that have to be free there: a container may have little.
const ROOM: u64 = 1 << 30;

/// In memory if no test of it is about the disk: to make and delete hundreds of files for each test, over and over, keeps a
/// file system busier than the tests themselves.
fn new_directory(durability: Durability) -> anyhow::Result<TempDir> {
    let free = rustix::fs::statvfs(IN_MEMORY).map_or(0, |disk| disk.f_bavail * disk.f_frsize);
    let made = match durability {
        Durability::Unsynced if free >= ROOM => tempfile::tempdir_in(IN_MEMORY),
        _ => tempfile::tempdir(),
    };
    made.context("no temporary directory")
}

/// One that was killed has left shared memory of the system's, which its next start takes away.
impl Drop for Postgres {
    fn drop(&mut self) {
        let was_killed = self.directory.path().join("data/postmaster.pid").exists();
        if self.process.is_none() && was_killed {
            let _ = self.restart();
            // Before its directory goes.
            drop(self.process.take());
        }
    }
}

/// Whether it takes connections: its own file says so, which is written after the recovery.
fn is_ready(directory: &Path, process: &mut Process) -> bool {
    let pid = std::fs::read_to_string(directory.join("data/postmaster.pid")).unwrap_or_default();
    let mut lines = pid.lines();
    // One that was killed leaves its file: the first line says whose it is.
    let ours = lines.next().is_some_and(|pid| pid == process.child().id().to_string());
    ours && lines.last().is_some_and(|status| matches!(status.trim(), "ready" | "standby"))
}

/// A cluster that was made once, and is copied for each.
fn template(home: &Path) -> anyhow::Result<PathBuf> {
    let initdb = program("initdb")?;
    let version = Command::new(&initdb).arg("--version").output()?;
    let version =
        String::from_utf8_lossy(&version.stdout).trim().replace([' ', '(', ')', '/'], "_");
    ensure!(!version.is_empty(), "initdb does not say its version");
    std::fs::create_dir_all(home)?;
    let template = home.join(format!("{version}_one_database"));

    // Held while it is made, so that processes that start together make one.
    let lock = File::create(home.join("template.lock"))?;
    lock.lock()?;
    if !template.exists() {
        let directory = tempfile::tempdir().context("no temporary directory")?;
        give(directory.path())?;
        let data = directory.path().join("data");
        let mut command = unprivileged(&initdb);
        command.arg("-D").arg(&data).args(["-U", USER, "-A", "trust", "-E", "UTF8"]);
        command.args(["--locale", "C", "--no-sync", "--no-instructions", "--wal-segsize", "1"]);
        run(&mut command)?;
        keep_one_database(&data)?;
        // Under its name only when it is complete.
        let unfinished = home.join("unfinished");
        let _ = std::fs::remove_dir_all(&unfinished);
        copy(&data, &unfinished)?;
        std::fs::rename(&unfinished, &template)?;
    }
    Ok(template)
}

/// Three of five files of a new cluster are those of databases that nothing here uses, and each copy of it makes and
/// deletes them all: while the tests of the servers ran, that was a third of what the processors did.
fn keep_one_database(data: &Path) -> anyhow::Result<()> {
    const DROP: &str = "UPDATE pg_database SET datistemplate = false\n\
        DROP DATABASE template0\n\
        DROP DATABASE template1\n";
    let mut command = unprivileged(&program("postgres")?);
    command.arg("--single").arg("-D").arg(data).arg("postgres");
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut process = command.spawn()?;
    let mut stdin = process.stdin.take().context("its input is a pipe")?;
    stdin.write_all(DROP.as_bytes())?;
    drop(stdin);
    let said = process.wait_with_output()?.stderr;
    // Its exit code says nothing of a statement that failed.
    let databases = std::fs::read_dir(data.join("base"))?.count();
    ensure!(databases == 1, "{databases} databases are left:\n{}", String::from_utf8_lossy(&said));
    Ok(())
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    run(Command::new("cp").arg("-a").arg(from).arg(to))
}

/// Postgres refuses to run as root; then it runs as the user that its package made.
fn account() -> Option<&'static str> {
    let root = std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    root.then_some("postgres")
}

/// A program that does not run as root: then it runs as Postgres's user.
#[must_use]
pub fn unprivileged(program: &Path) -> Command {
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

/// Makes a directory that user's.
///
/// # Errors
/// It is not ours to give.
pub fn give(directory: &Path) -> std::io::Result<()> {
    if let Some(account) = account() {
        run(Command::new("chown").arg("-R").arg(account).arg(directory))
    } else {
        let ours = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(directory, ours)
    }
}
