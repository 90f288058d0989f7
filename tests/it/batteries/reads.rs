//! What is asked of a store, of both stores alike.

use std::sync::Arc;

use offhook::backend::Reads;
use offhook::backend::postgres::{self, PostgresStore};
use offhook::backend::search::{
    Cursor, EventSearch, Needle, OwnParameter, StatusSearch, TimeRange,
};
use offhook::backend::sqlite::{self, Database, SqliteStore};
use offhook::clock::Timestamp;
use offhook::event::{Batch, Event, EventKey, Kind, Resource};
use offhook::labels::Label as _;
use offhook::pipeline::Sink;
use offhook::twilio::privacy::Privacy;
use tempfile::TempDir;

use crate::services::{Durability, Postgres, needs};

const NOW: i64 = 1_795_500_000;

struct Store<K> {
    sink: K,
    reader: Reads,
    _home: (Option<TempDir>, Option<Postgres>),
}

async fn sqlite() -> Store<SqliteStore> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let url = format!("sqlite:{}", directory.path().join("offhook.db").display());
    let database = Arc::new(Database::lock(&url).expect("a file of our own"));
    database.migrate().await.expect("a new file");
    let reader = Reads::Sqlite(sqlite::Query::new(&database));
    let sink = SqliteStore::open(database).await.expect("a new file");
    Store { sink, reader, _home: (Some(directory), None) }
}

async fn postgres() -> Store<PostgresStore> {
    let server = Postgres::start(Durability::Unsynced);
    let pool = postgres::Postgres::new(&server.url()).expect("a good URL");
    pool.migrate().await.expect("empty tables can be made");
    let reader = Reads::Postgres(postgres::Query::new(pool.clone()));
    Store { sink: PostgresStore::new(pool), reader, _home: (None, Some(server)) }
}

/// One test per store of `async fn name(store: Store<impl Sink>)`.
macro_rules! both_stores {
    ($($name:ident),+ $(,)?) => {
        mod embedded {
            $(#[tokio::test] async fn $name() { super::$name(super::sqlite().await).await; })+
        }
        mod scale_out {
            $(#[tokio::test] async fn $name() {
                super::needs!(Postgres);
                super::$name(super::postgres().await).await;
            })+
        }
    };
}

both_stores![
    a_sid_is_found_by_its_start_and_by_a_part_of_it,
    a_number_is_found_in_each_form_and_on_both_ends,
    every_filter_narrows_the_search,
    pages_hold_everything_once_and_the_latest_first,
    events_are_filtered_and_come_in_pages,
    counts_are_of_what_came_since_then,
    nothing_that_is_typed_breaks_a_search,
    what_has_a_parameter_of_ones_own_is_found_by_it,
];

impl<K: Sink> Store<K> {
    async fn store(&self, events: impl IntoIterator<Item = Event>) {
        let mut events: Vec<Event> = events.into_iter().collect();
        while let Some(batch) = Batch::take_from(&mut events) {
            self.sink.commit(&batch).await.expect("the store is there");
        }
    }

    async fn sids(&self, search: StatusSearch) -> Vec<String> {
        let search = StatusSearch { limit: search.limit.max(100), ..search };
        let found = self.reader.find_statuses(&search).await.expect("it can be read");
        found.into_iter().map(|current| current.sid).collect()
    }

