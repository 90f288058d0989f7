//! What a store keeps of what is to be sent, of both stores alike.

pub(super) mod agreed;
mod calls;
mod campaigns;
mod cancelled;
mod consent;
mod cooling;
mod emails;
mod everywhere;
mod follow_ups;
mod lanes;
mod late;
mod plans;
mod quiet;
mod routes;

use std::sync::Arc;
use std::time::Duration;

use offhook::backend::DeadLetters;
use offhook::backend::local_log::{Bounds, LocalLog};
use offhook::backend::outbox::{
    Answered, Asked, Attempt, Back, ClaimAsk, Claimed, Claims, Gated, Known, Letter, Looked,
    NewNotification, NewSuppression, NotificationSearch, Outcome, Settled, Stop, WriteAsk, Written,
};
use offhook::backend::postgres::{self, PostgresStore};
use offhook::backend::purge::{Found, Mode, Place, Purge, Selection};
use offhook::backend::sqlite::{self, Database, SqliteStore};
use offhook::backend::{self, Outbox};
use offhook::clock::Timestamp;
use offhook::dispatch::call::Lines;
use offhook::dispatch::gates::Pause;
use offhook::dispatch::suppression::Source;
use offhook::dispatch::{AttemptState, Channel, NotificationState, OnUnknown, Purpose};
use offhook::event::{AttemptId, Batch, Event, EventKey, Kind, Resource};
use offhook::pipeline::expiry::Expire as _;
use offhook::pipeline::{CommitError, Sink as _};
use offhook::twilio::privacy::{Privacy, Treatment, Treatments};
use sqlx::{Connection as _, Executor as _, SqliteConnection};
use tempfile::TempDir;

use self::agreed::the_latest_word_about_marketing_counts;
use self::calls::{
    a_call_is_confirmed_by_what_was_asked_for,
    a_call_of_unknown_outcome_is_sought_among_calls_and_holds_its_line,
    a_cancelled_call_is_hung_up_while_it_rings, there_are_never_more_open_calls_than_lines,
};
use self::campaigns::{
    a_campaign_goes_on_beyond_its_trial_and_stops_when_it_goes_badly,
    a_campaign_reaches_each_recipient_once_and_accounts_for_all,
    a_trial_lasts_until_its_messages_had_time_to_arrive,
    after_a_pause_or_a_cancellation_nothing_of_a_campaign_is_written,
    each_campaign_has_its_turn_and_ends_with_its_last_outcome,
};
use self::cancelled::{
    a_cancellation_outlives_the_end_of_the_lease,
    a_cancellation_outlives_the_look_that_is_under_way,
    a_person_who_is_purged_is_not_sent_what_was_on_its_way_again,
    one_that_is_known_to_be_sent_keeps_another_from_being_sent_again,
    what_was_cancelled_on_its_way_is_not_requested_again,
};
use self::consent::{
    a_list_may_be_imported_again, what_a_recipient_says_is_heard_once_and_counts_at_once,
    without_a_key_the_store_hashes_what_recipients_say,
};
use self::cooling::{
    a_burst_that_is_too_fast_cools_a_sender_down_once,
    a_sender_that_is_too_fast_again_waits_longer_whatever_was_accepted_meanwhile,
    a_shorter_wait_of_an_account_ends_no_longer_one,
};
use self::emails::{
    an_email_follows_a_stop_to_the_number_alone_and_only_if_the_route_says_so,
    an_email_goes_to_its_address_and_its_events_confirm_it,
    an_email_that_no_event_proves_is_sent_again_only_if_asked,
};
use self::everywhere::{
    after_a_purge_no_table_has_the_number_or_the_text, each_table_is_known_here,
    once_treated_no_table_has_the_number_or_the_text,
};
use self::follow_ups::what_no_callback_ends_is_asked_for_until_it_ends;
use self::lanes::{
    a_claim_says_when_a_backoff_is_over, a_clock_that_goes_back_holds_nothing_up,
    adoption_leaves_what_a_person_holds, what_cannot_go_is_not_in_the_way,
    what_waits_has_the_pace_of_its_sender,
};
use self::late::{
    a_callback_of_an_attempt_that_is_gone_is_no_mismatch,
    a_commit_in_doubt_after_which_nothing_was_sent_is_taken_back,
    a_message_that_was_sent_again_and_is_found_after_all_is_one_too_many,
    answers_and_commits_do_not_wait_for_each_other, callbacks_before_the_answer_settle_after_it,
    proof_overrides_what_was_inferred, what_the_store_refuses_of_one_attempt_holds_no_other,
    what_was_not_sent_is_due_again_even_late,
};
use self::quiet::what_is_planned_at_night_is_claimed_in_the_morning;
use self::routes::{
    the_next_step_begins_once_when_the_one_before_has_failed_or_is_over,
    who_has_said_stop_and_what_is_cancelled_is_not_called,
};
use crate::services::{Durability, Postgres, needs};

pub(super) const ACCOUNT: &str = "AC00000000000000000000000000000001";
const PER_UNIT: Duration = Duration::from_millis(10);
pub(super) const HOUR: Duration = Duration::from_secs(3600);

pub(super) struct Store {
    pub(super) store: backend::Store,
    pub(super) outbox: Outbox,
    pub(super) _home: (Option<TempDir>, Option<Postgres>, Option<SqliteStore>),
}

impl Store {
    /// Stores an event as the receiving half does.
    pub(super) async fn store(&self, event: Event) {
        let batch = Batch::from(event);
        let stored = match &self._home {
            (_, Some(server), _) => {
                let pool = postgres::Postgres::new(&server.url()).expect("a good URL");
                PostgresStore::new(pool).commit(&batch).await
            }
            (.., Some(sink)) => sink.commit(&batch).await,
            _ => unreachable!("a store is one of the two"),
        };
        stored.expect("the store is there");
    }
}

