//! A campaign from its list to its results.

use offhook::lab::twilio::{Behaviour, Share};
use reqwest::multipart::{Form, Part};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::description::{document, validator};
use super::{SENDING_TOKEN, Sending, both_stores, emails};
use crate::harness::{Mode, run, until};

both_stores![
    a_campaign_goes_from_its_list_to_its_results,
    what_a_campaign_may_not_do_is_refused_with_the_number,
];

const LIMITS: &str =
    "[campaigns]\nmax_recipients = 10\n[campaigns.prices.message]\ndefault = '0.01'\n";

const LIST: &str = "\u{feff}To,name,key\r\n+14155550001,Ana,a-1\r\n+14155550002,Bo,\r\n4.9E+11,Cy,\r\n\
                    \" +14155550001 \",Dora,\r\n+14155550003,,\r\n+14155550004\r\n+14155550005,\"Eve\r\nB.\",e-5\r\n";

impl Sending {
    pub(super) async fn create(
        &self,
        list: &str,
        fields: &[(&'static str, &str)],
    ) -> (StatusCode, Value) {
        let base =
            [("name", "autumn"), ("purpose", "transactional"), ("text", "Hello {{ name }}.")];
        let fields = base.iter().chain(fields);
        let form =
            fields.fold(Form::new(), |form, (name, value)| form.text(*name, (*value).to_owned()));
        let list = Part::text(list.to_owned()).mime_str("text/csv").expect("a type");
        let url = format!("http://{}/api/campaigns", self.offhook().client.private());
        let request = self.http.post(url).bearer_auth(SENDING_TOKEN);
        let answer =
            request.multipart(form.part("recipients", list)).send().await.expect("an answer");
        let status = answer.status();
        // What is refused may not have been read to its end: then no other request can follow it.
        let closes = answer.headers().get("connection").is_some_and(|value| value == "close");
        assert_eq!(closes, !status.is_success(), "{status}");
        let text = answer.text().await.expect("the whole answer");
        (status, serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {text}")))
    }

    /// The same once the tables of the store are made.
    async fn creates(&self, list: &str, fields: &[(&'static str, &str)]) -> Value {
        until("the store answers", async || {
            let (status, answer) = self.create(list, fields).await;
            assert!(status.is_success() || status == StatusCode::SERVICE_UNAVAILABLE, "{answer}");
            (status == StatusCode::CREATED).then_some(answer)
        })
        .await
    }

    async fn results(&self, id: &str, format: &str) -> String {
        let path = format!("/api/campaigns/{id}/results?format={format}");
        let url = format!("http://{}{path}", self.offhook().client.private());
        let answer = self.http.get(url).bearer_auth(SENDING_TOKEN).send().await.expect("an answer");
        answer.text().await.expect("all results")
    }
}

#[track_caller]
fn fits(path: &str, method: &Method, status: u16, answer: &Value) {
    let validator = validator(&document(), path, method, status);
    let errors: Vec<_> = validator.iter_errors(answer).map(|it| it.to_string()).collect();
    assert!(errors.is_empty(), "{method} {path}: {errors:?} in {answer}");
}

async fn a_campaign_goes_from_its_list_to_its_results(mode: Mode) {
    let sending = Sending::with(mode, Behaviour::default(), LIMITS).await;
    let created = sending.creates(LIST, &[("cost_cap", "0.03")]).await;
    fits("/api/campaigns", &Method::POST, 201, &created);
    let figures =
        ["state", "recipients", "doubles", "invalid", "cost_cap"].map(|key| &created[key]);
    assert_eq!(figures, [&json!("draft"), &json!(3), &json!(1), &json!(3), &json!("0.03")]);
    let of = format!("/api/campaigns/{}", created["id"].as_str().expect("an id"));
    let invalid = sending.get(&format!("{of}/invalid?after=4")).await;
    fits("/api/campaigns/{id}/invalid", &Method::GET, 200, &invalid);
    let missing = "`text`: the value `name` is missing";
    let columns = "it has 1 columns, and the first line names 3";
    let expected = json!([{ "line": 6, "reason": missing }, { "line": 7, "reason": columns }]);
    assert_eq!(invalid["rows"], expected);
    let first = &created["invalid_rows"][0];
    assert!(
        first["line"] == 4 && first["reason"].as_str().expect("text").contains("scientific"),
        "{first}"
    );

    let preflight = sending.get(&format!("{of}/preflight")).await;
    fits("/api/campaigns/{id}/preflight", &Method::GET, 200, &preflight);
    let figures = ["recipients", "segments", "cost", "late"].map(|key| &preflight[key]);
    assert_eq!(figures, [&json!(3), &json!(3), &json!("0.03"), &json!(0)]);

    let start = format!("{of}/start");
    let (status, problem) = sending.post(&start, &json!({ "recipients": 4 })).await;
    assert_eq!(status, StatusCode::CONFLICT, "{problem}");
    assert!(
        problem["detail"].as_str().expect("a detail").contains("`recipients` of its preflight")
    );
    assert_eq!(sending.simulator.created(), 0, "nothing is sent before it is started");
    let (status, answer) = sending.post(&start, &json!({ "recipients": 3 })).await;
    assert_eq!((status, &answer["state"]), (StatusCode::OK, &json!("running")), "{answer}");
    fits("/api/campaigns/{id}/start", &Method::POST, 200, &answer);
    let finished = until("each recipient has an outcome", async || {
        let now = sending.get(&of).await;
        (now["state"] == "finished").then_some(now)
    })
    .await;
    fits("/api/campaigns/{id}", &Method::GET, 200, &finished);
    assert_eq!((&finished["handed_over"], &finished["spent"]), (&json!(3), &json!("0.03")));
    let (status, problem) = sending.post(&format!("{of}/pause"), &json!({})).await;
    assert_eq!(status, StatusCode::CONFLICT, "{problem}");

    let id = created["id"].as_str().expect("an id");
    let url = format!("http://{}/campaigns/{id}", sending.offhook().client.private());
    let page = sending.http.get(url).send().await.expect("an answer").text().await.expect("a page");
    let here = r#"<a href="/campaigns" aria-current="page">Campaigns</a>"#;
    assert!(page.contains(here), "the console leads to campaigns: {page}");
    let csv = sending.results(id, "csv").await;
    let lines: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(lines[0][..5], ["line", "key", "to", "outcome", "reason"]);
    let told: Vec<_> =
        lines[1..].iter().map(|line| [line[0], line[1], line[2], line[3], line[5]]).collect();
    assert_eq!(
        told,
        [
            ["2", "a-1", "+14155550001", "confirmed", "message"],
            ["3", "", "+14155550002", "confirmed", "message"],
            ["8", "e-5", "+14155550005", "confirmed", "message"],
        ]
    );
    for line in sending.results(id, "ndjson").await.lines() {
        let result: Value = serde_json::from_str(line).expect("an object");
        let mut schema = document()["components"]["schemas"]["CampaignResult"].clone();
        schema["components"] = document()["components"].clone();
        let validator = jsonschema::draft202012::new(&schema).expect("a schema");
        assert!(validator.is_valid(&result), "{result}");
        assert!(result["sids"][0].as_str().expect("text").starts_with("SM"), "{result}");
    }
    let mut texts: Vec<_> =
        sending.simulator.ledger().messages.iter().map(|it| it.body.clone()).collect();
    texts.sort();
    assert_eq!(texts, ["Hello Ana.", "Hello Bo.", "Hello Eve\r\nB.."]);
    let page = sending.get("/api/campaigns?state=finished&limit=1").await;
    fits("/api/campaigns", &Method::GET, 200, &page);
    assert_eq!(page["campaigns"][0]["id"], id);
}

async fn what_a_campaign_may_not_do_is_refused_with_the_number(mode: Mode) {
    let sending = Sending::with(mode, Behaviour::default(), LIMITS).await;
    let draft = sending.creates(LIST, &[("cost_cap", "0.02")]).await;
    let of = format!("/api/campaigns/{}", draft["id"].as_str().expect("an id"));
    let (status, problem) = sending.post(&format!("{of}/start"), &json!({ "recipients": 3 })).await;
    assert_eq!(status, StatusCode::CONFLICT, "{problem}");
    assert!(problem["detail"].as_str().expect("a detail").contains("0.03"), "{problem}");
    let (status, answer) = sending.post(&format!("{of}/cancel"), &json!({})).await;
    assert_eq!(
        (status, answer),
        (StatusCode::OK, json!({ "state": "cancelled", "in_writing": 0 }))
    );

    let rows: String = (0..11).map(|number| format!("+1415555{number:04},x\n")).collect();
    let long = format!("to,name\n{rows}");
    let check = async |list: &str, fields: &[(&'static str, &str)], status: u16, part: &str| {
        let (found, problem) = sending.create(list, fields).await;
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert!(found.as_u16() == status && detail.contains(part), "{found} {problem}");
    };
    let text = ("text", "x");
    check(&long, &[text], 422, "`text`: it is there twice").await;
    check("", &[], 422, "`recipients`: it is empty").await;
    check("number\n", &[], 422, "no column `to`").await;
    check("to\n+14155550001\n", &[], 422, "the value `name` is missing").await;
    check(&long, &[], 409, "11 rows").await;
    check(LIST, &[("route", "night")], 422, "`route`").await;
    check(LIST, &[("subject", "x")], 422, "`subject`").await;
    check(LIST, &[("cost_cap", "1e3")], 422, "`cost_cap`").await;
    check(LIST, &[("fun", "x")], 422, "`form`").await;
    let page = sending.get("/api/campaigns").await;
    assert_eq!(
        page["campaigns"].as_array().expect("a list").len(),
        1,
        "of the refused nothing is kept"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_go_from_a_list_to_results() {
    let sending = Sending::with(Mode::Embedded, Behaviour::default(), LIMITS).await;
    sending.creates(LIST, &[]).await;
    let admin = format!("http://{}", sending.offhook().client.private());
    let settings = sending.testbed.settings.clone().set("OFFHOOK_ADMIN_URL", admin);
    let file = sending.testbed.directory().join("list.csv").display().to_string();
    std::fs::write(&file, LIST).expect("it is ours");
    let json = |words: &[&str]| -> Value {
        let said = run(&settings, &[&["campaign"], words].concat()).well();
        serde_json::from_str(said.lines().last().expect("a line")).expect("JSON")
    };
    let base = ["create", &file, "--name", "autumn", "--purpose", "transactional"];
    let created = json(&[&base[..], &["--text", "Hello {{ name }}."]].concat());
    assert_eq!(
        (&created["state"], &created["preflight"]["recipients"]),
        (&json!("draft"), &json!(3))
    );
    let id = created["id"].as_str().expect("an id");
    let early = run(&settings, &["campaign", "watch", id]);
    assert!(early.code == Some(1) && early.error.contains("not started"), "{early:?}");
    assert_eq!(json(&["start", id, "--recipients", "3"])["state"], "running");
    let lines = run(&settings, &["campaign", "watch", id]).well();
    let last = "finished: 3 planned, 0 waiting, 0 held, 0 writing, 0 accepted, 3 confirmed";
    assert!(lines.lines().last().is_some_and(|line| line.contains(last)), "{lines}");
    assert_eq!(json(&["watch", id, "--json"])["state"], "finished");
    let csv = run(&settings, &["campaign", "results", id]).well();
    assert_eq!((csv.lines().count(), csv.matches(",confirmed,").count()), (4, 3), "{csv}");
    assert_eq!(run(&settings, &["campaign", "invalid", id]).well().lines().count(), 3);
    assert_eq!(json(&["list", "--state", "finished"])["campaigns"][0]["id"], id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_campaign_goes_by_a_route_as_far_as_the_email() {
    let unheard = Behaviour {
        undelivered: Share::ALWAYS,
        calls_voicemail: Share::ALWAYS,
        ..Behaviour::default()
    };
    let sending = Sending::with(Mode::Embedded, unheard, emails::ROUTE).await;
    let list = "to,email,name\n+14155550021,Ana@Example.com,<Ana>\n";
    let fields =
        [("route", "urgent"), ("subject", "For {{ name }}"), ("html", "<p>{{ name }}</p>")];
    let created = sending.creates(list, &fields).await;
    let id = created["id"].as_str().expect("an id");
    let of = format!("/api/campaigns/{id}");
    sending.post(&format!("{of}/start"), &json!({ "recipients": 1 })).await;
    until("it is finished", async || (sending.get(&of).await["state"] == "finished").then_some(()))
        .await;
    let result: Value =
        serde_json::from_str(&sending.results(id, "ndjson").await).expect("one object");
    assert_eq!((&result["outcome"], &result["channel"]), (&json!("confirmed"), &json!("email")));
    assert_eq!((&result["attempts"], &result["to"]), (&json!(3), &json!("+14155550021")));
    let ledger = sending.simulator.ledger();
    let mail = &ledger.mails[0];
    assert_eq!((&*mail.to, &*mail.subject), ("ana@example.com", "For <Ana>"));
    assert_eq!(mail.html.as_deref(), Some("<p>&lt;Ana&gt;</p>"));
    assert_eq!(mail.categories, [id], "SendGrid's statistics tell campaigns apart");
}

/// Each step asks about the address that it reaches.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_campaign_that_begins_with_an_email_texts_no_one_who_has_said_stop() {
    let bounces = Behaviour { mails_bounced: Share::ALWAYS, ..Behaviour::default() };
    let route = format!(
        "{}[[route]]\nname = \"letter\"\n[[route.step]]\nsender = \"mail\"\nwait_s = 1\n[[route.step]]\nsender = \"shop\"\n",
        emails::ROUTE
    );
    let sending = Sending::with(Mode::Embedded, bounces, &route).await;
    let list = "to,email,name\n+14155550031,ana@example.com,Ana\n+14155550032,ben@example.com,Ben\n\
                +14155550032,twin@example.com,Twin\n";
    let created =
        sending.creates(list, &[("route", "letter"), ("subject", "For {{ name }}")]).await;
    assert_eq!((&created["recipients"], &created["doubles"]), (&json!(2), &json!(1)), "{created}");
    sending.post("/api/suppressions", &json!({ "to": "+14155550031" })).await;
    let id = created["id"].as_str().expect("an id");
    let of = format!("/api/campaigns/{id}");
    sending.post(&format!("{of}/start"), &json!({ "recipients": 2 })).await;
    until("it is finished", async || (sending.get(&of).await["state"] == "finished").then_some(()))
        .await;
    let results = sending.results(id, "ndjson").await;
    let outcomes: Vec<Value> = results
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("one object"))
        .map(|result| json!([result["to"], result["outcome"], result["reason"]]))
        .collect();
    let expected = [
        json!(["+14155550031", "refused", "suppression"]),
        json!(["+14155550032", "confirmed", null]),
    ];
    assert_eq!(outcomes, expected);
    let ledger = sending.simulator.ledger();
    assert_eq!(ledger.mails.len(), 2, "the email goes: that address has said nothing");
    assert_eq!(sending.simulator.created(), 1);
}
