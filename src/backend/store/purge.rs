//! [`RowPurge`]: deletes rows of the store, a page at a time.

use super::{Store, on_store};
use crate::backend::purge::{Found, Mode, Selection};
use crate::backend::search::Cursor;
use crate::backend::{BackendError, postgres, sqlite};

/// Deletes rows that are selected.
pub type RowPurge = Store<sqlite::RowPurge, postgres::RowPurge>;

impl RowPurge {
    /// A page of notifications behind an id; where the next page goes on, if there is one.
    pub(in crate::backend) async fn notifications(
        &self,
        selection: &Selection,
        after: &str,
        mode: Mode,
    ) -> Result<(Found, Option<String>), BackendError> {
        on_store!(self, rows => rows.notifications(selection, after, mode))
    }

    /// A page of events behind a row; where the next page goes on, if there is one.
    pub(in crate::backend) async fn events(
        &self,
        selection: &Selection,
        after: Option<Cursor>,
        mode: Mode,
    ) -> Result<(Found, Option<Cursor>), BackendError> {
        on_store!(self, rows => rows.events(selection, after, mode))
    }

    /// A page of statuses behind a row; where the next page goes on, if there is one.
    pub(in crate::backend) async fn statuses(
        &self,
        selection: &Selection,
        after: Option<Cursor>,
        mode: Mode,
    ) -> Result<(u64, Option<Cursor>), BackendError> {
        on_store!(self, rows => rows.statuses(selection, after, mode))
    }

    /// Takes what was deleted out of the store's files, and syncs; whether all that was committed before is
    /// on the disk.
    pub(in crate::backend) async fn finish(&self) -> Result<bool, BackendError> {
        match self {
            Self::Sqlite(rows) => rows.finish().await,
            Self::Postgres(_) => Ok(true),
        }
    }
}