pub(super) async fn sqlite() -> Store {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let url = format!("sqlite:{}", directory.path().join("offhook.db").display());
    let database = Arc::new(Database::lock(&url).expect("a file of our own"));
    database.migrate().await.expect("a new file");
    let sink = SqliteStore::open(database).await.expect("a new file");
    let store = backend::Store::Sqlite(sqlite::Handles::new(&sink));
    Store { outbox: store.outbox(), store, _home: (Some(directory), None, Some(sink)) }
}

pub(super) async fn postgres() -> Store {
    let server = Postgres::start(Durability::Unsynced);
    let pool = postgres::Postgres::with_writers(&server.url(), 4).expect("a good URL");
    pool.migrate().await.expect("empty tables can be made");
    let store = backend::Store::Postgres(postgres::Handles::new(pool.clone()));
    let _ = PostgresStore::new(pool);
    Store { outbox: store.outbox(), store, _home: (None, Some(server), None) }
}

/// One test per store of `async fn name(store: Store)`.
macro_rules! both_stores {
    ($($name:ident),+ $(,)?) => {
        mod embedded {
            $(#[tokio::test] async fn $name() { super::$name(super::sqlite().await).await; })+
        }
        mod scale_out {
            $(#[tokio::test] async fn $name() {
                super::needs!(Postgres);
                super::$name(super::postgres().await).await;
            })+
        }
    };
}

both_stores![
    a_key_is_for_one_request,
    slots_are_apart_and_the_urgent_comes_first,
    what_is_late_or_cancelled_is_not_sent,
    a_claim_and_an_answer_are_of_one_post,
    requests_in_flight_are_counted_exactly,
    an_answer_is_stored_with_its_event,
    data_that_is_refused_is_told_from_a_store_that_is_away,
    throttled_is_due_again_and_failed_is_not,
    a_message_that_is_requested_again_counts_once,
    what_follows_for_others_holds_them,
    a_burst_that_is_too_fast_cools_a_sender_down_once,
    a_sender_that_is_too_fast_again_waits_longer_whatever_was_accepted_meanwhile,
    a_shorter_wait_of_an_account_ends_no_longer_one,
    a_lease_that_is_over_is_unknown_and_a_late_answer_settles_it,
    what_left_no_trace_is_sent_again_only_if_asked,
    an_event_without_the_id_of_an_attempt_settles_that_of_its_message,
    a_pause_counts_what_is_in_writing,
    a_suppression_is_lifted_by_a_later_entry,
    what_a_recipient_says_is_heard_once_and_counts_at_once,
    the_latest_word_about_marketing_counts,
    without_a_key_the_store_hashes_what_recipients_say,
    a_list_may_be_imported_again,
    what_is_planned_at_night_is_claimed_in_the_morning,
    a_person_who_is_purged_is_not_sent_what_was_on_its_way_again,
    what_was_cancelled_on_its_way_is_not_requested_again,
    a_cancellation_outlives_the_end_of_the_lease,
    a_cancellation_outlives_the_look_that_is_under_way,
    one_that_is_known_to_be_sent_keeps_another_from_being_sent_again,
    a_purge_of_a_person_cancels_and_leaves_nothing,
    a_purge_of_a_time_leaves_what_is_planned,
    what_is_settled_is_kept_as_privacy_says,
    what_was_sent_goes_when_it_is_old,
    what_no_callback_ends_is_asked_for_until_it_ends,
    what_cannot_go_is_not_in_the_way,
    a_clock_that_goes_back_holds_nothing_up,
    a_claim_says_when_a_backoff_is_over,
    what_waits_has_the_pace_of_its_sender,
    adoption_leaves_what_a_person_holds,
    callbacks_before_the_answer_settle_after_it,
    proof_overrides_what_was_inferred,
    a_message_that_was_sent_again_and_is_found_after_all_is_one_too_many,
    a_callback_of_an_attempt_that_is_gone_is_no_mismatch,
    what_the_store_refuses_of_one_attempt_holds_no_other,
    a_commit_in_doubt_after_which_nothing_was_sent_is_taken_back,
    what_was_not_sent_is_due_again_even_late,
    answers_and_commits_do_not_wait_for_each_other,
    there_are_never_more_open_calls_than_lines,
    a_call_is_confirmed_by_what_was_asked_for,
    a_cancelled_call_is_hung_up_while_it_rings,
    a_call_of_unknown_outcome_is_sought_among_calls_and_holds_its_line,
    the_next_step_begins_once_when_the_one_before_has_failed_or_is_over,
    who_has_said_stop_and_what_is_cancelled_is_not_called,
    an_email_goes_to_its_address_and_its_events_confirm_it,
    an_email_that_no_event_proves_is_sent_again_only_if_asked,
    a_campaign_reaches_each_recipient_once_and_accounts_for_all,
    after_a_pause_or_a_cancellation_nothing_of_a_campaign_is_written,
    each_campaign_has_its_turn_and_ends_with_its_last_outcome,
    a_trial_lasts_until_its_messages_had_time_to_arrive,
    a_campaign_goes_on_beyond_its_trial_and_stops_when_it_goes_badly,
    an_email_follows_a_stop_to_the_number_alone_and_only_if_the_route_says_so,
    each_table_is_known_here,
    after_a_purge_no_table_has_the_number_or_the_text,
    once_treated_no_table_has_the_number_or_the_text,
];

pub(super) fn new(n: u128) -> NewNotification {
    NewNotification {
        route: None,
        id: format!("ntf_{n}"),
        token: "t".to_owned(),
        idempotency_key: None,
        request_hash: format!("h{n}"),
        purpose: Purpose::Transactional,
        on_unknown: OnUnknown::Report,
        sender: "shop".to_owned(),
        account: ACCOUNT.to_owned(),
        pace: "shop".to_owned(),
        to: format!("+1555010{n:04}"),
        to_hash: format!("hash-{n}"),
        body: "Your order has left.".to_owned(),
        mail: None,
        segments: 1,
        channel: Channel::Message,
        call: None,
        reference: None,
        deadline: Timestamp::parse_rfc3339("2090-01-01T00:00:00Z").expect("a time"),
        time_zone: None,
        held: None,
        attempt: AttemptId::new(n),
        campaign: None,
        price: None,
    }
}

