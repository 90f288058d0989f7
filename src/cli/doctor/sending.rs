//! Twilio's API, and SendGrid's: whether they take the credentials of each sender, which is asked by a request that costs
//! nothing.

use super::Finding;
use crate::clock::Clock;
use crate::dispatch::Channel;
use crate::outbound::config::{Config, MailApi, Sender};
use crate::outbound::rest::Rest;
use crate::outbound::sendgrid::{KeySaid, SendGrid};
use crate::twilio::rest::ReadAnswer;

const SUBJECT: &str = "sending";
/// Twilio's codes of credentials that it does not know, or that may not do this.
const CREDENTIALS: [&str; 3] = ["20003", "20006", "20008"];
/// Twilio's code of an account that is suspended or closed.
const NOT_ACTIVE: &str = "20005";

/// One request for each account and its credentials.
pub(super) async fn look(config: &Config, clock: Clock) -> Vec<Finding> {
    let rest = match Rest::new(&config.api_url, config.timeout, 1, clock) {
        Ok(rest) => rest,
        Err(error) => {
            return vec![Finding::failure(SUBJECT, error.to_string(), "install ca-certificates")];
        }
    };
    let mut findings = Vec::new();
    let mut tried: Vec<(&str, &str)> = Vec::new();
    for (place, sender) in config.senders.iter().enumerate() {
        let which = (&*sender.account, &*sender.credentials.user);
        if tried.contains(&which) {
            continue;
        }
        tried.push(which);
        if let Some(mail) = config.mail.as_ref().filter(|_| sender.channel() == Channel::Email) {
            findings.push(match SendGrid::new(&mail.url, config.timeout, 1, clock) {
                Ok(sendgrid) => of_key(mail, sendgrid.try_out(&sender.credentials).await),
                Err(error) => {
                    Finding::failure(SUBJECT, error.to_string(), "install ca-certificates")
                }
            });
            continue;
        }
        let answer = rest.try_out(&sender.account, &sender.credentials).await;
        findings.push(finding(&Asked { place, sender, config }, answer));
    }
    if config.tokens.is_empty() {
        let fix =
            "give what sends a token of its own: outbound.tokens = [{ id = \"…\", token = \"…\" }]";
        findings.push(Finding::warning(SUBJECT, "no token may ask to send", fix));
    }
    findings
}

/// What SendGrid says of its key.
fn of_key(mail: &MailApi, said: KeySaid) -> Finding {
    const REPLACE: &str =
        "replace sendgrid.api_key by one with the scope mail.send, from SendGrid's console";
    match said {
        KeySaid::MaySend(true) => {
            Finding::ok(SUBJECT, "SendGrid takes sendgrid.api_key, which may send".to_owned())
        }
        KeySaid::MaySend(false) => Finding::failure(
            SUBJECT,
            "SendGrid takes sendgrid.api_key, which may not send: no email would be sent"
                .to_owned(),
            REPLACE,
        ),
        KeySaid::Refused(401 | 403) => Finding::failure(
            SUBJECT,
            "SendGrid refuses sendgrid.api_key: no email would be sent".to_owned(),
            REPLACE,
        ),
        KeySaid::Refused(status) => Finding::failure(
            SUBJECT,
            format!("{} answers with HTTP {status} to sendgrid.api_key", mail.url),
            "look at what answers there: sendgrid.api_url must be SendGrid's API, without a path",
        ),
        KeySaid::Nothing => Finding::failure(
            SUBJECT,
            format!("{} (sendgrid.api_url) does not answer: no email would be sent", mail.url),
            "let this machine connect to it: look at DNS and the firewall, or fix sendgrid.api_url",
        ),
    }
}

/// Whose credentials were tried.
struct Asked<'a> {
    place: usize,
    sender: &'a Sender,
    config: &'a Config,
}

impl Asked<'_> {
    fn is_key(&self) -> bool {
        self.sender.credentials.user.starts_with("SK")
    }

    /// What is wrong where Twilio refuses.
    fn keys(&self) -> String {
        match self.is_key() {
            true => format!("sender[{}].api_key_sid and api_key_secret", self.place),
            false => {
                format!("the first of auth_tokens of [[account]] {}", self.sender.credentials.user)
            }
        }
    }

    fn name(&self) -> String {
        let of = self.config.accounts.iter().find(|account| account.sid == self.sender.account);
        let by = if self.is_key() { "the API key" } else { "the auth token" };
        let account = of.map_or(&*self.sender.account, |account| &*account.name);
        format!("{by} of sender {} for the account {account}", self.sender.name)
    }
}

