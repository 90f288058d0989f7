//! [`Texts`]: what a notification says, rendered if values are given for it.

use super::{NotificationAsk, wrong};
use crate::dispatch::Channel;
use crate::dispatch::template::{Escape, Values, examine};
use crate::http::problem::Problem;

/// Longest text of an email, in bytes. Of a message and a call, others hold.
const MOST_TEXT: usize = 64 * 1024;
/// Longest subject, in bytes: a line of a mail has at most 998 characters (RFC 5322, 2.1.1).
const MOST_SUBJECT: usize = 998;
/// Longest HTML, in bytes. Some mail programs cut off what is longer than about 100 KB.
const MOST_HTML: usize = 128 * 1024;

/// What is said, as it is sent.
pub(super) struct Texts {
    pub(super) text: String,
    pub(super) subject: Option<String>,
    pub(super) html: Option<String>,
}

impl Texts {
    /// The texts of a request. Without `values` they are what they say.
    pub(super) fn of(asked: &NotificationAsk) -> Result<Self, Problem> {
        let values = asked.values.as_ref().map(Values::of);
        let rendered = |field: &str, text: &str, escape, most| {
            let text = match &values {
                Some(values) => {
                    values.render(text, escape, most).map_err(|error| wrong(field, error))?
                }
                None => text.to_owned(),
            };
            match () {
                () if text.trim().is_empty() => Err(wrong(field, "it is empty")),
                () if text.contains('\0') => Err(wrong(field, "it has a NUL character")),
                () if text.len() > most => {
                    Err(wrong(field, format!("it has more than {most} bytes: shorten it")))
                }
                () => Ok(text),
            }
        };
        let text = rendered("text", &asked.text, Escape::Nothing, MOST_TEXT)?;
        let subject = asked.subject.as_deref();
        let subject = subject.map(|it| rendered("subject", it, Escape::Nothing, MOST_SUBJECT));
        let html = asked.html.as_deref().map(|it| rendered("html", it, Escape::Html, MOST_HTML));
        Ok(Self { text, subject: subject.transpose()?, html: html.transpose()? })
    }

    /// The templates of a campaign, which each of its recipients renders with other values. Of the text, how long it
    /// becomes is not known.
    pub(super) fn of_templates(asked: &NotificationAsk) -> Result<Self, Problem> {
        let fields = [
            ("text", Some(&asked.text)),
            ("subject", asked.subject.as_ref()),
            ("html", asked.html.as_ref()),
        ];
        for (field, template) in fields.into_iter().filter_map(|(field, it)| Some((field, it?))) {
            if template.trim().is_empty() {
                return Err(wrong(field, "it is empty"));
            }
            examine(template).map_err(|error| wrong(field, error))?;
        }
        Ok(Self { text: "-".to_owned(), subject: asked.subject.clone(), html: asked.html.clone() })
    }

    /// Whether the channels can say them.
    pub(super) fn check(&self, channels: &[Channel]) -> Result<(), Problem> {
        if !channels.contains(&Channel::Email) {
            let given = [("subject", self.subject.is_some()), ("html", self.html.is_some())];
            let Some((field, _)) = given.into_iter().find(|(_, given)| *given) else {
                return Ok(());
            };
            let problem =
                "no email is sent: leave it out, or name a sender or a route that sends one";
            return Err(wrong(field, problem));
        }
        let Some(subject) = &self.subject else {
            return Err(wrong("subject", "it is missing: an email has one"));
        };
        if subject.chars().any(char::is_control) {
            let problem = "it has a line break or another control character: a subject is one line";
            return Err(wrong("subject", problem));
        }
        Ok(())
    }
}
