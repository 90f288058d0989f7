//! Calls: whether Twilio can bring the key that confirms one, and whether the account has lines enough for its senders.

use std::time::Duration;

use reqwest::StatusCode;

use super::Finding;
use crate::cli::callback_url::without_password;
use crate::cli::output::{count, no_answer};
use crate::dispatch::Confirm;
use crate::http::client;
use crate::outbound::config::{Account, Config, Sender};

const SUBJECT: &str = "calls";
/// Longest wait for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Nothing where no sender calls.
pub(super) async fn look(config: &Config) -> Vec<Finding> {
    let callers: Vec<&Sender> =
        config.senders.iter().filter(|sender| sender.call.is_some()).collect();
    if callers.is_empty() {
        return Vec::new();
    }
    let mut findings = vec![confirming(config, &callers).await];
    for account in &config.accounts {
        let of = callers.iter().filter(|sender| sender.account == account.sid).count();
        findings.extend((of > 0).then(|| lines(account, of)));
    }
    findings
}

/// Asks as any client on the internet may ask: without a signature, which offhook refuses in its own way.
async fn confirming(config: &Config, callers: &[&Sender]) -> Finding {
    let url = without_password(&config.confirm_url);
    let answer = match client::new(ANSWER_TIMEOUT) {
        Ok(client) => client.get(&config.confirm_url).send().await,
        Err(error) => {
            return Finding::failure(SUBJECT, format!("{error:#}"), "install ca-certificates");
        }
    };
    match answer {
        Ok(answer) => {
            let status = answer.status();
            let text = answer.text().await.unwrap_or_default();
            confirmed(&url, status, &text, needs_a_key(callers))
        }
        // Where this process receives, the public URL has its own finding.
        Err(error) => Finding::warning(
            SUBJECT,
            format!(
                "not known from here: whether Twilio reaches {url}, where it brings the key that confirms a call ({})",
                no_answer(&error)
            ),
            "run this on a machine that reaches public_url",
        ),
    }
}

/// Whether a sender is confirmed by a key unless the request says otherwise.
fn needs_a_key(callers: &[&Sender]) -> Keys {
    let mut plans = callers.iter().filter_map(|sender| sender.call.as_ref());
    match plans.any(|plan| plan.confirm == Confirm::Digit) {
        true => Keys::Expected,
        false => Keys::OnRequest,
    }
}

/// Whether keys confirm calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Keys {
    /// Those of a sender.
    Expected,
    /// Only of a request that asks for it.
    OnRequest,
}

fn confirmed(url: &str, status: StatusCode, text: &str, keys: Keys) -> Finding {
    if status == StatusCode::BAD_REQUEST && text.contains("missing_signature") {
        return Finding::ok(SUBJECT, format!("offhook answers at {url}, which takes the keys"));
    }
    let said = format!(
        "{status} to an unsigned request to {url}: something other than offhook answers. A callee who presses 1 hears an \
         error, and confirms nothing"
    );
    let fix = "let what stands before offhook send this path to it as it does /status";
    match keys {
        Keys::Expected => Finding::failure(SUBJECT, said, fix),
        Keys::OnRequest => Finding::warning(SUBJECT, said, fix),
    }
}

/// How many calls an account may have open, and how many senders share that.
fn lines(Account { name, calls_limit, .. }: &Account, senders: usize) -> Finding {
    let calls = count(*calls_limit, "call");
    if *calls_limit > 1 || senders == 1 {
        let text = format!("account {name} may have {calls} open at a time");
        return Finding::ok(SUBJECT, text);
    }
    Finding::warning(
        SUBJECT,
        format!(
            "account {name} may have {calls} open at a time, which its {senders} senders share: while one calls, the \
             others wait"
        ),
        "set account.calls_limit to what Twilio allows the account, unless that is 1",
    )
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn only_the_refusal_of_offhook_shows_that_keys_arrive() {
        let check = |status, text, keys, verdict| {
            let url = "https://hooks.example.com/voice-confirm";
            assert_eq!(confirmed(url, status, text, keys).verdict, verdict, "{status} {text}");
        };
        let ours = "missing_signature";
        check(StatusCode::BAD_REQUEST, ours, Keys::Expected, Verdict::Ok);
        check(StatusCode::BAD_REQUEST, "", Keys::Expected, Verdict::Failure);
        check(StatusCode::OK, ours, Keys::Expected, Verdict::Failure);
        check(StatusCode::NOT_FOUND, "", Keys::OnRequest, Verdict::Warning);
    }

    #[test]
    fn one_line_for_several_senders_is_told() {
        let check = |calls_limit, senders, verdict| {
            let account = Account { sid: "AC1".to_owned(), name: "main".to_owned(), calls_limit };
            assert_eq!(lines(&account, senders).verdict, verdict, "{calls_limit} {senders}");
        };
        check(1, 1, Verdict::Ok);
        check(1, 2, Verdict::Warning);
        check(2, 3, Verdict::Ok);
    }
}