    async fn typed(&self, text: &str) -> Vec<String> {
        self.sids(StatusSearch {
            needle: Needle::parse(text, &Privacy::default()),
            ..StatusSearch::default()
        })
        .await
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros((NOW + seconds) * 1_000_000)
}

fn event(resource: Resource, sid: &str, status: &str, seconds: i64, body: &str) -> Event {
    Event {
        sid: Some(sid.into()),
        resource: Some(resource),
        status: Some(status.into()),
        received_at: at(seconds),
        body: body.to_owned().into(),
        ..Event::new(
            EventKey::of(&[sid, status]).expect("printable"),
            Kind::parse(resource.as_str()).expect("a resource is a kind"),
            "AC1",
        )
    }
}

fn call(sid: &str, status: &str, seconds: i64, body: &str) -> Event {
    event(Resource::Call, sid, status, seconds, body)
}

async fn a_sid_is_found_by_its_start_and_by_a_part_of_it(store: Store<impl Sink>) {
    let sids = ["CA00ff11", "CA00ff22", "SM00ff33"];
    store.store(sids.map(|sid| call(sid, "busy", 1, ""))).await;
    assert_eq!(store.typed("CA00ff11").await, ["CA00ff11"]);
    assert_eq!(store.typed("CA").await, ["CA00ff22", "CA00ff11"]);
    assert_eq!(store.typed("sm0").await, ["SM00ff33"]);
    assert_eq!(store.typed("ff2").await, ["CA00ff22"]);
    assert_eq!(store.typed("ff").await.len(), 3);
    for nothing in ["CB", "FF2", "%", "_", "f%2"] {
        assert!(store.typed(nothing).await.is_empty(), "{nothing}");
    }
}

async fn a_number_is_found_in_each_form_and_on_both_ends(store: Store<impl Sink>) {
    let long = format!("From=sip%3A{}%40example.com", "a".repeat(3000));
    store
        .store([
            call("CA1", "busy", 1, "From=%2B15550100&To=%2B15550101"),
            call("CA2", "busy", 2, "From=%2B15550101&To=client%3Aana"),
            call("CA3", "busy", 3, "From=whatsapp%3A%2B15550100&To=%2B1555"),
            call("CA4", "busy", 4, &long),
        ])
        .await;
    assert_eq!(store.typed("+1 (555) 0100").await, ["CA3", "CA1"]);
    assert_eq!(store.typed("15550101").await, ["CA2", "CA1"]);
    assert_eq!(store.typed("+1555").await, ["CA3"]);
    assert_eq!(store.typed("client:ana").await, ["CA2"]);
    assert_eq!(store.typed("whatsapp:+15550100").await, ["CA3"]);
    assert!(store.typed("+15550102").await.is_empty());
    // Longer than what is in the index.
    let address = format!("sip:{}@example.com", "a".repeat(3000));
    assert_eq!(store.typed(&address).await, ["CA4"]);
    assert!(store.typed(&address.replace(".com", ".org")).await.is_empty());
}

async fn every_filter_narrows_the_search(store: Store<impl Sink>) {
    let mut other = call("CA2", "busy", 20, "");
    other.account = "AC2".into();
    store
        .store([
            call("CA1", "ringing", 10, ""),
            other,
            event(Resource::Message, "SM1", "failed", 30, "ErrorCode=30003"),
            event(Resource::Message, "SM2", "failed", 40, "ErrorCode=30005"),
        ])
        .await;
    let all = StatusSearch::default;
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(store.sids(all()).await, ["SM2", "SM1", "CA2", "CA1"]);
    let search = StatusSearch { resource: Some(Resource::Call), ..all() };
    assert_eq!(store.sids(search).await, ["CA2", "CA1"]);
    let search = StatusSearch { status: text("failed"), ..all() };
    assert_eq!(store.sids(search).await, ["SM2", "SM1"]);
    let search = StatusSearch { account: text("AC2"), ..all() };
    assert_eq!(store.sids(search).await, ["CA2"]);
    let search = StatusSearch { error: text("30003"), ..all() };
    assert_eq!(store.sids(search).await, ["SM1"]);
    // From, inclusive, until, exclusive.
    let span = TimeRange { since: Some(at(20)), until: Some(at(40)) };
    assert_eq!(store.sids(StatusSearch { span, ..all() }).await, ["SM1", "CA2"]);
    let needle = Needle::parse("SM", &Privacy::default());
    let search = StatusSearch { needle, status: text("failed"), error: text("30005"), ..all() };
    assert_eq!(store.sids(search).await, ["SM2"]);
}

async fn pages_hold_everything_once_and_the_latest_first(store: Store<impl Sink>) {
    // Many of one moment, so that a page ends among them, and each twice, by two accounts.
    let calls = (0..25).map(|n| call(&format!("CA{:02}", n / 2), "busy", n / 10, ""));
    let by = |(n, call): (usize, Event)| Event { account: format!("AC{}", n % 2), ..call };
    store.store(calls.enumerate().map(by)).await;
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let search = StatusSearch { after: after.take(), limit: 4, ..StatusSearch::default() };
        let page = store.reader.find_statuses(&search).await.expect("it can be read");
        assert!(page.len() <= 4);
        let Some(last) = page.last() else { break };
        let (id, account) = (last.sid.clone(), last.account.clone());
        let cursor = Cursor { at: last.first_seen, id, account };
        after = Cursor::parse(&cursor.to_string());
        all.extend(page.into_iter().map(|current| current.sid + &current.account));
    }
    let mut expected: Vec<String> = (0..25).map(|n| format!("CA{:02}AC{}", n / 2, n % 2)).collect();
    expected.reverse();
    assert_eq!(all, expected);
}

