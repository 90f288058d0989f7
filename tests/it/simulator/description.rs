//! Twilio's own description of its API holds for what offhook asks, and for what the simulator answers.

use offhook::twilio::rest::{
    Field, NewCall, Spoken, What, cancel_form, update_form, voice_confirm,
};

use super::*;

/// The part of the description that is about messages, calls and numbers.
struct Description(Value);

impl Description {
    fn read() -> Self {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/twilio_openapi.json");
        let text = std::fs::read_to_string(file).expect("it is there");
        let mut description: Value = serde_json::from_str(&text).expect("it is JSON");
        as_json_schema(&mut description);
        Self(description)
    }

    fn operation(&self, path: &str, method: &str) -> &Value {
        &self.0["paths"][format!("/2010-04-01/Accounts/{{AccountSid}}/{path}")][method]
    }

    /// Holds a value against a schema, whose references are into the description.
    #[track_caller]
    fn check(&self, schema: &Value, value: &Value) {
        let mut schema = schema.clone();
        schema["components"] = self.0["components"].clone();
        // A name that Twilio does not know would be ignored by it.
        if let Some(properties) = schema["properties"].as_object() {
            let known: Vec<_> = properties.keys().cloned().collect();
            let named = value.as_object().into_iter().flatten();
            named.for_each(|(name, _)| assert!(known.contains(name), "{name} is not Twilio's"));
        }
        let validator = jsonschema::validator_for(&schema).expect("it is a schema");
        let errors: Vec<_> = validator.iter_errors(value).map(|it| it.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?} in {value}");
    }

    /// Of a parameter in the path or in the query.
    fn parameter(&self, operation: &Value, name: &str) -> Value {
        let all = operation["parameters"].as_array().expect("it has some");
        let found = all.iter().find(|it| it["name"] == name);
        found.unwrap_or_else(|| panic!("{name} is not Twilio's"))["schema"].clone()
    }
}

/// OpenAPI 3.0 says `nullable` where JSON Schema has a second type.
fn as_json_schema(value: &mut Value) {
    if let Value::Object(map) = value {
        if map.remove("nullable") == Some(true.into()) && map.contains_key("type") {
            map["type"] = serde_json::json!([map["type"], "null"]);
        }
        map.values_mut().for_each(as_json_schema);
    } else if let Value::Array(all) = value {
        all.iter_mut().for_each(as_json_schema);
    }
}

/// The pairs of a form or a query, numbers where the schema has numbers, and lists where it has lists.
fn object(encoded: &str, schema: impl Fn(&str) -> Value) -> Value {
    let mut object = serde_json::Map::new();
    for (name, value) in form_urlencoded::parse(encoded.as_bytes()).into_owned() {
        let schema = schema(&name);
        let number = value.parse::<i64>().ok().filter(|_| schema["type"] == "integer");
        let value = number.map_or(Value::String(value), Value::from);
        if schema["type"] == "array" {
            let list = object.entry(name).or_insert_with(|| Value::Array(Vec::new()));
            list.as_array_mut().expect("it is one").push(value);
        } else {
            object.insert(name, value);
        }
    }
    Value::Object(object)
}

/// The form of a call.
fn call(callback: &str) -> String {
    let spoken = Spoken { text: "The pump has stopped", language: Some("en-GB"), voice: None };
    let action = voice_confirm("https://h.example/voice-confirm", AttemptId::new(1));
    let twiml = spoken.twiml(Some(&action));
    let from = "+15005550006";
    NewCall {
        to: TO,
        from,
        twiml: &twiml,
        timeout_s: 20,
        time_limit_s: 120,
        status_callback: callback,
        detects_machines: true,
    }
    .form()
}

#[test]
fn what_offhook_asks_of_calls_is_what_twilio_describes() {
    let description = Description::read();
    let form_of = |path: &str| {
        let operation = description.operation(path, "post");
        operation["requestBody"]["content"]["application/x-www-form-urlencoded"]["schema"].clone()
    };
    let schema = form_of("Calls.json");
    let callback = status_callback("https://h.example/status", AttemptId::new(u128::MAX));
    let asked = object(&call(&callback), |name| schema["properties"][name].clone());
    assert_eq!(asked.as_object().map(serde_json::Map::len), Some(8));
    assert_eq!(asked["StatusCallbackEvent"].as_array().map(Vec::len), Some(4));
    description.check(&schema, &asked);

    let list = description.operation("Calls.json", "get");
    let asked = path::calls_to("AC00000000000000000000000000000001", TO);
    let (_, query) = asked.split_once('?').expect("it has a query");
    let asked = object(query, |name| description.parameter(list, name));
    for (name, value) in asked.as_object().expect("it is one") {
        description.check(&description.parameter(list, name), value);
    }
    let schema = form_of("Calls/{Sid}.json");
    description.check(&schema, &object(cancel_form(), |_| Value::Null));
}

