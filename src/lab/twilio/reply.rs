//! [`Reply`]: what the simulator answers, and how it words what it refuses.

use serde_json::{Value, json};

/// An answer.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: Value,
    /// The code of an error.
    pub(super) code: Option<u32>,
    pub(super) retry_after: Option<u32>,
    /// What else its head says.
    pub(super) headers: Vec<(&'static str, String)>,
}

/// What is refused: code, HTTP status, and the reason in a few words.
const REFUSALS: [(u32, u16, &str); 22] = [
    (20001, 400, "A parameter is not valid"),
    (20003, 401, "The credentials are not those of the account"),
    (20404, 404, "There is no such resource"),
    (20429, 429, "Too many requests at once"),
    (20500, 500, "An internal error"),
    (20503, 503, "The service is not available"),
    (21201, 400, "The call has no 'To'"),
    (21205, 400, "The call has neither 'Url' nor 'Twiml'"),
    (21211, 400, "The 'To' number is not valid"),
    (21212, 400, "The 'From' number is not valid"),
    (21213, 400, "The call has no 'From'"),
    (21217, 400, "The 'To' number cannot be called"),
    (21220, 400, "The call is not in a state in which it can be changed so"),
    (21602, 400, "The message has no body"),
    (21603, 400, "The message has neither 'From' nor 'MessagingServiceSid'"),
    (21604, 400, "The message has no 'To'"),
    (21609, 400, "The 'StatusCallback' is not a valid URL"),
    (21610, 400, "The recipient has opted out"),
    (21611, 429, "The queue of the 'From' number is full"),
    (21617, 400, "The body is longer than 1600 characters"),
    (21701, 400, "There is no such Messaging Service"),
    (63038, 429, "The account has reached its messages of the day"),
];

impl Reply {
    /// A resource.
    pub(super) fn of(status: u16, body: Value) -> Self {
        Self { status, body, code: None, retry_after: None, headers: Vec::new() }
    }

    /// A refusal as SendGrid words it, which has no codes.
    pub(super) fn of_sendgrid(status: u16, field: Option<&str>, message: &str) -> Self {
        let error = json!({ "message": message, "field": field, "help": null });
        Self::of(status, json!({ "errors": [error] }))
    }

    /// A refusal, of those above.
    pub(super) fn refusal(code: u32) -> Self {
        let known = REFUSALS.iter().find(|(known, ..)| *known == code);
        let (_, status, message) = known.expect("each code that is used is in the table");
        let more_info = format!("https://www.twilio.com/docs/errors/{code}");
        let body = json!({
            "code": code, "message": message, "more_info": more_info, "status": status,
        });
        Self { code: Some(code), ..Self::of(*status, body) }
    }

    /// As it goes over the wire. `in_flight` is what Twilio says of concurrency with each answer.
    pub(super) fn bytes(&self, in_flight: usize) -> Vec<u8> {
        let body = if self.body.is_null() { String::new() } else { self.body.to_string() };
        let mut headers = String::new();
        for (name, value) in &self.headers {
            headers.push_str(&format!("{name}: {value}\r\n"));
        }
        let retry_after = self.retry_after.map(|seconds| format!("retry-after: {seconds}\r\n"));
        format!(
            "HTTP/1.1 {} -\r\ncontent-type: application/json\r\ntwilio-concurrent-requests: {in_flight}\r\n{}{headers}\
             content-length: {}\r\n\r\n{body}",
            self.status,
            retry_after.unwrap_or_default(),
            body.len(),
        )
        .into_bytes()
    }
}
