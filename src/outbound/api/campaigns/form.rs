//! [`CampaignForm`]: the fields of a request for a campaign, which precede its list.

use axum::extract::multipart::{Field, MultipartError};

use crate::dispatch::campaign::list::Form;
use crate::dispatch::campaign::price::Price;
use crate::http::problem::Problem;
use crate::outbound::api::request::{NotificationAsk, wrong};

/// Most bytes of a field: the longest HTML, with what it is escaped by.
const LONGEST_FIELD: usize = 256 * 1024;
/// Longest name of a campaign, in characters.
const LONGEST_NAME: usize = 255;
/// The field with the list, which is the last one.
pub(super) const LIST: &str = "recipients";

/// What is asked of all recipients alike.
#[derive(Debug, Default)]
pub(super) struct CampaignForm {
    /// What it is called.
    pub(super) name: String,
    /// Most that it may cost.
    pub(super) cost_cap: Option<Price>,
    /// What is asked for each recipient, but for the recipient.
    pub(super) each: NotificationAsk,
    /// The fields that were read.
    seen: Vec<&'static str>,
}

/// The fields, each of which may be there once.
const FIELDS: [&str; 11] = [
    "name",
    "purpose",
    "sender",
    "route",
    "text",
    "subject",
    "html",
    "confirm",
    "deadline",
    "on_unknown",
    "cost_cap",
];

impl CampaignForm {
    /// Reads a field that is not the list.
    ///
    /// # Errors
    /// It is not known, or wrong.
    pub(super) async fn take(&mut self, name: &str, field: Field<'_>) -> Result<(), Problem> {
        let Some(known) = FIELDS.into_iter().find(|known| *known == name) else {
            let fields = FIELDS.join(", ");
            let problem =
                format!("a field is not known: there are {fields} and, as the last one, {LIST}");
            return Err(wrong("form", problem));
        };
        if self.seen.contains(&known) {
            return Err(wrong(known, "it is there twice: give it once"));
        }
        self.seen.push(known);
        let text = text_of(known, field).await?;
        let each = &mut self.each;
        match known {
            "name" => self.name = name_of(&text)?,
            "purpose" => each.purpose = text,
            "sender" => each.sender = Some(text),
            "route" => each.route = Some(text),
            "text" => each.text = text,
            "subject" => each.subject = Some(text),
            "html" => each.html = Some(text),
            "confirm" => each.confirm = Some(text),
            "deadline" => each.deadline = Some(text),
            "on_unknown" => each.on_unknown = Some(text),
            _ => self.cost_cap = Some(price_of(&text)?),
        }
        Ok(())
    }

    /// Whether what each campaign has is there.
    ///
    /// # Errors
    /// A field is missing.
    pub(super) fn complete(&self) -> Result<(), Problem> {
        let missing =
            ["name", "purpose", "text"].into_iter().find(|name| !self.seen.contains(name));
        match missing {
            Some(name) => Err(wrong(name, format!("it is missing: the fields precede `{LIST}`"))),
            None => Ok(()),
        }
    }
}

/// How the list is written, by its type.
///
/// # Errors
/// It is of another type.
pub(super) fn form_of(field: &Field<'_>) -> Result<Form, Problem> {
    let kind = field.content_type().unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.as_str() {
        "text/csv" => Ok(Form::Csv),
        "application/x-ndjson" | "application/ndjson" => Ok(Form::Ndjson),
        _ => Err(wrong(LIST, "its type is neither text/csv nor application/x-ndjson")),
    }
}

async fn text_of(name: &'static str, mut field: Field<'_>) -> Result<String, Problem> {
    let mut bytes = Vec::new();
    while let Some(chunk) = field.chunk().await.map_err(|error| unreadable(&error))? {
        if bytes.len() + chunk.len() > LONGEST_FIELD {
            return Err(wrong(name, format!("it has more than {LONGEST_FIELD} bytes: shorten it")));
        }
        bytes.extend_from_slice(&chunk);
    }
    String::from_utf8(bytes).map_err(|_| wrong(name, "it is not UTF-8"))
}

fn name_of(text: &str) -> Result<String, Problem> {
    let name = text.trim();
    let fits = (1..=LONGEST_NAME).contains(&name.chars().count());
    match fits && !name.chars().any(char::is_control) {
        true => Ok(name.to_owned()),
        false => {
            Err(wrong("name", format!("it is not 1 to {LONGEST_NAME} characters of one line")))
        }
    }
}

fn price_of(text: &str) -> Result<Price, Problem> {
    let problem = "it is not a decimal with at most 6 digits after the point, such as 250.00";
    Price::parse(text.trim()).ok_or_else(|| wrong("cost_cap", problem))
}

/// The body is not what its head says, or it has ended too early.
pub(super) fn unreadable(error: &MultipartError) -> Problem {
    Problem::new(error.status(), error.body_text())
}
