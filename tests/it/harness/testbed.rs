//! [`Testbed`]: what a mode needs, and an offhook on it; its contents to the last byte.

use std::path::Path;

use offhook::backend::{self, StoredEvent, postgres, sqlite};
use offhook::config::Role;
use offhook::event::CurrentStatus;
use sqlx::{Connection as _, Executor as _, SqliteConnection};
use tempfile::TempDir;

use super::offhook::Offhook;
use super::settings::Settings;
use super::until;
use crate::services::{Durability, Need, Postgres, Redis};

/// The deployments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    /// One process on one SQLite file.
    Embedded,
    /// A local log and Postgres.
    Direct,
    /// Redis and Postgres.
    ScaleOut,
}

impl Mode {
    pub(crate) const fn needs(self) -> &'static [Need] {
        match self {
            Self::Embedded => &[],
            Self::Direct => &[Need::Postgres],
            Self::ScaleOut => &[Need::Redis, Need::Postgres],
        }
    }
}

/// One test per mode of `async fn name(testbed: Testbed)`.
macro_rules! both_modes {
    ($($name:ident),+ $(,)?) => {
        mod embedded {
            $($crate::harness::both_modes!(test $name, Embedded);)+
        }
        mod scale_out {
            $($crate::harness::both_modes!(test $name, ScaleOut);)+
        }
    };
    (test $name:ident, $mode:ident) => {
        #[tokio::test]
        async fn $name() {
            use $crate::harness::{Mode, Testbed};
            $crate::services::needs!(all Mode::$mode.needs());
            super::$name(Testbed::of(Mode::$mode)).await;
        }
    };
}
pub(crate) use both_modes;

/// The same, and in the direct deployment too.
macro_rules! every_mode {
    ($($name:ident),+ $(,)?) => {
        $crate::harness::both_modes!($($name),+);
        mod direct {
            $($crate::harness::both_modes!(test $name, Direct);)+
        }
    };
}
pub(crate) use every_mode;

/// What is stored, to the last byte.
#[derive(Debug)]
pub(crate) struct Contents {
    pub(crate) events: Vec<StoredEvent>,
    pub(crate) statuses: Vec<CurrentStatus>,
}

impl Contents {
    /// The keys, sorted.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.events.iter().map(|stored| stored.event.key.to_string()).collect()
    }

    pub(crate) fn status(&self, sid: &str) -> &CurrentStatus {
        let found = self.statuses.iter().find(|row| row.sid == sid);
        found.unwrap_or_else(|| panic!("no status of {sid}"))
    }
}

/// The services of a mode, and the settings of an offhook on them.
#[derive(Debug)]
pub(crate) struct Testbed {
    pub(crate) settings: Settings,
    pub(crate) services: Services,
}

/// What a mode needs.
#[derive(Debug)]
pub(crate) enum Services {
    Embedded(TempDir),
    Direct { postgres: Postgres, log: TempDir },
    ScaleOut { redis: Redis, postgres: Postgres },
}

impl Testbed {
    pub(crate) fn of(mode: Mode) -> Self {
        match mode {
            Mode::Embedded => Self::embedded(),
            Mode::Direct => Self::direct(Durability::Unsynced),
            Mode::ScaleOut => Self::scale_out(Durability::Unsynced),
        }
    }

