//! Emails: to their own address, proven by their events alone.

use offhook::backend::outbox::{Looked, MailLetter, MailPart, NewRoute, NewStep};
use offhook::dispatch::Channel;
use offhook::dispatch::decision::StepState;

use super::*;

const SENDGRID: &str = "sendgrid";
const ADDRESS: &str = "ana@example.com";

/// An email.
fn email(n: u128) -> NewNotification {
    let mail = MailPart {
        to: None,
        subject: "Your order".to_owned(),
        html: Some("<p>It has left.</p>".to_owned()),
    };
    NewNotification {
        account: SENDGRID.to_owned(),
        to: ADDRESS.to_owned(),
        mail: Some(mail),
        channel: Channel::Email,
        ..new(n)
    }
}

/// An email, and then a message to a number.
fn then_a_message(n: u128) -> NewNotification {
    let step = |channel, account: &str| NewStep {
        sender: "shop".to_owned(),
        account: account.to_owned(),
        pace: "shop".to_owned(),
        to_hash: format!("hash-{n}"),
        units: 1,
        channel,
        call: None,
        wait: HOUR,
        despite_stop: false,
        price: None,
    };
    let steps = vec![step(Channel::Email, SENDGRID), step(Channel::Message, ACCOUNT)];
    let mut by_route = email(n);
    by_route.mail.as_mut().expect("it is an email").to = Some(ADDRESS.to_owned());
    let route = Some(NewRoute { name: "mail-first".to_owned(), steps });
    NewNotification { route, to: new(n).to, ..by_route }
}

/// A message to a number, and then an email.
fn then_an_email(n: u128) -> NewNotification {
    let mut by_route = then_a_message(n);
    let steps = &mut by_route.route.as_mut().expect("it has one").steps;
    steps.reverse();
    steps[1].to_hash = format!("address-{n}");
    NewNotification { channel: Channel::Message, account: ACCOUNT.to_owned(), ..by_route }
}

fn despite_stop(mut new: NewNotification) -> NewNotification {
    new.route.as_mut().expect("it has one").steps[1].despite_stop = true;
    new
}

/// What SendGrid reports of the email of an attempt.
fn says(n: u128, account: &str, status: &str) -> Event {
    let sid = format!("mail-{n}");
    let key = EventKey::of(&[&sid, status, account]).expect("printable");
    Event {
        sid: Some(sid),
        resource: Some(Resource::Email),
        status: Some(status.to_owned()),
        attempt: Some(AttemptId::new(n)),
        ..Event::new(key, Kind::Email, account)
    }
}

async fn hear(store: &Store, event: Event) {
    store.store(event).await;
    store.outbox.settle().await.expect("the store is there");
}

async fn taken(store: &Store, new: &NewNotification, n: u128) -> Letter {
    let letter = in_writing(&store.outbox, new).await;
    let event = Box::new(says(n, SENDGRID, "accepted"));
    answer(&store.outbox, new.attempt, Outcome::Accepted { sid: format!("mail-{n}"), event }).await;
    letter
}

pub(super) async fn an_email_goes_to_its_address_and_its_events_confirm_it(store: Store) {
    use AttemptState::{Confirmed, Due, Failed};
    let outbox = &store.outbox;
    let letter = taken(&store, &then_a_message(1), 1).await;
    let mail = Box::new(MailLetter {
        subject: "Your order".to_owned(),
        html: Some("<p>It has left.</p>".to_owned()),
    });
    assert_eq!((&*letter.to, &*letter.account, letter.mail), (ADDRESS, SENDGRID, Some(mail)));
    hear(&store, says(1, ACCOUNT, "delivered")).await;
    assert_eq!(state(outbox, "ntf_1").await.0, NotificationState::Open, "another account's");
    hear(&store, says(1, SENDGRID, "delivered")).await;
    assert_eq!(state(outbox, "ntf_1").await, (NotificationState::Confirmed, vec![Confirmed]));
    // A server that has taken it returns it later.
    hear(&store, says(1, SENDGRID, "bounce")).await;
    assert_eq!(state(outbox, "ntf_1").await, (NotificationState::Failed, vec![Failed]));
    let (failed, _) = outbox.find("ntf_1").await.expect("the store").expect("it is kept");
    assert_eq!(
        (failed.reason.as_deref(), failed.email.as_deref()),
        (Some("bounce"), Some(ADDRESS))
    );

    taken(&store, &then_a_message(2), 2).await;
    hear(&store, says(2, SENDGRID, "dropped")).await;
    assert_eq!(state(outbox, "ntf_2").await, (NotificationState::Open, vec![Failed, Due]));
    let (_, attempts) = outbox.find("ntf_2").await.expect("the store").expect("it is kept");
    assert_eq!(
        attempts.iter().map(|it| it.channel).collect::<Vec<_>>(),
        [Channel::Email, Channel::Message]
    );
    let ask = claim_ask("a");
    claimed(outbox, &ask).await;
    let written = write(outbox, &write_ask(outbox, "a", &[attempts[1].id]).await).await;
    let [Written::Send(letter)] = &written[..] else { panic!("{written:?}") };
    assert_eq!((&letter.to, &letter.mail), (&new(2).to, &None));
}

