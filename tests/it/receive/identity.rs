//! Two different facts are two events, and one fact said twice is one: inputs from the field, each with
//! what must come out of it (`tests/fixtures/field/cases.json`).

use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, Ordering};

use offhook::event::CurrentStatus;
use offhook::twilio::keyring::Secret;
use offhook::twilio::signature::{Content, sign};
use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;

use crate::harness::{
    ACCOUNT, Callback, OTHER_ACCOUNT, OTHER_TOKEN, Offhook, PUBLIC_URL, Settings, Signature, TOKEN,
    Testbed, every_mode, until,
};

every_mode! {
    what_was_seen_in_the_field_comes_out_right,
    another_account_takes_no_name_and_touches_no_row,
    a_sub_account_that_is_listed_is_its_own,
    a_duplicate_that_says_something_else_is_counted,
    a_captured_request_in_other_spellings_is_one_event,
}

/// One input of the field: what is sent, and what must come out. `*` is anything, `!x` anything but x,
/// `4xx` any such answer.
#[derive(Deserialize)]
struct Case {
    name: String,
    steps: Vec<Vec<String>>,
    answers: Vec<String>,
    /// Kind, key, SID, status, sequence.
    events: Vec<[Value; 5]>,
    /// SID, resource, status, final, duration, error code, contradicted.
    statuses: Vec<[Value; 7]>,
}

/// The account of the inputs.
const THEIR_ACCOUNT: &str = "AC0123456789abcdef0123456789abcdef";
/// What the SIDs of the inputs have in common.
const THEIR_SIDS: &str = "7700000000000000000000000000";

impl Case {
    fn all() -> Vec<Self> {
        let cases: Vec<Self> = serde_json::from_str(&file("cases.json")).expect("JSON");
        assert!(cases.len() >= 28, "the cases are not read");
        cases
    }

    /// A text of the inputs with SIDs of this case alone, so that one offhook takes all cases.
    fn own(&self, number: usize, text: &str) -> String {
        let digits = format!("77{number:02}{}", &THEIR_SIDS[4..]);
        text.replace(THEIR_SIDS, &digits).replace(THEIR_ACCOUNT, ACCOUNT)
    }

    /// By which an event or a row is known as of this case.
    fn tag(number: usize) -> String {
        format!("77{number:02}{}", &THEIR_SIDS[4..])
    }
}

