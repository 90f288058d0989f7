//! The change feed, of both stores alike: one row per fresh event, in the order of commits.

mod places;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use offhook::backend::Feed;
use offhook::backend::feed::{FeedError, FeedPage, From, Gone};
use offhook::backend::forwards::{Claim, Claimed, GivenUp, Progress, Waiting};
use offhook::clock::Timestamp;
use offhook::event::{
    AttemptId, Batch, Change, Cursor, Event, EventKey, FeedId, Kind, Method, Own, Request,
    Resource, Route,
};
use offhook::pipeline::Sink as _;
use offhook::pipeline::expiry::{Expire as _, Step};

use self::places::{Place, PostgresPlace, SqlitePlace};
use crate::harness::until;
use crate::services::needs;

/// One test per store of each `async fn name<P: Place>(place: P)`.
macro_rules! both_stores {
    ($($name:ident),+ $(,)?) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(super::SqlitePlace::start().await).await;
            })+
        }
        mod scale_out {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::needs!(Postgres);
                super::$name(super::PostgresPlace::start().await).await;
            })+
        }
    };
}

both_stores![
    a_change_says_where_its_sid_stood_before_and_after,
    an_event_that_moves_nothing_has_a_change_all_the_same,
    what_the_application_put_into_the_url_is_decoded,
    a_duplicate_has_no_change,
    a_reader_beside_many_writers_misses_nothing,
    a_cursor_that_is_no_good_is_an_error,
    what_retention_cuts_is_told_to_those_who_had_not_read_it,
    a_purge_leaves_nothing_in_the_feed,
    a_wake_that_is_not_taken_ends_with_the_feed_or_with_a_purge,
];

fn message(sid: &str, status: &str, query: &str) -> Event {
    let key = EventKey::of(&[sid, status]).expect("printable");
    Event {
        sid: Some(sid.to_owned()),
        resource: Some(Resource::Message),
        status: Some(status.to_owned()),
        received_at: Timestamp::from_micros(1_795_500_000_000_000),
        query: query.to_owned(),
        body: format!("MessageSid={sid}&MessageStatus={status}&ErrorCode=30003&To=%2B15550100")
            .into(),
        ..Event::new(key, Kind::Message, "AC1")
    }
}

fn debugger(n: u32, query: &str) -> Event {
    let key = EventKey::of(&["debugger", &n.to_string()]).expect("printable");
    Event { query: query.to_owned(), ..Event::new(key, Kind::Debugger, "AC1") }
}

async fn commit(place: &impl Place, events: impl IntoIterator<Item = Event>) {
    let mut events: Vec<Event> = events.into_iter().collect();
    while let Some(batch) = Batch::take_from(&mut events) {
        place.sink().commit(&batch).await.expect("the store is there");
    }
}

async fn all(feed: &Feed) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut from = From::Start;
    loop {
        let FeedPage { changes: page, next } =
            feed.changes(&from, 7).await.expect("nothing is missing");
        if page.is_empty() {
            return changes;
        }
        changes.extend(page);
        from = From::After(next);
    }
}

/// `status`, `previous`, `current` and whether it moved.
fn told(changes: &[Change]) -> Vec<(&str, Option<&str>, Option<&str>, bool)> {
    changes
        .iter()
        .map(|change| {
            let status = change.status.as_deref().unwrap_or_default();
            (status, change.previous.as_deref(), change.current.as_deref(), change.moved)
        })
        .collect()
}