pub(super) fn claim_ask(holder: &str) -> ClaimAsk {
    ClaimAsk {
        pace: "shop".to_owned(),
        senders: vec!["shop".to_owned()],
        account: ACCOUNT.to_owned(),
        per_unit: PER_UNIT,
        ahead: Duration::from_millis(100),
        max_in_flight: 100,
        limit: 100,
        lines: None,
        holder: holder.to_owned(),
        lease: HOUR,
    }
}

/// Claims until something was.
pub(super) async fn claimed(outbox: &Outbox, ask: &ClaimAsk) -> Claims {
    crate::harness::until("something is claimed", async || {
        let claims = outbox.claim(ask).await.expect("the store is there");
        (!claims.claimed.is_empty()).then_some(claims)
    })
    .await
}

/// With the slots that these have now.
pub(super) async fn write_ask(outbox: &Outbox, holder: &str, ids: &[AttemptId]) -> WriteAsk {
    let mut claims = Vec::new();
    for &id in ids {
        let send_at = kept(outbox, id).await.send_at.unwrap_or(Timestamp::from_micros(0));
        claims.push(Claimed { id, send_at });
    }
    WriteAsk {
        claims,
        holder: holder.to_owned(),
        late_after: HOUR,
        lease: HOUR,
        max_in_flight: 100,
        lines: Lines { limits: [(ACCOUNT.to_owned(), 100)].into(), max_age: HOUR },
    }
}

async fn kept(outbox: &Outbox, id: AttemptId) -> Attempt {
    let found = outbox.find_by_attempt(id).await.expect("the store is there");
    let (_, attempts) = found.expect("it is kept");
    attempts.into_iter().find(|attempt| attempt.id == id).expect("it is one of its notification's")
}

fn pass(_: &Known, _: Timestamp) -> Gated {
    Gated::Pass
}

async fn write(outbox: &Outbox, ask: &WriteAsk) -> Vec<Written> {
    outbox.write(ask, &pass).await.expect("the store is there")
}

/// Brings a new notification into writing.
pub(super) async fn in_writing(outbox: &Outbox, new: &NewNotification) -> Letter {
    assert_eq!(outbox.ask(new).await, Ok(Asked::Kept));
    claimed(outbox, &claim_ask("a")).await;
    match write(outbox, &write_ask(outbox, "a", &[new.attempt]).await).await.remove(0) {
        Written::Send(letter) => letter,
        other => panic!("{other:?}"),
    }
}

pub(super) async fn state(outbox: &Outbox, id: &str) -> (NotificationState, Vec<AttemptState>) {
    let (notification, attempts) = outbox.find(id).await.expect("the store").expect("it is kept");
    (notification.state, attempts.iter().map(|attempt| attempt.state).collect())
}

pub(super) fn accepted(sid: &str) -> Outcome {
    let event = Event {
        sid: Some(sid.to_owned()),
        resource: Some(Resource::Message),
        status: Some("queued".to_owned()),
        ..Event::new(
            EventKey::of(&[sid, "queued", "rest"]).expect("printable"),
            Kind::Message,
            ACCOUNT,
        )
    };
    Outcome::Accepted { sid: sid.to_owned(), event: Box::new(event) }
}

pub(super) async fn answer(outbox: &Outbox, id: AttemptId, outcome: Outcome) -> u64 {
    let tries = u32::try_from(kept(outbox, id).await.tries).expect("they are few");
    outbox.answer(&[Answered { id, tries, outcome }]).await.expect("the store is there").late
}

async fn a_key_is_for_one_request(store: Store) {
    let with_key = |n, hash: &str, token: &str| NewNotification {
        idempotency_key: Some("k".to_owned()),
        request_hash: hash.to_owned(),
        token: token.to_owned(),
        ..new(n)
    };
    let outbox = &store.outbox;
    assert_eq!(outbox.ask(&with_key(1, "h", "t")).await, Ok(Asked::Kept));
    assert_eq!(outbox.ask(&with_key(2, "h", "t")).await, Ok(Asked::Before("ntf_1".to_owned())));
    assert_eq!(outbox.ask(&with_key(3, "other", "t")).await, Ok(Asked::Conflict));
    assert_eq!(outbox.ask(&with_key(4, "h", "u")).await, Ok(Asked::Kept), "another token");
    assert_eq!(outbox.ask(&new(5)).await, Ok(Asked::Kept), "without a key each is new");
    let before = async |token| outbox.asked_before(token, "k").await.expect("the store");
    let kept = before("t").await.expect("it was kept");
    assert_eq!((&*kept.id, &*kept.request_hash, kept.segments), ("ntf_1", "h", 1));
    assert_eq!(before("v").await, None, "a key is a token's");
    // Two of one transaction may have one key.
    let group = [with_key(6, "h", "v"), with_key(7, "h", "v"), with_key(8, "other", "v")];
    let asked = [Asked::Kept, Asked::Before("ntf_6".to_owned()), Asked::Conflict];
    assert_eq!(outbox.ask_all(&group).await, Ok(asked.to_vec()));
    let search = NotificationSearch { limit: 2, ..NotificationSearch::default() };
    let first = outbox.list(&search).await.expect("a page");
    assert_eq!(first.len(), 2);
    let last = &first[1];
    let after = Some((last.created_at, last.id.clone()));
    let rest =
        outbox.list(&NotificationSearch { after, limit: 9, ..search }).await.expect("a page");
    let mut all: Vec<_> = first.iter().chain(&rest).map(|it| it.id.as_str()).collect();
    all.sort_unstable();
    assert_eq!(all, ["ntf_1", "ntf_4", "ntf_5", "ntf_6"]);
}

