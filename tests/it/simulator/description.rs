//! Twilio's own description of its API holds for what offhook asks, and for what the simulator answers.

use offhook::twilio::rest::{Field, What, update_form};

use super::*;

/// The part of the description that is about messages and numbers.
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

/// The pairs of a form or a query, numbers where the schema has numbers.
fn object(encoded: &str, schema: impl Fn(&str) -> Value) -> Value {
    let pairs = form_urlencoded::parse(encoded.as_bytes()).into_owned();
    let typed = pairs.map(|(name, value)| {
        let is_number = schema(&name)["type"] == "integer";
        let number = value.parse::<i64>().ok().filter(|_| is_number);
        (name, number.map_or(Value::String(value), Value::from))
    });
    Value::Object(typed.collect())
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