async fn a_change_says_where_its_sid_stood_before_and_after<P: Place>(place: P) {
    let say = |statuses: &[&str]| -> Vec<Event> {
        statuses.iter().map(|status| message("SM1", status, "")).collect()
    };
    commit(&place, say(&["queued", "sent"])).await;
    commit(&place, say(&["undelivered", "sending"])).await;
    commit(&place, say(&["accepted"])).await;
    let changes = all(&place.feed()).await;
    assert_eq!(
        told(&changes),
        [
            ("queued", None, Some("sent"), false),
            ("sent", None, Some("sent"), true),
            ("sending", Some("sent"), Some("undelivered"), false),
            ("undelivered", Some("sent"), Some("undelivered"), true),
            ("accepted", Some("undelivered"), Some("undelivered"), false),
        ]
    );
    assert!(changes.is_sorted_by(|a, b| a.id < b.id));
    assert!(changes.is_sorted_by(|a, b| a.stored_at <= b.stored_at));
    let last = changes.last().expect("five");
    assert_eq!(last.sid.as_deref(), Some("SM1"));
    assert_eq!((last.account.as_str(), last.key.as_str()), ("AC1", "SM1-accepted"));
    assert_eq!((last.kind, last.resource), (Kind::Message, Some(Resource::Message)));
    assert_eq!(last.error_code.as_deref(), Some("30003"));
}

/// What Twilio asks about a SID, which says nothing of its status.
fn asks(sid: &str, n: u32) -> Event {
    let key = EventKey::of(&[sid, "asks", &n.to_string()]).expect("printable");
    Event { sid: Some(sid.to_owned()), ..Event::new(key, Kind::TwimlRequest, "AC1") }
}

