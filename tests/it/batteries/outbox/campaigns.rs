//! Campaigns: planned, handed over, stopped and accounted for.

use std::collections::BTreeMap;

use offhook::backend::Outbox;
use offhook::backend::outbox::{
    CampaignOutcome, CampaignState, CampaignStep, Gated, HandOverAsk, HandedOver, Kept, Known,
    NewCampaign, NewNotification, NewRecipient, Outcome, RecipientOutcome, Started, StepCost,
    Written,
};
use offhook::clock::{Clock, Timestamp};
use offhook::dispatch::campaign::brake::{Brake, Outcomes};
use offhook::dispatch::{Channel, OnUnknown, Purpose};
use offhook::event::{AttemptId, Event, EventKey, Kind, Resource};

use super::{
    ACCOUNT, HOUR, Store, accepted, answer, claim_ask, claimed, execute, pass, retain, write,
    write_ask,
};

const ID: &str = "cmp_1";

fn campaign(cost_cap: Option<u64>) -> NewCampaign {
    let step = CampaignStep {
        sender: "shop".to_owned(),
        account: ACCOUNT.to_owned(),
        pace: "shop".to_owned(),
        channel: Channel::Message,
        call: None,
        wait: HOUR,
        prefix: String::new(),
    };
    NewCampaign {
        id: ID.to_owned(),
        token: "t".to_owned(),
        name: "spring".to_owned(),
        purpose: Purpose::Transactional,
        on_unknown: OnUnknown::Report,
        route: None,
        steps: vec![step],
        text: "Hello {{ name }}".to_owned(),
        subject: None,
        html: None,
        deadline: None,
        cost_cap,
        currency: Some("USD".to_owned()),
    }
}

fn recipient(number: u64) -> NewRecipient {
    NewRecipient {
        number,
        key: Some(format!("customer-{number}")),
        to: format!("+1555020{number:04}"),
        to_hash: format!("of-{number}"),
        email: None,
        email_hash: None,
        time_zone: None,
        text: format!("Hello {number}"),
        subject: None,
        html: None,
        costs: vec![StepCost { units: 1, price: Some(7_900) }],
    }
}

/// Plans and starts a campaign to a number of recipients.
async fn started(outbox: &Outbox, recipients: u64, cost_cap: Option<u64>) {
    outbox.create_campaign(&campaign(cost_cap)).await.expect("the store is there");
    let all: Vec<NewRecipient> = (1..=recipients).map(recipient).collect();
    assert_eq!(outbox.add_recipients(ID, &all).await, Ok(Some(recipients)));
    assert_eq!(outbox.planned(ID, 0, 0).await, Ok(true));
    let deadline = Clock::System.now().after(HOUR);
    let started = outbox.start_campaign(ID, recipients, deadline).await;
    assert_eq!(started, Ok(Some(Started::Running)));
}

/// A recipient with everything that a notification says of one.
fn recipient_of(new: &NewNotification) -> NewRecipient {
    let mail = new.mail.clone().expect("it has an email");
    NewRecipient {
        to: new.to.clone(),
        to_hash: new.to_hash.clone(),
        email_hash: Some("of-an-email".to_owned()),
        email: mail.to,
        text: new.body.clone(),
        subject: Some(mail.subject),
        html: mail.html,
        ..recipient(1)
    }
}

/// Leaves what a campaign has of a recipient that a gate refused.
pub(super) async fn one_that_refuses(outbox: &Outbox, new: &NewNotification) {
    outbox.create_campaign(&campaign(None)).await.expect("the store is there");
    outbox.add_recipients(ID, &[recipient_of(new)]).await.expect("the store is there");
    outbox.planned(ID, 0, 0).await.expect("the store is there");
    let deadline = Clock::System.now().after(HOUR);
    outbox.start_campaign(ID, 1, deadline).await.expect("the store is there");
    let refuse = |_: &Known, _: Timestamp| Gated::Refuse { gate: "country" };
    assert_eq!(hand_over(outbox, 9, &refuse).await.refused["country"], 1);
}

/// Leaves what another campaign has of a recipient that waits.
pub(super) async fn a_draft(outbox: &Outbox, new: &NewNotification) {
    let campaign = NewCampaign { id: "cmp_2".to_owned(), ..campaign(None) };
    outbox.create_campaign(&campaign).await.expect("the store is there");
    outbox.add_recipients("cmp_2", &[recipient_of(new)]).await.expect("the store is there");
    outbox.planned("cmp_2", 0, 0).await.expect("the store is there");
}

