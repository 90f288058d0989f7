//! Where events go: one module per backend, none of which knows another.
//!
//! [`Store`] and its facets, with what is asked of it in [`search`], [`Probe`], [`DeadLetters`] and [`purge`] are all
//! that the admin service sees of them.

pub mod certificate;
pub mod copy;
mod dead_letters;
mod dependency;
mod durability;
pub mod feed;
mod feed_watch;
pub mod forwards;
pub mod local_log;
pub mod outbox;
pub mod postgres;
mod probe;
pub mod purge;
pub mod redis;
pub mod search;
mod sql;
pub mod sqlite;
mod store;
mod tables;

pub use self::dead_letters::{Action, DeadLetter, DeadLetters};
pub use self::dependency::{Backend, Dependency, Need};
pub use self::durability::{DurabilityLevel, DurabilityReport, DurabilityReports};
pub use self::feed_watch::{FeedReader, FeedWatch};
pub use self::probe::Probe;
pub use self::store::{Feed, Forwards, Outbox, Reads, RowPurge, Store, StoreHealth};
use crate::event::{Event, Own};
use crate::pipeline::Cause;

/// A backend does not answer in time, or not as it should: worth trying again, unless the cause says
/// otherwise. The request may have been executed nevertheless.
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
    /// The parameters of the event, as JSON.
    pub params: String,
    /// The parameters that the application put into the callback URL.
    pub own: Option<Own>,
}
