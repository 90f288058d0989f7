//! Which log, which store and which role: what the store's and the stream's URL mean together.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};

use super::layers::Loaded;
use super::sections::spool::{self, LocalLog};

use super::sections::{store, stream, worker};
use super::{ConfigError, Origin};
use crate::backend::DeadLetters;
use crate::backend::local_log::LocalDeadLetters;
use crate::backend::redis::{self, Connector, Names};
use crate::pipeline::spooled::AnswerAfter;

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
        /// Where notifications are listened to: `postgres://…`
        listen: Option<SecretString>,
    },
    /// A Redis stream, with a local log behind it, and Postgres: receivers and workers.
    Scaled(Box<Scaled>),
    /// A process that sends and does nothing else, beside those of any deployment with a Postgres.
    Sender {
        /// `postgres://…`
        store: SecretString,
        /// Where notifications are listened to: `postgres://…`
        listen: Option<SecretString>,
    },
}

/// Where a deployment stores.
#[derive(Debug, Clone, Copy)]
pub enum StoreUrl<'d> {
    /// `sqlite:…`
    Sqlite(&'d str),
    /// `postgres://…`
    Postgres(&'d SecretString),
}

impl Scaled {
    /// The dead letters of the stream, and those of the spool of a receiver on this machine.
    #[must_use]
    pub fn dead_letters(&self) -> DeadLetters {
        let stream = redis::StreamDeadLetters::new(self.stream.clone(), self.names.clone());
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
            Self::Sender { .. } => DeadLetters { stream: None, local: None },
        }
    }

    /// The name of the deployment.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Embedded { .. } => "embedded",
            Self::Direct { .. } => "direct",
            Self::Scaled(_) => "scale-out",
            Self::Sender { .. } => "sender",
        }
    }

    /// The local log of this process; a worker and a sender have none.
    #[must_use]
    pub fn local_log(&self) -> Option<&LocalLog> {
        match self {
            Self::Embedded { log, .. } | Self::Direct { log, .. } => Some(log),
            Self::Scaled(scaled) => scaled.role.receives().then_some(&scaled.spool),
            Self::Sender { .. } => None,
        }
    }

    /// Where events end.
    #[must_use]
    pub fn store(&self) -> StoreUrl<'_> {
        match self {
            Self::Embedded { store, .. } => StoreUrl::Sqlite(store),
            Self::Direct { store, .. } | Self::Sender { store, .. } => StoreUrl::Postgres(store),
            Self::Scaled(scaled) => StoreUrl::Postgres(&scaled.store),
        }
    }

    /// Whether this process takes callbacks.
    #[must_use]
    pub fn receives(&self) -> bool {
        match self {
            Self::Embedded { .. } | Self::Direct { .. } => true,
            Self::Scaled(scaled) => scaled.role.receives(),
            Self::Sender { .. } => false,
        }
    }

    /// Whether this process sends, if a sender is configured.
    #[must_use]
    pub fn sends(&self) -> bool {
        match self {
            Self::Embedded { .. } | Self::Direct { .. } | Self::Sender { .. } => true,
            Self::Scaled(scaled) => scaled.role.sends(),
        }
    }

    /// Whether this process writes events to the store.
    #[must_use]
    pub fn stores(&self) -> bool {
        match self {
            Self::Embedded { .. } | Self::Direct { .. } => true,
            Self::Scaled(scaled) => scaled.role.works(),
            Self::Sender { .. } => false,
        }
    }

    /// How many threads this process has, those of SQLite's connections aside: one to receive and one
    /// to work. More of them wake one another up, which costs a receiver a fifth of its time.
    #[must_use]
    pub fn threads(&self) -> usize {
        match self {
            Self::Embedded { .. } | Self::Direct { .. } | Self::Sender { .. } => 1,
            Self::Scaled(scaled) => match scaled.role {
                Role::Receiver | Role::Worker | Role::Sender => 1,
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
    /// Where notifications are listened to: `postgres://…`
    pub listen: Option<SecretString>,
    /// The Redis of the stream.
    pub stream: Connector,
    /// The names in Redis.
    pub names: Names,
    /// Longest wait of a request for Redis.
    pub stream_timeout: Duration,
    /// Where a callback must be before it is answered.
    pub answer_after: AnswerAfter,
    /// What stands behind the stream: a receiver's spool.
    pub spool: LocalLog,
    /// How the worker works.
    pub worker: crate::worker::Config,
}

/// What a process does, where several share a Postgres.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Role {
    /// Take callbacks and write them to the stream.
    Receiver,
    /// Move events from the stream into the store.
    Worker,
    /// Send what was asked for, over Twilio's API.
    Sender,
    /// All of it.
    #[default]
    All,
}

impl Role {
    /// The name, as `--role` takes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Receiver => "receiver",
            Self::Worker => "worker",
            Self::Sender => "sender",
            Self::All => "all",
        }
    }

    /// Whether it takes callbacks.
    #[must_use]
    pub fn receives(self) -> bool {
        matches!(self, Self::Receiver | Self::All)
    }

    /// Whether it moves events into the store.
    #[must_use]
    pub fn works(self) -> bool {
        matches!(self, Self::Worker | Self::All)
    }

    /// Whether it sends, if a sender is configured.
    #[must_use]
    pub fn sends(self) -> bool {
        matches!(self, Self::Sender | Self::All)
    }
}

