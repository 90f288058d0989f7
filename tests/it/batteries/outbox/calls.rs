//! Calls: how many there are at a time, what confirms one, and its cancellation while it rings.

use offhook::backend::outbox::{HangUp, HungUp};
use offhook::dispatch::call::{CallPlan, Lines};
use offhook::dispatch::{Channel, Confirm};
use offhook::event::Callee;

use super::*;

const CALLS: &str = "calls:AC1";

fn lines(limit: u32) -> Lines {
    Lines { limits: [(ACCOUNT.to_owned(), limit)].into(), max_age: HOUR }
}

fn call(n: u128, confirm: Confirm) -> NewNotification {
    let call = CallPlan {
        confirm,
        language: Some("en-GB".to_owned()),
        voice: None,
        timeout_s: 30,
        time_limit_s: 120,
    };
    NewNotification { pace: CALLS.to_owned(), channel: Channel::Call, call: Some(call), ..new(n) }
}

fn claim(limit: Option<u32>) -> ClaimAsk {
    ClaimAsk { pace: CALLS.to_owned(), lines: limit.map(lines), ..claim_ask("a") }
}

/// What the gates say that look at nothing else.
fn a_free_line(known: &Known, now: Timestamp) -> Gated {
    let calls = known.calls.as_ref().expect("it is a call");
    match calls.open >= calls.limit.into() {
        true => Gated::Hold { gate: "calls_limit", until: now },
        false => Gated::Pass,
    }
}

fn sid(n: u128) -> String {
    format!("CA{n:032x}")
}

/// A callback of a call.
fn callback(sid: &str, status: &str, attempt: Option<u128>) -> Event {
    let key = EventKey::of(&[sid, status]).expect("printable");
    Event {
        sid: Some(sid.to_owned()),
        resource: Some(Resource::Call),
        status: Some(status.to_owned()),
        received_at: Timestamp::parse_rfc3339("2089-01-01T00:00:00Z").expect("a time"),
        attempt: attempt.map(AttemptId::new),
        ..Event::new(key, Kind::Call, ACCOUNT)
    }
}

/// What a callee has done.
fn does(n: u128, callee: Callee) -> Event {
    let key = EventKey::of(&["twiml_request", callee.as_str(), &n.to_string()]);
    Event {
        sid: Some(sid(n)),
        attempt: Some(AttemptId::new(n)),
        callee: Some(callee),
        ..Event::new(key.expect("printable"), Kind::TwimlRequest, ACCOUNT)
    }
}

async fn hear(store: &Store, events: impl IntoIterator<Item = Event>) -> Settled {
    for event in events {
        store.store(event).await;
    }
    store.outbox.settle().await.expect("the store is there")
}

/// Twilio has the call of a new notification.
async fn ringing(store: &Store, n: u128, confirm: Confirm) {
    let outbox = &store.outbox;
    assert_eq!(outbox.ask(&call(n, confirm)).await, Ok(Asked::Kept));
    claimed(outbox, &claim(None)).await;
    let written = write(outbox, &write_ask(outbox, "a", &[AttemptId::new(n)]).await).await;
    let [Written::Send(letter)] = &written[..] else { panic!("{written:?}") };
    assert_eq!(
        letter.call.as_ref().map(|plan| (plan.confirm, plan.timeout_s)),
        Some((confirm, 30))
    );
    answer(outbox, AttemptId::new(n), created(n)).await;
}

fn created(n: u128) -> Outcome {
    let event = Event { attempt: Some(AttemptId::new(n)), ..callback(&sid(n), "queued", None) };
    Outcome::Accepted { sid: sid(n), event: Box::new(event) }
}

async fn stands(store: &Store, n: u128) -> (NotificationState, Option<String>) {
    let found = store.outbox.find(&format!("ntf_{n}")).await.expect("the store");
    let (notification, attempts) = found.expect("it is kept");
    assert_eq!((attempts[0].channel, attempts[0].step), (Channel::Call, 1));
    (notification.state, attempts[0].reason.clone())
}