async fn hand_over(
    outbox: &Outbox,
    window: u64,
    gates: &(impl Fn(&Known, Timestamp) -> Gated + Sync),
) -> HandedOver {
    let asked = HandOverAsk { campaign: ID.to_owned(), window, limit: 1000 };
    outbox.hand_over(&asked, gates).await.expect("the store is there")
}

async fn take(outbox: &Outbox) -> Vec<AttemptId> {
    claimed(outbox, &claim_ask("a")).await.claimed.iter().map(|claimed| claimed.id).collect()
}

async fn stands(outbox: &Outbox) -> CampaignState {
    outbox.campaign(ID).await.expect("the store is there").expect("it is kept").state
}

async fn results(outbox: &Outbox) -> Vec<(RecipientOutcome, Option<String>)> {
    let page = outbox.results(ID, 0, 1000).await.expect("the store is there");
    page.into_iter().map(|result| (result.outcome, result.reason)).collect()
}

/// Each with a name that `gates` knows.
fn by_number(known: &Known, now: Timestamp) -> Gated {
    match &known.to[known.to.len() - 1..] {
        "2" => Gated::Refuse { gate: "country" },
        "3" => Gated::Hold { gate: "quiet_hours", until: now.after(HOUR) },
        "4" => Gated::Expire,
        _ => Gated::Pass,
    }
}

async fn confirm(store: &Store, id: AttemptId, sid: &str) {
    assert_eq!(answer(&store.outbox, id, accepted(sid)).await, 0);
    let delivered = Event {
        sid: Some(sid.to_owned()),
        resource: Some(Resource::Message),
        status: Some("delivered".to_owned()),
        attempt: Some(id),
        ..Event::new(EventKey::of(&[sid, "delivered"]).expect("printable"), Kind::Message, ACCOUNT)
    };
    store.store(delivered).await;
    store.outbox.settle().await.expect("the store is there");
}

pub(super) async fn a_campaign_reaches_each_recipient_once_and_accounts_for_all(store: Store) {
    let outbox = &store.outbox;
    outbox.create_campaign(&campaign(None)).await.expect("the store is there");
    let again = NewRecipient { number: 6, ..recipient(1) };
    let rows = [1, 2, 3, 4, 5].map(recipient).into_iter().chain([again.clone()]);
    let rows: Vec<NewRecipient> = rows.collect();
    assert_eq!(outbox.add_recipients(ID, &rows).await, Ok(Some(5)), "of a batch the first counts");
    assert_eq!(outbox.add_recipients(ID, &[again]).await, Ok(Some(0)), "and of all batches");
    assert_eq!(outbox.sequential(ID).await, Ok(4));
    assert!(outbox.open_campaigns("").await.expect("the store is there").is_empty());
    assert_eq!(outbox.planned(ID, 2, 1).await, Ok(true));
    assert_eq!(outbox.add_recipients(ID, &[recipient(9)]).await, Ok(None), "its list is read");
    let deadline = Clock::System.now().after(HOUR);
    let mismatch = outbox.start_campaign(ID, 7, deadline).await;
    assert_eq!(mismatch, Ok(Some(Started::Mismatch { recipients: 5 })));
    assert_eq!(hand_over(outbox, 100, &pass).await, HandedOver::default(), "a draft is not sent");
    let running = outbox.start_campaign(ID, 5, deadline).await;
    assert_eq!(running, Ok(Some(Started::Running)));
    let twice = outbox.start_campaign(ID, 5, deadline).await;
    assert_eq!(twice, Ok(Some(Started::Not(CampaignState::Running))));

    let came = hand_over(outbox, 100, &by_number).await;
    assert_eq!((came.handed_over, came.again), (2, false));
    assert_eq!(came.held, BTreeMap::from([("quiet_hours", 1)]));
    assert_eq!(came.refused, BTreeMap::from([("country", 1), ("deadline", 1)]));
    let ids = take(outbox).await;
    assert_eq!(ids.len(), 2);
    for written in write(outbox, &write_ask(outbox, "a", &ids).await).await {
        assert!(matches!(written, Written::Send(_)), "{written:?}");
    }
    confirm(&store, ids[0], "SM1").await;
    answer(outbox, ids[1], Outcome::Failed { reason: "30003".to_owned(), stop: None }).await;
    assert_eq!(outbox.keep_campaign(ID).await, Ok(Kept::Open), "one is held");
    let found = outbox.campaign(ID).await.expect("the store is there").expect("it is kept");
    assert_eq!((found.doubles, found.invalid, found.handed_over, found.spent), (2, 1, 2, 15_800));
    let progress = outbox.progress(ID).await.expect("the store is there");
    assert_eq!((progress.waiting, progress.held["quiet_hours"]), (0, 1));
    assert_eq!(
        progress.ended.values().sum::<u64>() + progress.notifications.values().sum::<u64>(),
        4
    );

    let cancelled = outbox.cancel_campaign(ID).await.expect("the store").expect("it is kept");
    assert_eq!((cancelled.state, cancelled.in_writing), (CampaignState::Cancelled, 0));
    assert_eq!(results(outbox).await[2].0, RecipientOutcome::Cancelled, "from now on");
    assert_eq!(outbox.keep_campaign(ID).await, Ok(Kept::Open), "it is not swept");
    while outbox.sweep_campaign(ID).await.expect("the store is there") {}
    assert_eq!(outbox.keep_campaign(ID).await, Ok(Kept::Finished));
    let reason = |text: &str| Some(text.to_owned());
    let mut expected = [
        (RecipientOutcome::Confirmed, None),
        (RecipientOutcome::Refused, reason("country")),
        (RecipientOutcome::Cancelled, reason("cancelled")),
        (RecipientOutcome::Expired, reason("deadline")),
        (RecipientOutcome::Failed, reason("30003")),
    ];
    let first = outbox.results(ID, 0, 1).await.expect("the store is there").remove(0);
    if first.outcome == RecipientOutcome::Failed {
        expected.swap(0, 4);
    } else {
        assert_eq!((first.channel, first.attempts), (Some(Channel::Message), 1));
        assert_eq!(first.sids, ["SM1"]);
        assert_eq!(first.to, Some(recipient(1).to));
    }
    assert_eq!(results(outbox).await, expected);
}

