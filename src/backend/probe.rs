//! [`Probe`]: a dependency as the admin service asks it.

use super::local_log::LocalLog;
use super::{BackendError, Dependency, DurabilityReport, StoreHealth, redis};

/// Asks one dependency whether it can do its job right now.
#[derive(Clone, Debug)]
pub enum Probe {
    /// The store.
    Store(StoreHealth),
    /// The stream.
    Redis(redis::Connector),
    /// Whether the local log has room.
    Spool(LocalLog),
    /// Whether the local log's disk works.
    SpoolDisk(LocalLog),
}

impl Probe {
    /// Which dependency it asks.
    #[must_use]
    pub fn dependency(&self) -> Dependency {
        match self {
            Self::Store(store) => store.dependency(),
            Self::Redis(_) => Dependency::Redis,
            Self::Spool(_) => Dependency::Spool,
            Self::SpoolDisk(_) => Dependency::SpoolDisk,
        }
    }

    /// Which durability is in force; `None` where it is our own settings that decide.
    pub async fn durability(&self) -> Option<Result<DurabilityReport, BackendError>> {
        match self {
            Self::Redis(connector) => Some(connector.durability().await),
            Self::Store(store) => store.durability().await,
            Self::Spool(_) | Self::SpoolDisk(_) => None,
        }
    }

    /// Asks.
    ///
    /// # Errors
    /// The backend does not answer in time, or answers with an error.
    pub async fn check(&self) -> Result<(), BackendError> {
        match self {
            Self::Store(store) => store.check().await,
            Self::Redis(connector) => connector.check().await,
            Self::Spool(log) => log.check(),
            Self::SpoolDisk(log) => log.check_disk(),
        }
    }
}
