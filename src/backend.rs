//! Where events go: one module per backend, none of which knows another.
//!
//! [`Reader`] with what is asked of it in [`search`], [`Probe`], [`DeadLetters`] and [`purge`] are all that the admin service sees of them.

pub mod certificate;
mod dead_letters;
mod in_force;
pub mod local_log;
pub mod postgres;
mod probe;
pub mod purge;
mod reader;
pub mod redis;
pub mod search;
mod sql;
pub mod sqlite;

pub use self::dead_letters::{Action, DeadLetter, DeadLetters};
pub use self::in_force::{Durabilities, InForce, Level};
pub use self::probe::{Need, Probe};
pub use self::reader::Reader;
use crate::event::Event;
use crate::pipeline::Cause;

/// A read or a migration failed: worth trying again, unless the cause says otherwise.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct BackendError(pub Cause);

impl From<sqlx::Error> for BackendError {
    fn from(error: sqlx::Error) -> Self {
        Self(sql::error::cause(&error))
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
