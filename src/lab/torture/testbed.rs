//! [`Testbed`]: an offhook of several processes, and the private servers that it needs.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tempfile::TempDir;

use super::Run;
use super::disk::Disk;
use super::load::{Targets, Volume};
use super::server::Server;
use super::verdict::Store;
use crate::crash_points::{NAIVE, SABOTAGE};
use crate::lab::servers::{Durability, Fsync, Postgres, Redis, free_port};

/// Whose callbacks are sent.
pub(super) const ACCOUNT: &str = "AC00000000000000000000000000000001";
/// Its auth token.
pub(super) const TOKEN: &str = "00000000000000000000000000000a01";
/// The public URL that Twilio has.
pub(super) const PUBLIC_URL: &str = "https://hooks.example.com";
/// The stream, and where its dead letters lie.
pub(super) const STREAM: &str = "offhook:events";
pub(super) const DEAD: &str = "{offhook:events}:dead";
/// After which a worker takes over what another one holds: much less than by default, so that a
/// short run sees it often.
pub(super) const RECLAIM_IDLE_MS: u64 = 1000;

/// What there is.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) receivers: usize,
    /// None: one process with a local log, which is its only receiver.
    pub(super) workers: Option<usize>,
    /// Where that one stores.
    pub(super) alone_on: Alone,
    pub(super) volume: Volume,
    pub(super) fsync: Fsync,
    /// Redis's `maxmemory`.
    pub(super) redis_limit: Option<&'static str>,
}

/// Where a process without a stream stores.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) enum Alone {
    /// In SQLite: the embedded mode.
    #[default]
    Sqlite,
    /// In Postgres: the direct deployment.
    Postgres,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            receivers: 1,
            workers: Some(1),
            alone_on: Alone::default(),
            volume: Volume::default(),
            fsync: Fsync::Always,
            redis_limit: None,
        }
    }
}

/// All of it.
#[derive(Debug)]
pub(super) struct Testbed {
    pub(super) receivers: Vec<Server>,
    pub(super) workers: Vec<Server>,
    /// `None` in the embedded mode.
    pub(super) services: Option<Services>,
    pub(super) targets: Targets,
    pub(super) volume: Volume,
    /// What is mounted in its directory, the innermost first: given up before that, and after the processes.
    pub(super) disks: Vec<Disk>,
    directory: TempDir,
}

/// What others than the embedded mode need.
#[derive(Debug)]
pub(super) struct Services {
    /// `None` in the direct deployment.
    pub(super) redis: Option<Redis>,
    pub(super) postgres: Postgres,
}