async fn slots_are_apart_and_the_urgent_comes_first(store: Store) {
    let outbox = &store.outbox;
    for n in 1..=30 {
        let segments = if n == 2 { 3 } else { 1 };
        outbox.ask(&NewNotification { segments, ..new(n) }).await.expect("kept");
    }
    let urgent = NewNotification { purpose: Purpose::Alert, ..new(31) };
    outbox.ask(&urgent).await.expect("kept");
    let mut slots = Vec::new();
    while slots.len() < 31 {
        let claims =
            claimed(outbox, &claim_ask(if slots.len() % 2 == 0 { "a" } else { "b" })).await;
        assert!(claims.claimed.len() <= 11, "100 ms of them: {}", claims.claimed.len());
        slots.extend(claims.claimed);
    }
    assert_eq!(slots[0].id, urgent.attempt);
    for pair in slots.windows(2) {
        let units = if pair[0].id == AttemptId::new(2) { 3 } else { 1 };
        let apart = pair[1].send_at.since(pair[0].send_at);
        assert!(apart >= PER_UNIT * units, "{apart:?} after {units} units");
    }
    assert_eq!(outbox.claim(&claim_ask("a")).await.expect("the store").claimed, []);
}

async fn what_is_late_or_cancelled_is_not_sent(store: Store) {
    let outbox = &store.outbox;
    for n in 1..=4 {
        outbox.ask(&new(n)).await.expect("kept");
    }
    let slots = claimed(outbox, &claim_ask("a")).await.claimed;
    let ids: Vec<_> = slots.iter().map(|slot| slot.id).collect();
    assert_eq!(ids, [1, 2, 3, 4].map(AttemptId::new));
    assert_eq!(
        write(outbox, &write_ask(outbox, "b", &ids[..1]).await).await,
        [Written::Lost],
        "another holder"
    );
    let cancelled = outbox.cancel("ntf_1").await.expect("the store").expect("it is there");
    assert_eq!((cancelled.state, cancelled.in_writing), (NotificationState::Cancelled, 0));
    assert_eq!(outbox.cancel("ntf_9").await, Ok(None));
    let gates = |known: &Known, _: Timestamp| match &known.to[11..] {
        "2" => Gated::Refuse { gate: "country" },
        "3" => Gated::Expire,
        _ => Gated::Pass,
    };
    let written =
        outbox.write(&write_ask(outbox, "a", &ids[..3]).await, &gates).await.expect("the store");
    assert_eq!(written, [Written::Lost, Written::Ended("country"), Written::Ended("deadline")]);
    for (id, expected) in
        [("ntf_2", NotificationState::Refused), ("ntf_3", NotificationState::Expired)]
    {
        assert_eq!(state(outbox, id).await.0, expected);
    }
    let clock = ClaimAsk { pace: "clock".to_owned(), ..claim_ask("a") };
    crate::harness::until("the slot has passed", async || {
        let now = outbox.claim(&clock).await.expect("the store").now?;
        (now > slots[3].send_at).then_some(())
    })
    .await;
    let late = WriteAsk { late_after: Duration::ZERO, ..write_ask(outbox, "a", &ids[3..]).await };
    assert_eq!(write(outbox, &late).await, [Written::Late]);
    assert_eq!(state(outbox, "ntf_4").await.1, [AttemptState::Due]);
}

/// A process that stood still longer than its leases last, and then has what it claimed before and what it claimed after
/// in one group, and an answer of which it does not know whether it was stored.
async fn a_claim_and_an_answer_are_of_one_post(store: Store) {
    let outbox = &store.outbox;
    for n in 1..=3 {
        outbox.ask(&new(n)).await.expect("kept");
    }
    let short = ClaimAsk { lease: Duration::ZERO, ..claim_ask("a") };
    let before = claimed(outbox, &short).await.claimed;
    crate::harness::until("the leases are over", async || {
        outbox.overdue(HOUR).await.expect("the store");
        let mut due = true;
        for claim in &before {
            due &= kept(outbox, claim.id).await.state == AttemptState::Due;
        }
        due.then_some(())
    })
    .await;
    let mut after = Vec::new();
    while after.len() < 3 {
        after.extend(claimed(outbox, &claim_ask("a")).await.claimed);
    }
    let claims = [&before[..], &after[..]].concat();
    let written = write(outbox, &WriteAsk { claims, ..write_ask(outbox, "a", &[]).await }).await;
    assert_eq!(written[..3], [Written::Lost, Written::Lost, Written::Lost], "their slots are gone");
    for (claim, written) in after.iter().zip(&written[3..]) {
        let Written::Send(letter) = written else { panic!("{written:?}") };
        let (notification, _) = outbox.find_by_attempt(claim.id).await.expect("it").expect("is");
        assert_eq!(letter.to, notification.to);
    }
    let back = Outcome::Back { after: Duration::ZERO, why: Back::Throttled, stop: None };
    let first = Answered { id: after[0].id, tries: 1, outcome: back };
    assert_eq!(outbox.answer(std::slice::from_ref(&first)).await.expect("the store").late, 0);
    claimed(outbox, &claim_ask("a")).await;
    let again = write(outbox, &write_ask(outbox, "a", &[after[0].id]).await).await;
    assert!(matches!(&again[..], [Written::Send(letter)] if letter.tries == 2), "{again:?}");
    assert_eq!(outbox.answer(&[first]).await.expect("the store").late, 1, "the same once more");
    assert_eq!(kept(outbox, after[0].id).await.state, AttemptState::Writing);
}

