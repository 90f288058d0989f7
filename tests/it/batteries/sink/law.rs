//! The law of the stores: `CurrentStatus::merge`, said once in Rust and once in SQL. Random events, in
//! random batches and orders, with repeats, must give both the rows that Rust folds.

use std::collections::{BTreeMap, HashSet};

use offhook::clock::Timestamp;
use offhook::event::{
    AttemptId, Batch, CurrentStatus, Differing, Event, EventId, EventKey, Fingerprint, Kind,
    Resource,
};
use offhook::pipeline::{Outcome, Sink as _};
use offhook::twilio::details::EventDetails;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::backends::{Backend, PostgresBackend, SqliteBackend, Store};
use crate::services::{Need, needs};

/// The rows that these events make, whatever their order.
pub(super) fn fold<'a>(events: impl IntoIterator<Item = &'a Event>) -> Vec<CurrentStatus> {
    let mut rows = BTreeMap::new();
    for current in events.into_iter().filter_map(|event| EventDetails::of(event).current) {
        merge(&mut rows, current);
    }
    rows.into_values().collect()
}

fn merge(rows: &mut BTreeMap<RowId, CurrentStatus>, current: CurrentStatus) {
    let id = row_id(&current);
    let merged = match rows.remove(&id) {
        Some(known) => known.merge(current),
        None => current,
    };
    rows.insert(id, merged);
}

/// Whose row it is.
type RowId = (String, String);

fn row_id(row: &CurrentStatus) -> RowId {
    let (sid, account) = row.id();
    (sid.to_owned(), account.to_owned())
}

/// What a store has to be like: the law, and nothing else.
#[derive(Default)]
struct Model {
    events: BTreeMap<EventId, Event>,
    statuses: BTreeMap<RowId, CurrentStatus>,
    wakes: Vec<(String, String, String)>,
}

impl Model {
    fn commit(&mut self, batch: &Batch) -> Outcome {
        let is_fresh = |event: &Event| !self.events.contains_key(&event.id());
        let fresh: Vec<bool> = batch.events().iter().map(is_fresh).collect();
        let kept = |event: &Event| self.events.get(&event.id());
        let differs =
            |event| kept(event).and_then(|kept: &Event| Differing::of(event, kept.fingerprint));
        let differing = batch.events().iter().filter_map(differs).collect();
        let mut ended = HashSet::new();
        let before = self.statuses.clone();
        let mut said: BTreeMap<RowId, CurrentStatus> = BTreeMap::new();
        for (event, _) in batch.events().iter().zip(&fresh).filter(|(_, fresh)| **fresh) {
            self.events.insert(event.id(), event.clone());
            let sid = event.sid.clone().unwrap_or_default();
            self.wakes.extend(event.attempt.map(|id| (id.to_string(), sid, event.account.clone())));
            let Some(current) = EventDetails::of(event).current else { continue };
            if current.terminals != 0 {
                ended.insert(row_id(&current));
            }
            merge(&mut said, current.clone());
            merge(&mut self.statuses, current);
        }
        let contradicted = ended.iter().filter(|id| self.statuses[*id].is_contradicted()).count();
        let is_late = |said: &&CurrentStatus| {
            before.get(&row_id(said)).is_some_and(|before| before.position > said.position)
        };
        let late = said.values().filter(is_late).count();
        Outcome::Stored { fresh, contradicted, late, differing }
    }
}

