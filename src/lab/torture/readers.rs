//! [`Readers`]: one in each door of the change feed, from the first change on. Each keeps what it has seen, and its
//! cursor, in this process, and continues from there whatever happens to the server; in the end what it saw is compared
//! with the table.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::Serialize;
use serde_json::Value;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, Row as _, SqliteConnection};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::verdict::Store;
use crate::http::client;

/// How long a reader waits for what does not come, before it asks elsewhere.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks of a reader that polls, and before a reader asks again after an error.
const PAUSE: Duration = Duration::from_millis(20);
/// Until every reader must have seen all, once everything works again.
const CATCH_UP: Duration = Duration::from_secs(60);
const ROWS: i64 = 500;

/// How the feed is read.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Door {
    /// `offhook_changes()`, on a connection of another program.
    Function,
    /// `WHERE id > …`, the same way.
    Bare,
    /// `GET /api/changes?wait=…`
    LongPoll,
    /// `GET /api/changes/events`
    Events,
}

impl Door {
    /// Those of a Postgres.
    pub(super) const POSTGRES: [Self; 4] =
        [Self::Function, Self::Bare, Self::LongPoll, Self::Events];
    /// Those of a SQLite file; what is read of the file itself may be taken back by a power cut.
    pub(super) const SQLITE: [Self; 3] = [Self::Bare, Self::LongPoll, Self::Events];
    /// Those that a power cut takes nothing back from.
    pub(super) const SYNCED: [Self; 2] = [Self::LongPoll, Self::Events];

    fn name(self) -> &'static str {
        match self {
            Self::Function => "function",
            Self::Bare => "bare_ids",
            Self::LongPoll => "long_poll",
            Self::Events => "events",
        }
    }
}

/// Id and key of a change.
type Seen = (i64, String);

/// What a reader has seen, in its order, and what it was refused.
#[derive(Default, Debug)]
struct Notes {
    seen: Vec<Seen>,
    refused: Option<String>,
}

/// One in each door.
pub(super) struct Readers {
    store: Store,
    readers: Vec<(Door, Arc<Mutex<Notes>>)>,
    /// Ended when it is dropped.
    _tasks: JoinSet<()>,
}

/// What came of a door.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize)]
pub(super) struct Figures {
    seen: usize,
    /// In the table, or acked, and not seen.
    lost: usize,
    /// Seen more than once.
    doubled: usize,
    /// Seen behind a greater id.
    out_of_order: usize,
    /// Seen, and not in the table, or there as another one.
    different: usize,
}

impl Readers {
    /// They begin to read, each from one of these admin listeners after the other.
    pub(super) fn start(
        doors: &[Door],
        store: &Store,
        admins: &[SocketAddr],
    ) -> anyhow::Result<Self> {
        let (mut tasks, mut readers) = (JoinSet::new(), Vec::new());
        for (place, door) in doors.iter().copied().enumerate() {
            let notes = Arc::<Mutex<Notes>>::default();
            let reader = Reader {
                door,
                store: store.clone(),
                admins: admins.to_vec(),
                turn: place,
                http: client::new(Duration::from_secs(3600))?,
                cursor: String::new(),
                notes: Arc::clone(&notes),
            };
            tasks.spawn(reader.run());
            readers.push((door, notes));
        }
        Ok(Self { store: store.clone(), readers, _tasks: tasks })
    }

    /// Waits until all have seen the end of the feed, or will not; what came of each.
    pub(super) async fn end(
        self,
        acked: &HashSet<String>,
    ) -> anyhow::Result<Vec<(&'static str, Figures, Option<String>)>> {
        let deadline = Instant::now() + CATCH_UP;
        let table = loop {
            let table = changes(&self.store).await.context("the table of changes")?;
            let end = table.last().map(|(id, _)| *id);
            let is_there = |notes: &Mutex<Notes>| {
                let notes = notes.lock().expect("no reader panics while it is held");
                notes.seen.last().map(|(id, _)| *id) >= end
            };
            if self.readers.iter().all(|(_, notes)| is_there(notes)) || Instant::now() > deadline {
                break table;
            }
            sleep(PAUSE).await;
        };
        let figures = self.readers.iter().map(|(door, notes)| {
            let notes = notes.lock().expect("no reader panics while it is held");
            (door.name(), Figures::of(&notes.seen, &table, acked), notes.refused.clone())
        });
        Ok(figures.collect())
    }
}

