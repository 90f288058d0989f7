//! What a claim reads, and in which order; what holds everything.

use std::time::Duration;

use offhook::backend::outbox::{ClaimAsk, NewNotification, Outcome};
use offhook::clock::Clock;
use offhook::dispatch::Purpose;
use offhook::event::AttemptId;

use super::{HOUR, Store, answer, claim_ask, claimed, execute, in_writing, new};

fn ids(claimed: &[offhook::backend::outbox::Claimed]) -> Vec<AttemptId> {
    claimed.iter().map(|claim| claim.id).collect()
}

/// Two senders share a pace, one of which is paused. Of the other, some messages are held for an hour, and two were held
/// until now.
pub(super) async fn what_cannot_go_is_not_in_the_way(store: Store) {
    let outbox = &store.outbox;
    let both = |holder: &str| ClaimAsk {
        senders: vec!["shop".to_owned(), "alerts".to_owned()],
        ..claim_ask(holder)
    };
    for n in 1..=3 {
        let purpose = if n == 3 { Purpose::Otp } else { Purpose::Transactional };
        in_writing(outbox, &NewNotification { purpose, ..new(n) }).await;
    }
    for (n, after) in [(1, HOUR), (2, Duration::ZERO), (3, Duration::ZERO)] {
        let why = offhook::backend::outbox::Back::Held;
        answer(outbox, AttemptId::new(n), Outcome::Back { after, why, stop: None }).await;
    }
    for n in 4..=5 {
        let sender = if n == 4 { "alerts" } else { "shop" }.to_owned();
        outbox.ask(&NewNotification { sender, ..new(n) }).await.expect("kept");
    }
    outbox.pause("alerts", "by hand").await.expect("the store");
    let taken = claimed(outbox, &both("a")).await.claimed;
    assert_eq!(ids(&taken), [3, 2, 5].map(AttemptId::new), "the urgent one first");
    assert_eq!(outbox.claim(&both("a")).await.expect("the store").claimed, []);
    assert!(outbox.resume("alerts", super::ACCOUNT).await.expect("the store"));
    assert_eq!(ids(&claimed(outbox, &both("a")).await.claimed), [AttemptId::new(4)]);
}

/// The store fails over to a machine whose clock is an hour behind: what was asked for before is not in the way of what is
/// asked for now, nor left behind. What a gate holds until then stays held.
pub(super) async fn a_clock_that_goes_back_holds_nothing_up(store: Store) {
    let outbox = &store.outbox;
    let ahead = Clock::System.now().after(HOUR);
    let until_then = NewNotification { held: Some(("quiet_hours", ahead)), ..new(1) };
    for notification in [until_then, new(2), new(3)] {
        outbox.ask(&notification).await.expect("kept");
    }
    let set = format!("UPDATE attempts SET due_at = '{ahead}' WHERE held IS NULL");
    execute(&store, &set).await;
    outbox.ask(&new(4)).await.expect("kept");
    let one = ClaimAsk { limit: 1, ..claim_ask("a") };
    for n in 2..=4 {
        assert_eq!(ids(&claimed(outbox, &one).await.claimed), [AttemptId::new(n)]);
    }
    assert_eq!(outbox.claim(&one).await.expect("the store").claimed, []);
}

/// Of what is held, an hour for one and a few seconds for another, the claim says when the first is due.
pub(super) async fn a_claim_says_when_a_backoff_is_over(store: Store) {
    const SHORT: Duration = Duration::from_secs(20);
    let outbox = &store.outbox;
    for (n, after) in [(1, HOUR), (2, SHORT)] {
        in_writing(outbox, &new(n)).await;
        let why = offhook::backend::outbox::Back::Throttled;
        answer(outbox, AttemptId::new(n), Outcome::Back { after, why, stop: None }).await;
    }
    let next_due = async || {
        crate::harness::until("the pace has a slot", async || {
            let claims = outbox.claim(&claim_ask("a")).await.expect("the store");
            assert_eq!(claims.claimed, []);
            claims.again.is_none().then_some(claims.next_due)
        })
        .await
    };
    let soon = next_due().await.expect("it is held");
    assert!(!soon.is_zero() && soon <= SHORT, "{soon:?}");
    outbox.pause("shop", "by hand").await.expect("the store");
    assert_eq!(next_due().await, None, "not that of a sender that is paused");
    assert!(outbox.resume("shop", super::ACCOUNT).await.expect("the store"));
    outbox.cancel("ntf_2").await.expect("the store");
    let later = next_due().await.expect("the other one is held");
    assert!(later > SHORT && later <= HOUR, "{later:?}");
    outbox.cancel("ntf_1").await.expect("the store");
    assert_eq!(next_due().await, None, "nothing is held");
}

pub(super) async fn what_waits_has_the_pace_of_its_sender(store: Store) {
    let outbox = &store.outbox;
    for n in 1..=2 {
        outbox.ask(&new(n)).await.expect("kept");
    }
    let renamed = ClaimAsk { pace: "fast".to_owned(), ..claim_ask("a") };
    let paces = [("shop".to_owned(), "fast".to_owned()), ("other".to_owned(), "slow".to_owned())];
    // The first claim of a pace makes its row.
    outbox.claim(&renamed).await.expect("the store");
    assert_eq!(outbox.claim(&renamed).await.expect("the store").claimed, []);
    assert_eq!(outbox.repace(&paces).await, Ok(2));
    assert_eq!(outbox.repace(&paces).await, Ok(0), "once");
    assert_eq!(claimed(outbox, &renamed).await.claimed.len(), 2);
}

pub(super) async fn adoption_leaves_what_a_person_holds(store: Store) {
    let outbox = &store.outbox;
    outbox.identity("secret").await.expect("the store");
    let held = async || outbox.sending().await.expect("the store").held;
    let hold = async |why| outbox.hold_all(why).await.expect("the store");
    hold(Some("adopt")).await;
    hold(None).await;
    assert_eq!(held().await.as_deref(), Some("adopt"), "to resume is not to adopt");
    assert_eq!(outbox.adopt("one", "key").await, Ok(true));
    assert_eq!(held().await, None);
    assert_eq!(outbox.adopt("one", "key").await, Ok(false), "nothing was held");

    for order in [["by hand", "adopt"], ["adopt", "by hand"]] {
        for why in order {
            hold(Some(why)).await;
        }
        hold(Some("adopt")).await;
        assert_eq!(held().await.as_deref(), Some("adopt"), "{order:?}");
        assert_eq!(outbox.adopt("two", "key").await, Ok(false), "{order:?}");
        assert_eq!(held().await.as_deref(), Some("by hand"), "{order:?}");
        hold(None).await;
        assert_eq!(held().await, None, "{order:?}");
    }
}