/// Few SIDs, so that there is much to merge, and a resource for each.
fn subject() -> impl Strategy<Value = (Resource, &'static str, &'static str)> {
    use Resource::{Call, Conference, Message, Recording, Transcription};
    let of = |resource, sid, statuses: &[&'static str]| {
        (Just(resource), Just(sid), prop::sample::select(statuses.to_vec()))
    };
    let call = ["queued", "ringing", "in-progress", "completed", "busy", "no-answer", "unheard-of"];
    let message = ["sent", "delivered", "undelivered", "failed", "canceled", "read", "unheard-of"];
    prop_oneof![
        4 => of(Call, "CA1", &call),
        4 => of(Message, "SM1", &message),
        2 => of(Message, "SM2", &message),
        1 => of(Recording, "RE1", &["in-progress", "completed", "absent", "failed", "deleted"]),
        1 => of(Conference, "CF1", &["participant-join", "participant-leave", "conference-end"]),
        1 => of(Transcription, "GT1", &["transcription-content", "transcription-error"]),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    // Few values, so that many positions are equal but for one part, and some wholly.
    let number = || prop_oneof![8 => 0i64..2, 1 => Just(i64::MIN), 1 => Just(i64::MAX)];
    let time = move || number().prop_map(Timestamp::from_micros);
    let text = || prop::option::of(prop::sample::select(vec!["", "a", "B", "%C3%A9", "%00", "~"]));
    let code = prop::option::of(prop::sample::select(vec!["", "0", "9", "30003", "30005"]));
    let duration = prop::option::of(prop::sample::select(vec!["0", "7", "12", "x", "-1"]));
    let account = prop::sample::select(vec!["AC1", "AC2"]);
    let direction = prop::option::of(prop::sample::select(vec!["inbound", "outbound-api"]));
    (
        subject(),
        (prop::option::of(number()), prop::option::of(time()), time()),
        (text(), text(), code, duration, account, direction),
        (any::<bool>(), prop::option::of(0i64..2), prop::option::of(0u128..2)),
    )
        .prop_map(|((resource, sid, status), times, texts, (moves, fingerprint, attempt))| {
            let (sequence, occurred_at, received_at) = times;
            let (from, to, code, duration, account, direction) = texts;
            let fields = [
                ("From", from),
                ("To", to),
                ("Direction", direction),
                ("ErrorCode", code),
                ("CallDuration", duration),
            ];
            let pairs =
                fields.iter().filter_map(|(name, value)| Some(format!("{name}={}", (*value)?)));
            Event {
                fingerprint: fingerprint.map(Fingerprint::from_i64),
                attempt: attempt.map(AttemptId::new),
                sid: Some(sid.to_owned()), // One in eight moves no status, such as an AMD callback.
                resource: (moves || sequence.is_some()).then_some(resource),
                status: Some(status.to_owned()),
                sequence,
                occurred_at,
                received_at,
                body: pairs.collect::<Vec<_>>().join("&").into(),
                ..Event::new(EventKey::of(&[sid]).expect("printable"), Kind::Other, account)
            }
        })
}

/// Deliveries in batches: each event at least once, some of them again, in any order.
fn batches() -> impl Strategy<Value = Vec<Vec<Event>>> {
    prop::collection::vec(event(), 1..24)
        .prop_map(|events| {
            // Two at most share a name: of one account they are one event, and of two they are two.
            let number = |(n, event): (usize, Event)| Event {
                key: EventKey::of(&[event.key.as_str(), &(n / 2).to_string()]).expect("printable"),
                ..event
            };
            events.into_iter().enumerate().map(number).collect::<Vec<_>>()
        })
        .prop_flat_map(|events| {
            let again = prop::collection::vec(prop::sample::select(events.clone()), 0..8);
            again.prop_flat_map(move |again| Just([events.clone(), again].concat()).prop_shuffle())
        })
        .prop_flat_map(|deliveries| {
            let cuts = prop::collection::vec(1usize..9, deliveries.len());
            cuts.prop_map(move |cuts| {
                let mut rest = deliveries.as_slice();
                let mut batches = Vec::new();
                for cut in cuts {
                    let (batch, later) = rest.split_at(cut.min(rest.len()));
                    batches.push(batch.to_vec());
                    rest = later;
                }
                batches
            })
        })
}

/// Enough to find each of a dozen mistakes that were put into the SQL; each takes some 30 ms.
const CASES: u32 = 150;

/// Runs random deliveries through a store and through the model, and compares all that can be
/// seen of them.
async fn obeys_the_law<B: Store>(
    backend: &B,
    sink: &B::Sink,
    batches: Vec<Vec<Event>>,
) -> Result<(), TestCaseError> {
    let mut model = Model::default();
    for mut events in batches {
        let Some(batch) = Batch::take_from(&mut events) else { continue };
        let outcome = offhook::pipeline::Sink::commit(sink, &batch).await;
        prop_assert_eq!(outcome, Ok(model.commit(&batch)));
    }
    model.wakes.sort();
    prop_assert_eq!(backend.wakes().await, model.wakes);
    let contents = backend.contents().await;
    prop_assert_eq!(&contents.events, &model.events.into_values().collect::<Vec<_>>());
    prop_assert_eq!(&contents.statuses, &model.statuses.into_values().collect::<Vec<_>>());
    prop_assert_eq!(&contents.statuses, &fold(&contents.events));
    let columns =
        |row: &CurrentStatus| (row.position.status.clone(), row.is_final(), row.is_contradicted());
    let expected: Vec<_> = contents.statuses.iter().map(columns).collect();
    prop_assert_eq!(backend.columns().await, expected);
    Ok(())
}

macro_rules! law {
    ($name:ident, $backend:ident) => {
        #[test]
        fn $name() {
            const NEEDS: &[Need] = <$backend as Backend>::NEEDS;
            needs!(all NEEDS);
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            let (backend, sink) = runtime.block_on(async {
                let backend = $backend::start().await;
                let sink = backend.sink().await;
                (backend, sink)
            });
            let mut runner = TestRunner::new(Config::with_cases(CASES));
            let ran = runner.run(&batches(), |batches| {
                runtime.block_on(async {
                    backend.clear().await;
                    obeys_the_law(&backend, &sink, batches).await
                })
            });
            ran.unwrap_or_else(|broken| panic!("{broken}"));
            runtime.block_on(async { drop((backend, sink)) });
        }
    };
}

law!(sqlite_merges_as_rust_does, SqliteBackend);
law!(postgres_merges_as_rust_does, PostgresBackend);

async fn the_first_to_be_stored_stays<B: Backend>() {
    let backend = B::start().await;
    let sink = backend.sink().await;
    let first = super::events::call(1, "ringing");
    let again = Event { received_at: Timestamp::from_micros(1), ..first.clone() };
    for (event, is_fresh) in [(&first, true), (&again, false)] {
        let outcome = sink.commit(&Batch::from(event.clone())).await.expect("the store is there");
        assert_eq!(outcome, stored(is_fresh, Vec::new()));
    }
    let contents = backend.contents().await;
    assert_eq!(contents.events, std::slice::from_ref(&first));
    assert_eq!(contents.statuses, fold([&first]), "a duplicate moves nothing");
}

/// Of one event.
fn stored(fresh: bool, differing: Vec<Differing>) -> Outcome {
    Outcome::Stored { fresh: vec![fresh], contradicted: 0, late: 0, differing }
}

async fn a_duplicate_that_says_something_else_is_told<B: Backend>() {
    let backend = B::start().await;
    let sink = backend.sink().await;
    let with = |fingerprint: Option<i64>| Event {
        fingerprint: fingerprint.map(Fingerprint::from_i64),
        ..super::events::call(1, "ringing")
    };
    let (kept, came) = (Fingerprint::from_i64(-1), Fingerprint::from_i64(7));
    let differing = Differing { event: with(None).id(), kept, came };
    for (event, fresh, differing) in [
        (with(Some(-1)), true, vec![]),
        (with(Some(-1)), false, vec![]),
        (with(None), false, vec![]),
        (with(Some(7)), false, vec![differing]),
    ] {
        let outcome = sink.commit(&Batch::from(event)).await.expect("the store is there");
        assert_eq!(outcome, stored(fresh, differing));
    }
    assert_eq!(backend.contents().await.events, [with(Some(-1))]);
}

async fn differing_duplicates_are_told_in_the_order_of_the_batch<B: Backend>() {
    let backend = B::start().await;
    let sink = backend.sink().await;
    let commit = async |calls: std::ops::Range<u32>, fingerprint| {
        let of = |n| Event {
            fingerprint: Some(Fingerprint::from_i64(fingerprint)),
            ..super::events::call(n, "ringing")
        };
        let batch = Batch::take_from(&mut calls.map(of).collect()).expect("not empty");
        let outcome = sink.commit(&batch).await.expect("the store is there");
        let Outcome::Stored { differing, .. } = outcome else { panic!("not a store") };
        let told: Vec<_> = differing.into_iter().map(|differing| differing.event).collect();
        (told, batch.events().iter().map(Event::id).collect::<Vec<_>>())
    };
    // The rows lie in another order than they are asked for.
    for calls in [20..30, 10..20, 0..10] {
        assert_eq!(commit(calls, 1).await.0, []);
    }
    let (told, sent) = commit(0..30, 2).await;
    assert_eq!(told, sent);
}

async fn a_sid_that_two_accounts_report_is_two_rows<B: Backend>() {
    let backend = B::start().await;
    let sink = backend.sink().await;
    let ours = super::events::call(1, "completed");
    let theirs = Event {
        account: "AC99".to_owned(),
        body: format!(
            "CallSid={}&CallStatus=completed&From=%2B1999",
            ours.sid.as_deref().expect("a call has one")
        )
        .into(),
        ..ours.clone()
    };
    // Theirs first, and both at once: neither hides the other.
    for events in [vec![theirs.clone()], vec![ours.clone(), theirs.clone()]] {
        let mut events = events;
        let batch = Batch::take_from(&mut events).expect("not empty");
        sink.commit(&batch).await.expect("the store is there");
    }
    let contents = backend.contents().await;
    assert_eq!(contents.events.len(), 2);
    assert_eq!(contents.statuses, fold([&ours, &theirs]));
    assert_eq!(contents.statuses.len(), 2);
}

/// The inputs of a message whose segments failed each in its own way.
fn segments() -> Vec<Event> {
    let of = |code: Option<&str>, at: Option<i64>| {
        let key = EventKey::of(&["SM1", "undelivered", code.unwrap_or("0")]).expect("printable");
        let code = code.map_or(String::new(), |code| format!("&ErrorCode={code}"));
        let body = format!("MessageSid=SM1&MessageStatus=undelivered{code}");
        Event {
            sid: Some("SM1".to_owned()),
            resource: Some(Resource::Message),
            status: Some("undelivered".to_owned()),
            occurred_at: at.map(Timestamp::from_micros),
            body: body.into(),
            ..Event::new(key, Kind::Message, "AC1")
        }
    };
    vec![of(None, None), of(Some("30008"), Some(1)), of(Some("30003"), Some(2))]
}

async fn the_error_of_a_row_goes_by_twilios_time<B: Backend>() {
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let backend = B::start().await;
        let sink = backend.sink().await;
        for at in order {
            let batch = Batch::from(segments()[at].clone());
            sink.commit(&batch).await.expect("the store is there");
        }
        let contents = backend.contents().await;
        assert_eq!(contents.events.len(), 3);
        let row = &contents.statuses[0];
        assert_eq!(row.error.as_ref().map(|error| error.code.as_str()), Some("30003"), "{order:?}");
        assert!(!row.is_contradicted());
    }
}

super::battery!(
    sqlite,
    SqliteBackend:
    the_first_to_be_stored_stays,
    a_duplicate_that_says_something_else_is_told,
    differing_duplicates_are_told_in_the_order_of_the_batch,
    a_sid_that_two_accounts_report_is_two_rows,
    the_error_of_a_row_goes_by_twilios_time
);
super::battery!(
    postgres,
    PostgresBackend:
    the_first_to_be_stored_stays,
    a_duplicate_that_says_something_else_is_told,
    differing_duplicates_are_told_in_the_order_of_the_batch,
    a_sid_that_two_accounts_report_is_two_rows,
    the_error_of_a_row_goes_by_twilios_time
);