async fn requests_in_flight_are_counted_exactly(store: Store) {
    let outbox = &store.outbox;
    for n in 1..=5 {
        outbox.ask(&new(n)).await.expect("kept");
    }
    let ids: Vec<_> =
        claimed(outbox, &claim_ask("a")).await.claimed.iter().map(|it| it.id).collect();
    let ask = WriteAsk { max_in_flight: 2, ..write_ask(outbox, "a", &ids).await };
    let sent = write(outbox, &ask).await;
    assert_eq!(sent.iter().filter(|it| matches!(it, Written::Send(_))).count(), 2);
    assert_eq!(sent.iter().filter(|it| **it == Written::Full).count(), 3);
    let full = ClaimAsk { max_in_flight: 2, ..claim_ask("b") };
    assert_eq!(outbox.claim(&full).await.expect("the store").claimed, []);
    answer(outbox, ids[0], accepted("SM1")).await;
    assert_eq!(claimed(outbox, &full).await.claimed.len(), 1);
}

async fn an_answer_is_stored_with_its_event(store: Store) {
    let letter = in_writing(&store.outbox, &new(1)).await;
    assert_eq!((letter.to.as_str(), letter.tries), ("+15550100001", 1));
    let cancelled = store.outbox.cancel("ntf_1").await.expect("the store").expect("it is there");
    assert_eq!((cancelled.state, cancelled.in_writing), (NotificationState::Open, 1));
    assert_eq!(answer(&store.outbox, AttemptId::new(1), accepted("SM1")).await, 0);
    assert_eq!(
        state(&store.outbox, "ntf_1").await,
        (NotificationState::Open, vec![AttemptState::Accepted])
    );
    let status = store.store.reads().statuses_of("SM1").await.expect("the store");
    assert!(format!("{status:?}").contains("queued"), "{status:?}");
}

async fn data_that_is_refused_is_told_from_a_store_that_is_away(store: Store) {
    let outbox = &store.outbox;
    for n in 1..=2 {
        in_writing(outbox, &new(n)).await;
    }
    let answered =
        |n, sid: &str| Answered { id: AttemptId::new(n), tries: 1, outcome: accepted(sid) };
    // A status that a table of the operator's own refuses.
    let refuses = match &store._home {
        (_, Some(_), _) => "ALTER TABLE attempt_sids ADD CHECK (sid <> 'SM2')",
        _ => {
            "CREATE TRIGGER refuses BEFORE INSERT ON attempt_sids WHEN NEW.sid = 'SM2' \
             BEGIN SELECT RAISE(ABORT, 'refused'); END"
        }
    };
    execute(&store, refuses).await;
    let both = [answered(1, "SM1"), answered(2, "SM2")];
    let refused = outbox.answer(&both).await.expect_err("one is refused");
    assert!(matches!(refused, CommitError::Refused(_)), "{refused:?}");
    assert_eq!(state(outbox, "ntf_1").await.1, [AttemptState::Writing], "none of them is stored");
    outbox.answer(&both[..1]).await.expect("it goes through without the other");

    // A state of a later version.
    let later =
        "UPDATE notifications SET state = 'later', settled_at = created_at WHERE id = 'ntf_2'";
    execute(&store, later).await;
    let later = answered(2, "SM3");
    let refused = outbox.answer(&[later]).await.expect_err("its row is not understood");
    assert!(matches!(refused, CommitError::Refused(_)), "{refused:?}");
}

async fn throttled_is_due_again_and_failed_is_not(store: Store) {
    let outbox = &store.outbox;
    in_writing(outbox, &new(1)).await;
    let back = Outcome::Back { after: Duration::ZERO, why: Back::Throttled, stop: None };
    answer(outbox, AttemptId::new(1), back).await;
    claimed(outbox, &claim_ask("a")).await;
    let [Written::Send(letter)] =
        &write(outbox, &write_ask(outbox, "a", &[AttemptId::new(1)]).await).await[..]
    else {
        panic!("it is sent again")
    };
    assert_eq!((letter.tries, letter.throttled), (2, 1));
    let failed = Outcome::Failed { reason: "21211".to_owned(), stop: None };
    answer(outbox, AttemptId::new(1), failed).await;
    assert_eq!(
        state(outbox, "ntf_1").await,
        (NotificationState::Failed, vec![AttemptState::Failed])
    );
}

/// Else a throttle would use up the limits of its own recipient and of the day.
async fn a_message_that_is_requested_again_counts_once(store: Store) {
    let outbox = &store.outbox;
    let seen = std::sync::Mutex::new(Vec::new());
    let look = |known: &Known, _: Timestamp| {
        seen.lock().expect("no panic").push((known.recent.len(), known.today));
        Gated::Pass
    };
    let same = |n| NewNotification { to_hash: "hash".to_owned(), ..new(n) };
    outbox.ask(&same(1)).await.expect("kept");
    for _ in 0..3 {
        let ids: Vec<_> =
            claimed(outbox, &claim_ask("a")).await.claimed.iter().map(|it| it.id).collect();
        outbox.write(&write_ask(outbox, "a", &ids).await, &look).await.expect("the store");
        let back = Outcome::Back { after: Duration::ZERO, why: Back::Throttled, stop: None };
        answer(outbox, ids[0], back).await;
    }
    claimed(outbox, &claim_ask("a")).await;
    write(outbox, &write_ask(outbox, "a", &[AttemptId::new(1)]).await).await;
    answer(outbox, AttemptId::new(1), accepted("SM1")).await;
    outbox.ask(&same(2)).await.expect("kept");
    claimed(outbox, &claim_ask("a")).await;
    outbox
        .write(&write_ask(outbox, "a", &[AttemptId::new(2)]).await, &look)
        .await
        .expect("the store");
    assert_eq!(*seen.lock().expect("no panic"), [(0, 0), (0, 1), (0, 1), (1, 1)]);
}

