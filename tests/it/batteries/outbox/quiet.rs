//! What waits for the morning of its recipient.

use std::sync::Mutex;

use offhook::backend::outbox::{Gated, Known, NewNotification};
use offhook::clock::{Clock, Timestamp};
use offhook::dispatch::Purpose;
use offhook::twilio::privacy::{Privacy, Treatment, Treatments};

use super::{HOUR, Store, claim_ask, claimed, new, write_ask};

pub(super) async fn what_is_planned_at_night_is_claimed_in_the_morning(store: Store) {
    let outbox = &store.outbox;
    let morning = Clock::System.now().after(HOUR);
    let at_night = NewNotification { held: Some(("quiet_hours", morning)), ..new(1) };
    let by_day = NewNotification { time_zone: Some("Europe/Berlin".to_owned()), ..new(2) };
    for notification in [&at_night, &by_day] {
        outbox.ask(notification).await.expect("kept");
    }
    let (_, attempts) = outbox.find("ntf_1").await.expect("the store").expect("kept");
    assert_eq!(attempts[0].held.as_deref(), Some("quiet_hours"));
    assert_eq!(attempts[0].due_at.micros() / 1000, morning.micros() / 1000);

    let ids: Vec<_> =
        claimed(outbox, &claim_ask("a")).await.claimed.iter().map(|it| it.id).collect();
    assert_eq!(ids, [by_day.attempt]);
    let seen = Mutex::new(None);
    let look = |known: &Known, _: Timestamp| {
        *seen.lock().expect("no panic") = Some((known.purpose, known.time_zone.clone()));
        Gated::Refuse { gate: "quiet_hours" }
    };
    outbox.write(&write_ask(outbox, "a", &ids).await, &look).await.expect("the store");
    let seen = seen.into_inner().expect("no panic");
    assert_eq!(seen, Some((Purpose::Transactional, by_day.time_zone.clone())));

    // A zone says where a person lives: it is kept as names and places are.
    let treatments = Treatments { names: Treatment::Drop, ..Treatments::default() };
    let privacy = Privacy::new(treatments, [], Some(&"k".repeat(32).into())).expect("a key");
    let zone = async || outbox.find("ntf_2").await.expect("the store").expect("kept").0.time_zone;
    assert_eq!(zone().await, by_day.time_zone);
    assert_eq!(outbox.treat(&privacy).await, Ok(1));
    assert_eq!(zone().await, None);
}