impl Figures {
    /// Compares what was seen, in this order, with the table and with what was acked.
    fn of(seen: &[Seen], table: &[Seen], acked: &HashSet<String>) -> Self {
        let stored: HashMap<i64, &str> = table.iter().map(|(id, key)| (*id, &**key)).collect();
        let (mut ids, mut keys) = (HashSet::new(), HashSet::new());
        let mut figures = Self { seen: seen.len(), ..Self::default() };
        let mut last = 0;
        for (id, key) in seen {
            let is_new = ids.insert(*id) & keys.insert(&**key);
            figures.doubled += usize::from(!is_new);
            figures.out_of_order += usize::from(*id < last);
            figures.different += usize::from(stored.get(id) != Some(&&**key));
            last = last.max(*id);
        }
        let missing = table.iter().filter(|(id, _)| !ids.contains(id)).count();
        let unseen = acked.iter().filter(|key| !keys.contains(key.as_str())).count();
        figures.lost = missing.max(unseen);
        figures
    }

    /// Whether nothing is wrong.
    pub(super) fn are_good(self) -> bool {
        self == Self { seen: self.seen, ..Self::default() }
    }
}

/// The whole table.
async fn changes(store: &Store) -> sqlx::Result<Vec<Seen>> {
    let all = "SELECT id, key FROM changes ORDER BY id";
    match store {
        Store::Postgres(url) => {
            sqlx::query_as(all).fetch_all(&mut PgConnection::connect(url).await?).await
        }
        Store::Sqlite(path) => sqlx::query_as(all).fetch_all(&mut open(path).await?).await,
    }
}

async fn open(path: &PathBuf) -> sqlx::Result<SqliteConnection> {
    SqliteConnectOptions::new().filename(path).read_only(true).connect().await
}

struct Reader {
    door: Door,
    store: Store,
    admins: Vec<SocketAddr>,
    /// Which of them is asked next.
    turn: usize,
    http: reqwest::Client,
    /// Behind the last that was seen.
    cursor: String,
    notes: Arc<Mutex<Notes>>,
}

impl Reader {
    /// Runs until it is aborted. After any error it continues behind what it has seen.
    async fn run(mut self) {
        loop {
            let read = match (self.door, self.store.clone()) {
                (Door::LongPoll, _) => self.poll().await,
                (Door::Events, _) => self.watch().await,
                (Door::Function, Store::Postgres(url)) => self.call(&url).await,
                (_, Store::Postgres(url)) => self.query(&url).await,
                (_, Store::Sqlite(path)) => self.query_file(&path).await,
            };
            // Servers are down and come back.
            drop(read);
            sleep(PAUSE).await;
        }
    }

    fn see(&self, id: i64, key: String) {
        let mut notes = self.notes.lock().expect("nothing panics while it is held");
        notes.seen.push((id, key));
    }

    fn last(&self) -> i64 {
        let notes = self.notes.lock().expect("nothing panics while it is held");
        notes.seen.last().map_or(0, |(id, _)| *id)
    }

    /// The answer of the next process, if it is a good one.
    async fn ask(&mut self, path: &str) -> anyhow::Result<reqwest::Response> {
        self.turn += 1;
        let admin = self.admins[self.turn % self.admins.len()];
        let answer = timeout(PATIENCE, self.http.get(format!("http://{admin}{path}")).send());
        let answer = answer.await??;
        if answer.status().is_client_error() {
            let said = format!("{} {}", answer.status(), answer.text().await.unwrap_or_default());
            let mut notes = self.notes.lock().expect("nothing panics while it is held");
            notes.refused = Some(said);
            bail!("refused");
        }
        Ok(answer.error_for_status()?)
    }

    async fn poll(&mut self) -> anyhow::Result<()> {
        loop {
            let path = format!("/api/changes?after={}&limit={ROWS}&wait=2", self.cursor);
            let answer = self.ask(&path).await?;
            let page = timeout(PATIENCE, answer.text()).await??;
            let page: Value = serde_json::from_str(&page)?;
            for change in page["changes"].as_array().context("a list")? {
                self.note(change)?;
            }
            self.cursor = page["next"].as_str().context("a cursor")?.to_owned();
        }
    }

