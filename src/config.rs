//! Configuration: read at start, and again when told to, into values that cannot be half right.
//!
//! [`layers`] finds out what was set and where, `raw` is its shape, `resolve` checks it.

mod fixed;
pub mod layers;
mod raw;
mod resolve;
mod urls;
mod warnings;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

pub use self::fixed::Fixed;
pub use self::layers::Sources;
pub use self::raw::{Durability, LogFormat};
pub use self::warnings::lets_errors_through;
use crate::backend::DeadLetters;
use crate::backend::local_log::{Bounds, LocalDeadLetters};
use crate::backend::redis::{self, Connector, Names};
use crate::clock::Clock;
use crate::inbound::Fallback;
use crate::twilio::keyring::Keyring;
use crate::twilio::privacy::Privacy;
use crate::twilio::public_url::PublicUrl;
use crate::worker::retention;
use crate::{admin, inbound};

/// Every key and its default.
pub const DEFAULTS: &str = include_str!("../config/offhook.toml");

/// What is wrong with the configuration. The text names the key, where it was set, and the fix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} ({origin}): {problem}")]
pub struct ConfigError {
    /// The key, dotted.
    pub key: String,
    /// Where it was set, or that it was not.
    pub origin: String,
    /// What is wrong, and the fix.
    pub problem: String,
}

/// All of it, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// The base of every URL that Twilio was told.
    pub public_url: PublicUrl,
    /// Whose callbacks are accepted.
    pub keyring: Arc<Keyring>,
    /// The public listener.
    pub inbound: inbound::Config,
    /// What the fallback URLs answer.
    pub fallback: Fallback,
    /// What of a callback may be kept.
    pub privacy: Arc<Privacy>,
    /// The private listener.
    pub admin: admin::Config,
    /// Where events go.
    pub deployment: Deployment,
    /// Whether to bring the tables up to date at start.
    pub migrate: bool,
    /// Which calls are in progress, and how many may be.
    pub calls: Calls,
    /// How old what is stored may become.
    pub retention: retention::Config,
    /// The log.
    pub log: Log,
    /// Where traces go, if they are taken.
    pub traces: Option<Traces>,
    /// Where the time comes from: the machine, unless a torture says otherwise.
    pub clock: Clock,
    /// What a reload cannot change.
    pub fixed: Fixed,
    /// What can be read, and most likely is not meant.
    pub warnings: Vec<ConfigError>,
}

/// Calls in progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Calls {
    /// How many there may be; 0 is not known.
    pub limit: u64,
    /// After so long the final callback of a call was lost.
    pub max_age: Duration,
}

/// How the log is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Text or JSON.
    pub format: LogFormat,
    /// Which lines.
    pub filter: String,
}

/// Traces, which only a build with the feature `otel` takes.
#[derive(Debug, Clone, PartialEq)]
pub struct Traces {
    /// Of a collector.
    pub endpoint: String,
    /// The share of requests that is traced.
    pub sample_ratio: f64,
}

/// Which log a callback is answered for, and which store a pump moves it into, with all that they need
/// and nothing that they do not.
#[derive(Debug, Clone)]
pub enum Deployment {
    /// A local log, and a SQLite file: one process, no services.
    Embedded {
        /// Beside the file.
        log: LocalLog,
        /// `sqlite:…`
        store: String,
    },
    /// A local log, and Postgres: one process.
    Direct {
        /// In a directory of its own.
        log: LocalLog,
        /// `postgres://…`
        store: SecretString,
    },
    /// A Redis stream, with a local log behind it, and Postgres: receivers and workers.
    Scaled(Box<Scaled>),
}

