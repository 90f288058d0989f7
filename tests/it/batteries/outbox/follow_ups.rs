//! Statuses that say nothing final for long.

use std::time::Duration;

use offhook::backend::outbox::{FollowUp, FollowUpAsk, Followed};
use offhook::clock::{Clock, Timestamp};
use offhook::event::Resource;

use super::{ACCOUNT, Store, accepted, without_an_id};

/// Events of these tests are from 1970.
fn ask() -> FollowUpAsk {
    FollowUpAsk {
        accounts: vec![ACCOUNT.to_owned()],
        resource: Resource::Message,
        before: Clock::System.now(),
        since: Timestamp::from_micros(0),
    }
}

async fn taken(store: &Store) -> Vec<FollowUp> {
    let taken = store.outbox.take_follow_ups(ACCOUNT, 10, Duration::ZERO).await;
    taken.expect("the store")
}

/// Of three messages one ends by a callback, one by what Twilio says, and one never. The deployment
/// does not send for the account of another one.
pub(super) async fn what_no_callback_ends_is_asked_for_until_it_ends(store: Store) {
    let outbox = &store.outbox;
    for sid in ["SM1", "SM2", "SM3"] {
        without_an_id(&store, sid, ACCOUNT, "sent").await;
    }
    without_an_id(&store, "SM4", "AC2", "sent").await;
    without_an_id(&store, "SM5", ACCOUNT, "delivered").await;
    // One that came in.
    without_an_id(&store, "SM6", ACCOUNT, "received").await;
    let sids = |all: Vec<FollowUp>| all.into_iter().map(|one| one.sid).collect::<Vec<_>>();
    let open = outbox.list_open_statuses(&ask(), 10).await.expect("the store");
    assert_eq!(sids(open), ["SM1", "SM2", "SM3"]);
    let young = FollowUpAsk { before: ask().since, ..ask() };
    assert_eq!(outbox.plan_follow_ups(&young).await, Ok(0));
    assert_eq!(outbox.plan_follow_ups(&ask()).await, Ok(3));
    assert_eq!(outbox.plan_follow_ups(&ask()).await, Ok(0), "once");

    without_an_id(&store, "SM1", ACCOUNT, "delivered").await;
    let found = taken(&store).await;
    let [two, three] = &found[..] else { panic!("{found:?}") };
    let offhook::backend::outbox::Outcome::Accepted { event, .. } = accepted("SM2") else {
        panic!("it is an event")
    };
    outbox.followed_up(two, Some(*event), &Followed::Ended).await.expect("the store");
    assert_eq!(sids(taken(&store).await), ["SM3"], "what is ended is forgotten");
    outbox.followed_up(three, None, &Followed::Never).await.expect("the store");
    assert_eq!(taken(&store).await, []);
    assert_eq!(outbox.plan_follow_ups(&ask()).await, Ok(1), "SM2 is open still, SM3 not asked for");
    assert_eq!(outbox.hurry_follow_ups(&ask()).await, Ok(2), "a person asks for all again");
    let again = taken(&store).await;
    outbox.followed_up(&again[1], None, &Followed::Never).await.expect("the store");
    assert_eq!(sids(again), ["SM2", "SM3"]);
    // What is too old to be planned is forgotten once it is not asked for any more.
    let later = FollowUpAsk { since: Clock::System.now(), ..ask() };
    assert_eq!(outbox.plan_follow_ups(&later).await, Ok(0));
    assert_eq!(outbox.plan_follow_ups(&ask()).await, Ok(1), "SM3 was forgotten, SM2 waits");
}