    async fn watch(&mut self) -> anyhow::Result<()> {
        let path = format!("/api/changes/events?after={}", self.cursor);
        let mut answer = self.ask(&path).await?;
        let mut unread = Vec::new();
        while let Some(bytes) = timeout(PATIENCE, answer.chunk()).await?? {
            unread.extend_from_slice(&bytes);
            // What is cut within an event is not an event.
            while let Some(end) = unread.windows(2).position(|end| end == b"\n\n") {
                let frame: Vec<u8> = unread.drain(..end + 2).collect();
                let frame = String::from_utf8(frame)?;
                let field = |name: &str| frame.lines().find_map(|line| line.strip_prefix(name));
                if let Some(data) = field("data: ") {
                    self.note(&serde_json::from_str(data)?)?;
                }
                if let Some(cursor) = field("id: ") {
                    self.cursor = cursor.to_owned();
                }
            }
        }
        Ok(())
    }

    fn note(&self, change: &Value) -> anyhow::Result<()> {
        let id = change["id"].as_i64().context("an id")?;
        self.see(id, change["key"].as_str().context("a key")?.to_owned());
        Ok(())
    }

    async fn call(&mut self, url: &str) -> anyhow::Result<()> {
        let mut connection = timeout(PATIENCE, PgConnection::connect(url)).await??;
        loop {
            let sql = "SELECT id, key, cursor FROM offhook_changes(nullif($1, ''), $2)";
            let page = sqlx::query(sql).bind(self.cursor.clone()).bind(ROWS as i32);
            let page = timeout(PATIENCE, page.fetch_all(&mut connection)).await?;
            let refused = |error: &sqlx::Error| {
                error.as_database_error().and_then(|error| error.code()).as_deref() == Some("OH410")
            };
            if let Err(error) = &page
                && refused(error)
            {
                let mut notes = self.notes.lock().expect("nothing panics while it is held");
                notes.refused = Some(error.to_string());
            }
            let page = page?;
            for row in &page {
                self.see(row.try_get("id")?, row.try_get("key")?);
                self.cursor = row.try_get("cursor")?;
            }
            if page.is_empty() {
                sleep(PAUSE).await;
            }
        }
    }

    async fn query(&self, url: &str) -> anyhow::Result<()> {
        let mut connection = timeout(PATIENCE, PgConnection::connect(url)).await??;
        loop {
            let sql = "SELECT id, key FROM changes WHERE id > $1 ORDER BY id LIMIT $2";
            let page = sqlx::query_as(sql).bind(self.last()).bind(ROWS);
            let page: Vec<Seen> = timeout(PATIENCE, page.fetch_all(&mut connection)).await??;
            self.take(page).await;
        }
    }

    async fn query_file(&self, path: &PathBuf) -> anyhow::Result<()> {
        let mut connection = open(path).await?;
        loop {
            let sql = "SELECT id, key FROM changes WHERE id > ? ORDER BY id LIMIT ?";
            let page = sqlx::query_as(sql).bind(self.last()).bind(ROWS);
            let page: Vec<Seen> = timeout(PATIENCE, page.fetch_all(&mut connection)).await??;
            self.take(page).await;
        }
    }

    async fn take(&self, page: Vec<Seen>) {
        if page.is_empty() {
            sleep(PAUSE).await;
        }
        for (id, key) in page {
            self.see(id, key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seen; lost, doubled, out of order, different.
    #[track_caller]
    fn check(seen: &[(i64, &str)], acked: &[&str], expected: [usize; 4]) {
        let own = |rows: &[(i64, &str)]| -> Vec<Seen> {
            rows.iter().map(|(id, key)| (*id, (*key).to_owned())).collect()
        };
        let table = own(&[(1, "a"), (2, "b"), (4, "c")]);
        let acked = acked.iter().map(|key| (*key).to_owned()).collect();
        let found = Figures::of(&own(seen), &table, &acked);
        let Figures { lost, doubled, out_of_order, different, .. } = found;
        assert_eq!([lost, doubled, out_of_order, different], expected, "{seen:?}");
        assert_eq!(found.are_good(), expected == [0; 4]);
    }

    #[test]
    fn each_figure_finds_what_it_is_for() {
        let all = [(1, "a"), (2, "b"), (4, "c")];
        check(&all, &["a", "b", "c"], [0, 0, 0, 0]);
        check(&all[1..], &["a"], [1, 0, 0, 0]);
        check(&all, &["d"], [1, 0, 0, 0]);
        check(&[(1, "a"), (2, "b"), (2, "b"), (4, "c")], &[], [0, 1, 0, 0]);
        check(&[(1, "a"), (4, "c"), (2, "b")], &[], [0, 0, 1, 0]);
        check(&[(1, "a"), (2, "x"), (4, "c")], &[], [0, 0, 0, 1]);
        check(&[(1, "a"), (2, "b"), (3, "x"), (4, "c")], &[], [0, 0, 0, 1]);
    }
}
