use super::*;

const NOW: &str = "Fri, 27 Nov 2026 08:00:00 +0000";
const SID: &str = "SM0123456789abcdef0123456789abcdef";

fn now() -> Timestamp {
    Timestamp::parse_rfc2822(NOW).expect("it is well-formed")
}

fn answer(status: u16, body: &str) -> Answer<'_> {
    Answer { status, retry_after: None, body: body.as_bytes() }
}

fn created(status: u16, body: &str) -> CreateAnswer {
    answer(status, body).to_create(Created::Message, now())
}

fn resource(more: &str) -> String {
    format!(r#"{{"sid":"{SID}","account_sid":"AC1","status":"queued"{more}}}"#)
}

#[test]
fn what_was_created_is_read_as_twilio_writes_it() {
    let body = resource(
        r#","error_code":null,"num_segments":"2","to":"+15550100","from":null,"body":"Hej",
            "messaging_service_sid":"MG1",
            "date_created":"Fri, 27 Nov 2026 08:00:00 +0000","direction":"outbound-api""#,
    );
    let expected = Message {
        sid: SID.to_owned(),
        account: "AC1".to_owned(),
        status: "queued".to_owned(),
        error_code: None,
        num_segments: Some(2),
        to: Some("+15550100".to_owned()),
        from: None,
        service: Some("MG1".to_owned()),
        body: Some("Hej".to_owned()),
        created: Some(now()),
        is_outgoing: true,
    };
    assert_eq!(created(201, &body), CreateAnswer::Accepted(Box::new(expected)));
    let CreateAnswer::Accepted(failed) = created(201, &resource(r#","error_code":30034"#)) else {
        panic!("it was created, whatever became of it");
    };
    assert_eq!(failed.error_code.as_deref(), Some("30034"));
}

#[test]
fn a_success_that_cannot_be_read_is_unknown() {
    let no_sid = resource("").replace(SID, "SM1");
    for body in ["", "<html>", "[]", "{}", r#"{"sid":null}"#, &no_sid, &resource("")[1..]] {
        assert_eq!(created(201, body), CreateAnswer::Unknown(Doubt::Unreadable), "{body}");
    }
    assert_eq!(created(600, &resource("")), CreateAnswer::Unknown(Doubt::Unreadable));
}

#[test]
fn what_may_have_been_created_is_unknown_whatever_the_body_says() {
    let rejected = r#"{"code":21211,"message":"","status":400}"#;
    for status in [500, 502, 503, 504, 599] {
        for body in ["", rejected, r#"{"code":20429}"#] {
            assert_eq!(created(status, body), CreateAnswer::Unknown(Doubt::ServerError));
        }
    }
    assert_eq!(created(408, rejected), CreateAnswer::Unknown(Doubt::RequestTimeout));
    assert_eq!(created(400, r#"{"code":20500}"#), CreateAnswer::Unknown(Doubt::ServerError));
}

#[test]
fn a_refusal_goes_by_its_code_and_not_by_its_status() {
    let rejected = |code: &str| CreateAnswer::Rejected { code: code.to_owned() };
    let throttled = CreateAnswer::Throttled { retry_after: None };
    let check = |status, body, expected: &CreateAnswer| {
        assert_eq!(&created(status, body), expected, "{status} {body}");
    };
    check(429, r#"{"code":20429}"#, &throttled);
    check(400, r#"{"code":"20429"}"#, &throttled);
    check(429, "<html>", &throttled);
    check(429, r#"{"code":63038}"#, &rejected("63038"));
    check(400, r#"{"code":21211,"message":"\ud800"}"#, &rejected("21211"));
    check(401, r#"{"code":20003}"#, &rejected("20003"));
    for (status, body) in
        [(400, ""), (403, "<html>"), (404, "[]"), (307, ""), (400, r#"{"code":0}"#)]
    {
        check(status, body, &CreateAnswer::Foreign { status });
    }
}

#[test]
fn a_wait_is_in_seconds_or_until_a_time_and_never_absurd() {
    let check = |header: &str, expected: Option<u64>| {
        let answer = Answer { retry_after: Some(header), ..answer(429, "") };
        let retry_after = expected.map(Duration::from_secs);
        assert_eq!(
            answer.to_create(Created::Message, now()),
            CreateAnswer::Throttled { retry_after },
            "{header}"
        );
    };
    check(" 2 ", Some(2));
    check("0", Some(0));
    check("Fri, 27 Nov 2026 08:00:07 GMT", Some(7));
    check("Fri, 27 Nov 2026 07:00:00 GMT", Some(0));
    check("18446744073709551615", Some(86_400));
    for nonsense in ["", "soon", "-1", "1.5", "18446744073709551616"] {
        check(nonsense, None);
    }
}

#[test]
fn a_message_is_missing_only_if_twilio_says_so() {
    let fetched = |status, body: &str| answer(status, body).to_fetch(Created::Message, now());
    assert!(matches!(fetched(200, &resource("")), ReadAnswer::Found(_)));
    assert_eq!(fetched(404, r#"{"code":20404}"#), ReadAnswer::Missing);
    assert_eq!(fetched(404, "<html>"), ReadAnswer::Failed { status: 404, code: None });
    assert_eq!(fetched(429, ""), ReadAnswer::Throttled { retry_after: None });
    for status in [200, 302, 500] {
        assert_eq!(fetched(status, ""), ReadAnswer::Failed { status, code: None });
    }
    let denied = ReadAnswer::Failed { status: 401, code: Some("20003".to_owned()) };
    assert_eq!(fetched(401, r#"{"code":20003}"#), denied);
}

#[test]
fn a_page_is_read_whole_or_not_at_all() {
    let page = |messages: &str, next: &str| {
        let body = format!(r#"{{"messages":[{messages}],"next_page_uri":{next}}}"#);
        answer(200, &body).to_list(Created::Message, "AC1", now())
    };
    let (one, received) = (resource(""), resource(r#","direction":"inbound""#));
    let next = "/2010-04-01/Accounts/AC1/Messages.json?PageSize=100&Page=1&PageToken=PASM1";
    let ReadAnswer::Found(found) = page(&format!("{one},{received}"), &format!("{next:?}")) else {
        panic!("it is a page");
    };
    assert_eq!(found.messages.iter().map(|it| it.is_outgoing).collect::<Vec<_>>(), [true, false]);
    assert_eq!(found.next.as_deref(), Some(next));
    let last = ReadAnswer::Found(Page { messages: Vec::new(), next: None });
    assert_eq!(page("", "null"), last);

    let unreadable = ReadAnswer::Failed { status: 200, code: None };
    for (messages, next) in [
        (&*format!("{one},{{}}"), "null"),
        (&one, "\"\""),
        (&one, "7"),
        (&one, "\"https://h.example/2010-04-01/Accounts/AC1/Messages.json?Page=1\""),
    ] {
        assert_eq!(page(messages, next), unreadable, "{messages} {next}");
    }
    let without_next = answer(200, r#"{"messages":[]}"#).to_list(Created::Message, "AC1", now());
    assert_eq!(without_next, unreadable);
}

#[test]
fn a_call_is_read_as_a_message_is_and_neither_is_taken_for_the_other() {
    let sid = SID.replace("SM", "CA");
    let call = resource("").replace(SID, &sid);
    let created = |body: &str, created| answer(201, body).to_create(created, now());
    let CreateAnswer::Accepted(found) = created(&call, Created::Call) else {
        panic!("it was created");
    };
    assert_eq!((found.sid, found.body, found.num_segments), (sid, None, None));
    let unreadable = CreateAnswer::Unknown(Doubt::Unreadable);
    assert_eq!(created(&call, Created::Message), unreadable);
    assert_eq!(created(&resource(""), Created::Call), unreadable);
    let page = format!(r#"{{"calls":[{call}],"next_page_uri":null}}"#);
    let list = |created| answer(200, &page).to_list(created, "AC1", now());
    assert!(matches!(list(Created::Call), ReadAnswer::Found(page) if page.messages.len() == 1));
    assert!(matches!(list(Created::Message), ReadAnswer::Failed { .. }));
}