pub(super) async fn after_a_pause_or_a_cancellation_nothing_of_a_campaign_is_written(store: Store) {
    let outbox = &store.outbox;
    started(outbox, 6, None).await;
    assert_eq!(hand_over(outbox, 4, &pass).await.handed_over, 4, "no more than the window");
    let ids = take(outbox).await;
    let [sent, claimed_only, ..] = ids[..] else { panic!("{ids:?}") };
    let written = write(outbox, &write_ask(outbox, "a", &[sent]).await).await;
    assert!(matches!(written[..], [Written::Send(_)]), "{written:?}");
    let later = write_ask(outbox, "a", &[claimed_only]).await;

    let paused = outbox.pause_campaign(ID).await;
    let expected = CampaignOutcome { state: CampaignState::Paused, changed: true, in_writing: 1 };
    assert_eq!(paused, Ok(Some(expected)));
    assert_eq!(write(outbox, &later).await, [Written::Lost]);
    assert_eq!(hand_over(outbox, 4, &pass).await, HandedOver::default());
    let nothing = outbox.claim(&claim_ask("a")).await.expect("the store is there");
    assert!(nothing.claimed.is_empty(), "{nothing:?}");
    confirm(&store, sent, "SM1").await;

    let resumed = outbox.resume_campaign(ID).await.expect("the store").expect("it is kept");
    assert_eq!((resumed.state, resumed.changed), (CampaignState::Running, true));
    let ids = take(outbox).await;
    let of_before = write_ask(outbox, "a", &ids).await;
    let cancelled = outbox.cancel_campaign(ID).await.expect("the store").expect("it is kept");
    assert_eq!((cancelled.state, cancelled.in_writing), (CampaignState::Cancelled, 0));
    for written in write(outbox, &of_before).await {
        assert_eq!(written, Written::Ended("cancelled"));
    }
    while outbox.sweep_campaign(ID).await.expect("the store is there") {}
    assert_eq!(outbox.keep_campaign(ID).await, Ok(Kept::Finished));
    let all = results(outbox).await;
    let of = |outcome| all.iter().filter(|(it, _)| *it == outcome).count();
    assert_eq!((of(RecipientOutcome::Confirmed), of(RecipientOutcome::Cancelled)), (1, 5));

    let cutoff = Timestamp::parse_rfc3339("2021-01-01T00:00:00Z").expect("a time");
    retain(&store, cutoff).await;
    assert_eq!(results(outbox).await.len(), 6, "it is not old");
    execute(&store, "UPDATE campaigns SET finished_at = '2020-01-01T00:00:00.000000Z'").await;
    // Its recipients, then itself.
    for _ in 0..2 {
        retain(&store, cutoff).await;
    }
    assert_eq!(outbox.campaign(ID).await, Ok(None));
    assert_eq!(results(outbox).await, []);

    // Nor is one kept that a person has paused and left, once nothing of it can be sent any more.
    started(outbox, 2, None).await;
    outbox.pause_campaign(ID).await.expect("the store is there");
    assert!(outbox.open_campaigns("").await.expect("the store is there").is_empty());
    assert_eq!(outbox.keep_campaign(ID).await, Ok(Kept::Open));
    execute(&store, "UPDATE campaigns SET deadline = '2020-01-01T00:00:00.000000Z'").await;
    assert_eq!(outbox.open_campaigns("").await.expect("the store is there").len(), 1);
    assert_eq!(outbox.keep_campaign(ID).await, Ok(Kept::Finished));
    let expired = (RecipientOutcome::Expired, Some("deadline".to_owned()));
    assert_eq!(results(outbox).await, [expired.clone(), expired]);
    execute(&store, "UPDATE campaigns SET finished_at = '2020-01-01T00:00:00.000000Z'").await;
    for _ in 0..2 {
        retain(&store, cutoff).await;
    }

    // Nor one whose list is cancelled while it is read: nothing more is taken of it.
    outbox.create_campaign(&campaign(None)).await.expect("the store is there");
    outbox.add_recipients(ID, &[recipient(1)]).await.expect("the store is there");
    let cancelled = outbox.cancel_campaign(ID).await.expect("the store").expect("it is kept");
    assert_eq!(cancelled.state, CampaignState::Cancelled);
    assert_eq!(outbox.add_recipients(ID, &[recipient(2)]).await, Ok(None));
    assert_eq!(outbox.planned(ID, 0, 0).await, Ok(false));
    while outbox.sweep_campaign(ID).await.expect("the store is there") {}
    assert_eq!(outbox.keep_campaign(ID).await, Ok(Kept::Finished));
    execute(&store, "DELETE FROM campaigns").await;

    // Nor a draft.
    outbox.create_campaign(&campaign(None)).await.expect("the store is there");
    outbox.add_recipients(ID, &[recipient(1)]).await.expect("the store is there");
    outbox.planned(ID, 0, 0).await.expect("the store is there");
    retain(&store, cutoff).await;
    assert_eq!(stands(outbox).await, CampaignState::Draft, "it is not old");
    execute(&store, "UPDATE campaigns SET touched_at = '2020-01-01T00:00:00.000000Z'").await;
    for _ in 0..2 {
        retain(&store, cutoff).await;
    }
    assert_eq!((outbox.campaign(ID).await, results(outbox).await), (Ok(None), vec![]));
}