impl Testbed {
    /// Private servers that run, and processes of offhook that do not yet.
    pub(super) fn prepare(run: &Run, setup: &Setup) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir().context("no temporary directory")?;
        let targets = Targets::default();
        let services = match (setup.workers, setup.alone_on) {
            (None, Alone::Sqlite) => None,
            (None, Alone::Postgres) => Some(Services {
                redis: None,
                postgres: Postgres::start(Durability::Synced, &run.home)?,
            }),
            (Some(_), _) => Some(Services {
                redis: Some(Redis::start(setup.fsync, setup.redis_limit)?),
                postgres: Postgres::start(Durability::Synced, &run.home)?,
            }),
        };
        let role = if setup.workers.is_some() { "receiver" } else { "all" };
        let receivers = (0..setup.receivers).map(|place| {
            let name = format!("receiver {place}");
            let mut server = Server::new(name, &run.program, role, Some((targets.clone(), place)));
            configure(&mut server, services.as_ref(), directory.path());
            // Each its own, which a restart goes on with.
            server.set("OFFHOOK_SPOOL__DIRECTORY", path(&spool(directory.path(), place)));
            if let Some(sabotage) = run.sabotage {
                server.set(SABOTAGE, sabotage.as_str());
            }
            server
        });
        let workers = (0..setup.workers.unwrap_or_default()).map(|place| {
            let mut server = Server::new(format!("worker {place}"), &run.program, "worker", None);
            configure(&mut server, services.as_ref(), directory.path());
            if run.naive_workers {
                server.set(NAIVE, "yes");
            }
            server
        });
        let (receivers, workers) = (receivers.collect(), workers.collect());
        Ok(Self {
            receivers,
            workers,
            services,
            targets,
            volume: setup.volume,
            disks: Vec::new(),
            directory,
        })
    }

    pub(super) fn servers(&mut self) -> impl Iterator<Item = &mut Server> {
        self.receivers.iter_mut().chain(&mut self.workers)
    }

    /// Sets something for all processes.
    pub(super) fn set(&mut self, name: &'static str, value: &str) {
        for server in self.servers() {
            server.set(name, value);
        }
    }

    /// Each process has its admin listener where commands find it.
    pub(super) fn give_admin_port(&mut self) -> anyhow::Result<()> {
        for server in self.servers() {
            server.set("OFFHOOK_ADMIN__LISTEN", format!("127.0.0.1:{}", free_port()?));
        }
        Ok(())
    }

    /// Starts every process, and returns once all run.
    pub(super) fn start(&mut self) -> anyhow::Result<()> {
        for server in self.servers() {
            server.spawn()?;
        }
        self.servers().try_for_each(Server::wait)
    }

    /// Stops every process; what is wrong with how they did.
    pub(super) fn stop(&mut self) -> Vec<String> {
        self.servers().for_each(Server::begin_stop);
        self.servers().filter_map(Server::stopped).collect()
    }

    pub(super) fn redis(&mut self) -> anyhow::Result<&mut Redis> {
        let services = self.services.as_mut().context("the embedded mode has no Redis")?;
        services.redis.as_mut().context("the direct deployment has no Redis")
    }

    pub(super) fn postgres(&mut self) -> anyhow::Result<&mut Postgres> {
        Ok(&mut self.services.as_mut().context("the embedded mode has no Postgres")?.postgres)
    }

    pub(super) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The directory of a receiver's spool.
    pub(super) fn spool(&self, place: usize) -> PathBuf {
        spool(self.directory(), place)
    }

    /// The directory of the log of a process without a stream; that of the embedded mode lies beside its file.
    pub(super) fn local_log(&self) -> PathBuf {
        match &self.services {
            Some(_) => self.spool(0),
            None => database(self.directory()).with_extension("db-log"),
        }
    }

    /// The directory of the embedded mode's file.
    pub(super) fn store_directory(&self) -> PathBuf {
        store(self.directory())
    }

    pub(super) fn store(&self) -> Store {
        match &self.services {
            Some(services) => Store::Postgres(services.postgres.url()),
            None => Store::Sqlite(database(self.directory.path())),
        }
    }

    /// The SQLite file of the embedded mode, if there is one.
    pub(super) fn sqlite_files(&self) -> Vec<PathBuf> {
        [database(self.directory.path())].into_iter().filter(|path| path.is_file()).collect()
    }
}

fn configure(server: &mut Server, services: Option<&Services>, directory: &Path) {
    server.set("OFFHOOK_PUBLIC_URL", PUBLIC_URL);
    server.set("OFFHOOK_INBOUND__LISTEN", "127.0.0.1:0");
    server.set("OFFHOOK_ADMIN__LISTEN", "127.0.0.1:0");
    server.set("TWILIO_ACCOUNT_SID", ACCOUNT);
    server.set("TWILIO_AUTH_TOKEN", TOKEN);
    server.set("OFFHOOK_WORKER__RECLAIM_IDLE_MS", RECLAIM_IDLE_MS.to_string());
    server.set("OFFHOOK_WORKER__TRIM_EVERY_MS", "200");
    match services {
        Some(services) => {
            if let Some(redis) = &services.redis {
                server.set("REDIS_URL", redis.url());
            }
            server.set("DATABASE_URL", services.postgres.url());
        }
        None => server.set("OFFHOOK_STORE__URL", format!("sqlite:{}", path(&database(directory)))),
    }
}

fn database(directory: &Path) -> PathBuf {
    store(directory).join("offhook.db")
}

/// The directory of SQLite's file.
fn store(directory: &Path) -> PathBuf {
    directory.join("store")
}

fn spool(directory: &Path, place: usize) -> PathBuf {
    directory.join(format!("spool-{place}"))
}

fn path(path: &Path) -> String {
    path.display().to_string()
}
