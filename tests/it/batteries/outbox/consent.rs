//! STOP and START of recipients: in the transaction that stores the message, before anything that is sent later.

use std::sync::Mutex;

use offhook::backend::outbox::{Gated, Known};
use offhook::backend::purge::Mode;
use offhook::clock::{Clock, Timestamp};
use offhook::dispatch::suppression::Source;
use offhook::event::consent::{AddressKey, Consent, SaidBy, Whose, Wish};
use offhook::event::{Event, EventKey, Kind};

use super::{ACCOUNT, Store, claim_ask, claimed, new, of, purge, stop, write_ask};

/// A message that came in this many seconds ago from the number of the notification `n`.
fn said(n: u128, wish: Wish, seconds_ago: i64, whose: Whose) -> Event {
    let key = EventKey::of(&["SM", &format!("{n}{}{seconds_ago}", wish.as_str())]);
    let now = Clock::System.now().micros();
    Event {
        received_at: Timestamp::from_micros(now - seconds_ago * 1_000_000),
        body: format!("From=%2B{}&Body={}", &new(n).to[1..], wish.as_str()).into(),
        consent: Some(Consent { wish, by: SaidBy::Word, whose }),
        ..Event::new(key.expect("printable"), Kind::IncomingMessage, ACCOUNT)
    }
}

/// Whether a commit to writing finds the recipient of a new notification suppressed.
async fn is_suppressed(store: &Store, id: u128, to_hash: &str) -> bool {
    let outbox = &store.outbox;
    let mut asked = new(id);
    asked.to_hash = to_hash.to_owned();
    outbox.ask(&asked).await.expect("kept");
    let id = claimed(outbox, &claim_ask("a")).await.claimed[0].id;
    let seen = Mutex::new(false);
    let look = |known: &Known, _: Timestamp| {
        *seen.lock().expect("no panic") = known.suppressed;
        Gated::Refuse { gate: "suppression" }
    };
    outbox.write(&write_ask(outbox, "a", &[id]).await, &look).await.expect("the store");
    seen.into_inner().expect("no panic")
}

pub(super) async fn what_a_recipient_says_is_heard_once_and_counts_at_once(store: Store) {
    let outbox = &store.outbox;
    let key = AddressKey::new(&"a key of the configuration".into());
    let hashes = key.addresses(&new(1).to);
    let says = |wish, ago| said(1, wish, ago, Whose::Hashes(hashes.clone()));
    outbox.identity("secret").await.expect("the store");
    assert!(!is_suppressed(&store, 1, &hashes[0]).await);
    for _ in 0..2 {
        store.store(says(Wish::Stop, 100)).await;
    }
    for (id, hash) in [(2, &hashes[0]), (3, &hashes[1])] {
        assert!(is_suppressed(&store, id, hash).await, "on every channel");
    }
    let (listed, next) = outbox.suppressions("", 10).await.expect("the store");
    let addresses: Vec<_> = listed.iter().filter_map(|it| it.to.as_deref()).collect();
    assert!(addresses.contains(&&*new(1).to), "{listed:?}");
    assert_eq!((listed.len(), &*listed[0].source, next), (2, "stop_word", None));

    // What comes late is as old as it was when it was received.
    store.store(says(Wish::Start, 200)).await;
    store.store(says(Wish::Start, 99)).await;
    assert!(is_suppressed(&store, 4, &hashes[0]).await, "within 2 s a STOP wins");
    store.store(says(Wish::Start, 50)).await;
    assert!(!is_suppressed(&store, 5, &hashes[0]).await);
    // A redelivered STOP has no second effect, although it is stored after the START.
    store.store(says(Wish::Stop, 100)).await;
    assert!(!is_suppressed(&store, 6, &hashes[0]).await);
    assert_eq!(outbox.suppressions("", 10).await.expect("the store").0, []);

    stop(outbox, &new(1).to, &hashes[0], Source::Hand).await;
    store.store(says(Wish::Start, 0)).await;
    assert!(is_suppressed(&store, 7, &hashes[0]).await, "a person has entered it");
}

pub(super) async fn without_a_key_the_store_hashes_what_recipients_say(store: Store) {
    let outbox = &store.outbox;
    // The first that needs a secret makes it.
    store.store(said(1, Wish::Stop, 0, Whose::Number(new(1).to))).await;
    let secret = outbox.identity("another").await.expect("the store").secret;
    assert_ne!(secret, "another");
    let hash = AddressKey::new(&secret.into()).address(&new(1).to);
    assert!(is_suppressed(&store, 1, &hash).await);

    let deleted = purge(&store, &of(1), Mode::Delete).await;
    assert_eq!((deleted.events, deleted.notifications), (1, 1), "{deleted:?}");
    let (listed, _) = outbox.suppressions("", 10).await.expect("the store");
    assert!(listed.len() == 2 && listed.iter().all(|it| it.to.is_none()), "{listed:?}");
    assert!(is_suppressed(&store, 2, &hash).await, "the hash still stops it");
}

pub(super) async fn a_list_may_be_imported_again(store: Store) {
    use offhook::backend::outbox::NewSuppression;
    let outbox = &store.outbox;
    outbox.identity("secret").await.expect("the store");
    let entry = |n: u128| NewSuppression {
        to: Some(new(n).to),
        to_hash: new(n).to_hash,
        stop: true,
        source: Source::Import,
    };
    stop(outbox, &new(1).to, &new(1).to_hash, Source::StopWord).await;
    stop(outbox, &new(2).to, &new(2).to_hash, Source::Hand).await;
    let list = [entry(1), entry(2), entry(3), entry(3)];
    assert_eq!(outbox.import(&list).await, Ok(2), "what recipients said does not do for a list");
    assert_eq!(outbox.import(&list).await, Ok(0));
    let (first, next) = outbox.suppressions("", 2).await.expect("the store");
    let (last, end) = outbox.suppressions(&next.expect("a page"), 2).await.expect("the store");
    let sources: Vec<_> = first.iter().chain(&last).map(|it| it.source.as_str()).collect();
    assert_eq!((sources, end), (vec!["import", "hand", "import"], None));
}