/// Which mode the URLs mean, with what it needs.
pub(super) fn resolve(loaded: &Loaded, role: Role) -> Result<Deployment, ConfigError> {
    let url = store::url(loaded)?;
    let scheme = url.expose_secret().split(':').next().unwrap_or_default().to_owned();
    match scheme.as_str() {
        "sqlite" if role != Role::All => Err(loaded.error(
            "store.url",
            "a SQLite store belongs to one process, which receives, stores and sends: --role needs a \
             postgres:// store",
        )),
        "sqlite" => embedded(loaded, url.expose_secret()),
        "postgres" | "postgresql" => {
            store::check_postgres(loaded, &url)?;
            if role == Role::Sender {
                return sender(loaded, url);
            }
            match stream::url(loaded)? {
                Some(stream) => scaled(loaded, role, url, &stream),
                None => direct(loaded, role, url),
            }
        }
        _ => Err(loaded.error("store.url", "it must start with sqlite: or postgres://")),
    }
}

/// Where a stream's URL may be set.
const STREAM_URLS: [&str; 2] = ["stream.url", "stream.url_file"];

fn embedded(loaded: &Loaded, url: &str) -> Result<Deployment, ConfigError> {
    // A variable that lies about in the environment is not meant, nor read; one in our own settings is.
    let meant = STREAM_URLS.into_iter().find(|key| {
        matches!(loaded.origin(key), Origin::Default | Origin::File(_) | Origin::Override(_))
    });
    if let Some(key) = meant {
        return Err(loaded.error(
            key,
            "a SQLite store uses no stream: remove it, or set store.url to a postgres:// URL",
        ));
    }
    store::no_listen_url(loaded)?;
    Ok(Deployment::Embedded {
        log: spool::local_log(loaded, log_beside(url))?,
        store: url.to_owned(),
    })
}

/// Where the log of an embedded store lies, by the path or the `sqlite:` URL of its file: beside that, so that one moves,
/// is copied or is mounted with the other, and two processes with a file each have a log each.
#[must_use]
pub fn log_beside(url: &str) -> PathBuf {
    let path = url.trim_start_matches("sqlite:").trim_start_matches("//");
    let path = path.split('?').next().unwrap_or_default();
    PathBuf::from(format!("{path}-log"))
}

fn direct(loaded: &Loaded, role: Role, store: SecretString) -> Result<Deployment, ConfigError> {
    if role != Role::All {
        return Err(loaded.error(
            "stream.url",
            "--role needs a stream between receivers and workers: set stream.url, or REDIS_URL, to a \
             redis:// URL; without one, a single process receives and stores",
        ));
    }
    let log = spool::local_log(loaded, loaded.raw.spool.directory.clone())?;
    Ok(Deployment::Direct { log, store, listen: store::listen_url(loaded)? })
}

/// It needs neither a stream nor a log, whatever the other processes have.
fn sender(loaded: &Loaded, store: SecretString) -> Result<Deployment, ConfigError> {
    if loaded.raw.sender.is_empty() {
        return Err(loaded.error(
            "sender",
            "--role sender has nothing to send from: add a [[sender]] with a name, and with from or \
             messaging_service_sid, to the file",
        ));
    }
    Ok(Deployment::Sender { store, listen: store::listen_url(loaded)? })
}

fn scaled(
    loaded: &Loaded,
    role: Role,
    store: SecretString,
    stream: &SecretString,
) -> Result<Deployment, ConfigError> {
    Ok(Deployment::Scaled(Box::new(Scaled {
        role,
        store,
        listen: store::listen_url(loaded)?,
        stream: stream::connector(loaded, stream)?,
        names: stream::names(loaded)?,
        stream_timeout: stream::timeout(loaded),
        answer_after: loaded.raw.stream.durability,
        worker: worker::resolve(loaded)?,
        spool: spool::local_log(loaded, loaded.raw.spool.directory.clone())?,
    })))
}

/// A Redis that is set by the conventional variable beside a store that uses none: most likely the URL of the
/// other store was forgotten.
pub(super) fn warning(loaded: &Loaded, deployment: &Deployment) -> Option<ConfigError> {
    let Deployment::Embedded { store, .. } = deployment else { return None };
    let mut keys = STREAM_URLS.into_iter();
    let key = keys.find(|key| matches!(loaded.origin(key), Origin::Conventional(_)))?;
    let problem = format!(
        "it is not used: without a Postgres, this process keeps everything in {store}. Set DATABASE_URL, or \
         store.url, to a postgres:// URL if you mean to scale out"
    );
    Some(loaded.error(key, problem))
}

#[cfg(test)]
mod tests;