pub(super) async fn there_are_never_more_open_calls_than_lines(store: Store) {
    let outbox = &store.outbox;
    for n in 1..=5 {
        outbox.ask(&call(n, Confirm::Digit)).await.expect("kept");
    }
    // A call of the account that offhook has not made.
    hear(&store, [callback("CA9", "ringing", None)]).await;
    let ids: Vec<AttemptId> =
        claimed(outbox, &claim(None)).await.claimed.iter().map(|claim| claim.id).collect();
    assert_eq!(ids.len(), 5);
    // Two processes at once.
    let mut groups = Vec::new();
    for ids in [&ids[..3], &ids[3..]] {
        groups.push(WriteAsk { lines: lines(3), ..write_ask(outbox, "a", ids).await });
    }
    let (one, two) = tokio::join!(
        outbox.write(&groups[0], &a_free_line),
        outbox.write(&groups[1], &a_free_line)
    );
    let written = [one.expect("the store"), two.expect("the store")].concat();
    let sent = written.iter().zip(&ids).filter(|(it, _)| matches!(it, Written::Send(_)));
    let sent: Vec<AttemptId> = sent.map(|(_, id)| *id).collect();
    assert_eq!(sent.len(), 2, "{written:?}");
    let held = written.iter().filter(|it| **it == Written::Held("calls_limit"));
    assert_eq!(held.count(), 3);

    let claims = async || outbox.claim(&claim(Some(3))).await.expect("the store").claimed;
    assert_eq!(claims().await, [], "all lines are taken");
    // Twilio refuses one, another one is answered, confirmed and not over, and the other call ends.
    let failed = Outcome::Failed { reason: "13227".to_owned(), stop: None };
    answer(outbox, sent[0], failed).await;
    assert_eq!(claimed(outbox, &claim(Some(3))).await.claimed.len(), 1, "one line is free");
    assert_eq!(claims().await, [], "and claimed");
    hear(&store, [callback("CA9", "completed", None)]).await;
    assert_eq!(claimed(outbox, &claim(Some(3))).await.claimed.len(), 1);
    assert_eq!(claims().await, []);
}

pub(super) async fn a_call_is_confirmed_by_what_was_asked_for(store: Store) {
    use Callee::{Human, Machine, PressedOne, PressedOther};
    use NotificationState::{Confirmed, Failed, Open, Unconfirmed};
    let check = async |n: u128, expected: (NotificationState, Option<&str>)| {
        let (state, reason) = stands(&store, n).await;
        assert_eq!((state, reason.as_deref()), expected, "{n}");
    };
    let says = |n: u128, status| callback(&sid(n), status, Some(n));
    for (n, confirm) in [
        (1, Confirm::Digit),
        (2, Confirm::Digit),
        (3, Confirm::Human),
        (4, Confirm::Human),
        (5, Confirm::Answered),
        (6, Confirm::Digit),
    ] {
        ringing(&store, n, confirm).await;
    }
    // Of another account.
    let forged = Event { account: "AC2".to_owned(), ..does(1, PressedOne) };
    assert_eq!(hear(&store, [forged]).await.mismatches, 1);
    hear(&store, [does(1, PressedOther)]).await;
    check(1, (Open, None)).await;
    hear(&store, [does(1, PressedOne)]).await;
    check(1, (Confirmed, None)).await;
    // It is over and not confirmed: what says so may still be on its way.
    let by_machine = Event { callee: Some(Machine), ..says(4, "completed") };
    hear(&store, [says(2, "completed"), by_machine]).await;
    check(2, (Open, Some("completed"))).await;
    check(4, (Open, Some("machine"))).await;
    hear(&store, [Event { callee: Some(Human), ..says(3, "in-progress") }]).await;
    check(3, (Confirmed, None)).await;
    hear(&store, [says(5, "in-progress")]).await;
    check(5, (Confirmed, None)).await;
    hear(&store, [says(6, "busy")]).await;
    check(6, (Failed, Some("busy"))).await;
    crate::harness::until("the time after its end is over", async || {
        store.outbox.unheard().await.expect("the store is there");
        (stands(&store, 2).await.0 != Open && stands(&store, 4).await.0 != Open).then_some(())
    })
    .await;
    check(2, (Unconfirmed, Some("completed"))).await;
    check(4, (Unconfirmed, Some("machine"))).await;
    // It was pressed in time, and reported late.
    hear(&store, [does(2, PressedOne)]).await;
    check(2, (Confirmed, None)).await;
}

