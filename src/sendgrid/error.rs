//! [`Refusal`]: why SendGrid refuses to send an email, and what follows from it.
//!
//! SendGrid gives no codes. It says the HTTP status, and the field of the request that is wrong. Source:
//! <https://www.twilio.com/docs/sendgrid/api-reference/how-to-use-the-sendgrid-v3-api/responses>

use crate::labels::labels;
use crate::twilio::error::Class;

labels! {
    /// Why SendGrid refuses to send an email.
    pub enum Refusal {
        /// 401: the key is wrong, or the account has used up what it paid for.
        Unauthorized = "sendgrid_unauthorized",
        /// 403: the key may not send.
        Forbidden = "sendgrid_forbidden",
        /// The sender's address is not verified, or not one.
        From = "sendgrid_from",
        /// The recipient's address is not one to SendGrid.
        Recipient = "sendgrid_recipient",
        /// 400: something else of the email is wrong.
        Content = "sendgrid_content",
        /// 413: it is too large.
        TooLarge = "sendgrid_too_large",
    }
}

impl Refusal {
    /// What an answer of this status is, whose first error is about this field; `None` for the field if the body is not
    /// SendGrid's. `None` if it is no refusal of SendGrid's.
    #[must_use]
    pub fn of(status: u16, field: Option<&str>) -> Option<Self> {
        if status == 413 {
            return Some(Self::TooLarge);
        }
        let field = field?;
        let is_from = field == "from" || field.starts_with("from.");
        let is_to = field.starts_with("personalizations") && field.contains(".to");
        match status {
            401 => Some(Self::Unauthorized),
            400 | 403 if is_from => Some(Self::From),
            403 => Some(Self::Forbidden),
            400 if is_to => Some(Self::Recipient),
            400 => Some(Self::Content),
            _ => None,
        }
    }

    /// What follows from it, as from a code of Twilio's.
    #[must_use]
    pub const fn class(self) -> Class {
        match self {
            Self::Unauthorized | Self::Forbidden => Class::Account,
            Self::From => Class::Sender,
            Self::Recipient => Class::Recipient,
            Self::Content | Self::TooLarge => Class::Content,
        }
    }
}
