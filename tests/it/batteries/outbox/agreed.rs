//! Consent to marketing: what counts of the log, at the last moment before something is sent.

use std::sync::Mutex;

use offhook::backend::outbox::{Agreement, Gated, Known, NewConsent, NewNotification};
use offhook::clock::{Clock, Timestamp};
use offhook::dispatch::Purpose;

use super::{Store, claim_ask, claimed, new, write_ask};

/// An entry of the recipient of the notification 1.
pub(in crate::batteries) fn entry(agreement: Agreement, at: Option<Timestamp>) -> NewConsent {
    let (to, to_hash, source) = (new(1).to, new(1).to_hash, "web form".to_owned());
    NewConsent { to, to_hash, agreement, source, at }
}

pub(in crate::batteries) fn given() -> Agreement {
    Agreement::Given("Send me offers".to_owned())
}

fn ago(seconds: i64) -> Option<Timestamp> {
    Some(Timestamp::from_micros(Clock::System.now().micros() - seconds * 1_000_000))
}

/// Whether a commit to writing finds that the recipient of a new notification has agreed.
async fn is_seen(store: &Store, n: u128, purpose: Purpose) -> bool {
    let outbox = &store.outbox;
    let asked = NewNotification { to_hash: new(1).to_hash, purpose, ..new(n) };
    outbox.ask(&asked).await.expect("kept");
    let id = claimed(outbox, &claim_ask("a")).await.claimed[0].id;
    let seen = Mutex::new(false);
    let look = |known: &Known, _: Timestamp| {
        *seen.lock().expect("no panic") = known.consented;
        Gated::Refuse { gate: "consent" }
    };
    outbox.write(&write_ask(outbox, "a", &[id]).await, &look).await.expect("the store");
    seen.into_inner().expect("no panic")
}

pub(super) async fn the_latest_word_about_marketing_counts(store: Store) {
    let outbox = &store.outbox;
    outbox.identity("secret").await.expect("the store");
    let add = async |agreement, at| {
        let entries = [entry(agreement, at)];
        outbox.add_consents(&entries).await.expect("the store")
    };
    assert!(!is_seen(&store, 1, Purpose::Marketing).await);
    let agreed = ago(100);
    assert_eq!(add(given(), agreed).await, 1);
    assert_eq!(add(given(), agreed).await, 0, "it is there");
    assert!(is_seen(&store, 2, Purpose::Marketing).await);
    assert!(!is_seen(&store, 3, Purpose::Transactional).await, "it is not read");

    assert_eq!(add(Agreement::Withdrawn, None).await, 1);
    assert!(!is_seen(&store, 4, Purpose::Marketing).await);
    add(given(), ago(50)).await;
    assert!(!is_seen(&store, 5, Purpose::Marketing).await, "it is older");
    // By the clock of the store it is said now, which is later, and what follows takes it back.
    add(given(), ago(-3600)).await;
    assert!(is_seen(&store, 6, Purpose::Marketing).await);
    add(Agreement::Withdrawn, None).await;
    assert!(!is_seen(&store, 7, Purpose::Marketing).await);

    let log = outbox.consents(&new(1).to_hash).await.expect("the store");
    let said: Vec<_> = log.iter().map(|it| it.agreement == given()).collect();
    assert_eq!(said, [false, true, false, true, true]);
    assert_eq!((log[4].at, &*log[4].source), (agreed.expect("a time"), "web form"));
}