fn finding(asked: &Asked<'_>, answer: ReadAnswer<Option<String>>) -> Finding {
    let (name, api) = (asked.name(), &asked.config.api_url);
    match answer {
        ReadAnswer::Found(None) => Finding::ok(SUBJECT, format!("Twilio takes {name}")),
        ReadAnswer::Found(Some(status)) if status == "active" => {
            Finding::ok(SUBJECT, format!("Twilio takes {name}, which is active"))
        }
        ReadAnswer::Found(Some(status)) => Finding::failure(
            SUBJECT,
            format!("Twilio takes {name}, which is {status}: nothing would be sent"),
            "look at the account in Twilio's console",
        ),
        ReadAnswer::Failed { code: Some(code), .. } if code == NOT_ACTIVE => Finding::failure(
            SUBJECT,
            format!("Twilio refuses {name}, which is not active ({code})"),
            "look at the account in Twilio's console",
        ),
        ReadAnswer::Failed { status, code }
            if status == 401 || code.as_deref().is_some_and(|code| CREDENTIALS.contains(&code)) =>
        {
            let code = code.map_or_else(String::new, |code| format!(", {code}"));
            Finding::failure(
                SUBJECT,
                format!("Twilio refuses {name} (HTTP {status}{code}): nothing would be sent"),
                format!("replace {}", asked.keys()),
            )
        }
        ReadAnswer::Failed { status: 0, .. } => Finding::failure(
            SUBJECT,
            format!("{api} (twilio.api_url) does not answer: nothing would be sent"),
            "let this machine connect to it: look at DNS and the firewall, or fix twilio.api_url",
        ),
        ReadAnswer::Missing => Finding::failure(
            SUBJECT,
            format!("Twilio knows no account of {name}"),
            format!("fix sender[{}].account, or twilio.api_url, which is {api}", asked.place),
        ),
        ReadAnswer::Throttled { .. } => Finding::warning(
            SUBJECT,
            format!("not known: Twilio has too many requests to try {name}"),
            "run this again when less is sent",
        ),
        ReadAnswer::Failed { status, code } => {
            let code = code.map_or_else(String::new, |code| format!(" and {code}"));
            Finding::failure(
                SUBJECT,
                format!("{api} answers with HTTP {status}{code} to {name}"),
                "look at what answers there: twilio.api_url must be Twilio's API, without a path",
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;
    use crate::outbound::config::testing;

    #[test]
    fn of_sendgrid_the_key_is_named() {
        let silence = std::time::Duration::from_secs(600);
        let mail = MailApi { url: "http://127.0.0.1:1".to_owned(), silence };
        let check = |said, verdict: Verdict, part: &str| {
            let found = of_key(&mail, said);
            assert_eq!(found.verdict, verdict, "{found}");
            assert!(found.to_string().contains(part), "{found}");
        };
        check(KeySaid::MaySend(true), Verdict::Ok, "may send");
        check(KeySaid::MaySend(false), Verdict::Failure, "scope mail.send");
        check(KeySaid::Refused(401), Verdict::Failure, "replace sendgrid.api_key");
        check(KeySaid::Refused(502), Verdict::Failure, "HTTP 502");
        check(KeySaid::Nothing, Verdict::Failure, "sendgrid.api_url");
    }

    #[test]
    fn each_answer_names_what_is_wrong_and_the_key() {
        let config = testing::config();
        let check = |user: &str, answer, verdict: Verdict, part: &str| {
            let mut sender = config.senders[0].clone();
            sender.credentials.user = user.to_owned();
            let found = finding(&Asked { place: 0, sender: &sender, config: &config }, answer);
            assert_eq!(found.verdict, verdict, "{found}");
            assert!(found.to_string().contains(part), "{found}");
        };
        let failed = |status, code: &str| ReadAnswer::Failed {
            status,
            code: Some(code.to_owned()).filter(|code| !code.is_empty()),
        };
        let found = |status: &str| ReadAnswer::Found(Some(status.to_owned()));
        check("AC1", found("active"), Verdict::Ok, "the account main, which is active");
        check("AC1", found("suspended"), Verdict::Failure, "which is suspended");
        check("SK1", ReadAnswer::Found(None), Verdict::Ok, "the API key of sender alerts");
        check("AC1", failed(401, "20003"), Verdict::Failure, "auth_tokens of [[account]] AC1");
        check("SK1", failed(401, ""), Verdict::Failure, "sender[0].api_key_sid");
        check("AC1", failed(401, "20005"), Verdict::Failure, "not active");
        check("AC1", failed(0, ""), Verdict::Failure, "twilio.api_url");
        check("AC1", failed(502, ""), Verdict::Failure, "HTTP 502");
        check("AC1", ReadAnswer::Missing, Verdict::Failure, "sender[0].account");
        let throttled = ReadAnswer::Throttled { retry_after: None };
        check("AC1", throttled, Verdict::Warning, "run this again");
    }
}