fn file(name: &str) -> String {
    let path = format!("{}/tests/fixtures/field/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The request of a step, whose words are options and then a target and perhaps a file.
fn request(case: &Case, number: usize, step: &[String]) -> Callback {
    let (mut method, mut token, mut signed) = (None, None, None);
    let mut replaced = Vec::new();
    let mut words = step.iter();
    let mut rest = Vec::new();
    while let Some(word) = words.next() {
        let mut value = || words.next().expect("an option has a value").as_str();
        match word.as_str() {
            "--method" => method = Some(Method::from_bytes(value().as_bytes()).expect("a method")),
            "--idempotency" => token = Some(value().to_owned()),
            "--sign-target" => signed = Some(value().to_owned()),
            "--sign-sub" => replaced.push(value().split_once('=').expect("A=B").to_owned()),
            word => rest.push(word.to_owned()),
        }
    }
    let body = rest.get(1).map(|name| case.own(number, file(name).trim_end_matches('\n')));
    let (path, query) = rest[0].split_once('?').unwrap_or((&rest[0], ""));
    let callback = match rest.get(1).and_then(|name| name.rsplit_once('.')) {
        Some((_, "form")) => Callback::form(body.unwrap_or_default()).with_query(query),
        Some((_, "json")) => Callback::json(body.unwrap_or_default()),
        Some((_, "query")) => Callback::get(body.unwrap_or_default()),
        _ => Callback::get(query),
    };
    let method = method.unwrap_or_else(|| callback.method());
    let callback = callback.to(path).with_method(method);
    let target = signed.unwrap_or_else(|| callback.target());
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let query = replaced.iter().fold(query.to_owned(), |query, (from, to)| query.replace(from, to));
    let url = match query.is_empty() {
        true => format!("{PUBLIC_URL}{path}"),
        false => format!("{PUBLIC_URL}{path}?{query}"),
    };
    let content = if callback.method() == Method::GET { Content::Query } else { Content::Form };
    let signature = sign(&Secret::auth_token(&TOKEN.into()), &url, content, callback.body());
    // JSON carries its hash in the URL, and is signed as it stands.
    let callback = match callback.headers().iter().any(|(_, value)| value == "application/json") {
        true => callback,
        false => callback.signed(Signature::Own(signature)),
    };
    // Each request of Twilio's has one of its own, but for a retry.
    callback.with_token(token.unwrap_or_else(fresh_token).leak())
}

fn fresh_token() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("token-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

fn fits(wanted: &Value, found: &Value) -> bool {
    match wanted.as_str() {
        Some("*") => true,
        Some(text) if text.starts_with('!') => found.as_str() != Some(&text[1..]),
        _ => wanted == found,
    }
}

/// Whether each of `found` is wanted, and nothing is missing; the particular ones first.
fn match_up<const N: usize>(mut wanted: Vec<[Value; N]>, mut found: Vec<[Value; N]>) -> bool {
    wanted.sort_by_key(|row| row.iter().filter(|value| value.as_str() == Some("*")).count());
    wanted.iter().all(|wanted| {
        let same =
            |row: &[Value; N]| wanted.iter().zip(row).all(|(wanted, found)| fits(wanted, found));
        let at = found.iter().position(same);
        at.map(|at| found.remove(at)).is_some()
    }) && found.is_empty()
}

async fn what_was_seen_in_the_field_comes_out_right(testbed: Testbed) {
    let offhook = testbed.start();
    let cases = Case::all();
    for (number, case) in cases.iter().enumerate() {
        for (step, expected) in case.steps.iter().zip(&case.answers) {
            let callback = request(case, number, step);
            let status = offhook.client.send(&callback).await.status().as_u16().to_string();
            let as_expected = match expected.strip_suffix("xx") {
                Some(class) => status.starts_with(class),
                None => status == *expected,
            };
            assert!(as_expected, "{}: {step:?} was answered with {status}", case.name);
        }
    }
    let contents = testbed.contents_of(cases.iter().map(|case| case.events.len()).sum()).await;
    for (number, case) in cases.iter().enumerate() {
        let tag = Case::tag(number);
        let events = contents.events.iter().map(|stored| &stored.event);
        let events = events.filter(|event| String::from_utf8_lossy(&event.body).contains(&tag));
        let events: Vec<[Value; 5]> = events
            .map(|event| {
                let (kind, key) = (event.kind.as_str(), event.key.as_str());
                [
                    kind.into(),
                    key.into(),
                    event.sid.clone().into(),
                    event.status.clone().into(),
                    event.sequence.into(),
                ]
            })
            .collect();
        let statuses = contents.statuses.iter().filter(|row| row.sid.contains(&tag));
        let statuses: Vec<[Value; 7]> = statuses.map(row).collect();
        let own = |value: &Value| match value.as_str() {
            Some(text) => case.own(number, text).into(),
            None => value.clone(),
        };
        let wanted = case.events.iter().map(|row| row.each_ref().map(own)).collect();
        assert!(match_up(wanted, events.clone()), "{}: {events:#?}", case.name);
        let wanted = case.statuses.iter().map(|row| row.each_ref().map(own)).collect();
        assert!(match_up(wanted, statuses.clone()), "{}: {statuses:#?}", case.name);
    }
}

fn row(row: &CurrentStatus) -> [Value; 7] {
    [
        row.sid.clone().into(),
        row.resource.as_str().into(),
        row.position.status.clone().into(),
        row.is_final().into(),
        row.duration.into(),
        row.error.as_ref().map(|error| error.code.clone()).into(),
        row.is_contradicted().into(),
    ]
}

/// An offhook with both accounts.
fn with_other(testbed: &mut Testbed, more: &str) -> (Offhook, tempfile::NamedTempFile) {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let text = format!(
        "[[account]]\nsid = \"{ACCOUNT}\"\nauth_tokens = [\"{TOKEN}\"]\n{more}\n\
         [[account]]\nsid = \"{OTHER_ACCOUNT}\"\nauth_tokens = [\"{OTHER_TOKEN}\"]\n"
    );
    std::fs::write(file.path(), text).expect("the file is ours");
    let settings: Settings = testbed.settings.clone();
    testbed.settings = settings.set("OFFHOOK_CONFIG", file.path().display().to_string());
    (testbed.start(), file)
}

fn of_account(account: &str, more: &str) -> Callback {
    let token = if account == OTHER_ACCOUNT { OTHER_TOKEN } else { TOKEN };
    let body = format!(
        "AccountSid={account}&CallSid=CA1&CallStatus=completed&CallbackSource=call-progress-events{more}"
    );
    Callback::form(body).signed(Signature::Token(token))
}

async fn another_account_takes_no_name_and_touches_no_row(mut testbed: Testbed) {
    let (offhook, _file) = with_other(&mut testbed, "");
    // Theirs comes first, by a callback and by an event whose id is our callback's name.
    offhook.client.accepts(&of_account(OTHER_ACCOUNT, "&From=%2B1999&CallDuration=99999")).await;
    let element = format!(
        r#"{{"id":"CA2-completed","type":"com.twilio.voice.status-callback.call.completed",
            "data":{{"accountSid":"{ACCOUNT}","callSid":"CA2"}}}}"#
    );
    let theirs = Callback::json(element).signed(Signature::Token(OTHER_TOKEN));
    offhook.client.accepts(&theirs).await;
    offhook.client.accepts(&of_account(ACCOUNT, "&From=%2B1555&CallDuration=42")).await;
    offhook.client.accepts(&of_account(ACCOUNT, "&From=%2B1555&CallDuration=42")).await;
    let ours = "CallSid=CA2&CallStatus=completed&CallbackSource=call-progress-events";
    offhook.client.accepts(&Callback::form(format!("AccountSid={ACCOUNT}&{ours}"))).await;
    let contents = testbed.contents_of(4).await;
    let rows: HashSet<_> = contents
        .statuses
        .iter()
        .map(|row| (row.sid.as_str(), row.account.as_str(), row.duration))
        .collect();
    let expected =
        [("CA1", ACCOUNT, Some(42)), ("CA1", OTHER_ACCOUNT, Some(99999)), ("CA2", ACCOUNT, None)];
    assert_eq!(rows, HashSet::from(expected));
    let about = contents.events.iter().find(|stored| stored.event.about_account.is_some());
    let about = &about.expect("it is kept").event;
    assert_eq!(
        (about.account.as_str(), about.about_account.as_deref()),
        (OTHER_ACCOUNT, Some(ACCOUNT))
    );
    assert_eq!(offhook.client.metric("offhook_about_other_accounts_total").await, 1.0);
    assert_eq!(offhook.client.json("/api/statuses/CA1").await.0, 409);
    let (_, row) = offhook.client.json(&format!("/api/statuses/CA1?account={ACCOUNT}")).await;
    assert_eq!(row["duration"], 42);
}

async fn a_sub_account_that_is_listed_is_its_own(mut testbed: Testbed) {
    let sub = "AC00000000000000000000000000000003";
    let (offhook, _file) = with_other(&mut testbed, &format!("subaccounts = [\"{sub}\"]"));
    let element = format!(
        r#"{{"id":"EZ1","type":"com.twilio.messaging.message.delivered",
            "data":{{"accountSid":"{sub}","messageSid":"SM1"}}}}"#
    );
    offhook.client.accepts(&Callback::json(element)).await;
    let debugger =
        format!("AccountSid={sub}&ParentAccountSid={ACCOUNT}&Sid=NO1&Level=ERROR&Payload=x");
    offhook.client.accepts(&Callback::form(debugger).to("/debugger")).await;
    let unlisted =
        format!("AccountSid=AC9&ParentAccountSid={ACCOUNT}&Sid=NO2&Level=ERROR&Payload=x");
    offhook.client.accepts(&Callback::form(unlisted).to("/debugger")).await;
    let contents = testbed.contents_of(3).await;
    let whose = |key: &str| {
        let found = contents.events.iter().find(|stored| stored.event.key.as_str() == key);
        let event = &found.expect("it is stored").event;
        (event.account.clone(), event.about_account.clone())
    };
    assert_eq!(whose("EZ1"), (sub.to_owned(), None));
    assert_eq!(whose("NO1"), (sub.to_owned(), None));
    assert_eq!(whose("NO2"), (ACCOUNT.to_owned(), Some("AC9".to_owned())));
    assert_eq!(contents.status("SM1").account, sub);
}