/// However many there are, and whatever their ids: each has its turn. One that has nothing left to send is over, although a
/// person has paused it, or its last outcomes would have stopped it.
pub(super) async fn each_campaign_has_its_turn_and_ends_with_its_last_outcome(store: Store) {
    let outbox = &store.outbox;
    for number in 0..150 {
        let id = format!("cmp_{number:03}");
        outbox.create_campaign(&NewCampaign { id, ..campaign(None) }).await.expect("the store");
    }
    let running = "UPDATE campaigns SET state = 'running', started_at = created_at, deadline = '2090-01-01T00:00:00.000000Z'";
    execute(&store, running).await;
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = outbox.open_campaigns(&after).await.expect("the store is there");
        let Some(last) = page.last() else { break };
        after.clone_from(&last.id);
        seen.extend(page.into_iter().map(|it| it.id));
    }
    assert_eq!(seen, (0..150).map(|number| format!("cmp_{number:03}")).collect::<Vec<_>>());
    execute(&store, "DELETE FROM campaigns").await;

    started(outbox, 60, None).await;
    hand_over(outbox, 1000, &pass).await;
    outbox.pause_campaign(ID).await.expect("the store is there");
    assert!(outbox.open_campaigns("").await.expect("the store is there").is_empty());
    outbox.resume_campaign(ID).await.expect("the store is there");
    let mut sent = 0;
    while sent < 60 {
        let ids = take(outbox).await;
        write(outbox, &write_ask(outbox, "a", &ids).await).await;
        for id in ids {
            sent += 1;
            let failed = Outcome::Failed { reason: "30003".to_owned(), stop: None };
            answer(outbox, id, failed).await;
        }
    }
    assert_eq!(outbox.keep_campaign(ID).await, Ok(Kept::Finished), "nothing is left to be stopped");
    execute(&store, "UPDATE campaigns SET state = 'paused', finished_at = NULL").await;
    assert_eq!(outbox.open_campaigns("").await.expect("the store is there").len(), 1);
    assert_eq!(outbox.keep_campaign(ID).await, Ok(Kept::Finished));
}

