//! [`PgBouncer`]: a connection pooler of one test's own, in transaction mode, before a Postgres.

use std::path::Path;
use std::process::Stdio;

use offhook::lab::servers::{PATIENCE, Process, Signal, USER, give, poll, program, unprivileged};
use tempfile::TempDir;

use super::Postgres;

/// A `pgbouncer` on a socket of its own.
#[derive(Debug)]
pub(crate) struct PgBouncer {
    directory: TempDir,
    _process: Process,
}

impl PgBouncer {
    /// Before this Postgres, each transaction on whichever of its connections is free. `more` is
    /// what else stands in its settings.
    pub(crate) fn before(postgres: &Postgres, more: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path();
        let users = path.join("users");
        let settings = format!(
            "[databases]\n* = host={} port=5432\n[pgbouncer]\nlisten_port = 6432\n\
             unix_socket_dir = {}\nauth_type = any\nauth_file = {}\npool_mode = transaction\n\
             server_round_robin = 1\ndefault_pool_size = 8\n{more}\n",
            postgres.directory().display(),
            path.display(),
            users.display(),
        );
        // With `any`, everybody is this user.
        let settings = settings.replace("port=5432", &format!("port=5432 user={USER}"));
        let file = path.join("pgbouncer.ini");
        std::fs::write(&file, settings).expect("the directory is ours");
        std::fs::write(&users, format!("\"{USER}\" \"\"\n")).expect("the directory is ours");
        give(path).expect("the directory is ours");
        let log = std::fs::File::create(path.join("log")).expect("the directory is ours");
        let mut command = unprivileged(&program("pgbouncer").expect("said so"));
        command.arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let mut process = Process::spawn(&mut command, Signal::Terminate).expect("it starts");
        let socket = path.join(".s.PGSQL.6432");
        let up = poll(PATIENCE, || {
            assert_eq!(process.ended(), None, "{}", read(path));
            socket.exists().then_some(())
        });
        assert!(up.is_some(), "pgbouncer does not start:\n{}", read(path));
        Self { directory, _process: process }
    }

    /// For offhook.
    pub(crate) fn url(&self) -> String {
        let host = self.directory.path().display().to_string().replace('/', "%2F");
        format!("postgres://{USER}@{host}:6432/postgres")
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        read(self.directory.path())
    }
}

fn read(directory: &Path) -> String {
    std::fs::read_to_string(directory.join("log")).unwrap_or_default()
}