/// Where a deployment stores.
#[derive(Debug, Clone, Copy)]
pub enum Store<'d> {
    /// `sqlite:…`
    Sqlite(&'d str),
    /// `postgres://…`
    Postgres(&'d SecretString),
}

impl Scaled {
    /// The dead letters of the stream, and those of the spool of a receiver on this machine.
    #[must_use]
    pub fn dead_letters(&self) -> DeadLetters {
        let stream = redis::DeadLetters::new(self.stream.clone(), self.names.clone());
        let local = LocalDeadLetters::new(self.spool.directory.clone());
        DeadLetters { stream: Some(stream), local: self.role.receives().then_some(local) }
    }
}

impl Deployment {
    /// The dead letters that can be reached from here.
    #[must_use]
    pub fn dead_letters(&self) -> DeadLetters {
        match self {
            Self::Embedded { log, .. } | Self::Direct { log, .. } => {
                let local = LocalDeadLetters::new(log.directory.clone());
                DeadLetters { stream: None, local: Some(local) }
            }
            Self::Scaled(scaled) => scaled.dead_letters(),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Embedded { .. } => "embedded",
            Self::Direct { .. } => "direct",
            Self::Scaled(_) => "scale-out",
        }
    }

    /// The local log of this process; a worker has none.
    #[must_use]
    pub fn local_log(&self) -> Option<&LocalLog> {
        match self {
            Self::Embedded { log, .. } | Self::Direct { log, .. } => Some(log),
            Self::Scaled(scaled) => scaled.role.receives().then_some(&scaled.spool),
        }
    }

    /// Where events end.
    #[must_use]
    pub fn store(&self) -> Store<'_> {
        match self {
            Self::Embedded { store, .. } => Store::Sqlite(store),
            Self::Direct { store, .. } => Store::Postgres(store),
            Self::Scaled(scaled) => Store::Postgres(&scaled.store),
        }
    }

    /// Whether this process takes callbacks.
    #[must_use]
    pub fn receives(&self) -> bool {
        match self {
            Self::Embedded { .. } | Self::Direct { .. } => true,
            Self::Scaled(scaled) => scaled.role.receives(),
        }
    }

    /// Whether this process writes to the store.
    #[must_use]
    pub fn stores(&self) -> bool {
        match self {
            Self::Embedded { .. } | Self::Direct { .. } => true,
            Self::Scaled(scaled) => scaled.role.works(),
        }
    }

    /// How many threads this process has, those of SQLite's connections aside: one to receive and one
    /// to work. More of them wake one another up, which costs a receiver a fifth of its time.
    #[must_use]
    pub fn threads(&self) -> usize {
        match self {
            Self::Embedded { .. } | Self::Direct { .. } => 1,
            Self::Scaled(scaled) => match scaled.role {
                Role::Receiver | Role::Worker => 1,
                Role::All => 2,
            },
        }
    }
}

/// The scale-out mode.
#[derive(Debug, Clone)]
pub struct Scaled {
    /// What this process does.
    pub role: Role,
    /// `postgres://…`
    pub store: SecretString,
    /// The Redis of the stream.
    pub stream: Connector,
    /// The names in Redis.
    pub names: Names,
    /// Longest wait of a request for Redis.
    pub stream_timeout: Duration,
    /// Where a callback must be before it is answered.
    pub durability: Durability,
    /// What stands behind the stream: a receiver's spool.
    pub spool: LocalLog,
    /// How the worker works.
    pub worker: crate::worker::Config,
}

/// The local log of one process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalLog {
    /// Its directory.
    pub directory: PathBuf,
    /// How much it may hold.
    pub bounds: Bounds,
}

/// What a process of the scale-out mode does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Role {
    /// Take callbacks and write them to the stream.
    Receiver,
    /// Move events from the stream into the store.
    Worker,
    /// Both.
    #[default]
    All,
}

impl Role {
    /// Whether it takes callbacks.
    #[must_use]
    pub fn receives(self) -> bool {
        self != Self::Worker
    }

    /// Whether it moves events into the store.
    #[must_use]
    pub fn works(self) -> bool {
        self != Self::Receiver
    }
}

impl Config {
    /// Reads every layer and checks the whole.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn load(sources: &Sources, role: Role) -> Result<Self, ConfigError> {
        let loaded = layers::load(sources)?;
        let mut config = resolve::resolve(&loaded, role)?;
        config.warnings.extend(warnings::of(&loaded, &config));
        Ok(config)
    }

    /// Embedded mode in `directory`, with one account, whose public listener is at `inbound`: what
    /// the demo runs.
    ///
    /// # Errors
    /// None that a caller can cause, short of a directory whose name is not UTF-8.
    pub fn demo(
        directory: &Path,
        account: &str,
        token: &str,
        inbound: SocketAddr,
    ) -> Result<Self, ConfigError> {
        let path = directory.join("offhook.db");
        let sources = Sources {
            file: None,
            environment: [
                ("TWILIO_ACCOUNT_SID".to_owned(), account.to_owned()),
                ("TWILIO_AUTH_TOKEN".to_owned(), token.to_owned()),
                ("OFFHOOK_PUBLIC_URL".to_owned(), format!("http://{inbound}")),
                ("OFFHOOK_INBOUND__LISTEN".to_owned(), inbound.to_string()),
                ("OFFHOOK_ADMIN__LISTEN".to_owned(), "127.0.0.1:0".to_owned()),
                ("OFFHOOK_STORE__URL".to_owned(), format!("sqlite:{}", path.display())),
            ]
            .into(),
        };
        Self::load(&sources, Role::All)
    }
}

#[cfg(test)]
#[path = "config/tests.rs"]
mod tests;
