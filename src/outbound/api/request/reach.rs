//! [`Reached`]: where a notification reaches its recipient.

use super::{NotificationAsk, wrong};
use crate::dispatch::Channel;
use crate::dispatch::country::Number;
use crate::dispatch::not_a_number::NotANumber;
use crate::dispatch::recipient::EmailAddress;
use crate::http::problem::Problem;
use crate::outbound::config::Sender;
use crate::outbound::gate::number;

/// A number, an email address, or both where some of the steps send emails and others do not.
pub(super) enum Reached {
    Phone(Number),
    Mail(EmailAddress),
    Both(Number, EmailAddress),
}

impl Reached {
    /// What the request says, as far as the channels of its steps need it.
    pub(super) fn of(asked: &NotificationAsk, channels: &[Channel]) -> Result<Self, Problem> {
        let mails = channels.contains(&Channel::Email);
        let phones = channels.iter().any(|channel| *channel != Channel::Email);
        match (&asked.email, mails, phones) {
            (Some(_), false, _) => {
                let problem =
                    "no email is sent: leave it out, or name a sender or a route that sends one";
                Err(wrong("email", problem))
            }
            (Some(_), true, false) => Err(wrong(
                "email",
                "only emails are sent: leave it out, and give the address as `to`",
            )),
            (None, true, true) => {
                let problem =
                    "it is missing: the route sends an email as well, and `to` is the number";
                Err(wrong("email", problem))
            }
            (Some(email), true, true) => Ok(Self::Both(phone(&asked.to)?, mail("email", email)?)),
            (None, true, false) => Ok(Self::Mail(mail("to", &asked.to)?)),
            (None, false, _) => Ok(Self::Phone(phone(&asked.to)?)),
        }
    }

    /// The address of the notification.
    pub(super) fn to(&self) -> &str {
        match self {
            Self::Phone(number) | Self::Both(number, _) => number.as_str(),
            Self::Mail(email) => email.as_str(),
        }
    }

    /// The email address beside a number.
    pub(super) fn second(&self) -> Option<&str> {
        match self {
            Self::Both(_, email) => Some(email.as_str()),
            Self::Phone(_) | Self::Mail(_) => None,
        }
    }

    /// Each address, with the field of the request that has it.
    pub(super) fn addresses(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let second = self.second().map(|email| ("email", email));
        [("to", self.to())].into_iter().chain(second)
    }

    /// The address at which this sender reaches the recipient.
    pub(super) fn by(&self, sender: &Sender) -> String {
        match self.second().filter(|_| sender.channel() == Channel::Email) {
            Some(email) => email.to_owned(),
            None => sender.address(self.to()),
        }
    }
}

fn phone(to: &str) -> Result<Number, Problem> {
    number(to).ok_or_else(|| wrong("to", NotANumber::of(to)))
}

fn mail(field: &str, to: &str) -> Result<EmailAddress, Problem> {
    let problem =
        "it is not an email address, such as ana@example.com, without a name and in ASCII";
    EmailAddress::parse(to).ok_or_else(|| wrong(field, problem))
}
