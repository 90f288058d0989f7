//! [`NewMessage`]: the form that creates a message.

use crate::event::AttemptId;
use crate::event::attempt::ATTEMPT_PARAMETER;

/// Connection overrides for a status callback: Twilio tries five times more, and after every kind of failure, not only
/// if it cannot connect. They are the URL's fragment, which Twilio neither sends nor signs.
pub(super) const OVERRIDES: &str = "rc=5&rp=all";

/// What a message is sent from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SentBy<'a> {
    /// A number, an address of a channel such as `whatsapp:+15550100`, or a name.
    From(&'a str),
    /// A Messaging Service, which chooses the number.
    Service(&'a str),
}

/// A message to be created.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NewMessage<'a> {
    /// The recipient: E.164, or an address of a channel.
    pub to: &'a str,
    /// What it is sent from.
    pub by: SentBy<'a>,
    /// The text.
    pub body: &'a str,
    /// Where Twilio reports its statuses: see [`status_callback`].
    pub status_callback: &'a str,
    /// How long Twilio may keep it in its queue, in seconds: 1 to 36,000.
    pub validity_period: u32,
}

impl NewMessage<'_> {
    /// The body of the POST, `application/x-www-form-urlencoded`.
    #[must_use]
    pub fn form(&self) -> String {
        let (by, sender) = match self.by {
            SentBy::From(number) => ("From", number),
            SentBy::Service(sid) => ("MessagingServiceSid", sid),
        };
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("To", self.to).append_pair(by, sender).append_pair("Body", self.body);
        form.append_pair("StatusCallback", self.status_callback);
        form.append_pair("ValidityPeriod", &self.validity_period.to_string());
        form.finish()
    }
}

/// The status route's URL, with the attempt in its query, which Twilio signs, and the connection overrides.
#[must_use]
pub fn status_callback(status_url: &str, attempt: AttemptId) -> String {
    format!("{status_url}?{ATTEMPT_PARAMETER}={attempt}#{OVERRIDES}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::twilio::params::Params;

    const MESSAGE: NewMessage<'_> = NewMessage {
        to: "+15550100",
        by: SentBy::From("+15550199"),
        body: "Hej & välkommen\n",
        status_callback: "https://h.example/status",
        validity_period: 36_000,
    };

    #[test]
    fn a_form_has_what_twilio_calls_it() {
        let form = MESSAGE.form();
        assert_eq!(
            form,
            "To=%2B15550100&From=%2B15550199&Body=Hej+%26+v%C3%A4lkommen%0A\
             &StatusCallback=https%3A%2F%2Fh.example%2Fstatus&ValidityPeriod=36000"
        );
        let by_service = NewMessage { by: SentBy::Service("MG1"), ..MESSAGE }.form();
        assert!(by_service.contains("&MessagingServiceSid=MG1&") && !by_service.contains("From="));
    }

    #[test]
    fn a_callback_carries_its_attempt_where_twilio_signs_it() {
        let attempt = AttemptId::new(7);
        let url = status_callback("https://h.example/x/status", attempt);
        assert_eq!(
            url,
            "https://h.example/x/status?offhook_attempt=00000000000000000000000000000007#rc=5&rp=all"
        );
        let (signed, _) = url.split_once('#').expect("it has overrides");
        let (_, query) = signed.split_once('?').expect("it has a query");
        let query = Params::parse(query.as_bytes());
        let read = query.get(ATTEMPT_PARAMETER);
        assert_eq!(read.and_then(|text| AttemptId::parse(&text)), Some(attempt));
    }
}
