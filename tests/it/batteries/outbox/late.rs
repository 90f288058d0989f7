//! What comes in another order than it happened: callbacks before the answer, and an answer after the lease.

use std::time::Duration;

use offhook::backend::Outbox;
use offhook::backend::outbox::{
    Answered, Back, ClaimAsk, Concluded, Looked, NewNotification, Outcome, Stop, Trail, WriteAsk,
    Written,
};
use offhook::dispatch::{AttemptState, Channel, NotificationState, OnUnknown};
use offhook::event::{AttemptId, Event, EventKey, Kind, Resource};

use super::{
    ACCOUNT, HOUR, Store, accepted, answer, claim_ask, claimed, execute, in_writing, new, state,
    without_an_id, write, write_ask,
};

/// Else they would count only when the attempt is overdue.
pub(super) async fn callbacks_before_the_answer_settle_after_it(store: Store) {
    let outbox = &store.outbox;
    in_writing(outbox, &new(1)).await;
    without_an_id(&store, "SM1", ACCOUNT, "delivered").await;
    answer(outbox, AttemptId::new(1), accepted("SM1")).await;
    let settled = outbox.settle().await.expect("the store");
    assert_eq!(settled.confirmed, 1);
    let Concluded { outcomes, confirmed, .. } = settled.concluded;
    assert_eq!(outcomes, [NotificationState::Confirmed]);
    assert!(matches!(confirmed[..], [(Channel::Message, took)] if took < HOUR), "{confirmed:?}");
    let trails = outbox.trails("ntf_1").await.expect("the store");
    let [Trail { id, account, settled_at: Some(_), proven, .. }] = &trails[..] else {
        panic!("{trails:?}")
    };
    assert_eq!((*id, account.as_str()), (AttemptId::new(1), ACCOUNT));
    let proofs = proven.iter().map(|it| (it.sid.as_str(), it.by.as_str())).collect::<Vec<_>>();
    assert_eq!(proofs, [("SM1", "answer")]);
    let confirmed = (NotificationState::Confirmed, vec![AttemptState::Confirmed]);
    assert_eq!(state(outbox, "ntf_1").await, confirmed);

    // The id of an attempt that has not been sent was guessed: its SID is nothing's.
    outbox.ask(&new(2)).await.expect("kept");
    let event = Event {
        sid: Some("SM7".to_owned()),
        resource: Some(Resource::Message),
        status: Some("delivered".to_owned()),
        attempt: Some(AttemptId::new(2)),
        ..Event::new(
            EventKey::of(&["SM7", "delivered"]).expect("printable"),
            Kind::Message,
            ACCOUNT,
        )
    };
    store.store(event).await;
    assert_eq!(outbox.settle().await.expect("the store").mismatches, 1);
    assert_eq!(outbox.bound(vec!["SM7".to_owned()]).await, Ok(Vec::new()));
    assert_eq!(state(outbox, "ntf_2").await.1, [AttemptState::Due]);
}

/// The answer to the commit was lost, and with it what it said.
pub(super) async fn a_commit_in_doubt_after_which_nothing_was_sent_is_taken_back(store: Store) {
    let outbox = &store.outbox;
    for n in 1..=5 {
        outbox.ask(&new(n)).await.expect("kept");
    }
    let claims = claimed(outbox, &claim_ask("a")).await.claimed;
    assert_eq!(claims.len(), 5);
    // The commit of the last one did not happen.
    let ids: Vec<AttemptId> = claims.iter().map(|claim| claim.id).collect();
    write(outbox, &write_ask(outbox, "a", &ids[..4]).await).await;
    outbox.cancel("ntf_2").await.expect("the store").expect("it is there");
    let lost = Outcome::Unknown { reason: "lease".to_owned(), look_after: HOUR };
    answer(outbox, ids[2], lost).await;
    // The slot of another claim.
    let mut asked = claims.clone();
    asked[3].send_at = asked[3].send_at.after(HOUR);
    outbox.take_back(&asked).await.expect("the store");
    outbox.take_back(&asked).await.expect("the store");
    let expected = [
        (NotificationState::Open, AttemptState::Due),
        (NotificationState::Cancelled, AttemptState::Cancelled),
        (NotificationState::Open, AttemptState::Due),
        (NotificationState::Open, AttemptState::Writing),
        (NotificationState::Open, AttemptState::Claimed),
    ];
    for (n, (notification, attempt)) in (1..).zip(expected) {
        assert_eq!(state(outbox, &format!("ntf_{n}")).await, (notification, vec![attempt]), "{n}");
    }
}

