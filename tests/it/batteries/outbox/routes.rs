//! Routes: a step follows another one by failure, by time and after asking, once; a confirmation ends them.

use std::sync::Mutex;

use offhook::backend::outbox::{Concluded, NewRoute, NewStep, OverStep, StepRow};
use offhook::dispatch::call::CallPlan;
use offhook::dispatch::decision::{Escalation, Said, StepState};
use offhook::dispatch::{Channel, Confirm};

use super::*;

const CALLS: &str = "calls:AC1";

/// A message that is waited for a second, then a call.
fn by_route(n: u128) -> NewNotification {
    let call = CallPlan {
        confirm: Confirm::Digit,
        language: None,
        voice: None,
        timeout_s: 20,
        time_limit_s: 60,
    };
    let step = |sender: &str, pace: &str, call: Option<CallPlan>| NewStep {
        sender: sender.to_owned(),
        account: ACCOUNT.to_owned(),
        pace: pace.to_owned(),
        to_hash: format!("hash-{n}"),
        units: 1,
        channel: if call.is_some() { Channel::Call } else { Channel::Message },
        call,
        wait: Duration::from_secs(1),
        despite_stop: false,
        price: None,
    };
    let steps = vec![step("shop", "shop", None), step("calls", CALLS, Some(call))];
    NewNotification { route: Some(NewRoute { name: "urgent".to_owned(), steps }), ..new(n) }
}

fn despite_stop(mut new: NewNotification) -> NewNotification {
    new.route.as_mut().expect("it has one").steps[1].despite_stop = true;
    new
}

fn sid(n: u128) -> String {
    format!("SM{n:032x}")
}

/// What Twilio or a callback says of the message of an attempt.
fn says(n: u128, status: &str, end: &[&str]) -> Event {
    let (sid, status) = (sid(n), status.to_owned());
    let key = EventKey::of(&[&[&*sid, &*status], end].concat()).expect("printable");
    Event {
        sid: Some(sid),
        resource: Some(Resource::Message),
        status: Some(status),
        received_at: Timestamp::parse_rfc3339("2089-01-01T00:00:00Z").expect("a time"),
        attempt: Some(AttemptId::new(n)),
        ..Event::new(key, Kind::Message, ACCOUNT)
    }
}

async fn hear(store: &Store, event: Event) -> Concluded {
    store.store(event).await;
    store.outbox.settle().await.expect("the store is there").concluded
}

/// Twilio has the message of a new notification.
async fn sent(store: &Store, new: &NewNotification, n: u128) {
    in_writing(&store.outbox, new).await;
    answer(&store.outbox, new.attempt, accepted(&sid(n))).await;
}

/// Once its time is over.
async fn over(outbox: &Outbox, n: u128) -> OverStep {
    let id = format!("ntf_{n}");
    crate::harness::until("the time of a step is over", async || {
        let over = outbox.steps_to_ask(Duration::ZERO).await.expect("the store is there");
        over.into_iter().find(|step| step.notification == id)
    })
    .await
}

async fn steps(outbox: &Outbox, n: u128) -> Vec<StepState> {
    let steps = outbox.steps(&format!("ntf_{n}")).await.expect("the store is there");
    steps.iter().map(|step: &StepRow| step.state).collect()
}

/// Where the notification, its attempts and its steps stand.
async fn stands(
    outbox: &Outbox,
    n: u128,
) -> (NotificationState, Vec<AttemptState>, Vec<StepState>) {
    let (notification, attempts) = state(outbox, &format!("ntf_{n}")).await;
    (notification, attempts, steps(outbox, n).await)
}

