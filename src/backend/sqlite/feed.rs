//! [`Feed`]: reads the change feed of the embedded store.
//!
//! A commit is not synced, and a power cut may take the last ones back; the local log then stores their events again, in
//! other transactions and so under other ids. A reader must never have seen what was taken back, so what it reads is
//! brought to the disk before it is handed out.

use std::sync::Arc;

use sqlx::{QueryBuilder, SqliteConnection};

use super::query::Query;
use super::writer::Writer;
use crate::backend::feed::{CHANGES_PER_PAGE, FeedError, FeedPage, From};
use crate::backend::sql::changes::{END, begin, end, push_page, read_page};
use crate::event::Cursor;

/// Reads the change feed.
#[derive(Clone, Debug)]
pub struct Feed {
    query: Query,
    writer: Arc<Writer>,
}

impl Feed {
    /// On connections of its own, which no search holds.
    pub(super) fn new(writer: &Arc<Writer>) -> Self {
        Self { query: Query::new(writer.database()), writer: Arc::clone(writer) }
    }

    pub(in crate::backend) async fn changes(
        &self,
        from: &From,
        limit: u32,
    ) -> Result<FeedPage, FeedError> {
        let mut page = QueryBuilder::new("");
        push_page(&mut page, begin(from), limit.clamp(1, CHANGES_PER_PAGE));
        let read =
            async |connection: &mut SqliteConnection| page.build().fetch_all(connection).await;
        let page = read_page(from, &self.query.read(read).await?)?;
        self.writer.sync_changes(page.next.id).await?;
        Ok(page)
    }

    pub(in crate::backend) async fn end(&self) -> Result<Cursor, FeedError> {
        let read = async |connection: &mut SqliteConnection| {
            sqlx::query_as(END).fetch_one(connection).await
        };
        let end = end(self.query.read(read).await?)?;
        self.writer.sync_changes(end.id).await?;
        Ok(end)
    }
}