pub(super) async fn a_cancelled_call_is_hung_up_while_it_rings(store: Store) {
    let outbox = &store.outbox;
    let hanging_up = async |n: u128| {
        let cancelled = outbox.cancel(&format!("ntf_{n}")).await.expect("the store");
        let cancelled = cancelled.expect("it is kept");
        (cancelled.state, cancelled.in_writing, cancelled.hanging_up)
    };
    ringing(&store, 1, Confirm::Digit).await;
    assert_eq!(hanging_up(1).await, (NotificationState::Open, 0, 1));
    assert_eq!(hanging_up(1).await, (NotificationState::Open, 0, 0), "once");
    let one = HangUp {
        id: AttemptId::new(1),
        account: ACCOUNT.to_owned(),
        sender: "shop".to_owned(),
        sid: sid(1),
        tries: 1,
    };
    assert_eq!(outbox.to_hang_up(HOUR).await, Ok(vec![one.clone()]));
    assert_eq!(outbox.to_hang_up(HOUR).await, Ok(Vec::new()), "another process has it");
    assert_eq!(outbox.hung_up(one.id, 1, HungUp::Done).await, Ok(HungUp::Done));
    hear(&store, [callback(&sid(1), "canceled", Some(1))]).await;
    let cancelled = (NotificationState::Cancelled, Some("cancelled".to_owned()));
    assert_eq!(stands(&store, 1).await, cancelled);

    // It was cancelled before Twilio's answer was there.
    outbox.ask(&call(2, Confirm::Digit)).await.expect("kept");
    claimed(outbox, &claim(None)).await;
    write(outbox, &write_ask(outbox, "a", &[AttemptId::new(2)]).await).await;
    assert_eq!(hanging_up(2).await, (NotificationState::Open, 1, 0));
    assert_eq!(outbox.to_hang_up(HOUR).await, Ok(Vec::new()));
    answer(outbox, AttemptId::new(2), created(2)).await;
    let late = outbox.to_hang_up(Duration::ZERO).await.expect("the store");
    assert_eq!(late.iter().map(|call| &*call.sid).collect::<Vec<_>>(), [sid(2)]);
    // Tried often enough, or over: nothing is left to do.
    assert_eq!(outbox.hung_up(late[0].id, 5, HungUp::Again).await, Ok(HungUp::GivenUp));
    hear(&store, [callback(&sid(2), "completed", Some(2))]).await;
    assert_eq!(outbox.to_hang_up(HOUR).await, Ok(Vec::new()));
}

pub(super) async fn a_call_of_unknown_outcome_is_sought_among_calls_and_holds_its_line(
    store: Store,
) {
    let outbox = &store.outbox;
    let id = AttemptId::new(1);
    outbox.ask(&call(1, Confirm::Digit)).await.expect("kept");
    outbox.ask(&call(2, Confirm::Digit)).await.expect("kept");
    let first = claimed(outbox, &claim(Some(1))).await.claimed;
    assert_eq!(first.iter().map(|claim| claim.id).collect::<Vec<_>>(), [id]);
    write(outbox, &WriteAsk { lines: lines(1), ..write_ask(outbox, "a", &[id]).await }).await;
    let reason = "timed_out".to_owned();
    answer(outbox, id, Outcome::Unknown { reason, look_after: Duration::ZERO }).await;
    let searches = crate::harness::until("it is due", async || {
        let searches = outbox.to_look_for(2, HOUR).await.expect("the store");
        (!searches.is_empty()).then_some(searches)
    })
    .await;
    assert_eq!((searches[0].channel, searches[0].sought.len()), (Channel::Call, 1));
    let claims = async || outbox.claim(&claim(Some(1))).await.expect("the store").claimed.len();
    assert_eq!(claims().await, 0);
    let absent = Looked::Absent { last: true, look_after: Duration::ZERO };
    outbox.looked(id, &absent, AttemptId::new(3)).await.expect("the store");
    claimed(outbox, &claim(Some(1))).await;
}