pub(super) async fn the_next_step_begins_once_when_the_one_before_has_failed_or_is_over(
    store: Store,
) {
    use AttemptState as A;
    use NotificationState as N;
    use StepState::{Begun, Over, OverBlind, Skipped, Waiting};
    let outbox = &store.outbox;
    let again = Duration::from_secs(60);

    // It cannot be delivered.
    sent(&store, &by_route(1), 1).await;
    assert_eq!(stands(outbox, 1).await, (N::Open, vec![A::Accepted], vec![Begun, Waiting]));
    assert_eq!(hear(&store, says(1, "undelivered", &[])).await.begun, [Escalation::Failed]);
    assert_eq!(stands(outbox, 1).await, (N::Open, vec![A::Failed, A::Due], vec![Begun, Begun]));
    let (_, attempts) = outbox.find("ntf_1").await.expect("the store").expect("it is kept");
    let call = &attempts[1];
    assert_eq!((call.channel, call.confirm, call.step), (Channel::Call, Some(Confirm::Digit), 2));
    assert_eq!(hear(&store, says(1, "failed", &[])).await, Concluded::default());
    // The carrier has delivered it nevertheless: no call is made.
    assert_eq!(hear(&store, says(1, "delivered", &[])).await.outcomes, [N::Confirmed]);
    let after = (N::Confirmed, vec![A::Confirmed, A::Cancelled], vec![Begun, Begun]);
    assert_eq!(stands(outbox, 1).await, after);

    // It is delivered.
    sent(&store, &by_route(2), 2).await;
    assert_eq!(hear(&store, says(2, "delivered", &[])).await.outcomes, [N::Confirmed]);
    assert_eq!(stands(outbox, 2).await, (N::Confirmed, vec![A::Confirmed], vec![Begun, Skipped]));

    // Its callback is late: Twilio says that it was delivered.
    sent(&store, &by_route(3), 3).await;
    let step = over(outbox, 3).await;
    assert_eq!((step.sid.as_deref(), step.number), (Some(&*sid(3)), 1));
    let nothing = outbox.asked_for(&step, Said::Nothing { again }, None).await;
    assert_eq!(nothing, Ok(Concluded::default()), "it waits for an answer");
    assert_eq!(outbox.steps_to_ask(again).await.expect("the store"), [], "not at once");
    let event = says(3, "delivered", &["rest"]);
    let said = outbox.asked_for(&step, Said::Answer, Some(event)).await.expect("the store");
    assert_eq!((said.outcomes, said.begun), (vec![N::Confirmed], vec![]));
    assert_eq!(stands(outbox, 3).await.2, [Over, Skipped]);

    // It is on its way, as Twilio says to two processes at once: one of them begins the call.
    sent(&store, &by_route(4), 4).await;
    let step = over(outbox, 4).await;
    let event = || Some(says(4, "sent", &["rest"]));
    let (one, two) = tokio::join!(
        outbox.asked_for(&step, Said::Answer, event()),
        outbox.asked_for(&step, Said::Answer, event())
    );
    let begun = [one.expect("the store").begun, two.expect("the store").begun].concat();
    assert_eq!(begun, [Escalation::Time]);
    assert_eq!(stands(outbox, 4).await, (N::Open, vec![A::Unconfirmed, A::Due], vec![Over, Begun]));
    assert_eq!(hear(&store, says(4, "delivered", &[])).await.outcomes, [N::Confirmed]);
    assert_eq!(stands(outbox, 4).await.1, [A::Confirmed, A::Cancelled]);

    // What is urgent goes on after a minute without an answer.
    let urgent = NewNotification { purpose: Purpose::Alert, ..by_route(5) };
    sent(&store, &urgent, 5).await;
    let step = over(outbox, 5).await;
    let late = OverStep { over_for: Duration::from_secs(60), ..step };
    let said = outbox.asked_for(&late, Said::Nothing { again }, None).await.expect("the store");
    assert_eq!(said.begun, [Escalation::Blind]);
    assert_eq!(steps(outbox, 5).await, [OverBlind, Begun]);

    // Nothing is known of it: it goes on being looked for, and is not sent again beside the call.
    let resend = NewNotification { on_unknown: OnUnknown::Resend, ..by_route(6) };
    in_writing(outbox, &resend).await;
    let unknown = Outcome::Unknown { reason: "timeout".to_owned(), look_after: Duration::ZERO };
    answer(outbox, resend.attempt, unknown).await;
    let step = over(outbox, 6).await;
    assert_eq!(step.sid, None);
    // Of another one a callback comes meanwhile, so that there is something to ask for.
    let late = NewNotification { attempt: AttemptId::new(8), ..by_route(8) };
    in_writing(outbox, &late).await;
    let unknown = Outcome::Unknown { reason: "timeout".to_owned(), look_after: HOUR };
    answer(outbox, late.attempt, unknown).await;
    let of_late = over(outbox, 8).await;
    hear(&store, says(8, "sent", &[])).await;
    let said = outbox.asked_for(&of_late, Said::NoSid, None).await.expect("the store");
    assert_eq!(said.begun, []);
    assert_eq!(over(outbox, 8).await.sid, Some(sid(8)));
    let said = outbox.asked_for(&step, Said::NoSid, None).await.expect("the store");
    assert_eq!(said.begun, [Escalation::Time]);
    let absent = Looked::Absent { last: true, look_after: Duration::ZERO };
    let resent = outbox.looked(resend.attempt, &absent, AttemptId::new(66)).await;
    assert_eq!(resent, Ok(false));
    // Its callback comes in the end, and says nothing final: the call is made all the same.
    hear(&store, says(6, "sent", &[])).await;
    assert_eq!(stands(outbox, 6).await, (N::Open, vec![A::Accepted, A::Due], vec![Over, Begun]));

    // It was to be sent again when proof of the first attempt came: that is the one to ask for.
    let resend = NewNotification { on_unknown: OnUnknown::Resend, ..by_route(7) };
    in_writing(outbox, &resend).await;
    let unknown = Outcome::Unknown { reason: "timeout".to_owned(), look_after: HOUR };
    answer(outbox, resend.attempt, unknown).await;
    let resent = outbox.looked(resend.attempt, &absent, AttemptId::new(77)).await;
    assert_eq!(resent, Ok(true));
    hear(&store, says(7, "sent", &[])).await;
    assert_eq!(stands(outbox, 7).await.1, [A::Accepted, A::Cancelled]);
    assert_eq!(over(outbox, 7).await.sid, Some(sid(7)));
}