async fn what_follows_for_others_holds_them(store: Store) {
    let outbox = &store.outbox;
    for (n, stop) in (1..).zip([
        Stop::SenderPause("21606".to_owned()),
        Stop::AccountPause("20003".to_owned()),
        Stop::AccountCooldown(HOUR),
        Stop::SenderCooldown,
        Stop::Disconnected,
    ]) {
        in_writing(outbox, &new(n)).await;
        outbox.ask(&new(100 + n)).await.expect("kept");
        let back = Outcome::Back { after: HOUR, why: Back::Held, stop: Some(stop.clone()) };
        answer(outbox, AttemptId::new(n), back).await;
        assert_eq!(outbox.claim(&claim_ask("a")).await.expect("the store").claimed, [], "{stop:?}");
        assert!(outbox.resume("shop", ACCOUNT).await.expect("the store"), "{stop:?}");
        outbox.cancel(&format!("ntf_{}", 100 + n)).await.expect("the store");
    }
    for n in 11..=15 {
        in_writing(outbox, &new(n)).await;
        let unlisted = Outcome::Failed { reason: "99999".to_owned(), stop: Some(Stop::Unlisted) };
        answer(outbox, AttemptId::new(n), unlisted).await;
    }
    let sending = outbox.sending().await.expect("the store");
    assert_eq!(sending.senders[0].paused.as_deref(), Some("unclassified"));
}

async fn a_lease_that_is_over_is_unknown_and_a_late_answer_settles_it(store: Store) {
    let outbox = &store.outbox;
    for n in 1..=2 {
        outbox.ask(&new(n)).await.expect("kept");
    }
    let short = ClaimAsk { lease: Duration::ZERO, ..claim_ask("a") };
    let ids: Vec<_> = claimed(outbox, &short).await.claimed.iter().map(|it| it.id).collect();
    let ask = WriteAsk { lease: Duration::ZERO, ..write_ask(outbox, "a", &ids[..1]).await };
    assert!(matches!(write(outbox, &ask).await[..], [Written::Send(_)]));
    crate::harness::until("both leases are over", async || {
        outbox.overdue(HOUR).await.expect("the store");
        let (one, two) = (state(outbox, "ntf_1").await.1, state(outbox, "ntf_2").await.1);
        (one == [AttemptState::Unknown] && two == [AttemptState::Due]).then_some(())
    })
    .await;
    assert_eq!(state(outbox, "ntf_1").await.0, NotificationState::Unknown);
    assert_eq!(outbox.list_unknown(10).await.expect("the store")[0].id, ids[0]);
    assert_eq!(answer(outbox, ids[0], accepted("SM1")).await, 0);
    assert_eq!(
        state(outbox, "ntf_1").await,
        (NotificationState::Open, vec![AttemptState::Accepted])
    );
}

async fn what_left_no_trace_is_sent_again_only_if_asked(store: Store) {
    let outbox = &store.outbox;
    for (n, on_unknown) in [(1, OnUnknown::Report), (2, OnUnknown::Resend)] {
        in_writing(outbox, &NewNotification { on_unknown, ..new(n) }).await;
        let unknown = Outcome::Unknown { reason: "timeout".to_owned(), look_after: Duration::ZERO };
        answer(outbox, AttemptId::new(n), unknown).await;
    }
    let found = crate::harness::until("both are looked for", async || {
        let found = outbox.to_look_for(10, Duration::ZERO).await.expect("the store");
        (found.len() == 2).then_some(found)
    })
    .await;
    for (n, search) in (1..).zip(&found) {
        let ids: Vec<_> = search.sought.iter().map(|one| one.id).collect();
        assert_eq!((&search.due, &ids), (&vec![AttemptId::new(n)], &vec![AttemptId::new(n)]));
    }
    let absent = Looked::Absent { last: true, look_after: HOUR };
    let resent = |n, again| outbox.looked(AttemptId::new(n), &absent, AttemptId::new(again));
    assert_eq!(resent(1, 11).await, Ok(false));
    assert_eq!(resent(2, 12).await, Ok(true));
    assert_eq!(resent(2, 13).await, Ok(false), "once");
    assert_eq!(state(outbox, "ntf_1").await.0, NotificationState::Unknown);
    let (now, attempts) = state(outbox, "ntf_2").await;
    assert_eq!(
        (now, &attempts[..]),
        (NotificationState::Open, &[AttemptState::Unknown, AttemptState::Due][..])
    );
    // The old one is proven after all: the new one is withdrawn.
    answer(outbox, AttemptId::new(2), accepted("SM2")).await;
    assert_eq!(state(outbox, "ntf_2").await.1, [AttemptState::Accepted, AttemptState::Cancelled]);
}

/// A callback as Twilio sends it to the URL of a number, or an event stream: it carries no id of an attempt.
async fn without_an_id(store: &Store, sid: &str, account: &str, status: &str) {
    let event = Event {
        sid: Some(sid.to_owned()),
        resource: Some(Resource::Message),
        status: Some(status.to_owned()),
        ..Event::new(
            EventKey::of(&[sid, status, account]).expect("printable"),
            Kind::Message,
            account,
        )
    };
    store.store(event).await;
}

async fn an_event_without_the_id_of_an_attempt_settles_that_of_its_message(store: Store) {
    let outbox = &store.outbox;
    let settles = async || outbox.settle().await.expect("the store is there");
    for n in 1..=3 {
        in_writing(outbox, &new(n)).await;
    }
    without_an_id(&store, "SM1", ACCOUNT, "sent").await;
    assert_eq!(settles().await.wakes, 0, "its SID is not known yet");
    for n in 1..=3 {
        answer(outbox, AttemptId::new(n), accepted(&format!("SM{n}"))).await;
    }
    settles().await;

    without_an_id(&store, "SM9", ACCOUNT, "delivered").await;
    without_an_id(&store, "SM2", "AC2", "delivered").await;
    assert_eq!(settles().await, Settled::default(), "another message, and another account");
    without_an_id(&store, "SM1", ACCOUNT, "delivered").await;
    without_an_id(&store, "SM2", ACCOUNT, "undelivered").await;
    let settled = settles().await;
    assert_eq!((settled.wakes, settled.confirmed, settled.failed), (2, 1, 1));
    without_an_id(&store, "SM1", ACCOUNT, "delivered").await;
    assert_eq!(settles().await.wakes, 0, "it is stored already");
    let states = [
        (NotificationState::Confirmed, AttemptState::Confirmed),
        (NotificationState::Failed, AttemptState::Failed),
        (NotificationState::Open, AttemptState::Accepted),
    ];
    for (n, (notification, attempt)) in (1..).zip(states) {
        assert_eq!(state(outbox, &format!("ntf_{n}")).await, (notification, vec![attempt]));
    }
    assert_eq!(settled.mismatches + settled.duplicates, 0);
}

