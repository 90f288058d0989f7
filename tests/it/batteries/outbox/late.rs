//! What comes in another order than it happened: callbacks before the answer, and an answer after the lease.

use std::time::Duration;

use offhook::backend::outbox::{
    Answered, Back, ClaimAsk, Concluded, Looked, Outcome, Stop, Trail, WriteAsk, Written,
};
use offhook::dispatch::{AttemptState, Channel, NotificationState};
use offhook::event::{AttemptId, Event, EventKey, Kind, Resource};

use super::{
    ACCOUNT, HOUR, Store, accepted, answer, claim_ask, claimed, in_writing, new, state,
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
