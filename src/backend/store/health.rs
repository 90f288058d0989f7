//! [`StoreHealth`]: whether the store can do its job.

use super::{Store, on_store};
use crate::backend::{BackendError, Dependency, DurabilityReport, postgres, sqlite};

/// Whether the store can do its job.
pub type StoreHealth = Store<sqlite::Health, postgres::Health>;

impl StoreHealth {
    /// Which of the two it is.
    #[must_use]
    pub fn dependency(&self) -> Dependency {
        match self {
            Self::Sqlite(_) => Dependency::Sqlite,
            Self::Postgres(_) => Dependency::Postgres,
        }
    }

    /// Which durability is in force; `None` where our own settings decide.
    ///
    /// # Errors
    /// See [`BackendError`].
    pub async fn durability(&self) -> Option<Result<DurabilityReport, BackendError>> {
        match self {
            Self::Sqlite(_) => None,
            Self::Postgres(health) => Some(health.durability().await),
        }
    }

    /// Asks.
    ///
    /// # Errors
    /// The store cannot be read, or not be written.
    pub async fn check(&self) -> Result<(), BackendError> {
        on_store!(self, health => health.check())
    }
}
