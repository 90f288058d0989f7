//! A notification that is cancelled while it is being sent: the request is on its way, and no other follows.

use std::time::Duration;

use offhook::backend::outbox::{Back, Looked, NewNotification, Outcome};
use offhook::backend::purge::Mode;
use offhook::dispatch::{AttemptState, NotificationState, OnUnknown};
use offhook::event::AttemptId;

use super::{HOUR, Store, accepted, answer, in_writing, is_kept, new, of, purge, state};

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
