//! A notification that is cancelled while it is being sent: the request is on its way, and no other follows.

use std::time::Duration;

use offhook::backend::outbox::{Back, Looked, NewNotification, Outcome, Written};
use offhook::backend::purge::Mode;
use offhook::dispatch::{AttemptState, NotificationState, OnUnknown};
use offhook::event::AttemptId;

use super::{
    HOUR, Store, accepted, answer, claim_ask, claimed, in_writing, is_kept, new, of, purge, state,
    write, write_ask,
};

async fn is_cancelled_in_writing(store: &Store, n: u128, on_unknown: OnUnknown) -> AttemptId {
    in_writing(&store.outbox, &NewNotification { on_unknown, ..new(n) }).await;
    let cancelled = store.outbox.cancel(&format!("ntf_{n}")).await.expect("the store");
    let cancelled = cancelled.expect("it is there");
    assert_eq!((cancelled.state, cancelled.in_writing), (NotificationState::Open, 1));
    AttemptId::new(n)
}

pub(super) async fn what_was_cancelled_on_its_way_is_not_requested_again(store: Store) {
    let outbox = &store.outbox;
    for (n, why) in [(1, Back::Throttled), (2, Back::Unsent), (3, Back::Held)] {
        let id = is_cancelled_in_writing(&store, n, OnUnknown::Resend).await;
        answer(outbox, id, Outcome::Back { after: Duration::ZERO, why, stop: None }).await;
        let (now, attempts) = state(outbox, &format!("ntf_{n}")).await;
        assert_eq!(
            (now, &attempts[..]),
            (NotificationState::Cancelled, &[AttemptState::Cancelled][..])
        );
    }

    // Asked to err on the side of sending, it was cancelled all the same.
    let id = is_cancelled_in_writing(&store, 4, OnUnknown::Resend).await;
    let unknown = Outcome::Unknown { reason: "timeout".to_owned(), look_after: HOUR };
    answer(outbox, id, unknown).await;
    let absent = Looked::Absent { last: true, look_after: HOUR };
    assert_eq!(outbox.looked(id, &absent, AttemptId::new(14)).await, Ok(false));
    let (now, attempts) = state(outbox, "ntf_4").await;
    assert_eq!((now, &attempts[..]), (NotificationState::Unknown, &[AttemptState::Unknown][..]));

    // What has arrived has arrived.
    let id = is_cancelled_in_writing(&store, 5, OnUnknown::Report).await;
    answer(outbox, id, accepted("SM5")).await;
    let (now, attempts) = state(outbox, "ntf_5").await;
    assert_eq!((now, &attempts[..]), (NotificationState::Open, &[AttemptState::Accepted][..]));
}

/// It became unknown before its answer came, as if its process had stood still.
pub(super) async fn a_cancellation_outlives_the_end_of_the_lease(store: Store) {
    let outbox = &store.outbox;
    for (n, on_unknown) in [(1, OnUnknown::Report), (2, OnUnknown::Resend)] {
        let id = is_cancelled_in_writing(&store, n, on_unknown).await;
        let lost = Outcome::Unknown { reason: "lease".to_owned(), look_after: HOUR };
        answer(outbox, id, lost).await;
        let back = Outcome::Back { after: Duration::ZERO, why: Back::Unsent, stop: None };
        assert_eq!(answer(outbox, id, back).await, 0, "it says what became of it");
        let (now, attempts) = state(outbox, &format!("ntf_{n}")).await;
        assert_eq!(
            (now, &attempts[..]),
            (NotificationState::Cancelled, &[AttemptState::Cancelled][..]),
            "{on_unknown:?}"
        );
    }
}

pub(super) async fn a_cancellation_outlives_the_look_that_is_under_way(store: Store) {
    let outbox = &store.outbox;
    let looks = [
        Looked::Absent { last: false, look_after: Duration::ZERO },
        Looked::Absent { last: true, look_after: Duration::ZERO },
        Looked::Failed { look_after: Duration::ZERO },
        Looked::Perhaps,
    ];
    for (n, look) in (1..).zip(looks) {
        in_writing(outbox, &NewNotification { on_unknown: OnUnknown::Resend, ..new(n) }).await;
        let unknown = Outcome::Unknown { reason: "timeout".to_owned(), look_after: Duration::ZERO };
        let (id, name) = (AttemptId::new(n), format!("ntf_{n}"));
        answer(outbox, id, unknown).await;
        assert_eq!(state(outbox, &name).await.0, NotificationState::Open);
        let cancelled = outbox.cancel(&name).await.expect("the store").expect("it is there");
        assert_eq!(cancelled.state, NotificationState::Unknown);
        assert_eq!(outbox.looked(id, &look, AttemptId::new(90 + n)).await, Ok(false));
        let (now, attempts) = state(outbox, &name).await;
        let unknown = (NotificationState::Unknown, &[AttemptState::Unknown][..]);
        assert_eq!((now, &attempts[..]), unknown, "{look:?}");
        assert!(outbox.to_look_for(9, HOUR).await.expect("the store").is_empty(), "{look:?}");
    }
}

/// The first attempt turns out to have been sent while the second one is looked for.
pub(super) async fn one_that_is_known_to_be_sent_keeps_another_from_being_sent_again(store: Store) {
    let outbox = &store.outbox;
    let (first, second) = (AttemptId::new(1), AttemptId::new(11));
    let unknown = || Outcome::Unknown { reason: "timeout".to_owned(), look_after: Duration::ZERO };
    let absent = Looked::Absent { last: true, look_after: Duration::ZERO };
    in_writing(outbox, &NewNotification { on_unknown: OnUnknown::Resend, ..new(1) }).await;
    answer(outbox, first, unknown()).await;
    assert_eq!(outbox.looked(first, &absent, second).await, Ok(true));
    claimed(outbox, &claim_ask("a")).await;
    let written = write(outbox, &write_ask(outbox, "a", &[second]).await).await;
    assert!(matches!(written[..], [Written::Send(_)]), "{written:?}");
    answer(outbox, second, unknown()).await;
    answer(outbox, first, accepted("SM1")).await;
    assert_eq!(outbox.looked(second, &absent, AttemptId::new(21)).await, Ok(false));
    let (now, attempts) = state(outbox, "ntf_1").await;
    assert_eq!(now, NotificationState::Open);
    assert_eq!(attempts, [AttemptState::Accepted, AttemptState::Unknown]);
}

/// The purge leaves it there, because its answer must find it: that answer must not send it to the person again.
pub(super) async fn a_person_who_is_purged_is_not_sent_what_was_on_its_way_again(store: Store) {
    let outbox = &store.outbox;
    in_writing(outbox, &new(1)).await;
    assert_eq!(purge(&store, &of(1), Mode::Delete).await.in_writing, 1);
    let back = Outcome::Back { after: Duration::ZERO, why: Back::Throttled, stop: None };
    answer(outbox, AttemptId::new(1), back).await;
    assert_eq!(state(outbox, "ntf_1").await.0, NotificationState::Cancelled);
    assert_eq!(purge(&store, &of(1), Mode::Delete).await.notifications, 1);
    assert!(!is_kept(outbox, 1).await);
}