/// A process that stood still longer than its lease, and then says that it sent nothing.
pub(super) async fn what_was_not_sent_is_due_again_even_late(store: Store) {
    let outbox = &store.outbox;
    for n in 1..=2 {
        outbox.ask(&new(n)).await.expect("kept");
    }
    let mut ids = Vec::new();
    while ids.len() < 2 {
        ids.extend(claimed(outbox, &claim_ask("a")).await.claimed.iter().map(|it| it.id));
    }
    let ask = WriteAsk { lease: Duration::ZERO, ..write_ask(outbox, "a", &ids).await };
    assert!(write(outbox, &ask).await.iter().all(|it| matches!(it, Written::Send(_))));
    crate::harness::until("the leases are over", async || {
        outbox.overdue(HOUR).await.expect("the store");
        let states = [state(outbox, "ntf_1").await.1, state(outbox, "ntf_2").await.1];
        (states.concat() == [AttemptState::Unknown; 2]).then_some(())
    })
    .await;
    // Of the second it was reported before that its outcome is unknown, and stays so.
    outbox.looked(ids[1], &Looked::Perhaps, AttemptId::new(9)).await.expect("the store");
    let back = || Outcome::Back { after: Duration::ZERO, why: Back::Unsent, stop: None };
    assert_eq!(answer(outbox, ids[0], back()).await, 0);
    assert_eq!(answer(outbox, ids[1], back()).await, 1);
    let due = (NotificationState::Open, vec![AttemptState::Due]);
    let unknown = (NotificationState::Unknown, vec![AttemptState::Unknown]);
    assert_eq!([state(outbox, "ntf_1").await, state(outbox, "ntf_2").await], [due, unknown]);
    assert_eq!(claimed(outbox, &claim_ask("a")).await.claimed[0].id, ids[0]);
}

/// Both lock senders and accounts. In another order than each other, Postgres would end one of them.
pub(super) async fn answers_and_commits_do_not_wait_for_each_other(store: Store) {
    let outbox = &store.outbox;
    for n in 1..=10 {
        in_writing(outbox, &new(n)).await;
        outbox.ask(&new(100 + n)).await.expect("kept");
        let mut one = ClaimAsk { limit: 1, ..claim_ask("b") };
        one.ahead = HOUR;
        let id = claimed(outbox, &one).await.claimed[0].id;
        let ask = write_ask(outbox, "b", &[id]).await;
        let stop = [Stop::Unlisted, Stop::Disconnected][usize::from(n % 2 == 0)].clone();
        let outcome = Outcome::Back { after: HOUR, why: Back::Held, stop: Some(stop) };
        let answers = [Answered { id: AttemptId::new(n), tries: 1, outcome }];
        let (written, answered) =
            tokio::join!(outbox.write(&ask, &super::pass), outbox.answer(&answers));
        assert!(matches!(written.expect("no deadlock")[..], [Written::Send(_)]));
        answered.expect("no deadlock");
        answer(outbox, id, accepted(&format!("SM{n}"))).await;
        outbox.resume("shop", ACCOUNT).await.expect("the store");
    }
}

/// What Twilio reports of a message to the URL that it was given for an attempt.
async fn reports(store: &Store, sid: &str, attempt: u128, status: &str) {
    store.store(about(sid, attempt, status, "")).await;
}

/// `by`: what its key ends with if Twilio was asked.
fn about(sid: &str, attempt: u128, status: &str, by: &str) -> Event {
    Event {
        sid: Some(sid.to_owned()),
        resource: Some(Resource::Message),
        status: Some(status.to_owned()),
        attempt: Some(AttemptId::new(attempt)),
        ..Event::new(
            EventKey::of(&[sid, &format!("{status}{by}")]).expect("printable"),
            Kind::Message,
            ACCOUNT,
        )
    }
}

async fn is_unknown(outbox: &Outbox, n: u128) {
    let unknown = Outcome::Unknown { reason: "timeout".to_owned(), look_after: HOUR };
    answer(outbox, AttemptId::new(n), unknown).await;
}

/// A list had a message for one attempt, and it is another's: by its callback, or by a late answer.
pub(super) async fn proof_overrides_what_was_inferred(store: Store) {
    let outbox = &store.outbox;
    for (n, by_callback) in [(1, true), (3, false)] {
        let (sid, id) = (format!("SM{n}"), AttemptId::new(n));
        for n in [n, n + 1] {
            in_writing(outbox, &new(n)).await;
            is_unknown(outbox, n).await;
        }
        let event = Box::new(about(&sid, n, "delivered", "-rest"));
        let inferred = Looked::Inferred { sid: sid.clone(), event };
        assert_eq!(outbox.looked(id, &inferred, AttemptId::new(99)).await, Ok(false));
        outbox.settle().await.expect("the store");
        let attempts = async |n| state(outbox, &format!("ntf_{n}")).await;
        let confirmed = (NotificationState::Confirmed, vec![AttemptState::Confirmed]);
        assert_eq!(attempts(n).await, confirmed);

        match by_callback {
            true => reports(&store, &sid, n + 1, "delivered").await,
            false => _ = answer(outbox, AttemptId::new(n + 1), accepted(&sid)).await,
        }
        crate::harness::until("both are decided about", async || {
            let settled = outbox.settle().await.expect("the store");
            assert_eq!((settled.mismatches, settled.duplicates), (0, 0));
            (settled.wakes == 0).then_some(())
        })
        .await;
        let unknown = (NotificationState::Unknown, vec![AttemptState::Unknown]);
        assert_eq!(attempts(n).await, unknown);
        let trails = outbox.trails(&format!("ntf_{n}")).await.expect("the store");
        assert!(trails[0].proven.is_empty(), "{trails:?}");
        let other = if by_callback { AttemptState::Confirmed } else { AttemptState::Accepted };
        assert_eq!(attempts(n + 1).await.1, [other]);
        // It is looked for again, and finds what is another's, which had not been proven when the list was read.
        let event = Box::new(about(&sid, n, "delivered", "-rest"));
        let again = Looked::Inferred { sid: sid.clone(), event };
        assert_eq!(outbox.looked(id, &again, AttemptId::new(99)).await, Ok(false));
        outbox.settle().await.expect("the store");
        assert_eq!(attempts(n).await, unknown);
    }
}