#[tokio::test]
async fn calls_are_created_listed_and_cancelled_as_twilio_describes() {
    let description = Description::read();
    let rings = Behaviour { ring_ms: 600_000, ..Behaviour::default() };
    let simulator = start(rings).await;
    let asker = Asker::new(&simulator);
    let account = asker.account().to_owned();
    let answer = |path: &str, method: &str, status: &str| {
        let operation = description.operation(path, method);
        operation["responses"][status]["content"]["application/json"]["schema"].clone()
    };
    let posted = async |path: &str, form: String| {
        let response = asker.post(path, form).await.expect("an answer");
        let status = response.status().as_u16();
        let body: Bytes = response.bytes().await.expect("it is whole");
        (status, serde_json::from_slice::<Value>(&body).expect("it is JSON"))
    };
    let mut sids = Vec::new();
    for _ in 0..2 {
        let form = call("http://127.0.0.1:9/status#rc=0");
        let (status, created) = posted(&path::calls(&account), form).await;
        assert_eq!(status, 201);
        description.check(&answer("Calls.json", "post", "201"), &created);
        sids.push(created["sid"].as_str().expect("it has one").to_owned());
    }
    let of_one = path::call(&account, &sids[0]);
    let (_, fetched) = asker.get(&of_one).await;
    description.check(&answer("Calls/{Sid}.json", "get", "200"), &fetched);

    let mut next = Some(path::calls_to(&account, TO).replace("PageSize=100", "PageSize=1"));
    let mut read = Vec::new();
    while let Some(path) = next {
        let (status, page) = asker.get(&path).await;
        description.check(&answer("Calls.json", "get", "200"), &page);
        let body = page.to_string();
        let answer = rest::Answer { status, retry_after: None, body: body.as_bytes() };
        let (created, now) = (rest::Created::Call, Timestamp::from_micros(0));
        let rest::ReadAnswer::Found(page) = answer.to_list(created, &account, now) else {
            panic!("offhook cannot read {body}");
        };
        read.extend(page.messages);
        next = page.next;
    }
    assert_eq!(read.iter().map(|call| &call.sid).collect::<Vec<_>>(), [&sids[1], &sids[0]]);
    assert!(read.iter().all(|it| it.created.is_some() && it.is_outgoing && it.from.is_some()));

    for sid in &sids {
        let (status, cancelled) =
            posted(&path::call(&account, sid), cancel_form().to_owned()).await;
        assert_eq!((status, &cancelled["status"]), (200, &"canceled".into()));
        description.check(&answer("Calls/{Sid}.json", "post", "200"), &cancelled);
    }
    simulator.settled().await;
    let (status, _) = posted(&of_one, cancel_form().to_owned()).await;
    assert_eq!(status, 400, "it is over");
}

#[test]
fn what_offhook_asks_is_what_twilio_describes() {
    let description = Description::read();
    let create = description.operation("Messages.json", "post");
    let schema = &create["requestBody"]["content"]["application/x-www-form-urlencoded"]["schema"];
    let callback = status_callback("https://h.example/status", AttemptId::new(u128::MAX));
    for by in [FROM, SERVICE] {
        let form = message(by, &callback).form();
        let asked = object(&form, |name| schema["properties"][name].clone());
        assert_eq!(asked.as_object().map(serde_json::Map::len), Some(5));
        assert!(asked["ValidityPeriod"].is_number(), "{asked}");
        description.check(schema, &asked);
    }

    let account = "AC00000000000000000000000000000001";
    let list = description.operation("Messages.json", "get");
    let asked = path::messages_to(account, TO);
    let (asked_path, query) = asked.split_once('?').expect("it has a query");
    assert_eq!(asked_path, format!("/2010-04-01/Accounts/{account}/Messages.json"));
    let asked = object(query, |name| description.parameter(list, name));
    for (name, value) in asked.as_object().expect("it is one") {
        description.check(&description.parameter(list, name), value);
    }
    let fetch = description.operation("Messages/{Sid}.json", "get");
    description.check(&description.parameter(fetch, "AccountSid"), &account.into());
}

