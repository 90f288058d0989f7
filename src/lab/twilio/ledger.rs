//! [`Ledger`]: what the simulator knows happened, whatever it answered.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::clock::Timestamp;

/// All messages, calls and emails and all requests for one, in the order in which they came.
#[derive(Clone, Default, Debug, Serialize)]
pub struct Ledger {
    /// The messages that exist.
    pub messages: Vec<Entry>,
    /// The calls that exist.
    pub calls: Vec<CallEntry>,
    /// The emails that were sent.
    pub mails: Vec<MailEntry>,
    /// The POSTs that would create a message, a call or an email.
    pub posts: Vec<Post>,
    /// What was changed of numbers and Messaging Services.
    pub updates: Vec<Update>,
}

/// A change of a number or of a Messaging Service.
#[derive(Clone, Debug, Serialize)]
pub struct Update {
    /// When the request for it had arrived.
    pub at: Timestamp,
    /// Which one.
    pub sid: String,
    /// The fields that it has set.
    pub set: BTreeMap<String, String>,
}

/// A message.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// Its SID.
    pub sid: String,
    /// The recipient.
    pub to: String,
    /// The sender. Of a Messaging Service's message it is assigned as the message leaves the queue.
    pub from: Option<String>,
    /// The Messaging Service.
    pub service: Option<String>,
    /// The text that was given.
    pub body: String,
    /// The text that is kept and listed.
    pub kept_body: String,
    /// Its segments.
    pub segments: u32,
    /// Where its statuses are reported.
    pub status_callback: Option<String>,
    /// The attempt that the URL names.
    pub attempt: Option<String>,
    /// The longest time in the queue that was asked for, in seconds.
    pub validity_period: Option<u32>,
    /// When the request for it had arrived.
    pub created_at: Timestamp,
    /// When it left the queue.
    pub sent_at: Option<Timestamp>,
    /// Its status now.
    pub status: &'static str,
    /// Why it failed.
    pub error_code: Option<u32>,
    /// What was reported of it.
    pub reports: Vec<Report>,
    /// What was said of it when it was fetched.
    pub fetched: Vec<Fetched>,
}

/// An answer to a request for one message.
#[derive(Clone, Debug, Serialize)]
pub struct Fetched {
    /// When it was given.
    pub at: Timestamp,
    /// The status.
    pub status: &'static str,
}

/// A call.
#[derive(Clone, Debug, Serialize)]
pub struct CallEntry {
    /// Its SID.
    pub sid: String,
    /// The callee.
    pub to: String,
    /// The caller.
    pub from: String,
    /// What it says.
    pub twiml: String,
    /// Where its statuses are reported.
    pub status_callback: Option<String>,
    /// Which of them.
    pub events: Vec<String>,
    /// Whether it is found out if a person has answered.
    pub detects_machines: bool,
    /// The attempt that the URL names.
    pub attempt: Option<String>,
    /// How long it may ring, in seconds.
    pub timeout_s: u32,
    /// How long it may last, in seconds.
    pub time_limit_s: Option<u32>,
    /// When the request for it had arrived.
    pub created_at: Timestamp,
    /// When it had its last status.
    pub over_at: Option<Timestamp>,
    /// Its status now.
    pub status: &'static str,
    /// Who answered, if it was found out.
    pub answered_by: Option<&'static str>,
    /// The answer to the key that the callee pressed: the HTTP status, and what the callee heard.
    pub pressed: Option<(u16, String)>,
    /// What was reported of it.
    pub reports: Vec<Report>,
}

/// An email.
#[derive(Clone, Debug, Serialize)]
pub struct MailEntry {
    /// Its `X-Message-Id`.
    pub id: String,
    /// The recipient.
    pub to: String,
    /// The sender.
    pub from: String,
    /// The sender's name.
    pub from_name: Option<String>,
    /// The subject.
    pub subject: String,
    /// The text.
    pub text: String,
    /// The same as HTML.
    pub html: Option<String>,
    /// The attempt that its custom argument names.
    pub attempt: Option<String>,
    /// What it is counted under.
    pub categories: Vec<String>,
    /// When the request for it had arrived.
    pub created_at: Timestamp,
    /// Its latest event.
    pub status: &'static str,
    /// What was reported of it.
    pub reports: Vec<Report>,
}

/// A status that was reported, or could not be.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The status.
    pub status: &'static str,
    /// How often it was tried.
    pub tries: u32,
    /// The HTTP status of the last answer.
    pub answered: Option<u16>,
}

/// A POST that would create a message, a call or an email.
#[derive(Clone, Debug, Serialize)]
pub struct Post {
    /// When it had arrived.
    pub at: Timestamp,
    /// The recipient.
    pub to: Option<String>,
    /// The attempt that its callback's URL names.
    pub attempt: Option<String>,
    /// The message, the call or the email that it created.
    pub sid: Option<String>,
    /// The HTTP status that it is answered with; `None` if it is not answered.
    pub answered: Option<u16>,
    /// The code of the refusal.
    pub code: Option<u32>,
}
