//! [`Feed`]: reads the change feed of the embedded store.
//!
//! A commit is not synced, and a power cut may take the last ones back; the local log then stores their events again, in
//! other transactions and so under other ids. A reader must never have seen what was taken back, so what it reads is
//! brought to the disk before it is handed out.

use std::sync::Arc;

use sqlx::{QueryBuilder, SqliteConnection};

use super::query::Query;
use super::writer::Writer;
use crate::backend::BackendError;
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
        let page = read_page(from, &self.read(read).await?)?;
        self.writer.sync_changes(page.next.id).await?;
        Ok(page)
    }

    pub(in crate::backend) async fn end(&self) -> Result<Cursor, FeedError> {
        let read = async |connection: &mut SqliteConnection| {
            sqlx::query_as(END).fetch_one(connection).await
        };
        let end = end(self.read(read).await?)?;
        self.writer.sync_changes(end.id).await?;
        Ok(end)
    }

    /// Between two checkpoints: none of them is kept from copying anything by it.
    async fn read<T>(
        &self,
        work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, BackendError> {
        let _reads = self.writer.feed_read().await;
        self.query.read(work).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::sqlite::{Database, SqliteStore};
    use crate::event::{Batch, Event, EventKey, Kind};
    use crate::pipeline::Sink as _;

    /// Otherwise the log would release nothing, and the WAL would grow, as long as there is a reader.
    #[tokio::test]
    async fn readers_keep_no_checkpoint_from_bringing_all_to_the_disk() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let url = format!("sqlite:{}", directory.path().join("offhook.db").display());
        let database = Arc::new(Database::lock(&url).expect("a file of our own"));
        database.migrate().await.expect("a new file");
        let store = SqliteStore::open(database).await.expect("a new file");
        let feed = Feed::new(&store.0);
        let reads = async || loop {
            feed.changes(&From::Start, CHANGES_PER_PAGE).await.expect("it can be read");
        };
        let writes = async {
            for number in 0..50 {
                let key = EventKey::of(&["CA1", &number.to_string()]).expect("printable");
                let batch = Batch::from(Event::new(key, Kind::Call, "AC1"));
                store.commit(&batch).await.expect("the store is there");
                assert_eq!(store.checkpoint().run().await, Ok(true), "{number}");
            }
        };
        tokio::select! {
            () = writes => {}
            () = reads() => {}
            () = reads() => {}
        }
    }
}