pub(super) async fn who_has_said_stop_and_what_is_cancelled_is_not_called(store: Store) {
    use AttemptState as A;
    use NotificationState as N;
    use StepState::{Begun, Skipped};
    let outbox = &store.outbox;
    let opted_out = || Outcome::Failed { reason: "21610".to_owned(), stop: Some(Stop::OptedOut) };

    in_writing(outbox, &by_route(1)).await;
    answer(outbox, AttemptId::new(1), opted_out()).await;
    assert_eq!(stands(outbox, 1).await, (N::Failed, vec![A::Failed], vec![Begun, Skipped]));

    // An alert that says so calls all the same, unless a person has entered the number.
    for (n, by_hand) in [(2, false), (3, true)] {
        in_writing(outbox, &despite_stop(by_route(n))).await;
        answer(outbox, AttemptId::new(n), opted_out()).await;
        assert_eq!(stands(outbox, n).await.1, [A::Failed, A::Due]);
        if by_hand {
            let entry = NewSuppression {
                to: None,
                to_hash: format!("hash-{n}"),
                stop: true,
                source: Source::Hand,
            };
            outbox.suppress(&[entry]).await.expect("the store");
            // What a recipient says later takes nothing back.
            store
                .store(Event::new(EventKey::of(&["x"]).expect("printable"), Kind::Other, ACCOUNT))
                .await;
        }
        let ask = ClaimAsk {
            pace: CALLS.to_owned(),
            senders: vec!["calls".to_owned()],
            ..claim_ask("a")
        };
        let claims = claimed(outbox, &ask).await.claimed;
        let ids: Vec<AttemptId> = claims.iter().map(|claim| claim.id).collect();
        let suppressed = Mutex::new(Vec::new());
        let gates = |known: &Known, _| {
            suppressed.lock().expect("no test panics with it").push(known.suppressed);
            if known.suppressed { Gated::Refuse { gate: "suppression" } } else { Gated::Pass }
        };
        let written = outbox.write(&write_ask(outbox, "a", &ids).await, &gates).await;
        assert_eq!(written.expect("the store").len(), 1);
        assert_eq!(*suppressed.lock().expect("as above"), [by_hand]);
    }
    assert_eq!(stands(outbox, 2).await.1, [A::Failed, A::Writing]);
    assert_eq!(
        stands(outbox, 3).await,
        (N::Refused, vec![A::Failed, A::Refused], vec![Begun, Begun])
    );

    // Cancelled while its message is on its way: no call follows, also if it fails.
    sent(&store, &by_route(4), 4).await;
    outbox.cancel("ntf_4").await.expect("the store").expect("it is kept");
    assert_eq!(steps(outbox, 4).await, [Begun, Skipped]);
    assert_eq!(hear(&store, says(4, "undelivered", &[])).await.begun, []);
    assert_eq!(stands(outbox, 4).await.0, N::Failed);
}