async fn an_event_that_moves_nothing_has_a_change_all_the_same<P: Place>(place: P) {
    commit(&place, [debugger(1, ""), asks("SM1", 1)]).await;
    let changes = all(&place.feed()).await;
    assert_eq!(told(&changes), [("", None, None, false); 2]);
    let sids: Vec<_> = changes.iter().map(|change| change.sid.as_deref()).collect();
    assert_eq!(sids, [None, Some("SM1")]);

    // Where its SID stands it says all the same: alone, and beside what moves that or another.
    commit(&place, [message("SM1", "sent", ""), message("SM2", "queued", ""), asks("SM2", 1)])
        .await;
    commit(&place, [asks("SM1", 2), asks("SM3", 1), message("SM2", "sent", "")]).await;
    commit(&place, [asks("SM1", 3), message("SM1", "delivered", ""), asks("SM2", 2)]).await;
    // What is stored already has none, whatever it says.
    commit(&place, [asks("SM1", 2), message("SM2", "queued", "")]).await;
    commit(&place, [Event { account: "AC2".to_owned(), ..asks("SM1", 4) }]).await;
    let changes = all(&place.feed()).await;
    let of = |sid: &str| -> Vec<Change> {
        let of_sid = changes.iter().skip(2).filter(|change| change.sid.as_deref() == Some(sid));
        of_sid.cloned().collect()
    };
    let (sent, delivered) = (Some("sent"), Some("delivered"));
    assert_eq!(
        told(&of("SM1")),
        [
            ("sent", None, sent, true),
            ("", sent, sent, false),
            ("", sent, delivered, false),
            ("delivered", sent, delivered, true),
            ("", None, None, false),
        ]
    );
    let queued = Some("queued");
    assert_eq!(
        told(&of("SM2")),
        [
            ("", None, queued, false),
            ("queued", None, queued, true),
            ("sent", queued, sent, true),
            ("", sent, sent, false),
        ]
    );
    assert_eq!(told(&of("SM3")), [("", None, None, false)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_moves_nothing_says_what_was_committed_before_it() {
    needs!(Postgres);
    let place = PostgresPlace::start().await;
    commit(&place, [message("SM1", "sent", ""), message("SM2", "delivered", "")]).await;
    // Another worker is about to commit: it has taken its ids.
    let mut other = place.plain.begin().await.expect("the server is there");
    for statement in [
        "SELECT pg_advisory_xact_lock(6033425111904)",
        "UPDATE statuses SET status = known.status, position = known.position \
         FROM statuses AS known WHERE statuses.sid = 'SM1' AND known.sid = 'SM2'",
    ] {
        sqlx::query(statement).execute(&mut *other).await.expect("the tables are there");
    }
    let ours = commit(&place, [asks("SM1", 1)]);
    let theirs = async {
        until("it waits for its turn", async || {
            let waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
            let waits: i64 = sqlx::query_scalar(waits).fetch_one(&place.plain).await.ok()?;
            (waits == 1).then_some(())
        })
        .await;
        other.commit().await.expect("the server is there");
    };
    tokio::join!(ours, theirs);
    let changes = all(&place.feed()).await;
    let last = changes.last().cloned().expect("it has one");
    assert_eq!(told(&[last]), [("", Some("delivered"), Some("delivered"), false)]);
}

async fn what_the_application_put_into_the_url_is_decoded<P: Place>(place: P) {
    let odd = "order_id=A-1002+%2F+%C3%BC%2Bx%26y&tag=a&tag=b&offhook_x=1&bodySHA256=0f&=1&z=%00";
    let own = r#"{"order_id":"A-1002 / ü+x&y","tag":["a","b"],"z":"�"}"#;
    commit(&place, [message("SM1", "sent", odd)]).await;
    commit(&place, [message("SM1", "delivered", ""), message("SM2", "sent", "")]).await;
    let get = Event {
        request: Some(Request {
            method: Method::Get,
            route: Route::ALL[0],
            idempotency_token: None,
        }),
        body: "order_id=7&MessageSid=SM3&MessageStatus=sent".into(),
        ..message("SM3", "sent", "")
    };
    commit(&place, [get]).await;
    let of_changes: BTreeMap<_, _> = all(&place.feed())
        .await
        .into_iter()
        .map(|change| (change.key.to_string(), change.own.map(|own| own.as_str().to_owned())))
        .collect();
    let of = |key: &str| of_changes[key].as_deref();
    assert_eq!(of("SM1-sent"), Some(own));
    assert_eq!((of("SM1-delivered"), of("SM2-sent")), (None, None));
    assert_eq!(of("SM3-sent"), Some(r#"{"order_id":"7"}"#));
    let own = Own::parse(own).expect("an object");
    for (sid, expected) in [("SM1", Some(&own)), ("SM2", None)] {
        let status = place.reads().statuses_of(sid).await.expect("it can be read").remove(0);
        assert_eq!(status.own.map(|own| own.parameters).as_ref(), expected, "{sid}");
    }
    let events = place.reads().events_of("SM1", None, 9).await.expect("it can be read");
    assert_eq!(events.iter().filter(|event| event.own.as_ref() == Some(&own)).count(), 1);
}

async fn a_duplicate_has_no_change<P: Place>(place: P) {
    commit(&place, [message("SM1", "sent", "")]).await;
    commit(&place, [message("SM1", "sent", ""), message("SM2", "sent", "")]).await;
    commit(&place, [message("SM1", "sent", "")]).await;
    assert_eq!(all(&place.feed()).await.len(), 2);
}

/// Each writer has SIDs of its own and shares others, and the reader goes on from the last id that it has seen.
async fn a_reader_beside_many_writers_misses_nothing<P: Place>(place: P) {
    const WRITERS: u32 = 4;
    const BATCHES: u32 = 30;
    let place = std::sync::Arc::new(place);
    let mut writing = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let place = std::sync::Arc::clone(&place);
        writing.spawn(async move {
            for n in 0..BATCHES {
                let own = format!("SM{writer}-{n}");
                let shared = format!("SMs{}", n / 2);
                let status = ["queued", "sending", "sent", "delivered"][writer as usize];
                commit(&*place, [message(&own, "sent", ""), message(&shared, status, "")]).await;
                commit(&*place, [asks(&shared, writer * BATCHES + n)]).await;
            }
        });
    }
    let feed = place.feed();
    let (mut from, mut seen, mut ids) = (From::Start, BTreeSet::new(), Vec::new());
    let mut done = false;
    loop {
        let page = feed.changes(&from, 5).await.expect("nothing is missing");
        if page.changes.is_empty() && done {
            break;
        }
        done = writing.is_empty();
        while let Some(ended) = writing.try_join_next() {
            ended.expect("a writer");
        }
        ids.extend(page.changes.iter().map(|change| change.id));
        for change in page.changes {
            assert!(seen.insert(change.key.to_string()), "{change:?} came twice");
        }
        from = From::After(page.next);
    }
    assert!(ids.is_sorted_by(|a, b| a < b));
    // A pair of batches says the same of a shared SID.
    assert_eq!(seen.len() as u32, WRITERS * (2 * BATCHES + BATCHES / 2));
    // What one change says that its SID became is what the next one that found it moved says that it was.
    let mut statuses: BTreeMap<String, Option<String>> = BTreeMap::new();
    for change in all(&feed).await {
        let sid = change.sid.clone().expect("a message");
        let known = statuses.insert(sid, change.current.clone());
        assert_eq!(known.unwrap_or_default(), change.previous, "{change:?}");
    }
}

async fn a_cursor_that_is_no_good_is_an_error<P: Place>(place: P) {
    let feed = place.feed();
    let start = feed.end().await.expect("it can be read");
    assert_eq!(start.id, 0);
    let read = async |cursor: Cursor| feed.changes(&From::After(cursor), 10).await;
    assert_eq!(read(start.clone()).await.expect("it is the end").changes, []);
    commit(&place, [message("SM1", "sent", "")]).await;
    let end = feed.end().await.expect("it can be read");
    let page = read(start.clone()).await.expect("nothing is missing");
    assert_eq!((page.changes.len(), &page.next), (1, &end));
    assert_eq!(read(end.clone()).await.expect("it is the end").next, end);
    let gone = async |cursor: Cursor| match read(cursor).await {
        Err(FeedError::Gone(gone)) => gone,
        other => panic!("{other:?}"),
    };
    let other = FeedId::parse("0").expect("a digit");
    assert_eq!(gone(Cursor { feed: other, ..start.clone() }).await, Gone::OtherFeed);
    assert_eq!(gone(Cursor { id: end.id + 1, ..start }).await, Gone::BeyondTheEnd);
}

async fn what_retention_cuts_is_told_to_those_who_had_not_read_it<P: Place>(place: P) {
    let feed = place.feed();
    let start = feed.end().await.expect("it can be read");
    commit(&place, (0..1200).map(|n| debugger(n, ""))).await;
    let end = feed.end().await.expect("it can be read");
    let before = place.feed().changes(&From::Start, 1).await.expect("all is there");
    let late = Timestamp::from_micros(i64::MAX / 2);
    let mut retention = place.feed_retention();
    let first = before.changes[0].stored_at;
    assert_eq!(retention.step(first).await, Ok(Step::Done(0)), "nothing is older than the first");
    let mut deleted = 0;
    while let Step::More(more) = retention.step(late).await.expect("the store is there") {
        deleted += more;
        let behind = From::After(Cursor { id: start.id, ..end.clone() });
        assert_eq!(feed.changes(&behind, 1).await, Err(FeedError::Gone(Gone::Cut)));
    }
    assert!(deleted > 0);
    assert_eq!(feed.end().await.as_ref(), Ok(&end), "the end stays where it is");
    let page = feed.changes(&From::After(end.clone()), 1).await.expect("it had read everything");
    assert_eq!((page.changes.len(), &page.next), (0, &end));
    let page = feed.changes(&From::Start, 1).await.expect("what is kept");
    assert_eq!((page.changes.len(), &page.next), (0, &end));
    commit(&place, [debugger(5000, "")]).await;
    assert_eq!(feed.changes(&From::After(end), 9).await.expect("a new one").changes.len(), 1);
}

async fn a_purge_leaves_nothing_in_the_feed<P: Place>(place: P) {
    let other = Event {
        body: "MessageSid=SM2&MessageStatus=sent&To=%2B15550199".into(),
        ..message("SM2", "sent", "")
    };
    commit(&place, [message("SM1", "sent", ""), message("SM1", "delivered", ""), other]).await;
    commit(&place, [debugger(1, "to=%2B15550100"), debugger(2, "")]).await;
    let end = place.feed().end().await.expect("it can be read");
    // One forward has all of them in both of its lists.
    let forwards = place.store().forwards();
    forwards.create("app", &Cursor { id: 0, ..end.clone() }).await.expect("a new one");
    let (forward, holder) = ("app".to_owned(), "one".to_owned());
    let claim = Claim { forward, holder, lasts: Duration::from_secs(60) };
    assert!(matches!(forwards.claim(&claim).await, Ok(Claimed::Held(_))));
    let feed = all(&place.feed()).await;
    let waiting = feed.iter().map(|change| Waiting {
        change: change.id,
        account: change.account.clone(),
        sid: change.sid.clone(),
        tries: 1,
        due_in: None,
    });
    let given_up = feed.iter().map(|change| GivenUp {
        change: change.id,
        account: change.account.clone(),
        sid: change.sid.clone(),
        tries: 1,
        failure: "timeout".to_owned(),
    });
    let waits = Progress { cursor: end.id, waiting: waiting.collect(), ..Progress::default() };
    forwards.write(&claim, &waits).await.expect("the store is there");
    let gave_up = Progress { cursor: end.id, given_up: given_up.collect(), ..Progress::default() };
    forwards.write(&claim, &gave_up).await.expect("the store is there");
    forwards.write(&claim, &waits).await.expect("the store is there");

    place.purge("+15550100").await;
    for list in [
        forwards.list_waiting("app", 0, 10).await.expect("it can be read"),
        forwards.list_given_up("app", 0, 10).await.expect("it can be read"),
    ] {
        let sids: Vec<_> = list.iter().map(|row| row.sid.as_deref()).collect();
        assert_eq!(sids, [Some("SM2"), None]);
    }
    let left = all(&place.feed()).await;
    let keys: Vec<_> = left.iter().map(|change| change.key.as_str()).collect();
    assert_eq!(keys, ["SM2-sent", "debugger-2"]);
    // Nothing is cut: what is gone was somebody's to take away, and its readers go on.
    let page = place.feed().changes(&From::After(end), 9).await.expect("nothing is missing");
    assert_eq!(page.changes, []);
}

async fn a_wake_that_is_not_taken_ends_with_the_feed_or_with_a_purge<P: Place>(place: P) {
    let of = |event: Event, id: u128| Event { attempt: Some(AttemptId::new(id)), ..event };
    let other = Event {
        body: "MessageSid=SM2&MessageStatus=sent&To=%2B15550199".into(),
        ..message("SM2", "sent", "")
    };
    let events = [message("SM1", "sent", ""), message("SM1", "delivered", ""), other];
    commit(&place, events.into_iter().map(|event| of(event, 1))).await;
    assert_eq!(place.wakes().await, ["SM1", "SM1", "SM2"]);
    place.purge("+15550100").await;
    assert_eq!(place.wakes().await, ["SM2"]);

    let mut retention = place.feed_retention();
    let before = place.feed().changes(&From::Start, 1).await.expect("all is there");
    let first = before.changes[0].stored_at;
    let before = first.before(Duration::from_secs(1));
    retention.step(before).await.expect("the store is there");
    assert_eq!(place.wakes().await, ["SM2"], "it is as young as its change");
    commit(&place, (0..1200).map(|n| of(message(&format!("SMx{n}"), "sent", ""), n))).await;
    let late = Timestamp::from_micros(i64::MAX / 2);
    while let Step::More(_) = retention.step(late).await.expect("the store is there") {}
    assert!(place.wakes().await.is_empty());
}
