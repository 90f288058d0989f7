//! [`Probe`]: a dependency as the admin service asks it.

use super::local_log::LocalLog;
use super::{BackendError, DurabilityReport, StoreHealth, redis};

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
    /// Whether a process can do its job, by what each of its dependencies means for it and whether that is
    /// there.
    pub fn are_met(dependencies: impl IntoIterator<Item = (Self, bool)>) -> bool {
        let (mut must, mut either) = (true, None);
        for (need, there) in dependencies {
            match need {
                Self::Must => must &= there,
                Self::Either => either = Some(there | either.unwrap_or(false)),
                Self::Optional => {}
            }
        }
        must && either.unwrap_or(true)
    }

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
            Self::Store(store) => store.name(),
            Self::Redis(_) => "redis",
            Self::Spool(_) => "spool",
            Self::SpoolDisk(_) => "spool_disk",
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
    /// It does not answer in time, or not well.
    pub async fn check(&self) -> Result<(), BackendError> {
        match self {
            Self::Store(store) => store.check().await,
            Self::Redis(connector) => connector.check().await,
            Self::Spool(log) => log.check(),
            Self::SpoolDisk(log) => log.check_disk(),
        }
    }
}
