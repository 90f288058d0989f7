//! How long a sender or an account waits of which several requests were on their way.

use std::time::Duration;

use offhook::backend::outbox::{Answered, Back, Outcome, Stop};
use offhook::clock::Clock;
use offhook::event::AttemptId;

use super::{HOUR, Store, accepted, answer, execute, in_writing, new};

/// Answers to requests that were under way at the same time.
async fn answered(store: &Store, stops: &[Stop]) {
    let mut answers = Vec::new();
    for (n, stop) in (1..).zip(stops) {
        in_writing(&store.outbox, &new(n)).await;
        let outcome = Outcome::Back { after: HOUR, why: Back::Held, stop: Some(stop.clone()) };
        answers.push(Answered { id: AttemptId::new(n), tries: 1, outcome });
    }
    store.outbox.answer(&answers).await.expect("the store");
}

pub(super) async fn a_burst_that_is_too_fast_cools_a_sender_down_once(store: Store) {
    answered(&store, &[const { Stop::SenderCooldown }; 5]).await;
    let longest = Clock::System.now().after(Duration::from_secs(10));
    let sending = store.outbox.sending().await.expect("the store");
    let until = sending.senders[0].cooldown_until.expect("it cools down");
    assert!(until <= longest, "{until} is later than {longest}");
}

/// What is too fast for a carrier is accepted first: its callback says so later.
pub(super) async fn a_sender_that_is_too_fast_again_waits_longer_whatever_was_accepted_meanwhile(
    store: Store,
) {
    let outbox = &store.outbox;
    let too_fast =
        || Outcome::Failed { reason: "30022".to_owned(), stop: Some(Stop::SenderCooldown) };
    let mut n = 0;
    // How long ago the cooldown before ended, and how many seconds the next one lasts.
    for (ago, expected_s) in [(0, 10), (1, 20), (290, 40), (302, 10)] {
        let ended = Clock::System.now().before(Duration::from_secs(ago));
        execute(&store, &format!("UPDATE senders SET cooldown_until = '{ended}'")).await;
        for outcome in [accepted(&format!("SM{n}")), too_fast()] {
            n += 1;
            in_writing(outbox, &new(n)).await;
            answer(outbox, AttemptId::new(n), outcome).await;
        }
        let until = outbox.sending().await.expect("the store").senders[0].cooldown_until;
        let lasts = until.expect("it cools down").since(Clock::System.now()).as_secs();
        assert!(
            (expected_s - 3..=expected_s).contains(&lasts),
            "{lasts} s instead of {expected_s}"
        );
    }
}

pub(super) async fn a_shorter_wait_of_an_account_ends_no_longer_one(store: Store) {
    let shortest = Clock::System.now().after(HOUR - Duration::from_secs(1));
    answered(&store, &[HOUR, Duration::from_secs(1)].map(Stop::AccountCooldown)).await;
    let sending = store.outbox.sending().await.expect("the store");
    let until = sending.accounts[0].cooldown_until.expect("it waits");
    assert!(until >= shortest, "{until} is earlier than {shortest}");
}