    pub(crate) fn embedded() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let url = format!("sqlite:{}", directory.path().join("offhook.db").display());
        let settings = Settings::new(Role::All).set("OFFHOOK_STORE__URL", url);
        Self { settings, services: Services::Embedded(directory) }
    }

    pub(crate) fn direct(durability: Durability) -> Self {
        let postgres = Postgres::start(durability);
        let log = tempfile::tempdir().expect("a temporary directory");
        // What a restart goes on with.
        let settings = Settings::new(Role::All)
            .set("DATABASE_URL", postgres.url())
            .set("OFFHOOK_SPOOL__DIRECTORY", log.path().display().to_string());
        Self { settings, services: Services::Direct { postgres, log } }
    }

    pub(crate) fn scale_out(durability: Durability) -> Self {
        Self::on(Redis::start(), durability)
    }

    /// The scale-out mode on this Redis.
    pub(crate) fn on(redis: Redis, durability: Durability) -> Self {
        let postgres = Postgres::start(durability);
        let settings = Settings::new(Role::All)
            .set("REDIS_URL", redis.url())
            .set("DATABASE_URL", postgres.url());
        Self { settings, services: Services::ScaleOut { redis, postgres } }
    }

    pub(crate) fn start(&self) -> Offhook {
        Offhook::start(&self.settings)
    }

    /// The settings for a process that does only this.
    pub(crate) fn role(&self, role: Role) -> Settings {
        self.settings.clone().with_role(role)
    }

    pub(crate) fn mode(&self) -> Mode {
        match self.services {
            Services::Embedded(_) => Mode::Embedded,
            Services::Direct { .. } => Mode::Direct,
            Services::ScaleOut { .. } => Mode::ScaleOut,
        }
    }

    pub(crate) fn redis(&mut self) -> &mut Redis {
        match &mut self.services {
            Services::ScaleOut { redis, .. } => redis,
            Services::Embedded(_) | Services::Direct { .. } => panic!("it has no Redis"),
        }
    }

    pub(crate) fn postgres(&mut self) -> &mut Postgres {
        match &mut self.services {
            Services::ScaleOut { postgres, .. } | Services::Direct { postgres, .. } => postgres,
            Services::Embedded(_) => panic!("the embedded mode has no Postgres"),
        }
    }

    /// Where the embedded mode has its files, and the direct one its log.
    pub(crate) fn directory(&self) -> &Path {
        match &self.services {
            Services::Embedded(directory) | Services::Direct { log: directory, .. } => {
                directory.path()
            }
            Services::ScaleOut { .. } => panic!("each service has its own"),
        }
    }

    /// What is stored now.
    pub(crate) async fn contents(&self) -> Contents {
        self.try_contents().await.expect("the store can be read")
    }

    /// What is stored once all of these keys are; more than that may be.
    pub(crate) async fn contents_with(&self, keys: &[String]) -> Contents {
        let mut keys = keys.to_vec();
        keys.sort();
        keys.dedup();
        until("the events that were accepted are stored", async || {
            // Before the worker has made the tables there are none.
            let contents = self.try_contents().await.ok()?;
            let stored = contents.keys();
            keys.iter().all(|key| stored.binary_search(key).is_ok()).then_some(contents)
        })
        .await
    }

    /// The same once this many events are stored, and no more than that.
    pub(crate) async fn contents_of(&self, events: usize) -> Contents {
        let contents = until("as many events are stored as were accepted", async || {
            self.try_contents().await.ok().filter(|contents| contents.events.len() >= events)
        })
        .await;
        assert_eq!(contents.events.len(), events, "{:?}", contents.keys());
        contents
    }

    /// One column of text, by a query of the store's own tables.
    pub(crate) async fn column(&self, sql: &'static str) -> Vec<String> {
        self.ask(sql).await.expect("a good query")
    }

    /// The same, or nothing before the tables are there.
    pub(crate) async fn try_column(&self, sql: &'static str) -> Option<Vec<String>> {
        self.ask(sql).await.ok()
    }

    async fn ask(&self, sql: &'static str) -> sqlx::Result<Vec<String>> {
        match &self.services {
            Services::Embedded(directory) => {
                let url = format!("sqlite:{}", directory.path().join("offhook.db").display());
                let mut connection = SqliteConnection::connect(&url).await?;
                sqlx::query_scalar(sql).fetch_all(&mut connection).await
            }
            Services::ScaleOut { postgres, .. } | Services::Direct { postgres, .. } => {
                let mut connection = postgres.connection().await;
                sqlx::query_scalar(sql).fetch_all(&mut connection).await
            }
        }
    }

    /// Runs a statement in the store, as somebody else would.
    pub(crate) async fn execute(&self, sql: &'static str) {
        match &self.services {
            Services::Embedded(directory) => {
                let url = format!("sqlite:{}", directory.path().join("offhook.db").display());
                let mut connection = SqliteConnection::connect(&url).await.expect("it is there");
                connection.execute(sql).await.expect("a good statement");
            }
            Services::ScaleOut { postgres, .. } | Services::Direct { postgres, .. } => {
                postgres.execute(sql).await
            }
        }
    }

    async fn try_contents(&self) -> Result<Contents, backend::BackendError> {
        match &self.services {
            Services::Embedded(directory) => {
                let query = sqlite::Query::of_file(&directory.path().join("offhook.db"));
                Ok(Contents {
                    events: query.all_events().await?,
                    statuses: query.all_statuses().await?,
                })
            }
            Services::ScaleOut { postgres, .. } | Services::Direct { postgres, .. } => {
                let postgres = postgres::Postgres::new(&postgres.url())?;
                let query = postgres::Query::new(postgres.clone());
                let (events, statuses) = (query.all_events().await, query.all_statuses().await);
                postgres.close().await;
                Ok(Contents { events: events?, statuses: statuses? })
            }
        }
    }
}
