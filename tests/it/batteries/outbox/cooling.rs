//! How long a sender or an account waits of which several requests were on their way.

use std::time::Duration;

use offhook::backend::outbox::{Answered, Back, Outcome, Stop};
use offhook::clock::Clock;
use offhook::event::AttemptId;

use super::{HOUR, Store, in_writing, new};

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

pub(super) async fn a_shorter_wait_of_an_account_ends_no_longer_one(store: Store) {
    let shortest = Clock::System.now().after(HOUR - Duration::from_secs(1));
    answered(&store, &[HOUR, Duration::from_secs(1)].map(Stop::AccountCooldown)).await;
    let sending = store.outbox.sending().await.expect("the store");
    let until = sending.accounts[0].cooldown_until.expect("it waits");
    assert!(until >= shortest, "{until} is earlier than {shortest}");
}