#[tokio::test]
async fn what_the_simulator_answers_is_what_twilio_describes_and_offhook_reads() {
    let description = Description::read();
    let simulator = start(Behaviour::default()).await;
    let asker = Asker::new(&simulator);
    let account = asker.account().to_owned();
    let answer = |operation: &Value, status: &str| {
        operation["responses"][status]["content"]["application/json"]["schema"].clone()
    };
    let resource = answer(description.operation("Messages.json", "post"), "201");
    assert!(resource.is_object(), "a create is described");
    for by in [FROM, SERVICE] {
        let form = message(by, "http://127.0.0.1:9/status#rc=0").form();
        let response = asker.post(&path::messages(&account), form).await.expect("an answer");
        assert_eq!(response.status(), 201);
        let body: Bytes = response.bytes().await.expect("it is whole");
        let created: Value = serde_json::from_slice(&body).expect("it is JSON");
        description.check(&resource, &created);
        let sid = created["sid"].as_str().expect("it has one");
        let schema = answer(description.operation("Messages/{Sid}.json", "get"), "200");
        let (status, fetched) = asker.get(&path::message(&account, sid)).await;
        assert_eq!(status, 200);
        description.check(&schema, &fetched);
    }
    simulator.settled().await;

    let schema = answer(description.operation("Messages.json", "get"), "200");
    let mut next = Some(format!("{}?PageSize=1", path::messages(&account)));
    let mut read = Vec::new();
    while let Some(path) = next {
        let (status, page) = asker.get(&path).await;
        description.check(&schema, &page);
        let body = page.to_string();
        let answer = rest::Answer { status, retry_after: None, body: body.as_bytes() };
        let (created, now) = (rest::Created::Message, Timestamp::from_micros(0));
        let rest::ReadAnswer::Found(page) = answer.to_list(created, &account, now) else {
            panic!("offhook cannot read {body}");
        };
        read.extend(page.messages);
        next = page.next;
    }
    assert_eq!(read.len(), 2);
    assert!(read.iter().all(|it| it.created.is_some() && it.is_outgoing && it.from.is_some()));
}

#[tokio::test]
async fn numbers_are_listed_and_updated_as_twilio_describes() {
    let description = Description::read();
    let simulator = start(Behaviour::default()).await;
    let asker = Asker::new(&simulator);
    let account = asker.account().to_owned();
    let sid = simulator.add_number(TO);
    simulator.add_number("+15550101");

    let list = description.operation("IncomingPhoneNumbers.json", "get");
    let schema = &list["responses"]["200"]["content"]["application/json"]["schema"];
    let asked = path::first_numbers(&account, Some("+155501"));
    let (_, query) = asked.split_once('?').expect("it has a query");
    let asked_for = object(query, |name| description.parameter(list, name));
    for (name, value) in asked_for.as_object().expect("it is one") {
        description.check(&description.parameter(list, name), value);
    }
    let mut next = Some(asked.replace("PageSize=100", "PageSize=1"));
    let mut read = Vec::new();
    while let Some(path) = next {
        let (status, page) = asker.get(&path).await;
        description.check(schema, &page);
        let body = page.to_string();
        let answer = rest::Answer { status, retry_after: None, body: body.as_bytes() };
        let rest::ReadAnswer::Found(page) = answer.to_numbers(&account, Clock::System.now()) else {
            panic!("offhook cannot read {body}");
        };
        read.extend(page.found);
        next = page.next;
    }
    assert_eq!(read.iter().map(|it| it.id()).collect::<Vec<_>>(), [TO, "+15550101"]);

    let update = description.operation("IncomingPhoneNumbers/{Sid}.json", "post");
    let form = &update["requestBody"]["content"]["application/x-www-form-urlencoded"]["schema"];
    let fields = [
        Field::VoiceUrl,
        Field::VoiceFallbackUrl,
        Field::SmsUrl,
        Field::SmsFallbackUrl,
        Field::StatusCallback,
    ];
    let body = update_form(What::Number, fields.map(|field| (field, "https://h.example/x")));
    let asked = object(&body, |name| form["properties"][name].clone());
    assert_eq!(asked.as_object().map(serde_json::Map::len), Some(10));
    description.check(form, &asked);
    let response = asker.post(&path::number(&account, &sid), body).await.expect("an answer");
    assert_eq!(response.status(), 200);
    let (_, fetched) = asker.get(&path::number(&account, &sid)).await;
    let schema = &update["responses"]["200"]["content"]["application/json"]["schema"];
    description.check(schema, &fetched);
    assert!(fields.iter().all(|field| fetched[field.as_str()] == "https://h.example/x"));
    assert_eq!(simulator.ledger().updates[0].set.len(), 10);
}