async fn events_are_filtered_and_come_in_pages(store: Store<impl Sink>) {
    store
        .store([
            call("CA1", "initiated", 1, ""),
            call("CA1", "busy", 2, ""),
            event(Resource::Message, "SM1", "sent", 3, ""),
        ])
        .await;
    let all = || EventSearch { limit: 100, ..EventSearch::default() };
    let keys = async |search: EventSearch| -> Vec<String> {
        let found = store.reader.find_events(&search).await.expect("it can be read");
        found.into_iter().map(|stored| stored.event.key.to_string()).collect()
    };
    assert_eq!(keys(all()).await, ["SM1-sent", "CA1-busy", "CA1-initiated"]);
    let sid = Some("CA1".to_owned());
    assert_eq!(keys(EventSearch { sid, ..all() }).await, ["CA1-busy", "CA1-initiated"]);
    let kind = Some(Kind::Message);
    assert_eq!(keys(EventSearch { kind, ..all() }).await, ["SM1-sent"]);
    let status = Some("busy".to_owned());
    assert_eq!(keys(EventSearch { status, ..all() }).await, ["CA1-busy"]);
    let account = Some("AC2".to_owned());
    assert!(keys(EventSearch { account, ..all() }).await.is_empty());
    let span = TimeRange { since: Some(at(2)), until: Some(at(3)) };
    assert_eq!(keys(EventSearch { span, ..all() }).await, ["CA1-busy"]);
    assert_eq!(keys(EventSearch { limit: 1, ..all() }).await, ["SM1-sent"]);
    let (id, account) = ("SM1-sent".to_owned(), "AC1".to_owned());
    let after = Some(Cursor { at: at(3), id, account });
    assert_eq!(keys(EventSearch { after, ..all() }).await, ["CA1-busy", "CA1-initiated"]);
}

async fn what_has_a_parameter_of_ones_own_is_found_by_it(store: Store<impl Sink>) {
    let with = |sid: &str, query: &str, seconds| Event {
        query: query.to_owned(),
        ..call(sid, "busy", seconds, "")
    };
    store
        .store([
            with("CA1", "order_id=A-1&tenant=7", 1),
            with("CA2", "order_id=A-2&order_id=A-1", 2),
            with("CA3", "order_id=A-12", 3),
            with("CA4", "id=A-1&note=%22order_id%22%3A%22A-1%22", 4),
            with("CA5", "na%22me=%C3%BC+%22%27%5C%0A", 5),
            call("CA6", "busy", 6, ""),
        ])
        .await;
    let all = || EventSearch { limit: 100, ..EventSearch::default() };
    for (sought, expected) in [
        ("order_id=A-1", &["CA2", "CA1"][..]),
        ("order_id=A-2", &["CA2"]),
        ("tenant=7", &["CA1"]),
        ("id=A-1", &["CA4"]),
        ("order_id=A", &[]),
        ("order_id=", &[]),
        ("order_id=%", &[]),
        ("tenant=A-1", &[]),
        ("na\"me=\u{fc} \"'\\\n", &["CA5"]),
        ("nul=\0", &[]),
    ] {
        // What is typed is trimmed, and this ends with a line.
        let (name, value) = sought.split_once('=').expect("a parameter");
        let parsed = OwnParameter { name: name.to_owned(), values: vec![value.to_owned()] };
        let own = || Some(parsed.clone());
        let search = StatusSearch { own: own(), ..StatusSearch::default() };
        assert_eq!(store.sids(search).await, expected, "{sought:?}");
        let found = store.reader.find_events(&EventSearch { own: own(), ..all() }).await;
        let found = found.expect("it can be read");
        let sids: Vec<_> = found.iter().filter_map(|stored| stored.event.sid.as_deref()).collect();
        assert_eq!(sids, expected, "{sought:?}");
    }
}

