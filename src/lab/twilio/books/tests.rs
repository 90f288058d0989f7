use super::*;
use crate::lab::twilio::behaviour::Share;

const ACCOUNT: &str = "AC00000000000000000000000000000001";
const FORM: &str = "To=%2B15550100&From=%2B15550199&Body=Hej";
const BY_SERVICE: &str =
    "To=%2B15550100&MessagingServiceSid=MG00000000000000000000000000000001&Body=Hej";

fn books(behaviour: Behaviour) -> Books {
    Books::new(ACCOUNT, 7, behaviour)
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(1_764_000_000_000_000 + seconds * 1_000_000)
}

/// The HTTP status and the code of the answer to this form.
fn answer(books: &mut Books, form: &str) -> (u16, Option<u32>) {
    let reply = books.create(form.as_bytes(), 1, at(0)).reply;
    (reply.status, reply.code)
}

#[test]
fn a_form_that_twilio_would_refuse_is_refused_with_its_code() {
    let opted_out = vec!["+15550110".to_owned()];
    let mut books = books(Behaviour { opted_out, ..Behaviour::default() });
    let long = format!("{FORM}{}", "x".repeat(1_598));
    for (form, code) in [
        ("From=%2B15550199&Body=Hej", 21604),
        ("To=911&From=%2B15550199&Body=Hej", 21211),
        ("To=%2B15550100&Body=Hej", 21603),
        ("To=%2B15550100&From=%2B15550199", 21602),
        ("To=%2B15550100&MessagingServiceSid=MG1&Body=Hej", 21701),
        ("To=%2B15550110&From=%2B15550199&Body=Hej", 21610),
        (&format!("{FORM}&ValidityPeriod=0"), 20001),
        (&format!("{FORM}&StatusCallback=ftp"), 21609),
        (&long, 21617),
    ] {
        assert_eq!(answer(&mut books, form), (400, Some(code)), "{form}");
    }
    assert!(books.ledger().messages.is_empty());
    assert_eq!(books.ledger().posts.len(), 9);
    assert_eq!(answer(&mut books, FORM), (201, None));
}

#[test]
fn what_is_throttled_creates_nothing() {
    let switches = Behaviour {
        throttle_next: 1,
        daily_limit_next: 1,
        max_in_flight: 2,
        retry_after: 3,
        ..Behaviour::default()
    };
    let mut books = books(switches);
    let throttled = books.create(FORM.as_bytes(), 1, at(0)).reply;
    assert_eq!((throttled.code, throttled.retry_after), (Some(20429), Some(3)));
    assert_eq!(answer(&mut books, FORM), (429, Some(63038)));
    assert_eq!(books.create(FORM.as_bytes(), 3, at(0)).reply.code, Some(20429));
    assert!(books.ledger().messages.is_empty());
    assert_eq!(books.create(FORM.as_bytes(), 2, at(0)).reply.status, 201);
}

#[test]
fn a_queue_that_is_full_refuses_a_number_and_fails_a_service() {
    let rate = Behaviour { sender_rate: 1.0, sender_queue: 2, ..Behaviour::default() };
    let mut of_number = books(rate.clone());
    let sent = |books: &mut Books, form: &str, now| {
        let created = books.create(form.as_bytes(), 1, now).created;
        created.map(|created| created.sent_at)
    };
    assert_eq!(sent(&mut of_number, FORM, at(0)), Some(Some(at(0))));
    assert_eq!(sent(&mut of_number, FORM, at(0)), Some(Some(at(1))));
    assert_eq!(answer(&mut of_number, FORM), (429, Some(21611)));
    assert_eq!(sent(&mut of_number, FORM, at(1)), Some(Some(at(2))), "one has left");

    let mut of_service = books(rate);
    sent(&mut of_service, BY_SERVICE, at(0));
    sent(&mut of_service, BY_SERVICE, at(0));
    assert_eq!(sent(&mut of_service, BY_SERVICE, at(0)), Some(None));
    of_service.advance(2, "failed", at(0));
    assert_eq!(of_service.entry(2).error_code, Some(30001));
}

#[test]
fn what_is_answered_and_what_is_created_are_two_things() {
    let fate = |name: &str| {
        let behaviour = Behaviour::default().with(format!(r#"{{"{name}":1}}"#).as_bytes());
        let mut books = books(behaviour.expect("it is a switch"));
        let decision = books.create(FORM.as_bytes(), 1, at(0));
        let post = books.ledger().posts[0].clone();
        assert_eq!(post.sid.is_some(), decision.created.is_some());
        (books.ledger().messages.len(), post.answered)
    };
    assert_eq!(fate("drop_answers"), (1, None));
    assert_eq!(fate("late_answers"), (1, Some(201)));
    assert_eq!(fate("fail_created"), (1, Some(500)));
    assert_eq!(fate("fail_uncreated"), (0, Some(503)));
    assert_eq!(fate("reset"), (0, None));
}

#[test]
fn a_list_has_the_messages_to_a_number_page_by_page_once_it_knows_them() {
    let mut books = books(Behaviour {
        list_lag_ms: 1_000,
        rewrite_bodies: Share::ALWAYS,
        ..Behaviour::default()
    });
    for second in 0..5 {
        books.create(FORM.as_bytes(), 1, at(second));
        books.create(b"To=%2B15550101&From=%2B15550199&Body=x", 1, at(second));
    }
    let (mut query, mut listed) = ("To=%2B15550100&PageSize=2".to_owned(), Vec::new());
    let mut pages = 0;
    loop {
        let page = books.list(&query, at(4)).body;
        let messages = page["messages"].as_array().expect("it has them").clone();
        listed.extend(messages.iter().map(|message| message["sid"].as_str().unwrap().to_owned()));
        assert!(messages.iter().all(|message| message["body"] != "Hej"), "it is rewritten");
        pages += 1;
        let Some(next) = page["next_page_uri"].as_str() else { break };
        query = next.split_once('?').expect("it has a query").1.to_owned();
        // What comes meanwhile moves no page.
        books.create(FORM.as_bytes(), 1, at(0));
    }
    let expected = [6, 4, 2, 0].map(|place| books.entry(place).sid.clone());
    assert_eq!((pages, listed), (2, expected.to_vec()), "the fifth is too young to be listed");
}

#[test]
fn the_same_seed_gives_the_same_sids() {
    let sids = || {
        let mut books = books(Behaviour::default());
        (0..3).for_each(|_| drop(books.create(FORM.as_bytes(), 1, at(0))));
        books.ledger().messages.iter().map(|entry| entry.sid.clone()).collect::<Vec<_>>()
    };
    let first = sids();
    assert_eq!(first, sids());
    assert!(first[0] != first[1] && first[1] != first[2]);
}