async fn a_pause_counts_what_is_in_writing(store: Store) {
    let outbox = &store.outbox;
    in_writing(outbox, &new(1)).await;
    outbox.ask(&new(2)).await.expect("kept");
    claimed(outbox, &claim_ask("a")).await;
    assert_eq!(outbox.pause("shop", "by hand").await, Ok(1));
    let held = |known: &Known, now: Timestamp| match known.sender_pause {
        Pause::Indefinite => Gated::Hold { gate: "sender", until: now.after(HOUR) },
        _ => Gated::Pass,
    };
    let written = outbox.write(&write_ask(outbox, "a", &[AttemptId::new(2)]).await, &held).await;
    assert_eq!(written, Ok(vec![Written::Held("sender")]));
    let sending = outbox.sending().await.expect("the store");
    let sender = &sending.senders[0];
    assert_eq!((sender.name.as_str(), sender.due, sender.writing), ("shop", 1, 1));
    assert_eq!(sender.paused.as_deref(), Some("by hand"));
    assert_eq!(outbox.hold_all(Some("by hand")).await, Ok(1));
    for secret in ["secret", "another"] {
        let identity = outbox.identity(secret).await.expect("the store");
        assert_eq!(identity.secret, "secret", "the first one is kept");
    }
    assert_eq!(outbox.hold_all(Some("by hand")).await, Ok(1));
    assert!(outbox.resume("shop", ACCOUNT).await.expect("the store"));
    assert_eq!(outbox.claim(&claim_ask("a")).await.expect("the store").claimed, []);
    outbox.hold_all(None).await.expect("the store");
    assert_eq!(claimed(outbox, &claim_ask("a")).await.claimed.len(), 1);
}

/// Suppresses an address.
pub(super) async fn stop(outbox: &Outbox, to: &str, to_hash: &str, source: Source) {
    let (to, to_hash) = (Some(to.to_owned()), to_hash.to_owned());
    let entry = NewSuppression { to, to_hash, stop: true, source };
    outbox.suppress(&[entry]).await.expect("the store is there");
}

async fn a_suppression_is_lifted_by_a_later_entry(store: Store) {
    let outbox = &store.outbox;
    let suppressed = async |n: u128| {
        outbox.ask(&new(n)).await.expect("kept");
        let id = claimed(outbox, &claim_ask("a")).await.claimed[0].id;
        let seen = std::sync::Mutex::new(false);
        let look = |known: &Known, _: Timestamp| {
            *seen.lock().expect("no panic") = known.suppressed;
            Gated::Refuse { gate: "suppression" }
        };
        outbox.write(&write_ask(outbox, "a", &[id]).await, &look).await.expect("the store");
        seen.into_inner().expect("no panic")
    };
    let enter = |n: u128, stop| {
        let (to, to_hash) = (Some(format!("+1555010{n:04}")), format!("hash-{n}"));
        let entry = NewSuppression { to, to_hash, stop, source: Source::Hand };
        async move { outbox.suppress(&[entry]).await.expect("the store") }
    };
    enter(1, true).await;
    assert!(suppressed(1).await);
    enter(2, true).await;
    enter(2, false).await;
    assert!(!suppressed(2).await);
    let (listed, _) = outbox.suppressions("", 10).await.expect("the store");
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (listed[0].to.as_deref(), listed[0].source.as_str()),
        (Some("+15550100001"), "hand")
    );
    in_writing(outbox, &new(3)).await;
    let opted_out = Outcome::Failed { reason: "21610".to_owned(), stop: Some(Stop::OptedOut) };
    answer(outbox, AttemptId::new(3), opted_out).await;
    assert_eq!(outbox.suppressions("hash-1", 10).await.expect("the store").0[0].source, "21610");
}

/// As the program does it: from place to place.
async fn purge(store: &Store, selection: &Selection, mode: Mode) -> Found {
    let home = tempfile::tempdir().expect("a temporary directory");
    let bounds = Bounds { max_bytes: 1 << 20, min_free_bytes: 0 };
    let log = LocalLog::open(home.path(), bounds).await.expect("nobody else has it");
    let dead_letters = DeadLetters { stream: None, local: None };
    let purge = Purge { rows: store.store.purge(), dead_letters, stream: None, log: Some(log) };
    let (mut found, mut place) = (Found::default(), Some(Place::START));
    while let Some(at) = place.take() {
        let (more, next) = purge.step(selection, at, mode).await.expect("the store is there");
        found += more;
        place = next;
    }
    found
}

fn of(n: u128) -> Selection {
    let number = format!("+1555010{n:04}");
    let addresses = Selection::addresses(&number, &Privacy::default()).expect("a number");
    Selection { addresses, ..Selection::default() }
}

async fn is_kept(outbox: &Outbox, n: u128) -> bool {
    outbox.find(&format!("ntf_{n}")).await.expect("the store").is_some()
}

pub(super) async fn execute(store: &Store, sql: &str) {
    match &store._home {
        (Some(directory), ..) => {
            let url = format!("sqlite:{}", directory.path().join("offhook.db").display());
            let mut connection = SqliteConnection::connect(&url).await.expect("it is there");
            connection.execute(sqlx::AssertSqlSafe(sql)).await.expect("a good statement");
        }
        (_, Some(server), _) => server.execute(sql).await,
        _ => unreachable!("a store is one of the two"),
    }
}

