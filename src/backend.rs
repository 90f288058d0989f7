//! Where events go: one module per backend, none of which knows another.
//!
//! [`Reader`] and [`Probe`] are all that the admin service sees of them.

mod in_force;
pub mod postgres;
pub mod redis;
mod rows;
pub mod sqlite;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use self::in_force::{InForce, Level};
use crate::clock::Timestamp;
use crate::event::{Current, Event};
use crate::pipeline::Cause;

/// A read or a migration failed: worth trying again, unless the cause says otherwise.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct BackendError(pub Cause);

impl From<sqlx::Error> for BackendError {
    fn from(error: sqlx::Error) -> Self {
        Self(rows::cause(&error))
    }
}

/// An event as it is stored.
#[derive(Clone, Debug)]
pub struct StoredEvent {
    /// The event.
    pub event: Event,
    /// Its parameters as JSON.
    pub params: String,
}

/// Where to go on in a list that is sorted by time: the last row seen.
pub type Cursor = (Timestamp, String);

/// Reads the store, whichever it is.
#[derive(Clone, Debug)]
pub enum Reader {
    /// The embedded store.
    Sqlite(sqlite::Query),
    /// The scale-out store.
    Postgres(postgres::Query),
}

impl Reader {
    /// The current status of a SID.
    ///
    /// # Errors
    /// The store does not answer in time.
    pub async fn status(&self, sid: &str) -> Result<Option<Current>, BackendError> {
        match self {
            Self::Sqlite(query) => query.status(sid).await,
            Self::Postgres(query) => query.status(sid).await,
        }
    }

    /// The events of a SID, in the order in which they were received, at most `limit`.
    ///
    /// # Errors
    /// The store does not answer in time.
    pub async fn events(&self, sid: &str, limit: u32) -> Result<Vec<StoredEvent>, BackendError> {
        match self {
            Self::Sqlite(query) => query.events(sid, limit).await,
            Self::Postgres(query) => query.events(sid, limit).await,
        }
    }
}

/// Which durability is in force, by backend. Cheap to clone; all clones are one.
#[derive(Clone, Default, Debug)]
pub struct Durabilities(Arc<Mutex<BTreeMap<&'static str, InForce>>>);

impl Durabilities {
    /// Notes what is in force; whether that is news.
    pub fn set(&self, backend: &'static str, in_force: InForce) -> bool {
        let news = self.get(backend).as_ref() != Some(&in_force);
        self.all_mut().insert(backend, in_force);
        news
    }

    /// What was last seen of a backend.
    #[must_use]
    pub fn get(&self, backend: &str) -> Option<InForce> {
        self.all_mut().get(backend).cloned()
    }

    /// What was last seen of every backend.
    #[must_use]
    pub fn all(&self) -> BTreeMap<&'static str, InForce> {
        self.all_mut().clone()
    }

    fn all_mut(&self) -> MutexGuard<'_, BTreeMap<&'static str, InForce>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks one dependency whether it can do its job right now.
#[derive(Clone, Debug)]
pub enum Probe {
    /// The embedded store.
    Sqlite(sqlite::Health),
    /// The scale-out store.
    Postgres(postgres::Query),
    /// The stream.
    Redis(Box<redis::Connector>),
    /// Whether the spool has room.
    Spool(sqlite::Spool),
    /// Whether the spool's disk works.
    SpoolDisk(sqlite::Spool),
}

/// What it means for a process that one of its dependencies is away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Need {
    /// It cannot do its job.
    Must,
    /// It can, as long as another of these is there.
    Either,
    /// It can do the part of its job that others wait for.
    Optional,
}

impl Need {
    /// The name in `/readyz`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Must => "must",
            Self::Either => "either",
            Self::Optional => "optional",
        }
    }
}

impl Probe {
    /// The dependency's name in `/readyz`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "sqlite",
            Self::Postgres(_) => "postgres",
            Self::Redis(_) => "redis",
            Self::Spool(_) => "spool",
            Self::SpoolDisk(_) => "spool_disk",
        }
    }

    /// Which durability is in force; `None` where it is our own settings that decide.
    ///
    /// # Errors
    /// It does not answer in time.
    pub async fn in_force(&self) -> Option<Result<InForce, BackendError>> {
        match self {
            Self::Redis(connector) => Some(connector.in_force().await),
            Self::Postgres(query) => Some(query.in_force().await),
            Self::Sqlite(_) | Self::Spool(_) | Self::SpoolDisk(_) => None,
        }
    }

    /// Asks.
    ///
    /// # Errors
    /// It does not answer in time, or not well.
    pub async fn check(&self) -> Result<(), BackendError> {
        match self {
            Self::Sqlite(health) => health.check().await,
            Self::Postgres(query) => query.ping().await,
            Self::Redis(connector) => connector.ping().await,
            Self::Spool(spool) => spool.check(),
            Self::SpoolDisk(spool) => spool.check_disk(),
        }
    }
}
