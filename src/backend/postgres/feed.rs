//! [`Feed`]: reads the change feed of the scale-out store.

use sqlx::{PgConnection, QueryBuilder};

use super::Postgres;
use crate::backend::feed::{CHANGES_PER_PAGE, FeedError, FeedPage, From};
use crate::backend::sql::changes::{END, begin, end, push_page, read_page};
use crate::event::Cursor;

/// Reads the change feed.
#[derive(Clone, Debug)]
pub struct Feed(Postgres);

impl Feed {
    pub(super) fn new(postgres: Postgres) -> Self {
        Self(postgres)
    }

    pub(in crate::backend) async fn changes(
        &self,
        from: &From,
        limit: u32,
    ) -> Result<FeedPage, FeedError> {
        let mut page = QueryBuilder::new("");
        push_page(&mut page, begin(from), limit.clamp(1, CHANGES_PER_PAGE));
        let read = async |connection: &mut PgConnection, keep| {
            page.build().persistent(keep).fetch_all(connection).await
        };
        read_page(from, &self.0.run(read).await?)
    }

    pub(in crate::backend) async fn end(&self) -> Result<Cursor, FeedError> {
        let read = async |connection: &mut PgConnection, keep| {
            sqlx::query_as(END).persistent(keep).fetch_one(connection).await
        };
        Ok(end(self.0.run(read).await?)?)
    }
}