async fn a_purge_of_a_person_cancels_and_leaves_nothing(store: Store) {
    let outbox = &store.outbox;
    in_writing(outbox, &new(1)).await;
    for n in 2..4 {
        outbox.ask(&new(n)).await.expect("kept");
    }
    stop(outbox, &new(2).to, &new(2).to_hash, Source::Hand).await;
    let counted = purge(&store, &of(2), Mode::Count).await;
    assert_eq!(counted, Found { notifications: 1, ..Found::default() });
    assert!(is_kept(outbox, 2).await);
    // With another filter beside the number, only what matches both is forgotten.
    let old = Timestamp::parse_rfc3339("2020-01-01T00:00:00Z");
    let old = Selection { before: old, ..of(2) };
    assert_eq!(purge(&store, &old, Mode::Delete).await, Found::default());
    let (listed, _) = outbox.suppressions("", 10).await.expect("the store");
    assert_eq!(listed[0].to.as_ref(), Some(&new(2).to));
    assert_eq!(purge(&store, &of(2), Mode::Delete).await, counted);
    assert_eq!((is_kept(outbox, 2).await, is_kept(outbox, 3).await), (false, true));
    let (listed, _) = outbox.suppressions("", 10).await.expect("the store");
    assert_eq!((listed.len(), listed[0].to.as_deref()), (1, None), "the hash still stops it");

    // The answer of a request that is on its way must find its attempt.
    let stays = Found { in_writing: 1, ..Found::default() };
    assert_eq!(purge(&store, &of(1), Mode::Delete).await, stays);
    assert_eq!(answer(outbox, AttemptId::new(1), accepted("SM1")).await, 0);
    assert_eq!(purge(&store, &of(1), Mode::Delete).await.notifications, 1);
    assert!(!is_kept(outbox, 1).await);
}

async fn a_purge_of_a_time_leaves_what_is_planned(store: Store) {
    let outbox = &store.outbox;
    for n in 1..3 {
        outbox.ask(&new(n)).await.expect("kept");
    }
    outbox.cancel("ntf_1").await.expect("the store");
    let late = Timestamp::parse_rfc3339("2090-01-01T00:00:00Z");
    let before = Selection { before: late, ..Selection::default() };
    assert_eq!(purge(&store, &before, Mode::Delete).await.notifications, 1);
    assert_eq!((is_kept(outbox, 1).await, is_kept(outbox, 2).await), (false, true));
    let account = Selection { account: Some("AC2".to_owned()), ..before };
    assert_eq!(purge(&store, &account, Mode::Delete).await, Found::default());
}

async fn what_is_settled_is_kept_as_privacy_says(store: Store) {
    let outbox = &store.outbox;
    let treatments =
        Treatments { numbers: Treatment::Hash, bodies: Treatment::Drop, ..Treatments::default() };
    let privacy = Privacy::new(treatments, [], Some(&"k".repeat(32).into())).expect("a key");
    for n in 1..4 {
        outbox.ask(&new(n)).await.expect("kept");
    }
    stop(outbox, &new(1).to, &new(1).to_hash, Source::Hand).await;
    outbox.cancel("ntf_1").await.expect("the store");
    assert_eq!(outbox.treat(&Privacy::default()).await, Ok(0));
    assert_eq!(outbox.treat(&privacy).await, Ok(1));
    assert_eq!(outbox.treat(&privacy).await, Ok(0), "each once");
    let to = async |n: u128| {
        outbox.find(&format!("ntf_{n}")).await.expect("the store").expect("kept").0.to
    };
    assert_eq!(to(1).await, privacy.forms(&new(1).to).pop().expect("a hash"));
    assert_eq!(to(2).await, new(2).to, "it is to be sent yet");
    let (listed, _) = outbox.suppressions("", 10).await.expect("the store");
    assert_eq!(listed[0].to.as_ref(), privacy.forms(&new(1).to).last());

    let addresses = Selection::addresses(&new(1).to, &privacy).expect("a number");
    let selection = Selection { addresses, ..Selection::default() };
    assert_eq!(purge(&store, &selection, Mode::Delete).await.notifications, 1);
}

/// Deletes a page of what is older.
pub(super) async fn retain(store: &Store, cutoff: Timestamp) {
    match &store._home {
        (_, Some(server), _) => {
            let pool = postgres::Postgres::new(&server.url()).expect("a good URL");
            postgres::Retention::of_events(pool).step(cutoff).await.expect("the store");
        }
        (.., Some(sink)) => {
            sqlite::Retention::of_events(sink).step(cutoff).await.expect("the store");
        }
        _ => unreachable!("a store is one of the two"),
    }
}

async fn what_was_sent_goes_when_it_is_old(store: Store) {
    let outbox = &store.outbox;
    for n in 1..5 {
        outbox.ask(&new(n)).await.expect("kept");
    }
    for n in 1..4 {
        outbox.cancel(&format!("ntf_{n}")).await.expect("the store");
    }
    let at = "2020-01-01T00:00:00.000000Z";
    let settled =
        format!("UPDATE notifications SET settled_at = '{at}' WHERE id IN ('ntf_1', 'ntf_2')");
    execute(&store, &settled).await;
    let asked =
        format!("UPDATE notifications SET created_at = '{at}' WHERE id IN ('ntf_1', 'ntf_4')");
    execute(&store, &asked).await;
    let cutoff = Timestamp::parse_rfc3339("2021-01-01T00:00:00Z").expect("a time");
    retain(&store, cutoff).await;
    assert!(!is_kept(outbox, 1).await);
    assert!(is_kept(outbox, 2).await, "the key of a request is good for 7 days");
    assert!(is_kept(outbox, 3).await && is_kept(outbox, 4).await);
}