pub(super) async fn a_trial_lasts_until_its_messages_had_time_to_arrive(store: Store) {
    let outbox = &store.outbox;
    started(outbox, 120, None).await;
    assert_eq!(hand_over(outbox, 1000, &pass).await.handed_over, 100, "of its trial");
    let long_ago = "'2026-01-01T00:00:00.000000Z'";
    execute(&store, &format!("UPDATE campaigns SET trial_until = {long_ago}")).await;
    assert_eq!(hand_over(outbox, 1000, &pass).await.handed_over, 0, "nothing of it is sent yet");
    let mut sent = 0;
    while sent < 100 {
        let ids = take(outbox).await;
        write(outbox, &write_ask(outbox, "a", &ids).await).await;
        for id in ids {
            sent += 1;
            answer(outbox, id, accepted(&format!("SM{sent}"))).await;
        }
    }
    assert_eq!(hand_over(outbox, 1000, &pass).await.handed_over, 0, "it was sent only just now");
    execute(&store, &format!("UPDATE attempts SET written_at = {long_ago}")).await;
    assert_eq!(hand_over(outbox, 1000, &pass).await.handed_over, 20, "no phone answers");
}

pub(super) async fn a_campaign_goes_on_beyond_its_trial_and_stops_when_it_goes_badly(store: Store) {
    let outbox = &store.outbox;
    // What 110 of them cost.
    started(outbox, 120, Some(110 * 7_900)).await;
    assert_eq!(hand_over(outbox, 1000, &pass).await.handed_over, 100, "of its trial");
    assert_eq!(hand_over(outbox, 1000, &pass).await.handed_over, 0, "nothing came of it yet");
    let mut fail = 0..50;
    while !fail.is_empty() {
        let ids = take(outbox).await;
        write(outbox, &write_ask(outbox, "a", &ids).await).await;
        for id in ids {
            let Some(n) = fail.next() else { break };
            let reason = if n < 2 { "30007" } else { "30003" };
            answer(outbox, id, Outcome::Failed { reason: reason.to_owned(), stop: None }).await;
        }
    }
    assert_eq!(hand_over(outbox, 1000, &pass).await.handed_over, 0, "it is about to stop");
    let outcomes = Outcomes { of: 50, failed: 50, opted_out: 0, filtered: 2 };
    let kept = outbox.keep_campaign(ID).await;
    assert_eq!(kept, Ok(Kept::Stopped(Brake::Filtered, outcomes)));
    let found = outbox.campaign(ID).await.expect("the store is there").expect("it is kept");
    assert_eq!((found.state, found.evidence), (CampaignState::Stopped, Some(outcomes)));
    assert_eq!(hand_over(outbox, 1000, &pass).await, HandedOver::default());
    assert!(outbox.open_campaigns("").await.expect("the store is there").is_empty());

    outbox.resume_campaign(ID).await.expect("the store is there");
    assert_eq!(outbox.keep_campaign(ID).await, Ok(Kept::Open), "what was before does not count");
    assert_eq!(stands(outbox).await, CampaignState::Running);
    assert_eq!(hand_over(outbox, 1000, &pass).await.handed_over, 20, "the rest");
    // Each costs 7,900, and the cap is that of 110.
    let gates = |known: &Known, _: Timestamp| match known.is_over_cap {
        true => Gated::Refuse { gate: "cost_cap" },
        false => Gated::Pass,
    };
    let mut sent = outbox.campaign(ID).await.expect("the store").expect("it is kept").spent / 7_900;
    let mut over = 0;
    crate::harness::until("each is written, or refused", async || {
        let ids: Vec<AttemptId> = outbox
            .claim(&claim_ask("a"))
            .await
            .expect("the store")
            .claimed
            .iter()
            .map(|it| it.id)
            .collect();
        let ask = write_ask(outbox, "a", &ids).await;
        for (written, id) in outbox.write(&ask, &gates).await.expect("the store").iter().zip(ids) {
            match written {
                Written::Send(_) => sent += 1,
                Written::Ended("cost_cap") => over += 1,
                other => panic!("{other:?}"),
            }
            let unanswered = Outcome::Unknown { reason: "408".to_owned(), look_after: HOUR };
            answer(outbox, id, unanswered).await;
        }
        (sent + over == 120).then_some(())
    })
    .await;
    assert_eq!((sent, over), (110, 10));
    let spent = outbox.campaign(ID).await.expect("the store").expect("it is kept").spent;
    assert_eq!(spent, 110 * 7_900);
}
