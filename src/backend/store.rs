//! [`Store`]: the truth, in one of two databases, and the facets of it that services are handed.

mod campaigns;
mod feed;
mod forwards;
mod health;
mod outbox;
mod purge;
mod reads;

pub use self::feed::Feed;
pub use self::forwards::Forwards;
pub use self::health::StoreHealth;
pub use self::outbox::Outbox;
pub use self::purge::RowPurge;
pub use self::reads::Reads;
use super::{FeedWatch, postgres, sqlite};

/// One of the two databases: all of it, or one facet: [`Reads`], [`Feed`], [`Forwards`], [`Outbox`],
/// [`RowPurge`], [`StoreHealth`].
///
/// There are no others, and nothing above matches on which it is: what differs is said in the modules
/// of the two.
#[derive(Clone, Debug)]
pub enum Store<S = sqlite::Handles, P = postgres::Handles> {
    /// One file of this process.
    Sqlite(S),
    /// A server, which processes share.
    Postgres(P),
}

/// Waits for the same work on whichever it is.
///
/// Boxed, so that what awaits it has the types of neither, and the compiler need not prove for each handler anew that all
/// that the two databases do is `Send`.
macro_rules! on_store {
    ($store:expr, $database:ident => $work:expr) => {{
        let work: futures_util::future::BoxFuture<'_, _> = match $store {
            $crate::backend::Store::Sqlite($database) => Box::pin($work),
            $crate::backend::Store::Postgres($database) => Box::pin($work),
        };
        work.await
    }};
}
use on_store;

impl Store {
    /// What is read of it.
    #[must_use]
    pub fn reads(&self) -> Reads {
        match self {
            Self::Sqlite(handles) => Reads::Sqlite(handles.query()),
            Self::Postgres(handles) => Reads::Postgres(handles.query()),
        }
    }

    /// What changed in it, in the order of commits.
    #[must_use]
    pub fn feed(&self) -> Feed {
        match self {
            Self::Sqlite(handles) => Feed::Sqlite(handles.feed()),
            Self::Postgres(handles) => Feed::Postgres(handles.feed()),
        }
    }

    /// Wakes the readers that wait for the feed to grow.
    #[must_use]
    pub fn feed_watch(&self) -> FeedWatch {
        match self {
            Self::Sqlite(handles) => handles.feed_watch(),
            Self::Postgres(handles) => handles.feed_watch(),
        }
    }

    /// The record of where forwards stand.
    #[must_use]
    pub fn forwards(&self) -> Forwards {
        match self {
            Self::Sqlite(handles) => Forwards::Sqlite(handles.forwards()),
            Self::Postgres(handles) => Forwards::Postgres(handles.forwards()),
        }
    }

    /// What is to be sent, and what came of it.
    #[must_use]
    pub fn outbox(&self) -> Outbox {
        match self {
            Self::Sqlite(handles) => Outbox::Sqlite(handles.outbox()),
            Self::Postgres(handles) => Outbox::Postgres(handles.outbox()),
        }
    }

    /// What deletes from it.
    #[must_use]
    pub fn purge(&self) -> RowPurge {
        match self {
            Self::Sqlite(handles) => RowPurge::Sqlite(handles.purge()),
            Self::Postgres(handles) => RowPurge::Postgres(handles.purge()),
        }
    }

    /// Whether it can do its job.
    #[must_use]
    pub fn health(&self) -> StoreHealth {
        match self {
            Self::Sqlite(handles) => StoreHealth::Sqlite(handles.health()),
            Self::Postgres(handles) => StoreHealth::Postgres(handles.health()),
        }
    }
}