/// A recipient who gets two messages, since the first one was found nowhere, is counted.
pub(super) async fn a_message_that_was_sent_again_and_is_found_after_all_is_one_too_many(
    store: Store,
) {
    let outbox = &store.outbox;
    in_writing(outbox, &NewNotification { on_unknown: OnUnknown::Resend, ..new(1) }).await;
    is_unknown(outbox, 1).await;
    let absent = Looked::Absent { last: true, look_after: HOUR };
    let again = AttemptId::new(2);
    assert_eq!(outbox.looked(AttemptId::new(1), &absent, again).await, Ok(true));
    crate::harness::until("it is claimed", async || {
        let claimed = claimed(outbox, &claim_ask("a")).await.claimed;
        claimed.iter().any(|it| it.id == again).then_some(())
    })
    .await;
    write(outbox, &write_ask(outbox, "a", &[again]).await).await;
    let answers = [Answered { id: again, tries: 1, outcome: accepted("SM2") }];
    let stored = outbox.answer(&answers).await.expect("the store");
    assert_eq!(stored.duplicates, 0, "it is the only one that is known");
    reports(&store, "SM1", 1, "delivered").await;
    assert_eq!(outbox.settle().await.expect("the store").duplicates, 1);
    reports(&store, "SM1", 1, "read").await;
    reports(&store, "SM2", 2, "delivered").await;
    assert_eq!(outbox.settle().await.expect("the store").duplicates, 0, "it is counted once");
}

/// The attempt was purged, or belongs to another deployment: its URL was not misused.
pub(super) async fn a_callback_of_an_attempt_that_is_gone_is_no_mismatch(store: Store) {
    reports(&store, "SM1", 1, "delivered").await;
    let settled = store.outbox.settle().await.expect("the store");
    assert_eq!((settled.wakes, settled.mismatches, settled.missing), (1, 0, 1));
}

/// A trigger of the operator's, say.
pub(super) async fn what_the_store_refuses_of_one_attempt_holds_no_other(store: Store) {
    const REFUSED: u128 = 2;
    let outbox = &store.outbox;
    let id = AttemptId::new(REFUSED);
    let refuse = match &store.outbox {
        Outbox::Sqlite(_) => format!(
            "CREATE TRIGGER refuse BEFORE INSERT ON attempt_sids WHEN NEW.attempt = '{id}' \
             BEGIN SELECT RAISE(ABORT, 'refused'); END"
        ),
        Outbox::Postgres(_) => {
            format!("ALTER TABLE attempt_sids ADD CHECK (attempt <> '{id}')")
        }
    };
    execute(&store, &refuse).await;
    for n in 1..=4 {
        in_writing(outbox, &new(n)).await;
    }
    for n in 1..=4 {
        reports(&store, &format!("SM{n}"), n, "delivered").await;
    }
    let mut aside = Vec::new();
    crate::harness::until("no wake is left", async || {
        let settled = outbox.settle().await.expect("the store");
        aside.extend(settled.set_aside);
        (settled.wakes == 0).then_some(())
    })
    .await;
    let aside: Vec<_> = aside.into_iter().map(|it| it.attempt).collect();
    assert_eq!(aside, [Some(id.to_string())]);
    for n in [1, 3, 4] {
        let confirmed = (NotificationState::Confirmed, vec![AttemptState::Confirmed]);
        assert_eq!(state(outbox, &format!("ntf_{n}")).await, confirmed, "{n}");
    }
    // Nor is it in the way where what is not confirmed in time is ended.
    let long_ago = "'2026-01-01T00:00:00.000000Z'";
    let waits = format!(
        "UPDATE attempts SET state = 'accepted', settled_at = NULL, holder = NULL, lease_until = NULL, \
         sid = coalesce(sid, 'SM2'), look_at = {long_ago}"
    );
    execute(&store, &waits).await;
    execute(&store, "DELETE FROM events WHERE sid <> 'SM2'").await;
    let (mut aside, mut unconfirmed) = (0, 0);
    crate::harness::until("each is looked at", async || {
        let unheard = outbox.unheard().await.expect("the store");
        aside += usize::from(unheard.set_aside.is_some());
        unconfirmed += unheard.unconfirmed;
        (!unheard.is_cut).then_some(())
    })
    .await;
    assert_eq!((aside, unconfirmed), (1, 3));
}