pub(super) async fn an_email_that_no_event_proves_is_sent_again_only_if_asked(store: Store) {
    use AttemptState::{Cancelled, Confirmed, Due, Unknown};
    let outbox = &store.outbox;
    let unknown =
        || Outcome::Unknown { reason: "timed_out".to_owned(), look_after: Duration::ZERO };
    let absent = |last| Looked::Absent { last, look_after: HOUR };
    for (n, on_unknown, after) in
        [(1, OnUnknown::Report, vec![Unknown]), (2, OnUnknown::Resend, vec![Unknown, Due])]
    {
        in_writing(outbox, &NewNotification { on_unknown, ..email(n) }).await;
        answer(outbox, AttemptId::new(n), unknown()).await;
        let searches = crate::harness::until("it is looked for", async || {
            let found = outbox.to_look_for(9, Duration::ZERO).await.expect("the store is there");
            (!found.is_empty()).then_some(found)
        })
        .await;
        assert_eq!((searches[0].channel, &*searches[0].to), (Channel::Email, ADDRESS));
        assert_eq!(searches[0].due, [AttemptId::new(n)]);
        assert!(searches[0].sought.iter().any(|one| one.id == AttemptId::new(n)));
        assert!(searches[0].now >= searches[0].sought[0].written_at, "the clock of the store");
        let again = AttemptId::new(100 + n);
        let resent = outbox.looked(AttemptId::new(n), &absent(false), again).await;
        assert_eq!(resent, Ok(false), "it is waited for");
        let resent = outbox.looked(AttemptId::new(n), &absent(true), again).await;
        assert_eq!(resent, Ok(on_unknown == OnUnknown::Resend));
        assert_eq!(state(outbox, &format!("ntf_{n}")).await.1, after);
    }
    // The first one was sent after all.
    hear(&store, says(2, SENDGRID, "delivered")).await;
    let confirmed = (NotificationState::Confirmed, vec![Confirmed, Cancelled]);
    assert_eq!(state(outbox, "ntf_2").await, confirmed);
}

pub(super) async fn an_email_follows_a_stop_to_the_number_alone_and_only_if_the_route_says_so(
    store: Store,
) {
    use AttemptState::{Due, Failed, Refused, Writing};
    let outbox = &store.outbox;
    let opted_out = || Outcome::Failed { reason: "21610".to_owned(), stop: Some(Stop::OptedOut) };
    in_writing(outbox, &then_an_email(1)).await;
    answer(outbox, AttemptId::new(1), opted_out()).await;
    assert_eq!(state(outbox, "ntf_1").await, (NotificationState::Failed, vec![Failed]));
    let steps = outbox.steps("ntf_1").await.expect("the store");
    assert_eq!(
        steps.iter().map(|it| it.state).collect::<Vec<_>>(),
        [StepState::Begun, StepState::Skipped]
    );

    // The address is another one than the number: it is asked for entries of its own.
    for (n, source) in [(2, None), (3, Some(Source::Unsubscribe)), (4, Some(Source::Hand))] {
        in_writing(outbox, &despite_stop(then_an_email(n))).await;
        answer(outbox, AttemptId::new(n), opted_out()).await;
        assert_eq!(state(outbox, &format!("ntf_{n}")).await.1, [Failed, Due]);
        if let Some(source) = source {
            let to_hash = format!("address-{n}");
            let entry = NewSuppression { to: None, to_hash, stop: true, source };
            outbox.suppress(&[entry]).await.expect("the store");
        }
        let claims = claimed(outbox, &claim_ask("a")).await.claimed;
        let ids: Vec<AttemptId> = claims.iter().map(|claim| claim.id).collect();
        let gates = |known: &Known, _| match known.suppressed {
            true => Gated::Refuse { gate: "suppression" },
            false => Gated::Pass,
        };
        let written = outbox.write(&write_ask(outbox, "a", &ids).await, &gates).await;
        assert_eq!(written.expect("the store").len(), 1);
        let expected = if source.is_some() { Refused } else { Writing };
        assert_eq!(state(outbox, &format!("ntf_{n}")).await.1, [Failed, expected]);
    }
}