async fn counts_are_of_what_came_since_then(store: Store<impl Sink>) {
    store
        .store([
            call("CA0", "busy", 1, "ErrorCode=1"),
            call("CA1", "ringing", 10, ""),
            call("CA1", "busy", 11, ""),
            event(Resource::Message, "SM1", "failed", 12, "ErrorCode=30003"),
            event(Resource::Message, "SM2", "failed", 12, "ErrorCode=30005"),
            event(Resource::Message, "SM3", "failed", 12, "ErrorCode=30005"),
        ])
        .await;
    let counts = store.reader.counts(at(10)).await.expect("it can be read");
    assert_eq!(counts.events, [("call".to_owned(), 2), ("message".to_owned(), 3)]);
    let status = |resource: &str, status: &str, n| (resource.to_owned(), status.to_owned(), n);
    assert_eq!(counts.statuses, [status("call", "busy", 1), status("message", "failed", 3)]);
    assert_eq!(counts.errors, [("30005".to_owned(), 2), ("30003".to_owned(), 1)]);

    // Of three conferences one is over and one is old. Sequence numbers tell participants apart.
    let numbered = |sid: &str, number: usize, status: &str, seconds: i64| Event {
        key: EventKey::of(&[sid, &number.to_string(), status]).expect("printable"),
        ..event(Resource::Conference, sid, status, seconds, "")
    };
    let joins = |sid: &'static str, many: usize, seconds: i64| {
        (0..many).map(move |number| numbered(sid, number, "participant-join", seconds))
    };
    let of_old = joins("CF1", 9, -100).collect::<Vec<_>>();
    let over = joins("CF2", 7, 1).chain([numbered("CF2", 8, "conference-end", 2)]);
    let open = joins("CF3", 5, 1).chain([
        numbered("CF3", 6, "participant-leave", 2),
        numbered("CF3", 7, "participant-mute", 2),
    ]);
    // Of another account, and of one that has lost its joins.
    let theirs = joins("CF3", 3, 1).map(|event| Event { account: "AC2".to_owned(), ..event });
    let lost = [numbered("CF4", 1, "participant-leave", 1)];
    assert_eq!(store.reader.participants(at(0)).await, Ok(0), "none is open");
    store.store(of_old.into_iter().chain(over).chain(open).chain(theirs).chain(lost)).await;
    assert_eq!(store.reader.participants(at(0)).await, Ok(4));
}

async fn nothing_that_is_typed_breaks_a_search(store: Store<impl Sink>) {
    store.store([call("CA1", "busy", 1, "")]).await;
    for odd in ["'", "\"", "\\", "%", "_", "CA1\0", "\0", "é", "\u{10FFFF}", "+", "+\0", ":", "$1"]
    {
        assert!(store.typed(odd).await.is_empty(), "{odd:?}");
        let text = Some(odd.to_owned());
        let search = StatusSearch { status: text.clone(), ..StatusSearch::default() };
        assert!(store.sids(search).await.is_empty(), "{odd:?}");
        let search = EventSearch { sid: text, limit: 1, ..EventSearch::default() };
        assert!(store.reader.find_events(&search).await.expect("no error").is_empty());
    }
}