async fn a_duplicate_that_says_something_else_is_counted(testbed: Testbed) {
    let offhook = testbed.start();
    let call = |more: &str| of_account(ACCOUNT, more);
    offhook.client.accepts(&call("&From=%2B1555")).await;
    testbed.contents_of(1).await;
    offhook.client.accepts(&call("&From=%2B1555")).await;
    offhook.client.accepts(&call("&From=%2B1666")).await;
    offhook.client.accepts(&call("&From=%2B1666").with_query("tenant=7")).await;
    let series = "offhook_differing_duplicates_total";
    until("both that differ are counted", async || {
        (offhook.client.metric(series).await >= 2.0).then_some(())
    })
    .await;
    assert_eq!(offhook.client.metric(series).await, 2.0, "the one that is the same does not");
    let (_, verdict) = offhook.client.json("/api/verdict").await;
    assert!(verdict.to_string().contains("OffhookDifferingDuplicates"), "{verdict}");
    assert_eq!(testbed.contents().await.events.len(), 1);
}

async fn a_captured_request_in_other_spellings_is_one_event(testbed: Testbed) {
    let offhook = testbed.start();
    let body = format!("AccountSid={ACCOUNT}&RoomSid=RM1&Note=a+b");
    offhook.client.accepts(&Callback::form(body.clone())).await;
    for n in 0..30 {
        let ands = "&".repeat(n % 5);
        let name: String = "RoomSid"
            .chars()
            .enumerate()
            .map(|(at, letter)| match at < n % 7 {
                true => format!("%{:02x}", letter as u32),
                false => letter.to_string(),
            })
            .collect();
        let again = if n % 2 == 0 { "&Note=a%20b" } else { "" };
        let body = format!("{ands}Note=a+b{again}&{name}=RM1&AccountSid={ACCOUNT}");
        offhook.client.accepts(&Callback::form(body)).await;
    }
    let fallback = |body: &str| Callback::form(body.to_owned()).to("/voice-fallback");
    for body in [&body, &format!("&{body}"), &format!("Note=a%20b&{body}")] {
        assert_eq!(offhook.client.send(&fallback(body)).await.status(), 200);
    }
    testbed.contents_of(2).await;
    // Nothing more is on its way: what comes later is stored later.
    offhook.client.accepts(&of_account(ACCOUNT, "")).await;
    testbed.contents_of(3).await;
}
